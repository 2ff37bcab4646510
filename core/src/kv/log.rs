//! What must be kept so that a store can be rebuilt. Every record says what *is*, not what was asked: a key's last record
//! alone decides what the key holds, so records may be applied again over a newer state, as long as all that followed
//! them are applied too.
//!
//! The embedded store keeps these types on disk. The order of their variants and fields is its format.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{LeaseId, Revision};
use crate::keyspace::Key;
use crate::store::{Change, Found, Item};

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its life, last write and value.
    pub found: Found,
    /// How often it was written in this life.
    pub version: u64,
    /// The lease whose end removes it.
    pub lease: Option<LeaseId>,
}

impl Entry {
    /// The entry as answers show it.
    pub fn item(&self, key: &Key) -> Item {
        Item {
            key: key.clone(),
            found: self.found.clone(),
        }
    }
}

/// What a revision did to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// The key holds this now.
    Put {
        /// Where.
        key: Key,
        /// What.
        entry: Entry,
    },
    /// The key is gone.
    Delete {
        /// Which.
        key: Key,
    },
}

impl Edit {
    /// The key that was edited.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The edit as watches show it.
    pub fn change(&self, at: Revision) -> Change {
        match self {
            Self::Put { key, entry } => Change::Put(entry.item(key)),
            Self::Delete { key } => Change::Delete {
                key: key.clone(),
                at,
            },
        }
    }
}

/// One step of the store's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// A revision.
    Changed {
        /// Its number: one more than that of the one before.
        at: Revision,
        /// What it did, at least one thing, no key twice.
        edits: Vec<Edit>,
    },
    /// A lease was granted.
    Granted {
        /// Its id, never used before.
        lease: LeaseId,
        /// The time to live that it gets with every renewal.
        ttl: Duration,
    },
    /// A lease has ended. Its keys were removed before.
    Ended {
        /// Which.
        lease: LeaseId,
    },
    /// History was forgotten.
    Compacted {
        /// The oldest revision that may still be watched from.
        at: Revision,
    },
}

/// What a snapshot begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The revision of the last change.
    pub revision: Revision,
    /// The lease that was granted last, living or not; zero before the first.
    pub last_lease: LeaseId,
}

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// A live lease.
    Lease {
        /// Its id.
        lease: LeaseId,
        /// Its time to live.
        ttl: Duration,
    },
    /// A key.
    Key {
        /// Where.
        key: Key,
        /// What.
        entry: Entry,
    },
}
