//! S15: nobody is told that a lock is theirs when it is not any more: whoever is told so had a key in the line when the
//! question was asked, or got it since; and whoever was told that a lock is given back has left the line. With S4, which
//! says that the told fence was first in line, and whose order is that of creation, no two holders overlap in the
//! store's eyes.
//!
//! No fault suspends it.

use std::collections::BTreeMap;

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{LockName, NodeId, Revision};
use windlass_core::time::Mono;

use super::{Checker, Findings, Rule};
use crate::book::Life;
use crate::fact::{Fact, NodeIx};

/// Remembers when each waiter came and went.
#[derive(Debug, Default)]
pub(super) struct LockOrder {
    /// When it went; `None` while it is there.
    waiters: BTreeMap<(LockName, NodeId), (Revision, Option<Mono>)>,
    asked: BTreeMap<RequestId, (Mono, Asked)>,
}

#[derive(Debug)]
enum Asked {
    Hold(LockName),
    Release(LockName, NodeId),
}

impl LockOrder {
    fn waiter(&mut self, at: Mono, lock: &LockName, waiter: &NodeId, life: Option<Life>) {
        let key = (lock.clone(), waiter.clone());
        match life {
            Some(life) => {
                self.waiters.insert(key, (life.created, None));
            }
            None => {
                if let Some((_, gone)) = self.waiters.get_mut(&key) {
                    *gone = Some(at);
                }
            }
        }
    }

    fn ask(&mut self, at: Mono, id: RequestId, request: &Request) {
        let asked = match request {
            Request::LockTake { lock, .. } | Request::LockRenew { lock, .. } => {
                Asked::Hold(lock.clone())
            }
            Request::LockRelease { lock, token } => {
                Asked::Release(lock.clone(), token.waiter.clone())
            }
            Request::Submit(_)
            | Request::Get { .. }
            | Request::List { .. }
            | Request::Find { .. }
            | Request::Count(_)
            | Request::Why(_)
            | Request::Cancel(_)
            | Request::Rerun(_)
            | Request::Stats
            | Request::Queues
            | Request::Changes { .. }
            | Request::Timings
            | Request::Nodes
            | Request::ConfigureQueue { .. }
            | Request::Drain(_)
            | Request::Remote(_) => return,
        };
        self.asked.insert(id, (at, asked));
    }

    fn answer(
        &mut self,
        at: Mono,
        id: RequestId,
        node: NodeIx,
        reply: &Reply,
        found: &mut Findings,
    ) {
        let Some((since, asked)) = self.asked.remove(&id) else {
            return;
        };
        let why = match (asked, reply) {
            (Asked::Hold(lock), Reply::Lock { fence, token, .. }) => {
                let there = self.waiters.get(&(lock.clone(), token.waiter.clone()));
                let held = there.is_some_and(|(created, gone)| {
                    *created == fence.0 && gone.is_none_or(|gone| gone >= since)
                });
                (!held)
                    .then(|| format!("lock {lock} was given under fence {fence} after it was gone"))
            }
            (Asked::Release(lock, waiter), Reply::Done) => {
                let key = (lock, waiter);
                let there = self
                    .waiters
                    .get(&key)
                    .is_some_and(|(_, gone)| gone.is_none());
                let (lock, waiter) = key;
                there.then(|| format!("lock {lock} was given back, and {waiter} is in line"))
            }
            (Asked::Hold(_) | Asked::Release(..), _) => None,
        };
        if let Some(what) = why {
            found.add(self, at, Some(node), None, what);
        }
    }
}

impl Checker for LockOrder {
    fn rule(&self) -> Rule {
        Rule::S15
    }

    fn name(&self) -> &'static str {
        "lock_order"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for (lock, waiter, life) in revised.waiters() {
                self.waiter(at, lock, waiter, life);
            }
        }
        if let Fact::Asked { id, request, .. } = fact {
            self.ask(at, *id, request);
        }
        if let Fact::Answered { id, node, reply } = fact {
            self.answer(at, *id, *node, reply, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, granted, take_lock, token};
    use super::*;

    fn renew(h: &mut History, id: u64) {
        let request = Request::LockRenew {
            lock: "l".parse().unwrap(),
            token: token("a", 1),
        };
        h.ask(id, request);
    }

    fn release(h: &mut History, id: u64) {
        let request = Request::LockRelease {
            lock: "l".parse().unwrap(),
            token: token("a", 1),
        };
        h.ask(id, request);
    }

    #[test]
    fn a_lock_is_taken_renewed_and_given_back() {
        let mut h = History::of(LockOrder::default());
        take_lock(&mut h, 1);
        let fence = h.wait_in_line("a", 1);
        h.answer(1, granted(fence, "a", 1));
        renew(&mut h, 2);
        h.leave_line("a");
        h.answer(2, granted(fence, "a", 1));
        release(&mut h, 3);
        h.answer(3, Reply::Done);
        h.assert_clean();
    }

    #[test]
    fn a_lock_that_was_gone_when_it_was_asked_for_is_not_held() {
        let mut h = History::of(LockOrder::default());
        let fence = h.wait_in_line("a", 1);
        h.leave_line("a");
        h.pass(1);
        renew(&mut h, 1);
        h.answer(1, granted(fence, "a", 1));
        h.assert_tripped("after it was gone");
    }

    #[test]
    fn a_lock_that_was_given_back_is_free() {
        let mut h = History::of(LockOrder::default());
        h.wait_in_line("a", 1);
        release(&mut h, 1);
        h.answer(1, Reply::Done);
        h.assert_tripped("is in line");
    }
}
