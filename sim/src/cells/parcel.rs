//! What belongs to one task of a queue that left, and goes over with it.

use std::collections::BTreeMap;

use windlass_core::ids::{QueueName, TaskId};
use windlass_core::keyspace::{Key, Meaning, Range};
use windlass_core::record::{EntryRecord, Record, TaskRecord, Version};
use windlass_core::store::{Found, Guard, Step, Value, Write};

use super::bug::{Bug, Planted};
use super::record::BasedClaim;
use super::rows::unchanged;
use super::snapshot::{Snapshot, live_task, without_task, written};

/// A task with all that belongs to it, frozen in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) task: TaskId,
    pub(super) has_ended: bool,
    /// Its place, or its outcome: while that is as it was read, all else is.
    witness: Guard,
    /// What the source holds of it.
    sources: Vec<Key>,
    /// What the target will.
    copies: Vec<(Key, Value)>,
}

/// What a source still holds of a queue.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What can go, in the order in which it is wanted: what waits, what is not due, what has ended.
    pub(super) ready: Vec<Parcel>,
    /// How many attempts run.
    pub(super) running: usize,
}

impl Parcel {
    /// The task's own key.
    pub(super) fn key(&self) -> Key {
        Key::task(self.task)
    }

    /// Into the target, unless it is there.
    pub(super) fn copy(&self, bugs: Planted) -> Step {
        let is_unique = |key: &Key| matches!(Meaning::of(key), Meaning::Unique);
        let mut guards = vec![Guard::Absent(self.key())];
        let uniques = self.copies.iter().filter(|(key, _)| is_unique(key));
        guards.extend(uniques.map(|(key, _)| Guard::Absent(key.clone())));
        if bugs.has(Bug::CopyUnguarded) {
            guards.clear();
        }
        let writes = self.copies.iter().map(|(key, value)| Write::Put {
            key: key.clone(),
            value: value.clone(),
            lease: None,
        });
        Step::new(guards, writes.collect())
    }

    /// Out of the source.
    pub(super) fn remove(&self) -> Step {
        let keys = self.sources.iter().cloned();
        let writes = keys.map(|key| Write::Delete { key }).collect();
        Step::new(vec![self.witness.clone()], writes)
    }
}

/// Everything that `source` holds of a queue. (The product finds what lives in its view, and what has ended by going
/// through the tasks page by page, as its janitor does.)
pub(super) fn left_in(queue: &QueueName, source: &Snapshot, bugs: Planted) -> Left {
    let mut live: BTreeMap<TaskId, (&Key, &Found)> = BTreeMap::new();
    for (key, found) in source.all() {
        if let Some(task) = live_task(key) {
            live.insert(task, (key, found));
        }
    }
    let mut left = Left::default();
    let mut sorted = Vec::new();
    for (task, record) in tasks_in(source) {
        if record.queue != *queue {
            continue;
        }
        let place = live.get(&task).copied();
        let runs = place.is_some_and(|(key, _)| matches!(Meaning::of(key), Meaning::Claim(..)));
        if runs && !bugs.has(Bug::ClaimsCopied) {
            left.running += 1;
        } else if let Some(parcel) = parcel(task, &record, place, source, bugs) {
            // What waits comes first, then what is not due; ids are ordered by age.
            let order = (place.is_none(), place.map(|(key, _)| !is_entry(key)));
            sorted.push((order, place.map(|(key, _)| key.clone()), parcel));
        }
    }
    sorted.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    left.ready = sorted.into_iter().map(|(_, _, parcel)| parcel).collect();
    left
}

fn tasks_in(source: &Snapshot) -> BTreeMap<TaskId, TaskRecord> {
    let tasks = source.all();
    tasks
        .filter_map(|(key, found)| written(key, &found.value))
        .collect()
}

fn is_entry(key: &Key) -> bool {
    matches!(Meaning::of(key), Meaning::Entry(..))
}

fn parcel(
    task: TaskId,
    record: &TaskRecord,
    place: Option<(&Key, &Found)>,
    source: &Snapshot,
    bugs: Planted,
) -> Option<Parcel> {
    let outcome = Key::outcome(task);
    let (key, found) = match place {
        Some(place) => place,
        None => (&outcome, source.get(&outcome)?),
    };
    let mut all: Vec<(Key, Value)> = source
        .range(&Range::of_task(task))
        .map(|(key, found)| (key.clone(), found.value.clone()))
        .collect();
    all.extend(place.map(|(key, found)| (key.clone(), found.value.clone())));
    let unique = record.unique.as_deref().map(Key::unique);
    let others = [Some(Key::dead(&record.queue, task)), unique];
    for key in others.into_iter().flatten() {
        let value = source.get(&key).map(|found| found.value.clone());
        all.extend(value.map(|value| (key, value)));
    }
    let sources: Vec<Key> = all.iter().map(|(key, _)| key.clone()).collect();
    // Whatever goes over has a record of its own from then on: by that it is known there.
    if !sources.contains(&Key::task(task)) {
        all.push((Key::task(task), record.encode()));
    }
    if bugs.has(Bug::KeysLeftOut) {
        all.retain(|(key, _)| !matches!(Meaning::of(key), Meaning::Unique));
    }
    Some(Parcel {
        task,
        has_ended: place.is_none(),
        witness: unchanged(key.clone(), found.modified),
        sources,
        copies: all.into_iter().map(set_down).collect(),
    })
}

/// An outcome without its task; a claim, which never should be among what goes over, made an entry; all else as it is.
fn set_down((key, value): (Key, Value)) -> (Key, Value) {
    if let Meaning::Outcome(_) = Meaning::of(&key) {
        return (key, without_task(&value));
    }
    let Meaning::Claim(_, place) = Meaning::of(&key) else {
        return (key, value);
    };
    let claim = BasedClaim::decode(&value).expect("only this simulation writes claims");
    let entry = EntryRecord {
        v: Version,
        carry: claim.claim.carry,
    };
    (Key::entry(&claim.claim.queue, place), entry.encode())
}
