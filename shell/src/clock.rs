//! The process's clocks, as the machines see them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use windlass_core::time::{Mono, Now, Wall};

/// Reads time, and waits for it.
pub trait Clock: Clone + Send + Sync + 'static {
    /// Both readings. `mono` never goes back.
    fn now(&self) -> Now;
    /// Wakes at `at`; never, without one.
    fn sleep_until(&self, at: Option<Mono>) -> impl Future<Output = ()> + Send;
}

/// The machine's real clocks. `mono` starts at an origin of this process's own and does not count suspend (Linux's
/// `CLOCK_MONOTONIC`): a node that was suspended learns from its store, not from its clock, that it was believed dead,
/// and every store guard holds meanwhile.
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = Mono::ZERO.after(self.origin.elapsed());
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Now {
            mono,
            wall: Wall::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
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
