//! S2: every step of a task is a row of the table of its life, from the places and counters that the row names, to those,
//! taken by whom it names; and a claim is made only for a worker that offers to take tasks at that revision,
//! and taken from a living one only once a stop was ordered.
//!
//! No fault suspends it. Records that this version cannot read (`Upgrade`) are nobody's steps.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::ids::{NodeId, Registration};
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::rows::{Row, claim_of, is_foreign, is_node, is_remote, row_of, writer_of};
use super::{Checker, Findings, Rule};
use crate::book::{Other, TaskStep};
use crate::fact::Fact;

/// Remembers who offers to take tasks; of tasks a revision tells what was before it.
#[derive(Debug, Default)]
pub(super) struct LegalSteps {
    offers: BTreeSet<NodeId>,
    /// The life of each worker's key.
    alive: BTreeMap<NodeId, Registration>,
}

/// Whether the writer of a revision may take this row.
fn may(row: Row, step: &TaskStep, writer: (&str, char)) -> bool {
    let (node, part) = writer;
    let by_owner = || {
        claim_of(&step.before).is_some_and(|it| match part {
            'w' => is_node(&it.worker, node),
            'g' => is_remote(&it.worker),
            _ => false,
        })
    };
    match row {
        Row::Submitted | Row::Placed | Row::CancelledWaiting | Row::Rerun => part == 'g',
        Row::Dispatched | Row::Lost | Row::LostForGood(_) | Row::Released => part == 's',
        Row::Ended(_) | Row::Retried | Row::HandedBack => by_owner(),
        Row::Flagged => part == 'g' || part == 's',
        // A cancellation replaces the reason of a flag that stands.
        Row::Rewritten => by_owner() || part == 'g',
        Row::Purged => part == 'j',
    }
}

impl Checker for LegalSteps {
    fn rule(&self) -> Rule {
        Rule::S2
    }

    fn name(&self) -> &'static str {
        "legal_steps"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        let Fact::Stored(revised) = fact else {
            return;
        };
        for other in &revised.others {
            if let Other::Node {
                role: Role::Worker,
                id,
                life,
            } = other
            {
                match life {
                    Some(life) => self.alive.insert(id.clone(), Registration(life.created)),
                    None => self.alive.remove(id),
                };
            }
            if let Other::Offer { id, life } = other {
                match life {
                    Some(_) => self.offers.insert(id.clone()),
                    None => self.offers.remove(id),
                };
            }
        }
        if revised.steps.is_empty() {
            return;
        }
        let writer = writer_of(revised);
        for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
            let why = match (row_of(step), writer) {
                (Err(why), _) => why.to_owned(),
                (Ok(row), None) => format!("{row:?} without a lane"),
                (Ok(row), Some(writer)) if !may(row, step, writer) => {
                    format!("{row:?} by {}, part {}", writer.0, writer.1)
                }
                (Ok(Row::Dispatched | Row::Placed), Some(_)) => match claim_of(&step.after) {
                    Some(claim) if !self.offers.contains(&claim.worker) => {
                        format!("dispatched to {}, which offers nothing", claim.worker)
                    }
                    Some(_) | None => continue,
                },
                (Ok(Row::Lost | Row::LostForGood(_)), Some(_)) => match claim_of(&step.before) {
                    Some(claim)
                        if claim.stop.is_none()
                            && self.alive.get(&claim.worker) == Some(&claim.registration) =>
                    {
                        format!("taken from {}, which lives", claim.worker)
                    }
                    Some(_) | None => continue,
                },
                (Ok(_), Some(_)) => continue,
            };
            let (task, rev) = (step.task, revised.at);
            let what = format!("{task} at revision {rev}: {why}");
            found.add(self, at, None, Some(task), what);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::time::Millis;

    use super::super::testing::{GATEWAY, History, SCHEDULER, count, lane_of};
    use super::*;
    use crate::book::{Ending, Spot, TaskState};

    fn history() -> History {
        let mut h = History::of(LegalSteps::default());
        let life = h.life(Some(1));
        h.offer("w1", Some(life));
        h
    }

