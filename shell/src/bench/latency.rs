//! How long tasks wait between the acknowledgement of their submission and the start of their handler, and until their
//! submitter knows that their end is recorded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use windlass_core::ids::TaskId;

use super::{Bar, Spread};

/// One task in so many is followed to its start, so that following does not become the load.
const START_ONE_IN: u128 = 16;
/// One task in so many is asked for until it has ended: a question for each, and for each question etcd copies all that it
/// has not written to its file yet. One in 64 took a tenth of its time.
const END_ONE_IN: u128 = 512;

/// Up to this many tasks a second each one is followed.
const FOLLOW_ALL_RATE: f64 = 1_000.0;

/// Waits that are longer count as this, an hour.
const WAIT_MAX_US: u64 = 3_600_000_000;

/// The waits of the tasks that are followed.
#[derive(Debug, Default)]
pub(super) struct Latency {
    follow_all: bool,
    halves: Mutex<HashMap<TaskId, Half>>,
    to_start_us: Mutex<Vec<u64>>,
    to_end_us: Mutex<Vec<u64>>,
    refused: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Acknowledged(Instant),
    Started,
}

impl Latency {
    /// Follows every task when there are few: at a low rate, not as fast as possible.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            follow_all: rate.is_some_and(|rate| rate <= FOLLOW_ALL_RATE),
            ..Self::default()
        }
    }

    /// Whether the end of this task is to be asked for.
    pub(super) fn awaits_end(&self, task: TaskId) -> bool {
        self.follow_all || task.as_u128().is_multiple_of(END_ONE_IN)
    }

    fn awaits_start(&self, task: TaskId) -> bool {
        self.follow_all || task.as_u128().is_multiple_of(START_ONE_IN)
    }

    pub(super) fn acknowledged(&self, task: TaskId) {
        if self.awaits_start(task) {
            self.meet(task, Half::Acknowledged(Instant::now()));
        }
    }

    pub(super) fn started(&self, task: TaskId) {
        if self.awaits_start(task) {
            self.meet(task, Half::Started);
        }
    }

    /// A submitter has learned that its task, which was acknowledged so long ago, has ended.
    pub(super) fn ended(&self, wait: Duration) {
        lock(&self.to_end_us).push(micros(wait));
    }

    /// Nobody tells whether a task that was followed has ended.
    pub(super) fn lost_sight(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Of how many tasks nobody did.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// So many submissions must be made again.
    pub(super) fn refused(&self, tasks: usize) {
        self.refused.fetch_add(tasks as u64, Ordering::Relaxed);
    }

    /// How many were.
    pub(super) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A handler may start before its submitter has heard of the acceptance: then the wait was zero.
    fn meet(&self, task: TaskId, half: Half) {
        let mut halves = lock(&self.halves);
        let wait = match (halves.remove(&task), half) {
            (None, half) => {
                halves.insert(task, half);
                return;
            }
            (Some(Half::Acknowledged(at)), Half::Started) => at.elapsed(),
            (Some(Half::Started), Half::Acknowledged(_)) => Duration::ZERO,
            // A second start is a second attempt: only the first is measured.
            (Some(before), _) => {
                halves.insert(task, before);
                return;
            }
        };
        drop(halves);
        lock(&self.to_start_us).push(micros(wait));
    }

    /// From acknowledgement to start.
    pub(super) fn to_start(&self) -> Option<Spread> {
        spread(&lock(&self.to_start_us))
    }

    /// From acknowledgement to the submitter's knowledge of the recorded end.
    pub(super) fn to_end(&self) -> Option<Spread> {
        spread(&lock(&self.to_end_us))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The distribution of what was seen; absent when nothing was.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn spread(waits_us: &[u64]) -> Option<Spread> {
    let mut histogram: Histogram<u64> = Histogram::new_with_bounds(1, WAIT_MAX_US, 3).ok()?;
    for wait in waits_us {
        histogram.saturating_record(*wait);
    }
    if histogram.is_empty() {
        return None;
    }
    let ms = |us: u64| us as f64 / 1_000.0;
    let at = |q| ms(histogram.value_at_quantile(q));
    // Each bar is of twice the time of the one before: few of them show microseconds and minutes.
    let bars = histogram.iter_log(125, 2.0).map(|it| Bar {
        up_to_ms: ms(it.value_iterated_to() + 1),
        samples: it.count_since_last_iteration(),
    });
    Some(Spread {
        samples: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: ms(histogram.max()),
        bars: bars.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_holds_every_sample_once() {
        let waits: Vec<u64> = (1..=1_000).map(|n| n * 100).collect();
        let spread = spread(&waits).unwrap();
        assert_eq!(spread.samples, 1_000);
        let in_bars: u64 = spread.bars.iter().map(|bar| bar.samples).sum();
        assert_eq!(in_bars, 1_000);
        assert!((49.0..=51.0).contains(&spread.p50), "{}", spread.p50);
        assert!((98.0..=100.1).contains(&spread.p99), "{}", spread.p99);
        assert!(spread.bars.is_sorted_by(|a, b| a.up_to_ms < b.up_to_ms));
    }

    #[test]
    fn nothing_seen_is_no_distribution() {
        assert!(spread(&[]).is_none());
    }

    #[test]
    fn a_start_before_the_acknowledgement_was_no_wait_and_a_second_start_counts_nothing() {
        let latency = Latency::new(Some(1.0));
        let task: TaskId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        latency.started(task);
        latency.acknowledged(task);
        latency.started(task);
        let spread = latency.to_start().unwrap();
        assert_eq!((spread.samples, spread.max), (1, 0.0));
    }
}
