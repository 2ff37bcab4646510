//! S15: at each instant at most one handler holds a lock, as the handlers see it: from when it is told so until it gives
//! the lock back, ends, or dies with its process, whether or not it was ordered to stop meanwhile.
//!
//! A handler holds nothing any more once its worker's session is over by the worker's own clock: what it does then is
//! refused by whoever compares fences. The rule is suspended for a worker whose lease was ended early (`ExpireLease`,
//! `ExpireAll`), until its process ends, and for one whose clock ran wrong by more than the margin (`Drift`), until two of
//! its sessions later: nothing could tell them in time.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::{Fence, LockAsk, LockName, OpId};
use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::fact::{Fact, NodeIx};

/// Remembers who was told that it holds which lock.
#[derive(Debug)]
pub(super) struct LocksApart {
    ttl: Duration,
    roster: Roster,
    held: BTreeMap<LockName, Vec<Held>>,
}

#[derive(Debug)]
struct Held {
    node: NodeIx,
    run: OpId,
    ask: LockAsk,
    fence: Fence,
}

impl LocksApart {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            roster: Roster::default(),
            held: BTreeMap::new(),
        }
    }

    /// Whether the handler surely holds nothing any more, or cannot be judged.
    fn is_fenced(&self, at: Mono, held: &Held) -> bool {
        let Some(worker) = self.roster.get(held.node) else {
            return true;
        };
        let drifted = worker
            .drifts_until
            .is_some_and(|until| at < until.after(self.ttl * 2));
        !worker.up
            || worker.cast_out
            || drifted
            || worker.session_until.is_some_and(|until| until <= at)
    }

    fn judge(&self, at: Mono, lock: &LockName, found: &mut Findings) {
        let all = self.held.get(lock).into_iter().flatten();
        let unfenced: Vec<&Held> = all.filter(|it| !self.is_fenced(at, it)).collect();
        if let [first, .., last] = unfenced[..] {
            let what = format!(
                "lock {lock} is held on node {} under fence {} and on node {} under fence {}",
                first.node, first.fence, last.node, last.fence
            );
            found.add(self, at, Some(last.node), None, what);
        }
    }

    /// Whoever is meant holds nothing any more.
    fn let_go(&mut self, is_meant: impl Fn(&Held) -> bool) {
        for all in self.held.values_mut() {
            all.retain(|it| !is_meant(it));
        }
    }

    /// A session that was over begins again: who held a lock under it holds it still.
    fn reopen(&self, at: Mono, found: &mut Findings) {
        for lock in self.held.keys() {
            self.judge(at, lock, found);
        }
    }
}

impl Checker for LocksApart {
    fn rule(&self) -> Rule {
        Rule::S15
    }

    fn name(&self) -> &'static str {
        "locks_apart"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::SessionUntil { node, .. } = fact {
            let before = self.roster.get(*node).and_then(|it| it.session_until);
            self.roster.observe(at, fact);
            if before.is_some_and(|until| until <= at) {
                self.reopen(at, found);
            }
            return;
        }
        if fact.is_traffic() {
            return;
        }
        self.roster.observe(at, fact);
        if let Fact::Locked {
            node,
            run,
            ask,
            lock,
            fence,
        } = fact
        {
            let held = Held {
                node: *node,
                run: *run,
                ask: *ask,
                fence: *fence,
            };
            self.held.entry(lock.clone()).or_default().push(held);
            self.judge(at, lock, found);
        }
        if let Fact::Unlocked { node, run, ask } = fact {
            self.let_go(|it| (it.node, it.run, it.ask) == (*node, *run, *ask));
        }
        if let Fact::HandlerEnded { node, run, .. } = fact {
            self.let_go(|it| (it.node, it.run) == (*node, *run));
        }
        if let Fact::Down { node, .. } = fact {
            self.let_go(|it| it.node == *node);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;
    use windlass_core::record::StopReason;

    use super::super::testing::{History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    fn locked(h: &mut History, node: NodeIx, lock: &str) {
        h.fact(Fact::Locked {
            node,
            run: OpId(1),
            ask: LockAsk(0),
            lock: lock.parse().unwrap(),
            fence: Fence(Revision(10)),
        });
    }

    /// Two workers, the first of which holds the lock `l`.
    fn held() -> History {
        let mut h = History::of(LocksApart::new(&TERMS));
        h.worker(0, "w1");
        h.worker(1, "w2");
        locked(&mut h, 0, "l");
        h
    }

    #[test]
    fn two_holders_at_one_instant_are_found_even_if_one_is_to_stop() {
        let mut h = held();
        locked(&mut h, 1, "other");
        h.assert_clean();
        h.fact(Fact::StopOrdered {
            node: 0,
            run: OpId(1),
            reason: StopReason::TimeOut,
        });
        locked(&mut h, 1, "l");
        h.assert_tripped("lock l is held on node 0 under fence 10 and on node 1");
    }

    #[test]
    fn a_lock_is_free_once_its_holder_gave_it_back_or_died() {
        let mut h = held();
        h.fact(Fact::Unlocked {
            node: 0,
            run: OpId(1),
            ask: LockAsk(0),
        });
        locked(&mut h, 1, "l");
        h.down(1);
        locked(&mut h, 0, "l");
        h.assert_clean();
    }

    #[test]
    fn who_has_no_session_holds_nothing_until_it_begins_again() {
        let mut h = held();
        h.session(1, 60_000);
        h.pass(3_000);
        locked(&mut h, 1, "l");
        h.assert_clean();
        h.session(0, 3_000);
        h.assert_tripped("lock l is held");
    }

    #[test]
    fn nobody_is_blamed_whose_lease_was_ended_early() {
        let mut h = held();
        h.fault(FaultKind::ExpireLease, Some(0), 0);
        locked(&mut h, 1, "l");
        h.assert_clean();
    }
}
