//! L10: who waits for a lock keeps its place in the line for as long as it waits: there are as many places of clients that
//! got nothing yet as there are clients that have waited for longer than it takes to get in line.
//!
//! Suspended for a client whose gateway was told to leave, or that any fault has concerned since the client asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{LockName, NodeId};
use windlass_core::lock::attempt_of;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::fact::{Fact, NodeIx};

/// How long it may take to get in line: shorter than the shortest time to live of a place.
const IN_LINE: Duration = Duration::from_millis(1_950);

/// Remembers who waits, and who is in which line.
#[derive(Debug, Default)]
pub(super) struct PlacesKept {
    roster: Roster,
    open: BTreeMap<RequestId, Open>,
    /// The places of those who were not told yet that they hold the lock.
    places: BTreeMap<LockName, BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Open {
    node: NodeIx,
    lock: LockName,
    since: Mono,
    until: Mono,
}

impl PlacesKept {
    /// Whether a client surely has a place in its line.
    fn waits(&self, at: Mono, open: &Open) -> bool {
        let member = self.roster.get(open.node);
        let serves = member.is_some_and(|it| it.up && it.draining.is_none());
        serves
            && open.since.after(IN_LINE) <= at
            && at < open.until
            && self.roster.hurt_until(open.node) <= open.since
    }

    fn judge(&self, at: Mono, lock: &LockName, found: &mut Findings) {
        let of_lock = self.open.values().filter(|open| open.lock == *lock);
        let waiting = of_lock.filter(|open| self.waits(at, open)).count();
        let places = self.places.get(lock).map_or(0, BTreeSet::len);
        if places < waiting {
            let what = format!("{waiting} clients wait for lock {lock}, in {places} places");
            found.add(self, at, None, None, what);
        }
    }

    fn place(
        &mut self,
        at: Mono,
        lock: &LockName,
        waiter: &NodeId,
        is_there: bool,
        found: &mut Findings,
    ) {
        if attempt_of(waiter).is_some() {
            return;
        }
        let line = self.places.entry(lock.clone()).or_default();
        if is_there {
            line.insert(waiter.clone());
        } else if line.remove(waiter) {
            self.judge(at, lock, found);
        }
    }

    fn answer(&mut self, id: RequestId, reply: &Reply) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        if let Reply::Lock { token, .. } = reply
            && let Some(line) = self.places.get_mut(&open.lock)
        {
            line.remove(&token.waiter);
        }
    }
}

impl Checker for PlacesKept {
    fn rule(&self) -> Rule {
        Rule::L10
    }

    fn name(&self) -> &'static str {
        "places_kept"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.roster.observe(at, fact);
        if let Fact::Stored(revised) = fact {
            for (lock, waiter, life) in revised.waiters() {
                self.place(at, lock, waiter, life.is_some(), found);
            }
        }
        if let Fact::Asked { id, node, request } = fact
            && let Request::LockTake { lock, wait, .. } = &**request
        {
            let open = Open {
                node: *node,
                lock: lock.clone(),
                since: at,
                until: at.after(*wait),
            };
            self.open.insert(*id, open);
        }
        if let Fact::Answered { id, reply, .. } = fact {
            self.answer(*id, reply);
        }
        if let Fact::Down { node, .. } = fact {
            self.open.retain(|_, open| open.node != *node);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::keyspace::Role;

    use super::super::testing::{History, granted};
    use super::*;
    use crate::nemesis::FaultKind;

    fn take(h: &mut History, id: u64) {
        let request = Request::LockTake {
            lock: "l".parse().unwrap(),
            owner: None,
            ttl: Duration::from_secs(2),
            wait: Duration::from_secs(10),
        };
        h.ask(id, request);
    }

    fn history() -> History {
        let mut h = History::of(PlacesKept::default());
        h.boot(0, Role::Scheduler, "s1", 0);
        h
    }

    #[test]
    fn who_gets_the_lock_or_has_waited_long_enough_leaves_the_line() {
        let mut h = history();
        for (id, name) in [(1, "a"), (2, "b")] {
            take(&mut h, id);
            let fence = h.wait_in_line(name, 1);
            h.pass(3_000);
            if id == 1 {
                h.answer(id, granted(fence, name, 1));
            }
        }
        h.leave_line("a");
        h.pass(8_000);
        h.leave_line("b");
        h.assert_clean();
    }

    #[test]
    fn a_place_that_is_lost_while_its_client_waits_is_found() {
        let mut h = history();
        take(&mut h, 1);
        h.wait_in_line("a", 1);
        take(&mut h, 2);
        h.wait_in_line("b", 2);
        h.pass(2_000);
        h.leave_line("a");
        h.assert_tripped("2 clients wait for lock l, in 1 places");
    }

    #[test]
    fn a_fault_excuses_the_clients_of_its_node() {
        let mut h = history();
        take(&mut h, 1);
        h.wait_in_line("a", 1);
        h.pass(1_000);
        h.fault(FaultKind::LoseRequest, Some(0), 0);
        h.pass(1_000);
        h.leave_line("a");
        h.assert_clean();
    }
}
