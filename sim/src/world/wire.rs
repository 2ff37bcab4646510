//! Between nodes and their store: calls, answers and news, and what the network and the store's own troubles do to them.

use std::time::Duration;

use windlass_core::ids::OpId;
use windlass_core::kv::{self, ClientId, Log};
use windlass_core::machine::Machine as _;
use windlass_core::store::{
    Answer, AuditAnswer, Call, LeaseAnswer, Query, ReadAnswer, Refusal, TxnOutcome, Usage,
    ViewEvent, Write,
};
use windlass_core::time::Millis;

use super::news::is_watch;
use super::{Happening, NodeIx, World};
use crate::fact::{Decision, Fact};
use crate::nemesis::{FaultKind, Way};
use crate::network::{ANSWER_MAX, Delivery};
use crate::node::AnyInput;
use crate::perturb::Perturbation;

/// How old a view becomes that a perturbation makes stale: older than answers are waited for, and than leases live.
const STALE: Duration = Duration::from_secs(5);

impl World {
    pub(super) fn send(&mut self, node: NodeIx, life: u64, op: OpId, call: Call) {
        self.note_call(node, op, &call);
        self.note_watch(node, op, &call);
        // Watches are connections: they are set up or not, and their news come in order.
        let is_watch = is_watch(&call);
        let mut delivery = if is_watch {
            Delivery::After(self.network.latency())
        } else {
            self.request_delivery(node)
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
                Perturbation::StaleView => {
                    let link = &mut self.nodes[node].link;
                    link.news_late_by = STALE;
                    link.news_late_until = now.after(STALE);
                }
                // These wait for the answer.
                Perturbation::LoseAnswer | Perturbation::CrashAfter => {}
            }
        }
        let (wait, gives_up) = match delivery {
            Delivery::After(wait) => (Some(wait), false),
            Delivery::Never => (None, true),
            Delivery::Late(wait) => (Some(wait), true),
        };
        if gives_up {
            self.give_up(node, life, op, &call, ANSWER_MAX);
        }
        let Some(wait) = wait else {
            return;
        };
        if !is_watch && self.network.hits(self.network.rudeness.duplicate_requests) {
            let later = wait + self.network.while_up_to(Duration::from_secs(6));
            self.hit(
                FaultKind::DuplicateRequest,
                Some(node),
                self.now.after(later),
            );
            let call = call.clone();
            let again = Happening::Request {
                node,
                life,
                op,
                call,
            };
            self.schedule(self.now.after(later), again);
        }
        let request = Happening::Request {
            node,
            life,
            op,
            call,
        };
        self.schedule(self.now.after(wait), request);
    }

    fn note_call(&mut self, node: NodeIx, op: OpId, call: &Call) {
        let kind = call_word(call);
        self.trace.note(self.now, Some(node), kind, &[op.0], || {
            format!("{op:?} {call:?}")
        });
        if let Call::Read(Query::Range { limit, .. }) = call {
            let limit = *limit;
            self.tell(|| Fact::Read { node, limit });
        }
        if let Call::Commit(txn) = call {
            let mut bytes = 0;
            for write in txn.writes() {
                bytes += write.size();
                if let Write::Put { key, value, .. } = write {
                    self.trace.bytes(key.as_str().as_bytes());
                    self.trace.bytes(value.as_bytes());
                }
            }
            self.tell(|| Fact::Sent {
                node,
                guards: txn.guards().len(),
                writes: txn.writes().len(),
                bytes,
            });
        }
    }

    /// What the network, the node's connection among it, does to a request.
    fn request_delivery(&mut self, node: NodeIx) -> Delivery {
        let link = &self.nodes[node].link;
        let late = (link.late_until > self.now).then_some(link.late_by);
        let delivery = match late {
            Some(by) => Delivery::Late(ANSWER_MAX + by),
            None => self.network.request(),
        };
        let slow = link.slow(self.now, Way::ToStore);
        match delivery {
            Delivery::After(wait) => return Delivery::After(wait + self.network.dawdle(slow)),
            Delivery::Never => self.hit(FaultKind::LoseRequest, Some(node), self.now),
            Delivery::Late(by) => self.hit(FaultKind::ArriveLate, Some(node), self.now.after(by)),
        }
        delivery
    }

    /// The sender of a call will be told, after a while, that nobody knows its fate.
    fn give_up(&mut self, node: NodeIx, life: u64, op: OpId, call: &Call, after: Duration) {
        if let Some(answer) = call.lost() {
            let answer = Happening::Answer {
                node,
                life,
                op,
                answer,
            };
            self.schedule(self.now.after(after), answer);
        }
    }

    pub(super) fn arrive(&mut self, node: NodeIx, life: u64, op: OpId, call: Call) {
        let watch = is_watch(&call);
        if self.nodes[node].life != life && watch {
            return;
        }
        let cut = self.nodes[node].link.to_store_cut > self.now;
        if cut || self.outage.is_down() {
            // A refused connection is noticed at once, a silent one by its time-out.
            let soon = !cut && self.network.below(2) == 0;
            let after = if soon {
                self.network.latency()
            } else {
                ANSWER_MAX
            };
            return self.give_up(node, life, op, &call, after);
        }
        if self.outage.refused.contains(&(node, life, op)) {
            return;
        }
        if let Some(answer) = self.troubled(&call) {
            if matches!(answer, Answer::Txn(TxnOutcome::Refused(_))) {
                self.outage.refused.insert((node, life, op));
            }
            let applied =
                matches!(answer, Answer::Txn(TxnOutcome::Unknown)) && self.network.below(2) == 0;
            if applied {
                let client = self.client(self.nodes.len(), 0);
                self.store(kv::Input::Call { client, op, call });
            }
            let client = self.client(node, life);
            return self.deliver(client, op, answer);
        }
        if matches!(call, Call::Usage) {
            let answer = Answer::Usage(Some(self.usage()));
            return self.deliver(self.client(node, life), op, answer);
        }
        if let Call::Watch(range) = &call
            && self.is_told_of_old(node, life, op, range)
        {
            return;
        }
        match &call {
            Call::Watch(range) => {
                self.nodes[node].watches.insert(op, range.clone());
                self.nodes[node].rereads.remove(&op);
            }
            Call::Unwatch { watch } => {
                self.nodes[node].watches.remove(watch);
            }
            Call::Commit(_)
            | Call::Progress { .. }
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. }
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => {}
        }
        let client = self.client(node, life);
        self.store(kv::Input::Call { client, op, call });
    }

    /// How full the store says it is. The quota is only told: what a store does that has none left is `NoSpace`'s part.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            quota: self.outage.quota,
            full: self.outage.no_space_until > self.now,
            ..self.kv.usage()
        }
    }

    /// What a full or an overloaded store says instead of deciding.
    fn troubled(&mut self, call: &Call) -> Option<Answer> {
        let puts = match call {
            Call::Commit(txn) => txn
                .writes()
                .iter()
                .any(|write| matches!(write, Write::Put { .. })),
            Call::Grant { .. } => true,
            Call::Watch(_)
            | Call::Unwatch { .. }
            | Call::Progress { .. }
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Renew { .. }
            | Call::Revoke { .. }
            | Call::Compact { .. }
            | Call::Usage => false,
        };
        let is_txn = matches!(call, Call::Commit(_));
        if puts && self.outage.no_space_until > self.now {
            self.hit(FaultKind::NoSpace, None, self.now);
            let unknown = Answer::Txn(TxnOutcome::Unknown);
            return Some(if is_txn {
                unknown
            } else {
                Answer::Lease(LeaseAnswer::Unknown)
            });
        }
        if is_txn && self.outage.busy_until > self.now && self.network.below(2) == 0 {
            self.hit(FaultKind::Busy, None, self.now);
            return Some(Answer::Txn(TxnOutcome::Refused(Refusal::Busy)));
        }
        None
    }

    pub(crate) fn store(&mut self, input: kv::Input) {
        let mut out = Vec::new();
        let now = self.store_now();
        self.kv.handle(now, input, &mut out);
        for effect in out {
            match effect {
                kv::Effect::Applied(log) => self.note_log(&log),
                kv::Effect::Answer { client, op, answer } => self.deliver(client, op, answer),
            }
        }
        self.wake_store();
    }

    /// The store wakes up when a lease ends; not while its clock stands still.
    fn wake_store(&mut self) {
        if self.outage.is_down() {
            return;
        }
        let deadline = self.kv.deadline().map(|(at, _)| at.after(self.outage.lost));
        if let Some(at) = deadline.filter(|at| {
            self.store_wake
                .is_none_or(|wake| *at < wake || wake <= self.now)
        }) {
            self.store_wake = Some(at);
            self.schedule(at, Happening::WakeStore);
        }
    }

    fn note_log(&mut self, log: &Log) {
        match log {
            Log::Changed { at, edits } => {
                self.trace.note(
                    self.now,
                    None,
                    "revision",
                    &[at.0, edits.len() as u64],
                    || {
                        let keys: Vec<&str> =
                            edits.iter().map(|edit| edit.key().as_str()).collect();
                        format!("{at} {}", keys.join(" "))
                    },
                );
                let revised = self.book.revise(*at, edits);
                self.tell(|| Fact::Stored(revised));
            }
            Log::Granted { lease, ttl } => {
                self.outage.leases.insert(*lease);
                let ttl = Millis::new(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
                self.tell(|| Fact::Leased { lease: *lease, ttl });
            }
            Log::Ended { lease } => {
                self.outage.leases.remove(lease);
                self.trace.note(
                    self.now,
                    None,
                    "lease end",
                    &[lease.0.unsigned_abs()],
                    || format!("{lease:?}"),
                );
                self.tell(|| Fact::LeaseEnded { lease: *lease });
            }
            Log::Compacted { .. } => {}
        }
    }

    pub(super) fn deliver(&mut self, client: ClientId, op: OpId, answer: Answer) {
        let node = usize::try_from(client.0 >> 32).expect("few nodes");
        if node == self.nodes.len() {
            return;
        }
        let life = client.0 & u64::from(u32::MAX);
        if let Answer::Txn(outcome) = &answer {
            let how = decision(outcome);
            self.trace
                .note(self.now, None, "decides", &[op.0, how as u64], || {
                    format!("n{node} {op:?} {outcome:?}")
                });
            self.tell(|| Fact::Decided { node, how });
        }
        if let Answer::View(event) = answer {
            self.keep_read(node, life, op, &event);
            return self.deliver_news(node, life, op, event);
        }
        let state = &mut self.nodes[node];
        let cut = state.link.from_store_cut > self.now;
        let planned = state.link.answers_to_lose > 0;
        state.link.answers_to_lose = state.link.answers_to_lose.saturating_sub(1);
        let delivery = if cut || planned || self.aim.loses_answer(node, life, op) {
            Delivery::Never
        } else {
            let slow = self.nodes[node].link.slow(self.now, Way::FromStore);
            match self.network.answer() {
                Delivery::After(wait) => Delivery::After(wait + self.network.dawdle(slow)),
                other @ (Delivery::Never | Delivery::Late(_)) => other,
            }
        };
        match delivery {
            Delivery::After(wait) | Delivery::Late(wait) => {
                if self.network.hits(self.network.rudeness.duplicate_answers) {
                    let later = self.network.while_up_to(Duration::from_secs(4));
                    self.hit(
                        FaultKind::DuplicateAnswer,
                        Some(node),
                        self.now.after(later),
                    );
                    let answer = answer.clone();
                    let again = Happening::Answer {
                        node,
                        life,
                        op,
                        answer,
                    };
                    self.schedule(self.now.after(wait + later), again);
                }
                let answer = Happening::Answer {
                    node,
                    life,
                    op,
                    answer,
                };
                self.schedule(self.now.after(wait), answer);
            }
            Delivery::Never => {
                if !cut {
                    self.hit(FaultKind::LoseAnswer, Some(node), self.now);
                }
                let answer = unknown(&answer);
                let answer = Happening::Answer {
                    node,
                    life,
                    op,
                    answer,
                };
                self.schedule(self.now.after(ANSWER_MAX), answer);
            }
        }
    }

    pub(super) fn take_answer(&mut self, node: NodeIx, life: u64, op: OpId, answer: Answer) {
        if self.nodes[node].life != life {
            return;
        }
        let (kind, number) = answer_word(&answer);
        self.trace
            .note(self.now, Some(node), kind, &[op.0, number], || {
                format!("{op:?} {answer:?}")
            });
        let is_news = matches!(answer, Answer::View(_));
        self.note_loss(node, op, &answer);
        self.give(node, AnyInput::Store(op, answer));
        if is_news {
            self.compare_view(node);
        }
        if self.aim.crashes_after(node, life, op) {
            self.schedule(self.now, Happening::Crash { node, life });
        }
    }

    /// The store's own time: it stands still while the store is down.
    pub(crate) fn store_now(&self) -> windlass_core::time::Now {
        let mut now = self.now();
        now.mono = self.outage.stood_still(now.mono).before(self.outage.lost);
        now
    }

    /// Drops what the store was about to say: its members have other things to do.
    pub(crate) fn lose_answers_under_way(&mut self) {
        let mut lost = Vec::new();
        self.queue.each_in_order(|at, happening| {
            if let Happening::Answer { node, answer, .. } = happening
                && !matches!(answer, Answer::View(_))
                && *answer != unknown(answer)
            {
                *answer = unknown(answer);
                lost.push((*node, at));
            }
        });
        for (node, at) in lost {
            self.hit(FaultKind::LoseAnswer, Some(node), at);
        }
    }
}

