//! L7: every scheduler's view keeps up: at rest, a scheduler that has been up and untouched for fifteen seconds has been
//! seen at a revision that was the newest at most fifteen seconds before the end.
//!
//! Suspended for a scheduler that a fault concerned, or everybody, within that time. That it reads anew no more often
//! than it must is not in any fact; what it costs is bounded by S22.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use windlass_core::ids::Revision;
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx, Phase};

/// How far a view may be behind.
const BEHIND_MAX: Duration = Duration::from_secs(15);
/// How often the newest revision is noted.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// Remembers the newest revision, and how far each view was.
#[derive(Debug, Default)]
pub(super) struct ViewsCatchUp {
    roster: Roster,
    viewed: BTreeMap<NodeIx, Revision>,
    newest: VecDeque<(Mono, Revision)>,
    rests: bool,
}

impl ViewsCatchUp {
    fn note(&mut self, at: Mono, revision: Revision) {
        let fresh = self
            .newest
            .back()
            .is_some_and(|(noted, _)| noted.after(NOTE_EVERY) > at);
        if fresh {
            return;
        }
        self.newest.push_back((at, revision));
        let old = |(noted, _): &(Mono, Revision)| noted.after(BEHIND_MAX) < at;
        while self.newest.get(1).is_some_and(old) {
            self.newest.pop_front();
        }
    }
}

impl Checker for ViewsCatchUp {
    fn rule(&self) -> Rule {
        Rule::L7
    }

    fn name(&self) -> &'static str {
        "views_catch_up"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, _found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            self.note(at, revised.at);
        }
        if let Fact::Viewed {
            node, at: revision, ..
        } = fact
        {
            self.viewed.insert(*node, *revision);
        }
        if let Fact::Phase(phase) = fact {
            self.rests = *phase == Phase::Rest;
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

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let old = self.newest.front();
        let Some((_, wanted)) =
            old.filter(|(noted, _)| noted.after(BEHIND_MAX) <= at && self.rests)
        else {
            return;
        };
        for (node, member) in self.roster.iter() {
            let calm = self.roster.hurt_until(node).max(member.since);
            let judged = member.up && member.role == Role::Scheduler;
            if !judged || calm.after(BEHIND_MAX) > at {
                continue;
            }
            let reached = self.viewed.get(&node).copied().unwrap_or_default();
            if reached < *wanted {
                let what = format!("node {node} is at revision {reached}, not at {wanted}");
                found.add(self, at, Some(node), None, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History};
    use super::*;
    use crate::nemesis::FaultKind;

    fn behind() -> History {
        let mut h = History::of(ViewsCatchUp::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        for _ in 0..40 {
            h.store(GATEWAY, vec![]);
            h.pass(1_000);
        }
        h.fact(Fact::Phase(Phase::Rest));
        h
    }

    fn viewed(h: &mut History, revision: u64) {
        h.fact(Fact::Viewed {
            node: 0,
            at: Revision(revision),
            difference: None,
        });
    }

    #[test]
    fn a_view_that_is_a_moment_behind_keeps_up() {
        let mut h = behind();
        viewed(&mut h, 30);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_view_that_stands_still_is_found_unless_a_fault_holds_it() {
        let mut h = behind();
        viewed(&mut h, 10);
        h.finish();
        h.assert_tripped("is at revision 10");
        let mut h = behind();
        h.fault(FaultKind::MuteWatch, Some(0), 0);
        h.finish();
        h.assert_clean();
    }
}
