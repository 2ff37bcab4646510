//! Which leases live, until when, and which keys end with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Timer;
use crate::ids::LeaseId;
use crate::keyspace::Key;
use crate::store::{LeaseAnswer, Write};
use crate::time::Mono;
use crate::timers::Timers;

#[derive(Debug, Clone)]
struct Lease {
    ttl: Duration,
    ends: Mono,
    keys: BTreeSet<Key>,
}

/// The live leases.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    last: LeaseId,
    live: BTreeMap<LeaseId, Lease>,
    timers: Timers<Timer>,
}

impl Default for Leases {
    fn default() -> Self {
        Self {
            last: LeaseId(0),
            live: BTreeMap::new(),
            timers: Timers::default(),
        }
    }
}

impl Leases {
    /// A lease with an id that was never used before.
    pub(super) fn grant(&mut self, now: Mono, ttl: Duration) -> LeaseId {
        let lease = LeaseId(self.last.0 + 1);
        self.restore(now, lease, ttl);
        lease
    }

    /// Brings a lease back, with its full time to live.
    pub(super) fn restore(&mut self, now: Mono, lease: LeaseId, ttl: Duration) {
        let ends = now.after(ttl);
        let keys = BTreeSet::new();
        let before = self.live.insert(lease, Lease { ttl, ends, keys });
        assert!(before.is_none(), "a lease is granted once");
        self.timers.arm(now, Timer::LeaseEnds(lease), ends);
        self.last = self.last.max(lease);
    }

    /// Remembers that ids up to this one were used.
    pub(super) fn skip_to(&mut self, last: LeaseId) {
        self.last = self.last.max(last);
    }

    /// Gives a live lease its full time to live from now on.
    pub(super) fn renew(&mut self, now: Mono, lease: LeaseId) -> LeaseAnswer {
        let Some(it) = self.live.get_mut(&lease) else {
            return LeaseAnswer::Gone;
        };
        it.ends = now.after(it.ttl);
        self.timers.arm(now, Timer::LeaseEnds(lease), it.ends);
        LeaseAnswer::Live { lease, ttl: it.ttl }
    }

    /// Gives every lease its full time to live and `more`.
    pub(super) fn refresh(&mut self, now: Mono, more: Duration) {
        for (lease, it) in &mut self.live {
            it.ends = now.after(it.ttl.saturating_add(more));
            self.timers.arm(now, Timer::LeaseEnds(*lease), it.ends);
        }
    }

    /// Ends a lease and gives back the keys that must end with it, in order. `None` when it does not live.
    pub(super) fn end(&mut self, lease: LeaseId) -> Option<BTreeSet<Key>> {
        self.timers.disarm(Timer::LeaseEnds(lease));
        Some(self.live.remove(&lease)?.keys)
    }

    /// A lease whose time is over.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<LeaseId> {
        self.timers
            .pop_due(now)
            .map(|Timer::LeaseEnds(lease)| lease)
    }

    /// Moves a key from one lease to another.
    pub(super) fn move_key(&mut self, key: &Key, from: Option<LeaseId>, to: Option<LeaseId>) {
        if from == to {
            return;
        }
        if let Some(from) = from.and_then(|lease| self.live.get_mut(&lease)) {
            let was_there = from.keys.remove(key);
            assert!(was_there, "a leased key is known to its lease");
        }
        if let Some(to) = to {
            let lease = self
                .live
                .get_mut(&to)
                .expect("a put was refused unless its lease lives");
            lease.keys.insert(key.clone());
        }
    }

    /// Whether every lease that these writes name lives.
    pub(super) fn know(&self, writes: &[Write]) -> bool {
        writes.iter().all(|write| match write {
            Write::Put {
                lease: Some(lease), ..
            } => self.live.contains_key(lease),
            Write::Put { lease: None, .. } | Write::Delete { .. } | Write::DeleteRange { .. } => {
                true
            }
        })
    }

    /// A lease's time to live and its end.
    pub(super) fn get(&self, lease: LeaseId) -> Option<(Duration, Mono)> {
        self.live.get(&lease).map(|it| (it.ttl, it.ends))
    }

    /// The lease that was granted last.
    pub(super) fn last(&self) -> LeaseId {
        self.last
    }

    /// Every live lease with its time to live.
    pub(super) fn live(&self) -> impl Iterator<Item = (LeaseId, Duration)> {
        self.live.iter().map(|(lease, it)| (*lease, it.ttl))
    }

    /// The next end of a lease.
    pub(super) fn deadline(&self) -> Option<(Mono, Timer)> {
        self.timers.earliest()
    }
}
