//! How long tasks wait between the acknowledgement of their submission and the start of their handler.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use windlass_core::ids::TaskId;

use super::Quantiles;

/// One task in so many is followed, so that following does not become the load.
const FOLLOW_ONE_IN: u128 = 16;

/// The waits of the tasks that are followed. A handler may start before its submitter has heard of the acceptance: then
/// the wait was zero.
#[derive(Debug, Default)]
pub(super) struct Latency {
    halves: Mutex<HashMap<TaskId, Half>>,
    waits_us: Mutex<Vec<u64>>,
    follow_all: bool,
    refused: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
enum Half {
    Acknowledged(Instant),
    Started,
}

impl Latency {
    /// Follows every task when there are few.
    pub(super) fn new(follow_all: bool) -> Self {
        Self {
            follow_all,
            ..Self::default()
        }
    }

    fn follows(&self, task: TaskId) -> bool {
        self.follow_all || task.as_u128().is_multiple_of(FOLLOW_ONE_IN)
    }

    pub(super) fn acknowledged(&self, task: TaskId) {
        if self.follows(task) {
            self.meet(task, Half::Acknowledged(Instant::now()));
        }
    }

    /// So many submissions must be made again.
    pub(super) fn refused(&self, tasks: usize) {
        self.refused.fetch_add(tasks, Ordering::Relaxed);
    }

    /// How many were.
    pub(super) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) as u64
    }

    pub(super) fn started(&self, task: TaskId) {
        if self.follows(task) {
            self.meet(task, Half::Started);
        }
    }

    fn meet(&self, task: TaskId, half: Half) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = match (halves.remove(&task), half) {
            (None, half) => {
                halves.insert(task, half);
                return;
            }
            (Some(Half::Acknowledged(at)), Half::Started) => at.elapsed(),
            (Some(Half::Started), Half::Acknowledged(_)) => std::time::Duration::ZERO,
            // A second start is a second attempt: only the first is measured.
            (Some(before), _) => {
                halves.insert(task, before);
                return;
            }
        };
        drop(halves);
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.waits_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(micros);
    }

    /// The distribution of what was seen; absent when nothing was.
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let mut histogram: Histogram<u64> = Histogram::new(3).ok()?;
        for wait in self
            .waits_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            histogram.saturating_record(*wait);
        }
        let at = |q| histogram.value_at_quantile(q) as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Quantiles {
            p50: at(0.5),
            p99: at(0.99),
        })
    }
}
