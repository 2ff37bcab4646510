//! Measurements: tasks a second from submission to recorded completion, and what a store does with the same writes and
//! nothing else.

mod asker;
mod intervals;
mod latency;
mod limit;
mod run;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use windlass_core::gateway::{Due, TaskSpec};
use windlass_core::ids::{Priority, QueueName};
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Millis;

pub use self::intervals::Interval;
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
    /// Over how many queues the tasks are spread, in turn.
    pub queues: u32,
    /// Over how many priorities, from the most urgent on.
    pub priorities: u8,
    /// How long each handler takes; it does nothing when this is zero.
    pub handler: Duration,
    /// How many submissions are under way at a time, unless there is a rate.
    pub submitters: u32,
    /// How many tasks one submission has, unless there is a rate.
    pub batch: u32,
    /// Tasks a second to submit, one by one; as fast as they are taken when absent.
    pub rate: Option<f64>,
    /// How long an ended task is kept; as long as by default when absent.
    pub retention: Option<Millis>,
    /// How long the intervals are of which each is told by itself, if any is.
    pub interval: Option<Duration>,
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
    /// Of how many of the tasks that were followed to their end nobody told it: they are missing in `submit_to_end_ms`.
    pub ends_unknown: u64,
    /// From the first submission to the last recorded completion.
    pub seconds: f64,
    /// Tasks by seconds.
    pub tasks_per_second: f64,
    /// From a submission, which may be of many tasks, to its acknowledgement; at a rate from when it was due, however late
    /// it was made. Absent for `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_ack_ms: Option<Spread>,
    /// From the acknowledgement of a submission to the start of its handler; absent for `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_start_ms: Option<Spread>,
    /// From the acknowledgement of a submission until its submitter has been told that its end is recorded; absent for
    /// `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_end_ms: Option<Spread>,
    /// Transactions that the store has applied for each task, by its revisions.
    pub store_transactions_per_task: f64,
    /// The processors' time that this process used for each task, in microseconds.
    pub cpu_us_per_task: f64,
    /// The most memory that this process had.
    pub peak_rss_bytes: u64,
    /// What happened in each interval, when that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// How many were looked at.
    pub samples: u64,
    /// Half of the samples are below.
    pub p50: f64,
    /// All but one in ten are below.
    pub p90: f64,
    /// All but one in a hundred are below.
    pub p99: f64,
    /// All but one in a thousand are below.
    pub p999: f64,
    /// None is above.
    pub max: f64,
    /// How many fell where, from the shortest on; left out where there are many distributions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<Bar>,
}

impl Spread {
    fn without_bars(mut self) -> Self {
        self.bars.clear();
        self
    }
}

/// One bar of a distribution: what is above the bar before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bar {
    /// The bar's upper bound, in milliseconds.
    pub up_to_ms: f64,
    /// How many samples.
    pub samples: u64,
}

/// The tasks of a plan, one after another.
#[derive(Debug, Clone)]
struct Specs {
    base: TaskSpec,
    queues: Vec<QueueName>,
    priorities: Vec<Priority>,
}

impl Specs {
    fn new(plan: &Plan) -> Self {
        let (kind, payload) = if plan.handler.is_zero() {
            (
                "noop",
                Json::string(&"x".repeat(plan.payload.saturating_sub(2))),
            )
        } else {
            ("sleep", sleeping(plan))
        };
        let queue = |n| {
            format!("bench-{n}")
                .parse()
                .expect("letters and digits make a name")
        };
        let queues: Vec<QueueName> = (0..plan.queues.max(1)).map(queue).collect();
        let base = TaskSpec {
            kind: kind.parse().expect("a stock type is a name"),
            queue: queues[0].clone(),
            priority: Priority::NORMAL,
            name: None,
            payload,
            metadata: BTreeMap::new(),
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(300),
            due: Due::Now,
            key: None,
        };
        let priorities: Vec<Priority> = match plan.priorities {
            0 | 1 => vec![Priority::NORMAL],
            count => (0..count)
                .filter_map(|digit| Priority::new(digit).ok())
                .collect(),
        };
        Self {
            base,
            queues,
            priorities,
        }
    }

    /// Task number `n`.
    fn nth(&self, n: u64) -> TaskSpec {
        let pick = |count: usize| usize::try_from(n % count as u64).unwrap_or(0);
        TaskSpec {
            queue: self.queues[pick(self.queues.len())].clone(),
            priority: self.priorities[pick(self.priorities.len())],
            ..self.base.clone()
        }
    }
}

/// A payload of the stock type `sleep` that is as large as the plan wants, if it can be that small.
fn sleeping(plan: &Plan) -> Json {
    let ms = plan.handler.as_millis();
    let bare = format!(r#"{{"ms":{ms}}}"#).len();
    let pad = " ".repeat(plan.payload.saturating_sub(bare));
    Json::parse(format!(r#"{{"ms":{ms}{pad}}}"#)).expect("this is JSON")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            tasks: 10,
            workers: 1,
            slots: 1,
            payload: 64,
            queues: 2,
            priorities: 3,
            handler: Duration::ZERO,
            submitters: 1,
            batch: 1,
            rate: None,
            retention: None,
            interval: None,
        }
    }

    #[test]
    fn tasks_are_spread_over_queues_and_priorities_in_turn() {
        let specs = Specs::new(&plan());
        let seen = |n| {
            let spec = specs.nth(n);
            (spec.queue.as_str().to_owned(), spec.priority.get())
        };
        assert_eq!(seen(0), ("bench-0".to_owned(), 0));
        assert_eq!(seen(1), ("bench-1".to_owned(), 1));
        assert_eq!(seen(5), ("bench-1".to_owned(), 2));
    }

    #[test]
    fn a_payload_is_as_large_as_asked_for_whatever_the_handler_does() {
        for millis in [0, 1_500] {
            let handler = Duration::from_millis(millis);
            let specs = Specs::new(&Plan { handler, ..plan() });
            assert_eq!(specs.nth(0).payload.as_str().len(), 64);
        }
    }
}
