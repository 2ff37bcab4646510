//! S6, of handlers: what is recorded as completed under a fence was done by the handler that ran under that fence, and not
//! before it ended.
//!
//! No fault suspends it.

use std::collections::BTreeSet;

use windlass_core::ids::{Fence, TaskId};
use windlass_core::time::Mono;

use super::rows::{claim_of, is_foreign};
use super::{Checker, Findings, Rule};
use crate::book::{Ending, TaskStep};
use crate::fact::Fact;

/// Remembers which handlers have ended, as long as their claims stand.
#[derive(Debug, Default)]
pub(super) struct OwnOutcome {
    ended: BTreeSet<(TaskId, Fence)>,
}

impl OwnOutcome {
    fn step(&mut self, at: Mono, step: &TaskStep, found: &mut Findings) {
        let Some(claim) = claim_of(&step.before) else {
            return;
        };
        let kept = claim_of(&step.after).is_some_and(|it| it.fence == claim.fence);
        let ended = self.ended.contains(&(step.task, claim.fence));
        if !kept {
            self.ended.remove(&(step.task, claim.fence));
        }
        let completed =
            step.after.end.as_ref().filter(|end| {
                end.how == Ending::Completed && end.fence == Some(claim.fence) && !kept
            });
        if completed.is_some() && !ended {
            let what = format!(
                "{} completed under fence {}, whose handler has not ended",
                step.task, claim.fence
            );
            found.add(self, at, None, Some(step.task), what);
        }
    }
}

impl Checker for OwnOutcome {
    fn rule(&self) -> Rule {
        Rule::S6
    }

    fn name(&self) -> &'static str {
        "own_outcome"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::HandlerEnded { task, fence, .. } = fact {
            self.ended.insert((*task, *fence));
        }
        if let Fact::Stored(revised) = fact {
            for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
                self.step(at, step, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    #[test]
    fn what_its_own_handler_did_completes_a_task() {
        let mut h = History::of(OwnOutcome::default());
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.start(0, 1, task, fence);
        h.handler_ends(0, 1, task, fence);
        h.finish_task(task, Ending::Completed);
        h.assert_clean();
    }

    #[test]
    fn what_a_handler_did_under_another_fence_completes_nothing() {
        let mut h = History::of(OwnOutcome::default());
        let task = h.submit(None);
        let first = h.dispatch(task, "w1");
        h.start(0, 1, task, first);
        h.hand_back(task);
        h.dispatch(task, "w1");
        h.handler_ends(0, 1, task, first);
        h.finish_task(task, Ending::Completed);
        h.assert_tripped("whose handler has not ended");
    }

    #[test]
    fn without_a_handler_a_task_may_fail_or_be_cancelled() {
        for how in [Ending::Failed, Ending::Cancelled] {
            let mut h = History::of(OwnOutcome::default());
            let task = h.submit(None);
            h.dispatch(task, "w1");
            h.finish_task(task, how);
            h.assert_clean();
        }
    }
}
