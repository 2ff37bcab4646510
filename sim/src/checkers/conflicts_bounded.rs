//! L6: once healed, schedulers do not live at each other's expense: of the transactions that the store decides in any ten
//! seconds, if they are more than a few, at most half fail.
//!
//! Judged of nodes that are whole: who hears no news tries in vain, and the store bears it. While faults happen, a node is
//! whole again once it was spared for a while; then, once the echo of all of them has died away.

use std::collections::VecDeque;
use std::time::Duration;

use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::fact::{Decision, Fact, Phase};

/// How many seconds are looked at together.
const SECONDS: u64 = 10;
/// What was broken may echo for this long: late news, and all that was held up at once.
const ECHO: Duration = Duration::from_secs(10);
/// While faults happen, a node must have been spared for this long.
const SPARED: Duration = Duration::from_secs(2);
/// Fewer decisions than this say nothing.
const DECIDED_MIN: u64 = 100;

/// Counts what the store decided, second by second.
#[derive(Debug, Default)]
pub(super) struct ConflictsBounded {
    /// The second, what was decided in it, and how much of that was a conflict.
    seconds: VecDeque<(u64, u64, u64)>,
    /// When it counts.
    from: Option<Mono>,
    /// For how long a node must have been spared.
    spared: Duration,
    roster: Roster,
    reported: bool,
}

impl ConflictsBounded {
    fn decided(&mut self, at: Mono, how: Decision, found: &mut Findings) {
        let second = at.as_nanos() / 1_000_000_000;
        if self.seconds.back().is_none_or(|(last, ..)| *last < second) {
            self.judge(at, found);
            self.seconds.push_back((second, 0, 0));
            let old = |(then, ..): &(u64, u64, u64)| *then + SECONDS <= second;
            while self.seconds.front().is_some_and(old) {
                self.seconds.pop_front();
            }
        }
        if let Some((_, decided, conflicts)) = self.seconds.back_mut() {
            *decided += 1;
            *conflicts += u64::from(how == Decision::Conflict);
        }
    }

    fn judge(&mut self, at: Mono, found: &mut Findings) {
        let sum = |(all, lost), (_, decided, conflicts): &(u64, u64, u64)| {
            (all + decided, lost + conflicts)
        };
        let (decided, conflicts) = self.seconds.iter().fold((0, 0), sum);
        if decided > DECIDED_MIN && conflicts * 2 > decided && !self.reported {
            self.reported = true;
            let what = format!("{conflicts} of {decided} transactions failed in {SECONDS} s");
            found.add(self, at, None, None, what);
        }
    }
}

impl Checker for ConflictsBounded {
    fn rule(&self) -> Rule {
        Rule::L6
    }

    fn name(&self) -> &'static str {
        "conflicts_bounded"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.roster.observe(at, fact);
        if let Fact::Decided { node, how } = fact
            && self.from.is_some_and(|from| from <= at)
            && self.roster.hurt_until(*node).after(self.spared) <= at
        {
            self.decided(at, *how, found);
        }
        if let Fact::Phase(phase) = fact {
            self.judge(at, found);
            self.seconds.clear();
            self.spared = match phase {
                Phase::Safety => SPARED,
                Phase::Liveness | Phase::Service | Phase::Rest => Duration::ZERO,
            };
            self.from = match phase {
                Phase::Rest => None,
                Phase::Safety => Some(at),
                Phase::Liveness => Some(at.after(ECHO)),
                Phase::Service => Some(at),
            };
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        self.judge(at, found);
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::keyspace::Role;

    use super::super::testing::History;
    use super::*;
    use crate::nemesis::FaultKind;

    fn decide(h: &mut History, conflicts: u64, of: u64) {
        for n in 0..of {
            let how = if n < conflicts {
                Decision::Conflict
            } else {
                Decision::Committed
            };
            h.fact(Fact::Decided { node: 0, how });
        }
    }

    #[test]
    fn half_of_many_and_most_of_few_may_fail() {
        let mut h = History::of(ConflictsBounded::default());
        decide(&mut h, 500, 500);
        h.fact(Fact::Phase(Phase::Liveness));
        decide(&mut h, 150, 300);
        h.pass(10_000);
        decide(&mut h, 100, 100);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn who_hears_nothing_may_try_in_vain() {
        let mut h = History::of(ConflictsBounded::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        h.fault(FaultKind::CutFromStore, Some(0), 1_000_000);
        h.fact(Fact::Phase(Phase::Service));
        decide(&mut h, 300, 300);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn while_faults_happen_who_was_spared_for_a_while_may_not_try_in_vain() {
        let mut h = History::of(ConflictsBounded::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        h.fact(Fact::Phase(Phase::Safety));
        h.fault(FaultKind::Crash, Some(0), 0);
        h.pass(1_999);
        decide(&mut h, 300, 300);
        h.finish();
        h.assert_clean();
        h.pass(1);
        decide(&mut h, 300, 300);
        h.finish();
        h.assert_tripped("300 of 300");
    }

    #[test]
    fn most_of_many_may_not() {
        let mut h = History::of(ConflictsBounded::default());
        h.fact(Fact::Phase(Phase::Service));
        decide(&mut h, 60, 100);
        h.pass(5_000);
        decide(&mut h, 51, 100);
        h.finish();
        h.assert_tripped("111 of 200");
    }
}
