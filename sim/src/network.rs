//! What the network does to a call: how long it takes, and whether its request or its answer is lost.

use std::time::Duration;

use windlass_core::rng::Rng;

/// How rude the network is, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rudeness {
    /// Requests that never arrive.
    pub lose_requests: u64,
    /// Requests that are applied, but whose answer never arrives.
    pub lose_answers: u64,
    /// Requests that arrive long after their sender gave up.
    pub arrive_late: u64,
    /// Watches that break with each piece of news.
    pub break_watches: u64,
}

/// How long a port waits for an answer before it calls the fate unknown.
pub const ANSWER_MAX: Duration = Duration::from_secs(3);

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

    fn hits(&mut self, permille: u64) -> bool {
        permille > 0 && self.rng.below(1_000) < permille
    }

    fn latency(&mut self) -> Duration {
        let slow = self.rng.below(50) == 0;
        let micros = if slow {
            1_000 + self.rng.below(50_000)
        } else {
            20 + self.rng.below(1_000)
        };
        Duration::from_micros(micros)
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

    /// Whether a watch breaks now.
    pub fn breaks_watch(&mut self) -> bool {
        self.hits(self.rudeness.break_watches)
    }

    /// How long a piece of news takes.
    pub fn news(&mut self) -> Duration {
        self.latency()
    }
}
