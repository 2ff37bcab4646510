//! L5: once healed, what had piled up drains within the time that the workload allows; it does not feed itself.
//!
//! Judged from the phase of liveness on, for the tasks that had not ended when it began. Tasks of queues that are paused
//! are not waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::{QueueName, TaskId};
use windlass_core::time::Mono;

use super::rows::is_foreign;
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Other, Spot};
use crate::fact::{Fact, Phase};

/// Remembers the tasks of the backlog that have not ended.
#[derive(Debug)]
pub(super) struct BacklogDrains {
    end_max: Duration,
    open: BTreeMap<TaskId, QueueName>,
    paused: BTreeMap<QueueName, bool>,
    healed: Option<Mono>,
    /// The backlog is drained, or was reported.
    settled: bool,
}

impl BacklogDrains {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            end_max: Duration::from_millis(terms.end_max_ms),
            open: BTreeMap::new(),
            paused: BTreeMap::new(),
            healed: None,
            settled: false,
        }
    }

    fn judge(&mut self, at: Mono, found: &mut Findings) {
        let Some(healed) = self.healed.filter(|_| !self.settled) else {
            return;
        };
        let is_paused = |queue: &QueueName| self.paused.get(queue).is_some_and(|it| *it);
        if healed.after(self.end_max) >= at {
            self.settled = self.open.is_empty();
            return;
        }
        self.settled = true;
        let waiting = self.open.values().filter(|queue| !is_paused(queue)).count();
        if waiting > 0 {
            let seconds = self.end_max.as_secs();
            let what = format!("{waiting} tasks of the backlog are left after {seconds} s");
            found.add(self, at, None, None, what);
        }
    }
}

impl Checker for BacklogDrains {
    fn rule(&self) -> Rule {
        Rule::L5
    }

    fn name(&self) -> &'static str {
        "backlog_drains"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            self.judge(at, found);
            for step in &revised.steps {
                let queue = step.after.spots.first().and_then(|spot| match spot {
                    Spot::Entry { queue, .. } | Spot::Delayed { queue, .. } => Some(queue),
                    Spot::Claim(claim) => Some(&claim.queue),
                    Spot::Unreadable { .. } => None,
                });
                match queue.filter(|_| !is_foreign(step)) {
                    Some(queue) if self.healed.is_none() => {
                        self.open.insert(step.task, queue.clone());
                    }
                    // What began later, or again, is new work.
                    Some(_) => {}
                    None => {
                        self.open.remove(&step.task);
                    }
                }
            }
            for other in &revised.others {
                if let Other::Queue { queue, settings } = other {
                    let paused = settings.is_some_and(|(paused, _)| paused);
                    self.paused.insert(queue.clone(), paused);
                }
            }
        }
        if let Fact::Phase(Phase::Liveness) = fact {
            self.healed.get_or_insert(at);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        self.judge(at, found);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, TERMS};
    use super::*;

    #[test]
    fn a_backlog_that_drains_in_time_is_none() {
        let mut h = History::of(BacklogDrains::new(&TERMS));
        let task = h.submit(None);
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(TERMS.end_max_ms);
        h.cancel_waiting(task);
        h.submit(None);
        h.pass(TERMS.end_max_ms);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_backlog_that_stays_is_found() {
        let mut h = History::of(BacklogDrains::new(&TERMS));
        h.submit(None);
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(TERMS.end_max_ms + 1);
        h.submit(None);
        h.assert_tripped("1 tasks of the backlog");
    }
}
