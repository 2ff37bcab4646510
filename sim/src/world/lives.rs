//! Processes come and go: starts, ends, pauses.

use std::time::Duration;

use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::{Request, RequestId};
use windlass_core::ids::{OpId, Revision};
use windlass_core::kv;
use windlass_core::server::{self, Server};
use windlass_core::store::{Call, Txn};
use windlass_core::time::{Millis, Mono};
use windlass_core::worker::{self, Exit, Worker};

use super::{Happening, NodeIx, World};
use crate::clock::Clock;
use crate::fact::Fact;
use crate::node::{AnyInput, Brain, Node, NodeConfig};
use crate::remote::Remote;

impl World {
    /// Starts a scheduler process.
    pub fn add_server(&mut self, id: &str, adjust: impl FnOnce(&mut ServerConfig)) -> NodeIx {
        let node = self.plan_server(id, adjust);
        self.boot(node);
        node
    }

    /// Starts a worker.
    pub fn add_worker(&mut self, id: &str, adjust: impl FnOnce(&mut WorkerConfig)) -> NodeIx {
        let node = self.plan_worker(id, adjust);
        self.boot(node);
        node
    }

    /// A scheduler process that is down.
    pub fn plan_server(&mut self, id: &str, adjust: impl FnOnce(&mut ServerConfig)) -> NodeIx {
        let mut config = ServerConfig::new(id.parse().expect("a legal id"), "sim".into());
        config.ttl = Duration::from_secs(3);
        adjust(&mut config);
        self.add(NodeConfig::Server(config))
    }

    /// A worker that is down.
    pub fn plan_worker(&mut self, id: &str, adjust: impl FnOnce(&mut WorkerConfig)) -> NodeIx {
        let types = super::handlers::KINDS.map(|kind| kind.parse().expect("a legal type"));
        let mut config =
            WorkerConfig::new(id.parse().expect("a legal id"), types.into(), "sim".into());
        config.ttl = Duration::from_secs(3);
        adjust(&mut config);
        self.add(NodeConfig::Worker(config))
    }

    /// A worker that talks to gateways only, and is down.
    pub fn plan_remote(&mut self, id: &str, adjust: impl FnOnce(&mut WorkerConfig)) -> NodeIx {
        let node = self.plan_worker(id, |config| {
            // Its handlers could take locks through gateways, as every client can; that is not a worker's business.
            config
                .types
                .retain(|kind| kind.as_str() != super::lockers::LOCKER);
            adjust(config);
        });
        if let NodeConfig::Worker(config) = self.nodes[node].config.clone() {
            self.nodes[node].config = NodeConfig::Remote(config);
        }
        node
    }

    fn add(&mut self, config: NodeConfig) -> NodeIx {
        let origin = Mono::from_nanos(self.rng.below(1 << 40));
        self.nodes.push(Node::new(config, Clock::new(origin)));
        self.nodes.len() - 1
    }

    /// Starts a node that is down, with nothing but its configuration.
    pub fn boot(&mut self, node: NodeIx) {
        let seed = self.rng.draw();
        let state = &mut self.nodes[node];
        let now = state.clock.now(self.now);
        state.brain = Some(match state.config.clone() {
            NodeConfig::Server(config) => Brain::Server(Box::new(Server::new(config, seed, now))),
            NodeConfig::Worker(config) => Brain::Worker(Box::new(Worker::new(config, seed, now))),
            NodeConfig::Remote(config) => Brain::Remote(Box::new(Remote::new(config, seed, now))),
        });
        state.frozen_until = None;
        state.inbox.clear();
        state.wake_at = None;
        state.watches.clear();
        state.rereads.clear();
        state.asked.clear();
        state.lost.clear();
        state.reads.clear();
        state.reached = Revision(0);
        state.told = None;
        state.link.gap = false;
        let (role, id, slots) = (
            state.config.role(),
            state.config.id().clone(),
            state.config.slots(),
        );
        self.trace
            .note(self.now, Some(node), "boot", &[], || format!("{role} {id}"));
        self.tell(|| Fact::Booted {
            node,
            role,
            id,
            slots,
        });
        self.give(node, AnyInput::Elapsed);
    }

