//! Which of many ranges hold a key? The order of keys is cut where any range begins or ends; each piece knows the ranges
//! that cover it, so a key's ranges are found without looking at the others.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::keyspace::{Key, Range};

/// Ranges by what they cover. Ranges are named by small numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Segments {
    /// From each cut to the next: the ranges that cover it, ascending. Before the first cut there are none.
    cuts: BTreeMap<Key, Vec<u32>>,
}

impl Segments {
    /// Adds a range under a number that is not in use. A reversed range covers nothing.
    pub(super) fn add(&mut self, range: &Range, number: u32) {
        if range.from >= range.to {
            return;
        }
        self.cut(&range.from);
        self.cut(&range.to);
        for (_, covering) in self.cuts.range_mut(&range.from..&range.to) {
            let place = covering.partition_point(|other| *other < number);
            covering.insert(place, number);
        }
    }

    /// Removes a range that was added under this number.
    pub(super) fn remove(&mut self, range: &Range, number: u32) {
        if range.from >= range.to {
            return;
        }
        for (_, covering) in self.cuts.range_mut(&range.from..&range.to) {
            covering.retain(|other| *other != number);
        }
        self.heal(&range.from);
        self.heal(&range.to);
    }

    /// The ranges that hold `key`, ascending.
    pub(super) fn covering(&self, key: &Key) -> &[u32] {
        self.cuts
            .range((Bound::Unbounded, Bound::Included(key)))
            .next_back()
            .map_or(&[], |(_, covering)| covering)
    }

    fn cut(&mut self, at: &Key) {
        if !self.cuts.contains_key(at) {
            let covering = self.covering(at).to_vec();
            self.cuts.insert(at.clone(), covering);
        }
    }

    /// Removes a cut that parts nothing any more.
    fn heal(&mut self, at: &Key) {
        let before = self
            .cuts
            .range((Bound::Unbounded, Bound::Excluded(at)))
            .next_back()
            .map_or(&[][..], |(_, covering)| covering);
        if self.cuts.get(at).is_some_and(|own| own == before) {
            self.cuts.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Key {
        Key::from_store(format!("/{byte:02}"))
    }

    proptest! {
        #[test]
        fn a_key_is_covered_by_exactly_the_ranges_that_contain_it(
            ranges in prop::collection::vec((0_u8..12, 0_u8..12, any::<bool>()), 0..12),
        ) {
            let mut segments = Segments::default();
            let ranges: Vec<_> = ranges
                .into_iter()
                .map(|(from, to, keep)| (Range::new(key(from), key(to)), keep))
                .collect();
            for (number, (range, _)) in (0..).zip(&ranges) {
                segments.add(range, number);
            }
            for (number, (range, keep)) in (0..).zip(&ranges) {
                if !keep {
                    segments.remove(range, number);
                }
            }
            for byte in 0..13 {
                let expected: Vec<u32> = (0..)
                    .zip(&ranges)
                    .filter(|(_, (range, keep))| *keep && range.contains(&key(byte)))
                    .map(|(number, _)| number)
                    .collect();
                prop_assert_eq!(segments.covering(&key(byte)), &expected[..]);
            }
            for (number, (range, keep)) in (0..).zip(&ranges) {
                if *keep {
                    segments.remove(range, number);
                }
            }
            prop_assert!(segments.cuts.is_empty(), "nothing is left: {:?}", segments);
        }
    }
}
