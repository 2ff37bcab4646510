//! S9: every attempt is counted once, and none that was not: failures grow by one when an attempt is tried again, losses
//! by one when a scheduler takes a claim, and neither anywhere else; a run never counts more attempts than it had
//! claims; no maximum is exceeded; and a handler is told the number of its attempt.
//!
//! No fault suspends it.

use std::collections::BTreeMap;

use windlass_core::ids::{Attempt, Fence, TaskId};
use windlass_core::time::Mono;

use super::rows::{claim_of, count_of, is_foreign, lost, retried, writer_of};
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Count, Spot, TaskState, TaskStep};
use crate::fact::{Fact, NodeIx};

/// Remembers the claims of each task's run.
#[derive(Debug)]
pub(super) struct AttemptsExact {
    losses_max: u32,
    tasks: BTreeMap<TaskId, Run>,
}

#[derive(Debug, Default)]
struct Run {
    number: u32,
    claims: u32,
    /// The newest claim, and which attempt it is for.
    newest: Option<(Fence, Attempt)>,
}

impl AttemptsExact {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            losses_max: terms.losses_max,
            tasks: BTreeMap::new(),
        }
    }

    fn step(&mut self, at: Mono, step: &TaskStep, part: Option<char>, found: &mut Findings) {
        let task = step.task;
        if step.after.record.is_none() {
            self.tasks.remove(&task);
            return;
        }
        let Some(count) = count_of(&step.after) else {
            return;
        };
        let run = self.tasks.entry(task).or_default();
        if count.run != run.number {
            *run = Run {
                number: count.run,
                ..Run::default()
            };
        }
        if let Some(claim) = claim_of(&step.after)
            && run.newest.is_none_or(|(fence, _)| fence != claim.fence)
        {
            run.claims += 1;
            run.newest = Some((claim.fence, attempt_of(count)));
        }
        let claims = run.claims;
        let why = count_of(&step.before)
            .and_then(|before| grown(step, before, count, part))
            .or_else(|| self.beyond(&step.after, count, claims));
        if let Some(why) = why {
            found.add(self, at, None, Some(task), format!("{task}: {why}"));
        }
    }

    /// What is more than it may be.
    fn beyond(&self, state: &TaskState, count: Count, claims: u32) -> Option<String> {
        let Count {
            retries, losses, ..
        } = count;
        // What is claimed now has begun one attempt more than it has counted.
        let begun = retries + losses + u32::from(claim_of(state).is_some());
        if begun > claims {
            return Some(format!(
                "{retries} retries and {losses} losses of {claims} claims"
            ));
        }
        let retries_max = state.promised.as_ref()?.retries_max;
        if retries > retries_max {
            return Some(format!("{retries} retries of {retries_max}"));
        }
        let ended = u32::from(state.end.is_some());
        (losses > self.losses_max + ended)
            .then(|| format!("{losses} losses of {}", self.losses_max))
    }

    fn start(
        &self,
        at: Mono,
        (node, task): (NodeIx, TaskId),
        (fence, attempt): (Fence, Attempt),
        found: &mut Findings,
    ) {
        let newest = self.tasks.get(&task).and_then(|run| run.newest);
        if let Some((_, due)) = newest.filter(|(newest, due)| *newest == fence && *due != attempt) {
            let what = format!("{task} was started as attempt {attempt}, and it is {due}");
            found.add(self, at, Some(node), Some(task), what);
        }
    }
}

fn attempt_of(count: Count) -> Attempt {
    Attempt(count.retries + count.losses + 1)
}

/// What is wrong about how the counters went on within a run.
fn grown(step: &TaskStep, before: Count, after: Count, part: Option<char>) -> Option<String> {
    if before.run != after.run {
        let fresh = (after.retries, after.losses) == (0, 0);
        return (!fresh).then(|| "a new run begins with old attempts".to_owned());
    }
    let was_claimed = claim_of(&step.before).is_some();
    let is_claimed = claim_of(&step.after).is_some();
    let leaves = was_claimed && !is_claimed;
    let right = if leaves && part == Some('s') {
        after == lost(before)
    } else if leaves && step.after.end.is_none() {
        let waits_for_its_time = matches!(step.after.spots[..], [Spot::Delayed { .. }, ..]);
        after
            == if waits_for_its_time {
                retried(before)
            } else {
                before
            }
    } else {
        after == before
    };
    (!right).then(|| {
        format!(
            "{} retries and {} losses became {} and {}",
            before.retries, before.losses, after.retries, after.losses
        )
    })
}

