//! What the gateway's replies look like as JSON: the words and spellings of the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use windlass_core::balance::Strategy;
use windlass_core::gateway::{NodeView, QueueView, StatsView, TaskState, TaskView};
use windlass_core::ids::{Fence, NodeId, Priority, QueueName, TaskId, TaskType};
use windlass_core::keyspace::Role;
use windlass_core::record::{AttemptEnd, AttemptNote, Json};
use windlass_core::room::{Level, Room};

use super::describe::types;
use super::field::{span_spelled, time_spelled};
use super::history::Rates;

/// A task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Task<'a> {
    #[schema(value_type = types::Id)]
    id: String,
    #[schema(required = true)]
    name: Option<&'a str>,
    #[serde(rename = "type")]
    #[schema(value_type = types::Name)]
    kind: &'a TaskType,
    #[schema(value_type = types::Name)]
    queue: &'a QueueName,
    #[schema(value_type = types::Status)]
    status: TaskState,
    #[schema(value_type = types::Priority)]
    priority: Priority,
    #[schema(value_type = serde_json::Value)]
    payload: &'a Json,
    metadata: &'a BTreeMap<String, String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required = true, format = DateTime)]
    due_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    assigned_at: Option<String>,
    /// Null until the task has ended.
    #[schema(required = true, format = DateTime)]
    started_at: Option<String>,
    #[schema(required = true, format = DateTime)]
    completed_at: Option<String>,
    #[schema(required = true, value_type = Option<String>)]
    worker_id: Option<&'a NodeId>,
    #[schema(required = true, value_type = Option<u64>)]
    fence: Option<Fence>,
    retry_count: u32,
    losses: u32,
    max_retries: u32,
    #[schema(value_type = types::Span)]
    timeout: String,
    #[schema(required = true, value_type = serde_json::Value)]
    result: Option<&'a Json>,
    #[schema(required = true)]
    error: Option<&'a str>,
    #[schema(required = true, value_type = serde_json::Value)]
    progress: Option<&'a Json>,
    run: u32,
    attempts: Vec<Attempt<'a>>,
}

impl<'a> Task<'a> {
    pub(super) fn of(view: &'a TaskView) -> Self {
        Self {
            id: view.id.to_string(),
            name: view.name.as_deref(),
            kind: &view.kind,
            queue: &view.queue,
            status: view.state,
            priority: view.priority,
            payload: &view.payload,
            metadata: &view.metadata,
            created_at: time_spelled(view.created_at),
            due_at: view.due_at.map(time_spelled),
            assigned_at: view.assigned_at.map(time_spelled),
            started_at: view.started_at.map(time_spelled),
            completed_at: view.completed_at.map(time_spelled),
            worker_id: view.worker.as_ref(),
            fence: view.fence,
            retry_count: view.retry_count,
            losses: view.losses,
            max_retries: view.retries_max,
            timeout: span_spelled(view.timeout),
            result: view.result.as_ref(),
            error: view.error.as_deref(),
            progress: view.progress.as_ref(),
            run: view.run,
            attempts: view.attempts.iter().map(Attempt::of).collect(),
        }
    }
}

/// An attempt that did not complete its task.
#[derive(Debug, Serialize, ToSchema)]
struct Attempt<'a> {
    attempt: u32,
    #[schema(value_type = types::Name)]
    worker_id: &'a NodeId,
    #[schema(required = true, format = DateTime)]
    started_at: Option<String>,
    #[schema(format = DateTime)]
    ended_at: String,
    /// failed, timed_out, lost or cancelled.
    end: &'static str,
    #[schema(required = true)]
    error: Option<&'a str>,
}

impl<'a> Attempt<'a> {
    fn of(note: &'a AttemptNote) -> Self {
        let (end, error) = match &note.end {
            AttemptEnd::Failed(error) => ("failed", Some(&**error)),
            AttemptEnd::TimedOut => ("timed_out", None),
            AttemptEnd::Lost => ("lost", None),
            AttemptEnd::Cancelled => ("cancelled", None),
        };
        Self {
            attempt: note.attempt.0,
            worker_id: &note.worker,
            started_at: note.started_at.map(time_spelled),
            ended_at: time_spelled(note.ended_at),
            end,
            error,
        }
    }
}

/// A submitted task that the store has.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    #[schema(value_type = types::Id)]
    id: String,
    /// Null when it could not be looked up.
    #[schema(required = true, value_type = Option<types::Status>)]
    status: Option<TaskState>,
}

impl Accepted {
    pub(super) fn new(id: TaskId, status: Option<TaskState>) -> Self {
        Self {
            id: id.to_string(),
            status,
        }
    }
}

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tasks<'a> {
    pub tasks: Vec<Task<'a>>,
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

