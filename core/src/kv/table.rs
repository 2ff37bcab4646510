//! What is stored now: keys in order, each with its current value only.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Bound;

use super::lease::Leases;
use super::log::{Edit, Entry};
use crate::ids::Revision;
use crate::keyspace::{Key, Range};
use crate::store::{Failed, Found, Guard, GuardIx, Item, Write};

/// The keys and what they hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    keys: BTreeMap<Key, Entry>,
    bytes: u64,
}

impl Table {
    /// Applies one write at the revision `at`, and appends what it did.
    pub(super) fn apply(
        &mut self,
        at: Revision,
        write: &Write,
        leases: &mut Leases,
        edits: &mut Vec<Edit>,
    ) {
        match write {
            Write::Put { key, value, lease } => {
                let mut entry = Entry {
                    found: Found {
                        created: at,
                        modified: at,
                        value: value.clone(),
                    },
                    version: 1,
                    lease: *lease,
                };
                let before = self.insert(key.clone(), |before| {
                    if let Some(before) = before {
                        entry.found.created = before.found.created;
                        entry.version = before.version + 1;
                    }
                    entry.clone()
                });
                leases.move_key(key, before.and_then(|it| it.lease), *lease);
                let key = key.clone();
                edits.push(Edit::Put { key, entry });
            }
            Write::Delete { key } => {
                if let Some(before) = self.remove(key) {
                    leases.move_key(key, before.lease, None);
                    edits.push(Edit::Delete { key: key.clone() });
                }
            }
            Write::DeleteRange { range } => {
                let keys: Vec<Key> = self.range(range).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    self.apply(at, &Write::Delete { key }, leases, edits);
                }
            }
        }
    }

    /// Does again what an edit says.
    pub(super) fn restore(&mut self, edit: Edit) {
        match edit {
            Edit::Put { key, entry } => {
                self.insert(key, |_| entry);
            }
            Edit::Delete { key } => {
                self.remove(&key);
            }
        }
    }

    /// Removes a key whose lease has ended.
    pub(super) fn remove_leased(&mut self, key: Key) -> Edit {
        let before = self.remove(&key);
        assert!(
            before.is_some_and(|it| it.lease.is_some()),
            "a lease knows only keys that name it"
        );
        Edit::Delete { key }
    }

    fn insert(&mut self, key: Key, entry: impl FnOnce(Option<&Entry>) -> Entry) -> Option<Entry> {
        let key_bytes = key.as_str().len() as u64;
        match self.keys.entry(key) {
            Slot::Vacant(slot) => {
                let entry = slot.insert(entry(None));
                self.bytes += key_bytes + value_bytes(entry);
                None
            }
            Slot::Occupied(mut slot) => {
                let entry = entry(Some(slot.get()));
                self.bytes += value_bytes(&entry);
                let before = slot.insert(entry);
                self.bytes -= value_bytes(&before);
                Some(before)
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let before = self.keys.remove(key)?;
        self.bytes -= key.as_str().len() as u64 + value_bytes(&before);
        Some(before)
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.keys.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The bytes of all keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All entries of a range in the order of keys; none of a reversed one.
    pub(super) fn range(&self, range: &Range) -> impl Iterator<Item = (&Key, &Entry)> {
        let legal = range.from < range.to;
        legal
            .then(|| self.keys.range(&range.from..&range.to))
            .into_iter()
            .flatten()
    }

    /// All entries behind a key, in the order of keys; all there are, without one.
    pub(super) fn behind(&self, key: Option<&Key>) -> impl Iterator<Item = (&Key, &Entry)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((from, Bound::Unbounded))
    }

    /// What some keys hold, each once, in the order of keys, absent keys left out.
    pub(super) fn pick(&self, mut keys: Vec<Key>) -> Vec<Item> {
        keys.sort_unstable();
        keys.dedup();
        keys.iter()
            .filter_map(|key| Some(self.get(key)?.item(key)))
            .collect()
    }

    /// The guards that do not hold, with what was found.
    pub(super) fn failed(&self, guards: &[Guard]) -> Vec<Failed> {
        (0..)
            .map(GuardIx)
            .zip(guards)
            .filter_map(|(ix, guard)| self.failure(ix, guard))
            .collect()
    }

    fn failure(&self, ix: GuardIx, guard: &Guard) -> Option<Failed> {
        if let Guard::Quiet { range, since } = guard {
            let quiet = self
                .range(range)
                .all(|(_, entry)| entry.found.modified <= *since);
            return (!quiet).then_some(Failed {
                guard: ix,
                found: None,
            });
        }
        let found = self.get(guard.key()).map(|entry| &entry.found);
        let holds = guard.holds(found) == Some(true);
        (!holds).then(|| Failed {
            guard: ix,
            found: found.cloned(),
        })
    }
}

fn value_bytes(entry: &Entry) -> u64 {
    entry.found.value.as_bytes().len() as u64
}