impl Checker for AttemptsExact {
    fn rule(&self) -> Rule {
        Rule::S9
    }

    fn name(&self) -> &'static str {
        "attempts_exact"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            if revised.steps.is_empty() {
                return;
            }
            let part = writer_of(revised).map(|(_, part)| part);
            for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
                self.step(at, step, part, found);
            }
        }
        if let Fact::Started {
            node,
            task,
            fence,
            attempt,
            ..
        } = fact
        {
            self.start(at, (*node, *task), (*fence, *attempt), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, SCHEDULER, TERMS, count, lane_of};
    use super::*;
    use crate::book::Ending;

    fn history() -> History {
        History::of(AttemptsExact::new(&TERMS))
    }

    #[test]
    fn failures_and_losses_are_counted_apart() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w1");
        h.hand_back(task);
        let fence = h.dispatch(task, "w1");
        h.start_as(0, 1, task, fence, Attempt(2));
        h.retry(task, 10);
        h.release(task);
        h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Failed);
        h.rerun(task);
        let fence = h.dispatch(task, "w1");
        h.start_as(0, 2, task, fence, Attempt(1));
        h.assert_clean();
    }

    #[test]
    fn a_loss_is_counted_once() {
        for losses in [0, 2] {
            let mut h = history();
            let task = h.submit(None);
            h.dispatch(task, "w1");
            let spot = h.entry(&h.held(task), count(0, 0, losses));
            h.revise(SCHEDULER, task, |it| it.spots = vec![spot]);
            h.assert_tripped("0 losses became");
        }
    }

    #[test]
    fn an_attempt_is_not_counted_where_it_begins() {
        let mut h = history();
        let task = h.submit(None);
        let Spot::Claim(mut claim) = h.claim(task, "w1") else {
            unreachable!("a claim is a claim")
        };
        claim.count = count(0, 1, 0);
        h.revise(SCHEDULER, task, |it| it.spots = vec![Spot::Claim(claim)]);
        h.assert_tripped("became 1 and 0");
    }

    #[test]
    fn no_more_attempts_are_counted_than_were_claimed() {
        let mut h = history();
        let task = h.task();
        let mut state = h.submitted_state(task, None);
        if let Some(Spot::Entry { count: it, .. }) = state.spots.first_mut() {
            *it = count(0, 0, 1);
        }
        h.revise(SCHEDULER, task, |it| *it = state);
        h.assert_tripped("of 0 claims");
    }

    #[test]
    fn a_task_is_not_tried_more_often_than_it_may_be() {
        let mut h = history();
        let task = h.submit(None);
        for _ in 0..2 {
            h.dispatch(task, "w1");
            h.retry(task, 10);
            h.release(task);
        }
        h.assert_tripped("2 retries of 1");
    }

    #[test]
    fn workers_do_not_vanish_under_a_task_more_often_than_they_may() {
        let mut h = history();
        let task = h.submit(None);
        for _ in 0..3 {
            h.dispatch(task, "w1");
            h.lose(task);
        }
        h.assert_tripped("3 losses of 2");
    }

    #[test]
    fn a_handler_is_told_the_number_of_its_attempt() {
        let mut h = history();
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.start_as(0, 1, task, fence, Attempt(2));
        h.assert_tripped("as attempt 2");
    }

    #[test]
    fn an_outcome_counts_nothing_that_its_worker_ends() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let mut end = h.end_of(task, Ending::Failed);
        end.count.retries += 1;
        h.end(&lane_of("w1"), task, end);
        h.assert_tripped("became 1 and 0");
    }
}
