//! S5: a run of a task ends once, and how it ended never changes.
//!
//! No fault suspends it.

use std::collections::BTreeMap;

use windlass_core::ids::{Revision, TaskId};
use windlass_core::time::Mono;

use super::rows::is_foreign;
use super::{Checker, Findings, Rule};
use crate::book::TaskStep;
use crate::fact::Fact;

/// Remembers the last run of each task that ended, and when that was written.
#[derive(Debug, Default)]
pub(super) struct OneOutcome {
    ended: BTreeMap<TaskId, (u32, Revision, u64)>,
}

impl OneOutcome {
    fn step(&mut self, at: Mono, step: &TaskStep, found: &mut Findings) {
        let task = step.task;
        if step.after.record.is_none() {
            self.ended.remove(&task);
            return;
        }
        let Some(end) = &step.after.end else {
            return;
        };
        let run = step.after.run;
        let last = self.ended.insert(task, (run, end.written, end.hash));
        let Some((last_run, written, hash)) = last.filter(|(last, ..)| *last >= run) else {
            return;
        };
        if last_run == run && written == end.written && hash == end.hash {
            return;
        }
        let what = format!(
            "run {run} of {task} ended at revision {written}, and again at {}",
            end.written
        );
        found.add(self, at, None, Some(task), what);
    }
}

impl Checker for OneOutcome {
    fn rule(&self) -> Rule {
        Rule::S5
    }

    fn name(&self) -> &'static str {
        "one_outcome"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
                self.step(at, step, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{GATEWAY, History, lane_of};
    use super::*;
    use crate::book::Ending;

    #[test]
    fn every_run_may_end_once() {
        let mut h = History::of(OneOutcome::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Failed);
        h.rerun(task);
        h.cancel_waiting(task);
        h.assert_clean();
    }

    #[test]
    fn an_outcome_is_never_written_again() {
        let mut h = History::of(OneOutcome::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Completed);
        let end = h.end_of(task, Ending::Cancelled);
        h.end(GATEWAY, task, end);
        h.assert_tripped("and again");
    }

    #[test]
    fn a_run_does_not_end_again_after_its_outcome_was_removed() {
        let mut h = History::of(OneOutcome::default());
        let task = h.submit(None);
        let fresh = h.state(task);
        h.cancel_waiting(task);
        h.revise(GATEWAY, task, |it| *it = fresh);
        h.assert_clean();
        h.dispatch(task, "w1");
        let end = h.end_of(task, Ending::Completed);
        h.end(&lane_of("w1"), task, end);
        h.assert_tripped("and again");
    }
}
