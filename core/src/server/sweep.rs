//! Which tasks the janitor looks at next, so that all that goes goes in time, and no read walks over what is gone: until the
//! history is forgotten, etcd passes the keys that were removed as it passes others.

use std::time::Duration;

use super::ended::behind;
use super::window::Window;
use crate::keyspace::{Key, Range};
use crate::time::{Millis, Mono, Now};

/// A look at all tasks is made so many times within the time that they are kept.
const WHOLE_PER_KEPT: u64 = 16;
/// But not more often than this.
const WHOLE_EVERY_MIN: Millis = Millis::from_secs(60);
/// And not less often than this.
const WHOLE_EVERY_MAX: Millis = Millis::from_secs(15 * 60);

/// Looks at the tasks, one after another, each in parts from the oldest tasks to the youngest.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    window: Window,
    /// Where the look goes on; `None` between two.
    cursor: Option<Key>,
    /// Where looks begin. What lies before it has gone, waits for a person, or had not ended: the last, and whatever comes
    /// late, is found by a look at all tasks.
    begin: Option<Key>,
    /// Up to where the look goes, as far as is known.
    reach: Option<Key>,
    /// Where the next look begins, if this one has found a task that goes later.
    begin_next: Option<Option<Key>>,
    /// When all tasks are looked at again.
    whole_at: Mono,
}

impl Sweep {
    /// Whether the next read goes on with a look. Otherwise it may find again what was found by the last one.
    pub(super) fn is_under_way(&self) -> bool {
        self.cursor.is_some()
    }

    /// What is read next, of the tasks that were submitted at least `kept` ago; `None` when these have all been looked at.
    pub(super) fn next(&mut self, now: Now, kept: Millis) -> Option<Range> {
        if self.cursor.is_none() {
            if self.whole_at <= now.mono {
                self.whole_at = now.mono.after(whole_every(kept));
                self.begin = None;
            }
            self.cursor = self.begin.clone();
            self.begin_next = None;
        }
        let range = behind(self.cursor.as_ref(), now.wall, kept);
        self.reach = range.as_ref().map(|it| it.to.clone());
        let Some(range) = range else {
            self.end();
            return None;
        };
        Some(self.window.cut(self.cursor.as_ref(), range))
    }

    /// How many keys are read, at most.
    pub(super) fn page(&self) -> u32 {
        self.window.page()
    }

    /// So many keys were found; `more` tells that there are more of them in what was to be read.
    pub(super) fn learn(&mut self, found: usize, more: bool) {
        self.window.learn(found, more);
    }

    /// The next task behind `before`, or the first of all, goes when it is older.
    pub(super) fn stays(&mut self, before: Option<&Key>) {
        if self.begin_next.is_none() {
            self.begin_next = Some(before.or(self.cursor.as_ref()).cloned());
        }
    }

    /// Everything up to `last` was looked at; all that was to be read if `all`. Whether that was the end of the look.
    pub(super) fn passed(&mut self, last: Option<Key>, all: bool) -> bool {
        let next = if all { self.window.end() } else { last };
        let at_end = next.is_none();
        if at_end {
            // Whoever stopped has not looked at what lies ahead.
            self.reach = self.reach.take().filter(|_| all);
            self.end();
        } else {
            self.cursor = next;
        }
        at_end
    }

    /// The next read begins with the oldest tasks.
    pub(super) fn restart(&mut self) {
        self.cursor = None;
    }

    fn end(&mut self) {
        let reached = self.reach.take().or_else(|| self.cursor.take());
        self.cursor = None;
        self.begin = self.begin_next.take().unwrap_or(reached);
    }
}

fn whole_every(kept: Millis) -> Duration {
    let often = Millis::new(kept.get() / WHOLE_PER_KEPT);
    Duration::from_millis(often.max(WHOLE_EVERY_MIN).min(WHOLE_EVERY_MAX).get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TaskId;
    use crate::time::Wall;

    const KEPT: Millis = Millis::from_secs(10);

    fn key(second: u64) -> Key {
        Key::task(TaskId::floor_of(Wall::from_millis(second * 1_000)))
    }

    fn at(second: u64) -> Now {
        Now {
            mono: Mono::ZERO.after(Duration::from_secs(second)),
            wall: Wall::from_millis(second * 1_000),
        }
    }

    /// Where the look at this second begins, which finds tasks up to `last`.
    fn look(sweep: &mut Sweep, second: u64, stays: Option<u64>, last: Option<u64>) -> Key {
        assert!(!sweep.is_under_way());
        let from = sweep.next(at(second), KEPT).unwrap().from;
        if let Some(before) = stays {
            sweep.stays(Some(&key(before)));
        }
        let mut last = last.map(key);
        while !sweep.passed(last.take(), true) && sweep.next(at(second), KEPT).is_some() {}
        from
    }

    fn behind_key(second: u64) -> Key {
        Range::tasks().behind(&key(second)).from
    }

    #[test]
    fn what_has_gone_is_not_passed_again_until_all_tasks_are_looked_at() {
        let mut sweep = Sweep::default();
        let first = Range::tasks().from;
        assert_eq!(look(&mut sweep, 100, None, Some(80)), first);
        assert_eq!(look(&mut sweep, 101, None, None), behind_key(90));
        assert_eq!(look(&mut sweep, 159, None, None), behind_key(91));
        assert_eq!(look(&mut sweep, 160, None, None), first);
        assert_eq!(look(&mut sweep, 161, None, None), behind_key(150));
    }

    #[test]
    fn what_goes_later_is_looked_at_again() {
        let mut sweep = Sweep::default();
        look(&mut sweep, 100, Some(70), Some(80));
        assert_eq!(look(&mut sweep, 101, Some(70), Some(90)), behind_key(70));
        assert_eq!(look(&mut sweep, 102, None, Some(91)), behind_key(70));
        assert_eq!(look(&mut sweep, 103, None, None), behind_key(92));
    }

    #[test]
    fn a_look_that_is_stopped_goes_on_where_it_was_or_begins_again() {
        let mut sweep = Sweep::default();
        look(&mut sweep, 100, None, Some(50));
        sweep.next(at(101), KEPT);
        assert!(!sweep.passed(Some(key(60)), false));
        assert!(sweep.is_under_way());
        assert_eq!(sweep.next(at(102), KEPT).unwrap().from, behind_key(60));
        sweep.restart();
        assert_eq!(sweep.next(at(103), KEPT).unwrap().from, behind_key(90));
    }

    #[test]
    fn what_a_stopped_look_has_not_looked_at_is_looked_at_next() {
        let mut sweep = Sweep::default();
        look(&mut sweep, 100, None, None);
        sweep.next(at(120), KEPT);
        assert!(sweep.passed(None, false));
        assert_eq!(sweep.next(at(121), KEPT).unwrap().from, behind_key(90));
        assert!(!sweep.passed(Some(key(91)), false));
        let longer = Millis::from_secs(100);
        assert!(sweep.next(at(122), longer).is_none(), "all is too young");
        assert_eq!(sweep.next(at(123), KEPT).unwrap().from, behind_key(91));
    }

    #[test]
    fn all_tasks_are_looked_at_more_often_the_shorter_they_are_kept_within_bounds() {
        let every = |kept| whole_every(Millis::from_secs(kept)).as_secs();
        assert_eq!(
            [0, 960, 3_200, 14_400, 86_400].map(every),
            [60, 60, 200, 900, 900]
        );
    }
}
