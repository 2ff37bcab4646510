//! L10: once healed, a waiter or holder of a lock of whom nothing is heard any more is out of the line after the time to
//! live of its lease and two seconds.
//!
//! A handler is heard of for as long as it runs; one that gave its lock back is not.
//!
//! Judged from the phase of liveness on. Time counts from the last sign of life (a reply about the lock, the end of a
//! wait or a renewal that may be under way; for the janitor's lock, the end of the process; for a handler, its end, or that
//! of the last fault that concerned its node), or from when the healed
//! nodes are on their feet, or from the end of the last fault that concerned everybody, whichever is latest.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::gateway::{Reply, Request};
use windlass_core::ids::{LeaseId, LockName, NodeId};
use windlass_core::lock::{attempt_of, waiter_of};
use windlass_core::time::Mono;

use super::holders::Holders;
use super::roster::Roster;
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Life, Other};
use crate::fact::{Fact, NodeIx, Phase};

/// How long a gateway works on a request that waits for nothing but the store.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Remembers who is in which line, and when they were last heard of.
#[derive(Debug)]
pub(super) struct LockFreed {
    terms: Terms,
    roster: Roster,
    ttls: BTreeMap<LeaseId, Duration>,
    waiters: BTreeMap<(Option<LockName>, NodeId), Waiter>,
    /// Until when a question about a lock may keep some waiter alive.
    asked_until: BTreeMap<LockName, Mono>,
    healed: Option<Mono>,
    handlers: Holders,
    /// Handlers that gave a lock back, or wait for it no more, and when.
    released: BTreeMap<NodeId, (NodeIx, Mono)>,
}

#[derive(Debug)]
struct Waiter {
    ttl: Duration,
    heard: Mono,
}

impl LockFreed {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            roster: Roster::default(),
            ttls: BTreeMap::new(),
            waiters: BTreeMap::new(),
            asked_until: BTreeMap::new(),
            healed: None,
            handlers: Holders::default(),
            released: BTreeMap::new(),
        }
    }

    fn waiter(
        &mut self,
        at: Mono,
        key: (Option<LockName>, NodeId),
        life: Option<Life>,
        found: &mut Findings,
    ) {
        let Some(life) = life else {
            if let Some(waiter) = self.waiters.remove(&key) {
                self.judge(at, &key, &waiter, found);
            }
            return;
        };
        let default = Duration::from_millis(self.terms.ttl_ms);
        let ttl = life.lease.and_then(|lease| self.ttls.get(&lease).copied());
        let waiter = Waiter {
            ttl: ttl.unwrap_or(default),
            heard: at,
        };
        self.waiters.insert(key, waiter);
    }

    /// When somebody was last heard of.
    fn heard(&self, at: Mono, (lock, id): &(Option<LockName>, NodeId), waiter: &Waiter) -> Mono {
        let Some(lock) = lock else {
            let mut own = self.roster.named(id.as_str());
            let up = own.any(|member| member.up);
            let since = self.roster.named(id.as_str()).map(|member| member.since);
            return if up {
                at
            } else {
                since.max().unwrap_or(waiter.heard)
            };
        };
        if let Some((task, fence)) = attempt_of(id) {
            let (node, left) = match (self.released.get(id), self.handlers.life_of(task, fence)) {
                (Some((node, left)), _) => (*node, Some(*left)),
                (None, Some(life)) => (life.node, life.ended),
                (None, None) => return waiter.heard,
            };
            let left = left.unwrap_or(at);
            return waiter.heard.max(left).max(self.roster.hurt_until(node));
        }
        let asked = self.asked_until.get(lock).copied().unwrap_or_default();
        waiter.heard.max(asked)
    }

    fn judge(
        &self,
        at: Mono,
        key: &(Option<LockName>, NodeId),
        waiter: &Waiter,
        found: &mut Findings,
    ) {
        let Some(healed) = self.healed else {
            return;
        };
        let heard = self.heard(at, key, waiter);
        let from = heard
            .max(self.terms.awake(healed))
            .max(self.roster.everybody_hurt_until());
        if from.after(waiter.ttl + Duration::from_secs(2)) < at {
            let lock = key.0.as_ref().map_or("@janitor", LockName::as_str);
            let millis = at.since(from).as_millis();
            let what = format!("{} is in the line of {lock}, silent for {millis} ms", key.1);
            found.add(self, at, None, None, what);
        }
    }

    fn ask(&mut self, at: Mono, request: &Request) {
        let (lock, until) = match request {
            Request::LockTake { lock, wait, .. } => (lock, at.after(*wait)),
            Request::LockRenew { lock, .. } => (lock, at.after(REQUEST_MAX)),
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
            | Request::LockRelease { .. }
            | Request::Remote(_) => return,
        };
        let asked = self.asked_until.entry(lock.clone()).or_default();
        *asked = until.max(*asked);
    }

    fn answer(&mut self, at: Mono, reply: &Reply) {
        if let Reply::Lock { token, .. } = reply {
            let named = self.waiters.iter_mut();
            for (_, waiter) in named.filter(|((_, name), _)| *name == token.waiter) {
                waiter.heard = at;
            }
        }
    }
}

