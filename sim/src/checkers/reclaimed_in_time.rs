//! L2: once healed, what a worker held whose process has ended can be given to others after the time to live of its lease
//! and two seconds.
//!
//! Judged from the phase of liveness on. Time counts from the end of the process, or from when the healed schedulers are
//! on their feet, or from the end of the last fault that concerned everybody (a change of leader gives every lease its
//! full time again), whichever is latest. Workers of which two processes share an id (`Double`) are left to L3.

use std::time::Duration;

use windlass_core::ids::TaskId;
use windlass_core::time::Mono;

use super::owners::Owners;
use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, NodeIx, Phase};

/// Remembers whose claims are there, and which processes ended.
#[derive(Debug)]
pub(super) struct ReclaimedInTime {
    terms: Terms,
    roster: Roster,
    owners: Owners,
    healed: Option<Mono>,
}

impl ReclaimedInTime {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            roster: Roster::default(),
            owners: Owners::default(),
            healed: None,
        }
    }

    fn down(&mut self, at: Mono, node: NodeIx) {
        let Some(id) = self.roster.get(node).map(|member| member.id.clone()) else {
            return;
        };
        if self.roster.named(id.as_str()).count() == 1
            && let Some(life) = self.owners.life_of(&id)
        {
            self.owners.end(life, at);
        }
    }

    fn judge(&self, at: Mono, task: TaskId, ended: Mono, found: &mut Findings) {
        let Some(healed) = self.healed else {
            return;
        };
        let from = self
            .terms
            .awake(healed)
            .max(ended)
            .max(self.roster.everybody_hurt_until());
        let within = Duration::from_millis(self.terms.ttl_ms + 2_000);
        if from.after(within) < at {
            let millis = at.since(from).as_millis();
            let what = format!("{task} stayed with an ended process for {millis} ms");
            found.add(self, at, None, Some(task), what);
        }
    }
}

impl Checker for ReclaimedInTime {
    fn rule(&self) -> Rule {
        Rule::L2
    }

    fn name(&self) -> &'static str {
        "reclaimed_in_time"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            let (went, _) = self.owners.revise(revised);
            for (task, ended) in went {
                self.judge(at, task, ended, found);
            }
        }
        if let Fact::Down { node, .. } = fact {
            self.down(at, *node);
        }
        if let Fact::Booted { .. } | Fact::Down { .. } | Fact::Fault { .. } = fact {
            self.roster.observe(at, fact);
        }
        if let Fact::Phase(Phase::Liveness) = fact {
            self.healed.get_or_insert(at);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let orphans: Vec<(TaskId, Mono)> = self.owners.orphans().collect();
        for (task, ended) in orphans {
            self.judge(at, task, ended, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, TERMS, held_by_w1};
    use super::*;

    fn history() -> (History, TaskId) {
        let mut h = History::of(ReclaimedInTime::new(&TERMS));
        h.worker(0, "w1");
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(20_000);
        let task = held_by_w1(&mut h);
        h.down(0);
        (h, task)
    }

    #[test]
    fn a_claim_that_goes_after_the_lease_is_reclaimed_in_time() {
        let (mut h, task) = history();
        h.pass(5_000);
        h.lose(task);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_claim_that_goes_later_or_stays_is_found() {
        let (mut h, task) = history();
        h.pass(5_001);
        h.lose(task);
        h.assert_tripped("for 5001 ms");
        let (mut h, _) = history();
        h.pass(6_000);
        h.finish();
        h.assert_tripped("for 6000 ms");
    }
}
