//! What the gateway's replies look like as JSON: the words and spellings of the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use windlass_core::balance::Strategy;
use windlass_core::gateway::{
    Estimate, NodeView, QueueView, StatsView, TaskState, TaskView, Why, WhyReason, Workers,
};
use windlass_core::ids::{Fence, NodeId, Priority, QueueName, TaskId, TaskType};
use windlass_core::keyspace::Role;
use windlass_core::record::{AttemptEnd, AttemptNote, Json};
use windlass_core::room::{Level, Room};
use windlass_core::time::{Millis, Wall};

use super::field::{span_spelled, time_spelled};

/// A task.
#[derive(Debug, Serialize)]
pub(super) struct Task<'a> {
    id: String,
    name: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a TaskType,
    queue: &'a QueueName,
    status: TaskState,
    priority: Priority,
    payload: &'a Json,
    metadata: &'a BTreeMap<String, String>,
    created_at: String,
    due_at: Option<String>,
    assigned_at: Option<String>,
    started_at: Option<String>,
    completed_at: Option<String>,
    worker_id: Option<&'a NodeId>,
    fence: Option<Fence>,
    retry_count: u32,
    losses: u32,
    max_retries: u32,
    timeout: String,
    result: Option<&'a Json>,
    error: Option<&'a str>,
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
#[derive(Debug, Serialize)]
struct Attempt<'a> {
    attempt: u32,
    worker_id: &'a NodeId,
    started_at: Option<String>,
    ended_at: String,
    end: &'static str,
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
#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    id: String,
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
#[derive(Debug, Serialize)]
pub(super) struct Tasks<'a> {
    pub tasks: Vec<Task<'a>>,
    pub next_cursor: Option<String>,
}

/// How many tasks a query means.
#[derive(Debug, Serialize)]
pub(super) struct Count {
    pub count: u64,
    pub exact: bool,
}

/// Why a task waits.
#[derive(Debug, Serialize)]
pub(super) struct Reasons<'a> {
    id: String,
    status: TaskState,
    ahead: Option<u64>,
    estimate: Option<Start>,
    reasons: Vec<Reason<'a>>,
}

/// When a task may start.
#[derive(Debug, Serialize)]
struct Start {
    start_at: String,
    #[serde(rename = "in")]
    wait: String,
    rate_per_second: f64,
}

impl Start {
    fn of(estimate: &Estimate) -> Self {
        let millis = estimate.wait.get();
        let wait = if millis < 1_000 {
            estimate.wait
        } else {
            Millis::from_secs(millis.div_ceil(1_000))
        };
        let departed = estimate.departed as f64;
        let rate = departed * 1_000.0 / estimate.over.get() as f64;
        Self {
            start_at: time_spelled(estimate.start_at),
            wait: span_spelled(wait),
            rate_per_second: (rate * 1_000.0).round() / 1_000.0,
        }
    }
}

#[derive(Debug, Serialize)]
struct Reason<'a> {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workers: Option<&'a [NodeId]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_count: Option<u64>,
}

impl<'a> Reasons<'a> {
    pub(super) fn of(why: &'a Why) -> Self {
        Self {
            id: why.id.to_string(),
            status: why.state,
            ahead: why.ahead,
            estimate: why.estimate.as_ref().map(Start::of),
            reasons: why.reasons.iter().map(Reason::of).collect(),
        }
    }
}

