//! A whole run as data: who takes part, what users do, what breaks. Decided before it starts, so that it can be printed,
//! kept and cut down.

mod draw;
mod parts;

use serde::{Deserialize, Serialize};
use windlass_core::balance::Strategy;
use windlass_core::gateway::TaskState;
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::time::Millis;

use crate::checkers::Terms;
use crate::clock::EPOCH_MS;
use crate::fact::NodeIx;
use crate::liveness::BUDGET;
use crate::nemesis::{Fault, Way};
use crate::network::Rudeness;

pub use self::parts::Part;

/// A whole run, decided before it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Decides what chance decides within the run: latencies, the machines' own seeds, the order of what is simultaneous.
    pub seed: u64,
    /// The time to live of every node's lease.
    pub ttl: Millis,
    /// Who takes part. Nodes are numbered in this order: schedulers first.
    pub servers: Vec<ServerPlan>,
    /// The workers.
    pub workers: Vec<WorkerPlan>,
    /// How long ended tasks are kept.
    pub retention: Millis,
    /// What the network does by itself.
    pub rudeness: Rudeness,
    /// What users do, in order of time.
    pub acts: Vec<Timed<Act>>,
    /// What breaks, in order of time.
    pub faults: Vec<Timed<Fault>>,
    /// When faults end.
    pub safety: Millis,
    /// What stays broken when the rest is healed.
    pub broken: Vec<Broken>,
}

/// Something at a planned time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed<T> {
    /// When, from the beginning of the run.
    pub at: Millis,
    /// What.
    pub what: T,
}

/// A scheduler process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPlan {
    /// Transactions that each of its parts may have in flight.
    pub lanes: u8,
    /// When it first starts.
    pub starts: Millis,
}

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlan {
    /// Handlers that it runs at the same time.
    pub slots: u32,
    /// Its share under the weighted strategy.
    pub weight: u32,
    /// The queues that it serves, by number; all when empty.
    pub queues: Vec<u8>,
    /// Transactions that it may have in flight.
    pub lanes: u8,
    /// When it first starts.
    pub starts: Millis,
}

/// The queues of every run.
pub const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

/// What stays broken while everything must come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// The node is down for good.
    Down(NodeIx),
    /// The node does not run any more, and is not dead.
    Frozen(NodeIx),
    /// The node's connection stays cut.
    Cut(NodeIx, Way),
}

impl Broken {
    /// Which node.
    pub fn node(&self) -> NodeIx {
        match self {
            Self::Down(node) | Self::Frozen(node) | Self::Cut(node, _) => *node,
        }
    }
}

/// A task to be submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPlan {
    /// Selects the handler.
    pub kind: String,
    /// What the handler gets.
    pub payload: Json,
    /// Where it waits, by number.
    pub queue: u8,
    /// How urgent it is.
    pub priority: Priority,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long to wait between them.
    pub backoff: Millis,
    /// How long an attempt may run.
    pub timeout: Millis,
    /// How much later it is due.
    pub delay: Millis,
    /// Its idempotency key and body, by number.
    pub key: Option<(u8, u8)>,
}

/// Something that a user does. Tasks, submissions and locks are named by number, counted round those there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Submits tasks.
    Submit {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which.
        tasks: Vec<TaskPlan>,
    },
    /// Makes a former submission once more, as a client that heard nothing does.
    Repeat {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which submission.
        nth: u32,
    },
    /// Gives up a request, as a client does that ends.
    Vanish {
        /// Which of the requests that were not answered yet.
        nth: u32,
    },
    /// Looks at a task, or waits for its end.
    Get {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which task.
        nth: u32,
        /// How long to wait.
        wait: Option<Millis>,
    },
    /// Lists tasks.
    List {
        /// Through which scheduler process.
        server: NodeIx,
        /// In which state.
        state: Option<TaskState>,
    },
    /// Asks for the totals.
    Stats {
        /// Through which scheduler process.
        server: NodeIx,
    },
    /// Cancels a task.
    Cancel {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which task.
        nth: u32,
    },
    /// Runs a task again.
    Rerun {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which task.
        nth: u32,
    },
    /// Changes a queue's settings.
    Configure {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which queue, by number.
        queue: u8,
        /// The new strategy.
        strategy: Option<Strategy>,
        /// Whether it is paused.
        paused: Option<bool>,
    },
    /// Tells a process to leave, as the machine's service manager does. It is started again after a while.
    Drain {
        /// Which.
        node: NodeIx,
        /// How much later it is started again.
        back_after: Millis,
        /// The slots that it has then, if it is a worker.
        slots: u32,
    },
    /// Orders a worker to take no new tasks, through the API.
    Order {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which worker.
        node: NodeIx,
    },
    /// Takes a lock.
    LockTake {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which, by number.
        lock: u8,
        /// How long it is held without a renewal.
        ttl: Millis,
        /// How long to wait for it.
        wait: Millis,
    },
    /// Renews a lock that somebody got.
    LockRenew {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which of those that were got.
        nth: u32,
    },
    /// Gives a lock back.
    LockRelease {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which of those that were got.
        nth: u32,
    },
}

impl Scenario {
    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.servers.len() + self.workers.len()
    }

    /// What checkers need to know.
    pub fn terms(&self) -> Terms {
        Terms {
            ttl_ms: self.ttl.get(),
            end_max_ms: u64::try_from(BUDGET.as_millis()).expect("minutes"),
            losses_max: LOSSES_MAX,
            epoch_ms: EPOCH_MS,
            retention_ms: self.retention.get(),
            drain_max_ms: self.ttl.get() + DRAIN_MAX_MS,
            advice_max_ms: 0,
        }
    }
}

/// How long a node may take to leave, beside the time of its lease: the grace of handlers, and what clients wait for.
const DRAIN_MAX_MS: u64 = 15_000;

/// How many workers may vanish under a task.
pub const LOSSES_MAX: u32 = 10;
