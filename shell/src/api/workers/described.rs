//! What remote workers send and are told, as the API's description shows it. Bodies are read field by field in `read`,
//! answers are spelled in `told`.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::super::describe::types::{Id, Name, Priority, Span};

/// A worker that wants to take part.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerJoin {
    /// What it runs: 1 to 256 types.
    types: Vec<Name>,
    /// How many attempts it takes at the same time, at most.
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    slots: Option<u32>,
    /// The queues that it serves; all when empty.
    queues: Option<Vec<Name>>,
    /// Its id; one is drawn when it has none.
    id: Option<Name>,
    /// What it is, for people.
    #[schema(max_length = 64)]
    version: Option<String>,
    /// How long its session lasts without a beat, 2s to 1h; 10s.
    ttl: Option<Span>,
    /// Its share under the weighted strategy.
    #[schema(minimum = 1, maximum = 1_000_000, default = 1)]
    weight: Option<u32>,
    /// For people: at most 32.
    labels: Option<BTreeMap<String, String>>,
}

/// A session, which lasts from when the call was sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerSession {
    id: Name,
    /// Proof of this session.
    token: String,
    ttl_ms: u64,
    /// How much earlier every handler has stopped.
    margin_ms: u64,
    beat_every_ms: u64,
}

/// One attempt of one task.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerAttempt {
    id: Id,
    fence: u64,
}

/// A question for what is new.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerFetch {
    token: String,
    /// Every attempt that the worker has, at most 4,000.
    held: Option<Vec<WorkerAttempt>>,
    /// Those among them that it knows must stop, or that have ended.
    stopping: Option<Vec<WorkerAttempt>>,
    /// It knows that it is to take no new tasks.
    draining: Option<bool>,
    #[schema(minimum = 0, maximum = 32, default = 32)]
    max: Option<u32>,
    /// At most 60s; no wait when absent.
    wait: Option<Span>,
}

/// Why an attempt must stop.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum WorkerStopReason {
    Cancel,
    TimeOut,
    Fenced,
    Shutdown,
}

/// An attempt that must stop.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerStop {
    id: Id,
    fence: u64,
    reason: WorkerStopReason,
}

/// An attempt that is the worker's from now on.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerTask {
    id: Id,
    fence: u64,
    #[schema(rename = "type")]
    kind: Name,
    queue: Name,
    priority: Priority,
    name: Option<String>,
    payload: serde_json::Value,
    metadata: BTreeMap<String, String>,
    #[schema(format = "date-time")]
    created_at: String,
    attempt: u32,
    timeout_ms: u64,
    /// Not to be started, but handed back.
    stop: Option<WorkerStopReason>,
}

/// What is new.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerNews {
    tasks: Vec<WorkerTask>,
    stops: Vec<WorkerStop>,
    /// It is to take no new tasks.
    draining: bool,
}

/// How far an attempt is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerProgress {
    id: Id,
    fence: u64,
    progress: serde_json::Value,
}

/// A sign of life.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerBeat {
    token: String,
    held: Option<Vec<WorkerAttempt>>,
    /// Offer nothing for it any more: it is about to leave.
    leaving: Option<bool>,
    progress: Option<Vec<WorkerProgress>>,
}

/// The session goes on, from when the beat was sent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerBeaten {
    ttl_ms: u64,
    margin_ms: u64,
    beat_every_ms: u64,
    stops: Vec<WorkerStop>,
    draining: bool,
}

/// How an attempt ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum WorkerOutcome {
    Completed,
    Failed,
    TimedOut,
    HandedBack,
}

/// The end of an attempt.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerResult {
    id: Id,
    fence: u64,
    outcome: WorkerOutcome,
    /// Of a completed attempt.
    result: Option<serde_json::Value>,
    /// Of a failed one.
    error: Option<String>,
    /// Of a failed one: try again after exactly this long.
    retry_after: Option<Span>,
    /// Of a failed one: trying again is useless.
    fatal: Option<bool>,
    /// How long its handler ran.
    ran_ms: Option<u32>,
}

/// Ends of attempts: 1 to 1,000.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerDone {
    token: String,
    results: Vec<WorkerResult>,
}

/// What became of the report of an end.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum WorkerFate {
    Recorded,
    Stale,
    Unknown,
    Refused,
}

/// What became of one end.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerRecord {
    id: Option<Id>,
    fence: Option<u64>,
    status: WorkerFate,
    /// Why it is refused: fields and reasons.
    errors: Option<Vec<serde_json::Value>>,
}

/// What became of each end, in their order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerRecorded {
    results: Vec<WorkerRecord>,
}

/// Proof of a session.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerProof {
    token: String,
}

/// The session has ended.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct WorkerLeft {
    /// `left`
    status: String,
}
