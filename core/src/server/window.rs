//! What the janitor reads, and how far it looks in one read. For each part of a range etcd counts all keys that are left
//! in it, so that the oldest of a million tasks cost as much as all of them: a read ends where it may find enough.

use crate::ids::TaskId;
use crate::keyspace::{Key, Meaning, Range};
use crate::time::{Millis, Wall};

/// How many keys are looked at in one go, where few are to be looked at.
const PAGE: u32 = 500;

/// The most: a single janitor must keep up with every submitter, and a transaction must not hold all others up.
const PAGE_MAX: u32 = 4_000;

/// How long a time of submissions the first read covers.
const SPAN_FIRST: Millis = Millis::from_secs(1);
/// The longest: where tasks are few, few reads pass them.
const SPAN_MAX: Millis = Millis::from_secs(30 * 24 * 3_600);

/// The part of the tasks' range that is looked at.
#[derive(Debug)]
pub(super) struct Window {
    span: Millis,
    page: u32,
    /// Where the last read ended, if that is not the end of what was to be looked at.
    end: Option<Key>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            span: SPAN_FIRST,
            page: PAGE,
            end: None,
        }
    }
}

impl Window {
    /// What to read of `range`, which begins behind `cursor`. From the very beginning nothing is known of where tasks are.
    pub(super) fn cut(&mut self, cursor: Option<&Key>, range: Range) -> Range {
        let end = cursor.and_then(submitted_at).map(|begin| {
            let end = begin.as_millis().saturating_add(self.span.get());
            Key::task(TaskId::floor_of(Wall::from_millis(end)))
        });
        self.end = end.filter(|end| range.from < *end && *end < range.to);
        match &self.end {
            Some(end) => Range::new(range.from, end.clone()),
            None => range,
        }
    }

    /// How many keys the next read looks at, at most.
    pub(super) fn page(&self) -> u32 {
        self.page
    }

    /// So many keys were found; `more` tells that these were not all. As long as the end is not reached, reads grow.
    pub(super) fn learn(&mut self, found: usize, more: bool) {
        let enough = usize::try_from(self.page / 2).unwrap_or(usize::MAX);
        let is_behind = more || self.end.is_some();
        self.page = if is_behind && found >= enough {
            (self.page * 2).min(PAGE_MAX)
        } else if is_behind {
            self.page
        } else {
            PAGE
        };
        if more && self.page == PAGE_MAX {
            self.span = Millis::new((self.span.get() / 2).max(1));
        } else if found < enough {
            self.span = Millis::new(self.span.get().saturating_mul(2)).min(SPAN_MAX);
        }
    }

    /// Where the next read begins after this one was looked at to its end: `None` when nothing is left.
    pub(super) fn end(&self) -> Option<Key> {
        self.end.clone()
    }
}

fn submitted_at(key: &Key) -> Option<Wall> {
    if let Meaning::Task(id) | Meaning::Outcome(id) | Meaning::Run(id) = Meaning::of(key) {
        Some(id.created_at())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Key {
        Key::task(TaskId::floor_of(Wall::from_millis(ms)))
    }

    fn from(ms: u64) -> (Option<Key>, Range) {
        let cursor = at(ms);
        let all = Range::new(Range::tasks().from, at(1_000_000_000));
        (Some(cursor.clone()), all.behind(&cursor))
    }

    #[test]
    fn from_a_known_place_on_a_read_has_an_end() {
        let mut window = Window::default();
        let (cursor, range) = from(5_000);
        let cut = window.cut(cursor.as_ref(), range.clone());
        assert_eq!((&cut.from, &cut.to), (&range.from, &at(6_000)));
        assert_eq!(window.end(), Some(at(6_000)));
    }

    #[test]
    fn from_the_beginning_and_close_to_the_end_all_is_read() {
        let mut window = Window::default();
        let (_, range) = from(5_000);
        assert_eq!(window.cut(None, range.clone()).to, range.to);
        assert_eq!(window.end(), None);
        let (cursor, range) = from(999_999_500);
        assert_eq!(window.cut(cursor.as_ref(), range.clone()).to, range.to);
        assert_eq!(window.end(), None, "nothing is left behind it");
    }

    #[test]
    fn the_span_follows_how_many_tasks_there_are() {
        let mut window = Window::default();
        let mut span = |found, more| {
            let (cursor, range) = from(0);
            window.cut(cursor.as_ref(), range.clone());
            window.page = PAGE_MAX;
            window.learn(found, more);
            let cut = window.cut(cursor.as_ref(), range);
            submitted_at(&cut.to).unwrap().as_millis()
        };
        assert_eq!(span(4_000, true), 500);
        assert_eq!(span(4_000, true), 250);
        assert_eq!(span(3_500, false), 250);
        assert_eq!(span(1_999, false), 500);
        assert_eq!(span(0, false), 1_000);
        for _ in 0..100 {
            span(4_000, true);
        }
        assert_eq!(span(4_000, true), 1, "it never stands still");
        for _ in 0..100 {
            span(0, false);
        }
        assert_eq!(span(0, false), 1_000_000_000, "nor goes on for ever");
    }

    #[test]
    fn reads_grow_until_the_end_is_reached() {
        let mut window = Window::default();
        let mut read = |begin, found, more| {
            let (cursor, range) = from(begin);
            window.cut(cursor.as_ref(), range);
            window.learn(found, more);
            window.page()
        };
        assert_eq!(read(0, 500, true), 1_000);
        assert_eq!(read(0, 600, false), 2_000, "a window's end is not the end");
        assert_eq!(read(0, 900, false), 2_000, "there is room for more in it");
        assert_eq!(read(0, 2_000, true), PAGE_MAX);
        assert_eq!(read(0, 4_000, true), PAGE_MAX);
        assert_eq!(read(999_999_999, 4_000, false), PAGE, "that was all");
    }
}
