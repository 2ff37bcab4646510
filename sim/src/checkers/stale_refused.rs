//! S6: what is written under a fence takes effect only while that fence is the task's newest: an outcome, a retry and a
//! hand-back remove exactly the claim that they are of, in the revision that writes them, and are written by its worker.
//! An outcome without a fence is of a task that nobody had.
//!
//! No fault suspends it: this is what holds when everything else fails.

use std::collections::BTreeMap;

use windlass_core::ids::{Fence, TaskId};
use windlass_core::time::Mono;

use super::rows::{claim_of, is_foreign, is_node, is_remote, writer_of};
use super::{Checker, Findings, Rule};
use crate::book::{Claim, TaskStep};
use crate::fact::Fact;

/// Remembers the newest fence of each task.
#[derive(Debug, Default)]
pub(super) struct StaleRefused {
    newest: BTreeMap<TaskId, Fence>,
}

impl StaleRefused {
    /// What is wrong with a step.
    fn judge(&self, step: &TaskStep, writer: Option<(&str, char)>) -> Option<String> {
        let claimed = claim_of(&step.before);
        let kept = |claim: &Claim| claim_of(&step.after).is_some_and(|it| it.fence == claim.fence);
        let removed = claimed.filter(|claim| !kept(claim));
        let newest = self.newest.get(&step.task).copied();
        let ends_now = step.after.end.as_ref().filter(|end| {
            step.before.end.as_ref().map(|before| before.written) != Some(end.written)
        });
        if let Some(end) = ends_now {
            let fence = removed.map(|claim| claim.fence);
            if end.fence != fence {
                return Some(format!(
                    "an outcome under {} removed {}",
                    name(end.fence),
                    name(fence)
                ));
            }
            if end.fence.is_some() && end.fence != newest {
                return Some(format!(
                    "an outcome under {}, and {} exists",
                    name(end.fence),
                    name(newest)
                ));
            }
        }
        // Who takes a claim without being its worker is a scheduler, and says so by its lane.
        let claim = removed?;
        match writer {
            Some((node, 'g')) if !is_remote(&claim.worker) => Some(format!(
                "{node}'s gateway removed the claim of {}",
                claim.worker
            )),
            Some((node, 'w')) if !is_node(&claim.worker, node) => {
                Some(format!("{node} removed the claim of {}", claim.worker))
            }
            Some(_) | None => None,
        }
    }
}

fn name(fence: Option<Fence>) -> String {
    fence.map_or_else(|| "no fence".to_owned(), |fence| format!("fence {fence}"))
}

impl Checker for StaleRefused {
    fn rule(&self) -> Rule {
        Rule::S6
    }

    fn name(&self) -> &'static str {
        "stale_refused"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        let Fact::Stored(revised) = fact else {
            return;
        };
        for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
            if let Some(why) = self.judge(step, writer_of(revised)) {
                let what = format!("{}: {why}", step.task);
                found.add(self, at, None, Some(step.task), what);
            }
            if let Some(claim) = claim_of(&step.after) {
                let newest = self.newest.entry(step.task).or_insert(claim.fence);
                *newest = claim.fence.max(*newest);
            } else if step.after.record.is_none() {
                self.newest.remove(&step.task);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;

    use super::super::testing::{History, SCHEDULER, lane_of};
    use super::*;
    use crate::book::{Ending, Spot};

    #[test]
    fn an_outcome_under_the_newest_fence_takes_effect() {
        let mut h = History::of(StaleRefused::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w2");
        h.finish_task(task, Ending::Failed);
        h.rerun(task);
        h.cancel_waiting(task);
        h.assert_clean();
    }

    #[test]
    fn an_outcome_beside_a_newer_claim_is_stale() {
        let mut h = History::of(StaleRefused::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let end = h.end_of(task, Ending::Completed);
        h.lose(task);
        h.dispatch(task, "w2");
        h.revise(&lane_of("w1"), task, |it| it.end = Some(end));
        h.assert_tripped("removed no fence");
    }

    #[test]
    fn an_outcome_under_an_older_fence_than_the_newest_is_stale() {
        let mut h = History::of(StaleRefused::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let mut old = h.held(task);
        old.fence = Fence(Revision(1));
        h.revise(SCHEDULER, task, |it| it.spots = vec![Spot::Claim(old)]);
        h.finish_task(task, Ending::Completed);
        h.assert_tripped("exists");
    }

    #[test]
    fn another_worker_cannot_return_a_claim() {
        let mut h = History::of(StaleRefused::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let claim = h.held(task);
        let spot = h.entry(&claim, claim.count);
        h.revise(&lane_of("w2"), task, |it| it.spots = vec![spot]);
        h.assert_tripped("removed the claim of w1");
    }
}
