//! Tasks, queues, nodes and counts as people see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::balance::Strategy;
use crate::filter::{Fact, Facts};
use crate::ids::{Fence, NodeId, Priority, QueueName, Revision, TaskId, TaskType};
use crate::keyspace::Role;
use crate::record::{AttemptNote, Json, Totals};
use crate::room::Room;
use crate::task_state::TaskState;
use crate::time::{Millis, Wall};

/// Everything about a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// Selects the handler.
    pub kind: TaskType,
    /// Where it waits.
    pub queue: QueueName,
    /// Where it is in its life.
    pub state: TaskState,
    /// How urgent it is.
    pub priority: Priority,
    /// What the handler gets.
    pub payload: Json,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted.
    pub created_at: Wall,
    /// When it may start, while it waits for that.
    pub due_at: Option<Wall>,
    /// When its current or last attempt was given to a worker.
    pub assigned_at: Option<Wall>,
    /// When its last handler started; null until it has ended.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub completed_at: Option<Wall>,
    /// Its current or last worker.
    pub worker: Option<NodeId>,
    /// Its current or last fence.
    pub fence: Option<Fence>,
    /// Failures that were tried again, in this run.
    pub retry_count: u32,
    /// Workers that vanished under it, in this run.
    pub losses: u32,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long one attempt may run.
    pub timeout: Millis,
    /// What the handler returned.
    pub result: Option<Json>,
    /// Why it failed, or why its last attempt did.
    pub error: Option<Arc<str>>,
    /// What the handler last reported.
    pub progress: Option<Json>,
    /// How often an operator ran it again.
    pub run: u32,
    /// The last attempts that did not complete it, newest last.
    pub attempts: Vec<AttemptNote>,
}

impl TaskView {
    /// The task as a query looks at it.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            id: self.id,
            state: self.state,
            queue: &self.queue,
            kind: &self.kind,
            priority: self.priority,
            created_at: self.created_at,
            ended_at: self.completed_at,
            retries: self.retry_count,
            losses: self.losses,
            worker: Fact::Known(self.worker.as_ref()),
            error: Fact::Known(self.error.as_deref()),
            name: Fact::Known(self.name.as_deref()),
            metadata: Fact::Known(&self.metadata),
        }
    }
}

/// Why a task is not running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which task.
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// What stands in its way, the first thing first; empty when nothing does.
    pub reasons: Vec<WhyReason>,
    /// How many tasks of its queue go before it; only while it is pending.
    pub ahead: Option<u64>,
    /// When it may start, if its queue goes on as it did; only while it is pending and its queue moves.
    pub estimate: Option<Estimate>,
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// At this time,
    pub start_at: Wall,
    /// which is so far ahead.
    pub wait: Millis,
    /// Because so many tasks have left its queue, at least one,
    pub departed: u64,
    /// in this time, which is not zero.
    pub over: Millis,
}

/// Some workers, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Workers {
    /// The first of them by id, at most [`Workers::NAMED_MAX`].
    pub named: Vec<NodeId>,
    /// How many they are.
    pub count: u64,
}

impl Workers {
    /// How many are named.
    pub const NAMED_MAX: usize = 20;
}

impl<'a> FromIterator<&'a NodeId> for Workers {
    fn from_iter<T: IntoIterator<Item = &'a NodeId>>(workers: T) -> Self {
        let mut these = Self::default();
        for worker in workers {
            these.count += 1;
            if these.named.len() < Self::NAMED_MAX {
                these.named.push(worker.clone());
            }
        }
        these
    }
}

