//! What is described but never made: names of spellings, and the bodies that are read field by field.
//! Tests hold the bodies equal to what their readers know.

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// A name: letters, digits, dots, underscores and hyphens.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9._-]{1,128}$")]
pub(in crate::api) struct Name(#[expect(dead_code, reason = "only described")] String);

/// A task's id, in lower case with hyphens.
#[derive(ToSchema)]
#[schema(format = "uuid")]
pub(in crate::api) struct Id(#[expect(dead_code, reason = "only described")] String);

/// A span such as `30s`, `1m30s` or `500ms`.
#[derive(ToSchema)]
#[schema(examples("1m30s"))]
pub(in crate::api) struct Span(#[expect(dead_code, reason = "only described")] String);

/// Text.
#[derive(ToSchema)]
pub(in crate::api) struct Text(#[expect(dead_code, reason = "only described")] String);

/// How many, at most.
#[derive(ToSchema)]
#[schema(minimum = 1, maximum = 1000, default = 100)]
pub(in crate::api) struct PageSize(#[expect(dead_code, reason = "only described")] u32);

/// How far back, in which steps.
#[derive(ToSchema)]
#[schema(default = "1h")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum HistoryRange {
    #[schema(rename = "1h")]
    Hour,
    #[schema(rename = "24h")]
    Day,
}

/// Any JSON object.
#[derive(ToSchema)]
#[schema(value_type = Object)]
pub(in crate::api) struct Document(
    #[expect(dead_code, reason = "only described")] serde_json::Value,
);

/// Where a task is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Status {
    Scheduled,
    Pending,
    Running,
    Retrying,
    Completed,
    Failed,
    Cancelled,
}

/// 0 is the most urgent, 9 the least.
#[derive(ToSchema)]
#[schema(minimum = 0, maximum = 9)]
pub(in crate::api) struct Priority(#[expect(dead_code, reason = "only described")] u8);

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum PriorityName {
    Critical,
    High,
    Normal,
    Low,
}

/// A number, or a name: critical is 0, high 3, normal 5, low 7.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum PriorityGiven {
    Number(Priority),
    Name(PriorityName),
}

/// How a queue's tasks are spread over its workers.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Strategy {
    LeastLoad,
    RoundRobin,
    Random,
    Weighted,
}

/// What a node is.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum NodeRole {
    Scheduler,
    Worker,
}

/// How much room the store has. tight: history and ended tasks are kept shorter than configured. full: new tasks and
/// reruns are refused.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Level {
    Roomy,
    Tight,
    Full,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Backoff {
    Exponential,
    Linear,
    Fixed,
}

/// When a failed attempt is tried again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct Retry {
    /// Exponential unless given.
    kind: Option<Backoff>,
    /// The first wait; 1s unless given.
    delay: Option<Span>,
    /// The longest wait; 5m unless given.
    cap: Option<Span>,
    /// Whether waits are drawn at random below what they would be; yes unless given.
    jitter: Option<bool>,
    /// No attempt begins later than this after the first failure.
    max_elapsed: Option<Span>,
}

/// A task that is handed in.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct Submission {
    /// Selects the handler.
    #[schema(value_type = Name)]
    r#type: Name,
    /// `default` unless given.
    queue: Option<Name>,
    /// 5 unless given.
    priority: Option<PriorityGiven>,
    /// Any JSON, kept to the letter; 256 KiB at most unless configured otherwise.
    #[schema(required = false)]
    payload: serde_json::Value,
    /// For people.
    #[schema(min_length = 1, max_length = 256)]
    name: Option<String>,
    /// At most 32 labels, of 63 bytes for the name and 255 for the value.
    metadata: Option<BTreeMap<String, String>>,
    /// How often a failure is tried again; 3 unless given.
    #[schema(minimum = 0, maximum = 10000)]
    max_retries: Option<u32>,
    retry: Option<Retry>,
    /// How long one attempt may run; 5m unless given.
    timeout: Option<Span>,
    /// It may not start before this long from now.
    delay: Option<Span>,
    /// It may not start before; at most 10 years ahead, and not together with delay.
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<String>,
    /// The same key with the same body again gives the same task; with another body it is refused.
    #[schema(min_length = 1, max_length = 256)]
    key: Option<String>,
}

/// Up to 1,000 tasks.
#[derive(ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub(in crate::api) struct SubmissionArray(
    #[expect(dead_code, reason = "only described")] Vec<Submission>,
);

/// One task, or an array of up to 1,000.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Submissions {
    One(Box<Submission>),
    Many(SubmissionArray),
}

/// What of a queue can be set.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct QueueSettings {
    strategy: Strategy,
}

/// How a lock is taken.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct LockTake {
    /// Whose it is, for people.
    #[schema(min_length = 1, max_length = 256)]
    owner: Option<String>,
    /// How long it is held without a renewal; 30s unless given.
    ttl: Option<Span>,
    /// How long to wait for it, in turn; 10s unless given.
    wait: Option<Span>,
}

/// The proof of holding a lock.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct LockProof {
    /// What the answer that gave the lock said.
    token: String,
}

/// A query: terms with white space between them, all of which hold.
#[derive(ToSchema)]
#[schema(max_length = 2048, examples("queue:mail error:refused created:>-1h"))]
pub(in crate::api) struct Terms(#[expect(dead_code, reason = "only described")] String);

/// Which come first.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case", default = "oldest")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum Order {
    Oldest,
    Newest,
}

/// What can be done to many tasks.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) enum BulkAction {
    Cancel,
    Rerun,
}

/// What is done to which tasks.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct Bulk {
    action: BulkAction,
    /// As for a list, and not empty. Only tasks that it can be done to are meant: what has not ended can be cancelled,
    /// what failed or was cancelled can be run again.
    q: Terms,
    /// How many at most; 1000 unless given.
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the call before.
    cursor: Option<String>,
    /// Only say how many are meant.
    dry_run: Option<bool>,
}

/// The beginning of a session.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only described")]
pub(in crate::api) struct SessionBegin {
    /// A token of this server.
    token: String,
}
