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
    to_ack: Mutex<Waits>,
    /// The same, since it was last taken.
    to_ack_lately: Mutex<Waits>,
    halves: Mutex<HashMap<TaskId, Half>>,
    to_start: Mutex<Waits>,
    /// The same, since it was last taken.
    to_start_lately: Mutex<Waits>,
    to_end: Mutex<Waits>,
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

    /// A submission was acknowledged so long after it was due, refusals included.
    pub(super) fn taken(&self, wait: Duration) {
        lock(&self.to_ack).note(wait);
        lock(&self.to_ack_lately).note(wait);
    }

    /// From submission to acknowledgement.
    pub(super) fn to_ack(&self) -> Option<Spread> {
        lock(&self.to_ack).spread()
    }

    /// From submission to acknowledgement, of those that were acknowledged since this was last asked.
    pub(super) fn to_ack_lately(&self) -> Option<Spread> {
        lock(&self.to_ack_lately).take()
    }

    pub(super) fn started(&self, task: TaskId) {
        if self.awaits_start(task) {
            self.meet(task, Half::Started);
        }
    }

    /// A submitter has learned that its task, which was acknowledged so long ago, has ended.
    pub(super) fn ended(&self, wait: Duration) {
        lock(&self.to_end).note(wait);
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
        lock(&self.to_start).note(wait);
        lock(&self.to_start_lately).note(wait);
    }

    /// From acknowledgement to start.
    pub(super) fn to_start(&self) -> Option<Spread> {
        lock(&self.to_start).spread()
    }

    /// From acknowledgement to start, of those that started since this was last asked.
    pub(super) fn to_start_lately(&self) -> Option<Spread> {
        lock(&self.to_start_lately).take()
    }

    /// From acknowledgement to the submitter's knowledge of the recorded end.
    pub(super) fn to_end(&self) -> Option<Spread> {
        lock(&self.to_end).spread()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while a lock is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits in microseconds. Their memory does not grow with their number.
#[derive(Debug)]
struct Waits(Histogram<u64>);

impl Default for Waits {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, WAIT_MAX_US, 3);
        Self(histogram.expect("1 < 2 * 1 <= WAIT_MAX_US, and 3 digits are at most 5"))
    }
}

impl Waits {
    fn note(&mut self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us);
    }

    /// The distribution of what was seen, and forgets it.
    fn take(&mut self) -> Option<Spread> {
        let spread = self.spread();
        self.0.reset();
        spread
    }

    /// The distribution of what was seen; absent when nothing was.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn spread(&self) -> Option<Spread> {
        if self.0.is_empty() {
            return None;
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |q| ms(self.0.value_at_quantile(q));
        // Each bar is of twice the time of the one before: few of them show microseconds and minutes.
        let bars = self.0.iter_log(125, 2.0).map(|it| Bar {
            up_to_ms: ms(it.value_iterated_to() + 1),
            samples: it.count_since_last_iteration(),
        });
        Some(Spread {
            samples: self.0.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(self.0.max()),
            bars: bars.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_holds_every_sample_once() {
        let mut waits = Waits::default();
        for n in 1..=1_000 {
            waits.note(Duration::from_micros(n * 100));
        }
        let spread = waits.spread().unwrap();
        assert_eq!(spread.samples, 1_000);
        let in_bars: u64 = spread.bars.iter().map(|bar| bar.samples).sum();
        assert_eq!(in_bars, 1_000);
        assert!((49.0..=51.0).contains(&spread.p50), "{}", spread.p50);
        assert!((98.0..=100.1).contains(&spread.p99), "{}", spread.p99);
        assert!(spread.bars.is_sorted_by(|a, b| a.up_to_ms < b.up_to_ms));
    }

    #[test]
    fn nothing_seen_is_no_distribution() {
        assert!(Waits::default().spread().is_none());
    }

    #[test]
    fn what_started_lately_is_told_once_and_stays_in_the_whole() {
        let latency = Latency::new(Some(1.0));
        let started = |n: u128| {
            latency.acknowledged(TaskId::from_u128(n));
            latency.started(TaskId::from_u128(n));
        };
        started(1);
        started(2);
        assert_eq!(latency.to_start_lately().map(|it| it.samples), Some(2));
        assert!(latency.to_start_lately().is_none());
        started(3);
        assert_eq!(latency.to_start_lately().map(|it| it.samples), Some(1));
        assert_eq!(latency.to_start().map(|it| it.samples), Some(3));
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
