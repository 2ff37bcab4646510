//! A clock that goes with tokio's.

use std::time::Duration;

use tokio::time::Instant;
use windlass_core::time::{Mono, Now, Wall};

use crate::clock::{Clock, SystemClock};

/// The time of day at its start, and tokio's clock since: where a test holds that still, the time of day stands still
/// as well, and where it leaps, both do.
#[derive(Debug, Clone)]
pub(super) struct TokioClock {
    origin: Instant,
    wall: Wall,
}

impl TokioClock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
            wall: SystemClock::start().now().wall,
        }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Now {
        let since = self.origin.elapsed();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Now {
            mono: Mono::ZERO.after(since),
            wall: Wall::from_millis(self.wall.as_millis().saturating_add(millis)),
        }
    }

    async fn sleep_until(&self, at: Option<Mono>) {
        match at {
            Some(at) => {
                tokio::time::sleep_until(self.origin + Duration::from_nanos(at.as_nanos())).await
            }
            None => std::future::pending().await,
        }
    }
}
