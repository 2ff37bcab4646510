//! One worker after the other, in the order of their ids.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::index::{Candidate, Index, Seat};
use super::rank::Rank;
use crate::rng::Rng;

/// The candidates by id, and where the last pick was. A worker that was full when its turn came has missed it;
/// after one that has left the round goes on somewhere near its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoundRobin {
    candidates: BTreeSet<(Rank, Seat)>,
    last: Rank,
}

impl RoundRobin {
    /// An empty index whose round starts behind `origin`.
    pub(super) fn new(origin: Rank) -> Self {
        Self {
            candidates: BTreeSet::new(),
            last: origin,
        }
    }
}

impl Index for RoundRobin {
    fn moved(&mut self, seat: Seat, before: Option<Candidate>, after: Option<Candidate>) {
        let (before, after) = (before.map(|it| it.rank), after.map(|it| it.rank));
        if before == after {
            return;
        }
        if let Some(rank) = before {
            let was_there = self.candidates.remove(&(rank, seat));
            assert!(was_there, "a candidate is in the index");
        }
        if let Some(rank) = after {
            self.candidates.insert((rank, seat));
        }
    }

    fn left(&mut self, _: Seat) {}

    fn reranked(&mut self, to: &dyn Fn(Rank) -> Rank) {
        self.last = to(self.last);
    }

    fn pick(&mut self, _: &mut Rng) -> Option<Seat> {
        let behind = (Bound::Excluded((self.last, Seat::LAST)), Bound::Unbounded);
        let mut later = self.candidates.range(behind);
        let (rank, seat) = *later.next().or_else(|| self.candidates.first())?;
        self.last = rank;
        Some(seat)
    }
}

#[cfg(test)]
impl RoundRobin {
    pub(super) fn assert_holds(&self, candidates: &[(Seat, Candidate)]) {
        let expected = candidates.iter().map(|(seat, it)| (it.rank, *seat));
        assert_eq!(self.candidates, expected.collect());
    }
}
