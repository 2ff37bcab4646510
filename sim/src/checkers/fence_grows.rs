//! S4: the fences of a task strictly increase, from claim to claim and from start to start. So do those of a lock, from
//! waiter to waiter; and whoever, client or handler, is told a lock's fence is told that of the waiter's own key, once it was first in line.
//!
//! No fault suspends it in the store. That a handler does not start under an older fence than another did is not asked of
//! a worker whose lease was ended early (`ExpireLease`, `ExpireAll`), whose clock ran wrong (`Drift`), or whose news are
//! late or cut off (`DelayWatch`, `MuteWatch`, `Cut…`): it does not know yet, and its fence tells everybody else.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{Fence, LockAsk, LockName, NodeId, OpId, Revision, TaskId};
use windlass_core::lock::waiter_of;
use windlass_core::time::Mono;

use super::holders::Holders;
use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::book::{Life, Other, Spot};
use crate::fact::{Fact, NodeIx};

/// Remembers the largest fence of each task and lock, and who held each lock.
#[derive(Debug, Default)]
pub(super) struct FenceGrows {
    roster: Roster,
    claimed: BTreeMap<TaskId, Fence>,
    started: BTreeMap<TaskId, Fence>,
    locks: BTreeMap<Option<LockName>, Line>,
    asked: BTreeMap<RequestId, LockName>,
    handlers: Holders,
}

/// Those who wait for a lock.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<NodeId, Revision>,
    newest: Revision,
    /// Whoever was first in line, ever.
    held: BTreeSet<(Revision, NodeId)>,
}

impl FenceGrows {
    fn claim(&mut self, at: Mono, task: TaskId, fence: Fence, found: &mut Findings) {
        let last = self.claimed.insert(task, fence);
        if let Some(last) = last.filter(|last| *last >= fence) {
            let what = format!("{task} was claimed under fence {fence} after {last}");
            found.add(self, at, None, Some(task), what);
        }
    }

    fn start(&mut self, at: Mono, node: NodeIx, task: TaskId, fence: Fence, found: &mut Findings) {
        let last = self.started.entry(task).or_insert(fence);
        let before = std::mem::replace(last, fence.max(*last));
        let is_deaf = self.roster.deaf_until(node) >= at;
        let member = self.roster.get(node);
        let cannot_know =
            is_deaf || member.is_some_and(|it| it.cast_out || it.drifts_until.is_some());
        if before > fence && !cannot_know {
            let what = format!("{task} was started under fence {fence} after {before}");
            found.add(self, at, Some(node), Some(task), what);
        }
    }

    fn waiter(
        &mut self,
        at: Mono,
        lock: &Option<LockName>,
        waiter: &NodeId,
        life: Option<Life>,
        found: &mut Findings,
    ) {
        let line = self.locks.entry(lock.clone()).or_default();
        let before = match life {
            Some(life) => line.waiting.insert(waiter.clone(), life.created),
            None => line.waiting.remove(waiter),
        };
        let first = line
            .waiting
            .iter()
            .map(|(id, created)| (*created, id.clone()));
        line.held.extend(first.min());
        let Some(life) = life.filter(|life| before != Some(life.created)) else {
            return;
        };
        let newest = std::mem::replace(&mut line.newest, life.created);
        if newest >= life.created {
            let name = lock.as_ref().map_or("@janitor", LockName::as_str);
            let what = format!(
                "a waiter of lock {name} was created at {} after {newest}",
                life.created
            );
            found.add(self, at, None, None, what);
        }
    }

    fn answer(&mut self, at: Mono, id: RequestId, reply: &Reply, found: &mut Findings) {
        let Some(lock) = self.asked.remove(&id) else {
            return;
        };
        let Reply::Lock { fence, token, .. } = reply else {
            return;
        };
        self.given(at, &lock, *fence, &token.waiter, found);
    }

    fn given(
        &self,
        at: Mono,
        lock: &LockName,
        fence: Fence,
        waiter: &NodeId,
        found: &mut Findings,
    ) {
        let line = self.locks.get(&Some(lock.clone()));
        if !line.is_some_and(|line| line.held.contains(&(fence.0, waiter.clone()))) {
            let what = format!("lock {lock} was given under fence {fence}, which did not hold it");
            found.add(self, at, None, None, what);
        }
    }

    fn told(
        &self,
        at: Mono,
        handler: (NodeIx, OpId, LockAsk),
        lock: &LockName,
        fence: Fence,
        found: &mut Findings,
    ) {
        let (node, run, ask) = handler;
        if let Some((task, claimed)) = self.handlers.attempt(node, run) {
            self.given(at, lock, fence, &waiter_of(task, claimed, ask), found);
        }
    }
}

impl Checker for FenceGrows {
    fn rule(&self) -> Rule {
        Rule::S4
    }

