//! S11: at no revision is there a part of a task without the task, or the reverse: a record has exactly one place or an
//! outcome, an entry, claim, delayed or run key, an outcome and a dead key have a record, what is dead has failed, a
//! place is of the task's current run, and an idempotency key comes and goes with its task.
//!
//! No fault suspends it. Records that this version cannot read (`Upgrade`) are not judged.

use std::collections::BTreeMap;

use windlass_core::ids::TaskId;
use windlass_core::time::Mono;

use super::rows::{count_of, is_foreign};
use super::{Checker, Findings, Rule};
use crate::book::{Ending, Other, Revised, TaskState, TaskStep};
use crate::fact::Fact;

/// Remembers the idempotency key of each task that has one.
#[derive(Debug, Default)]
pub(super) struct NoOrphans {
    keys: BTreeMap<String, TaskId>,
}

/// What is wrong with what is left of a task.
fn orphan(state: &TaskState) -> Option<&'static str> {
    let places = state.spots.len() + usize::from(state.end.is_some());
    if state.record.is_none() {
        let empty = places == 0 && state.dead.is_none() && state.run == 0;
        return (!empty).then_some("a part of it is there without its record");
    }
    if places == 0 {
        return Some("its record is there and nothing else");
    }
    if places > 1 {
        return Some("it is in more than one place");
    }
    if state.copies.len() > 1 {
        return Some("its record stands in more than one place");
    }
    let failed = state
        .end
        .as_ref()
        .is_some_and(|end| end.how == Ending::Failed);
    if state.dead.is_some() != failed {
        return Some("it is dead and has not failed, or the reverse");
    }
    let run = count_of(state).map(|count| count.run);
    (run != Some(state.run)).then_some("its place is of another run")
}

impl NoOrphans {
    fn keys(&mut self, at: Mono, revised: &Revised, found: &mut Findings) {
        for other in &revised.others {
            let Other::Unique { hash, task, .. } = other else {
                continue;
            };
            let before = match task {
                Some(task) => self.keys.insert(hash.clone(), *task),
                None => self.keys.remove(hash),
            };
            let appeared =
                |step: &&TaskStep| step.before.record.is_none() && step.after.record.is_some();
            let went = |step: &&TaskStep| step.after.record.is_none();
            let of = |id: &TaskId| revised.steps.iter().find(|step| step.task == *id);
            let why = match (before, task) {
                (None, Some(id)) if of(id).filter(appeared).is_some() => None,
                (None, Some(_)) => Some("came without its task"),
                (Some(id), None) if of(&id).filter(went).is_some() => None,
                (Some(_), None) => Some("went without its task"),
                (Some(_), Some(_)) => Some("was given to another task"),
                (None, None) => None,
            };
            if let Some(why) = why {
                let what = format!(
                    "the idempotency key {hash} {why} at revision {}",
                    revised.at
                );
                found.add(self, at, None, *task, what);
            }
        }
    }

    /// A task with an idempotency key comes with it, and does not go without it.
    fn keyed(&self, step: &TaskStep, revised: &Revised) -> Option<&'static str> {
        let is_keyed = |state: &TaskState| state.promised.as_ref().is_some_and(|it| it.unique);
        let comes = step.before.record.is_none() && is_keyed(&step.after);
        let goes = step.after.record.is_none() && is_keyed(&step.before);
        if !comes && !goes {
            return None;
        }
        let there = revised.others.iter().any(|other| {
            matches!(other, Other::Unique { task, .. } if comes && *task == Some(step.task) || goes && task.is_none())
        });
        (!there).then_some("it came or went without its idempotency key")
    }
}

impl Checker for NoOrphans {
    fn rule(&self) -> Rule {
        Rule::S11
    }

    fn name(&self) -> &'static str {
        "no_orphans"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        let Fact::Stored(revised) = fact else {
            return;
        };
        self.keys(at, revised, found);
        for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
            if let Some(why) = orphan(&step.after).or_else(|| self.keyed(step, revised)) {
                let what = format!("{} at revision {}: {why}", step.task, revised.at);
                found.add(self, at, None, Some(step.task), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History, JANITOR, SCHEDULER};
    use super::*;
    use crate::book::TaskStep;

    fn key(task: Option<TaskId>) -> Other {
        Other::Unique {
            hash: "/unique/k".into(),
            task,
            body: task.map(|_| "b".into()),
        }
    }

    fn submit_keyed(h: &mut History, with_key: bool) -> TaskId {
        let task = h.task();
        let mut state = h.submitted_state(task, None);
        if let Some(promised) = &mut state.promised {
            promised.unique = true;
        }
        h.others.extend(with_key.then(|| key(Some(task))));
        h.revise(GATEWAY, task, |it| *it = state);
        task
    }

    #[test]
    fn a_task_and_its_key_come_and_go_together() {
        let mut h = History::of(NoOrphans::default());
        let task = submit_keyed(&mut h, true);
        h.cancel_waiting(task);
        h.rerun(task);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Completed);
        h.others.push(key(None));
        h.purge(task);
        h.assert_clean();
    }

    #[test]
    fn a_key_without_its_task_and_a_task_without_its_key_are_found() {
        let mut h = History::of(NoOrphans::default());
        submit_keyed(&mut h, false);
        h.assert_tripped("without its idempotency key");
        let mut h = History::of(NoOrphans::default());
        submit_keyed(&mut h, true);
        h.store_bare(vec![], vec![key(None)]);
        h.assert_tripped("went without its task");
        let task = h.task();
        h.store_bare(vec![], vec![key(Some(task))]);
        h.assert_tripped("came without its task");
    }

    #[test]
    fn an_outcome_or_an_entry_without_a_record_is_found() {
        for left in [true, false] {
            let mut h = History::of(NoOrphans::default());
            let task = h.submit(None);
            h.revise(JANITOR, task, |it| {
                it.record = None;
                it.promised = None;
                if left {
                    it.spots.clear();
                    it.run = 1;
                }
            });
            h.assert_tripped("without its record");
        }
    }

    #[test]
    fn a_record_without_a_place_and_two_places_are_found() {
        let mut h = History::of(NoOrphans::default());
        let task = h.submit(None);
        let claim = h.claim(task, "w1");
        h.revise(SCHEDULER, task, |it| it.spots.push(claim));
        h.assert_tripped("more than one place");
        let task = h.submit(None);
        let before = h.state(task);
        let mut after = before.clone();
        after.spots.clear();
        let step = TaskStep {
            task,
            before,
            after,
        };
        h.store_bare(vec![step], vec![]);
        h.assert_tripped("nothing else");
    }

    #[test]
    fn what_is_dead_has_failed() {
        let mut h = History::of(NoOrphans::default());
        let task = h.submit(None);
        h.cancel_waiting(task);
        h.revise(GATEWAY, task, |it| it.dead = Some("q".parse().unwrap()));
        h.assert_tripped("has not failed");
    }
}
