//! A simulated process: one machine, its inbox while it sleeps, and how its handlers behave.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::Reply;
use windlass_core::ids::{NodeId, OpId, Revision};
use windlass_core::keyspace::{Range, Role};
use windlass_core::machine::Machine;
use windlass_core::server::{self, Server};
use windlass_core::store::{Answer, Change, ViewEvent};
use windlass_core::time::{Mono, Now};
use windlass_core::worker::{self, Worker};

use crate::clock::Clock;
use crate::network::Link;
use crate::remote::{self, Remote};

/// What a node is told at each start.
#[derive(Debug, Clone)]
pub enum NodeConfig {
    /// A scheduler process.
    Server(ServerConfig),
    /// A worker.
    Worker(WorkerConfig),
    /// A worker that talks to gateways only.
    Remote(WorkerConfig),
}

impl NodeConfig {
    /// The node's id.
    pub fn id(&self) -> &NodeId {
        match self {
            Self::Server(config) => &config.id,
            Self::Worker(config) | Self::Remote(config) => &config.id,
        }
    }

    /// What the node does.
    pub fn role(&self) -> Role {
        match self {
            Self::Server(_) => Role::Scheduler,
            Self::Worker(_) | Self::Remote(_) => Role::Worker,
        }
    }

    /// Handlers that the node may run at the same time.
    pub fn slots(&self) -> u32 {
        match self {
            Self::Server(_) => 0,
            Self::Worker(config) | Self::Remote(config) => config.slots,
        }
    }
}

/// The machine of a node.
#[derive(Debug)]
pub enum Brain {
    /// A scheduler process.
    Server(Box<Server>),
    /// A worker.
    Worker(Box<Worker>),
    /// A worker that talks to gateways only.
    Remote(Box<Remote>),
}

/// An input for either kind of machine.
#[derive(Debug, Clone)]
pub enum AnyInput {
    /// Nothing but time.
    Elapsed,
    /// The store said something.
    Store(OpId, Answer),
    /// For a scheduler process.
    Server(server::Input),
    /// For a worker.
    Worker(worker::Input),
    /// What became of a call of a worker that talks to gateways only.
    Answered(u64, Option<Box<Reply>>),
}

/// What a machine wants, in order.
#[derive(Debug)]
pub enum Effects {
    /// A scheduler process.
    Server(Vec<server::Effect>),
    /// A worker.
    Worker(Vec<worker::Effect>),
    /// A worker that talks to gateways only.
    Remote(Vec<remote::Effect>),
}

impl Effects {
    /// How many things.
    pub fn len(&self) -> usize {
        match self {
            Self::Server(all) => all.len(),
            Self::Worker(all) => all.len(),
            Self::Remote(all) => all.len(),
        }
    }

