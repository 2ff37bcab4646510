//! S10: the lanes' totals are exact, because they commit with what they count: what a revision adds to the totals of all
//! lanes together is what it did to tasks, no more and no less; a lane's number only grows; and at rest the totals equal
//! a recount of the store.
//!
//! Completions that were refused change no task, so their count may grow at any time. No fault suspends anything; a
//! revision that touches records that this version cannot read (`Upgrade`) is not counted.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::ids::{Revision, TaskId};
use windlass_core::keyspace::Key;
use windlass_core::record::Totals;
use windlass_core::time::Mono;

use super::rows::{Row, is_foreign, row_of};
use super::{Checker, Findings, Rule};
use crate::book::{Ending, Other, Revised};
use crate::fact::Fact;

/// Remembers every lane, and which tasks are there.
#[derive(Debug, Default)]
pub(super) struct TotalsExact {
    lanes: BTreeMap<Key, (u64, Totals)>,
    there: BTreeSet<TaskId>,
    ended: BTreeSet<TaskId>,
    /// Something was not counted: a recount would not agree.
    uncounted: bool,
}

/// What one revision adds, by name; what a lane had is taken off when it goes.
type Sums = [(&'static str, i64); 11];

fn sums(totals: &Totals) -> Sums {
    let Totals {
        accepted,
        completed,
        failed,
        cancelled,
        refused_stale: _,
        dispatched,
        retried,
        lost,
        handed_back,
        released,
        rerun,
        purged,
    } = *totals;
    [
        ("accepted", accepted),
        ("completed", completed),
        ("failed", failed),
        ("cancelled", cancelled),
        ("dispatched", dispatched),
        ("retried", retried),
        ("lost", lost),
        ("handed_back", handed_back),
        ("released", released),
        ("rerun", rerun),
        ("purged", purged),
    ]
    .map(|(name, n)| (name, i64::try_from(n).unwrap_or(i64::MAX)))
}

fn add(to: &mut Sums, from: &Totals, sign: i64) {
    for ((_, sum), (_, n)) in to.iter_mut().zip(sums(from)) {
        *sum += sign * n;
    }
}

/// Counts a step as its row says.
fn count(row: Row, totals: &mut Totals) {
    let end = |totals: &mut Totals, how| match how {
        Ending::Completed => totals.completed += 1,
        Ending::Failed => totals.failed += 1,
        Ending::Cancelled => totals.cancelled += 1,
    };
    match row {
        Row::Submitted => totals.accepted += 1,
        Row::Placed => {
            totals.accepted += 1;
            totals.dispatched += 1;
        }
        Row::Dispatched => totals.dispatched += 1,
        Row::Ended(how) => end(totals, how),
        Row::Retried => totals.retried += 1,
        Row::HandedBack => totals.handed_back += 1,
        Row::Lost => totals.lost += 1,
        Row::LostForGood(how) => {
            totals.lost += 1;
            end(totals, how);
        }
        Row::Flagged | Row::Rewritten => {}
        Row::Released => totals.released += 1,
        Row::CancelledWaiting => totals.cancelled += 1,
        Row::Rerun => totals.rerun += 1,
        Row::Purged => totals.purged += 1,
    }
}

impl TotalsExact {
    /// What the lanes of a revision add, and whether a number fell.
    fn lanes(&mut self, revised: &Revised) -> (Sums, i64, Option<Key>) {
        let mut added = sums(&Totals::default());
        let (mut stale, mut fell) = (0, None);
        for other in &revised.others {
            let Other::Lane { key, lane } = other else {
                continue;
            };
            let before = match lane {
                Some(lane) => self.lanes.insert(key.clone(), *lane),
                None => self.lanes.remove(key),
            };
            if let Some((number, totals)) = &before {
                add(&mut added, totals, -1);
                stale -= i64::try_from(totals.refused_stale).unwrap_or(i64::MAX);
                if lane.is_some_and(|(now, _)| now <= *number) {
                    fell = Some(key.clone());
                }
            }
            if let Some((_, totals)) = lane {
                add(&mut added, totals, 1);
                stale += i64::try_from(totals.refused_stale).unwrap_or(i64::MAX);
            }
        }
        (added, stale, fell)
    }

    /// What a revision did to tasks; nothing when that cannot be told.
    fn steps(&mut self, revised: &Revised) -> Option<Totals> {
        let mut totals = Totals::default();
        let mut known = true;
        for step in &revised.steps {
            let (is_there, has_ended) = (step.after.record.is_some(), step.after.end.is_some());
            set(&mut self.there, step.task, is_there);
            set(&mut self.ended, step.task, has_ended);
            match row_of(step).ok().filter(|_| !is_foreign(step)) {
                Some(row) => count(row, &mut totals),
                None => known = false,
            }
        }
        self.uncounted |= !known;
        known.then_some(totals)
    }

    fn revise(&mut self, at: Mono, revised: &Revised, found: &mut Findings) {
        let (added, stale, fell) = self.lanes(revised);
        if let Some(key) = fell {
            let what = format!("the number of lane {key} fell at revision {}", revised.at);
            found.add(self, at, None, None, what);
        }
        let Some(done) = self.steps(revised) else {
            return;
        };
        let wrong = differences(&added, &sums(&done));
        if !wrong.is_empty() || stale < 0 {
            let what = format!(
                "revision {}: {}",
                revised.at,
                describe(&wrong, revised.at, stale)
            );
            found.add(self, at, None, None, what);
        }
    }
}

fn set(tasks: &mut BTreeSet<TaskId>, task: TaskId, present: bool) {
    if present {
        tasks.insert(task);
    } else {
        tasks.remove(&task);
    }
}

fn differences(added: &Sums, done: &Sums) -> Vec<(&'static str, i64, i64)> {
    let pairs = added.iter().zip(done);
    pairs
        .filter(|((_, added), (_, done))| added != done)
        .map(|((name, added), (_, done))| (*name, *added, *done))
        .collect()
}

fn describe(wrong: &[(&'static str, i64, i64)], at: Revision, stale: i64) -> String {
    let mut said: Vec<String> = wrong
        .iter()
        .map(|(name, added, done)| format!("{name} grew by {added}, and it did {done}"))
        .collect();
    if stale < 0 {
        said.push(format!("refused_stale fell by {} at {at}", -stale));
    }
    said.join("; ")
}

impl Checker for TotalsExact {
    fn rule(&self) -> Rule {
        Rule::S10
    }

    fn name(&self) -> &'static str {
        "totals_exact"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            self.revise(at, revised, found);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        if self.uncounted {
            return;
        }
        let mut totals = Totals::default();
        for (_, lane) in self.lanes.values() {
            totals.add(lane);
        }
        let size = |set: &BTreeSet<TaskId>| u64::try_from(set.len()).unwrap_or(u64::MAX);
        let outcomes = totals.completed + totals.failed + totals.cancelled;
        let right = totals.accepted == totals.purged + size(&self.there)
            && outcomes == totals.rerun + totals.purged + size(&self.ended);
        if !right {
            let what = format!(
                "{} tasks, {} of them ended, against {totals:?}",
                self.there.len(),
                self.ended.len()
            );
            found.add(self, at, None, None, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History, SCHEDULER};
    use super::*;

    fn lane(key: &str, number: u64, accepted: u64) -> Other {
        let totals = Totals {
            accepted,
            ..Totals::default()
        };
        Other::Lane {
            key: Key::from_store(key),
            lane: Some((number, totals)),
        }
    }

    #[test]
    fn a_life_whose_steps_are_all_counted_is_exact() {
        let mut h = History::of(TotalsExact::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w1");
        h.hand_back(task);
        h.dispatch(task, "w1");
        h.retry(task, 5);
        h.release(task);
        h.dispatch(task, "w1");
        h.cancel_running(task);
        h.finish_task(task, Ending::Cancelled);
        h.rerun(task);
        h.cancel_waiting(task);
        h.purge(task);
        h.submit(None);
        h.counted.refused_stale += 1;
        h.store(SCHEDULER, vec![]);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn what_is_counted_and_not_done_and_the_reverse_are_found() {
        let mut h = History::of(TotalsExact::default());
        h.counted.accepted += 1;
        h.store(GATEWAY, vec![]);
        h.assert_tripped("accepted grew by 1, and it did 0");
        let mut h = History::of(TotalsExact::default());
        let task = h.task();
        let state = h.submitted_state(task, None);
        h.revise(GATEWAY, task, |it| *it = state);
        h.assert_tripped("accepted grew by 0, and it did 1");
        h.finish();
        h.assert_tripped("1 tasks");
    }

    #[test]
    fn folding_moves_totals_and_loses_none() {
        let folded = "/stats/@folded/totals";
        let gone = |key: &str| Other::Lane {
            key: Key::from_store(key),
            lane: None,
        };
        for (kept, clean) in [(1, true), (0, false)] {
            let mut h = History::of(TotalsExact::default());
            h.submit(None);
            h.store_bare(vec![], vec![gone(GATEWAY), lane(folded, 1, kept)]);
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("accepted grew by -1");
            }
        }
    }

    #[test]
    fn a_lanes_number_only_grows() {
        let mut h = History::of(TotalsExact::default());
        h.store_bare(vec![], vec![lane("/stats/a/g0", 2, 0)]);
        h.store_bare(vec![], vec![lane("/stats/a/g0", 2, 0)]);
        h.assert_tripped("fell");
    }
}
