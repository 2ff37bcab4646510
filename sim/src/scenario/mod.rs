//! A whole run as data: who takes part, what users do, what breaks. Decided before it starts, so that it can be printed,
//! kept and cut down.

mod draw;
mod parts;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_core::balance::Strategy;
use windlass_core::gateway::TaskState;
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
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
    /// What everybody is told, and how much the store takes at once.
    #[serde(default)]
    pub settings: Settings,
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

/// What everybody is told, and how much the store takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long a worker may be silent after an attempt's time-out before it is flagged, and again before it is taken.
    pub silence_grace: Millis,
    /// How many workers may vanish under a task.
    pub losses_max: u32,
    /// How long a claim may wait for a slot.
    pub claim_wait_max: Millis,
    /// How often the totals of nodes that are gone are folded.
    pub fold_every: Millis,
    /// How many entries a part of a full read has.
    pub part_items_max: u32,
    /// The store's quota, in bytes; none when absent.
    pub quota: Option<u64>,
    /// The largest transaction that the store takes, in bytes.
    pub request_bytes_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            silence_grace: Millis::from_secs(10),
            losses_max: LOSSES_MAX,
            claim_wait_max: Millis::from_secs(10),
            fold_every: Millis::from_secs(60),
            part_items_max: 1_000,
            quota: None,
            request_bytes_max: REQUEST_BYTES_MAX,
        }
    }
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
    /// Whether it talks to gateways only.
    #[serde(default)]
    pub remote: bool,
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
    /// How the wait grows and varies; it stays the same, with full jitter, when nothing is said.
    #[serde(default)]
    pub retry: Option<RetryPolicy>,
    /// How long an attempt may run.
    pub timeout: Millis,
    /// How much later it is due.
    pub delay: Millis,
    /// Its idempotency key and body, by number.
    pub key: Option<(u8, u8)>,
}

impl TaskPlan {
    /// The wait that its handler advises after a failure, in milliseconds.
    fn advice(&self) -> u64 {
        let arguments = self.payload.to::<BTreeMap<String, u64>>().ok();
        arguments
            .and_then(|it| it.get(ADVICE).copied())
            .unwrap_or(0)
    }
}

/// The name of a payload's field that tells the wait that a failing handler advises.
pub const ADVICE: &str = "again_ms";

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
    /// Asks what has changed since it was last told, a few times.
    Follow {
        /// Through which scheduler process.
        server: NodeIx,
        /// How long to wait for something to change.
        wait: Option<Millis>,
    },
    /// Cancels a task.
    Cancel {
        /// Through which scheduler process.
        server: NodeIx,
        /// Which task.
        nth: u32,
    },
    /// Asks something about a task just when it takes a step, as users do that watch one.
    Ambush {
        /// What the task must do.
        step: Move,
        /// How many such steps pass before.
        skip: u32,
        /// How much later it is asked.
        after: Millis,
        /// What is asked.
        wish: Wish,
        /// Through which scheduler process.
        server: NodeIx,
        /// Through which other one the same is asked at the same time.
        also: Option<NodeIx>,
    },
    /// Asks the same about every task that it makes sense for, as operators do that clean up.
    Sweep {
        /// Through which scheduler process.
        server: NodeIx,
        /// What.
        wish: Wish,
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

/// A step of a task's, as a user sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// It waits in its queue.
    Waits,
    /// It is put off.
    Delayed,
    /// A worker has it.
    Claimed,
    /// It has ended badly, or was cancelled.
    Ended,
}

/// What may be asked about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// To see it.
    Get,
    /// That it ends.
    Cancel,
    /// That it runs again.
    Rerun,
}

impl Scenario {
    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.servers.len() + self.workers.len()
    }

    /// The longest wait that a handler advises.
    fn advice_max(&self) -> u64 {
        let submitted = self.acts.iter().flat_map(|act| match &act.what {
            Act::Submit { tasks, .. } => tasks.as_slice(),
            Act::Repeat { .. }
            | Act::Vanish { .. }
            | Act::Get { .. }
            | Act::List { .. }
            | Act::Stats { .. }
            | Act::Follow { .. }
            | Act::Cancel { .. }
            | Act::Ambush { .. }
            | Act::Sweep { .. }
            | Act::Rerun { .. }
            | Act::Configure { .. }
            | Act::Drain { .. }
            | Act::Order { .. }
            | Act::LockTake { .. }
            | Act::LockRenew { .. }
            | Act::LockRelease { .. } => &[],
        });
        submitted.map(TaskPlan::advice).max().unwrap_or(0)
    }

    /// What checkers need to know.
    pub fn terms(&self) -> Terms {
        Terms {
            ttl_ms: self.ttl.get(),
            end_max_ms: u64::try_from(BUDGET.as_millis()).expect("minutes"),
            losses_max: self.settings.losses_max,
            epoch_ms: EPOCH_MS,
            retention_ms: self.retention.get(),
            drain_max_ms: self.ttl.get() + DRAIN_MAX_MS,
            claim_wait_max_ms: self.settings.claim_wait_max.get(),
            advice_max_ms: self.advice_max(),
            request_bytes_max: self.settings.request_bytes_max,
        }
    }
}

/// How long a node may take to leave, beside the time of its lease: the grace of handlers, and what clients wait for.
const DRAIN_MAX_MS: u64 = 15_000;

/// The largest transaction that a store takes whose operator has changed nothing: etcd's default.
pub const REQUEST_BYTES_MAX: u32 = 1_536 * 1_024;

/// How many workers may vanish under a task.
pub const LOSSES_MAX: u32 = 10;
