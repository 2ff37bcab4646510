//! What a store held at one revision. It stands for the views of the real machines, which are as consistent, and as late.

use std::collections::BTreeMap;

use windlass_core::ids::{QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning, Range};
use windlass_core::record::{OutcomeRecord, Record, TaskRecord, UniqueRecord};
use windlass_core::store::{Found, Item, Value};

use super::record::{BasedClaim, MapRecord, MarkRecord, map_key, mapped, mark_key};

/// A consistent read of many keys.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The revision of the read.
    pub at: Revision,
    items: BTreeMap<Key, Found>,
}

/// A record and when it was last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated<T> {
    /// The record.
    pub record: T,
    /// Its modification revision.
    pub since: Revision,
}

impl Snapshot {
    /// What was read.
    pub fn new(at: Revision, items: Vec<Item>) -> Self {
        let items = items.into_iter().map(|item| (item.key, item.found));
        Self {
            at,
            items: items.collect(),
        }
    }

    /// What a key held.
    pub fn get(&self, key: &Key) -> Option<&Found> {
        self.items.get(key)
    }

    /// Everything in a range.
    pub fn range(&self, range: &Range) -> impl Iterator<Item = (&Key, &Found)> {
        self.items.range(range.from.clone()..range.to.clone())
    }

    /// Everything.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Found)> {
        self.items.iter()
    }

    /// A record, if its key was there.
    pub fn record<T: Record>(&self, key: &Key) -> Option<Dated<T>> {
        let found = self.get(key)?;
        Some(Dated {
            record: decode(found),
            since: found.modified,
        })
    }

    /// The cell's word on a queue.
    pub fn mark(&self, queue: &QueueName) -> Option<Dated<MarkRecord>> {
        self.record(&mark_key(queue))
    }

    /// The directory's word on a queue.
    pub fn map(&self, queue: &QueueName) -> Option<Dated<MapRecord>> {
        self.record(&map_key(queue))
    }

    /// The directory's word on every queue.
    pub fn maps(&self) -> impl Iterator<Item = (QueueName, Dated<MapRecord>)> {
        let queues = self.items.keys().filter_map(mapped);
        queues.filter_map(|queue| {
            let map = self.map(&queue)?;
            Some((queue, map))
        })
    }

    /// The task that has an idempotency key.
    pub fn unique(&self, hash: &str) -> Option<TaskId> {
        let record: Dated<UniqueRecord> = self.record(&Key::unique(hash))?;
        Some(record.record.task)
    }

    /// A task, wherever it is written down.
    pub fn task(&self, id: TaskId) -> Option<TaskRecord> {
        let keys = [Key::task(id), Key::outcome(id)].into_iter();
        let mut own = keys.filter_map(|key| written(&key, &self.get(&key)?.value));
        let own = own.next().or_else(|| {
            let (key, found) = self.place(id)?;
            written(key, &found.value)
        });
        Some(own?.1)
    }

    /// Where a task stands: its entry, delayed key or claim.
    pub fn place(&self, id: TaskId) -> Option<(&Key, &Found)> {
        let live = self.items.iter();
        live.into_iter().find(|(key, _)| live_task(key) == Some(id))
    }
}

/// The task, if this is its record, or the claim or the outcome that holds the only copy.
pub(super) fn written(key: &Key, value: &Value) -> Option<(TaskId, TaskRecord)> {
    const OURS: &str = "only this simulation writes records";
    match Meaning::of(key) {
        Meaning::Task(id) => Some((id, TaskRecord::decode(value).expect(OURS))),
        Meaning::Outcome(id) => {
            let outcome = OutcomeRecord::decode(value).expect(OURS);
            Some((id, *outcome.task?))
        }
        Meaning::Claim(_, place) => {
            let claim = BasedClaim::decode(value).expect(OURS).claim;
            Some((place.task, claim.only_copy(place.priority)?))
        }
        Meaning::Entry(..)
        | Meaning::Delayed(..)
        | Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::Dead(..)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Run(_)
        | Meaning::Unique
        | Meaning::Foreign => None,
    }
}

/// An outcome, without the task that it may hold.
pub(super) fn without_task(outcome: &Value) -> Value {
    let outcome = OutcomeRecord::decode(outcome).expect("only this simulation writes outcomes");
    OutcomeRecord {
        task: None,
        ..outcome
    }
    .encode()
}

/// The task that this entry, delayed key or claim is of.
pub(super) fn live_task(key: &Key) -> Option<TaskId> {
    match Meaning::of(key) {
        Meaning::Entry(_, place) | Meaning::Claim(_, place) => Some(place.task),
        Meaning::Delayed(_, task) => Some(task),
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::Dead(..)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Task(_)
        | Meaning::Outcome(_)
        | Meaning::Run(_)
        | Meaning::Unique
        | Meaning::Foreign => None,
    }
}

/// The record in what was found.
pub(super) fn decode<T: Record>(found: &Found) -> T {
    T::decode(&found.value).expect("only this simulation writes to its stores")
}
