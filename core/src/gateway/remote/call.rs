//! What remote workers ask of a gateway, and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{
    Attempt, Fence, NodeId, Priority, QueueName, Registration, Revision, TaskId, TaskType,
};
use crate::record::{Json, StopReason};
use crate::retry::Verdict;
use crate::time::{Millis, Wall};

/// A worker that wants to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteSpec {
    /// Its id; the gateway draws one when it has none.
    pub id: Option<NodeId>,
    /// What it runs, for people.
    pub version: Arc<str>,
    /// The time to live of its lease.
    pub ttl: Duration,
    /// Handlers that it runs at the same time.
    pub slots: u32,
    /// The queues that it serves; all when empty.
    pub queues: Vec<QueueName>,
    /// The types that it runs.
    pub types: Vec<TaskType>,
    /// Its share under the weighted strategy.
    pub weight: u32,
    /// Labels for people.
    pub labels: BTreeMap<String, String>,
    /// The hash of the secret that it is given, in hex.
    pub secret_hash: Arc<str>,
}

/// Proof of being one life of a remote worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteToken {
    /// Which worker.
    pub worker: NodeId,
    /// Which life of it.
    pub registration: Registration,
    /// The hash of the secret that it knows, in hex.
    pub secret_hash: Arc<str>,
}

/// One attempt of one task. Attempts of different tasks that one transaction gave away have the same fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteAttempt {
    /// Which task.
    pub task: TaskId,
    /// Larger than that of every earlier attempt of it.
    pub fence: Fence,
}

/// What a remote worker asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteAsk {
    /// To take part. Told [`RemoteTold::Joined`].
    Join(Box<RemoteSpec>),
    /// For tasks. Told [`RemoteTold::Fetched`].
    Fetch {
        /// Proof of who it is.
        token: RemoteToken,
        /// The attempts that it has.
        held: Vec<RemoteAttempt>,
        /// Those among them that it knows must stop.
        stopping: Vec<RemoteAttempt>,
        /// It knows that it is to take no new tasks.
        draining: bool,
        /// How many tasks at most; never more than [`super::FETCH_TASKS_MAX`].
        max: u32,
        /// How long to wait for something new; not at all when absent.
        wait: Option<Duration>,
    },
    /// That its session goes on. Told [`RemoteTold::Beaten`].
    Beat {
        /// Proof of who it is.
        token: RemoteToken,
        /// The attempts that it has.
        held: Vec<RemoteAttempt>,
        /// It is about to leave: nothing is offered for it any more.
        leaving: bool,
    },
    /// That people see how far an attempt is. Told [`RemoteTold::Recorded`] or [`RemoteTold::Stale`].
    Progress {
        /// Proof of who it is.
        token: RemoteToken,
        /// Which attempt.
        attempt: RemoteAttempt,
        /// What people see.
        progress: Json,
    },
    /// That an attempt's end is recorded. Told [`RemoteTold::Recorded`] or [`RemoteTold::Stale`].
    Done {
        /// Proof of who it is.
        token: RemoteToken,
        /// Which attempt.
        attempt: RemoteAttempt,
        /// How it ended.
        end: RemoteEnd,
        /// How long its handler ran, by the worker's clock.
        ran: Option<Millis>,
    },
    /// To take part no more. Told [`RemoteTold::Left`].
    Leave {
        /// Proof of who it is.
        token: RemoteToken,
    },
}

/// How an attempt of a remote worker's ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteEnd {
    /// Its handler succeeded with this result.
    Completed(Json),
    /// Its handler failed.
    Failed {
        /// For people.
        error: Arc<str>,
        /// Whether to try again.
        verdict: Verdict,
    },
    /// It ran longer than its time-out.
    TimedOut,
    /// It was not started, or stopped without being to blame: the task waits again, and nothing is counted.
    HandedBack,
}

/// An attempt that is given to a remote worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStart {
    /// Which task.
    pub task: TaskId,
    /// Larger than that of every earlier attempt.
    pub fence: Fence,
    /// Selects the handler.
    pub kind: TaskType,
    /// Where it waited.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    pub payload: Json,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// When the task was accepted.
    pub created_at: Wall,
    /// How many attempts of this run there were, this one included.
    pub attempt: Attempt,
    /// How long it may run; the worker stops it then.
    pub timeout: Millis,
    /// It must not be started, but handed back.
    pub stop: Option<StopReason>,
}

/// An attempt that must stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStop {
    /// Which.
    pub attempt: RemoteAttempt,
    /// Why. [`StopReason::Fenced`]: its claim is gone, and what it does is refused.
    pub reason: StopReason,
}

/// What a remote worker is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteTold {
    /// It takes part.
    Joined {
        /// Its id.
        worker: NodeId,
        /// Its life.
        registration: Registration,
        /// How long its session lasts from when it asked, without a beat.
        ttl: Duration,
    },
    /// What is new for it.
    Fetched {
        /// Attempts that it did not name as held.
        tasks: Vec<RemoteStart>,
        /// Attempts that must stop, of those it named.
        stops: Vec<RemoteStop>,
        /// It is to take no new tasks.
        draining: bool,
        /// The revision that this is true at, or later.
        at: Revision,
    },
    /// Its session goes on.
    Beaten {
        /// How long it lasts from when this beat was sent, without another.
        ttl: Duration,
        /// Attempts that must stop, of those it named.
        stops: Vec<RemoteStop>,
        /// It is to take no new tasks.
        draining: bool,
    },
    /// It is in the store, now or since an earlier call.
    Recorded,
    /// The claim was gone before: nothing was changed.
    Stale,
    /// It takes part no more.
    Left,
    /// A worker of this id takes part still.
    Taken,
    /// The session is over, or never was, or the token is wrong.
    Over,
}

impl RemoteAsk {
    /// How long it waits for something to happen.
    pub(in crate::gateway) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Fetch { wait, .. } => *wait,
            Self::Join(_)
            | Self::Beat { .. }
            | Self::Progress { .. }
            | Self::Done { .. }
            | Self::Leave { .. } => None,
        }
    }

    /// From now on it waits for nothing.
    pub(in crate::gateway) fn stop_waiting(&mut self) {
        match self {
            Self::Fetch { wait, .. } => *wait = None,
            Self::Join(_)
            | Self::Beat { .. }
            | Self::Progress { .. }
            | Self::Done { .. }
            | Self::Leave { .. } => {}
        }
    }

    /// The worker whose news it may wait for.
    pub(in crate::gateway) fn worker(&self) -> Option<&NodeId> {
        match self {
            Self::Fetch { token, .. }
            | Self::Beat { token, .. }
            | Self::Progress { token, .. }
            | Self::Done { token, .. }
            | Self::Leave { token } => Some(&token.worker),
            Self::Join(_) => None,
        }
    }
}
