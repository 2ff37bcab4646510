//! What happened in each interval of a measurement: what grows or slows down in time shows here and nowhere else.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval_at};
use windlass_core::gateway::{Reply, Request};
use windlass_core::store::Usage;

use super::Spread;
use super::latency::Latency;
use crate::gateway::Gateway;
use crate::host::memory_bytes;
use crate::node::WorkerStatus;

/// How long a scheduler may take to tell how full its store is.
const ASK_MAX: Duration = Duration::from_secs(5);

/// One interval.
#[derive(Debug, Clone, Serialize)]
pub struct Interval {
    /// When it ended, from the first submission on.
    pub until_seconds: f64,
    /// The tasks whose completion was recorded in it.
    pub completed: u64,
    /// How often a task was refused in it, and submitted again later.
    pub refused: u64,
    /// From a submission to its acknowledgement, of those that were acknowledged in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_ack_ms: Option<Spread>,
    /// From the acknowledgement of a submission to the start of its handler, of the handlers that started in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_to_start_ms: Option<Spread>,
    /// The memory of this process at its end.
    pub rss_bytes: u64,
    /// What the store says of itself at its end, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Usage>,
}

/// What is looked at.
pub(super) struct Looker {
    pub(super) gateway: Gateway,
    pub(super) statuses: Vec<Arc<WorkerStatus>>,
    pub(super) latency: Arc<Latency>,
}

impl Looker {
    /// Does `work`, and tells what each interval of the length `every` was like meanwhile. It began at `began`.
    pub(super) async fn beside<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
        began: Instant,
        every: Option<Duration>,
    ) -> anyhow::Result<Vec<Interval>> {
        let mut seen = Vec::new();
        let looking = async {
            match every {
                Some(every) => self.look(began, every, &mut seen).await,
                None => pending().await,
            }
        };
        tokio::select! { biased;
            done = work => done.map(|_| ())?,
            never = looking => match never {},
        }
        Ok(seen)
    }

    async fn look(&self, began: Instant, every: Duration, seen: &mut Vec<Interval>) -> Infallible {
        let mut ticks = interval_at((began + every).into(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut completed, mut refused) = (0, 0);
        loop {
            ticks.tick().await;
            let all: u64 = self.statuses.iter().map(|it| it.completed()).sum();
            let refusals = self.latency.refusals();
            seen.push(Interval {
                until_seconds: began.elapsed().as_secs_f64(),
                completed: all - completed,
                refused: refusals - refused,
                submit_to_ack_ms: self.latency.to_ack_lately().map(Spread::without_bars),
                submit_to_start_ms: self.latency.to_start_lately().map(Spread::without_bars),
                rss_bytes: memory_bytes(),
                store: self.usage().await,
            });
            (completed, refused) = (all, refusals);
        }
    }

    async fn usage(&self) -> Option<Usage> {
        if let Reply::Stats(stats) = self.gateway.ask(Request::Stats, ASK_MAX).await {
            stats.room.usage
        } else {
            None
        }
    }
}
