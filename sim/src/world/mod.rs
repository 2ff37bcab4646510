//! A whole deployment on one clock: takes the earliest happening, lets it happen, and queues what follows from it.

mod handlers;
mod run;
mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{NodeId, OpId, TaskId};
use windlass_core::kv::{self, ClientId, Kv, Limits};
use windlass_core::rng::Rng;
use windlass_core::server::{self, Server};
use windlass_core::store::{Answer, Call, StoreCall, Txn};
use windlass_core::time::{Mono, Now, Wall};
use windlass_core::worker::{self, Exit, Worker};

use self::handlers::Handler;
use crate::ledger::Ledger;
use crate::network::{Network, Rudeness};
use crate::node::{AnyEffect, AnyInput, Brain, Node};
use crate::perturb::Aim;

/// The wall clock of every run begins here: 2026-01-01.
const EPOCH: u64 = 1_767_225_600_000;

/// Names a node of the world.
pub type NodeIx = usize;

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    Request {
        node: NodeIx,
        life: u64,
        op: OpId,
        call: Call,
    },
    Answer {
        node: NodeIx,
        life: u64,
        op: OpId,
        answer: Answer,
    },
    Wake {
        node: NodeIx,
    },
    WakeStore,
    HandlerEnds {
        node: NodeIx,
        life: u64,
        run: OpId,
    },
    Thaw {
        node: NodeIx,
    },
    Crash {
        node: NodeIx,
        life: u64,
    },
}

/// A deployment.
#[derive(Debug)]
pub struct World {
    now: Mono,
    seq: u64,
    queue: BTreeMap<(Mono, u64), Happening>,
    kv: Kv,
    store_wake: Option<Mono>,
    /// The processes.
    pub nodes: Vec<Node>,
    configs: Vec<NodeKind>,
    handlers: BTreeMap<(NodeIx, u64, OpId), Handler>,
    /// The network.
    pub network: Network,
    /// What handlers did.
    pub ledger: Ledger,
    /// Replies to clients.
    pub replies: BTreeMap<RequestId, Reply>,
    /// Processes that ended by themselves, and why.
    pub exits: Vec<(NodeIx, Exit)>,
    next_request: u64,
    /// How many happenings there were.
    pub events: u64,
    /// What is to happen to one call.
    pub aim: Aim,
    rng: Rng,
}

