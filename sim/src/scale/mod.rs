//! How does cost grow with the size of a deployment? The real machines over the store's model, with no faults: what they
//! do is counted, and a caller who has a clock can learn how long each part takes.
//!
//! A [`Cluster`] is brought up in the order in which one would meet the costs: tasks wait, schedulers read all of them,
//! workers join and fill their slots, nothing happens for a while, and then every task that ends is followed by a new one,
//! so that the number that waits stays what it is.

mod cluster;
mod counts;
mod node;
mod tasks;

use std::time::Duration;

pub use self::cluster::Cluster;
pub use self::counts::{Counts, Traffic};

/// How many tasks a second end while a cluster is busy, if the way through the store leaves time for that.
pub const TASKS_A_SECOND: u64 = 20_000;

/// How many handlers a worker runs at a time.
pub const SLOTS: u64 = 8;

/// How long a call takes to the store, and its answer back.
pub const WAY: Duration = Duration::from_micros(500);

/// How large a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Tasks that wait.
    pub waiting: u64,
    /// Workers.
    pub workers: u64,
    /// Queues, each with its share of the tasks.
    pub queues: u64,
    /// Scheduler processes.
    pub schedulers: u64,
    /// Every worker serves only one of the queues, instead of all.
    pub dedicated: bool,
}

impl Size {
    /// All slots of all workers.
    pub fn slots(&self) -> u64 {
        self.workers * SLOTS
    }

    /// How long handlers take on average, so that [`TASKS_A_SECOND`] end when all slots are taken.
    fn handling(&self) -> Duration {
        let turn = Duration::from_nanos(self.slots() * 1_000_000_000 / TASKS_A_SECOND);
        // A slot is free for as long as four calls and answers take.
        turn.saturating_sub(WAY * 8).max(WAY)
    }
}

/// A part of the deployment whose work is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The scheduler processes, gateways included.
    Scheduler,
    /// The workers.
    Worker,
    /// The store's model.
    Store,
}

/// Who has a clock, and wants to know how long each part works.
pub trait Meter {
    /// Does a piece of a part's work.
    fn during<T>(&mut self, part: Part, work: impl FnOnce() -> T) -> T;
}

/// Nobody who wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untimed;

impl Meter for Untimed {
    fn during<T>(&mut self, _part: Part, work: impl FnOnce() -> T) -> T {
        work()
    }
}
