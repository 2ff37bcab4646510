//! S7: a handler starts only under a claim that the store had committed, on the claim's own worker, while the worker's
//! session lasts, at most once under one fence, with just what was accepted, and neither while the worker's view of its
//! claims has a gap nor after it has shown, or could have shown, that the claim is gone.
//!
//! That the session lasts is not asked of a worker whose clock runs wrong (`Drift`). A claim that is gone could have been
//! seen after a time to live and two seconds in which no fault concerned the worker. Nothing else is ever suspended.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::{Fence, NodeId, Revision, TaskId};
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::claim_of;
use super::{Checker, Findings, Rule, Terms};
use crate::book::TaskStep;
use crate::fact::{Fact, NodeIx};

/// Remembers every claim that was committed.
#[derive(Debug)]
pub(super) struct StartsAfterCommit {
    seen_after: Duration,
    roster: Roster,
    claims: BTreeMap<(TaskId, Fence), Claimed>,
}

#[derive(Debug)]
struct Claimed {
    worker: NodeId,
    /// What its attempt is to get of the task.
    given: Option<u64>,
    gone: Option<(Mono, Revision)>,
    started: bool,
}

/// What is known of a start.
#[derive(Debug)]
struct Start {
    node: NodeIx,
    task: TaskId,
    fence: Fence,
    view: Option<Revision>,
    given: Option<u64>,
}

impl StartsAfterCommit {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            seen_after: Duration::from_millis(terms.ttl_ms + 2_000),
            roster: Roster::default(),
            claims: BTreeMap::new(),
        }
    }

    fn step(&mut self, at: Mono, rev: Revision, step: &TaskStep) {
        let (before, after) = (claim_of(&step.before), claim_of(&step.after));
        if let Some(claim) = after {
            let worker = || claim.worker.clone();
            let given = step.after.promised.as_ref().map(|it| it.given);
            self.claims
                .entry((step.task, claim.fence))
                .or_insert_with(|| Claimed {
                    worker: worker(),
                    given,
                    gone: None,
                    started: false,
                });
        }
        if let Some(claim) = before.filter(|it| after.is_none_or(|after| after.fence != it.fence))
            && let Some(claimed) = self.claims.get_mut(&(step.task, claim.fence))
        {
            claimed.gone = Some((at, rev));
        }
    }

    fn start(&mut self, at: Mono, start: &Start, found: &mut Findings) {
        let Start {
            node,
            task,
            fence,
            view,
            given,
        } = *start;
        let member = self.roster.get(node);
        let claimed = self.claims.get_mut(&(task, fence));
        let id = member.map(|member| &member.id);
        let late = |(gone, _): (Mono, Revision)| {
            let calm = self.roster.hurt_until(node).max(gone);
            calm.after(self.seen_after) < at
        };
        let over = member.is_some_and(|member| {
            member.drifts_until.is_none() && member.session_until.is_none_or(|until| until <= at)
        });
        let why = match claimed {
            None => Some("under a fence that no claim had"),
            Some(claimed) if Some(&claimed.worker) != id => Some("where it was not claimed"),
            Some(claimed) if claimed.started => Some("twice"),
            Some(claimed) if given.is_some_and(|got| claimed.given.is_some_and(|it| it != got)) => {
                Some("with something else than what was accepted")
            }
            Some(_) if over => Some("without a session"),
            Some(_) if view.is_none() => Some("while the view of claims had a gap"),
            Some(claimed) if claimed.gone.is_some_and(|(_, rev)| Some(rev) <= view) => {
                Some("though the worker's view shows no such claim")
            }
            Some(claimed) if claimed.gone.is_some_and(late) => {
                Some("long after its claim was gone")
            }
            Some(claimed) => {
                claimed.started = true;
                None
            }
        };
        if let Some(why) = why {
            let what = format!("{task} was started {why}, fence {fence}, node {node}");
            found.add(self, at, Some(node), Some(task), what);
        }
    }
}

impl Checker for StartsAfterCommit {
    fn rule(&self) -> Rule {
        Rule::S7
    }

    fn name(&self) -> &'static str {
        "starts_after_commit"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        match fact {
            Fact::Stored(revised) => {
                for step in &revised.steps {
                    self.step(at, revised.at, step);
                }
            }
            Fact::Started {
                node,
                task,
                fence,
                view,
                given,
                ..
            } => {
                let start = Start {
                    node: *node,
                    task: *task,
                    fence: *fence,
                    view: *view,
                    given: *given,
                };
                self.start(at, &start, found);
            }
            Fact::Booted { .. }
            | Fact::Down { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::SessionUntil { .. }
            | Fact::Fault { .. } => self.roster.observe(at, fact),
            Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Draining { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Phase(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::{Attempt, OpId};

    use super::super::testing::{GIVEN, History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    fn history() -> History {
        let mut h = History::of(StartsAfterCommit::new(&TERMS));
        h.worker(0, "w1");
        h
    }

    #[test]
    fn a_committed_claim_is_started_once() {
        let mut h = history();
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.start(0, 1, task, fence);
        h.assert_clean();
        h.start(0, 2, task, fence);
        h.assert_tripped("twice");
    }

    #[test]
    fn nothing_starts_before_its_claim_is_committed_or_elsewhere() {
        let mut h = history();
        h.worker(1, "w2");
        let task = h.submit(None);
        h.start(0, 1, task, Fence(Revision(99)));
        h.assert_tripped("no claim had");
        let fence = h.dispatch(task, "w1");
        h.start(1, 1, task, fence);
        h.assert_tripped("not claimed");
    }

    #[test]
    fn nothing_starts_after_the_session() {
        let mut h = history();
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.pass(3_000);
        h.start(0, 1, task, fence);
        h.assert_tripped("without a session");
    }

    #[test]
    fn nothing_starts_that_the_workers_own_view_does_not_show() {
        for (gap, why) in [(true, "had a gap"), (false, "shows no such claim")] {
            let mut h = history();
            let task = h.submit(None);
            let fence = h.dispatch(task, "w1");
            h.lose(task);
            let known = Revision(h.next_revision().0 - 1);
            let view = Some(known).filter(|_| !gap);
            h.fact(Fact::Started {
                node: 0,
                run: OpId(1),
                task,
                fence,
                attempt: Attempt(1),
                view,
                given: None,
            });
            h.assert_tripped(why);
        }
    }

    #[test]
    fn a_handler_gets_just_what_was_accepted() {
        for (given, clean) in [(None, true), (Some(GIVEN), true), (Some(GIVEN + 1), false)] {
            let mut h = history();
            let task = h.submit(None);
            let fence = h.dispatch(task, "w1");
            h.fact(Fact::Started {
                node: 0,
                run: OpId(1),
                task,
                fence,
                attempt: Attempt(1),
                view: Some(fence.0),
                given,
            });
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("something else than what was accepted");
            }
        }
    }

    #[test]
    fn a_claim_that_is_gone_for_long_is_not_started_unless_a_fault_hid_that() {
        for (muted, clean) in [(false, false), (true, true)] {
            let mut h = history();
            let task = h.submit(None);
            let fence = h.dispatch(task, "w1");
            h.lose(task);
            if muted {
                h.fault(FaultKind::MuteWatch, Some(0), 5_000);
            }
            h.pass(5_001);
            h.session(0, 3_000);
            h.start(0, 1, task, fence);
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("claim was gone");
            }
        }
    }
}
