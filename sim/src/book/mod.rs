//! Where every task is, revision by revision: turns the store's edits into steps of tasks, so that no checker needs to
//! read keys.

mod decode;
pub mod given;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_core::balance::Strategy;
use windlass_core::ids::{
    Fence, LeaseId, LockName, NodeId, Priority, QueueName, Registration, Revision, TaskId, TaskType,
};
use windlass_core::keyspace::{Key, Meaning, Place, Role};
use windlass_core::kv::Edit;
use windlass_core::record::{Carry, Record, StopReason, TaskRecord, Totals};
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Wall;
use xxhash_rust::xxh3::xxh3_64;

use self::decode::{edit_task, other, task_of};

/// What one revision did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revised {
    /// Its number.
    pub at: Revision,
    /// The tasks that it moved, by id.
    pub steps: Vec<TaskStep>,
    /// What else it wrote or removed, in order of the writes.
    pub others: Vec<Other>,
}

impl Revised {
    /// Who came into the line of a lock, or left one: then without a life.
    pub fn waiters(&self) -> impl Iterator<Item = (&LockName, &NodeId, Option<Life>)> {
        self.others.iter().filter_map(|other| match other {
            Other::Waiter {
                lock: Some(lock),
                waiter,
                life,
            } => Some((lock, waiter, *life)),
            Other::Waiter { lock: None, .. }
            | Other::Node { .. }
            | Other::Offer { .. }
            | Other::Unique { .. }
            | Other::Lane { .. }
            | Other::Queue { .. }
            | Other::Orders { .. }
            | Other::Foreign { .. } => None,
        })
    }
}

/// What a revision did to one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskStep {
    /// Which.
    pub task: TaskId,
    /// What the store held of it before.
    pub before: TaskState,
    /// What it holds now.
    pub after: TaskState,
}

/// All that the store holds of one task.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskState {
    /// The hash of its record, wherever that stands; `None` when it stands nowhere.
    pub record: Option<u64>,
    /// Where its record stands: nowhere but in one place.
    pub copies: Vec<Written>,
    /// Where it waits or runs; more than one place, or a place after its end, is wrong.
    pub spots: Vec<Spot>,
    /// How it ended.
    pub end: Option<End>,
    /// It lies among the dead of this queue.
    pub dead: Option<QueueName>,
    /// How often an operator ran it again.
    pub run: u32,
    /// What its record promises; `None` when there is no record, or none that this version can read.
    pub promised: Option<Promised>,
}

/// A task's record, where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Under a key of its own, in its claim, or in its outcome.
    pub key: Key,
    /// Its hash.
    pub hash: u64,
    /// What it promises; `None` when this version cannot read it.
    pub promised: Option<Promised>,
}

impl Written {
    fn of(key: &Key, task: &TaskRecord) -> Self {
        Self {
            key: key.clone(),
            hash: xxh3_64(task.encode().as_bytes()),
            promised: Some(Promised::of(task)),
        }
    }
}

impl TaskState {
    /// What a key holds of the record, from now on.
    fn write_down(&mut self, key: &Key, written: Option<Written>) {
        self.copies.retain(|it| it.key != *key);
        self.copies.extend(written);
        let first = self.copies.first();
        self.record = first.map(|it| it.hash);
        self.promised = first.and_then(|it| it.promised.clone());
    }
}

/// What a task's record says about how it is to be treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// Where it waits.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was accepted, by the gateway's clock.
    pub created_at: Wall,
    /// Not to start before this time.
    pub due: Option<Wall>,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long to wait between them.
    pub retry: RetryPolicy,
    /// Whether it has an idempotency key.
    pub unique: bool,
    /// What every attempt is to get, as [`given::promised`] spells it.
    pub given: u64,
    /// What a client asked for, as [`given::asked`] spells it.
    pub asked: u64,
}

impl Promised {
    fn of(task: &TaskRecord) -> Self {
        Self {
            queue: task.queue.clone(),
            priority: task.priority,
            created_at: task.created_at,
            due: task.due,
            retries_max: task.retries_max,
            retry: task.retry,
            unique: task.unique.is_some(),
            given: given::promised(task),
            asked: given::accepted(task),
        }
    }
}

/// A place of a task that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Spot {
    /// It waits.
    Entry {
        /// In which queue.
        queue: QueueName,
        /// Where in it.
        place: Place,
        /// Selects the handler.
        kind: TaskType,
        /// Its counters.
        count: Count,
    },
    /// It is not due.
    Delayed {
        /// When it is.
        due: Wall,
        /// Where it will wait.
        queue: QueueName,
        /// Its counters.
        count: Count,
    },
    /// A worker has it.
    Claim(Claim),
    /// Its record cannot be read by this version.
    Unreadable {
        /// Which.
        key: Key,
    },
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Who has the task.
    pub worker: NodeId,
    /// For which life of the worker.
    pub registration: Registration,
    /// The claim's creation.
    pub fence: Fence,
    /// Where the task waited.
    pub queue: QueueName,
    /// Its place there.
    pub place: Place,
    /// Selects the handler.
    pub kind: TaskType,
    /// Why it was told to stop, if it was.
    pub stop: Option<StopReason>,
    /// Its counters.
    pub count: Count,
}

