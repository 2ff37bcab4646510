//! Between nodes and their store: calls, answers and news, and what the network does to them.

use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::kv::{self, ClientId};
use windlass_core::machine::Machine;
use windlass_core::store::{Answer, Call, ViewEvent};

use super::{Happening, NodeIx, World};
use crate::network::{ANSWER_MAX, Delivery};
use crate::perturb::Perturbation;

impl World {
    pub(super) fn send(&mut self, node: NodeIx, life: u64, op: OpId, call: Call) {
        // Watches are connections: they are set up or not, and their news come in order.
        let is_watch = matches!(
            call,
            Call::Watch(_) | Call::Unwatch { .. } | Call::Progress { .. }
        );
        let mut delivery = if is_watch {
            Delivery::After(self.network.news())
        } else {
            self.network.request()
        };
        if self.aim.is_dying(node, life) {
            return;
        }
        if let Some(how) = self.aim.take_call(node, life, op, &call) {
            let now = self.now;
            let crash = Happening::Crash { node, life };
            match how {
                Perturbation::LoseRequest => delivery = Delivery::Never,
                Perturbation::ArriveLate => {
                    delivery = Delivery::Late(ANSWER_MAX + Duration::from_secs(1));
                }
                Perturbation::CrashBefore => return self.schedule(now, crash),
                Perturbation::CrashBetween => self.schedule(now, crash),
                // These wait for the answer.
                Perturbation::LoseAnswer | Perturbation::CrashAfter => {}
            }
        }
        let lost = call.lost();
        let (at, gives_up) = match delivery {
            Delivery::After(wait) => (Some(wait), false),
            Delivery::Never => (None, true),
            Delivery::Late(wait) => (Some(wait), true),
        };
        if let (true, Some(answer)) = (gives_up, lost) {
            self.schedule(
                self.now.after(ANSWER_MAX),
                Happening::Answer {
                    node,
                    life,
                    op,
                    answer,
                },
            );
        }
        if let Some(wait) = at {
            self.schedule(
                self.now.after(wait),
                Happening::Request {
                    node,
                    life,
                    op,
                    call,
                },
            );
        }
    }

    pub(super) fn store(&mut self, input: kv::Input) {
        let mut out = Vec::new();
        self.kv.handle(self.now(), input, &mut out);
        for effect in out {
            match effect {
                kv::Effect::Applied(_) => {}
                kv::Effect::Answer { client, op, answer } => self.deliver(client, op, answer),
            }
        }
        let deadline = self.kv.deadline().map(|(at, _)| at);
        if let Some(at) = deadline.filter(|at| {
            self.store_wake
                .is_none_or(|wake| *at < wake || wake <= self.now)
        }) {
            self.store_wake = Some(at);
            self.schedule(at, Happening::WakeStore);
        }
    }

    pub(super) fn deliver(&mut self, client: ClientId, op: OpId, answer: Answer) {
        let node = usize::try_from(client.0 >> 32).expect("few nodes");
        if node == self.nodes.len() {
            return;
        }
        let life = client.0 & u64::from(u32::MAX);
        if let Answer::View(event) = answer {
            let event = if self.network.breaks_watch() {
                ViewEvent::Lost
            } else {
                event
            };
            let at = self
                .now
                .after(self.network.news())
                .max(self.nodes[node].last_news);
            self.nodes[node].last_news = at;
            self.schedule(
                at,
                Happening::Answer {
                    node,
                    life,
                    op,
                    answer: Answer::View(event),
                },
            );
            return;
        }
        let delivery = if self.aim.loses_answer(node, life, op) {
            Delivery::Never
        } else {
            self.network.answer()
        };
        match delivery {
            Delivery::After(wait) | Delivery::Late(wait) => {
                self.schedule(
                    self.now.after(wait),
                    Happening::Answer {
                        node,
                        life,
                        op,
                        answer,
                    },
                );
            }
            Delivery::Never => {
                let lost = match answer {
                    Answer::Txn(_) => Answer::Txn(windlass_core::store::TxnOutcome::Unknown),
                    Answer::Read(_) => Answer::Read(windlass_core::store::ReadAnswer::Failed),
                    Answer::Lease(_) => Answer::Lease(windlass_core::store::LeaseAnswer::Unknown),
                    Answer::Compacted(_) | Answer::View(_) => Answer::Compacted(false),
                };
                self.schedule(
                    self.now.after(ANSWER_MAX),
                    Happening::Answer {
                        node,
                        life,
                        op,
                        answer: lost,
                    },
                );
            }
        }
    }
}
