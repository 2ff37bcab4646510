//! What clients may ask of a gateway, and its replies. Syntax was checked before; these are facts of the core's own types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::find::Order;
use super::remote::{RemoteAsk, RemoteTold};
use super::shown::{ChangesView, NodeView, QueueView, StatsView, TaskView, Why};
use super::timings::TimingsView;
use crate::balance::Strategy;
use crate::filter::Filter;
use crate::ids::{
    Fence, LeaseId, LockName, NodeId, Priority, QueueName, Revision, TaskId, TaskType,
};
use crate::record::Json;
use crate::retry::RetryPolicy;
use crate::store::Refusal;
use crate::task_state::TaskState;
use crate::time::{Millis, Wall};

/// Names one request of one client, so that the reply finds its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A task to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Selects the handler.
    pub kind: TaskType,
    /// Where it waits.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    pub payload: Json,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long to wait between them.
    pub retry: RetryPolicy,
    /// How long one attempt may run.
    pub timeout: Millis,
    /// When it may start.
    pub due: Due,
    /// The idempotency key and the hash of the whole body.
    pub key: Option<IdempotencyKey>,
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// As soon as it is its turn.
    Now,
    /// This long after it was accepted.
    In(Millis),
    /// Not before this time.
    At(Wall),
}

/// What makes a repeated submission recognisable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The hash of the client's key, in hex.
    pub key_hash: Arc<str>,
    /// The hash of the submission's body, in hex.
    pub body_hash: Arc<str>,
}

/// Proof of holding, or waiting for, a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockToken {
    /// The waiter's name in the lock's queue.
    pub waiter: NodeId,
    /// The lease that the waiter's key hangs on.
    pub lease: LeaseId,
}

impl LockToken {
    /// The token of a waiter that hangs on `lease`. The waiter's name tells the lease, so that nobody can name another.
    pub(super) fn new(waiter: &NodeId, lease: LeaseId) -> Self {
        let name = format!("{waiter}{}", Self::suffix(lease));
        let waiter = NodeId::new(&name).expect("a short name and hexadecimal digits make a name");
        Self { waiter, lease }
    }

    /// Whether the waiter and the lease belong together.
    pub(super) fn is_whole(&self) -> bool {
        self.waiter.as_str().ends_with(&Self::suffix(self.lease))
    }

    fn suffix(lease: LeaseId) -> String {
        format!("-{:x}", lease.0)
    }
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Accept these tasks. Answered by [`Reply::Submitted`].
    Submit(Vec<TaskSpec>),
    /// Show a task, at once or when it has ended. Answered by [`Reply::Task`].
    Get {
        /// Which.
        task: TaskId,
        /// How long to wait for its end.
        wait: Option<Duration>,
    },
    /// Show tasks. Answered by [`Reply::Tasks`].
    List {
        /// Which.
        filter: Filter,
        /// Which first.
        order: Order,
        /// How many at most; never more than [`super::LIST_MAX`].
        limit: u32,
        /// Continue behind this id, in the same order, as given by the last answer.
        after: Option<TaskId>,
    },
    /// Name tasks. Answered by [`Reply::Found`].
    Find {
        /// Which.
        filter: Filter,
        /// Which first.
        order: Order,
        /// How many at most; never more than [`super::FIND_MAX`].
        limit: u32,
        /// Continue behind this id, in the same order, as given by the last answer.
        after: Option<TaskId>,
    },
    /// Count tasks that a query means. Answered by [`Reply::Count`].
    Count(Filter),
    /// Say why a task waits. Answered by [`Reply::Why`].
    Why(TaskId),
    /// Cancel a task. Answered by [`Reply::Task`].
    Cancel(TaskId),
    /// Run a failed or cancelled task again. Answered by [`Reply::Task`].
    Rerun(TaskId),
    /// Count tasks. Answered by [`Reply::Stats`].
    Stats,
    /// Show the queues. Answered by [`Reply::Queues`].
    Queues,
    /// Say what has changed. Answered by [`Reply::Changes`] or [`Reply::Missed`].
    Changes {
        /// After this revision; when absent, nothing is shown but the revision from which on it can be asked.
        after: Option<Revision>,
        /// How long to wait for something to change.
        wait: Option<Duration>,
    },
    /// Show how long tasks wait and run. Answered by [`Reply::Timings`].
    Timings,
    /// Show the nodes. Answered by [`Reply::Nodes`].
    Nodes,
    /// Change a queue's settings. Answered by [`Reply::Queues`] with that queue.
    ConfigureQueue {
        /// Which.
        queue: QueueName,
        /// The new strategy, if it changes.
        strategy: Option<Strategy>,
        /// Whether it is paused, if that changes.
        paused: Option<bool>,
    },
    /// Tell a worker to take no new tasks. Answered by [`Reply::Nodes`] with that node.
    Drain(NodeId),
    /// Take a lock, waiting for it. Answered by [`Reply::Lock`].
    LockTake {
        /// Which.
        lock: LockName,
        /// Who asks, for people.
        owner: Option<Arc<str>>,
        /// How long it is held without a renewal.
        ttl: Duration,
        /// How long to wait for it.
        wait: Duration,
    },
    /// Keep a lock. Answered by [`Reply::Lock`].
    LockRenew {
        /// Which.
        lock: LockName,
        /// Proof of holding it.
        token: LockToken,
    },
    /// Give a lock back. Answered by [`Reply::Done`].
    LockRelease {
        /// Which.
        lock: LockName,
        /// Proof of holding it.
        token: LockToken,
    },
    /// Do something for a worker that has no connection to the store. Answered by [`Reply::Remote`].
    Remote(Box<RemoteAsk>),
}

