//! What the network does to a call: how long it takes, and whether its request or its answer is lost, late or doubled.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::rng::Rng;
use windlass_core::time::Mono;

use crate::nemesis::Way;

/// How rude the network is by itself, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rudeness {
    /// Requests that never arrive.
    pub lose_requests: u64,
    /// Requests that are applied, but whose answer never arrives.
    pub lose_answers: u64,
    /// Requests that arrive long after their sender gave up.
    pub arrive_late: u64,
    /// Requests that arrive twice.
    pub duplicate_requests: u64,
    /// Answers that arrive twice.
    pub duplicate_answers: u64,
    /// Watches that break with each piece of news; what they had to tell comes late all the same.
    pub break_watches: u64,
    /// Full reads in several parts that are broken off and begun anew.
    pub break_reads: u64,
    /// Watches that are asked for anew of a member of the store that lags, and tells what was so a while ago.
    pub stale_reads: u64,
    /// News that come again later, or once more with what is new.
    pub duplicate_news: u64,
    /// Not a rate: how many milliseconds longer a message may take. What is a race of microseconds elsewhere is one of
    /// everybody with everybody then.
    pub lag: u64,
}

/// How long a port waits for an answer before it calls the fate unknown.
pub const ANSWER_MAX: Duration = Duration::from_secs(3);

/// How much longer a call may take on either way without being given up: both ways, and what the network does besides,
/// take less than [`ANSWER_MAX`].
pub const SLOW_MAX: Duration = Duration::from_millis(1_300);

/// How long a port listens to a watch that says nothing before it calls it lost.
pub const MUTE_MAX: Duration = Duration::from_secs(15);

/// The fate of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives after this long.
    After(Duration),
    /// It never arrives.
    Never,
    /// It arrives after this long, when nobody expects it any more.
    Late(Duration),
}

/// What was done to one node's connection.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Nothing reaches the store until then.
    pub to_store_cut: Mono,
    /// Nothing comes back until then.
    pub from_store_cut: Mono,
    /// This many answers more are lost.
    pub answers_to_lose: u8,
    /// Requests arrive this much after they were given up.
    pub late_by: Duration,
    /// Until then.
    pub late_until: Mono,
    /// Which way calls are slow.
    pub slow_way: Option<Way>,
    /// By this, at most.
    pub slow_by: Duration,
    /// Until then.
    pub slow_until: Mono,
    /// News are late by this.
    pub news_late_by: Duration,
    /// Until then.
    pub news_late_until: Mono,
    /// Watches say nothing until then.
    pub mute_until: Mono,
    /// Of the next put nothing is ever told.
    pub loses_put: bool,
    /// Of the next delete nothing is ever told.
    pub loses_delete: bool,
    /// Only of keys in the line of a lock.
    pub loses_of_lock: bool,
    /// News were dropped: the watches are as good as lost.
    pub gap: bool,
}

impl Link {
    /// How much longer a call may take now, this way.
    pub(crate) fn slow(&self, now: Mono, way: Way) -> Duration {
        let concerned = self.slow_way == Some(way) || self.slow_way == Some(Way::Both);
        if concerned && self.slow_until > now {
            self.slow_by
        } else {
            Duration::ZERO
        }
    }
}

/// A network with a will of its own.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    /// How rude it is now.
    pub rudeness: Rudeness,
}

impl Network {
    /// A network that decides by `rng`.
    pub fn new(rng: Rng, rudeness: Rudeness) -> Self {
        Self { rng, rudeness }
    }

    pub(crate) fn hits(&mut self, permille: u64) -> bool {
        permille > 0 && self.rng.below(1_000) < permille
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.rng.below(end)
    }

    /// How long a message takes.
    pub fn latency(&mut self) -> Duration {
        let slow = self.rng.below(50) == 0;
        let micros = if slow {
            1_000 + self.rng.below(50_000)
        } else {
            20 + self.rng.below(1_000)
        };
        let lag = match self.rudeness.lag {
            0 => 0,
            lag => self.rng.below(lag * 1_000),
        };
        Duration::from_micros(micros + lag)
    }

    /// What happens to a request.
    pub fn request(&mut self) -> Delivery {
        if self.hits(self.rudeness.lose_requests) {
            return Delivery::Never;
        }
        if self.hits(self.rudeness.arrive_late) {
            return Delivery::Late(ANSWER_MAX + Duration::from_millis(self.rng.below(9_000)));
        }
        Delivery::After(self.latency())
    }

    /// What happens to an answer.
    pub fn answer(&mut self) -> Delivery {
        if self.hits(self.rudeness.lose_answers) {
            Delivery::Never
        } else {
            Delivery::After(self.latency())
        }
    }

    /// How much longer a slow message takes: not all of them the same, so that they overtake each other.
    pub(crate) fn dawdle(&mut self, by: Duration) -> Duration {
        if by.is_zero() {
            return by;
        }
        by / 2 + self.while_up_to(by / 2)
    }

    /// A while, up to `max`, for what comes again.
    pub(crate) fn while_up_to(&mut self, max: Duration) -> Duration {
        let millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.below(millis.max(1)))
    }
}