    #[test]
    fn a_cancelled_task_that_waits_again_is_found() {
        for back in [
            History::hand_back,
            History::lose,
            |h: &mut History, task| {
                h.retry(task, 10);
            },
        ] {
            let mut h = history();
            let task = h.submit(None);
            h.dispatch(task, "w1");
            h.flag(task);
            h.cancel_running(task);
            back(&mut h, task);
            h.assert_tripped("a cancelled task waits again");
        }
    }

    #[test]
    fn a_time_out_that_is_written_over_a_cancel_is_found() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.cancel_running(task);
        h.flag(task);
        h.assert_tripped("a cancel was written over");
    }

    #[test]
    fn every_row_of_a_life_is_legal() {
        let mut h = history();
        let task = h.submit(Some(h.wall().after(Millis::new(100))));
        h.release(task);
        h.dispatch(task, "w1");
        h.lose(task);
        h.dispatch(task, "w1");
        h.hand_back(task);
        h.dispatch(task, "w1");
        h.retry(task, 10);
        h.release(task);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Failed);
        h.rerun(task);
        h.dispatch(task, "w1");
        h.flag(task);
        h.cancel_running(task);
        h.finish_task(task, Ending::Cancelled);
        h.rerun(task);
        h.cancel_waiting(task);
        h.purge(task);
        h.assert_clean();
    }

    #[test]
    fn an_attempt_that_is_counted_twice_is_no_row() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let spot = h.entry(&h.held(task), count(0, 0, 2));
        h.revise(SCHEDULER, task, |it| it.spots = vec![spot]);
        h.assert_tripped("did not come back");
    }

    #[test]
    fn a_stop_flag_is_never_lost() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.flag(task);
        let mut claim = h.held(task);
        claim.stop = None;
        h.revise(&lane_of("w1"), task, |it| {
            it.spots = vec![Spot::Claim(claim)]
        });
        h.assert_tripped("flag was lost");
    }

    #[test]
    fn a_task_that_completed_stays_so() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        h.finish_task(task, Ending::Completed);
        h.rerun(task);
        h.assert_tripped("run again");
    }

    #[test]
    fn only_its_own_worker_ends_an_attempt() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let end = h.end_of(task, Ending::Completed);
        h.end(&lane_of("w2"), task, end);
        h.assert_tripped("by w2");
    }

    #[test]
    fn a_claim_is_taken_from_a_living_worker_only_after_a_flag() {
        for (flagged, clean) in [(true, true), (false, false)] {
            let mut h = history();
            let life = crate::book::Life {
                created: windlass_core::ids::Revision(1),
                lease: None,
            };
            h.node_key("w1", Some(life));
            let task = h.submit(None);
            h.dispatch(task, "w1");
            if flagged {
                h.flag(task);
            }
            h.lose(task);
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("which lives");
            }
        }
    }

    #[test]
    fn a_worker_that_withdrew_its_offer_gets_nothing() {
        let mut h = history();
        let task = h.submit(None);
        h.offer("w1", None);
        h.dispatch(task, "w1");
        h.assert_tripped("offers nothing");
    }

    #[test]
    fn a_new_task_may_be_given_to_a_worker_that_offers_to_take_it() {
        for offers in [true, false] {
            let mut h = history();
            if !offers {
                h.offer("w1", None);
            }
            h.submit_placed("w1");
            if offers {
                h.assert_clean();
            } else {
                h.assert_tripped("offers nothing");
            }
        }
    }

    #[test]
    fn what_a_scheduler_takes_back_is_a_loss() {
        let mut h = history();
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let spot = h.entry(&h.held(task), count(0, 0, 0));
        h.revise(SCHEDULER, task, |it| it.spots = vec![spot]);
        h.assert_tripped("HandedBack by s1");
    }

    #[test]
    fn a_task_without_a_place_is_no_row() {
        let mut h = history();
        let task = h.task();
        let state = TaskState {
            spots: vec![],
            ..h.submitted_state(task, None)
        };
        h.revise(GATEWAY, task, |it| *it = state);
        h.assert_tripped("nowhere");
    }
}