impl<'a> Reason<'a> {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            worker_id: None,
            due_at: None,
            slots: None,
            ahead: None,
            workers: None,
            worker_count: None,
        }
    }

    /// A reason that lies with these workers.
    fn with(workers: &'a Workers, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            workers: Some(&workers.named),
            worker_count: Some(workers.count),
            ..Self::new(reason, message)
        }
    }

    fn of(reason: &'a WhyReason) -> Self {
        match reason {
            WhyReason::Ended => Self::new("ended", "it has ended"),
            WhyReason::Running { worker } => Self {
                worker_id: Some(worker),
                ..Self::new("running", format!("it runs on {worker}"))
            },
            WhyReason::NotDue {
                due_at,
                after_failure,
            } => Self::not_due(*due_at, *after_failure),
            WhyReason::QueuePaused => Self::new("queue_paused", "its queue is paused"),
            WhyReason::NoWorkers => Self::new("no_workers", "there is no worker at all"),
            WhyReason::NoWorkerServesQueue { workers } => Self::with(
                workers,
                "no_worker_serves_queue",
                format!(
                    "the workers that take tasks do not serve its queue: {}",
                    named(workers)
                ),
            ),
            WhyReason::NoWorkerRunsType { workers } => Self::with(
                workers,
                "no_worker_runs_type",
                format!(
                    "the workers that serve its queue cannot run its type: {}",
                    named(workers)
                ),
            ),
            WhyReason::NoFreeSlot { slots, workers } => Self {
                slots: Some(*slots),
                ..Self::with(
                    workers,
                    "no_free_slot",
                    format!(
                        "every slot of the workers that could take it is in use: {slots} of {}",
                        named(workers)
                    ),
                )
            },
            WhyReason::WorkersDraining { workers } => Self::with(
                workers,
                "workers_draining",
                format!(
                    "workers that take nothing now, because they drain, leave or are just starting: {}",
                    named(workers)
                ),
            ),
            WhyReason::WorkersSilent { workers } => Self::with(
                workers,
                "workers_silent",
                format!(
                    "workers that could take it, but have not reported lately: {}",
                    named(workers)
                ),
            ),
            WhyReason::Behind { ahead } => Self {
                ahead: Some(*ahead),
                ..Self::new("behind", format!("{ahead} tasks of its queue go before it"))
            },
            WhyReason::ViewStale => {
                Self::new("view_stale", "the scheduler waits for news from the store")
            }
            WhyReason::Next => Self::new("next", "it is next"),
        }
    }

    fn not_due(due_at: Wall, after_failure: bool) -> Self {
        let due_at = time_spelled(due_at);
        let message = if after_failure {
            format!("it failed, and is tried again at {due_at}")
        } else {
            format!("it may not start before {due_at}")
        };
        Self {
            due_at: Some(due_at),
            ..Self::new("not_due", message)
        }
    }
}

/// Workers by name, and how many more there are.
fn named(workers: &Workers) -> String {
    let names: Vec<&str> = workers.named.iter().map(NodeId::as_str).collect();
    let named = names.join(", ");
    match workers.count.saturating_sub(names.len() as u64) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What is counted.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    tasks: TaskCounts,
    attempts: AttemptCounts,
    dead: u64,
    purged: u64,
    schedulers: u64,
    workers: u64,
    slots: u64,
    foreign_records: u64,
    drift_repaired: u64,
    store: Store,
}

/// The room in the store.
#[derive(Debug, Serialize)]
struct Store {
    level: Level,
    used_bytes: Option<u64>,
    size_bytes: Option<u64>,
    quota_bytes: Option<u64>,
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

#[derive(Debug, Serialize)]
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

#[derive(Debug, Serialize)]
struct AttemptCounts {
    dispatched: u64,
    retried: u64,
    lost: u64,
    handed_back: u64,
    released: u64,
    rerun: u64,
}

impl Stats {
    pub(super) fn of(view: &StatsView) -> Self {
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
        }
    }
}

/// A queue.
#[derive(Debug, Serialize)]
pub(super) struct Queue<'a> {
    name: &'a QueueName,
    strategy: Strategy,
    paused: bool,
    pending: u64,
    running: u64,
    delayed: u64,
    dead: u64,
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
#[derive(Debug, Serialize)]
pub(super) struct Node<'a> {
    id: &'a NodeId,
    role: Role,
    version: &'a Arc<str>,
    started_at: String,
    slots: u32,
    claims: u64,
    weight: u32,
    queues: &'a [QueueName],
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
