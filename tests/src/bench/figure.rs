//! What is to be reached, and whether it was.

use serde::Serialize;

/// On which side of its goal a figure is to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// The more, the better.
    AtLeast,
    /// The less, the better.
    AtMost,
}

/// One figure of the table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// What scripts call it.
    pub name: &'static str,
    /// What people call it.
    #[serde(skip)]
    pub title: &'static str,
    /// What is to be reached.
    pub goal: f64,
    /// From which side.
    pub aim: Aim,
    /// Of what.
    pub unit: &'static str,
}

impl Figure {
    const fn at_least(
        name: &'static str,
        title: &'static str,
        goal: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            name,
            title,
            goal,
            aim: Aim::AtLeast,
            unit,
        }
    }

    const fn at_most(
        name: &'static str,
        title: &'static str,
        goal: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            name,
            title,
            goal,
            aim: Aim::AtMost,
            unit,
        }
    }

    /// Whether `reached` lies where it is to lie.
    pub fn is_met_by(&self, reached: f64) -> bool {
        match self.aim {
            Aim::AtLeast => reached >= self.goal,
            Aim::AtMost => reached <= self.goal,
        }
    }
}

/// Tasks through the embedded store.
pub const EMBEDDED: Figure = Figure::at_least(
    "embedded_tasks_per_second",
    "embedded store, submission to recorded completion",
    100_000.0,
    "tasks/s",
);
/// Tasks through an etcd.
pub const ETCD: Figure = Figure::at_least(
    "etcd_tasks_per_second",
    "etcd, submission to recorded completion",
    25_000.0,
    "tasks/s",
);
/// The same, of what the etcd does with the same writes alone.
pub const ETCD_SHARE: Figure = Figure::at_least(
    "etcd_share_of_limit",
    "etcd, share of what it does with the same writes alone",
    0.70,
    "of the limit",
);
/// How long half of the tasks wait at a low rate.
pub const LATENCY_P50: Figure = Figure::at_most(
    "latency_p50_ms",
    "etcd at 100 tasks/s, acknowledged to started, p50",
    3.0,
    "ms",
);
/// How long all but one in a hundred do.
pub const LATENCY_P99: Figure = Figure::at_most(
    "latency_p99_ms",
    "etcd at 100 tasks/s, acknowledged to started, p99",
    15.0,
    "ms",
);
/// How fast workers are chosen.
pub const PLACEMENT: Figure = Figure::at_least(
    "placement_decisions_per_second",
    "placement decisions, one core, 10,000 workers",
    2_000_000.0,
    "decisions/s",
);
/// What a scheduler needs that took a million tasks.
pub const MEMORY_OLD: Figure = Figure::at_most(
    "memory_after_submissions_mib",
    "scheduler with 1,000,000 waiting tasks, which it took itself",
    400.0,
    "MiB",
);
/// What a scheduler needs that found them.
pub const MEMORY_FRESH: Figure = Figure::at_most(
    "memory_fresh_mib",
    "scheduler with 1,000,000 waiting tasks, which it found",
    400.0,
    "MiB",
);
/// How long the tasks of a dead worker wait for another.
pub const KILLED: Figure = Figure::at_most(
    "worker_killed_p99_ms",
    "worker killed, its tasks claimed by others, p99, TTL 3 s",
    5_000.0,
    "ms",
);
/// How long the tasks of a worker that leaves do.
pub const LEFT: Figure = Figure::at_most(
    "worker_left_ms",
    "worker told to stop, the last of its tasks claimed by others",
    200.0,
    "ms",
);
/// How much longer tasks wait because a scheduler died.
pub const SCHEDULER_KILLED: Figure = Figure::at_most(
    "scheduler_killed_wait_ms",
    "scheduler killed, longest wait beyond the usual",
    1_000.0,
    "ms",
);
/// How fast the simulator is.
pub const EVENTS: Figure = Figure::at_least(
    "simulation_events_per_second",
    "simulation, one core",
    1_500_000.0,
    "events/s",
);
/// How long a thousand seeds take.
pub const SEEDS: Figure = Figure::at_most(
    "simulation_thousand_seeds_seconds",
    "simulation, 1,000 seeds on two cores",
    60.0,
    "s",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_itself_is_reached_from_either_side() {
        assert!(EMBEDDED.is_met_by(EMBEDDED.goal) && LATENCY_P50.is_met_by(LATENCY_P50.goal));
        assert!(EMBEDDED.is_met_by(100_001.0) && !EMBEDDED.is_met_by(99_999.9));
        assert!(LATENCY_P50.is_met_by(2.9) && !LATENCY_P50.is_met_by(3.1));
    }

    #[test]
    fn what_is_no_number_meets_no_goal() {
        assert!(!EMBEDDED.is_met_by(f64::NAN) && !LATENCY_P50.is_met_by(f64::NAN));
    }
}
