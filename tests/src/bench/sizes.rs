//! How much is measured.

use std::time::Duration;

use serde::Serialize;

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// How often a throughput is measured.
    pub rounds: usize,
    /// Tasks of one round through the embedded store.
    pub embedded_tasks: u64,
    /// Tasks of one round through etcd.
    pub etcd_tasks: u64,
    /// Tasks of one round of 100 a second.
    pub latency_tasks: u64,
    /// Tasks that wait in a scheduler's memory.
    pub waiting_tasks: usize,
    /// How often a node is killed or told to leave.
    pub losses: u32,
    /// Claims that a worker has when that happens.
    pub claims: usize,
    /// For how long tasks are submitted before a scheduler is killed.
    pub steady: Duration,
    /// And for how long after that: the dead one's session is over by then.
    pub after: Duration,
    /// How long a scheduler is left alone before its memory is read: what it needed for a moment is given back by then.
    pub settled: Duration,
    /// For how long the machine is looked at before each part, to see whether others are at work.
    pub look: Duration,
    /// Seeds on one core.
    pub seeds: u64,
    /// Seeds on two cores.
    pub seeds_on_two: u64,
}

impl Sizes {
    /// Enough for figures that can be believed; of throughputs and waits so many rounds.
    pub const fn full(rounds: usize) -> Self {
        Self {
            rounds,
            embedded_tasks: 500_000,
            etcd_tasks: 200_000,
            latency_tasks: 2_000,
            waiting_tasks: 1_000_000,
            losses: 6,
            claims: 100,
            steady: Duration::from_secs(4),
            after: Duration::from_secs(5),
            settled: Duration::from_secs(5),
            look: Duration::from_secs(1),
            seeds: 200,
            seeds_on_two: 1_000,
        }
    }

    /// Enough to see that everything works. The figures mean nothing.
    pub const fn small() -> Self {
        Self {
            rounds: 1,
            embedded_tasks: 500,
            etcd_tasks: 500,
            latency_tasks: 50,
            waiting_tasks: 2_500,
            losses: 1,
            claims: 8,
            steady: Duration::from_millis(500),
            after: Duration::from_millis(500),
            settled: Duration::ZERO,
            look: Duration::from_millis(50),
            seeds: 2,
            seeds_on_two: 2,
        }
    }
}
