//! Which worker gets the next task: four strategies over one [`Pool`] of workers that take the same tasks.
//!
//! Decides from what the pool was told: slots, weights, reported load and the claims counted so far. It knows no queue,
//! no task and no time, and the same calls with the same generator give the same workers.

mod index;
mod least_load;
mod name;
mod pool;
mod random;
mod rank;
mod round_robin;
#[cfg(test)]
mod tests;
mod weighted;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use self::name::Name;
pub use self::pool::{Capacity, Pool, Standing, WEIGHT_MAX};

/// How a queue's tasks are spread over its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// To the worker with the smallest share of its slots in use.
    #[default]
    LeastLoad,
    /// To one after the other.
    RoundRobin,
    /// To any, all equally likely.
    Random,
    /// In proportion to the workers' weights.
    Weighted,
}

/// A text is not the name of a strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a strategy is one of least_load, round_robin, random, weighted")]
pub struct UnknownStrategy;

impl FromStr for Strategy {
    type Err = UnknownStrategy;
    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        match text {
            "least_load" => Ok(Self::LeastLoad),
            "round_robin" => Ok(Self::RoundRobin),
            "random" => Ok(Self::Random),
            "weighted" => Ok(Self::Weighted),
            _ => Err(UnknownStrategy),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::LeastLoad => "least_load",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Weighted => "weighted",
        })
    }
}