    /// Whether it wants nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A process, and the machine that it runs on.
#[derive(Debug)]
pub struct Node {
    /// What it is told when it starts next.
    pub config: NodeConfig,
    /// Its machine; nothing while it is down: everything volatile is gone.
    pub brain: Option<Brain>,
    /// Counts its lives: what belongs to a former life does not reach this one.
    pub life: u64,
    /// It does not run until then; what arrives waits.
    pub frozen_until: Option<Mono>,
    /// What arrived while it was frozen.
    pub inbox: VecDeque<AnyInput>,
    /// When the last piece of news reached it: news of one connection arrive in order.
    pub last_news: Mono,
    /// The earliest wake-up that was asked for.
    pub wake_at: Option<Mono>,
    /// Its clocks.
    pub clock: Clock,
    /// When a worker's session ends, by its own clock.
    pub session_until: Option<Mono>,
    /// Its connection to the store.
    pub link: Link,
    /// The watches that its port keeps.
    pub watches: BTreeMap<OpId, Range>,
    /// The watches whose full read was broken off, and is about to begin anew.
    pub rereads: BTreeSet<OpId>,
    /// How far a worker knew its claims before the input that it handled last: what it started, it started knowing that.
    pub view_before: Option<Revision>,
    /// How often its process has found that it knew something wrong.
    pub repaired: u64,
    /// What each watch that was asked for is of, until it is lost.
    pub asked: BTreeMap<OpId, Range>,
    /// When the process was told that a watch of it is lost.
    pub lost: BTreeMap<Range, Mono>,
    /// What the last full read of each range told, part by part.
    pub reads: BTreeMap<Range, Vec<ViewEvent>>,
    /// How far its process has ever known the cluster.
    pub reached: Revision,
    /// The last changes that a watch told: from which revision, and to which.
    pub told: Option<(OpId, Revision, Revision, Vec<Change>)>,
}

impl Node {
    /// A node that is down.
    pub fn new(config: NodeConfig, clock: Clock) -> Self {
        Self {
            config,
            brain: None,
            life: 0,
            frozen_until: None,
            inbox: VecDeque::new(),
            last_news: Mono::ZERO,
            wake_at: None,
            clock,
            session_until: None,
            link: Link::default(),
            watches: BTreeMap::new(),
            rereads: BTreeSet::new(),
            view_before: None,
            repaired: 0,
            asked: BTreeMap::new(),
            lost: BTreeMap::new(),
            reads: BTreeMap::new(),
            reached: Revision(0),
            told: None,
        }
    }
}

impl Brain {
    /// Lets the machine handle one input. An input for the other kind of machine means nothing.
    pub fn handle(&mut self, now: Now, input: AnyInput) -> Effects {
        match self {
            Self::Server(server) => {
                let mut out = Vec::new();
                let input = match input {
                    AnyInput::Elapsed => server::Input::Elapsed,
                    AnyInput::Store(op, answer) => server::Input::Store { op, answer },
                    AnyInput::Server(input) => input,
                    AnyInput::Worker(_) | AnyInput::Answered(..) => return Effects::Server(out),
                };
                server.handle(now, input, &mut out);
                Effects::Server(out)
            }
            Self::Worker(worker) => {
                let mut out = Vec::new();
                let input = match input {
                    AnyInput::Elapsed => worker::Input::Elapsed,
                    AnyInput::Store(op, answer) => worker::Input::Store { op, answer },
                    AnyInput::Worker(input) => input,
                    AnyInput::Server(_) | AnyInput::Answered(..) => return Effects::Worker(out),
                };
                worker.handle(now, input, &mut out);
                Effects::Worker(out)
            }
            Self::Remote(remote) => {
                let mut out = Vec::new();
                let input = match input {
                    AnyInput::Elapsed => remote::Input::Elapsed,
                    AnyInput::Answered(call, reply) => remote::Input::Answer(call, reply),
                    AnyInput::Worker(worker::Input::Run { run, event }) => {
                        remote::Input::Run(run, event)
                    }
                    AnyInput::Worker(worker::Input::Drain) => remote::Input::Drain,
                    AnyInput::Worker(
                        worker::Input::Elapsed
                        | worker::Input::Store { .. }
                        | worker::Input::Load { .. },
                    )
                    | AnyInput::Server(_)
                    | AnyInput::Store(..) => return Effects::Remote(out),
                };
                remote.handle(now, input, &mut out);
                Effects::Remote(out)
            }
        }
    }

    /// How far a worker knows its claims.
    pub fn claims_at(&self) -> Option<Revision> {
        match self {
            Self::Server(_) => None,
            Self::Worker(worker) => worker.view_at(),
            Self::Remote(remote) => remote.known(),
        }
    }

    /// How often it found that what it knew was not what the store holds.
    pub fn drift_repaired(&self) -> u64 {
        match self {
            Self::Server(server) => server.drift_repaired(),
            Self::Worker(worker) => worker.drift_repaired(),
            Self::Remote(_) => 0,
        }
    }

    /// When the machine must be called again.
    pub fn deadline(&self) -> Option<Mono> {
        match self {
            Self::Server(server) => server.deadline().map(|(at, _)| at),
            Self::Worker(worker) => worker.deadline().map(|(at, _)| at),
            Self::Remote(remote) => remote.deadline(),
        }
    }
}