/// What is said instead of an answer that is lost.
fn unknown(answer: &Answer) -> Answer {
    match answer {
        Answer::Txn(_) => Answer::Txn(TxnOutcome::Unknown),
        Answer::Read(_) => Answer::Read(ReadAnswer::Failed),
        Answer::Audited(_) => Answer::Audited(AuditAnswer::Failed),
        Answer::Lease(_) => Answer::Lease(LeaseAnswer::Unknown),
        Answer::Compacted(_) => Answer::Compacted(false),
        Answer::Usage(_) => Answer::Usage(None),
        Answer::View(_) => Answer::View(ViewEvent::Lost),
    }
}

fn decision(outcome: &TxnOutcome) -> Decision {
    match outcome {
        TxnOutcome::Committed { .. } => Decision::Committed,
        TxnOutcome::Conflict { .. } => Decision::Conflict,
        TxnOutcome::Refused(_) => Decision::Refused,
        TxnOutcome::Unknown => Decision::Unknown,
    }
}

fn call_word(call: &Call) -> &'static str {
    match call {
        Call::Commit(_) => "commit",
        Call::Watch(_) => "watch",
        Call::Unwatch { .. } => "unwatch",
        Call::Progress { .. } => "progress",
        Call::Read(_) => "read",
        Call::Audit(_) => "audit",
        Call::Grant { .. } => "grant",
        Call::Renew { .. } => "renew",
        Call::Revoke { .. } => "revoke",
        Call::Compact { .. } => "compact",
        Call::Usage => "usage",
    }
}

