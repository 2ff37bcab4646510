//! Guards and writes: the parts of a transaction.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{LeaseId, Revision};
use crate::keyspace::{Key, Range};

/// An encoded record. A clone shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Default for Value {
    fn default() -> Self {
        Self::from(&[][..])
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    /// From bytes, or from a list of numbers, as formats without bytes have them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*Bytes::deserialize(deserializer)?))
    }
}

impl fmt::Debug for Value {
    /// Tells the length only: values may hold payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

/// What must hold for a transaction to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// The key does not exist.
    Absent(Key),
    /// Last written at exactly this revision.
    Unchanged {
        /// The key.
        key: Key,
        /// Its modification revision.
        since: Revision,
    },
    /// Still the same life of the key: created at this revision, perhaps updated since. This is how a fence is checked.
    Alive {
        /// The key.
        key: Key,
        /// Its creation revision.
        since: Revision,
    },
    /// That life is over: the key is absent or was created at another revision.
    Gone {
        /// The key.
        key: Key,
        /// The creation revision of the life that must be over.
        since: Revision,
    },
    /// Nothing in the range was written after this revision. For purging only.
    Quiet {
        /// The keys.
        range: Range,
        /// The revision of the read that saw them.
        since: Revision,
    },
}

impl Guard {
    /// Whether a guard that did not hold may hold at a later revision. Revisions never come back; absence does.
    pub fn may_hold_again(&self) -> bool {
        match self {
            Self::Absent(_) | Self::Gone { .. } | Self::Quiet { .. } => true,
            Self::Unchanged { .. } | Self::Alive { .. } => false,
        }
    }

    /// The key that the guard looks at; the first one of a range.
    pub fn key(&self) -> &Key {
        match self {
            Self::Absent(key)
            | Self::Unchanged { key, .. }
            | Self::Alive { key, .. }
            | Self::Gone { key, .. } => key,
            Self::Quiet { range, .. } => &range.from,
        }
    }

    /// Whether the guard of a single key holds for what is stored there. A range is not decided here.
    pub fn holds(&self, found: Option<&Found>) -> Option<bool> {
        match self {
            Self::Absent(_) => Some(found.is_none()),
            Self::Unchanged { since, .. } => Some(found.is_some_and(|it| it.modified == *since)),
            Self::Alive { since, .. } => Some(found.is_some_and(|it| it.created == *since)),
            Self::Gone { since, .. } => Some(found.is_none_or(|it| it.created != *since)),
            Self::Quiet { .. } => None,
        }
    }
}

/// The number of a guard in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuardIx(pub u16);

/// What is stored under a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When this life of the key began.
    pub created: Revision,
    /// When it was last written.
    pub modified: Revision,
    /// Its value.
    pub value: Value,
}

/// A change that a transaction makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Stores a value. Without a lease, a leased key loses its lease.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Value,
        /// The lease whose end removes it.
        lease: Option<LeaseId>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// Which.
        key: Key,
    },
    /// Removes every key of a range. For purging only.
    DeleteRange {
        /// Which.
        range: Range,
    },
}

impl Write {
    /// How many bytes it takes on the wire, without framing.
    pub fn size(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.as_str().len() + value.as_bytes().len(),
            Self::Delete { key } => key.as_str().len(),
            Self::DeleteRange { range } => range.from.as_str().len() + range.to.as_str().len(),
        }
    }
}
