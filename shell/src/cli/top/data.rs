//! What is known of the cluster: the servers' last answers.

use jiff::Timestamp;
use serde_json::Value;

/// The servers' last answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Data {
    pub(super) stats: Value,
    pub(super) queues: Vec<Value>,
    pub(super) nodes: Vec<Value>,
    pub(super) tasks: Vec<Value>,
    /// Tasks a second, as the servers tell or as two of their answers do.
    pub(super) rates: Option<Rates>,
    counted_at: Option<Timestamp>,
}

/// Tasks a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) accepted: f64,
    pub(super) completed: f64,
    pub(super) failed: f64,
    pub(super) retried: f64,
}

impl Data {
    /// Takes in what was counted at `now`.
    pub(super) fn count(&mut self, stats: Value, now: Timestamp) {
        let told = told(&stats["rates"]);
        let since = self
            .counted_at
            .map(|then| now.duration_since(then).as_secs_f64());
        let between = since.filter(|seconds| *seconds > 0.0).map(|seconds| Rates {
            accepted: grown(&self.stats, &stats, "tasks/total") / seconds,
            completed: grown(&self.stats, &stats, "tasks/completed") / seconds,
            failed: grown(&self.stats, &stats, "tasks/failed") / seconds,
            retried: grown(&self.stats, &stats, "attempts/retried") / seconds,
        });
        self.rates = told.or(between).or(self.rates);
        self.stats = stats;
        self.counted_at = Some(now);
    }

    /// A count, zero while nothing is known.
    pub(super) fn number(&self, path: &str) -> u64 {
        number(&self.stats, path)
    }

    /// The queues in which most waits, first.
    pub(super) fn busiest(&self) -> Vec<&Value> {
        let mut queues: Vec<&Value> = self.queues.iter().collect();
        let waits = |queue: &Value| number(queue, "pending") + number(queue, "running");
        queues.sort_by_key(|queue| std::cmp::Reverse(waits(queue)));
        queues
    }
}

/// The number under a path of names with slashes between.
fn number(value: &Value, path: &str) -> u64 {
    let found = value.pointer(&format!("/{path}"));
    found.and_then(Value::as_u64).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with one digit")]
fn grown(before: &Value, after: &Value, path: &str) -> f64 {
    number(after, path).saturating_sub(number(before, path)) as f64
}

fn told(rates: &Value) -> Option<Rates> {
    Some(Rates {
        accepted: rates["accepted"].as_f64()?,
        completed: rates["completed"].as_f64()?,
        failed: rates["failed"].as_f64()?,
        retried: rates["retried"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_those_of_the_server_or_of_two_counts() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut data = Data::default();
        data.count(json!({"tasks": {"total": 10, "completed": 5}}), at(100));
        assert_eq!(data.rates, None);
        data.count(json!({"tasks": {"total": 30, "completed": 6}}), at(104));
        let rates = data.rates.unwrap();
        assert_eq!(
            (rates.accepted, rates.completed, rates.failed),
            (5.0, 0.25, 0.0)
        );
        data.count(json!({"tasks": {"total": 31}, "rates": {"accepted": 7.5, "completed": 1, "failed": 0, "retried": 0}}), at(105));
        assert_eq!(data.rates.unwrap().accepted, 7.5);
    }
}
