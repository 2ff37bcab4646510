//! S1: what was acknowledged is not lost: until it is purged it is in exactly one place, its record is what was accepted,
//! and what is purged had ended, well or cancelled, for as long as such tasks are kept.
//!
//! No fault suspends it. How long a task was kept is judged only while nobody's clock was meddled with (`JumpWall`,
//! `Drift`): age is told by the clocks of who ended it and of who removes it; and while the store has room.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::gateway::{Reply, Submitted};
use windlass_core::ids::TaskId;
use windlass_core::room::Level;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::is_foreign;
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Ending, TaskState, TaskStep};
use crate::fact::Fact;

/// Remembers which tasks are there, and which were acknowledged.
#[derive(Debug)]
pub(super) struct NothingLost {
    terms: Terms,
    /// Tasks in the store, with the hash of their record, and whether somebody was told so.
    there: BTreeMap<TaskId, (u64, bool)>,
    /// Tasks that were removed as they may be.
    purged: BTreeSet<TaskId>,
    roster: Roster,
    /// Some janitor has been short of room.
    was_tight: bool,
}

impl NothingLost {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            there: BTreeMap::new(),
            purged: BTreeSet::new(),
            roster: Roster::default(),
            was_tight: false,
        }
    }

    fn acknowledge(&mut self, at: Mono, task: TaskId, found: &mut Findings) {
        match self.there.get_mut(&task) {
            Some((_, told)) => *told = true,
            None if self.purged.contains(&task) => {}
            None => {
                let what = format!("{task} was acknowledged and is not in the store");
                found.add(self, at, None, Some(task), what);
            }
        }
    }

    fn step(&mut self, at: Mono, step: &TaskStep, found: &mut Findings) {
        let task = step.task;
        let Some(hash) = step.after.record else {
            self.remove(at, step, found);
            return;
        };
        let (accepted, told) = *self.there.entry(task).or_insert((hash, false));
        if !told || is_foreign(step) {
            return;
        }
        let places = places_of(&step.after);
        if places != 1 {
            let what = format!("{task} was acknowledged and is in {places} places");
            found.add(self, at, None, Some(task), what);
        }
        if hash != accepted {
            let what = format!("the record of {task} is not the one that was accepted");
            found.add(self, at, None, Some(task), what);
        }
    }

    fn remove(&mut self, at: Mono, step: &TaskStep, found: &mut Findings) {
        let task = step.task;
        if self.there.remove(&task).is_none() || is_foreign(step) {
            return;
        }
        self.purged.insert(task);
        let why = match &step.before.end {
            None => Some("before its end"),
            Some(end) if end.how == Ending::Failed => Some("though it waits for a person"),
            Some(end) => {
                let kept = self.terms.wall(at).since(end.ended_at).get();
                let early =
                    kept < self.terms.retention_ms && !self.was_tight && !self.roster.any_skewed();
                early.then_some("too early")
            }
        };
        if let Some(why) = why {
            let what = format!("{task} was removed {why}");
            found.add(self, at, None, Some(task), what);
        }
    }
}

fn places_of(state: &TaskState) -> usize {
    state.spots.len() + usize::from(state.end.is_some())
}

impl Checker for NothingLost {
    fn rule(&self) -> Rule {
        Rule::S1
    }

    fn name(&self) -> &'static str {
        "nothing_lost"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        match fact {
            Fact::Stored(revised) => {
                for step in &revised.steps {
                    self.step(at, step, found);
                }
            }
            Fact::Answered { reply, .. } => {
                if let Reply::Submitted(fates) = &**reply {
                    for fate in fates {
                        if let Submitted::Accepted { id, .. } | Submitted::Repeated { id } = fate {
                            self.acknowledge(at, *id, found);
                        }
                    }
                }
            }
            Fact::Room { level, .. } => self.was_tight |= *level != Level::Roomy,
            Fact::Booted { .. } | Fact::Fault { .. } => self.roster.observe(at, fact),
            Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Down { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::Started { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Phase(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History, JANITOR, TERMS};
    use super::*;

    fn history() -> History {
        History::of(NothingLost::new(&TERMS))
    }

    #[test]
    fn a_task_that_ends_and_is_purged_after_its_retention_is_not_lost() {
        let mut h = history();
        let task = h.submit(None);
        h.acknowledge(1, task);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Completed);
        h.pass(TERMS.retention_ms);
        h.purge(task);
        h.assert_clean();
    }

    #[test]
    fn an_acknowledgement_without_a_task_is_a_loss() {
        let mut h = history();
        let task = h.task();
        h.acknowledge(1, task);
        h.assert_tripped("not in the store");
    }

    #[test]
    fn a_task_that_is_nowhere_is_lost() {
        let mut h = history();
        let task = h.submit(None);
        h.acknowledge(1, task);
        h.revise(GATEWAY, task, |it| it.spots.clear());
        h.assert_tripped("0 places");
    }

    #[test]
    fn a_task_whose_record_changed_is_lost() {
        let mut h = history();
        let task = h.submit(None);
        h.acknowledge(1, task);
        h.revise(GATEWAY, task, |it| it.record = Some(8));
        h.assert_tripped("not the one that was accepted");
    }

    #[test]
    fn what_is_purged_too_early_or_alive_or_dead_is_lost() {
        let mut h = history();
        let task = h.submit(None);
        h.purge(task);
        h.assert_tripped("before its end");
        let task = h.submit(None);
        h.cancel_waiting(task);
        h.pass(TERMS.retention_ms - 1);
        h.purge(task);
        h.assert_tripped("too early");
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Failed);
        h.pass(TERMS.retention_ms);
        h.revise(JANITOR, task, |it| *it = TaskState::default());
        h.assert_tripped("waits for a person");
    }
}