    /// Ends a node at once, with everything volatile: its handlers, too.
    pub fn crash(&mut self, node: NodeIx) {
        if self.nodes[node].brain.is_some() {
            self.end_process(node, None);
        }
    }

    pub(super) fn exit(&mut self, node: NodeIx, exit: Exit) {
        self.exits.push((node, exit));
        self.end_process(node, Some(exit));
    }

    fn end_process(&mut self, node: NodeIx, exit: Option<Exit>) {
        let state = &mut self.nodes[node];
        state.brain = None;
        state.life += 1;
        state.frozen_until = None;
        // Nothing of this life may reach the next one, or make its news wait.
        state.watches.clear();
        state.last_news = self.now;
        state.session_until = None;
        let client = self.client(node, self.nodes[node].life - 1);
        self.trace
            .note(self.now, Some(node), "down", &[], || format!("{exit:?}"));
        self.kill_handlers(node);
        self.tell(|| Fact::Down { node, exit });
        self.store(kv::Input::Leave { client });
    }

    /// Stops a node for a while; then it goes on with everything that it believed. Its handlers run on.
    pub fn pause(&mut self, node: NodeIx, lasts: Duration) {
        if self.nodes[node].brain.is_none() {
            return;
        }
        let until = self.now.after(lasts);
        self.nodes[node].frozen_until = Some(until);
        self.trace
            .note(self.now, Some(node), "freeze", &[], String::new);
        self.tell(|| Fact::Frozen { node });
        self.schedule(until, Happening::Thaw { node });
    }

    pub(super) fn thaw(&mut self, node: NodeIx) {
        let state = &mut self.nodes[node];
        if state.frozen_until.is_none_or(|until| until > self.now) {
            return;
        }
        state.frozen_until = None;
        let mut inbox = std::mem::take(&mut state.inbox);
        self.trace
            .note(self.now, Some(node), "thaw", &[], String::new);
        self.tell(|| Fact::Thawed { node });
        self.give(node, AnyInput::Elapsed);
        while let Some(input) = inbox.pop_front() {
            self.give(node, input);
        }
    }

    /// Lets a frozen process run on at once.
    pub fn thaw_now(&mut self, node: NodeIx) {
        self.nodes[node].frozen_until = Some(self.now);
        self.thaw(node);
    }

    /// Starts a node at a time of the run.
    pub fn boot_at(&mut self, node: NodeIx, at: Millis) {
        let at = Mono::from_nanos(at.get().saturating_mul(1_000_000));
        self.schedule(at, Happening::Boot { node });
    }

    /// Whether a handler ended the process since the last time that somebody asked.
    pub fn handler_exit(&mut self, node: NodeIx) -> bool {
        self.torn_down.remove(&node)
    }

    /// Asks a scheduler process something.
    pub fn request(&mut self, node: NodeIx, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.trace.note(self.now, Some(node), "ask", &[id.0], || {
            format!("{request:?}")
        });
        self.tell(|| Fact::Asked {
            id,
            node,
            request: Box::new(request.clone()),
        });
        self.give(
            node,
            AnyInput::Server(server::Input::Request { id, request }),
        );
        id
    }

    /// Asks a node to leave.
    pub fn drain(&mut self, node: NodeIx) {
        let input = match self.nodes[node].config {
            NodeConfig::Server(_) => AnyInput::Server(server::Input::Drain),
            NodeConfig::Worker(_) | NodeConfig::Remote(_) => AnyInput::Worker(worker::Input::Drain),
        };
        if self.nodes[node].brain.is_some() {
            self.trace
                .note(self.now, Some(node), "drain", &[], String::new);
            self.tell(|| Fact::Draining { node });
            self.give(node, input);
        }
    }

    /// Somebody outside of the deployment writes to the store.
    pub fn meddle(&mut self, txn: Txn) {
        self.stranger(Call::Commit(txn));
    }

    /// Somebody outside of the deployment asks the store for something.
    pub fn stranger(&mut self, call: Call) {
        self.store(kv::Input::Call {
            client: self.client(self.nodes.len(), 0),
            op: OpId(0),
            call,
        });
    }
}
