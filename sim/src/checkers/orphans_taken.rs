//! L3: once healed, no claim stays for long that is for a life that the store knows to be over: two seconds, and as long
//! as a scheduler may take to step in for another.
//!
//! Judged from the phase of liveness on. Time counts from the end of the worker's key, or from when the healed schedulers
//! are on their feet, or from the end of the last fault that concerned everybody, whichever is latest.

use std::time::Duration;

use windlass_core::ids::TaskId;
use windlass_core::time::Mono;

use super::owners::Owners;
use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, Phase};

/// How long a claim may be without an owner.
const ORPHAN_MAX: Duration = Duration::from_secs(4);

/// Remembers whose claims are there, and which lives ended.
#[derive(Debug)]
pub(super) struct OrphansTaken {
    terms: Terms,
    roster: Roster,
    owners: Owners,
    healed: Option<Mono>,
}

impl OrphansTaken {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            roster: Roster::default(),
            owners: Owners::default(),
            healed: None,
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
        if from.after(ORPHAN_MAX) < at {
            let millis = at.since(from).as_millis();
            let what = format!("{task} was without an owner for {millis} ms");
            found.add(self, at, None, Some(task), what);
        }
    }
}

impl Checker for OrphansTaken {
    fn rule(&self) -> Rule {
        Rule::L3
    }

    fn name(&self) -> &'static str {
        "orphans_taken"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            let (went, ended) = self.owners.revise(revised);
            for (task, since) in went {
                self.judge(at, task, since, found);
            }
            for life in ended {
                self.owners.end(life, at);
            }
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
        let mut h = History::of(OrphansTaken::new(&TERMS));
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(20_000);
        let task = held_by_w1(&mut h);
        h.node_key("w1", None);
        (h, task)
    }

    #[test]
    fn an_orphan_that_is_taken_at_once_is_none() {
        let (mut h, task) = history();
        h.pass(4_000);
        h.lose(task);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn an_orphan_that_waits_or_stays_is_found() {
        let (mut h, task) = history();
        h.pass(4_001);
        h.lose(task);
        h.assert_tripped("for 4001 ms");
        let (mut h, _) = history();
        h.pass(5_000);
        h.finish();
        h.assert_tripped("for 5000 ms");
    }
}
