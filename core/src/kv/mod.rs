//! What does a store answer, and what does it keep? The store as a pure machine: revisions, leases, watches with
//! history and compaction, guarded transactions, as etcd has them. It neither persists nor loses anything by itself:
//! whoever runs it makes [`Effect::Applied`] durable before passing on what follows, and invents the faults.
//!
//! ```
//! use windlass_core::ids::OpId;
//! use windlass_core::kv::{ClientId, Effect, Input, Kv, Limits};
//! use windlass_core::machine::Machine;
//! use windlass_core::store::{Answer, Call, Query, ReadAnswer};
//! use windlass_core::time::Now;
//!
//! let mut kv = Kv::new(Limits::default());
//! let mut out = Vec::new();
//! let call = Call::Read(Query::Keys(vec![]));
//! kv.handle(Now::default(), Input::Call { client: ClientId(1), op: OpId(1), call }, &mut out);
//! assert!(matches!(&out[..], [Effect::Answer { answer: Answer::Read(ReadAnswer::Items { .. }), .. }]));
//! ```

mod history;
mod lease;
mod log;
mod recover;
mod segments;
mod table;
mod watch;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::history::History;
use self::lease::Leases;
use self::table::Table;
use self::watch::Watches;
use crate::ids::{LeaseId, OpId, Revision};
use crate::keyspace::{Key, Range};
use crate::machine::{Elapsed, Machine};
use crate::store::{
    Answer, AuditAnswer, Call, Change, Digest, LeaseAnswer, OPS_MAX, Query, ReadAnswer, Refusal,
    Txn, TxnOutcome, Usage, Write,
};
use crate::time::{Mono, Now};

pub use self::history::Compacted;
pub use self::log::{Edit, Entry, Head, Log, Stored};
pub use self::recover::RecoverError;

/// The room that a lease must find to be granted, as etcd reckons it.
const LEASE_BYTES: usize = 64;

/// Tells one client of the store from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u64);

/// What can happen to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Time has passed.
    Elapsed,
    /// A client asks.
    Call {
        /// Who.
        client: ClientId,
        /// The client's own name for the question.
        op: OpId,
        /// What.
        call: Call,
    },
    /// A client is gone: its watches end. Its leases live on.
    Leave {
        /// Who.
        client: ClientId,
    },
    /// Another member leads: every lease gets its full time to live again, and the time of an election.
    LeaderChanged,
}

impl From<Elapsed> for Input {
    fn from(Elapsed: Elapsed) -> Self {
        Self::Elapsed
    }
}

/// What a store does. An [`Effect::Applied`] stands before every answer that depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// The store changed. Whoever promises durability keeps this before passing on anything that follows.
    Applied(Log),
    /// A client gets an answer, or news of a watch.
    Answer {
        /// Who asked.
        client: ClientId,
        /// What the client called its question.
        op: OpId,
        /// The answer.
        answer: Answer,
    },
}

/// Why a store must be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// A lease was not renewed.
    LeaseEnds(LeaseId),
}

/// What a store grants, takes and remembers. The defaults are etcd's, but for the history, which etcd never forgets by
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A lease never gets less.
    pub ttl_min: Duration,
    /// Who asks for more gets no lease.
    pub ttl_max: Duration,
    /// How long a change of leader takes: what leases get on top then.
    pub election: Duration,
    /// The largest transaction, in bytes of keys and values.
    pub request_bytes_max: usize,
    /// Puts are no longer taken once the keys and values would exceed this many bytes, and leases no longer granted a
    /// little before that. Unlike etcd, which stays full until it is told otherwise, this store takes again what fits.
    pub quota_bytes: u64,
    /// How many changes are remembered for watches that resume; older ones are compacted.
    pub history_max: usize,
    /// How many items a part of a full read has at most.
    pub part_items_max: usize,
    /// How many bytes a part of a full read has at most, but for its last item.
    pub part_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ttl_min: Duration::from_secs(2),
            ttl_max: Duration::from_secs(9_000_000_000),
            election: Duration::from_secs(1),
            request_bytes_max: 1_536 * 1_024,
            quota_bytes: u64::MAX,
            history_max: 100_000,
            part_items_max: 1_000,
            part_bytes_max: 1 << 20,
        }
    }
}

