//! The properties that every run must have: one a file, each judging facts only, so that a recorded run of real
//! processes can be judged as well.
//!
//! Each file says which faults suspend which part of its rule. What is not here, and where it is:
//!
//! - S20, grants of principals: there are no principals in front of the machines. The HTTP front is judged by its own tests.
//! - S21, secrets and payloads in logs: the machines log nothing, and a simulated run has no metrics. The black-box tests
//!   look at what the real processes say.
//! - L1, that a run comes to rest, is judged by the run, which names what it waits for; `all_end` looks at what is left.
//! - L4, progress while a minority of store members and all but one scheduler are down: the run heals only a core of
//!   nodes and then waits for the same rest. The model of the store has one member; real ones are the black-box tests'.
//! - L9, ageing of low priorities: there is none, by design; priorities are strict (S12).

mod all_end;
mod asks_apart;
mod attempts_exact;
mod backlog_drains;
mod batch_matches;
mod bounds;
mod changes_told;
mod conflicts_bounded;
mod fence_grows;
mod graceful_stop;
mod holders;
mod idempotency;
mod janitor_alone;
mod leased_keys;
mod legal_steps;
mod lock_freed;
mod lock_order;
mod locks_apart;
mod no_orphans;
mod not_early;
mod nothing_lost;
mod one_outcome;
mod one_owner;
mod orphans_taken;
mod own_outcome;
mod owners;
mod places_kept;
mod priority_order;
mod read_your_ack;
mod reclaimed_in_time;
mod room_kept;
mod roster;
mod rows;
mod session_covered;
mod settings_kept;
mod slots_kept;
mod stale_refused;
mod starts_after_commit;
#[cfg(test)]
mod testing;
mod totals_exact;
mod view_sound;
mod views_catch_up;
mod waits_bounded;

use std::fmt;
use std::time::Duration;

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
    S23,
    S24,
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
    /// Nothing is kept.
    silenced: bool,
}

/// How many violations of one run are kept.
const FINDINGS_MAX: usize = 64;

impl Findings {
    /// Finds nothing, whatever is broken: the canary that a harness must notice.
    pub fn silenced() -> Self {
        Self {
            silenced: true,
            ..Self::default()
        }
    }

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
        if !self.silenced && self.violations.len() < FINDINGS_MAX {
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

    /// Whether it is shown the facts that come with every input, call and renewal, which most rules are not about: see
    /// [`Fact::is_traffic`].
    fn hears_traffic(&self) -> bool {
        false
    }

    /// Takes note of a fact, and of what it breaks.
    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings);

    /// Judges the whole, when the run has come to rest.
    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let _ = (at, found);
    }
}

/// All checkers of a run.
#[derive(Debug)]
pub struct Checkers {
    all: Vec<Box<dyn Checker>>,
    /// Which of them hear traffic.
    traffic: Vec<usize>,
}

impl Checkers {
    /// These checkers.
    pub fn new(all: Vec<Box<dyn Checker>>) -> Self {
        let hears = |ix: &usize| all[*ix].hears_traffic();
        let traffic = (0..all.len()).filter(hears).collect();
        Self { all, traffic }
    }

    /// Shows a fact to whoever wants to know of it.
    pub fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if fact.is_traffic() {
            for ix in &self.traffic {
                self.all[*ix].observe(at, fact, found);
            }
        } else {
            for checker in &mut self.all {
                checker.observe(at, fact, found);
            }
        }
    }

    /// Judges the whole, when the run has come to rest.
    pub fn finish(&mut self, at: Mono, found: &mut Findings) {
        for checker in &mut self.all {
            checker.finish(at, found);
        }
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
    /// How long a claim may wait for a slot before it is handed back, in milliseconds.
    pub claim_wait_max_ms: u64,
    /// The longest wait that a handler advises for a retry, in milliseconds; zero when none does.
    pub advice_max_ms: u64,
    /// The largest transaction that the store takes, in bytes.
    pub request_bytes_max: u32,
}

/// How long a healed node may take to get on, beside the end of its former life's lease.
const AWAKE_AFTER: Duration = Duration::from_secs(8);

impl Terms {
    /// What a wall clock without error shows.
    pub fn wall(&self, at: Mono) -> Wall {
        Wall::from_millis(self.epoch_ms.saturating_add(at.as_nanos() / 1_000_000))
    }

