//! The parts of the table, which can be measured one by one.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::figure::{self, Figure};

/// One part of the table: what is measured in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Tasks a second through the embedded store
    Embedded,
    /// Tasks a second through etcd, beside what etcd does with the same writes alone
    Etcd,
    /// How long tasks wait on etcd at a low rate
    Latency,
    /// Placement decisions a second
    Placement,
    /// A scheduler's memory and its cold start with many waiting tasks
    Memory,
    /// How long the tasks of a killed worker wait for another
    Killed,
    /// How long the tasks of a worker that leaves wait for another
    Leave,
    /// How long tasks wait because a scheduler was killed
    Scheduler,
    /// Events a second of the simulator, and a thousand seeds
    Simulation,
}

impl Part {
    /// What it measures.
    pub const fn figures(self) -> &'static [Figure] {
        match self {
            Self::Embedded => &[figure::EMBEDDED],
            Self::Etcd => &[figure::ETCD_SHARE, figure::ETCD],
            Self::Latency => &[figure::LATENCY_P50, figure::LATENCY_P99],
            Self::Placement => &[figure::PLACEMENT],
            Self::Memory => &[figure::MEMORY_OLD, figure::MEMORY_FRESH],
            Self::Killed => &[figure::KILLED],
            Self::Leave => &[figure::LEFT],
            Self::Scheduler => &[figure::SCHEDULER_KILLED],
            Self::Simulation => &[figure::EVENTS, figure::SEEDS],
        }
    }
}

/// What came of a part.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was reached, in the order of [`Part::figures`].
    pub reached: Vec<f64>,
    /// How, for people.
    pub how: String,
    /// All that was seen.
    pub details: Value,
}