#[derive(Debug, Clone)]
enum NodeKind {
    Server(ServerConfig),
    Worker(WorkerConfig),
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, rudeness: Rudeness) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            now: Mono::from_nanos(1),
            seq: 0,
            queue: BTreeMap::new(),
            kv: Kv::new(Limits::default()),
            store_wake: None,
            nodes: Vec::new(),
            configs: Vec::new(),
            handlers: BTreeMap::new(),
            network: Network::new(rng.fork("network"), rudeness),
            ledger: Ledger::default(),
            replies: BTreeMap::new(),
            exits: Vec::new(),
            next_request: 0,
            events: 0,
            aim: Aim::default(),
            rng,
        }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = Wall::from_millis(EPOCH + self.now.as_nanos() / 1_000_000);
        Now {
            mono: self.now,
            wall,
        }
    }

    /// The store.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// The scheduler process at `node`, if it is one and runs.
    pub fn server(&self, node: NodeIx) -> Option<&Server> {
        match self.nodes[node].brain.as_ref()? {
            Brain::Server(server) => Some(server),
            Brain::Worker(_) => None,
        }
    }

    /// The worker at `node`, if it is one and runs.
    pub fn worker(&self, node: NodeIx) -> Option<&Worker> {
        match self.nodes[node].brain.as_ref()? {
            Brain::Server(_) => None,
            Brain::Worker(worker) => Some(worker),
        }
    }

    /// Starts a scheduler process.
    pub fn add_server(&mut self, id: &str, adjust: impl FnOnce(&mut ServerConfig)) -> NodeIx {
        let mut config = ServerConfig::new(id.parse().expect("a test's id is legal"), "sim".into());
        config.ttl = Duration::from_secs(3);
        adjust(&mut config);
        self.add(NodeKind::Server(config))
    }

    /// Starts a worker.
    pub fn add_worker(&mut self, id: &str, adjust: impl FnOnce(&mut WorkerConfig)) -> NodeIx {
        let types = ["noop", "echo", "sleep", "fail"]
            .map(|kind| kind.parse().expect("a stock type is legal"));
        let mut config = WorkerConfig::new(
            id.parse().expect("a test's id is legal"),
            types.into(),
            "sim".into(),
        );
        config.ttl = Duration::from_secs(3);
        adjust(&mut config);
        self.add(NodeKind::Worker(config))
    }

    fn add(&mut self, kind: NodeKind) -> NodeIx {
        let node = self.nodes.len();
        self.configs.push(kind);
        self.nodes.push(Node {
            brain: None,
            life: 0,
            frozen_until: None,
            inbox: std::collections::VecDeque::new(),
            last_news: Mono::ZERO,
            wake_at: None,
        });
        self.boot(node);
        node
    }

    /// Starts a node that is down, with nothing but its configuration.
    pub fn boot(&mut self, node: NodeIx) {
        let (now, seed) = (self.now(), self.rng.draw());
        let brain = match self.configs[node].clone() {
            NodeKind::Server(config) => Brain::Server(Box::new(Server::new(config, seed, now))),
            NodeKind::Worker(config) => Brain::Worker(Box::new(Worker::new(config, seed, now))),
        };
        let state = &mut self.nodes[node];
        state.brain = Some(brain);
        state.frozen_until = None;
        state.inbox.clear();
        state.wake_at = None;
        self.give(node, AnyInput::Elapsed);
    }

    /// Ends a node at once, with everything volatile: its handlers, too.
    pub fn crash(&mut self, node: NodeIx) {
        let state = &mut self.nodes[node];
        state.brain = None;
        state.life += 1;
        self.handlers.retain(|(owner, ..), _| *owner != node);
        let client = self.client(node, self.nodes[node].life - 1);
        self.store(kv::Input::Leave { client });
    }

    /// Stops a node for a while; then it goes on with everything that it believed. Its handlers run on.
    pub fn pause(&mut self, node: NodeIx, lasts: Duration) {
        let until = self.now.after(lasts);
        self.nodes[node].frozen_until = Some(until);
        self.schedule(until, Happening::Thaw { node });
    }

    /// Somebody outside of the deployment writes to the store.
    pub fn meddle(&mut self, txn: Txn) {
        self.store(kv::Input::Call {
            client: self.client(self.nodes.len(), 0),
            op: OpId(0),
            call: Call::Commit(txn),
        });
    }

    fn client(&self, node: NodeIx, life: u64) -> ClientId {
        ClientId(u64::try_from(node).expect("few nodes") << 32 | life)
    }

    fn schedule(&mut self, at: Mono, happening: Happening) {
        self.seq += 1;
        self.queue.insert((at.max(self.now), self.seq), happening);
    }

    /// Asks a scheduler process something.
    pub fn request(&mut self, node: NodeIx, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.give(
            node,
            AnyInput::Server(server::Input::Request { id, request }),
        );
        id
    }

    /// Asks a node to leave.
    pub fn drain(&mut self, node: NodeIx) {
        let input = match self.configs[node] {
            NodeKind::Server(_) => AnyInput::Server(server::Input::Drain),
            NodeKind::Worker(_) => AnyInput::Worker(worker::Input::Drain),
        };
        self.give(node, input);
    }

    fn give(&mut self, node: NodeIx, input: AnyInput) {
        if self.nodes[node].frozen_until.is_some() {
            self.nodes[node].inbox.push_back(input);
            return;
        }
        let now = self.now();
        let Some(brain) = &mut self.nodes[node].brain else {
            return;
        };
        let effects = brain.handle(now, input);
        let deadline = brain.deadline();
        for effect in effects {
            self.perform(node, effect);
        }
        if let Some(at) = deadline
            && self.nodes[node]
                .wake_at
                .is_none_or(|wake| at < wake || wake <= self.now)
        {
            self.nodes[node].wake_at = Some(at);
            self.schedule(at, Happening::Wake { node });
        }
    }

    fn perform(&mut self, node: NodeIx, effect: AnyEffect) {
        let life = self.nodes[node].life;
        match effect {
            AnyEffect::Store(StoreCall { op, call }) => self.send(node, life, op, call),
            AnyEffect::Server(server::Effect::Reply { id, reply }) => {
                let before = self.replies.insert(id, reply);
                assert!(before.is_none(), "a request is answered once");
            }
            AnyEffect::Server(server::Effect::Exit(exit))
            | AnyEffect::Worker(worker::Effect::Exit(exit)) => {
                self.exits.push((node, exit));
                self.crash(node);
            }
            AnyEffect::Server(server::Effect::Store(_))
            | AnyEffect::Worker(worker::Effect::Store(_)) => {
                unreachable!("calls were sorted out before")
            }
            AnyEffect::Worker(worker::Effect::Start(start)) => self.start(node, life, start),
            AnyEffect::Worker(worker::Effect::Stop { run, reason }) => {
                if let Some(handler) = self.handlers.get_mut(&(node, life, run)) {
                    handler.stopped = Some(reason);
                    self.schedule(
                        self.now.after(Duration::from_micros(100)),
                        Happening::HandlerEnds { node, life, run },
                    );
                }
            }
            AnyEffect::Worker(worker::Effect::Fence { .. }) => {}
        }
    }

    /// Lets the earliest happening happen. Says whether there was one.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), happening)) = self.queue.pop_first() else {
            return false;
        };
        assert!(at >= self.now, "time only goes on");
        self.now = at;
        self.events += 1;
        match happening {
            Happening::Request {
                node,
                life,
                op,
                call,
            } => {
                if self.nodes[node].life == life || matches!(call, Call::Commit(_)) {
                    let client = self.client(node, life);
                    self.store(kv::Input::Call { client, op, call });
                }
            }
            Happening::Answer {
                node,
                life,
                op,
                answer,
            } => {
                if self.nodes[node].life == life {
                    self.give(node, AnyInput::Store(op, answer));
                    if self.aim.crashes_after(node, life, op) {
                        self.schedule(self.now, Happening::Crash { node, life });
                    }
                }
            }
            Happening::Wake { node } => {
                if self.nodes[node].wake_at.is_some_and(|wake| wake <= at) {
                    self.nodes[node].wake_at = None;
                    self.give(node, AnyInput::Elapsed);
                }
            }
            Happening::WakeStore => {
                self.store_wake = None;
                self.store(kv::Input::Elapsed);
            }
            Happening::HandlerEnds { node, life, run } => self.end_handler(node, life, run),
            Happening::Thaw { node } => self.thaw(node),
            Happening::Crash { node, life } => {
                if self.nodes[node].life == life {
                    self.crash(node);
                }
            }
        }
        true
    }

    fn thaw(&mut self, node: NodeIx) {
        if self.nodes[node]
            .frozen_until
            .is_none_or(|until| until > self.now)
        {
            return;
        }
        self.nodes[node].frozen_until = None;
        self.give(node, AnyInput::Elapsed);
        while let Some(input) = self.nodes[node].inbox.pop_front() {
            self.give(node, input);
        }
    }

    /// The id of a node.
    pub fn id_of(&self, node: NodeIx) -> &NodeId {
        match &self.configs[node] {
            NodeKind::Server(config) => &config.id,
            NodeKind::Worker(config) => &config.id,
        }
    }

    /// The first start of each task, in order.
    pub fn started(&self) -> Vec<TaskId> {
        self.ledger.first_starts()
    }
}
