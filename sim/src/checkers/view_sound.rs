//! S17: a scheduler's view at a revision is what the store held in its range at that revision, and goes on to later ones
//! only; and no process reads anew what it knew rightly.
//!
//! Only an event that was lost without a word suspends it, for the node that should have been told: until it must have
//! noticed (`LoseEvent`, and what kept it from noticing). One lost event excuses one repair.

use std::collections::BTreeMap;

use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx};
use crate::nemesis::FaultKind;

/// Remembers which events were lost.
#[derive(Debug, Default)]
pub(super) struct ViewSound {
    roster: Roster,
    /// How many repairs are still excused.
    lost: BTreeMap<NodeIx, u64>,
}

impl ViewSound {
    fn repaired(&mut self, at: Mono, node: NodeIx, found: &mut Findings) {
        let lost = self.lost.entry(node).or_default();
        if let Some(left) = lost.checked_sub(1) {
            *lost = left;
            return;
        }
        let what = format!("node {node} reads anew what it knew, though it was told everything");
        found.add(self, at, Some(node), None, what);
    }
}

impl Checker for ViewSound {
    fn rule(&self) -> Rule {
        Rule::S17
    }

    fn name(&self) -> &'static str {
        "view_sound"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Viewed {
            node,
            at: revision,
            difference: Some(difference),
        } = fact
            && self
                .roster
                .misled_until(*node)
                .is_none_or(|until| until < at)
        {
            let what = format!("node {node} at revision {revision}: {difference}");
            found.add(self, at, Some(*node), None, what);
        }
        if let Fact::Repaired { node } = fact {
            self.repaired(at, *node, found);
        }
        if let Fact::Fault {
            kind: FaultKind::LoseEvent,
            node: Some(node),
            ..
        } = fact
        {
            *self.lost.entry(*node).or_default() += 1;
        }
        if let Fact::Booted { .. }
        | Fact::Down { .. }
        | Fact::Frozen { .. }
        | Fact::Thawed { .. }
        | Fact::Fault { .. } = fact
        {
            self.roster.observe(at, fact);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;
    use windlass_core::keyspace::Role;

    use super::super::testing::History;
    use super::*;

    fn viewed(difference: Option<&str>) -> Fact {
        Fact::Viewed {
            node: 0,
            at: Revision(7),
            difference: difference.map(str::to_owned),
        }
    }

    fn history() -> History {
        let mut h = History::of(ViewSound::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        h.boot(1, Role::Scheduler, "s2", 0);
        h
    }

    #[test]
    fn a_view_that_differs_is_found_and_one_that_does_not_is_not() {
        let mut h = history();
        h.fact(viewed(None));
        h.assert_clean();
        h.fact(viewed(Some("an entry is missing")));
        h.assert_tripped("an entry is missing");
    }

    #[test]
    fn a_lost_event_excuses_the_view_of_its_node_until_it_must_be_noticed() {
        let mut h = history();
        h.fault(FaultKind::LoseEvent, Some(1), 0);
        h.fact(viewed(Some("an entry is missing")));
        h.assert_tripped("an entry is missing");
        let mut h = history();
        h.fault(FaultKind::LoseEvent, Some(0), 0);
        h.pass(10_000);
        h.fault(FaultKind::MuteWatch, Some(0), 20_000);
        h.pass(59_000);
        h.fact(viewed(Some("an entry is missing")));
        h.assert_clean();
        h.pass(2_000);
        h.fact(viewed(Some("an entry is missing")));
        h.assert_tripped("an entry is missing");
    }

    #[test]
    fn a_process_that_reads_anew_without_a_reason_is_found() {
        let mut h = history();
        h.fault(FaultKind::LoseEvent, Some(0), 0);
        h.fact(Fact::Repaired { node: 0 });
        h.assert_clean();
        h.fact(Fact::Repaired { node: 0 });
        h.assert_tripped("was told everything");
    }
}
