//! The workers that take the same tasks, and which of them is next.

use std::collections::BTreeMap;

use super::Strategy;
use super::index::{Candidate, Index, Indexes, Seat};
use super::name::Name;
use super::rank::Rank;
use crate::ids::NodeId;
use crate::rng::Rng;

/// The largest weight that counts; larger ones are taken for it. Bounds the arithmetic of shares.
pub const WEIGHT_MAX: u32 = 1_000_000;

/// What a worker offers and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// How many claims it takes at the same time.
    pub slots: u32,
    /// Its share under [`Strategy::Weighted`], 1 to [`WEIGHT_MAX`]; what lies outside is taken for the nearer end.
    pub weight: u32,
    /// The busy share of its machine, in thousandths. Refines [`Strategy::LeastLoad`].
    pub cpu_permille: u16,
}

/// A worker as its pool counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What it offers.
    pub capacity: Capacity,
    /// The claims counted for it; more than its slots when several schedulers gave to it at once.
    pub held: u32,
}

/// Why a seat that was reached from an id or an index has a member.
const TAKEN: &str = "ids and indexes lead to taken seats";

#[derive(Debug, Clone)]
struct Member {
    id: NodeId,
    rank: Rank,
    standing: Standing,
}

impl Member {
    fn free(&self) -> u32 {
        let Standing { capacity, held } = self.standing;
        capacity.slots.saturating_sub(held)
    }

    fn candidate(&self) -> Option<Candidate> {
        let Standing { capacity, held } = self.standing;
        (held < capacity.slots).then_some(Candidate {
            rank: self.rank,
            capacity,
            held,
        })
    }
}

/// Workers that offer the same queues and types, with the claims counted for each.
///
/// A worker without a free slot is never picked. Every operation takes O(log n) in the number of workers, except that
/// the first pick by a strategy builds that strategy's index, and that once in a long while a worker's joining deals new
/// ranks to all.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    seats: BTreeMap<Name, Seat>,
    members: Vec<Option<Member>>,
    vacant: Vec<Seat>,
    slots: u64,
    free: u64,
    /// Whom the last pick gave: most often the one that is held next.
    picked: Option<Seat>,
    indexes: Indexes,
}

impl Pool {
    /// Adds a worker that holds nothing, or tells what it offers from now on.
    pub fn set(&mut self, worker: NodeId, capacity: Capacity) {
        if let Some(seat) = self.seats.get(&Name::from(worker.clone())) {
            self.change(*seat, |standing| standing.capacity = capacity);
        } else {
            self.join(worker, capacity);
        }
    }

    /// Forgets a worker, if it is known.
    pub fn remove(&mut self, worker: &NodeId) {
        let Some(seat) = self.seats.remove(&Name::from(worker.clone())) else {
            return;
        };
        let member = self.members[seat.ix()].take().expect(TAKEN);
        self.slots -= u64::from(member.standing.capacity.slots);
        self.free -= u64::from(member.free());
        if let Some(candidate) = member.candidate() {
            self.indexes
                .each(|index| index.moved(seat, Some(candidate), None));
        }
        self.indexes.each(|index| index.left(seat));
        self.vacant.push(seat);
        self.picked = None;
    }

    /// Counts one more claim for a known worker.
    pub fn hold(&mut self, worker: &NodeId) {
        let seat = self.seat(worker);
        self.change(seat, |standing| standing.held += 1);
    }

    /// Counts one claim fewer for a known worker that holds one.
    pub fn release(&mut self, worker: &NodeId) {
        let seat = self.seat(worker);
        self.change(seat, |standing| {
            assert!(standing.held > 0, "only what is held is released");
            standing.held -= 1;
        });
    }

    /// Sets the number of claims of a known worker.
    pub fn set_held(&mut self, worker: &NodeId, held: u32) {
        let seat = self.seat(worker);
        self.change(seat, |standing| standing.held = held);
    }

    /// A worker with a free slot, by `strategy`. Nothing is counted as held yet, but the worker has had its turn.
    pub fn pick(&mut self, strategy: Strategy, rng: &mut Rng) -> Option<NodeId> {
        if self.free == 0 {
            return None;
        }
        let seat = self.index(strategy, rng).pick(rng);
        assert!(
            seat.is_some(),
            "the index of a pool with free slots has a candidate"
        );
        self.picked = seat;
        let member = self.member(seat?);
        assert!(
            member.free() > 0,
            "a worker without a free slot is never picked"
        );
        Some(member.id.clone())
    }

    /// The free slots of all workers.
    pub fn free(&self) -> u64 {
        self.free
    }

    /// The slots of all workers.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether there is no worker.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// How many workers there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether the worker is known.
    pub fn contains(&self, worker: &NodeId) -> bool {
        self.seats.contains_key(&Name::from(worker.clone()))
    }

    /// How a worker stands, if it is known.
    pub fn get(&self, worker: &NodeId) -> Option<Standing> {
        let seat = self.seats.get(&Name::from(worker.clone()))?;
        Some(self.member(*seat).standing)
    }