    fn name(&self) -> &'static str {
        "fence_grows"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.handlers.observe(at, fact);
        match fact {
            Fact::Stored(revised) => {
                for step in &revised.steps {
                    for spot in &step.after.spots {
                        let is_old = |claim: &crate::book::Claim| {
                            step.before
                                .spots
                                .iter()
                                .any(|it| matches!(it, Spot::Claim(it) if it.fence == claim.fence))
                        };
                        if let Spot::Claim(claim) = spot
                            && !is_old(claim)
                        {
                            self.claim(at, step.task, claim.fence, found);
                        }
                    }
                }
                for other in &revised.others {
                    if let Other::Waiter { lock, waiter, life } = other {
                        self.waiter(at, lock, waiter, *life, found);
                    }
                }
            }
            Fact::Started {
                node, task, fence, ..
            } => self.start(at, *node, *task, *fence, found),
            Fact::Asked { id, request, .. } => {
                if let Request::LockTake { lock, .. } | Request::LockRenew { lock, .. } = &**request
                {
                    self.asked.insert(*id, lock.clone());
                }
            }
            Fact::Locked {
                node,
                run,
                ask,
                lock,
                fence,
            } => self.told(at, (*node, *run, *ask), lock, *fence, found),
            Fact::Answered { id, reply, .. } => self.answer(at, *id, reply, found),
            Fact::Booted { .. } | Fact::Fault { .. } => self.roster.observe(at, fact),
            Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Down { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Unlocked { .. }
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
    use super::super::testing::{History, SCHEDULER, granted, take_lock};
    use super::*;
    use crate::nemesis::FaultKind;

    #[test]
    fn later_claims_have_larger_fences() {
        let mut h = History::of(FenceGrows::default());
        let task = h.submit(None);
        let first = h.dispatch(task, "w1");
        h.start(0, 1, task, first);
        h.flag(task);
        h.lose(task);
        let second = h.dispatch(task, "w2");
        h.start(1, 1, task, second);
        h.assert_clean();
    }

    #[test]
    fn a_claim_under_an_older_fence_is_found() {
        let mut h = History::of(FenceGrows::default());
        let task = h.submit(None);
        h.dispatch(task, "w1");
        let old = h.held(task);
        h.lose(task);
        h.dispatch(task, "w2");
        h.lose(task);
        h.revise(SCHEDULER, task, |it| it.spots = vec![Spot::Claim(old)]);
        h.assert_tripped("was claimed under");
    }

    #[test]
    fn a_start_under_an_older_fence_is_found_unless_its_worker_was_cast_out() {
        for (fault, clean) in [(None, false), (Some(FaultKind::ExpireLease), true)] {
            let mut h = History::of(FenceGrows::default());
            h.worker(0, "w1");
            let task = h.submit(None);
            let first = h.dispatch(task, "w1");
            h.lose(task);
            let second = h.dispatch(task, "w2");
            h.start(1, 1, task, second);
            if let Some(kind) = fault {
                h.fault(kind, Some(0), 0);
            }
            h.start(0, 1, task, first);
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("was started under");
            }
        }
    }

    #[test]
    fn a_lock_is_given_to_those_who_were_first_in_line() {
        let mut h = History::of(FenceGrows::default());
        take_lock(&mut h, 1);
        let first = h.wait_in_line("a", 1);
        let second = h.wait_in_line("b", 2);
        h.answer(1, granted(first, "a", 1));
        h.leave_line("a");
        take_lock(&mut h, 2);
        h.answer(2, granted(second, "b", 2));
        h.assert_clean();
    }

    #[test]
    fn a_lock_is_not_given_to_whoever_still_waits() {
        let mut h = History::of(FenceGrows::default());
        take_lock(&mut h, 1);
        h.wait_in_line("a", 1);
        let second = h.wait_in_line("b", 2);
        h.answer(1, granted(second, "b", 2));
        h.assert_tripped("did not hold it");
    }

    #[test]
    fn a_handler_is_told_that_it_holds_a_lock_once_it_is_first_in_line() {
        for first in [true, false] {
            let mut h = History::of(FenceGrows::default());
            h.worker(0, "w1");
            let task = h.submit(None);
            let claimed = h.dispatch(task, "w1");
            h.start(0, 1, task, claimed);
            if !first {
                h.wait_in_line("a", 1);
            }
            let ask = LockAsk(3);
            let waiter = waiter_of(task, claimed, ask);
            let fence = h.wait_in_line(waiter.as_str(), 2);
            h.fact(Fact::Locked {
                node: 0,
                run: OpId(1),
                ask,
                lock: "l".parse().unwrap(),
                fence,
            });
            if first {
                h.assert_clean();
            } else {
                h.assert_tripped("did not hold it");
            }
        }
    }

    #[test]
    fn waiters_that_came_in_one_revision_share_a_fence() {
        let mut h = History::of(FenceGrows::default());
        let life = Some(h.life(Some(1)));
        let lock = Some("l".parse().unwrap());
        let waiter = |name: &str| Other::Waiter {
            lock: lock.clone(),
            waiter: name.parse().unwrap(),
            life,
        };
        h.store_bare(vec![], vec![waiter("a"), waiter("b")]);
        h.assert_tripped("a waiter of lock l");
    }
}
