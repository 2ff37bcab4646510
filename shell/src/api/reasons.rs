//! Why a task is not running, as JSON: as words for programs, and in words for people.

use serde::Serialize;
use utoipa::ToSchema;
use windlass_core::gateway::{Estimate, TaskState, Why, WhyReason, Workers};
use windlass_core::ids::NodeId;
use windlass_core::time::{Millis, Wall};

use super::describe::types;
use super::field::{span_spelled, time_spelled};

/// Why a task waits.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reasons<'a> {
    #[schema(value_type = types::Id)]
    id: String,
    #[schema(value_type = types::Status)]
    status: TaskState,
    /// Tasks of its queue that go before it.
    #[schema(required = true)]
    ahead: Option<u64>,
    /// When it may start, if its queue goes on as in the last minute; null when nothing left it, or nothing can.
    #[schema(required = true)]
    estimate: Option<Start>,
    reasons: Vec<Reason<'a>>,
}

/// When a task may start.
#[derive(Debug, Serialize, ToSchema)]
struct Start {
    #[schema(format = DateTime)]
    start_at: String,
    #[serde(rename = "in")]
    #[schema(value_type = types::Span)]
    wait: String,
    /// Tasks that leave its queue.
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

#[derive(Debug, Serialize, ToSchema)]
struct Reason<'a> {
    /// One word for programs; the message is for people.
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    worker_id: Option<&'a NodeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Whom it concerns; the first 20.
    #[schema(value_type = Option<Vec<String>>)]
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
