//! What remote workers are told, as JSON. Spans are numbers of milliseconds here: every language reads those.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use windlass_core::gateway::{RemoteAttempt, RemoteStart, RemoteStop};
use windlass_core::ids::{Attempt, Fence, NodeId, Priority, QueueName, TaskId, TaskType};
use windlass_core::record::{Json, StopReason};
use windlass_core::session::SessionConfig;

use super::super::field::time_spelled;
use super::super::problem::Fault;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// How long a session lasts, and how often it is to be renewed.
#[derive(Debug, Serialize)]
struct Session {
    ttl_ms: u64,
    margin_ms: u64,
    beat_every_ms: u64,
}

impl Session {
    fn of(ttl: Duration) -> Self {
        Self {
            ttl_ms: millis(ttl),
            margin_ms: millis(ttl / SessionConfig::MARGIN_PART),
            // Schedulers trust a report for half of a TTL.
            beat_every_ms: millis(ttl / 6),
        }
    }
}

/// The answer to a join.
#[derive(Debug, Serialize)]
pub(super) struct Joined<'a> {
    id: &'a NodeId,
    token: String,
    #[serde(flatten)]
    session: Session,
}

impl<'a> Joined<'a> {
    pub(super) fn of(id: &'a NodeId, token: String, ttl: Duration) -> Self {
        Self {
            id,
            token,
            session: Session::of(ttl),
        }
    }
}

/// The answer to a beat.
#[derive(Debug, Serialize)]
pub(super) struct Beaten {
    #[serde(flatten)]
    session: Session,
    stops: Vec<Stop>,
    draining: bool,
}

impl Beaten {
    pub(super) fn of(ttl: Duration, stops: &[RemoteStop], draining: bool) -> Self {
        Self {
            session: Session::of(ttl),
            stops: stops.iter().map(Stop::of).collect(),
            draining,
        }
    }
}

#[derive(Debug, Serialize)]
struct Stop {
    id: TaskId,
    fence: Fence,
    reason: StopReason,
}

impl Stop {
    fn of(stop: &RemoteStop) -> Self {
        Self {
            id: stop.attempt.task,
            fence: stop.attempt.fence,
            reason: stop.reason,
        }
    }
}

/// The answer to a fetch.
#[derive(Debug, Serialize)]
pub(super) struct Fetched<'a> {
    tasks: Vec<Task<'a>>,
    stops: Vec<Stop>,
    draining: bool,
}

impl<'a> Fetched<'a> {
    pub(super) fn of(tasks: &'a [RemoteStart], stops: &[RemoteStop], draining: bool) -> Self {
        Self {
            tasks: tasks.iter().map(Task::of).collect(),
            stops: stops.iter().map(Stop::of).collect(),
            draining,
        }
    }
}

#[derive(Debug, Serialize)]
struct Task<'a> {
    id: TaskId,
    fence: Fence,
    #[serde(rename = "type")]
    kind: &'a TaskType,
    queue: &'a QueueName,
    priority: Priority,
    name: Option<&'a str>,
    payload: &'a Json,
    metadata: &'a BTreeMap<String, String>,
    created_at: String,
    attempt: Attempt,
    timeout_ms: u64,
    stop: Option<StopReason>,
}

impl<'a> Task<'a> {
    fn of(start: &'a RemoteStart) -> Self {
        Self {
            id: start.task,
            fence: start.fence,
            kind: &start.kind,
            queue: &start.queue,
            priority: start.priority,
            name: start.name.as_deref(),
            payload: &start.payload,
            metadata: &start.metadata,
            created_at: time_spelled(start.created_at),
            attempt: start.attempt,
            timeout_ms: start.timeout.get(),
            stop: start.stop,
        }
    }
}

/// The answer to a report of ends, in their order.
#[derive(Debug, Serialize)]
pub(super) struct Results {
    pub(super) results: Vec<Result>,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fate {
    /// It is in the store.
    Recorded,
    /// Its claim was gone: nothing was changed, nor ever will be.
    Stale,
    /// Nobody can tell yet: ask again.
    Unknown,
    /// It makes no sense as it is.
    Refused,
}

/// One end and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Result {
    id: Option<TaskId>,
    fence: Option<Fence>,
    status: Fate,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl Result {
    pub(super) fn of(known: RemoteAttempt, status: Fate) -> Self {
        Self {
            id: Some(known.task),
            fence: Some(known.fence),
            status,
            errors: Vec::new(),
        }
    }

    pub(super) fn refused(known: Option<RemoteAttempt>, errors: Vec<Fault>) -> Self {
        Self {
            id: known.map(|it| it.task),
            fence: known.map(|it| it.fence),
            status: Fate::Refused,
            errors,
        }
    }
}
