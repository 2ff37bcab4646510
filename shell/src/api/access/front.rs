//! What all gates of a server share: the door, the audit log, and how much anybody may ask for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::audit::Audit;
use super::door::{Caller, Door, source_of};
use crate::api::bucket::{Buckets, Rate};
use crate::api::problem::Problem;
use crate::clock::{Clock, SystemClock};

/// So many principals, or addresses where no token is required, have a rate of their own; the others share one.
const SPENDERS_MAX: usize = 10_000;
/// So many requests that may need very much are served at a time; more are turned away, before anything else is.
const COSTLY_MAX: usize = 32;

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Spender {
    Principal(Arc<str>),
    Source(IpAddr),
}

/// What all gates of a server share.
#[derive(Debug, Clone)]
pub struct Front {
    pub(crate) door: Door,
    pub(crate) audit: Audit,
    rates: Option<Arc<Mutex<Buckets<Spender>>>>,
    costly: Arc<Semaphore>,
    clock: SystemClock,
}

impl Front {
    /// Behind `door`, with no limit to how often anybody may ask, and an audit log in memory.
    pub fn new(door: Door) -> Self {
        Self {
            door,
            audit: Audit::default(),
            rates: None,
            costly: Arc::new(Semaphore::new(COSTLY_MAX)),
            clock: SystemClock::start(),
        }
    }

    /// With this audit log.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Everybody may ask so many times a second, and as often at once. Probes and workers are not counted.
    #[must_use]
    pub fn with_rate_max(self, per_second: Option<u32>) -> Self {
        let buckets = |count| {
            Arc::new(Mutex::new(Buckets::new(
                Rate::per_second(count),
                SPENDERS_MAX,
            )))
        };
        Self {
            rates: per_second.map(buckets),
            ..self
        }
    }

    /// So many costly requests at a time.
    #[must_use]
    pub fn with_costly_max(self, count: usize) -> Self {
        Self {
            costly: Arc::new(Semaphore::new(count)),
            ..self
        }
    }

    /// Counts one request of `caller`, which came from `source`.
    pub(super) fn spend(&self, caller: &Caller, source: IpAddr) -> Result<(), Problem> {
        let Some(rates) = &self.rates else {
            return Ok(());
        };
        let spender = if caller.holder.is_some() {
            Spender::Principal(Arc::clone(&caller.name))
        } else {
            Spender::Source(source_of(source))
        };
        let now = self.clock.now().mono;
        let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(&spender, now).map_err(|wait| {
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "nothing was done: more requests than this server takes from one caller",
            )
            .retry_after(wait)
        })
    }

    /// A place for a costly request, as long as it is held.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.costly).try_acquire_owned().map_err(|_| {
            Problem::unavailable(
                "nothing was done: too many lists are under way; the rest of the API is served",
            )
        })
    }
}
