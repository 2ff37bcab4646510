//! Lanes: the numbers and totals that commit with what they count.

use serde::{Deserialize, Serialize};

use super::{Record, Version, is_default};

/// `/stats/{node_id}/{lane}`: the last transaction of a lane and all that its transactions did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LaneRecord {
    #[doc(hidden)]
    pub v: Version,
    /// The number of the transaction that wrote this.
    pub number: u64,
    /// What the lane's transactions did since its node id was first used.
    #[serde(default, skip_serializing_if = "is_default")]
    pub totals: Totals,
}
impl Record for LaneRecord {}

/// What transactions did. Exact, because each total commits with what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Totals {
    /// Tasks accepted.
    #[serde(skip_serializing_if = "is_default")]
    pub accepted: u64,
    /// Outcomes recorded as completed.
    #[serde(skip_serializing_if = "is_default")]
    pub completed: u64,
    /// Outcomes recorded as failed.
    #[serde(skip_serializing_if = "is_default")]
    pub failed: u64,
    /// Outcomes recorded as cancelled.
    #[serde(skip_serializing_if = "is_default")]
    pub cancelled: u64,
    /// Completions and failures that came under a claim that was gone, and changed nothing.
    #[serde(skip_serializing_if = "is_default")]
    pub refused_stale: u64,
    /// Entries moved to a worker.
    #[serde(skip_serializing_if = "is_default")]
    pub dispatched: u64,
    /// Failed attempts that are tried again.
    #[serde(skip_serializing_if = "is_default")]
    pub retried: u64,
    /// Claims taken back from workers that vanished or were silent.
    #[serde(skip_serializing_if = "is_default")]
    pub lost: u64,
    /// Claims handed back unstarted or unfinished, with nothing counted.
    #[serde(skip_serializing_if = "is_default")]
    pub handed_back: u64,
    /// Tasks that became due.
    #[serde(skip_serializing_if = "is_default")]
    pub released: u64,
    /// Dead or cancelled tasks that were run again.
    #[serde(skip_serializing_if = "is_default")]
    pub rerun: u64,
    /// Ended tasks that were removed after their retention.
    #[serde(skip_serializing_if = "is_default")]
    pub purged: u64,
}

impl Totals {
    /// Adds what another transaction or lane did.
    pub fn add(&mut self, other: &Self) {
        let Self {
            accepted,
            completed,
            failed,
            cancelled,
            refused_stale,
            dispatched,
            retried,
            lost,
            handed_back,
            released,
            rerun,
            purged,
        } = other;
        self.accepted += accepted;
        self.completed += completed;
        self.failed += failed;
        self.cancelled += cancelled;
        self.refused_stale += refused_stale;
        self.dispatched += dispatched;
        self.retried += retried;
        self.lost += lost;
        self.handed_back += handed_back;
        self.released += released;
        self.rerun += rerun;
        self.purged += purged;
    }
}
