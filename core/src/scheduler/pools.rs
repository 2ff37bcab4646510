//! The workers that may take a task, whatever else they take: what a strategy has to choose from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::balance::{Capacity, Pool, Strategy};
use crate::ids::{NodeId, QueueName, TaskType};
use crate::record::OfferRecord;
use crate::rng::Rng;

/// The queues and types that a worker offers. Cheap to clone.
pub(super) type Kind = Arc<(Vec<QueueName>, Vec<TaskType>)>;

pub(super) fn kind_of(offer: &OfferRecord) -> Kind {
    Arc::new((offer.queues.clone(), offer.types.clone()))
}

fn takes(kind: &Kind, queue: &QueueName, of: &TaskType) -> bool {
    let (queues, types) = &**kind;
    (queues.is_empty() || queues.contains(queue)) && types.binary_search(of).is_ok()
}

/// All workers that can be used. Workers that differ in what they offer are few kinds.
#[derive(Debug, Default)]
pub(super) struct Pools {
    kinds: BTreeMap<Kind, Pool>,
    /// All workers of several kinds, where there are tasks that all of these take: a queue's strategy spreads them over
    /// all who take them. Made when they are needed, and anew when there are other kinds.
    unions: BTreeMap<Vec<Kind>, Pool>,
}

impl Pools {
    /// Adds a worker, or tells what it has and holds from now on.
    pub(super) fn set(&mut self, kind: &Kind, worker: &NodeId, capacity: Capacity, held: u32) {
        if !self.kinds.contains_key(kind) {
            self.unions.clear();
            self.kinds.insert(kind.clone(), Pool::default());
        }
        for pool in self.pools_of(kind) {
            pool.set(worker.clone(), capacity);
            pool.set_held(worker, held);
        }
    }

    /// Forgets a worker.
    pub(super) fn remove(&mut self, kind: &Kind, worker: &NodeId) {
        for pool in self.pools_of(kind) {
            pool.remove(worker);
        }
        if self.kinds.get(kind).is_some_and(Pool::is_empty) {
            self.unions.clear();
            self.kinds.remove(kind);
        }
    }

    /// One more claim for a worker.
    pub(super) fn hold(&mut self, kind: &Kind, worker: &NodeId) {
        for pool in self.pools_of(kind) {
            pool.hold(worker);
        }
    }

    /// One fewer.
    pub(super) fn release(&mut self, kind: &Kind, worker: &NodeId) {
        for pool in self.pools_of(kind) {
            pool.release(worker);
        }
    }

    /// A worker with a free slot for tasks of this queue and type. Nothing is counted as held yet.
    pub(super) fn pick(
        &mut self,
        queue: &QueueName,
        of: &TaskType,
        strategy: Strategy,
        rng: &mut Rng,
    ) -> Option<NodeId> {
        let mut fit = self.kinds.iter_mut().filter(|it| takes(it.0, queue, of));
        let (first, pool) = fit.next()?;
        let Some((second, _)) = fit.next() else {
            return pool.pick(strategy, rng);
        };
        let mut kinds = vec![first.clone(), second.clone()];
        kinds.extend(fit.map(|it| it.0.clone()));
        if !self.unions.contains_key(&kinds) {
            let union = self.union(&kinds);
            self.unions.insert(kinds.clone(), union);
        }
        self.unions.get_mut(&kinds)?.pick(strategy, rng)
    }

    fn union(&self, kinds: &[Kind]) -> Pool {
        let mut union = Pool::default();
        let pools = kinds.iter().filter_map(|kind| self.kinds.get(kind));
        for (worker, standing) in pools.flat_map(Pool::iter) {
            union.set(worker.clone(), standing.capacity);
            union.set_held(worker, standing.held);
        }
        union
    }

    /// Free slots, and all slots, for tasks of this queue and type.
    pub(super) fn capacity(&self, queue: &QueueName, of: &TaskType) -> (u64, u64) {
        let fit = self.kinds.iter().filter(|it| takes(it.0, queue, of));
        fit.fold((0, 0), |(free, slots), (_, pool)| {
            (free + pool.free(), slots + pool.slots())
        })
    }

