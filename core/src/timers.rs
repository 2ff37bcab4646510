//! The timer table: at most one deadline a key, and the key is the reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Mono;

/// At most one deadline for each key, ordered by time, then key.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    at: BTreeMap<K, Mono>,
    queue: BTreeSet<(Mono, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            at: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the deadline of `key`, replacing an earlier one. A deadline lies in the future, so that `handle` ends.
    pub fn arm(&mut self, now: Mono, key: K, at: Mono) {
        assert!(at > now, "a deadline lies in the future");
        match self.at.insert(key, at) {
            Some(before) if before == at => return,
            Some(before) => self.unqueue(before, key),
            None => {}
        }
        self.queue.insert((at, key));
    }

    /// Forgets the deadline of `key`, if it has one.
    pub fn disarm(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.unqueue(at, key);
        }
    }

    fn unqueue(&mut self, at: Mono, key: K) {
        let was_queued = self.queue.remove(&(at, key));
        assert!(was_queued, "both indexes hold the same timers");
    }

    /// Whether `key` has a deadline.
    pub fn is_armed(&self, key: K) -> bool {
        self.at.contains_key(&key)
    }

    /// The earliest deadline and its reason.
    pub fn earliest(&self) -> Option<(Mono, K)> {
        self.queue.first().copied()
    }

    /// Takes the earliest timer that is due out of the table, before its action runs.
    pub fn pop_due(&mut self, now: Mono) -> Option<K> {
        let (_, key) = self.earliest().filter(|(at, _)| *at <= now)?;
        self.disarm(key);
        Some(key)
    }
}

/// The earliest of several deadlines, and its reason. Every machine asks this after every input.
pub(crate) fn earliest<K: Ord, const N: usize>(all: [Option<(Mono, K)>; N]) -> Option<(Mono, K)> {
    let mut first = None;
    for next in all {
        let is_earlier = match (&next, &first) {
            (Some(next), Some(first)) => next < first,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_earlier {
            first = next;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Mono {
        Mono::from_nanos(nanos)
    }

    #[test]
    fn timers_fire_in_order_of_time_then_key() {
        let mut timers = Timers::default();
        timers.arm(at(0), 'b', at(2));
        timers.arm(at(0), 'a', at(2));
        timers.arm(at(0), 'c', at(1));
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_due(at(2))).collect();
        assert_eq!(fired, ['c', 'a', 'b']);
        assert_eq!(timers.earliest(), None);
    }

    #[test]
    fn of_equal_deadlines_the_first_reason_counts_and_of_none_nothing_does() {
        let all = [
            None,
            Some((at(3), 'b')),
            Some((at(3), 'a')),
            Some((at(4), 'a')),
        ];
        assert_eq!(earliest(all), Some((at(3), 'a')));
        assert_eq!(earliest::<char, 2>([None, None]), None);
    }

    #[test]
    fn arming_again_replaces_the_deadline() {
        let mut timers = Timers::default();
        timers.arm(at(0), 'a', at(5));
        timers.arm(at(0), 'a', at(9));
        assert_eq!(timers.pop_due(at(8)), None);
        assert_eq!(timers.pop_due(at(9)), Some('a'));
    }

    #[test]
    #[should_panic(expected = "in the future")]
    fn a_deadline_that_has_passed_is_refused() {
        Timers::default().arm(at(1), 'a', at(1));
    }
}