    /// When nodes that were healed are on their feet again: a restarted one waits for the end of its former life's lease,
    /// and who lost an answer asks again only after a while.
    fn awake(&self, healed: Mono) -> Mono {
        healed.after(Duration::from_millis(self.ttl_ms) + AWAKE_AFTER)
    }
}

/// Every checker there is, for one run.
pub fn all(terms: &Terms) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(nothing_lost::NothingLost::new(terms)),
        Box::new(legal_steps::LegalSteps::default()),
        Box::new(one_owner::OneOwner::new(terms)),
        Box::new(session_covered::SessionCovered::new(terms)),
        Box::new(fence_grows::FenceGrows::default()),
        Box::new(one_outcome::OneOutcome::default()),
        Box::new(stale_refused::StaleRefused::default()),
        Box::new(own_outcome::OwnOutcome::default()),
        Box::new(starts_after_commit::StartsAfterCommit::new(terms)),
        Box::new(read_your_ack::ReadYourAck::default()),
        Box::new(changes_told::ChangesTold::default()),
        Box::new(settings_kept::SettingsKept::default()),
        Box::new(attempts_exact::AttemptsExact::new(terms)),
        Box::new(totals_exact::TotalsExact::default()),
        Box::new(no_orphans::NoOrphans::default()),
        Box::new(priority_order::PriorityOrder::new(terms)),
        Box::new(not_early::NotEarly::new(terms)),
        Box::new(slots_kept::SlotsKept::default()),
        Box::new(lock_order::LockOrder::default()),
        Box::new(locks_apart::LocksApart::new(terms)),
        Box::new(janitor_alone::JanitorAlone::default()),
        Box::new(leased_keys::LeasedKeys::default()),
        Box::new(view_sound::ViewSound::default()),
        Box::new(batch_matches::BatchMatches::new(terms)),
        Box::new(idempotency::Idempotency::default()),
        Box::new(bounds::Bounds::new(terms)),
        Box::new(asks_apart::AsksApart::default()),
        Box::new(room_kept::RoomKept::default()),
        Box::new(all_end::AllEnd::default()),
        Box::new(reclaimed_in_time::ReclaimedInTime::new(terms)),
        Box::new(orphans_taken::OrphansTaken::new(terms)),
        Box::new(waits_bounded::WaitsBounded::new(terms)),
        Box::new(backlog_drains::BacklogDrains::new(terms)),
        Box::new(conflicts_bounded::ConflictsBounded::default()),
        Box::new(views_catch_up::ViewsCatchUp::default()),
        Box::new(graceful_stop::GracefulStop::new(terms)),
        Box::new(lock_freed::LockFreed::new(terms)),
        Box::new(places_kept::PlacesKept::default()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use windlass_core::keyspace::Role;

    use super::testing::{History, TERMS};
    use super::*;
    use crate::book::Ending;
    use crate::fact::Phase;

    #[test]
    fn every_checker_has_a_name_of_its_own() {
        let all = all(&TERMS);
        let names: BTreeSet<&str> = all.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn a_run_in_which_everything_goes_right_trips_nobody() {
        let mut h = History::with(all(&TERMS));
        h.boot(0, Role::Scheduler, "s1", 0);
        h.worker(1, "w1");
        h.fact(Fact::Leased {
            lease: windlass_core::ids::LeaseId(1),
            ttl: windlass_core::time::Millis::new(TERMS.ttl_ms),
        });
        let life = h.life(Some(1));
        h.node_key("w1", Some(life));
        h.offer("w1", Some(life));
        h.fact(Fact::Phase(Phase::Safety));
        let task = h.submit(None);
        h.acknowledge(1, task);
        let fence = h.dispatch(task, "w1");
        h.start(1, 1, task, fence);
        h.pass(10);
        h.handler_ends(1, 1, task, fence);
        h.retry(task, 100);
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(100);
        h.release(task);
        let again = h.dispatch(task, "w1");
        h.start_as(1, 2, task, again, windlass_core::ids::Attempt(2));
        h.handler_ends(1, 2, task, again);
        h.finish_task(task, Ending::Completed);
        h.fact(Fact::Phase(Phase::Rest));
        h.pass(TERMS.retention_ms);
        h.janitor("s1", Some(1));
        h.purge(task);
        h.fact(Fact::Viewed {
            node: 0,
            at: h.next_revision(),
            difference: None,
        });
        h.finish();
        h.assert_clean();
    }
}
