//! Points of a chart: what happened in equal steps of time, the oldest forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use windlass_core::gateway::{Histogram, StatsView, TimingsView};
use windlass_core::record::Totals;
use windlass_core::time::{Mono, Now, Wall};

use crate::api::field::time_spelled;

/// What was seen at one time: counts since the beginning, and levels.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    now: Now,
    totals: Totals,
    levels: Levels,
    wait: Histogram,
    run: Histogram,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
struct Levels {
    pending: u64,
    running: u64,
    scheduled: u64,
    retrying: u64,
    dead: u64,
    oldest_age_ms: u64,
    slots: u64,
    slots_used: u64,
}

impl Sample {
    /// What the gateway told at `now`.
    pub(super) fn of(now: Now, stats: &StatsView, timings: &TimingsView) -> Self {
        let age = |oldest: Wall| now.wall.since(oldest).get();
        Self {
            now,
            totals: stats.totals,
            levels: Levels {
                pending: stats.pending,
                running: stats.running,
                scheduled: stats.scheduled,
                retrying: stats.retrying,
                dead: stats.dead,
                oldest_age_ms: timings.oldest().map_or(0, age),
                slots: timings.slots,
                slots_used: timings.slots_used,
            },
            wait: timings.wait(),
            run: timings.run(),
        }
    }
}

/// What happened in one step, and how it was at its end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = HistoryPoint)]
pub(super) struct Point {
    #[serde(serialize_with = "as_time")]
    #[schema(value_type = String, format = "date-time")]
    at: Wall,
    #[serde(flatten)]
    counts: Counts,
    #[serde(flatten)]
    levels: Levels,
    wait_ms: Option<Quantiles>,
    run_ms: Option<Quantiles>,
    /// How long the step was in truth.
    #[serde(skip)]
    span: Duration,
}

fn as_time<S: Serializer>(at: &Wall, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time_spelled(*at))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
struct Counts {
    accepted: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    retried: u64,
    lost: u64,
}

impl Counts {
    fn between(before: &Totals, now: &Totals) -> Self {
        let grown = |of: fn(&Totals) -> u64| of(now).saturating_sub(of(before));
        Self {
            accepted: grown(|it| it.accepted),
            completed: grown(|it| it.completed),
            failed: grown(|it| it.failed),
            cancelled: grown(|it| it.cancelled),
            retried: grown(|it| it.retried),
            lost: grown(|it| it.lost),
        }
    }
}

/// Durations that so many did not exceed, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram) -> Option<Self> {
        // To a tenth: the buckets are no finer.
        let millis = |permille| {
            let us = histogram.quantile_us(permille)?;
            Some(rounded(us, 100) / 10.0)
        };
        Some(Self {
            p50: millis(500)?,
            p95: millis(950)?,
            p99: millis(990)?,
        })
    }
}

/// How often `unit` goes into `number`, as a number that can be divided.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody looks at the seventeenth digit"
)]
fn rounded(number: u64, unit: u64) -> f64 {
    ((number + unit / 2) / unit) as f64
}

/// How fast things happened, a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(in crate::api) struct Rates {
    accepted: f64,
    completed: f64,
    failed: f64,
    retried: f64,
}

/// The points of the last while.
#[derive(Debug)]
pub(super) struct Ring {
    step: Duration,
    points_max: usize,
    points: VecDeque<Point>,
    last: Option<Sample>,
}

impl Ring {
    /// No points yet; `points_max` at most, one every `step`.
    pub(super) fn new(step: Duration, points_max: usize) -> Self {
        Self {
            step,
            points_max,
            points: VecDeque::new(),
            last: None,
        }
    }

    /// The length of a step.
    pub(super) fn step(&self) -> Duration {
        self.step
    }

    /// The points, the oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }

    /// Takes a sample, if a step has passed since the last one. After a time without samples there is no point: what
    /// happened meanwhile is not known to have happened in one step.
    pub(super) fn take(&mut self, sample: &Sample) {
        let Some(last) = &self.last else {
            self.last = Some(sample.clone());
            return;
        };
        let span = sample.now.mono.since(last.now.mono);
        // A sample comes a little early or late.
        if span < self.step.mul_f64(0.9) {
            return;
        }
        if span <= self.step * 2 {
            let point = Point {
                at: sample.now.wall,
                counts: Counts::between(&last.totals, &sample.totals),
                levels: sample.levels,
                wait_ms: Quantiles::of(&sample.wait.since(&last.wait)),
                run_ms: Quantiles::of(&sample.run.since(&last.run)),
                span,
            };
            if self.points.len() == self.points_max {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        self.last = Some(sample.clone());
    }

    /// How fast things happened in the last `span`; `None` when that is not known.
    pub(super) fn rates(&self, now: Mono, span: Duration) -> Option<Rates> {
        let last = self.last.as_ref()?;
        let mut seconds = 0.0;
        let mut sum = Counts::default();
        let mut age = now.since(last.now.mono);
        for point in self.points.iter().rev() {
            if age >= span {
                break;
            }
            age += point.span;
            seconds += point.span.as_secs_f64();
            sum.accepted += point.counts.accepted;
            sum.completed += point.counts.completed;
            sum.failed += point.counts.failed;
            sum.retried += point.counts.retried;
        }
        let rate = |count| (rounded(count, 1) / seconds * 100.0).round() / 100.0;
        (seconds > 0.0).then(|| Rates {
            accepted: rate(sum.accepted),
            completed: rate(sum.completed),
            failed: rate(sum.failed),
            retried: rate(sum.retried),
        })
    }
}
