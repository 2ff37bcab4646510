//! What a view holds, in sum: the digest that a store is asked for to find what its watch never told.
//!
//! The sum is of what the view *holds*, not of what it was told: a lost event whose key was written again meanwhile has
//! done no harm any more, and shows no difference.

use std::collections::{BTreeMap, VecDeque};

use super::feed::Fed;
use crate::ids::Revision;
use crate::keyspace::{Key, Meaning};
use crate::planted::planted;
use crate::store::{Change, Digest, Item, KeyHash};

/// How many revisions are passed at most while an answer is waited for: at 48 bytes each, six megabytes.
const TRAIL_MAX: usize = 1 << 17;

/// Whether the places of such keys in a cluster's view do not remember their revisions. Those of tasks do: there are many.
pub(super) fn is_apart(meaning: &Meaning) -> bool {
    match meaning {
        Meaning::Entry(..) | Meaning::Claim(..) | Meaning::Delayed(..) | Meaning::Dead(..) => false,
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
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
        | Meaning::Foreign => true,
    }
}

/// The sum of what a view holds, kept up with it.
#[derive(Debug, Default)]
pub struct Known {
    digest: Digest,
    /// The revisions of keys whose places in the view do not remember them.
    apart: BTreeMap<Key, Revision>,
    /// The revisions of keys that the view does not hold because nobody can read what is there.
    unread: BTreeMap<Key, Revision>,
    trail: Option<Trail>,
}

/// The sums that were, since an audit was asked for: its answer is of one revision, and news come in larger steps.
#[derive(Debug)]
struct Trail {
    points: VecDeque<(Revision, Digest)>,
}

impl Known {
    /// The sum now.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A key was written whose place remembers when: `before`, as the place said.
    pub(super) fn put(&mut self, key: &Key, before: Option<Revision>, modified: Revision) {
        let hash = KeyHash::of(key);
        if let Some(before) = before.or_else(|| self.unread.remove(key)) {
            self.digest.remove(hash, before);
        }
        self.digest.add(hash, modified);
    }

    /// A key was written whose place does not remember when.
    pub(super) fn put_apart(&mut self, key: &Key, modified: Revision) {
        let before = self.apart.insert(key.clone(), modified);
        self.put(key, before, modified);
    }

    /// Something was written that nobody can read. The key's place was cleared before.
    pub(super) fn put_unread(&mut self, key: &Key, modified: Revision) {
        self.put(key, None, modified);
        self.unread.insert(key.clone(), modified);
    }

    /// A key is gone whose place remembered `before`.
    pub(super) fn remove(&mut self, key: &Key, before: Option<Revision>) {
        let before = before.or_else(|| self.unread.remove(key));
        if let Some(before) = before.filter(|_| !planted!("P-digest-ignores-deletes")) {
            self.digest.remove(KeyHash::of(key), before);
        }
    }

    /// A key is gone whose place did not remember its revision.
    pub(super) fn remove_apart(&mut self, key: &Key) {
        let before = self.apart.remove(key);
        self.remove(key, before);
    }

    /// Takes what a small view is told, which remembers no revisions by itself.
    pub(super) fn take(&mut self, fed: &Fed) {
        match fed {
            Fed::Nothing | Fed::Lost => {}
            Fed::Restart(items) => {
                *self = Self::default();
                self.take_items(items);
            }
            Fed::More(items) => self.take_items(items),
            Fed::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Put(item) => self.put_apart(&item.key, item.found.modified),
                        Change::Delete { key, .. } => self.remove_apart(key),
                    }
                    self.passed(change.at());
                }
            }
        }
    }

    fn take_items(&mut self, items: &[Item]) {
        for item in items {
            self.put_apart(&item.key, item.found.modified);
        }
    }

    /// From now on the sums are kept that are passed. The view has reached `at`.
    pub(super) fn begin_trail(&mut self, at: Revision) {
        let points = VecDeque::from([(at, self.digest)]);
        self.trail = Some(Trail { points });
    }

    /// They are not needed any more.
    pub(super) fn end_trail(&mut self) {
        self.trail = None;
    }

    /// The view has taken a change of the revision `at`, and perhaps not yet the last.
    pub(super) fn passed(&mut self, at: Revision) {
        let Some(Trail { points }) = &mut self.trail else {
            return;
        };
        if let Some((_, digest)) = points.back_mut().filter(|(last, _)| *last == at) {
            *digest = self.digest;
        } else if points.len() < TRAIL_MAX {
            points.push_back((at, self.digest));
        } else {
            // The audit took too long to be compared with.
            self.trail = None;
        }
    }

    /// The sum at a revision that the view has reached; `None` when the trail does not tell.
    pub(super) fn digest_at(&self, at: Revision) -> Option<Digest> {
        let points = &self.trail.as_ref()?.points;
        let behind = points.partition_point(|(reached, _)| *reached <= at);
        let (_, digest) = points.get(behind.checked_sub(1)?)?;
        Some(*digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        Key::from_store(format!("/offers/{n}"))
    }

    #[test]
    fn the_sum_of_every_revision_on_the_way_is_remembered() {
        let mut known = Known::default();
        known.put_apart(&key(0), Revision(3));
        assert_eq!(known.digest_at(Revision(5)), None, "nobody asked");
        known.begin_trail(Revision(5));
        let before = known.digest();
        for (n, at) in [(1, 7), (2, 7), (0, 9)] {
            known.put_apart(&key(n), Revision(at));
            known.passed(Revision(at));
        }
        let held = |list: &[(u64, u64)]| {
            let keys: Vec<(Key, Revision)> = list
                .iter()
                .map(|(n, at)| (key(*n), Revision(*at)))
                .collect();
            Some(Digest::of(keys.iter().map(|(key, at)| (key, *at))))
        };
        assert_eq!(known.digest_at(Revision(4)), None, "before it began");
        assert_eq!(known.digest_at(Revision(5)), Some(before));
        assert_eq!(known.digest_at(Revision(6)), held(&[(0, 3)]));
        let three = held(&[(0, 3), (1, 7), (2, 7)]);
        assert_eq!(known.digest_at(Revision(7)), three);
        assert_eq!(known.digest_at(Revision(8)), three);
        let last = held(&[(0, 9), (1, 7), (2, 7)]);
        assert_eq!(known.digest_at(Revision(100)), last);
        known.end_trail();
        assert_eq!(known.digest_at(Revision(7)), None);
    }

    #[test]
    fn a_trail_that_grows_too_long_tells_nothing() {
        let mut known = Known::default();
        known.begin_trail(Revision(1));
        for at in 2..=TRAIL_MAX as u64 {
            known.passed(Revision(at));
        }
        assert!(known.digest_at(Revision(1)).is_some());
        known.passed(Revision(TRAIL_MAX as u64 + 1));
        assert_eq!(known.digest_at(Revision(1)), None);
    }
}