/// One thing in a task's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum WhyReason {
    /// It has ended.
    Ended,
    /// It runs.
    Running {
        /// Where.
        worker: NodeId,
    },
    /// It may not start yet.
    NotDue {
        /// When it may.
        due_at: Wall,
        /// Whether it waits after a failure.
        after_failure: bool,
    },
    /// An operator paused its queue.
    QueuePaused,
    /// No worker is there at all.
    NoWorkers,
    /// These workers serve other queues only, and there are no others that take anything.
    NoWorkerServesQueue {
        /// Who takes something.
        workers: Workers,
    },
    /// These workers serve its queue, but none of them can run its type.
    NoWorkerRunsType {
        /// Who serves its queue.
        workers: Workers,
    },
    /// All workers that could take it are full.
    NoFreeSlot {
        /// The slots of all of them.
        slots: u64,
        /// Who could take it.
        workers: Workers,
    },
    /// These workers take nothing now: they drain, leave, or are just starting.
    WorkersDraining {
        /// Who.
        workers: Workers,
    },
    /// These workers could take it, but have not reported for so long that nothing is given to them.
    WorkersSilent {
        /// Who.
        workers: Workers,
    },
    /// The scheduler waits for news from the store.
    ViewStale,
    /// Others of its queue go before it.
    Behind {
        /// How many.
        ahead: u64,
    },
    /// It is next.
    Next,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsView {
    /// What was ever done, from the lanes.
    pub totals: Totals,
    /// Delayed submissions that are not due.
    pub scheduled: u64,
    /// Entries.
    pub pending: u64,
    /// Claims.
    pub running: u64,
    /// Back-offs that are not due.
    pub retrying: u64,
    /// Tasks whose attempts are spent, waiting for a person.
    pub dead: u64,
    /// Live schedulers.
    pub schedulers: u64,
    /// Live workers.
    pub workers: u64,
    /// Slots that workers offer.
    pub slots: u64,
    /// Records of a later version, or corrupt, that were skipped.
    pub foreign: u64,
    /// How often this process's view was found to differ from the store, and was read anew.
    pub drift_repaired: u64,
    /// The room in the store.
    pub room: Room,
}

/// What has changed since a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesView {
    /// Up to here.
    pub revision: Revision,
    /// The tasks that changed last, each once, by id.
    pub tasks: Vec<TaskChange>,
    /// How many more tasks changed.
    pub tasks_omitted: u64,
    /// The queues whose tasks or settings changed, by name.
    pub queues: Vec<QueueName>,
    /// How many more queues changed.
    pub queues_omitted: u64,
    /// Whether a node came, went, or takes something else.
    pub nodes: bool,
}

impl ChangesView {
    /// Nothing has changed up to `revision`.
    pub fn none(revision: Revision) -> Self {
        Self {
            revision,
            tasks: Vec::new(),
            tasks_omitted: 0,
            queues: Vec::new(),
            queues_omitted: 0,
            nodes: false,
        }
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.queues.is_empty() && !self.nodes
    }
}

/// A task that changed, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskChange {
    /// Its id.
    pub id: TaskId,
    /// Where it is in its life.
    pub status: ChangedStatus,
    /// Where it waits, or waited.
    pub queue: Option<QueueName>,
    /// What selects its handler.
    pub kind: Option<TaskType>,
    /// The worker that has it, or had it last.
    pub worker: Option<NodeId>,
}

/// Where a task that changed is in its life, as far as its places tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedStatus {
    /// In this state.
    State(TaskState),
    /// It has ended while it was to stop: it may have been cancelled, or completed before.
    Ended,
    /// A later version has written where it is.
    Unread,
}

impl ChangedStatus {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State(state) => state.as_str(),
            Self::Ended => "ended",
            Self::Unread => "unknown",
        }
    }
}

/// A queue, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueView {
    /// Its name.
    pub name: QueueName,
    /// How workers are chosen.
    pub strategy: Strategy,
    /// Whether it is paused.
    pub paused: bool,
    /// Entries.
    pub pending: u64,
    /// Claims.
    pub running: u64,
    /// Delayed tasks, back-offs included.
    pub delayed: u64,
    /// Tasks whose attempts are spent.
    pub dead: u64,
    /// The timestamp of the first entry.
    pub oldest: Option<Wall>,
}

/// A node, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// What it does.
    pub role: Role,
    /// Its build.
    pub version: Arc<str>,
    /// When it started.
    pub started_at: Wall,
    /// Handlers that may run at the same time; zero for schedulers and while it drains.
    pub slots: u32,
    /// Claims that it holds.
    pub claims: u64,
    /// Attempts whose end it has recorded since its id was first used; only of workers, and not where a reply is about an
    /// order to it.
    pub total_run: Option<u64>,
    /// Its share under the weighted strategy.
    pub weight: u32,
    /// The queues that it serves; all when empty.
    pub queues: Vec<QueueName>,
    /// The types that it runs.
    pub types: Vec<TaskType>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it was told to drain.
    pub draining: bool,
    /// The machine's busy share, in thousandths.
    pub cpu_permille: u16,
    /// The process's memory, in bytes.
    pub memory_bytes: u64,
}
