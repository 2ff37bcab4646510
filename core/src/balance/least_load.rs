//! The worker with the smallest share of its slots in use.
//!
//! Load is what this pool counts at once, claims over slots, in thousandths. The CPU that a worker reports refines it:
//! among equally loaded workers the less busy machine comes first. It never outweighs a claim, because a report is
//! seconds old: if it did, all tasks of those seconds would go to whoever looked idle last. For the same reason it
//! counts in quarters only, so that noise decides nothing.
//!
//! What is still equal goes round by id, behind the last pick and first from a place that each pool draws: schedulers
//! that see the same loads do not all choose the same worker.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::index::{Candidate, Index, Seat};
use super::rank::Rank;
use crate::rng::Rng;

/// The width of a step of reported CPU, in thousandths.
const CPU_STEP: u16 = 250;

/// How many of them there are.
const CPU_STEPS: u32 = 4;

/// Load, then the quarter of the CPU in use, then the rank, then the seat, in one number: comparing it is most of what a
/// decision costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u128);

impl Key {
    fn new(score: u32, rank: Rank, seat: Seat) -> Self {
        let (score, rank) = (u128::from(score), u128::from(rank.number()));
        Self(score << 96 | rank << 32 | u128::from(seat.0))
    }

    fn of(seat: Seat, candidate: &Candidate) -> Self {
        let Candidate { capacity, held, .. } = candidate;
        assert!(*held < capacity.slots, "a candidate has a free slot");
        let load = u64::from(*held) * 1_000 / u64::from(capacity.slots);
        let load = u32::try_from(load).expect("less than a thousand");
        let step = u32::from(capacity.cpu_permille.min(999) / CPU_STEP);
        Self::new(load * CPU_STEPS + step, candidate.rank, seat)
    }

    fn score(self) -> u32 {
        u32::try_from(self.0 >> 96).expect("32 bits are left")
    }

    fn rank(self) -> Rank {
        Rank::from_number(u64::try_from(self.0 << 32 >> 64).expect("64 bits are left"))
    }

    fn seat(self) -> Seat {
        Seat(u32::try_from(self.0 << 96 >> 96).expect("32 bits are left"))
    }
}

/// The candidates by load, and where the last pick was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeastLoad {
    candidates: BTreeSet<Key>,
    last: Rank,
}

impl LeastLoad {
    /// An empty index whose first round among equals starts behind `origin`.
    pub(super) fn new(origin: Rank) -> Self {
        Self {
            candidates: BTreeSet::new(),
            last: origin,
        }
    }
}

impl Index for LeastLoad {
    fn moved(&mut self, seat: Seat, before: Option<Candidate>, after: Option<Candidate>) {
        let key = |it: Candidate| Key::of(seat, &it);
        let (before, after) = (before.map(key), after.map(key));
        if before == after {
            return;
        }
        if let Some(key) = before {
            let was_there = self.candidates.remove(&key);
            assert!(was_there, "a candidate is in the index");
        }
        if let Some(key) = after {
            self.candidates.insert(key);
        }
    }

    fn left(&mut self, _: Seat) {}

    fn reranked(&mut self, to: &dyn Fn(Rank) -> Rank) {
        self.last = to(self.last);
    }

    fn pick(&mut self, _: &mut Rng) -> Option<Seat> {
        let first = *self.candidates.first()?;
        let last = Key::new(first.score(), self.last, Seat::LAST);
        let behind = (Bound::Excluded(last), Bound::Unbounded);
        let later = self.candidates.range(behind).next();
        let next = later.filter(|it| it.score() == first.score());
        let next = next.map_or(first, |it| *it);
        self.last = next.rank();
        Some(next.seat())
    }
}

#[cfg(test)]
impl LeastLoad {
    pub(super) fn assert_holds(&self, candidates: &[(Seat, Candidate)]) {
        let expected = candidates.iter().map(|(seat, it)| Key::of(*seat, it));
        assert_eq!(self.candidates, expected.collect());
    }
}
