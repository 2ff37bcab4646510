//! What must be true of all cells together, in words.

use std::fmt;

use serde::Serialize;

/// A rule. The first ones hold at every moment; the last two once nothing breaks any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing that was accepted is lost: until it is purged after its end, it is in a cell.
    Kept,
    /// One end of a task is recorded over all cells, and it does not change.
    OneOutcome,
    /// Every claim of a task has a larger fence than those before, and no end is recorded under an older one.
    FencesGrow,
    /// One cell at a time serves a queue, and only there it is submitted to and dispatched from.
    OneServes,
    /// In each cell a task has one place or one end. A second cell has it only while its queue moves, and what is left
    /// behind then does nothing but go.
    OnePlace,
    /// One idempotency key, one task.
    KeysUnique,
    /// What is shown is not older than what was done before it was asked for.
    ReadsTrue,
    /// One submission, one task.
    AcceptedOnce,
    /// What was cancelled does not start again.
    StaysCancelled,
    /// Moves end, and leave nothing behind.
    MovesEnd,
    /// Tasks end, and new ones are accepted.
    TasksEnd,
}

impl Rule {
    /// Whether it says that something must happen.
    pub const fn is_liveness(self) -> bool {
        match self {
            Self::MovesEnd | Self::TasksEnd => true,
            Self::Kept
            | Self::OneOutcome
            | Self::FencesGrow
            | Self::OneServes
            | Self::OnePlace
            | Self::KeysUnique
            | Self::ReadsTrue
            | Self::AcceptedOnce
            | Self::StaysCancelled => false,
        }
    }
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When, in milliseconds.
    pub at_ms: u64,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, at_ms, what } = self;
        write!(f, "{rule:?} at {at_ms} ms: {what}")
    }
}