    /// Every pool that has the workers of a kind.
    fn pools_of(&mut self, kind: &Kind) -> impl Iterator<Item = &mut Pool> {
        let unions = self.unions.iter_mut();
        let unions = unions.filter(|it| it.0.contains(kind)).map(|it| it.1);
        self.kinds.get_mut(kind).into_iter().chain(unions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(weight: u32) -> Capacity {
        Capacity {
            slots: 4,
            weight,
            cpu_permille: 0,
        }
    }

    fn kind(queues: &[&str], types: &[&str]) -> Kind {
        let queues = queues.iter().map(|it| it.parse().unwrap()).collect();
        let types = types.iter().map(|it| it.parse().unwrap()).collect();
        Arc::new((queues, types))
    }

    fn node(id: &str) -> NodeId {
        id.parse().unwrap()
    }

    /// Three workers that differ, each with its weight; all of them take `t` from the queue `q`.
    fn different() -> (Pools, [Kind; 3]) {
        let kinds = [
            kind(&[], &["t"]),
            kind(&[], &["t", "u"]),
            kind(&["q"], &["t"]),
        ];
        let mut pools = Pools::default();
        for (kind, (worker, weight)) in kinds.iter().zip([("w1", 1), ("w2", 2), ("w4", 4)]) {
            pools.set(kind, &node(worker), capacity(weight), 0);
        }
        (pools, kinds)
    }

    fn picks(pools: &mut Pools, queue: &str, of: &str, count: usize) -> BTreeMap<NodeId, usize> {
        let (queue, of) = (queue.parse().unwrap(), of.parse().unwrap());
        let mut rng = Rng::new(7);
        let mut picks = BTreeMap::new();
        for _ in 0..count {
            if let Some(worker) = pools.pick(&queue, &of, Strategy::Weighted, &mut rng) {
                *picks.entry(worker).or_default() += 1;
            }
        }
        picks
    }

    #[test]
    fn workers_that_differ_in_what_they_offer_share_what_they_all_take_by_strategy() {
        let (mut pools, _) = different();
        let expected = [("w1", 10), ("w2", 20), ("w4", 40)].map(|(id, n)| (node(id), n));
        assert_eq!(picks(&mut pools, "q", "t", 70), expected.into());
    }

    #[test]
    fn a_worker_gets_only_what_it_takes() {
        let (mut pools, _) = different();
        assert_eq!(picks(&mut pools, "q", "u", 5), [(node("w2"), 5)].into());
        let elsewhere = [("w1", 10), ("w2", 20)].map(|(id, n)| (node(id), n));
        assert_eq!(picks(&mut pools, "else", "t", 30), elsewhere.into());
        assert_eq!(picks(&mut pools, "q", "v", 5), BTreeMap::new());
    }

    #[test]
    fn a_claim_counts_wherever_its_worker_may_be_picked() {
        let (mut pools, kinds) = different();
        picks(&mut pools, "q", "t", 1);
        for _ in 0..4 {
            pools.hold(&kinds[2], &node("w4"));
        }
        let shared = [("w1", 10), ("w2", 20)].map(|(id, n)| (node(id), n));
        assert_eq!(picks(&mut pools, "q", "t", 30), shared.into());
        let free = |pools: &Pools| pools.capacity(&"q".parse().unwrap(), &"t".parse().unwrap());
        assert_eq!(free(&pools), (8, 12));
        pools.release(&kinds[2], &node("w4"));
        assert_eq!(free(&pools), (9, 12));
        assert!(picks(&mut pools, "q", "t", 7).contains_key(&node("w4")));
    }

    #[test]
    fn kinds_come_and_go_with_their_workers() {
        let (mut pools, kinds) = different();
        picks(&mut pools, "q", "t", 1);
        pools.remove(&kinds[2], &node("w4"));
        let left = [("w1", 10), ("w2", 20)].map(|(id, n)| (node(id), n));
        assert_eq!(picks(&mut pools, "q", "t", 30), left.into());
        pools.set(&kinds[0], &node("w5"), capacity(3), 0);
        assert!(picks(&mut pools, "q", "t", 6).contains_key(&node("w5")));
        pools.set(&kinds[2], &node("w4"), capacity(4), 4);
        assert!(!picks(&mut pools, "q", "t", 10).contains_key(&node("w4")));
        for (kind, worker) in [(0, "w1"), (0, "w5"), (1, "w2"), (2, "w4")] {
            pools.remove(&kinds[kind], &node(worker));
        }
        assert_eq!(picks(&mut pools, "q", "t", 1), BTreeMap::new());
    }
}