    /// All workers, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, Standing)> {
        let members = self.seats.values().map(|it| self.member(*it));
        members.map(|it| (&it.id, it.standing))
    }

    fn seat(&self, worker: &NodeId) -> Seat {
        let is_worker = |seat: &Seat| {
            let member = &self.members[seat.ix()];
            member.as_ref().is_some_and(|it| it.id == *worker)
        };
        match self.picked.filter(is_worker) {
            Some(seat) => seat,
            None => *self
                .seats
                .get(&Name::from(worker.clone()))
                .expect("only known workers hold claims"),
        }
    }

    fn member(&self, seat: Seat) -> &Member {
        self.members[seat.ix()].as_ref().expect(TAKEN)
    }

    fn change(&mut self, seat: Seat, change: impl FnOnce(&mut Standing)) {
        let member = self.members[seat.ix()].as_mut().expect(TAKEN);
        let before = member.candidate();
        self.slots -= u64::from(member.standing.capacity.slots);
        self.free -= u64::from(member.free());
        change(&mut member.standing);
        let after = member.candidate();
        self.slots += u64::from(member.standing.capacity.slots);
        self.free += u64::from(member.free());
        self.indexes.each(|index| index.moved(seat, before, after));
    }

    fn join(&mut self, id: NodeId, capacity: Capacity) {
        let rank = self.rank_for(&id);
        let seat = self.vacant.pop().unwrap_or_else(|| {
            self.members.push(None);
            let last = u32::try_from(self.members.len() - 1).expect("seats are 32-bit numbers");
            Seat(last)
        });
        let member = Member {
            id: id.clone(),
            rank,
            standing: Standing { capacity, held: 0 },
        };
        self.slots += u64::from(capacity.slots);
        self.free += u64::from(member.free());
        if let Some(candidate) = member.candidate() {
            self.indexes
                .each(|index| index.moved(seat, None, Some(candidate)));
        }
        let before = self.members[seat.ix()].replace(member);
        assert!(before.is_none(), "a vacant seat is empty");
        self.seats.insert(Name::from(id), seat);
    }

    /// A rank for a worker that is about to join.
    fn rank_for(&mut self, id: &NodeId) -> Rank {
        self.rank_between_neighbours(id).unwrap_or_else(|| {
            self.deal_ranks();
            let rank = self.rank_between_neighbours(id);
            rank.expect("ranks that were just dealt have room between them")
        })
    }

    fn rank_between_neighbours(&self, id: &NodeId) -> Option<Rank> {
        let name = Name::from(id.clone());
        let rank_of = |(_, seat): (&Name, &Seat)| self.member(*seat).rank;
        let before = self.seats.range(..&name).next_back().map(rank_of);
        let after = self.seats.range(&name..).next().map(rank_of);
        Rank::between(before, after)
    }

    /// Spreads all ranks evenly, when there is no room left between two.
    fn deal_ranks(&mut self) {
        let ranks: Vec<(Rank, Rank)> = {
            let old = self.seats.values().map(|it| self.member(*it).rank);
            old.zip(Rank::deal(self.seats.len())).collect()
        };
        // A remembered place may be that of a worker that has left: it moves to the worker before it.
        let to = |old: Rank| match ranks.partition_point(|it| it.0 <= old) {
            0 => Rank::LOWEST,
            behind => ranks[behind - 1].1,
        };
        self.indexes.each(|index| index.reranked(&to));
        for (seat, (_, rank)) in self.seats.values().zip(&ranks) {
            let member = self.members[seat.ix()].as_mut().expect(TAKEN);
            let before = member.candidate();
            member.rank = *rank;
            let after = member.candidate();
            self.indexes.each(|index| index.moved(*seat, before, after));
        }
    }

    /// The index of `strategy`, built when it is asked for the first time.
    fn index(&mut self, strategy: Strategy, rng: &mut Rng) -> &mut dyn Index {
        if !self.indexes.has(strategy) {
            let origin = self.origin(rng);
            let index = self.indexes.create(strategy, origin);
            for seat in self.seats.values() {
                let member = self.members[seat.ix()].as_ref().expect(TAKEN);
                if let Some(candidate) = member.candidate() {
                    index.moved(*seat, None, Some(candidate));
                }
            }
        }
        let index = self.indexes.get(strategy);
        index.expect("what was missing was built above")
    }

    /// Where this pool's rounds start: at a worker that each pool draws for itself.
    fn origin(&self, rng: &mut Rng) -> Rank {
        let count = u64::try_from(self.seats.len()).expect("seats are counted in 32 bits");
        let nth = usize::try_from(rng.below(count)).expect("below a length");
        let seat = self
            .seats
            .values()
            .nth(nth)
            .expect("drawn below the length");
        self.member(*seat).rank
    }
}

#[cfg(test)]
impl Pool {
    /// Every index that exists holds exactly the candidates.
    pub(super) fn assert_consistent(&self) {
        let taken = self.members.iter().flatten().count();
        assert_eq!(
            (taken, taken + self.vacant.len()),
            (self.len(), self.members.len())
        );
        assert!(
            self.seats
                .values()
                .flat_map(|it| &self.members[it.ix()])
                .is_sorted_by(|a, b| a.rank < b.rank)
        );
        let candidates = self
            .seats
            .values()
            .filter_map(|seat| Some((*seat, self.member(*seat).candidate()?)));
        self.indexes.assert_hold(&candidates.collect::<Vec<_>>());
    }
}