/// What a gateway answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The fate of each submitted task, in order.
    Submitted(Vec<Submitted>),
    /// A task.
    Task(Box<TaskView>),
    /// Tasks, and where to continue.
    Tasks {
        /// In the order that was asked for; perhaps none yet.
        tasks: Vec<TaskView>,
        /// Continue behind this id; nothing is left when absent.
        next: Option<TaskId>,
    },
    /// Tasks by their ids, and where to continue.
    Found {
        /// In the order that was asked for; perhaps none yet.
        ids: Vec<TaskId>,
        /// Continue behind this id; nothing is left when absent.
        next: Option<TaskId>,
    },
    /// How many tasks a query means.
    Count {
        /// So many were found.
        count: u64,
        /// All were looked at, and there are no more.
        exact: bool,
    },
    /// Why a task waits.
    Why(Box<Why>),
    /// Counts.
    Stats(Box<StatsView>),
    /// Queues, by name.
    Queues(Vec<QueueView>),
    /// Nodes, by role and id.
    Nodes(Vec<NodeView>),
    /// What has changed.
    Changes(Box<ChangesView>),
    /// What has changed since then is not known any more: what was read before may be outdated.
    Missed {
        /// From here on it is known.
        at: Revision,
    },
    /// How long tasks wait and run.
    Timings(Box<TimingsView>),
    /// A lock is held.
    Lock {
        /// Pass it to whatever the lock protects.
        fence: Fence,
        /// Proof of holding it.
        token: LockToken,
        /// How long it is held without a renewal.
        ttl: Duration,
    },
    /// What a remote worker is told.
    Remote(Box<RemoteTold>),
    /// Done, with nothing to show.
    Done,
    /// There is no such thing.
    NotFound,
    /// The task's state forbids it, or the lock is not held any more.
    Forbidden {
        /// Why, for people.
        because: Arc<str>,
    },
    /// The store took nothing, for certain; the same request may be made again.
    Refused(Refusal),
    /// The gateway cannot serve this now; nothing was done.
    NotReady,
    /// The time for it ran out; it may still take effect.
    TimedOut,
}

/// What became of one submitted task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Submitted {
    /// It is in the store.
    Accepted {
        /// Its id.
        id: TaskId,
        /// Pending, or scheduled.
        state: TaskState,
    },
    /// The same key came with the same body before.
    Repeated {
        /// The first one's id.
        id: TaskId,
    },
    /// The same key came with another body before.
    KeyTaken {
        /// The first one's id.
        id: TaskId,
    },
    /// The store took nothing, for certain.
    Refused(Refusal),
    /// The store did not say in time. Ask for the id.
    Unknown {
        /// The id that it has if it was accepted.
        id: TaskId,
    },
}

impl Request {
    /// Whether it fills the store with work that was not there before.
    pub fn makes_a_task(&self) -> bool {
        match self {
            Self::Submit(_) | Self::Rerun(_) => true,
            Self::Get { .. }
            | Self::List { .. }
            | Self::Find { .. }
            | Self::Count(_)
            | Self::Why(_)
            | Self::Cancel(_)
            | Self::Stats
            | Self::Queues
            | Self::Changes { .. }
            | Self::Timings
            | Self::Nodes
            | Self::ConfigureQueue { .. }
            | Self::Drain(_)
            | Self::LockTake { .. }
            | Self::LockRenew { .. }
            | Self::LockRelease { .. }
            | Self::Remote(_) => false,
        }
    }

    /// How long its client may have to wait for a reply.
    pub fn patience(&self, request_max: Duration) -> Duration {
        let wait = match self {
            Self::Get { wait, .. } | Self::Changes { wait, .. } => wait.unwrap_or(request_max),
            Self::LockTake { wait, .. } => *wait,
            Self::Remote(ask) => ask.wait().unwrap_or(request_max),
            Self::Submit(_)
            | Self::List { .. }
            | Self::Find { .. }
            | Self::Count(_)
            | Self::Why(_)
            | Self::Cancel(_)
            | Self::Rerun(_)
            | Self::Stats
            | Self::Queues
            | Self::Timings
            | Self::Nodes
            | Self::ConfigureQueue { .. }
            | Self::Drain(_)
            | Self::LockRenew { .. }
            | Self::LockRelease { .. } => request_max,
        };
        wait.max(Duration::from_millis(1))
    }
}
