//! What the checkers remember of a task: of its life, and of what each cell has of it.

use std::collections::BTreeMap;

use windlass_core::ids::{QueueName, Revision};
use windlass_core::keyspace::{Key, Meaning};
use windlass_core::kv::Edit;
use windlass_core::record::Record;
use windlass_core::store::Value;
use windlass_core::time::Mono;

use super::snapshot::{without_task, written};

/// What a cell has of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Copy {
    /// The task, wherever it is written down.
    pub(super) record: Option<Value>,
    written: BTreeMap<Key, Value>,
    /// Entry, delayed keys, claims.
    pub(super) places: BTreeMap<Key, (Revision, Value)>,
    /// How it ended, without the task.
    pub(super) outcome: Option<Value>,
    /// Its idempotency key's record names it.
    pub(super) is_unique: bool,
}

/// What is known of a task.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) queue: Option<QueueName>,
    pub(super) accepted: Mono,
    pub(super) fence: u64,
    pub(super) ended: Option<(Mono, Value)>,
    pub(super) purged: Option<Mono>,
    pub(super) is_cancelled: bool,
    pub(super) has_key: bool,
}

impl Copy {
    /// Takes over one change.
    pub(super) fn apply(&mut self, edit: &Edit) {
        let put = match edit {
            Edit::Put { entry, .. } => Some((entry.found.created, entry.found.value.clone())),
            Edit::Delete { .. } => None,
        };
        let task = put.as_ref().and_then(|it| written(edit.key(), &it.1));
        match task {
            Some((_, task)) => self.written.insert(edit.key().clone(), task.encode()),
            None => self.written.remove(edit.key()),
        };
        self.record = self.written.values().next().cloned();
        match Meaning::of(edit.key()) {
            Meaning::Task(_) => {}
            Meaning::Outcome(_) => self.outcome = put.map(|it| without_task(&it.1)),
            Meaning::Unique => self.is_unique = put.is_some(),
            Meaning::Entry(..) | Meaning::Claim(..) | Meaning::Delayed(..) => {
                match put {
                    Some(place) => self.places.insert(edit.key().clone(), place),
                    None => self.places.remove(edit.key()),
                };
            }
            Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::Dead(..)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Run(_)
            | Meaning::Foreign => {}
        }
    }

    /// Whether one is the other, but for the revisions of another store.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let values = |copy: &Self| {
            let places = copy.places.iter();
            places
                .map(|(key, (_, value))| (key.clone(), value.clone()))
                .collect::<Vec<_>>()
        };
        (&self.record, &self.outcome, values(self))
            == (&other.record, &other.outcome, values(other))
    }
}
