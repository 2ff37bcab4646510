//! `GET /api/v1/history`: the last while as points of a chart, kept in this process's memory.

mod ring;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep};
use utoipa::ToSchema;
use windlass_core::gateway::{Reply, Request};
use windlass_core::time::Mono;

pub(super) use self::ring::Rates;
use self::ring::{Point, Ring, Sample};
use super::query::Query;
use super::{Answer, App, AppState, Shared, answer};
use crate::clock::Clock;

/// How often the cluster is looked at: a point of the short range.
const STEP: Duration = Duration::from_secs(5);

/// A point of the long range.
const STEP_LONG: Duration = Duration::from_secs(60);

/// Points of the short range: an hour. Some 200 bytes each, and no more than seven times that for both ranges' last
/// samples.
const POINTS: usize = 720;

/// Points of the long range: a day.
const POINTS_LONG: usize = 1_440;

/// How far back rates look.
const RATES_OVER: Duration = Duration::from_secs(60);

/// How long to wait before the first look is tried again: a process that starts has no view yet.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What was seen so far.
#[derive(Debug)]
pub(super) struct History {
    rings: Mutex<Rings>,
}

#[derive(Debug)]
struct Rings {
    short: Ring,
    long: Ring,
}

impl Default for History {
    fn default() -> Self {
        Self {
            rings: Mutex::new(Rings {
                short: Ring::new(STEP, POINTS),
                long: Ring::new(STEP_LONG, POINTS_LONG),
            }),
        }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Rings> {
        // Nothing panics while the lock is held, and every operation on the rings is whole.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, sample: &Sample) {
        let mut rings = self.lock();
        rings.short.take(sample);
        rings.long.take(sample);
    }

    /// How fast things happened in the last minute, a second; `None` while that is not known.
    pub(super) fn rates(&self, now: Mono) -> Option<Rates> {
        self.lock().short.rates(now, RATES_OVER)
    }
}

/// Looks at the cluster again and again, for as long as the API lives.
pub(super) async fn keep(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        if look(&App(shared)).await {
            break;
        }
        sleep(FIRST_PAUSE).await;
    }
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    steps.tick().await;
    loop {
        steps.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        look(&App(shared)).await;
    }
}

/// Says whether there was something to see.
async fn look(app: &App) -> bool {
    let stats = app.ask(Request::Stats).await;
    let timings = app.ask(Request::Timings).await;
    if let (Reply::Stats(stats), Reply::Timings(timings)) = (&stats, &timings) {
        let sample = Sample::of(app.0.clock.now(), stats, timings);
        app.0.history.take(&sample);
        true
    } else {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Hour,
    Day,
}

impl Range {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "1h" => Ok(Self::Hour),
            "24h" => Ok(Self::Day),
            _ => Err("is 1h or 24h".to_owned()),
        }
    }
}

/// Points of a chart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct Shown {
    step_seconds: u64,
    /// The oldest first. Counts are of a point's step, levels are at its end; a time that could not be seen has no points.
    points: Vec<Point>,
}

/// `GET /api/v1/history`
pub(super) async fn show(State(app): AppState, uri: Uri) -> Answer {
    let mut query = Query::of(&uri)?;
    let range = query.take("range", Range::parse).unwrap_or(Range::Hour);
    query.close()?;
    let shown = {
        let rings = app.0.history.lock();
        let ring = match range {
            Range::Hour => &rings.short,
            Range::Day => &rings.long,
        };
        Shown {
            step_seconds: ring.step().as_secs(),
            points: ring.points().cloned().collect(),
        }
    };
    answer(StatusCode::OK, &shown)
}
