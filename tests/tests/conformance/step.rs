//! What both stores are asked, in the model's own revisions and lease ids, and what is seen of each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::store::{Answer, Call, Change, Found, Item, LeaseAnswer};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A call with one answer.
    Call(Call),
    /// A lease that is granted, then revoked.
    Brief { call: Call },
    /// Begins a machine's watch.
    Watch { slot: u8, range: Range },
    /// Begins a watch that tells everything from a revision on.
    Follow {
        slot: u8,
        range: Range,
        from: Revision,
    },
    /// Ends a watch.
    Unwatch { slot: u8 },
    /// Tells what all watches, or one of them, have seen since they were asked last. The present revision is `at`.
    Settle { slot: Option<u8>, at: Revision },
    /// Compacts, and tells why not.
    CompactRaw { at: Revision },
    /// Tells everything that is stored.
    Dump,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seen {
    Answer(Answer),
    Brief {
        granted: LeaseAnswer,
        ended: LeaseAnswer,
    },
    /// The full read that a watch begins with.
    Read {
        at: Revision,
        items: Vec<Item>,
    },
    Told(BTreeMap<u8, Told>),
    CompactedRaw(Compaction),
    Dump {
        keys: Vec<Stored>,
        leases: Vec<LeaseId>,
    },
    Nothing,
    /// What should not be there at all, in words.
    Odd(String),
}

/// What a watch has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) changes: Vec<Change>,
    /// Up to where it knows everything, unless it waits for the future.
    pub(crate) reached: Option<Revision>,
    /// Its beginning is forgotten: this is the oldest one that there is. It is over.
    pub(crate) compacted: Option<Revision>,
    /// It began again with a full read. No watch here has reason to.
    pub(crate) resets: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Compaction {
    Done,
    Already,
    Future,
}

/// A key with all that a store knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) found: Found,
    pub(crate) version: u64,
    pub(crate) lease: Option<LeaseId>,
}

/// A store that can be asked, the model or another.
pub(crate) trait Side {
    async fn run(&mut self, step: &Step) -> Seen;
}

impl Seen {
    /// What kind of answer it is.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Told(told) if told.values().any(|it| it.compacted.is_some()) => {
                "Told compacted".into()
            }
            Self::Told(told) if told.values().all(|it| it.changes.is_empty()) => {
                "Told nothing".into()
            }
            Self::Told(_) => "Told changes".into(),
            Self::Answer(_)
            | Self::Brief { .. }
            | Self::Read { .. }
            | Self::CompactedRaw(_)
            | Self::Dump { .. }
            | Self::Nothing
            | Self::Odd(_) => names(&format!("{self:?}")),
        }
    }
}

impl Step {
    /// What kind of question it is.
    pub(crate) fn label(&self) -> String {
        names(&format!("{self:?}"))
    }
}

/// The variants that a value printed for debugging begins with.
fn names(debug: &str) -> String {
    let words = debug.split(|it: char| !it.is_alphanumeric()).take(3);
    let variants = words.take_while(|it| {
        it.starts_with(|first: char| first.is_ascii_uppercase() || it == &"true" || it == &"false")
    });
    variants.collect::<Vec<_>>().join(" ")
}
