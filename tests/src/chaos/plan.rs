//! What will be broken, and when: drawn from the seed before anything starts.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_sim::core::rng::Rng;

use super::cluster::TTL;

/// Something that is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "`story` says what each is")]
pub enum Kind {
    KillWorker,
    KillScheduler,
    FreezeWorker,
    FreezeScheduler,
    RestartWorker,
    RestartScheduler,
    RollWorkers,
    RollSchedulers,
    CutNode,
    CutToStore,
    CutFromStore,
    CutFromMember,
    LossyNode,
    SlowNode,
    JumpClock,
    KillLeader,
    KillMember,
    FreezeLeader,
    FreezeMember,
    IsolateMember,
    CutMember,
    WipeMember,
    LossyMember,
    SlowMember,
    LoseQuorum,
    Compact,
    Defragment,
    NoSpace,
    RevokeLeases,
}

impl Kind {
    /// All of them, what is done to nodes first.
    pub const ALL: [Self; 29] = [
        Self::KillWorker,
        Self::KillScheduler,
        Self::FreezeWorker,
        Self::FreezeScheduler,
        Self::RestartWorker,
        Self::RestartScheduler,
        Self::RollWorkers,
        Self::RollSchedulers,
        Self::CutNode,
        Self::CutToStore,
        Self::CutFromStore,
        Self::CutFromMember,
        Self::LossyNode,
        Self::SlowNode,
        Self::JumpClock,
        Self::KillLeader,
        Self::KillMember,
        Self::FreezeLeader,
        Self::FreezeMember,
        Self::IsolateMember,
        Self::CutMember,
        Self::WipeMember,
        Self::LossyMember,
        Self::SlowMember,
        Self::LoseQuorum,
        Self::Compact,
        Self::Defragment,
        Self::NoSpace,
        Self::RevokeLeases,
    ];

    /// Whether it is done to etcd, not to a node.
    pub fn is_of_store(self) -> bool {
        self >= Self::KillLeader
    }

    /// Whether it needs members that can do without one of them.
    pub fn needs_quorum(self) -> bool {
        match self {
            Self::CutFromMember | Self::IsolateMember | Self::CutMember | Self::WipeMember => true,
            Self::KillWorker
            | Self::KillScheduler
            | Self::FreezeWorker
            | Self::FreezeScheduler
            | Self::RestartWorker
            | Self::RestartScheduler
            | Self::RollWorkers
            | Self::RollSchedulers
            | Self::CutNode
            | Self::CutToStore
            | Self::CutFromStore
            | Self::LossyNode
            | Self::SlowNode
            | Self::JumpClock
            | Self::KillLeader
            | Self::KillMember
            | Self::FreezeLeader
            | Self::FreezeMember
            | Self::LossyMember
            | Self::SlowMember
            | Self::LoseQuorum
            | Self::Compact
            | Self::Defragment
            | Self::NoSpace
            | Self::RevokeLeases => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_value(self).unwrap_or_default();
        f.pad(name.as_str().unwrap_or_default())
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Not before this long after the beginning, in milliseconds; later when the one before it takes longer.
    pub at_ms: u64,
    /// What.
    pub kind: Kind,
    /// Draws whom, out of those that may be meant then.
    pub whom: u64,
    /// How long, in milliseconds.
    pub lasts_ms: u64,
}

/// Everything that will be done. What stands in one lane is done one after the other; the lanes go side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is done to nodes.
    pub nodes: Vec<Act>,
    /// What is done to etcd.
    pub store: Vec<Act>,
}

/// Durations around what matters: the time to live of a lease.
const SHARES: [u32; 4] = [30, 90, 110, 300];
/// How long the cluster is left alone between two faults of a lane, at most.
const GAP_MAX_MS: u64 = 5_000;
/// How long etcd is left alone once everything was done to it: then what becomes of nodes shows undisturbed.
const STORE_CALM_MS: u64 = 40_000;
/// When the first fault comes.
const CALM_MS: u64 = 3_000;

impl Plan {
    /// Draws a plan of faults for `lasts`, out of those that are possible.
    pub fn draw(seed: u64, lasts: Duration, possible: &BTreeSet<Kind>) -> Self {
        let mut rng = Rng::new(seed);
        let mut lane = |purpose: &str, of_store: bool| {
            let kinds = possible.iter().filter(|it| it.is_of_store() == of_store);
            let kinds: Vec<Kind> = kinds.copied().collect();
            let calm_ms = if of_store { STORE_CALM_MS } else { 0 };
            draw(&mut rng.fork(purpose), lasts, &kinds, calm_ms)
        };
        Self {
            nodes: lane("nodes", false),
            store: lane("store", true),
        }
    }
}

/// Every kind once before any comes again, and a pause after them.
fn draw(rng: &mut Rng, lasts: Duration, kinds: &[Kind], calm_ms: u64) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut bag: Vec<Kind> = Vec::new();
    let end = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
    let mut at_ms = CALM_MS;
    while !kinds.is_empty() {
        if bag.is_empty() {
            bag.extend(kinds);
            at_ms += if acts.is_empty() { 0 } else { calm_ms };
        }
        let kind = bag.swap_remove(index(rng, bag.len()));
        let whole = TTL * SHARES[index(rng, SHARES.len())] / 100;
        let lasts_ms = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
        if at_ms + lasts_ms > end {
            break;
        }
        acts.push(Act {
            at_ms,
            kind,
            whom: rng.draw(),
            lasts_ms,
        });
        at_ms += lasts_ms + 500 + rng.below(GAP_MAX_MS);
    }
    acts
}

fn index(rng: &mut Rng, len: usize) -> usize {
    let end = u64::try_from(len).unwrap_or(u64::MAX);
    usize::try_from(rng.below(end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> BTreeSet<Kind> {
        Kind::ALL.into()
    }

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(Plan::draw(7, hour, &all()), Plan::draw(7, hour, &all()));
        assert_ne!(Plan::draw(7, hour, &all()), Plan::draw(8, hour, &all()));
    }

    #[test]
    fn a_long_plan_has_every_kind() {
        let plan = Plan::draw(1, Duration::from_secs(900), &all());
        let acts = plan.nodes.iter().chain(&plan.store);
        let kinds: BTreeSet<Kind> = acts.map(|it| it.kind).collect();
        assert_eq!(kinds, all());
        assert!(plan.store.iter().all(|it| it.kind.is_of_store()));
    }

    #[test]
    fn nothing_is_broken_beyond_the_end() {
        let plan = Plan::draw(3, Duration::from_secs(40), &all());
        let ends = plan.nodes.iter().map(|it| it.at_ms + it.lasts_ms);
        assert!(ends.max().unwrap() <= 40_000);
    }
}
