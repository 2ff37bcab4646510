//! Between workers that talk to gateways only and their gateways: calls, answers, and what the network does to them.

use windlass_core::gateway::{RemoteAsk, Reply, Request};
use windlass_core::ids::LeaseId;
use windlass_core::keyspace::{Key, Role};
use windlass_core::server;

use super::{Happening, NodeIx, World};
use crate::nemesis::{FaultKind, Way};
use crate::network::Delivery;
use crate::node::{AnyInput, NodeConfig};
use crate::remote;

/// Who waits for the reply to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caller {
    node: NodeIx,
    life: u64,
    call: u64,
}

impl World {
    pub(super) fn perform_of_remote(&mut self, node: NodeIx, effect: remote::Effect) {
        let life = self.nodes[node].life;
        match effect {
            remote::Effect::Ask {
                call,
                pick,
                patience,
                ask,
            } => {
                let given_up = Happening::Called {
                    node,
                    life,
                    call,
                    reply: None,
                };
                self.schedule(self.now.after(patience), given_up);
                self.call(node, call, pick, ask);
            }
            remote::Effect::Start(start) => self.start(node, life, start),
            remote::Effect::Stop { run, reason } => self.stop(node, life, run, reason),
            remote::Effect::Exit(exit) => self.exit(node, exit),
            remote::Effect::Fence { at } => {
                self.nodes[node].session_until = Some(at);
                self.tell_session(node);
            }
        }
    }

    /// Sends a call to one of the gateways there are. What is cut from the store is cut from gateways, too.
    fn call(&mut self, node: NodeIx, call: u64, pick: u64, ask: Box<RemoteAsk>) {
        let servers: Vec<NodeIx> = (0..self.nodes.len())
            .filter(|it| matches!(self.nodes[*it].config, NodeConfig::Server(_)))
            .collect();
        let count = u64::try_from(servers.len()).expect("few nodes").max(1);
        let nth = usize::try_from(pick % count).expect("few nodes");
        let Some(server) = servers.get(nth).copied() else {
            return;
        };
        let life = self.nodes[node].life;
        self.trace.note(self.now, Some(node), "call", &[call], || {
            format!("n{server} {ask:?}")
        });
        let link = &self.nodes[node].link;
        let slow = link.slow(self.now, Way::ToStore);
        if link.to_store_cut > self.now {
            return;
        }
        let delivery = self.network.request();
        let wait = match delivery {
            Delivery::After(wait) => wait + self.network.dawdle(slow),
            Delivery::Late(wait) => {
                let until = self.now.after(wait);
                self.hit(FaultKind::ArriveLate, Some(node), until);
                wait
            }
            Delivery::Never => return self.hit(FaultKind::LoseRequest, Some(node), self.now),
        };
        let arrives = Happening::Call {
            node,
            life,
            call,
            server,
            ask,
        };
        self.schedule(self.now.after(wait), arrives);
    }

    /// A process that is down refuses the connection; one that is frozen does not answer yet.
    pub(super) fn call_arrives(
        &mut self,
        node: NodeIx,
        life: u64,
        call: u64,
        server: NodeIx,
        ask: RemoteAsk,
    ) {
        if self.nodes[server].brain.is_none() {
            let refused = Happening::Called {
                node,
                life,
                call,
                reply: None,
            };
            let wait = self.network.latency();
            return self.schedule(self.now.after(wait), refused);
        }
        // The reply may come while the request is given.
        let id = windlass_core::gateway::RequestId(self.next_request + 1);
        self.called.insert(id, Caller { node, life, call });
        let given = self.request(server, Request::Remote(Box::new(ask)));
        assert_eq!(given, id, "requests are numbered one after the other");
    }

    pub(super) fn answer_remote(&mut self, caller: Caller, reply: Reply) {
        let Caller { node, life, call } = caller;
        let link = &mut self.nodes[node].link;
        let cut = link.from_store_cut > self.now;
        let planned = link.answers_to_lose > 0;
        link.answers_to_lose = link.answers_to_lose.saturating_sub(1);
        let slow = self.nodes[node].link.slow(self.now, Way::FromStore);
        let wait = match self.network.answer() {
            Delivery::After(wait) | Delivery::Late(wait) if !cut && !planned => wait,
            Delivery::After(_) | Delivery::Late(_) | Delivery::Never => {
                if !cut {
                    self.hit(FaultKind::LoseAnswer, Some(node), self.now);
                }
                return;
            }
        };
        let wait = wait + self.network.dawdle(slow);
        let comes = Happening::Called {
            node,
            life,
            call,
            reply: Some(Box::new(reply)),
        };
        self.schedule(self.now.after(wait), comes);
    }

    pub(super) fn call_ends(
        &mut self,
        node: NodeIx,
        life: u64,
        call: u64,
        reply: Option<Box<Reply>>,
    ) {
        if reply.is_none() {
            // The connection is closed, and its gateway sees that.
            let mut waiting = self.called.iter();
            let open = waiting.find(|(_, it)| **it == Caller { node, life, call });
            if let Some(id) = open.map(|(id, _)| *id) {
                self.called.remove(&id);
                for server in 0..self.nodes.len() {
                    let forget = AnyInput::Server(server::Input::Forget { id });
                    if matches!(self.nodes[server].config, NodeConfig::Server(_)) {
                        self.give(server, forget);
                    }
                }
            }
        }
        if self.nodes[node].life == life {
            self.give(node, AnyInput::Answered(call, reply));
        }
    }

    /// The lease that a worker's key hangs on.
    pub(super) fn lease_of_remote(&self, node: NodeIx) -> Option<LeaseId> {
        let key = Key::node(Role::Worker, self.id_of(node));
        self.kv.entry(&key).and_then(|entry| entry.lease)
    }
}
