//! A whole deployment on one clock: takes the earliest happening, lets it happen, and queues what follows from it.

mod compare;
mod handlers;
mod lagging;
mod lives;
mod lockers;
mod news;
mod orders;
mod queue;
mod remotes;
mod run;
mod tell;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::gateway::{RemoteAsk, Reply, RequestId};
use windlass_core::ids::{LeaseId, NodeId, OpId, TaskId};
use windlass_core::kv::{self, ClientId, Kv, Limits};
use windlass_core::rng::Rng;
use windlass_core::room::Level;
use windlass_core::server::{self, Server};
use windlass_core::store::{Answer, Call, StoreCall};
use windlass_core::time::{Mono, Now, Wall};
use windlass_core::worker::{self, Exit, Worker};

use self::compare::Truth;
use self::handlers::Handler;
use self::queue::EventQueue;
use crate::book::Book;
use crate::clock::EPOCH_MS;
use crate::fact::Fact;
use crate::ledger::Ledger;
use crate::nemesis::{FaultKind, Outage};
use crate::network::{Network, Rudeness};
use crate::node::{AnyInput, Brain, Effects, Node};
use crate::perturb::Aim;
use crate::trace::Trace;

pub use crate::fact::NodeIx;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
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
    /// A port that broke off a full read begins it anew.
    Reread {
        node: NodeIx,
        life: u64,
        op: OpId,
    },
    /// A port has noticed that its watches are lost.
    Reconnect {
        node: NodeIx,
        life: u64,
    },
    Wake {
        node: NodeIx,
    },
    WakeStore,
    HandlerActs {
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
    Boot {
        node: NodeIx,
    },
    /// A call of a worker that talks to gateways only reaches a gateway.
    Call {
        node: NodeIx,
        life: u64,
        call: u64,
        server: NodeIx,
        ask: Box<RemoteAsk>,
    },
    /// Its answer comes back, or it is given up.
    Called {
        node: NodeIx,
        life: u64,
        call: u64,
        reply: Option<Box<Reply>>,
    },
    EndOutage,
    EndDrift {
        node: NodeIx,
    },
    EndUpgrade,
}

