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

/// Load first, then the quarter of the CPU in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    load_permille: u32,
    cpu_step: u16,
}

impl Score {
    /// How loaded a candidate is.
    pub(super) fn of(candidate: &Candidate) -> Self {
        let Candidate { capacity, held, .. } = candidate;
        assert!(*held < capacity.slots, "a candidate has a free slot");
        let load = u64::from(*held) * 1_000 / u64::from(capacity.slots);
        Self {
            load_permille: u32::try_from(load).expect("less than a thousand"),
            cpu_step: capacity.cpu_permille.min(999) / CPU_STEP,
        }
    }
}

/// The candidates by load, and where the last pick was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeastLoad {
    candidates: BTreeSet<(Score, Rank, Seat)>,
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
        let key = |it: Candidate| (Score::of(&it), it.rank, seat);
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
        let (least, _, _) = first;
        let behind = (
            Bound::Excluded((least, self.last, Seat::LAST)),
            Bound::Unbounded,
        );
        let later = self.candidates.range(behind).next();
        let (_, rank, seat) = later
            .filter(|(score, _, _)| *score == least)
            .map_or(first, |it| *it);
        self.last = rank;
        Some(seat)
    }
}

#[cfg(test)]
impl LeastLoad {
    pub(super) fn assert_holds(&self, candidates: &[(Seat, Candidate)]) {
        let expected = candidates
            .iter()
            .map(|(seat, it)| (Score::of(it), it.rank, *seat));
        assert_eq!(self.candidates, expected.collect());
    }
}