/// A word for an answer, and a number that tells it from others.
fn answer_word(answer: &Answer) -> (&'static str, u64) {
    match answer {
        Answer::Txn(TxnOutcome::Committed { at }) => ("committed", at.0),
        Answer::Txn(TxnOutcome::Conflict { at, .. }) => ("conflict", at.0),
        Answer::Txn(TxnOutcome::Refused(_)) => ("refused", 0),
        Answer::Txn(TxnOutcome::Unknown) => ("unknown", 0),
        Answer::View(ViewEvent::Reset { at, .. }) => ("reset", at.0),
        Answer::View(ViewEvent::Delta { at, .. }) => ("delta", at.0),
        Answer::View(ViewEvent::Lost) => ("lost", 0),
        Answer::Read(ReadAnswer::Items { at, .. }) => ("items", at.0),
        Answer::Read(ReadAnswer::Failed) => ("unread", 0),
        Answer::Audited(AuditAnswer::Held { at, .. }) => ("audited", at.0),
        Answer::Audited(AuditAnswer::Failed) => ("unaudited", 0),
        Answer::Lease(LeaseAnswer::Live { lease, .. }) => ("live", lease.0.unsigned_abs()),
        Answer::Lease(_) => ("lease", 0),
        Answer::Compacted(done) => ("compacted", u64::from(*done)),
        Answer::Usage(usage) => ("used", usage.map_or(0, |usage| usage.used)),
    }
}
