//! The properties that every run must have: one a file, each judging facts only, so that a recorded run of real
//! processes can be judged as well.

mod attempts_exact;
mod fence_grows;
mod leased_keys;
mod legal_steps;
mod no_orphans;
mod nothing_lost;
mod one_outcome;
mod one_owner;
mod roster;
mod rows;
mod slots_kept;
mod stale_refused;
mod starts_after_commit;
#[cfg(test)]
mod testing;
mod totals_exact;

use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_core::ids::TaskId;
use windlass_core::time::{Mono, Wall};

use crate::fact::{Fact, NodeIx};

/// The rules of `reliability.md`, §7: what may never happen (S), and what must (L).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each checker's file says what its rule is")]
pub enum Rule {
    S1,
    S2,
    S3,
    S4,
    S5,
    S6,
    S7,
    S8,
    S9,
    S10,
    S11,
    S12,
    S13,
    S14,
    S15,
    S16,
    S17,
    S18,
    S19,
    S22,
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L7,
    L8,
    L10,
    /// No machine panics.
    Panic,
    /// The simulator itself went wrong.
    Harness,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Rule {
    /// Whether the rule says what must happen, not what may not.
    pub const fn is_liveness(self) -> bool {
        matches!(
            self,
            Self::L1
                | Self::L2
                | Self::L3
                | Self::L4
                | Self::L5
                | Self::L6
                | Self::L7
                | Self::L8
                | Self::L10
        )
    }
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// Which checker noticed.
    pub checker: String,
    /// When, on the run's own clock.
    pub at: Mono,
    /// On which node, if on one.
    pub node: Option<NodeIx>,
    /// Of which task, if of one.
    pub task: Option<TaskId>,
    /// What happened, for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_nanos() / 1_000_000_000;
        let millis = self.at.as_nanos() / 1_000_000 % 1_000;
        write!(
            f,
            "{} {} at {seconds}.{millis:03} s: {}",
            self.rule, self.checker, self.what
        )
    }
}

/// What checkers found.
#[derive(Debug, Default)]
pub struct Findings {
    violations: Vec<Violation>,
    /// Beyond this many, nothing is learnt from more.
    dropped: u64,
}

/// How many violations of one run are kept.
const FINDINGS_MAX: usize = 64;

impl Findings {
    /// Notes a violation of `checker`'s rule.
    pub fn add(
        &mut self,
        checker: &dyn Checker,
        at: Mono,
        node: Option<NodeIx>,
        task: Option<TaskId>,
        what: String,
    ) {
        self.push(Violation {
            rule: checker.rule(),
            checker: checker.name().to_owned(),
            at,
            node,
            task,
            what,
        });
    }

    /// Notes a violation.
    pub fn push(&mut self, violation: Violation) {
        if self.violations.len() < FINDINGS_MAX {
            self.violations.push(violation);
        } else {
            self.dropped += 1;
        }
    }

    /// What was found, in order.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What was found, for good.
    pub fn into_violations(self) -> Vec<Violation> {
        self.violations
    }
}

/// One property of the whole system.
pub trait Checker: fmt::Debug {
    /// Which rule it holds up.
    fn rule(&self) -> Rule;

    /// The name of its file.
    fn name(&self) -> &'static str;

    /// Takes note of a fact, and of what it breaks.
    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings);

    /// Judges the whole, when the run has come to rest.
    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let _ = (at, found);
    }
}

/// What a run promised, for checkers that need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The time to live of the nodes' leases, in milliseconds.
    pub ttl_ms: u64,
    /// The most retries, losses and seconds that the workload gives a task are bounded by this time to end, once healed.
    pub end_max_ms: u64,
    /// How many workers may vanish under a task.
    pub losses_max: u32,
    /// What a wall clock without error shows when the run's own clock shows zero, in milliseconds since the Unix epoch.
    pub epoch_ms: u64,
    /// How long ended tasks are kept.
    pub retention_ms: u64,
    /// How long a node may take to leave once it was told to, in milliseconds.
    pub drain_max_ms: u64,
    /// The longest wait that a handler advises for a retry, in milliseconds; zero when none does.
    pub advice_max_ms: u64,
}

impl Terms {
    /// What a wall clock without error shows.
    pub fn wall(&self, at: Mono) -> Wall {
        Wall::from_millis(self.epoch_ms.saturating_add(at.as_nanos() / 1_000_000))
    }
}

/// Every checker there is, for one run.
pub fn all(terms: &Terms) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(nothing_lost::NothingLost::new(terms)),
        Box::new(legal_steps::LegalSteps),
        Box::new(one_owner::OneOwner::new(terms)),
        Box::new(fence_grows::FenceGrows::default()),
        Box::new(one_outcome::OneOutcome::default()),
        Box::new(stale_refused::StaleRefused::default()),
        Box::new(starts_after_commit::StartsAfterCommit::new(terms)),
        Box::new(attempts_exact::AttemptsExact::new(terms)),
        Box::new(totals_exact::TotalsExact::default()),
        Box::new(no_orphans::NoOrphans::default()),
        Box::new(slots_kept::SlotsKept::default()),
        Box::new(leased_keys::LeasedKeys::default()),
    ]
}