/// A deployment.
#[derive(Debug)]
pub struct World {
    now: Mono,
    queue: EventQueue,
    kv: Kv,
    store_wake: Option<Mono>,
    truth: Truth,
    /// What the store as a whole suffers from.
    pub(crate) outage: Outage,
    /// The processes.
    pub nodes: Vec<Node>,
    handlers: BTreeMap<(NodeIx, u64, OpId), Handler>,
    /// The network.
    pub network: Network,
    /// What handlers did.
    pub ledger: Ledger,
    /// The calls of workers that gateways have not answered yet.
    called: BTreeMap<RequestId, remotes::Caller>,
    /// Replies to clients.
    pub replies: BTreeMap<RequestId, Reply>,
    /// Processes that ended by themselves, and why.
    pub exits: Vec<(NodeIx, Exit)>,
    /// Processes that a handler ended, until somebody asks.
    torn_down: BTreeSet<NodeIx>,
    /// Nodes that nobody starts again.
    pub given_up: BTreeSet<NodeIx>,
    /// What each scheduler process last knew of the store's room.
    levels: BTreeMap<NodeIx, Level>,
    next_request: u64,
    /// How many happenings there were.
    pub events: u64,
    /// What is to happen to one call.
    pub aim: Aim,
    /// Where every task is, by the store.
    pub book: Book,
    /// When an event was last lost without a word.
    pub(crate) lost_event: Option<Mono>,
    /// How often each kind of fault had an effect.
    pub hits: BTreeMap<FaultKind, u64>,
    /// Everything that happens, as a hash.
    pub trace: Trace,
    /// What happened since somebody last took it away; kept only when somebody wants it.
    facts: Option<Vec<(Mono, Fact)>>,
    rng: Rng,
    ties: Rng,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, rudeness: Rudeness) -> Self {
        Self::with_limits(seed, rudeness, Limits::default())
    }

    /// An empty world whose store has these limits.
    pub fn with_limits(seed: u64, rudeness: Rudeness, limits: Limits) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            now: Mono::from_nanos(1),
            queue: EventQueue::default(),
            kv: Kv::new(limits),
            store_wake: None,
            truth: Truth::default(),
            outage: Outage::default(),
            nodes: Vec::new(),
            handlers: BTreeMap::new(),
            network: Network::new(rng.fork("network"), rudeness),
            ledger: Ledger::default(),
            called: BTreeMap::new(),
            replies: BTreeMap::new(),
            exits: Vec::new(),
            torn_down: BTreeSet::new(),
            given_up: BTreeSet::new(),
            levels: BTreeMap::new(),
            next_request: 0,
            events: 0,
            aim: Aim::default(),
            book: Book::default(),
            lost_event: None,
            hits: BTreeMap::new(),
            trace: Trace::new(0),
            facts: None,
            ties: rng.fork("ties"),
            rng,
        }
    }

    /// From now on the store says that it has this quota, in bytes.
    pub fn set_quota(&mut self, quota: Option<u64>) {
        self.outage.quota = quota;
    }

    /// The time, by clocks without error.
    pub fn now(&self) -> Now {
        let wall = Wall::from_millis(EPOCH_MS + self.now.as_nanos() / 1_000_000);
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
            Brain::Worker(_) | Brain::Remote(_) => None,
        }
    }

    /// The worker at `node`, if it is one and runs.
    pub fn worker(&self, node: NodeIx) -> Option<&Worker> {
        match self.nodes[node].brain.as_ref()? {
            Brain::Server(_) | Brain::Remote(_) => None,
            Brain::Worker(worker) => Some(worker),
        }
    }

    /// Whether the worker at `node` takes tasks, of whatever kind it is; `None` when no worker runs there.
    pub fn is_taking(&self, node: NodeIx) -> Option<bool> {
        match self.nodes[node].brain.as_ref()? {
            Brain::Server(_) => None,
            Brain::Worker(worker) => Some(worker.is_ready()),
            Brain::Remote(remote) => Some(remote.is_ready()),
        }
    }

    fn client(&self, node: NodeIx, life: u64) -> ClientId {
        ClientId(u64::try_from(node).expect("few nodes") << 32 | life)
    }

    /// Queues a happening. Which of two at the same time comes first is drawn.
    pub(crate) fn schedule(&mut self, at: Mono, happening: Happening) {
        let tie = u32::try_from(self.ties.draw() >> 32).expect("32 bits are left");
        self.queue.push(at.max(self.now), tie, happening);
    }

    pub(crate) fn give(&mut self, node: NodeIx, input: AnyInput) {
        let now = self.nodes[node].clock.now(self.now);
        let state = &mut self.nodes[node];
        if state.frozen_until.is_some() {
            state.inbox.push_back(input);
            return;
        }
        let Some(brain) = &mut state.brain else {
            return;
        };
        state.view_before = brain.claims_at();
        let effects = brain.handle(now, input);
        let deadline = brain.deadline().map(|at| state.clock.on_run(at));
        self.tell(|| Fact::Handled {
            node,
            effects: effects.len(),
        });
        self.tell_room(node);
        self.tell_repair(node);
        match effects {
            Effects::Server(all) => {
                for effect in all {
                    self.perform_of_server(node, effect);
                }
            }
            Effects::Worker(all) => {
                for effect in all {
                    self.perform_of_worker(node, effect);
                }
            }
            Effects::Remote(all) => {
                for effect in all {
                    self.perform_of_remote(node, effect);
                }
            }
        }
        self.wake_at(node, deadline);
    }

    fn tell_repair(&mut self, node: NodeIx) {
        let state = &mut self.nodes[node];
        let repaired = state.brain.as_ref().map_or(0, Brain::drift_repaired);
        // A new process has found nothing yet.
        if std::mem::replace(&mut state.repaired, repaired) < repaired {
            self.trace
                .note(self.now, Some(node), "repaired", &[repaired], || {
                    repaired.to_string()
                });
            self.tell(|| Fact::Repaired { node });
        }
    }

    fn tell_room(&mut self, node: NodeIx) {
        let Some(level) = self.server(node).map(|it| it.room().level) else {
            return;
        };
        if self.levels.insert(node, level).unwrap_or_default() != level {
            self.trace
                .note(self.now, Some(node), "room", &[level as u64], || {
                    level.as_str().to_owned()
                });
            self.tell(|| Fact::Room { node, level });
        }
    }

    fn wake_at(&mut self, node: NodeIx, deadline: Option<Mono>) {
        let now = self.now;
        let state = &mut self.nodes[node];
        if let Some(at) = deadline
            && state.wake_at.is_none_or(|wake| at < wake || wake <= now)
        {
            state.wake_at = Some(at);
            self.schedule(at, Happening::Wake { node });
        }
    }

    fn perform_of_server(&mut self, node: NodeIx, effect: server::Effect) {
        match effect {
            server::Effect::Store(StoreCall { op, call }) => {
                self.send(node, self.nodes[node].life, op, call);
            }
            server::Effect::Reply { id, reply } => {
                self.trace.note(self.now, Some(node), "reply", &[id.0], || {
                    format!("{reply:?}")
                });
                self.tell(|| Fact::Answered {
                    id,
                    node,
                    reply: Box::new(reply.clone()),
                });
                if let Some(caller) = self.called.remove(&id) {
                    return self.answer_remote(caller, reply);
                }
                let before = self.replies.insert(id, reply);
                assert!(before.is_none(), "a request is answered once");
            }
            server::Effect::Exit(exit) => self.exit(node, exit),
        }
    }

    fn perform_of_worker(&mut self, node: NodeIx, effect: worker::Effect) {
        let life = self.nodes[node].life;
        match effect {
            worker::Effect::Store(StoreCall { op, call }) => self.send(node, life, op, call),
            worker::Effect::Exit(exit) => self.exit(node, exit),
            worker::Effect::Start(start) => self.start(node, life, start),
            worker::Effect::Stop { run, reason } => self.stop(node, life, run, reason),
            worker::Effect::Locked { run, ask, fence } => {
                self.locked(node, life, run, ask, fence);
            }
            worker::Effect::LockRefused { run, .. } => self.lock_refused(node, life, run),
            worker::Effect::Fence { at } => {
                self.nodes[node].session_until = Some(at);
                self.tell_session(node);
            }
        }
    }

    /// Tells when a worker's session ends by the run's clock, which is another time when its own clock goes otherwise.
    pub(crate) fn tell_session(&mut self, node: NodeIx) {
        let state = &self.nodes[node];
        if let Some(at) = state.session_until {
            let until = state.clock.on_run(at);
            let lease = match &state.brain {
                Some(Brain::Remote(_)) => self.lease_of_remote(node),
                Some(Brain::Server(_) | Brain::Worker(_)) | None => {
                    self.worker(node).and_then(Worker::lease)
                }
            };
            let lease_until = match lease {
                // The store's clock has stood still while it was down, and may again.
                Some(lease) => {
                    let until = self.kv.lease_until(lease);
                    until.map(|at| at.after(self.outage.lost))
                }
                // Who has ended its lease itself relies on it no more.
                None => Some(until),
            };
            self.tell(|| Fact::SessionUntil {
                node,
                until,
                lease_until,
            });
        }
    }

    /// Lets the earliest happening happen. Says whether there was one.
    pub fn step(&mut self) -> bool {
        let Some((at, happening)) = self.queue.pop() else {
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
            } => self.arrive(node, life, op, call),
            Happening::Answer {
                node,
                life,
                op,
                answer,
            } => self.take_answer(node, life, op, answer),
            Happening::Reread { node, life, op } => self.read_again(node, life, op),
            Happening::Reconnect { node, life } => self.reconnect(node, life),
            Happening::Wake { node } => {
                if self.nodes[node].wake_at.is_some_and(|wake| wake <= at) {
                    self.nodes[node].wake_at = None;
                    self.trace.note(at, Some(node), "wake", &[], String::new);
                    self.give(node, AnyInput::Elapsed);
                }
            }
            Happening::WakeStore => {
                self.store_wake = None;
                if !self.outage.is_down() {
                    self.store(kv::Input::Elapsed);
                }
            }
            Happening::Call {
                node,
                life,
                call,
                server,
                ask,
            } => self.call_arrives(node, life, call, server, *ask),
            Happening::Called {
                node,
                life,
                call,
                reply,
            } => self.call_ends(node, life, call, reply),
            Happening::HandlerActs { node, life, run } => self.handler_acts(node, life, run),
            Happening::Thaw { node } => self.thaw(node),
            Happening::Crash { node, life } => {
                if self.nodes[node].life == life {
                    self.crash(node);
                }
            }
            Happening::Boot { node } => {
                if self.nodes[node].brain.is_none() && !self.given_up.contains(&node) {
                    self.boot(node);
                }
            }
            Happening::EndOutage => self.end_outage(),
            Happening::EndDrift { node } => self.set_drift(node, 0),
            Happening::EndUpgrade => self.end_upgrade(),
        }
        true
    }

    /// The leases that the store knows to live.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.outage.leases.iter().copied().collect()
    }

    /// The id of a node.
    pub fn id_of(&self, node: NodeIx) -> &NodeId {
        self.nodes[node].config.id()
    }

    /// The first start of each task, in order.
    pub fn started(&self) -> Vec<TaskId> {
        self.ledger.first_starts()
    }

    /// When the next thing happens.
    pub fn next(&self) -> Option<Mono> {
        self.queue.next_at()
    }
}
