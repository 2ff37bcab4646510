//! In proportion to the workers' weights, as evenly as possible: earliest eligible virtual deadline first.
//!
//! Every pick moves a worker's pass on by its stride, which is the smaller the larger its weight; virtual time is the
//! weighted mean of the passes. A worker whose pass lies behind virtual time is owed a pick, and of those the one with
//! the earliest next pass is taken. While the candidates stay the same, the number of a worker's picks is at each moment
//! less than one away from its exact share; plain stride scheduling strays by half the number of workers.
//!
//! Who joins, or becomes free again, starts at the present: nobody catches up on a time when it could not be picked,
//! and nobody is forgiven what it had in advance.

use std::collections::BTreeSet;

use super::index::{Candidate, Index, Seat};
use super::pool::WEIGHT_MAX;
use super::rank::Rank;
use crate::rng::Rng;

/// The stride of weight 1: the smallest number that 1 to 32 divide, so that shares of small weights are exact. The
/// strides of other weights are rounded by less than one part in a hundred million.
const STRIDE_ONE: u64 = 144_403_552_893_600;

/// A point in virtual time. It grows by less than 2⁴⁸ with each pick.
type Pass = u128;

fn stride(weight: u32) -> u64 {
    STRIDE_ONE / u64::from(weight.clamp(1, WEIGHT_MAX))
}

/// The candidates by what they are owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Weighted {
    /// Ties go round by id from here: schedulers that start together do not all start with the same worker.
    origin: Rank,
    /// Where each seat's worker stands, candidate or not.
    members: Vec<Member>,
    /// Candidates whose pass has come, by their next pass.
    owed: BTreeSet<(Pass, u64, Seat)>,
    /// Candidates whose pass is yet to come, by it.
    ahead: BTreeSet<(Pass, u64, Seat)>,
    /// The sum of the candidates' weights.
    weights: u64,
    /// The sum of the candidates' weights × passes.
    moment: u128,
    /// Virtual time as of the last look. Never goes back.
    now: Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Member {
    pass: Pass,
    weight: u32,
    tie: u64,
    is_owed: bool,
}

impl Member {
    /// The pass after the next pick: the virtual deadline of what the worker is owed.
    fn next(&self) -> Pass {
        self.pass + u128::from(stride(self.weight))
    }
}

impl Weighted {
    /// An empty index whose ties go round from `origin`.
    pub(super) fn new(origin: Rank) -> Self {
        Self {
            origin,
            members: Vec::new(),
            owed: BTreeSet::new(),
            ahead: BTreeSet::new(),
            weights: 0,
            moment: 0,
            now: 0,
        }
    }

    /// Virtual time is the weighted mean of the passes, so somebody is always at it or behind it.
    fn advance(&mut self) {
        if self.weights > 0 {
            self.now = self.now.max(self.moment / u128::from(self.weights));
        }
    }

    fn insert(&mut self, seat: Seat, mut member: Member) {
        member.is_owed = member.pass <= self.now;
        if member.is_owed {
            self.owed.insert((member.next(), member.tie, seat));
        } else {
            self.ahead.insert((member.pass, member.tie, seat));
        }
        self.weights += u64::from(member.weight);
        self.moment += u128::from(member.weight) * member.pass;
        self.members[seat.ix()] = member;
    }

    fn remove(&mut self, seat: Seat) {
        let member = self.members[seat.ix()];
        let was_there = if member.is_owed {
            self.owed.remove(&(member.next(), member.tie, seat))
        } else {
            self.ahead.remove(&(member.pass, member.tie, seat))
        };
        assert!(was_there, "a candidate is in one of the two sets");
        self.weights -= u64::from(member.weight);
        self.moment -= u128::from(member.weight) * member.pass;
    }
}

impl Index for Weighted {
    fn moved(&mut self, seat: Seat, before: Option<Candidate>, after: Option<Candidate>) {
        let look = |it: Candidate| (it.capacity.weight.clamp(1, WEIGHT_MAX), it.rank);
        let (before, after) = (before.map(look), after.map(look));
        if before == after {
            return;
        }
        self.advance();
        if self.members.len() <= seat.ix() {
            self.members.resize(seat.ix() + 1, Member::default());
        }
        if before.is_some() {
            self.remove(seat);
        }
        if let Some((weight, rank)) = after {
            let mut pass = self.members[seat.ix()].pass;
            if before.is_none() {
                pass = pass.max(self.now);
            }
            // A worker whose weight has grown waits no longer than its new stride.
            let pass = pass.min(self.now + u128::from(stride(weight)));
            let member = Member {
                pass,
                weight,
                tie: rank.behind(self.origin),
                is_owed: false,
            };
            self.insert(seat, member);
        }
    }

    fn left(&mut self, seat: Seat) {
        if let Some(member) = self.members.get_mut(seat.ix()) {
            *member = Member::default();
        }
    }

    fn reranked(&mut self, to: &dyn Fn(Rank) -> Rank) {
        self.origin = to(self.origin);
    }

    fn pick(&mut self, _: &mut Rng) -> Option<Seat> {
        self.advance();
        while let Some((pass, tie, seat)) = self.ahead.first().copied() {
            if pass > self.now {
                break;
            }
            self.ahead.pop_first();
            let member = &mut self.members[seat.ix()];
            member.is_owed = true;
            self.owed.insert((member.next(), tie, seat));
        }
        let (next, tie, seat) = self.owed.pop_first()?;
        let member = &mut self.members[seat.ix()];
        self.moment += u128::from(member.weight) * (next - member.pass);
        member.pass = next;
        member.is_owed = false;
        self.ahead.insert((next, tie, seat));
        Some(seat)
    }
}

#[cfg(test)]
impl Weighted {
    pub(super) fn assert_holds(&self, candidates: &[(Seat, Candidate)]) {
        let (mut weights, mut moment) = (0, 0);
        for (seat, candidate) in candidates {
            let Member {
                pass,
                weight,
                tie,
                is_owed,
            } = self.members[seat.ix()];
            assert_eq!(weight, candidate.capacity.weight.clamp(1, WEIGHT_MAX));
            assert_eq!(tie, candidate.rank.behind(self.origin));
            let next = pass + u128::from(stride(weight));
            assert_eq!(self.owed.contains(&(next, tie, *seat)), is_owed);
            assert_eq!(self.ahead.contains(&(pass, tie, *seat)), !is_owed);
            weights += u64::from(weight);
            moment += u128::from(weight) * pass;
        }
        assert_eq!(self.owed.len() + self.ahead.len(), candidates.len());
        assert_eq!((self.weights, self.moment), (weights, moment));
    }
}