/// How many tasks a query means.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    pub count: u64,
    /// False when there may be more: of tasks that have not ended, or failed, at most 100,000 are looked at; of what is
    /// read from the store, at most 60 pages of 600 keys.
    pub exact: bool,
}

/// What is counted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stats {
    tasks: TaskCounts,
    attempts: AttemptCounts,
    dead: u64,
    purged: u64,
    schedulers: u64,
    workers: u64,
    slots: u64,
    foreign_records: u64,
    /// How often this server's view was found to differ from the store, which had lost an event, and was read anew;
    /// since the server started.
    drift_repaired: u64,
    store: Store,
    /// A second, over the last minute; null while this scheduler does not know.
    rates: Option<Rates>,
}

/// The room in the store.
#[derive(Debug, Serialize, ToSchema)]
struct Store {
    #[schema(value_type = types::Level)]
    level: Level,
    #[schema(required = true)]
    used_bytes: Option<u64>,
    #[schema(required = true)]
    size_bytes: Option<u64>,
    #[schema(required = true)]
    quota_bytes: Option<u64>,
    /// How long the ended tasks had been kept that this scheduler removed last before their time, for want of room.
    #[schema(required = true)]
    kept: Option<String>,
}

impl Store {
    fn of(room: &Room) -> Self {
        Self {
            level: room.level,
            used_bytes: room.usage.map(|usage| usage.used),
            size_bytes: room.usage.map(|usage| usage.size),
            quota_bytes: room.usage.and_then(|usage| usage.quota),
            kept: room.kept.map(span_spelled),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct TaskCounts {
    total: u64,
    scheduled: u64,
    pending: u64,
    running: u64,
    retrying: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    refused_stale: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct AttemptCounts {
    dispatched: u64,
    retried: u64,
    lost: u64,
    handed_back: u64,
    released: u64,
    rerun: u64,
}

impl Stats {
    pub(super) fn of(view: &StatsView, rates: Option<Rates>) -> Self {
        let totals = &view.totals;
        Self {
            tasks: TaskCounts {
                total: totals.accepted,
                scheduled: view.scheduled,
                pending: view.pending,
                running: view.running,
                retrying: view.retrying,
                completed: totals.completed,
                failed: totals.failed,
                cancelled: totals.cancelled,
                refused_stale: totals.refused_stale,
            },
            attempts: AttemptCounts {
                dispatched: totals.dispatched,
                retried: totals.retried,
                lost: totals.lost,
                handed_back: totals.handed_back,
                released: totals.released,
                rerun: totals.rerun,
            },
            dead: view.dead,
            purged: totals.purged,
            schedulers: view.schedulers,
            workers: view.workers,
            slots: view.slots,
            foreign_records: view.foreign,
            drift_repaired: view.drift_repaired,
            store: Store::of(&view.room),
            rates,
        }
    }
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Queue<'a> {
    #[schema(value_type = types::Name)]
    name: &'a QueueName,
    #[schema(value_type = types::Strategy)]
    strategy: Strategy,
    paused: bool,
    pending: u64,
    running: u64,
    delayed: u64,
    dead: u64,
    #[schema(required = true, format = DateTime)]
    oldest_at: Option<String>,
}

impl<'a> Queue<'a> {
    pub(super) fn of(view: &'a QueueView) -> Self {
        Self {
            name: &view.name,
            strategy: view.strategy,
            paused: view.paused,
            pending: view.pending,
            running: view.running,
            delayed: view.delayed,
            dead: view.dead,
            oldest_at: view.oldest.map(time_spelled),
        }
    }
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Node<'a> {
    #[schema(value_type = types::Name)]
    id: &'a NodeId,
    #[schema(value_type = types::NodeRole)]
    role: Role,
    #[schema(value_type = String)]
    version: &'a Arc<str>,
    #[schema(format = DateTime)]
    started_at: String,
    slots: u32,
    claims: u64,
    /// Attempts whose end a worker has recorded since its id was first used; null for schedulers.
    #[schema(required = true)]
    total_run: Option<u64>,
    weight: u32,
    #[schema(value_type = Vec<types::Name>)]
    queues: &'a [QueueName],
    #[schema(value_type = Vec<types::Name>)]
    types: &'a [TaskType],
    labels: &'a BTreeMap<String, String>,
    draining: bool,
    cpu_permille: u16,
    memory_bytes: u64,
}

impl<'a> Node<'a> {
    pub(super) fn of(view: &'a NodeView) -> Self {
        Self {
            id: &view.id,
            role: view.role,
            version: &view.version,
            started_at: time_spelled(view.started_at),
            slots: view.slots,
            claims: view.claims,
            total_run: view.total_run,
            weight: view.weight,
            queues: &view.queues,
            types: &view.types,
            labels: &view.labels,
            draining: view.draining,
            cpu_permille: view.cpu_permille,
            memory_bytes: view.memory_bytes,
        }
    }
}