impl Checker for LockFreed {
    fn rule(&self) -> Rule {
        Rule::L10
    }

    fn name(&self) -> &'static str {
        "lock_freed"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.handlers.observe(at, fact);
        match fact {
            Fact::Stored(revised) => {
                for other in &revised.others {
                    if let Other::Waiter { lock, waiter, life } = other {
                        self.waiter(at, (lock.clone(), waiter.clone()), *life, found);
                    }
                }
            }
            Fact::Leased { lease, ttl } => {
                self.ttls.insert(*lease, Duration::from(*ttl));
            }
            Fact::LeaseEnded { lease } => {
                self.ttls.remove(lease);
            }
            Fact::Asked { request, .. } => self.ask(at, request),
            Fact::Answered { reply, .. } => self.answer(at, reply),
            Fact::Phase(Phase::Liveness) => {
                self.healed.get_or_insert(at);
            }
            Fact::Booted { .. }
            | Fact::Down { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::Fault { .. } => self.roster.observe(at, fact),
            Fact::Unlocked { node, run, ask } => {
                if let Some((task, fence)) = self.handlers.attempt(*node, *run) {
                    let waiter = waiter_of(task, fence, *ask);
                    self.released.insert(waiter, (*node, at));
                }
            }
            Fact::Phase(_)
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::Started { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. } => {}
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        for (key, waiter) in &self.waiters {
            self.judge(at, key, waiter, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::{Fence, LockAsk, OpId, TaskId};
    use windlass_core::keyspace::Role;

    use super::super::testing::{History, TERMS, granted, take_lock};
    use super::*;

    fn history() -> History {
        let mut h = History::of(LockFreed::new(&TERMS));
        h.fact(Fact::Leased {
            lease: LeaseId(1),
            ttl: windlass_core::time::Millis::new(3_000),
        });
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(20_000);
        h
    }

    #[test]
    fn a_holder_that_is_heard_of_may_hold() {
        let mut h = history();
        take_lock(&mut h, 1);
        let fence = h.wait_in_line("a", 1);
        h.pass(4_000);
        h.answer(1, granted(fence, "a", 1));
        h.pass(5_000);
        h.leave_line("a");
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_silent_holder_that_stays_is_found() {
        let mut h = history();
        h.wait_in_line("a", 1);
        h.pass(5_001);
        h.finish();
        h.assert_tripped("silent for 5001 ms");
    }

    /// A handler that holds the lock `l` under the name that is returned.
    fn handler_in_line(h: &mut History) -> (TaskId, Fence, String) {
        h.worker(0, "w1");
        let task = h.submit(None);
        let fence = h.dispatch(task, "w1");
        h.start(0, 1, task, fence);
        let waiter = waiter_of(task, fence, LockAsk(0)).to_string();
        h.wait_in_line(&waiter, 1);
        (task, fence, waiter)
    }

    #[test]
    fn a_handler_may_hold_to_its_end_and_then_leaves_the_line() {
        let mut h = history();
        let (task, fence, _) = handler_in_line(&mut h);
        h.pass(60_000);
        h.finish();
        h.assert_clean();
        h.handler_ends(0, 1, task, fence);
        h.pass(5_001);
        h.finish();
        h.assert_tripped("silent for 5001 ms");
    }

    #[test]
    fn a_handler_that_gave_its_lock_back_leaves_the_line_though_it_runs_on() {
        let mut h = history();
        let (_, _, waiter) = handler_in_line(&mut h);
        h.fact(Fact::Unlocked {
            node: 0,
            run: OpId(1),
            ask: LockAsk(0),
        });
        h.pass(4_999);
        h.leave_line(&waiter);
        h.finish();
        h.assert_clean();
        let (_, _, _) = handler_in_line(&mut h);
        h.fact(Fact::Unlocked {
            node: 0,
            run: OpId(1),
            ask: LockAsk(0),
        });
        h.pass(5_001);
        h.finish();
        h.assert_tripped("silent for 5001 ms");
    }

    #[test]
    fn the_janitor_of_a_process_that_ended_leaves_the_line() {
        let mut h = history();
        h.boot(0, Role::Scheduler, "s1", 0);
        h.janitor("s1", Some(1));
        h.pass(60_000);
        h.finish();
        h.assert_clean();
        h.down(0);
        h.pass(5_001);
        h.finish();
        h.assert_tripped("line of @janitor");
    }
}
