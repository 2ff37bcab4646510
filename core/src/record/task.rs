//! Records of a task's life. What changes between attempts travels in [`Carry`]; the task itself is written once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Json, NOTES_MAX, Record, Version, is_default};
use crate::ids::{Attempt, Fence, NodeId, Priority, QueueName, Registration, TaskType};
use crate::retry::RetryPolicy;
use crate::time::{Millis, Wall};

/// `/tasks/{task_id}`: the task as it was accepted. Never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    #[doc(hidden)]
    pub v: Version,
    /// Selects the handler.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// Where it waits.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload: Json,
    /// Labels for people and programs; Windlass does not read them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted, by the gateway's clock.
    pub created_at: Wall,
    /// Not to start before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Wall>,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long to wait between them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPolicy,
    /// How long one attempt may run.
    pub timeout: Millis,
    /// The hash of its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Arc<str>>,
}
impl Record for TaskRecord {}

impl TaskRecord {
    /// What its first attempt starts with.
    pub fn first_carry(&self) -> Carry {
        Carry {
            kind: self.kind.clone(),
            timeout: self.timeout,
            retries: 0,
            losses: 0,
            run: 0,
            notes: Vec::new(),
        }
    }
}

/// What a task carries from attempt to attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carry {
    /// Which workers can take it.
    #[serde(rename = "type")]
    pub kind: TaskType,
    /// How long one attempt may run.
    pub timeout: Millis,
    /// Failures that were tried again in this run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: u32,
    /// Workers that vanished under it in this run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub losses: u32,
    /// How often an operator ran it again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run: u32,
    /// The last attempts, newest last, at most [`NOTES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<AttemptNote>,
}

impl Carry {
    /// The number of the attempt that starts with this.
    pub fn attempt(&self) -> Attempt {
        Attempt(self.retries.saturating_add(self.losses).saturating_add(1))
    }

    /// Remembers an attempt, forgetting the oldest beyond [`NOTES_MAX`].
    pub fn note(&mut self, note: AttemptNote) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(note);
    }
}

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptNote {
    /// Its number within the run.
    pub attempt: Attempt,
    /// Who ran it.
    pub worker: NodeId,
    /// When it started, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// When it ended, or was given up.
    pub ended_at: Wall,
    /// How it ended.
    pub end: AttemptEnd,
    /// Its fence, where its worker may ask again whether this was recorded: a worker that talks to gateways only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
}

/// How an attempt that did not complete the task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// The handler failed with this error.
    Failed(Arc<str>),
    /// It ran longer than its time-out.
    TimedOut,
    /// Its worker vanished.
    Lost,
    /// It was cancelled.
    Cancelled,
}

/// `/queues/{queue}/…`: the task waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    #[doc(hidden)]
    pub v: Version,
    /// What the attempt starts with.
    pub carry: Carry,
}
impl Record for EntryRecord {}

/// `/delayed/…`: the task is not due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedRecord {
    #[doc(hidden)]
    pub v: Version,
    /// What the attempt starts with.
    pub carry: Carry,
    /// Where it will wait.
    pub queue: QueueName,
    /// How urgent it will be.
    pub priority: Priority,
}
impl Record for DelayedRecord {}

/// Why a running attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Somebody cancelled the task.
    Cancel,
    /// It ran longer than its time-out.
    TimeOut,
    /// Its worker's session is over, or its claim is gone.
    Fenced,
    /// Its worker shuts down.
    Shutdown,
}

/// `/queues/@{worker_id}/…`: one attempt is given to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRecord {
    #[doc(hidden)]
    pub v: Version,
    /// What the attempt started with.
    pub carry: Carry,
    /// Where the task waited.
    pub queue: QueueName,
    /// Which life of the worker it was given to.
    pub registration: Registration,
    /// When it was assigned, by the scheduler's clock.
    pub assigned_at: Wall,
    /// Set when the attempt is to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopReason>,
    /// What the handler last reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Json>,
    /// The rest of the task, if it is small and whoever made the claim had it at hand: a worker that finds it here need
    /// not read the task. See [`Self::only_copy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Box<CarriedTask>>,
}
impl Record for ClaimRecord {}

impl ClaimRecord {
    /// Whether the task stands nowhere else.
    pub fn is_only_copy(&self) -> bool {
        self.task.as_ref().is_some_and(|it| it.is_only_copy())
    }

    /// The task, of which the claim's place tells the priority, if it stands nowhere else: it was placed when it was
    /// submitted, and a record of its own would have cost a write. Whoever takes it out of the claim writes it down: as
    /// that record, or into the outcome.
    pub fn only_copy(&self, priority: Priority) -> Option<TaskRecord> {
        let carried = self.task.as_ref().filter(|it| it.is_only_copy())?;
        Some(carried.whole(self, priority))
    }
}

/// How much a claim carries of its task at most, in bytes of payload, name and metadata. Every process that watches
/// claims reads it, so that what is large is better read by the one worker that needs it.
pub const CARRIED_MAX: usize = 1_024;

/// What a claim does not tell of a task that is due at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedTask {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub payload: Json,
    /// Labels for people and programs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted, by the gateway's clock.
    pub created_at: Wall,
    /// How many failures are tried again.
    pub retries_max: u32,
    /// How long to wait between them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPolicy,
    /// The hash of its idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Arc<str>>,
}

