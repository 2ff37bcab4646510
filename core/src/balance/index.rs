//! What the index of a strategy is told, and what it is asked.

use super::Strategy;
use super::least_load::LeastLoad;
use super::pool::Capacity;
use super::random::Random;
use super::rank::Rank;
use super::round_robin::RoundRobin;
use super::weighted::Weighted;
use crate::rng::Rng;

/// Where a worker sits in its pool's tables. Given away again after the worker has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(pub(super) u32);

impl Seat {
    /// Behind every seat that is taken.
    pub(super) const LAST: Self = Self(u32::MAX);

    pub(super) fn ix(self) -> usize {
        usize::try_from(self.0).expect("a pool counts its seats in 32 bits")
    }
}

/// A worker with a free slot, as the indexes see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) capacity: Capacity,
    pub(super) held: u32,
}

/// The workers with free slots in the order of one strategy.
pub(super) trait Index {
    /// A worker became, was, or is no longer a candidate. `None` is a worker that must not be picked.
    fn moved(&mut self, seat: Seat, before: Option<Candidate>, after: Option<Candidate>);

    /// The worker in this seat has left the pool for good.
    fn left(&mut self, seat: Seat);

    /// Every rank got a new number; `to` gives the new one of a place that was remembered.
    fn reranked(&mut self, to: &dyn Fn(Rank) -> Rank);

    /// The candidate whose turn it is.
    fn pick(&mut self, rng: &mut Rng) -> Option<Seat>;
}

/// The indexes that were asked for so far: a pool pays only for the strategies in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Indexes {
    least_load: Option<LeastLoad>,
    round_robin: Option<RoundRobin>,
    random: Option<Random>,
    weighted: Option<Weighted>,
}

impl Indexes {
    pub(super) fn has(&self, strategy: Strategy) -> bool {
        match strategy {
            Strategy::LeastLoad => self.least_load.is_some(),
            Strategy::RoundRobin => self.round_robin.is_some(),
            Strategy::Random => self.random.is_some(),
            Strategy::Weighted => self.weighted.is_some(),
        }
    }

    pub(super) fn create(&mut self, strategy: Strategy, origin: Rank) -> &mut dyn Index {
        match strategy {
            Strategy::LeastLoad => self.least_load.insert(LeastLoad::new(origin)),
            Strategy::RoundRobin => self.round_robin.insert(RoundRobin::new(origin)),
            Strategy::Random => self.random.insert(Random::default()),
            Strategy::Weighted => self.weighted.insert(Weighted::new(origin)),
        }
    }

    pub(super) fn get(&mut self, strategy: Strategy) -> Option<&mut dyn Index> {
        match strategy {
            Strategy::LeastLoad => self.least_load.as_mut().map(|it| it as _),
            Strategy::RoundRobin => self.round_robin.as_mut().map(|it| it as _),
            Strategy::Random => self.random.as_mut().map(|it| it as _),
            Strategy::Weighted => self.weighted.as_mut().map(|it| it as _),
        }
    }

    pub(super) fn each(&mut self, mut tell: impl FnMut(&mut dyn Index)) {
        if let Some(index) = &mut self.least_load {
            tell(index);
        }
        if let Some(index) = &mut self.round_robin {
            tell(index);
        }
        if let Some(index) = &mut self.random {
            tell(index);
        }
        if let Some(index) = &mut self.weighted {
            tell(index);
        }
    }
}

#[cfg(test)]
impl Indexes {
    /// Every index that exists holds exactly these candidates.
    pub(super) fn assert_hold(&self, candidates: &[(Seat, Candidate)]) {
        if let Some(index) = &self.least_load {
            index.assert_holds(candidates);
        }
        if let Some(index) = &self.round_robin {
            index.assert_holds(candidates);
        }
        if let Some(index) = &self.random {
            index.assert_holds(candidates);
        }
        if let Some(index) = &self.weighted {
            index.assert_holds(candidates);
        }
    }
}
