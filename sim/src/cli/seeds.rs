//! Which seeds.

use std::ops::Range;
use std::str::FromStr;

use windlass_sim::hash_seed;

/// `A..B`, the end excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeedRange(pub(crate) Range<u64>);

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not A..B with A < B");
        let (from, to) = text.split_once("..").ok_or_else(wrong)?;
        let from: u64 = from.parse().map_err(|_| wrong())?;
        let to: u64 = to.parse().map_err(|_| wrong())?;
        if from < to {
            Ok(Self(from..to))
        } else {
            Err(wrong())
        }
    }
}

/// `count` seeds that a commit's hash names: other ones for every commit, the same ones on every machine.
pub(crate) fn of_commit(hash: &str, count: u64) -> SeedRange {
    // Room for the count, and short enough to be typed.
    let first = hash_seed(hash.as_bytes()) >> 24;
    SeedRange(first..first + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_beginning_and_a_later_end() {
        assert_eq!("3..7".parse(), Ok(SeedRange(3..7)));
        for wrong in [
            "", "3", "3..", "..3", "3..3", "7..3", "a..b", "-1..2", "1...2",
        ] {
            assert!(wrong.parse::<SeedRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_commit_names_seeds_of_its_own() {
        let one = of_commit("1f2e3d4", 10);
        assert_eq!(one, of_commit("1f2e3d4", 10));
        assert_ne!(one, of_commit("1f2e3d5", 10));
        assert_eq!(one.0.end - one.0.start, 10);
    }
}