/// The store.
#[derive(Debug, Clone)]
pub struct Kv {
    limits: Limits,
    now: Mono,
    revision: Revision,
    table: Table,
    leases: Leases,
    history: History,
    watches: Watches,
}

impl Machine for Kv {
    type Input = Input;
    type Effect = Effect;
    type Timer = Timer;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        assert!(now.mono >= self.now, "monotonic time never goes back");
        self.now = now.mono;
        while let Some(lease) = self.leases.pop_due(self.now) {
            self.end_lease(lease, out);
            self.watches.tell(self.revision, out);
        }
        match input {
            Input::Elapsed => {}
            Input::Call { client, op, call } => self.on_call(client, op, call, out),
            Input::Leave { client } => self.watches.leave(client),
            Input::LeaderChanged => self.leases.refresh(self.now, self.limits.election),
        }
        assert!(
            self.deadline().is_none_or(|(at, _)| at > now.mono),
            "what was due is done"
        );
    }

    fn deadline(&self) -> Option<(Mono, Timer)> {
        self.leases.deadline()
    }
}

impl Kv {
    /// An empty store. Its revision is 1, like that of a new etcd.
    pub fn new(limits: Limits) -> Self {
        assert!(
            Duration::ZERO < limits.ttl_min && limits.ttl_min <= limits.ttl_max,
            "a lease lives for some time"
        );
        assert!(limits.part_items_max > 0, "a part holds something");
        Self {
            history: History::new(limits.history_max),
            limits,
            now: Mono::ZERO,
            revision: Revision(1),
            table: Table::default(),
            leases: Leases::default(),
            watches: Watches::default(),
        }
    }

    /// The revision of the last change.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The oldest revision that a watch may still start from.
    pub fn compacted(&self) -> Revision {
        self.history.compacted()
    }

