//! Numbers that order like the ids of a pool's workers, so that indexes break ties by id without reading ids.

/// Orders a pool's workers by id. Only ranks of one pool compare, and only until they are dealt anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

/// The room left behind a new rank where there is plenty: ids that come in order (`worker-10`, `worker-11`, …) then use
/// a gap up bit by bit and do not halve it each time, and ids in any other order still find 32 halvings.
const STEP: u64 = 1 << 32;

impl Rank {
    /// Before every worker's.
    pub(super) const LOWEST: Self = Self(0);

    /// A rank between two neighbours, if there is room. No neighbour stands for the end of all ranks.
    pub(super) fn between(before: Option<Self>, after: Option<Self>) -> Option<Self> {
        let low = before.map_or(0, |rank| rank.0);
        let high = after.map_or(u64::MAX, |rank| rank.0);
        assert!(low < high, "neighbours are in order");
        let half = (high - low) / 2;
        let rank = match (before, after) {
            (None, None) => half,
            (None, Some(_)) => high - half.min(STEP),
            (Some(_), Some(_) | None) => low + half.min(STEP),
        };
        (low < rank && rank < high).then_some(Self(rank))
    }

    /// `count` ranks in order, with equal gaps.
    pub(super) fn deal(count: usize) -> impl Iterator<Item = Self> {
        let count = u64::try_from(count).expect("a count of what is in memory fits 64 bits");
        let gap = u64::MAX / (count + 1);
        (1..=count).map(move |n| Self(n * gap))
    }

    /// The rank as a number that orders the same.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The rank that was this number.
    pub(super) fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// How far behind `origin` this lies, going round.
    pub(super) fn behind(self, origin: Self) -> u64 {
        self.0.wrapping_sub(origin.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_lies_strictly_between_its_neighbours_until_there_is_no_room() {
        let first = Rank::between(None, None).unwrap();
        let (mut low, mut high) = (first, Rank::between(Some(first), None).unwrap());
        assert!(low < high && Rank::between(None, Some(low)).unwrap() < low);
        for round in 0.. {
            let Some(middle) = Rank::between(Some(low), Some(high)) else {
                assert!(round >= 31, "room for {round} only");
                break;
            };
            assert!(low < middle && middle < high);
            if round % 2 == 0 {
                low = middle;
            } else {
                high = middle;
            }
        }
    }

    #[test]
    fn ids_in_ascending_order_hardly_use_up_a_gap() {
        let dealt: Vec<_> = Rank::deal(10_000).collect();
        assert!(dealt.is_sorted());
        let mut low = dealt[7];
        for _ in 0..100_000 {
            low = Rank::between(Some(low), Some(dealt[8])).unwrap();
        }
    }
}
