//! L1: when everything has come to rest, every task has ended, unless its queue is paused.
//!
//! Judged only when the run says that it is at rest. That it comes to rest at all is judged by the run itself, which
//! names what it waits for.

use std::collections::BTreeMap;

use windlass_core::ids::{QueueName, TaskId};
use windlass_core::time::Mono;

use super::rows::is_foreign;
use super::{Checker, Findings, Rule};
use crate::book::{Other, Spot, TaskStep};
use crate::fact::{Fact, Phase};

/// Remembers what has not ended.
#[derive(Debug, Default)]
pub(super) struct AllEnd {
    open: BTreeMap<TaskId, QueueName>,
    paused: BTreeMap<QueueName, bool>,
    rests: bool,
}

impl AllEnd {
    fn step(&mut self, step: &TaskStep) {
        let queue = step.after.spots.first().and_then(|spot| match spot {
            Spot::Entry { queue, .. } | Spot::Delayed { queue, .. } => Some(queue),
            Spot::Claim(claim) => Some(&claim.queue),
            Spot::Unreadable { .. } => None,
        });
        match queue.filter(|_| !is_foreign(step)) {
            Some(queue) => self.open.insert(step.task, queue.clone()),
            None => self.open.remove(&step.task),
        };
    }
}

impl Checker for AllEnd {
    fn rule(&self) -> Rule {
        Rule::L1
    }

    fn name(&self) -> &'static str {
        "all_end"
    }

    fn observe(&mut self, _at: Mono, fact: &Fact, _found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for step in &revised.steps {
                self.step(step);
            }
            for other in &revised.others {
                if let Other::Queue { queue, settings } = other {
                    let paused = settings.is_some_and(|(paused, _)| paused);
                    self.paused.insert(queue.clone(), paused);
                }
            }
        }
        if let Fact::Phase(phase) = fact {
            self.rests = *phase == Phase::Rest;
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        if !self.rests {
            return;
        }
        for (task, queue) in &self.open {
            if !self.paused.get(queue).is_some_and(|paused| *paused) {
                let what = format!("{task} of queue {queue} has not ended");
                found.add(self, at, None, Some(*task), what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::balance::Strategy;

    use super::super::testing::{GATEWAY, History};
    use super::*;

    #[test]
    fn at_rest_everything_has_ended() {
        let mut h = History::of(AllEnd::default());
        let task = h.submit(None);
        h.finish();
        h.assert_clean();
        h.fact(Fact::Phase(Phase::Rest));
        h.cancel_waiting(task);
        h.finish();
        h.assert_clean();
        h.submit(None);
        h.finish();
        h.assert_tripped("has not ended");
    }

    #[test]
    fn a_paused_queue_may_rest() {
        let mut h = History::of(AllEnd::default());
        h.submit(None);
        let (queue, settings) = ("q".parse().unwrap(), Some((true, Strategy::LeastLoad)));
        h.others.push(Other::Queue { queue, settings });
        h.store(GATEWAY, vec![]);
        h.fact(Fact::Phase(Phase::Rest));
        h.finish();
        h.assert_clean();
    }
}