    /// What is stored under a key.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.table.get(key)
    }

    /// What is stored in a range, in the order of keys. A reversed range is empty.
    pub fn entries(&self, range: &Range) -> impl Iterator<Item = (&Key, &Entry)> {
        self.table.range(range)
    }

    /// How many keys are stored.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no key is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// How full it is. What it remembers for watches counts for nothing.
    pub fn usage(&self) -> Usage {
        let quota = self.limits.quota_bytes;
        Usage {
            used: self.bytes(),
            size: self.bytes(),
            quota: (quota < u64::MAX).then_some(quota),
            full: false,
        }
    }

    /// The granted time to live of a live lease, and what it has left.
    pub fn lease(&self, lease: LeaseId) -> Option<(Duration, Duration)> {
        let (ttl, ends) = self.leases.get(lease)?;
        Some((ttl, ends.since(self.now)))
    }

    /// When a live lease ends, unless it is renewed.
    pub fn lease_until(&self, lease: LeaseId) -> Option<Mono> {
        self.leases.get(lease).map(|(_, ends)| ends)
    }

    /// What happened in a range after a revision, in order of revision, then of the transaction's writes.
    pub fn changes_since(&self, range: &Range, after: Revision) -> Result<Vec<Change>, Compacted> {
        self.history.since(range, after)
    }

    fn on_call(&mut self, client: ClientId, op: OpId, call: Call, out: &mut Vec<Effect>) {
        let answer = match call {
            Call::Commit(txn) => Answer::Txn(self.commit(&txn, out)),
            Call::Watch(range) => return self.on_watch(client, op, range, out),
            Call::Unwatch { watch } => return self.watches.remove(client, watch),
            Call::Progress { watch } => {
                return self.watches.progress(client, watch, self.revision, out);
            }
            Call::Read(query) => Answer::Read(self.read(query)),
            Call::Audit(range) => Answer::Audited(self.audit(&range)),
            Call::Grant { ttl } => Answer::Lease(self.grant(ttl, out)),
            Call::Renew { lease } => Answer::Lease(self.leases.renew(self.now, lease)),
            Call::Revoke { lease } => {
                self.end_lease(lease, out);
                Answer::Lease(LeaseAnswer::Gone)
            }
            Call::Compact { at } => Answer::Compacted(self.compact(at, out)),
            Call::Usage => Answer::Usage(Some(self.usage())),
        };
        out.push(Effect::Answer { client, op, answer });
        self.watches.tell(self.revision, out);
    }

    fn on_watch(&mut self, client: ClientId, op: OpId, range: Range, out: &mut Vec<Effect>) {
        let items = self.table.range(&range);
        watch::tell_all(client, op, self.revision, items, &self.limits, out);
        self.watches.add(client, op, range, self.revision);
    }

    /// A transaction's fate. Refusals for its size come first and ignore the guards; a lease is looked for only when
    /// the guards hold.
    fn commit(&mut self, txn: &Txn, out: &mut Vec<Effect>) -> TxnOutcome {
        let size: usize = txn.writes().iter().map(Write::size).sum();
        if size > self.limits.request_bytes_max {
            return TxnOutcome::Refused(Refusal::TooLarge);
        }
        let puts = txn
            .writes()
            .iter()
            .any(|write| matches!(write, Write::Put { .. }));
        if puts && self.is_full(size) {
            return TxnOutcome::Unknown;
        }
        let failed = self.table.failed(txn.guards());
        if !failed.is_empty() {
            let at = self.revision;
            return TxnOutcome::Conflict { at, failed };
        }
        if !self.leases.know(txn.writes()) {
            return TxnOutcome::Refused(Refusal::LeaseGone);
        }
        let at = self.revision.next();
        let mut edits = Vec::with_capacity(txn.writes().len());
        for write in txn.writes() {
            self.table.apply(at, write, &mut self.leases, &mut edits);
        }
        self.applied(edits, out);
        TxnOutcome::Committed { at: self.revision }
    }

    fn is_full(&self, more: usize) -> bool {
        self.table.bytes().saturating_add(more as u64) > self.limits.quota_bytes
    }

    /// Makes one revision of `edits`, if there are any, and notes what watches and history must know.
    fn applied(&mut self, edits: Vec<Edit>, out: &mut Vec<Effect>) {
        if edits.is_empty() {
            return;
        }
        let at = self.revision.next();
        self.revision = at;
        for edit in &edits {
            self.watches.note(at, edit);
            self.history.push(at, edit);
        }
        out.push(Effect::Applied(Log::Changed { at, edits }));
    }

    fn grant(&mut self, asked: Duration, out: &mut Vec<Effect>) -> LeaseAnswer {
        if asked > self.limits.ttl_max {
            return LeaseAnswer::Refused(Refusal::Invalid);
        }
        if self.is_full(LEASE_BYTES) {
            return LeaseAnswer::Unknown;
        }
        let ttl = asked.max(self.limits.ttl_min);
        let lease = self.leases.grant(self.now, ttl);
        out.push(Effect::Applied(Log::Granted { lease, ttl }));
        LeaseAnswer::Live { lease, ttl }
    }

    fn end_lease(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(keys) = self.leases.end(lease) else {
            return;
        };
        let edits = keys
            .into_iter()
            .map(|key| self.table.remove_leased(key))
            .collect();
        self.applied(edits, out);
        out.push(Effect::Applied(Log::Ended { lease }));
    }

    fn read(&self, query: Query) -> ReadAnswer {
        let at = self.revision;
        match query {
            Query::Keys(keys) => {
                assert!(keys.len() <= OPS_MAX, "a read has at most OPS_MAX keys");
                let items = self.table.pick(keys);
                ReadAnswer::Items {
                    at,
                    items,
                    more: false,
                }
            }
            Query::Range { range, limit } => {
                let mut rest = self.table.range(&range).map(|(key, it)| it.item(key));
                let items = rest.by_ref().take(limit as usize).collect();
                let more = rest.next().is_some();
                ReadAnswer::Items { at, items, more }
            }
        }
    }

    fn audit(&self, range: &Range) -> AuditAnswer {
        let held = self.table.range(range);
        AuditAnswer::Held {
            at: self.revision,
            digest: Digest::of(held.map(|(key, entry)| (key, entry.found.modified))),
        }
    }

    fn compact(&mut self, at: Revision, out: &mut Vec<Effect>) -> bool {
        if at > self.revision {
            return false;
        }
        if self.history.compact(at) {
            out.push(Effect::Applied(Log::Compacted { at }));
        }
        true
    }
}
