//! S16: every key of a node, an offer or a waiter for a lock hangs on a lease that lives, on the same one as long as the
//! key lives, and an offer on its worker's; a lease that ends leaves none of its keys; and at rest hardly any lease is
//! kept alive for nothing.
//!
//! No fault suspends it: leases that end early (`ExpireLease`, `ExpireAll`) take their keys along as well. A lease
//! without keys is held against the system only when it has outlived its time to live three times: a grant whose answer
//! was lost ends by itself. A node whose answers are lost to the end may keep one alive that it has no use for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::ids::{LeaseId, LockName, NodeId};
use windlass_core::keyspace::Role;
use windlass_core::time::{Millis, Mono};

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::book::{Life, Other};
use crate::fact::Fact;

/// How many leases may be kept alive without keys.
const KEYLESS_MAX: usize = 2;

/// Remembers every leased key, and every lease.
#[derive(Debug, Default)]
pub(super) struct LeasedKeys {
    keys: BTreeMap<Name, Life>,
    leases: BTreeMap<LeaseId, Lease>,
    roster: Roster,
}

#[derive(Debug)]
struct Lease {
    ttl: Millis,
    keys: BTreeSet<Name>,
    keyless_since: Mono,
}

/// A leased key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Node(Role, NodeId),
    Offer(NodeId),
    Waiter(Option<LockName>, NodeId),
}

impl LeasedKeys {
    fn put(&mut self, at: Mono, name: Name, life: Life, found: &mut Findings) {
        let before = self.keys.insert(name.clone(), life);
        if before == Some(life) {
            return;
        }
        if let Some(why) = self.judge(&name, life, before) {
            found.add(self, at, None, None, format!("{name:?} {why}"));
        }
        if let Some(old) = before.and_then(|before| before.lease) {
            self.leave(at, old, &name);
        }
        if let Some(lease) = life.lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.insert(name);
        }
    }

    fn judge(&self, name: &Name, life: Life, before: Option<Life>) -> Option<&'static str> {
        let Some(lease) = life.lease else {
            return Some("has no lease: it would outlive its node");
        };
        if !self.leases.contains_key(&lease) {
            return Some("hangs on a lease that does not live");
        }
        if before.is_some_and(|it| it.created == life.created) {
            return Some("was moved to another lease");
        }
        if let Name::Offer(id) = name {
            let node = self.keys.get(&Name::Node(Role::Worker, id.clone()));
            if node.and_then(|node| node.lease) != Some(lease) {
                return Some("does not hang on its worker's lease");
            }
        }
        None
    }

    fn remove(&mut self, at: Mono, name: &Name) {
        if let Some(lease) = self.keys.remove(name).and_then(|life| life.lease) {
            self.leave(at, lease, name);
        }
    }

    fn leave(&mut self, at: Mono, lease: LeaseId, name: &Name) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(name);
            if lease.keys.is_empty() {
                lease.keyless_since = at;
            }
        }
    }

    fn other(&mut self, at: Mono, other: &Other, found: &mut Findings) {
        let (name, life) = match other {
            Other::Node { role, id, life } => (Name::Node(*role, id.clone()), life),
            Other::Offer { id, life } => (Name::Offer(id.clone()), life),
            Other::Waiter { lock, waiter, life } => {
                (Name::Waiter(lock.clone(), waiter.clone()), life)
            }
            Other::Unique { .. }
            | Other::Lane { .. }
            | Other::Queue { .. }
            | Other::Orders { .. }
            | Other::Foreign { .. } => return,
        };
        match life {
            Some(life) => self.put(at, name, *life, found),
            None => self.remove(at, &name),
        }
    }

    fn end(&mut self, at: Mono, lease: LeaseId, found: &mut Findings) {
        let Some(ended) = self.leases.remove(&lease) else {
            return;
        };
        if let Some(left) = ended.keys.first() {
            let what = format!("lease {} has ended and left {left:?}", lease.0);
            found.add(self, at, None, None, what);
        }
    }
}

impl Checker for LeasedKeys {
    fn rule(&self) -> Rule {
        Rule::S16
    }

    fn name(&self) -> &'static str {
        "leased_keys"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        if let Fact::Stored(revised) = fact {
            for other in &revised.others {
                self.other(at, other, found);
            }
        }
        if let Fact::Leased { lease, ttl } = fact {
            let fresh = Lease {
                ttl: *ttl,
                keys: BTreeSet::new(),
                keyless_since: at,
            };
            self.leases.insert(*lease, fresh);
        }
        if let Fact::LeaseEnded { lease } = fact {
            self.end(at, *lease, found);
        }
        self.roster.observe(at, fact);
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let kept = |lease: &&Lease| {
            lease.keys.is_empty() && lease.keyless_since.after(Duration::from(lease.ttl) * 3) < at
        };
        let keyless = self.leases.values().filter(kept).count();
        let nodes = self.roster.iter().map(|(node, _)| node);
        let broken = nodes.filter(|node| self.roster.hurt_until(*node) > at);
        if keyless > KEYLESS_MAX + broken.count() {
            let what = format!("{keyless} leases are kept alive for nothing");
            found.add(self, at, None, None, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::History;
    use super::*;

    fn history() -> History {
        let mut h = History::of(LeasedKeys::default());
        lease(&mut h, 1);
        h
    }

    fn lease(h: &mut History, lease: i64) {
        h.fact(Fact::Leased {
            lease: LeaseId(lease),
            ttl: Millis::new(3_000),
        });
    }

    fn offer(h: &mut History, life: Option<Life>) {
        let id = "w1".parse().unwrap();
        h.store_bare(vec![], vec![Other::Offer { id, life }]);
    }

    #[test]
    fn keys_live_and_end_with_their_lease() {
        let mut h = history();
        let life = Some(h.life(Some(1)));
        h.node_key("w1", life);
        let own = Some(h.life(Some(1)));
        offer(&mut h, own);
        h.node_key("w1", life);
        offer(&mut h, None);
        h.node_key("w1", None);
        h.fact(Fact::LeaseEnded { lease: LeaseId(1) });
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_key_without_a_lease_or_on_one_that_ended_is_found() {
        let mut h = history();
        let life = Some(h.life(None));
        h.node_key("w1", life);
        h.assert_tripped("has no lease");
        let life = Some(h.life(Some(2)));
        h.node_key("w2", life);
        h.assert_tripped("does not live");
    }

    #[test]
    fn a_key_that_is_detached_from_its_lease_is_found() {
        let mut h = history();
        let life = h.life(Some(1));
        h.node_key("w1", Some(life));
        let detached = Life {
            lease: None,
            ..life
        };
        h.node_key("w1", Some(detached));
        h.assert_tripped("has no lease");
    }

    #[test]
    fn a_lease_that_leaves_a_key_is_found() {
        let mut h = history();
        let life = Some(h.life(Some(1)));
        h.node_key("w1", life);
        h.fact(Fact::LeaseEnded { lease: LeaseId(1) });
        h.assert_tripped("has ended and left");
    }

    #[test]
    fn an_offer_hangs_on_its_workers_lease() {
        let mut h = history();
        lease(&mut h, 2);
        let life = Some(h.life(Some(1)));
        h.node_key("w1", life);
        let own = Some(h.life(Some(2)));
        offer(&mut h, own);
        h.assert_tripped("its worker's lease");
    }

    #[test]
    fn leases_that_are_kept_for_nothing_are_found() {
        let mut h = history();
        lease(&mut h, 2);
        lease(&mut h, 3);
        h.pass(9_000);
        h.finish();
        h.assert_clean();
        h.pass(1);
        h.finish();
        h.assert_tripped("3 leases");
    }
}