impl CarriedTask {
    /// What a claim carries of `task`; `None` if it is too large, or was not due at once.
    pub fn of(task: &TaskRecord) -> Option<Self> {
        let labels = task.metadata.iter().map(|(k, v)| k.len() + v.len());
        let size = task.payload.as_str().len()
            + task.name.as_ref().map_or(0, |name| name.len())
            + labels.sum::<usize>();
        (size <= CARRIED_MAX && task.due.is_none()).then(|| Self {
            name: task.name.clone(),
            payload: task.payload.clone(),
            metadata: task.metadata.clone(),
            created_at: task.created_at,
            retries_max: task.retries_max,
            retry: task.retry,
            unique: task.unique.clone(),
        })
    }

    /// Whether the task has no record of its own. One with an idempotency key has: the key goes when that record goes.
    pub fn is_only_copy(&self) -> bool {
        self.unique.is_none()
    }

    /// The task, of which `claim` and the claim's priority tell the rest.
    pub fn whole(&self, claim: &ClaimRecord, priority: Priority) -> TaskRecord {
        TaskRecord {
            v: Version,
            kind: claim.carry.kind.clone(),
            queue: claim.queue.clone(),
            priority,
            name: self.name.clone(),
            payload: self.payload.clone(),
            metadata: self.metadata.clone(),
            created_at: self.created_at,
            due: None,
            retries_max: self.retries_max,
            retry: self.retry,
            timeout: claim.carry.timeout,
            unique: self.unique.clone(),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A handler succeeded with this result.
    Completed(Json),
    /// Its attempts are spent; the last one ended with this error.
    Failed(Arc<str>),
    /// Somebody cancelled it.
    Cancelled,
}

/// `/tasks/{task_id}/outcome`: written once, when the task ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    #[doc(hidden)]
    pub v: Version,
    /// How it ended.
    pub outcome: Outcome,
    /// The last worker, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<NodeId>,
    /// The last fence, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<Fence>,
    /// When the last attempt was assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_at: Option<Wall>,
    /// When its handler started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// When the task ended.
    pub ended_at: Wall,
    /// What the last attempt had started with.
    pub carry: Carry,
    /// The task, if it has no record of its own: it ended in its first attempt, under a claim that held the only copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Box<TaskRecord>>,
}
impl Record for OutcomeRecord {}

/// `/tasks/{task_id}/run`: how often an operator ran the task again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    #[doc(hidden)]
    pub v: Version,
    /// The number of the current run; the first run, without a record, is 0.
    pub run: u32,
    /// When it was ordered.
    pub at: Wall,
}
impl Record for RunRecord {}

const _: () = assert!(NOTES_MAX > 0, "the last attempt is always remembered");

#[cfg(test)]
mod tests {
    use super::*;

    fn carry() -> Carry {
        Carry {
            kind: "echo".parse().unwrap(),
            timeout: Millis::from_secs(300),
            retries: 0,
            losses: 0,
            run: 0,
            notes: vec![],
        }
    }

    #[test]
    fn an_entry_is_small_and_reads_back() {
        let entry = EntryRecord {
            v: Version,
            carry: carry(),
        };
        assert_eq!(
            entry.encode().as_bytes(),
            br#"{"v":1,"carry":{"type":"echo","timeout":300000}}"#
        );
        assert_eq!(EntryRecord::decode(&entry.encode()), Ok(entry));
    }

    #[test]
    fn the_payload_keeps_its_spelling() {
        let spelled = r#"{"b": 1e400, "a": 12345678901234567890123, "b": -0}"#;
        let task = TaskRecord {
            v: Version,
            kind: "t".parse().unwrap(),
            queue: "q".parse().unwrap(),
            priority: Priority::NORMAL,
            name: None,
            payload: Json::parse(spelled.to_owned()).unwrap(),
            metadata: BTreeMap::new(),
            created_at: Wall::from_millis(1),
            due: None,
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(1),
            unique: None,
        };
        assert_eq!(
            TaskRecord::decode(&task.encode()).unwrap().payload.as_str(),
            spelled
        );
    }

    #[test]
    fn no_claim_carries_a_task_of_a_later_time_or_one_with_long_labels() {
        let task = TaskRecord {
            v: Version,
            kind: "t".parse().unwrap(),
            queue: "q".parse().unwrap(),
            priority: Priority::NORMAL,
            name: Some("n".into()),
            payload: Json::null(),
            metadata: BTreeMap::new(),
            created_at: Wall::from_millis(1),
            due: None,
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(1),
            unique: Some("hash".into()),
        };
        assert!(CarriedTask::of(&task).is_some());
        let due = Some(Wall::from_millis(2));
        let later = TaskRecord {
            due,
            ..task.clone()
        };
        assert_eq!(CarriedTask::of(&later), None);
        // With the name and `null`, five bytes are taken.
        for (more, fits) in [(0, true), (1, false)] {
            let label = "x".repeat(CARRIED_MAX - 6 + more);
            let metadata = [("k".to_owned(), label)].into();
            let labelled = TaskRecord {
                metadata,
                ..task.clone()
            };
            assert_eq!(CarriedTask::of(&labelled).is_some(), fits);
        }
    }

    #[test]
    fn only_the_last_attempts_are_remembered() {
        let mut carry = carry();
        for number in 0..20 {
            carry.note(AttemptNote {
                attempt: Attempt(number),
                worker: "w".parse().unwrap(),
                started_at: None,
                ended_at: Wall::from_millis(1),
                end: AttemptEnd::Lost,
                fence: None,
            });
        }
        let kept: Vec<_> = carry.notes.iter().map(|note| note.attempt.0).collect();
        assert_eq!(kept, [15, 16, 17, 18, 19]);
    }
}
