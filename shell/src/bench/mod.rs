//! Measurements: tasks a second from submission to recorded completion, and what a store does with the same writes and
//! nothing else.

mod latency;
mod limit;
mod run;

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_core::gateway::{Due, TaskSpec};
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Millis;

pub use self::limit::limit;
pub use self::run::run;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many tasks.
    pub tasks: u64,
    /// How many workers.
    pub workers: u32,
    /// Handlers that run at the same time, for each worker.
    pub slots: u32,
    /// The size of each payload, in bytes.
    pub payload: usize,
    /// Tasks a second to submit; as fast as they are taken when absent.
    pub rate: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// `run` or `limit`.
    pub what: &'static str,
    /// The word embedded, or the endpoints.
    pub store: String,
    /// How many tasks.
    pub tasks: u64,
    /// How often a task was refused for want of room in the store, and submitted again later.
    pub refused: u64,
    /// From the first submission to the last recorded completion.
    pub seconds: f64,
    /// Tasks by seconds.
    pub tasks_per_second: f64,
    /// From the acknowledgement of a submission to the start of its handler; absent for `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_start_ms: Option<Quantiles>,
    /// The processors' time that this process used for each task, in microseconds.
    pub cpu_us_per_task: f64,
    /// The most memory that this process had.
    pub peak_rss_bytes: u64,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of the samples are below.
    pub p50: f64,
    /// All but one in a hundred are below.
    pub p99: f64,
}

fn spec(payload: &Json) -> TaskSpec {
    TaskSpec {
        kind: "noop".parse().expect("a stock type is a name"),
        queue: "bench".parse().expect("a plain word is a name"),
        priority: Priority::NORMAL,
        name: None,
        payload: payload.clone(),
        metadata: BTreeMap::new(),
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(300),
        due: Due::Now,
        key: None,
    }
}

/// A JSON string of `bytes` bytes.
fn payload(bytes: usize) -> Json {
    Json::string(&"x".repeat(bytes.saturating_sub(2)))
}

/// The processors' time that this process has used, in microseconds.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, which may hold spaces, in parentheses.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|it| it.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    (ticks(11) + ticks(12)) * 1_000_000 / per_second
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(count: u64, by: f64) -> f64 {
    if by > 0.0 { count as f64 / by } else { 0.0 }
}