/// What a task counts from attempt to attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Count {
    /// How often it was run again.
    pub run: u32,
    /// Failures that were tried again.
    pub retries: u32,
    /// Workers that vanished.
    pub losses: u32,
}

impl From<&Carry> for Count {
    fn from(carry: &Carry) -> Self {
        Self {
            run: carry.run,
            retries: carry.retries,
            losses: carry.losses,
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// Well, badly, or cancelled.
    pub how: Ending,
    /// The last worker, if there was one.
    pub worker: Option<NodeId>,
    /// The last fence, if there was one.
    pub fence: Option<Fence>,
    /// The hash of the record.
    pub hash: u64,
    /// The revision that wrote it.
    pub written: Revision,
    /// By the clock of who wrote it.
    pub ended_at: Wall,
    /// Its counters.
    pub count: Count,
}

/// The three ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ending {
    /// A handler succeeded.
    Completed,
    /// The attempts are spent.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// A key that belongs to no single task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Other {
    /// A node's key.
    Node {
        /// What the node does.
        role: Role,
        /// Which.
        id: NodeId,
        /// Its life and lease; `None` when the key was removed.
        life: Option<Life>,
    },
    /// A worker's offer.
    Offer {
        /// Whose.
        id: NodeId,
        /// Its life and lease; `None` when it was removed.
        life: Option<Life>,
    },
    /// A waiter of a lock.
    Waiter {
        /// Which lock; `None` for the janitor's.
        lock: Option<LockName>,
        /// Who.
        waiter: NodeId,
        /// Its life and lease; `None` when it left the line.
        life: Option<Life>,
    },
    /// An idempotency key.
    Unique {
        /// Its hash.
        hash: String,
        /// The task that it stands for; `None` when it was freed.
        task: Option<TaskId>,
        /// The hash of the body that came with it; `None` when it was freed.
        body: Option<Arc<str>>,
    },
    /// A lane, or the folded totals.
    Lane {
        /// Its key.
        key: Key,
        /// Its number and totals; `None` when it was removed.
        lane: Option<(u64, Totals)>,
    },
    /// A queue's settings.
    Queue {
        /// Which.
        queue: QueueName,
        /// Whether it is paused, and how workers are chosen.
        settings: Option<(bool, Strategy)>,
    },
    /// Orders to a node.
    Orders {
        /// Which.
        node: NodeId,
        /// The order to drain; `None` when there is none.
        drain: Option<Drain>,
    },
    /// Nobody's key, or a record that cannot be read.
    Foreign {
        /// Which.
        key: Key,
    },
}

/// An order to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The life that it is for; every life when absent.
    pub life: Option<Registration>,
}

/// One life of a leased key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// When it began.
    pub created: Revision,
    /// The lease that it ends with.
    pub lease: Option<LeaseId>,
}

/// Keeps the state of every task.
#[derive(Debug, Default)]
pub struct Book {
    tasks: BTreeMap<TaskId, TaskState>,
}

impl Book {
    /// The state of every task that the store knows.
    pub fn tasks(&self) -> &BTreeMap<TaskId, TaskState> {
        &self.tasks
    }

    /// Takes one revision.
    pub fn revise(&mut self, at: Revision, edits: &[Edit]) -> Revised {
        let mut touched: BTreeMap<TaskId, TaskState> = BTreeMap::new();
        let mut others = Vec::new();
        for edit in edits {
            let meaning = Meaning::of(edit.key());
            let entry = match edit {
                Edit::Put { entry, .. } => Some(entry),
                Edit::Delete { .. } => None,
            };
            if let Some(task) = task_of(&meaning) {
                let state = self.tasks.entry(task).or_default();
                touched.entry(task).or_insert_with(|| state.clone());
                edit_task(state, edit.key(), meaning, at, entry);
            } else {
                others.push(other(edit.key(), meaning, entry));
            }
        }
        let steps = touched
            .into_iter()
            .map(|(task, before)| TaskStep {
                task,
                before,
                after: self.settle(task),
            })
            .collect();
        Revised { at, steps, others }
    }

    /// The state of a task after a revision; what is nowhere any more is forgotten.
    fn settle(&mut self, task: TaskId) -> TaskState {
        let state = self.tasks.get(&task).cloned().unwrap_or_default();
        if state == TaskState::default() {
            self.tasks.remove(&task);
        }
        state
    }
}
