//! What happened lately, for watches that resume.

use std::collections::VecDeque;

use super::log::Edit;
use crate::ids::Revision;
use crate::keyspace::Range;
use crate::store::Change;

/// The asked-for history is forgotten. Read everything again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("history before revision {at} is compacted")]
pub struct Compacted {
    /// The oldest revision that a watch may still start from.
    pub at: Revision,
}

/// The last changes, whole revisions only, up to a number.
#[derive(Debug, Clone)]
pub(super) struct History {
    max: usize,
    compacted: Revision,
    changes: VecDeque<Change>,
}

impl History {
    /// An empty history, complete from the beginning.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            compacted: Revision(0),
            changes: VecDeque::new(),
        }
    }

    /// Appends what the revision `at` did to one key.
    pub(super) fn push(&mut self, at: Revision, edit: &Edit) {
        if self.max == 0 {
            self.compacted = at.next();
            return;
        }
        if self.changes.len() == self.max
            && let Some(oldest) = self.changes.front().map(Change::at)
        {
            // Part of a revision is not a history.
            self.compact(oldest.next());
        }
        // The rest of a revision that alone is longer than the whole history has no place.
        if at >= self.compacted {
            self.changes.push_back(edit.change(at));
        }
    }

    /// Forgets everything before `at`. `false` when that was forgotten already.
    pub(super) fn compact(&mut self, at: Revision) -> bool {
        if at <= self.compacted {
            return false;
        }
        self.compacted = at;
        let keep = self.changes.partition_point(|change| change.at() < at);
        self.changes.drain(..keep);
        true
    }

    /// What happened in a range after a revision.
    pub(super) fn since(&self, range: &Range, after: Revision) -> Result<Vec<Change>, Compacted> {
        if after.next() < self.compacted {
            return Err(Compacted { at: self.compacted });
        }
        let skip = self.changes.partition_point(|change| change.at() <= after);
        Ok(self
            .changes
            .range(skip..)
            .filter(|change| range.contains(change.key()))
            .cloned()
            .collect())
    }

    /// The oldest revision that a watch may still start from.
    pub(super) fn compacted(&self) -> Revision {
        self.compacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Key;

    fn delete(name: &str) -> Edit {
        let key = Key::from_store(name);
        Edit::Delete { key }
    }

    fn all() -> Range {
        Range::new(Key::from_store(""), Key::from_store("~"))
    }

    fn revisions(history: &History, after: u64) -> Result<Vec<u64>, Compacted> {
        let changes = history.since(&all(), Revision(after))?;
        Ok(changes.iter().map(|change| change.at().0).collect())
    }

    #[test]
    fn a_full_history_forgets_whole_revisions() {
        let mut history = History::new(3);
        history.push(Revision(2), &delete("a"));
        history.push(Revision(2), &delete("b"));
        history.push(Revision(3), &delete("a"));
        assert_eq!(revisions(&history, 1), Ok(vec![2, 2, 3]));
        history.push(Revision(4), &delete("a"));
        assert_eq!(revisions(&history, 2), Ok(vec![3, 4]));
        assert_eq!(
            revisions(&history, 1),
            Err(Compacted { at: Revision(3) }),
            "revision 2 is not remembered by half"
        );
    }

    #[test]
    fn a_revision_longer_than_the_history_is_not_remembered_at_all() {
        let mut history = History::new(1);
        history.push(Revision(2), &delete("a"));
        history.push(Revision(2), &delete("b"));
        history.push(Revision(2), &delete("c"));
        assert_eq!(revisions(&history, 1), Err(Compacted { at: Revision(3) }));
        assert_eq!(revisions(&history, 2), Ok(vec![]));
        history.push(Revision(3), &delete("a"));
        assert_eq!(revisions(&history, 2), Ok(vec![3]));
    }

    #[test]
    fn a_watch_may_start_exactly_at_the_compacted_revision() {
        let mut history = History::new(9);
        for at in 2..6 {
            history.push(Revision(at), &delete("a"));
        }
        assert!(history.compact(Revision(4)) && !history.compact(Revision(4)));
        assert_eq!(revisions(&history, 3), Ok(vec![4, 5]));
        assert_eq!(revisions(&history, 2), Err(Compacted { at: Revision(4) }));
    }

    #[test]
    fn without_room_nothing_is_remembered_but_the_present() {
        let mut history = History::new(0);
        history.push(Revision(2), &delete("a"));
        assert_eq!(revisions(&history, 1), Err(Compacted { at: Revision(3) }));
        assert_eq!(revisions(&history, 2), Ok(vec![]));
    }
}
