//! Questions to a store and their answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::guard::{Found, Value};
use super::txn::{Refusal, Txn, TxnOutcome};
use crate::ids::{LeaseId, OpId, Revision};
use crate::keyspace::{Key, Range};

/// What a machine asks of its store. Each call gets exactly one [`Answer`], but [`Call::Watch`], which gets a
/// [`Answer::View`] for every piece of news until it is replaced, and [`Call::Progress`] and [`Call::Unwatch`], which
/// get none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Apply a transaction. Answered by [`Answer::Txn`].
    Commit(Txn),
    /// Read everything in the range, then follow it. The call's operation names the watch.
    Watch(Range),
    /// Stop following.
    Unwatch {
        /// The operation that began the watch.
        watch: OpId,
    },
    /// Tell how far the watch is, soon, by a delta that may be empty.
    Progress {
        /// The operation that began the watch.
        watch: OpId,
    },
    /// Read at one revision. Answered by [`Answer::Read`].
    Read(Query),
    /// Tell what the range holds at one revision, in sum. Answered by [`Answer::Audited`].
    Audit(Range),
    /// Grant a lease. Answered by [`Answer::Lease`].
    Grant {
        /// The time to live that is asked for; the store may give more.
        ttl: Duration,
    },
    /// Refresh a lease. Answered by [`Answer::Lease`].
    Renew {
        /// Which.
        lease: LeaseId,
    },
    /// End a lease and remove its keys. Answered by [`Answer::Lease`].
    Revoke {
        /// Which.
        lease: LeaseId,
    },
    /// Forget the history before a revision. Answered by [`Answer::Compacted`].
    Compact {
        /// The oldest revision that may still be watched from.
        at: Revision,
    },
    /// Tell how full the store is. Answered by [`Answer::Usage`].
    Usage,
}

/// A call and the operation that its answers name: the effect that every machine has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCall {
    /// Names the answers.
    pub op: OpId,
    /// What is asked.
    pub call: Call,
}

/// What to read. All reads are linearizable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// Just these keys, at most [`super::OPS_MAX`].
    Keys(Vec<Key>),
    /// The first `limit` keys of a range.
    Range {
        /// Where.
        range: Range,
        /// How many at most.
        limit: u32,
    },
}

/// A key with what is stored there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where.
    pub key: Key,
    /// What.
    pub found: Found,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It was written.
    Put(Item),
    /// It was removed.
    Delete {
        /// Which.
        key: Key,
        /// When.
        at: Revision,
    },
}

impl Change {
    /// The key that changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(item) => &item.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// When it changed.
    pub fn at(&self) -> Revision {
        match self {
            Self::Put(item) => item.found.modified,
            Self::Delete { at, .. } => *at,
        }
    }
}

/// News of a watched range. Everything at or below `at` of the last event is known, with no gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ViewEvent {
    /// A full read, in the order of keys. Forget everything older. A large one comes in several parts with the same
    /// revision.
    Reset {
        /// The revision of the read.
        at: Revision,
        /// What the range holds.
        items: Vec<Item>,
        /// More parts follow.
        more: bool,
    },
    /// What follows `after`, in order of revision. May be empty, to tell only that nothing else happened.
    Delta {
        /// The revision that the last event had reached.
        after: Revision,
        /// The revision that this one reaches.
        at: Revision,
        /// What happened.
        changes: Vec<Change>,
    },
    /// The watch is broken. Ask for a new one.
    Lost,
}

/// What a store says to a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// What became of a transaction.
    Txn(TxnOutcome),
    /// News of a watch.
    View(ViewEvent),
    /// What was read, if it could be.
    Read(ReadAnswer),
    /// What a range holds, in sum, if that could be read.
    Audited(AuditAnswer),
    /// What became of a request about a lease.
    Lease(LeaseAnswer),
    /// Whether history was forgotten, and its room can be used again.
    Compacted(bool),
    /// How full the store is, if it can tell.
    Usage(Option<Usage>),
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Usage {
    /// The bytes that are in use, history among them.
    pub used: u64,
    /// The bytes that the store has taken from its disk. It seldom gives any back, but uses again what became free.
    pub size: u64,
    /// The size from which on it takes no puts; `None` when nothing bounds it.
    pub quota: Option<u64>,
    /// It takes no puts now, whatever the numbers say.
    pub full: bool,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAnswer {
    /// What is stored, in the order of keys, absent keys left out.
    Items {
        /// The revision of the read.
        at: Revision,
        /// What it found.
        items: Vec<Item>,
        /// The range holds more than the limit.
        more: bool,
    },
    /// The store did not answer. Ask again.
    Failed,
}

/// What a range holds, in sum. As every read, it is linearizable: nothing that was known before it was asked for is newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditAnswer {
    /// What it held at one revision.
    Held {
        /// The revision.
        at: Revision,
        /// The sum.
        digest: Digest,
    },
    /// The store did not answer. Ask again.
    Failed,
}

/// What became of a request about a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseAnswer {
    /// Granted or refreshed.
    Live {
        /// Which.
        lease: LeaseId,
        /// The time to live that the store gave, from the request on.
        ttl: Duration,
    },
    /// The lease has ended, or never was.
    Gone,
    /// The store said no, for certain.
    Refused(Refusal),
    /// Done, or not.
    Unknown,
}

impl Call {
    /// What the call's fate is when nobody can tell it: the answer of a lost connection. `None` for calls that get no
    /// answer.
    pub fn lost(&self) -> Option<Answer> {
        match self {
            Self::Commit(_) => Some(Answer::Txn(TxnOutcome::Unknown)),
            Self::Watch(_) => Some(Answer::View(ViewEvent::Lost)),
            Self::Read(_) => Some(Answer::Read(ReadAnswer::Failed)),
            Self::Audit(_) => Some(Answer::Audited(AuditAnswer::Failed)),
            Self::Grant { .. } | Self::Renew { .. } | Self::Revoke { .. } => {
                Some(Answer::Lease(LeaseAnswer::Unknown))
            }
            Self::Compact { .. } => Some(Answer::Compacted(false)),
            Self::Usage => Some(Answer::Usage(None)),
            Self::Unwatch { .. } | Self::Progress { .. } => None,
        }
    }
}

impl Item {
    /// An item, spelled out.
    pub fn new(key: Key, created: Revision, modified: Revision, value: Value) -> Self {
        Self {
            key,
            found: Found {
                created,
                modified,
                value,
            },
        }
    }
}
