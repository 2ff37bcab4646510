//! The workers that may take a task, whatever else they take: what a strategy has to choose from.

use std::collections::{BTreeMap, BTreeSet};
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

/// Names the workers that take tasks of a class. Classes with the same takers have room together, or none of them has.
/// Good for one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TakersIx(usize);

/// All workers that can be used. Workers that differ in what they offer are few kinds, but for deployments where every
/// queue has workers of its own: nothing that is done for a task looks at kinds that do not take it.
#[derive(Debug, Default)]
pub(super) struct Pools {
    kinds: BTreeMap<Kind, OfKind>,
    /// The kinds that serve every queue.
    anywhere: BTreeSet<Kind>,
    by_queue: BTreeMap<QueueName, BTreeSet<Kind>>,
    /// Made when they are needed, and anew when there are other kinds.
    takers: Vec<Takers>,
    takers_of: BTreeMap<QueueName, BTreeMap<TaskType, TakersIx>>,
    by_kinds: BTreeMap<Vec<Kind>, TakersIx>,
    epoch: u64,
}

#[derive(Debug, Default)]
struct OfKind {
    pool: Pool,
    /// Where workers of this kind are among the takers.
    among: Vec<TakersIx>,
}

#[derive(Debug)]
struct Takers {
    kinds: Vec<Kind>,
    /// All workers of several kinds: a queue's strategy spreads tasks over all who take them. Made when it is needed.
    union: Option<Pool>,
}

impl Pools {
    /// Adds a worker, or tells what it has and holds from now on.
    pub(super) fn set(&mut self, kind: &Kind, worker: &NodeId, capacity: Capacity, held: u32) {
        if !self.kinds.contains_key(kind) {
            self.add_kind(kind);
        }
        self.each_pool(kind, |pool| {
            pool.set(worker.clone(), capacity);
            pool.set_held(worker, held);
        });
    }

    /// Forgets a worker.
    pub(super) fn remove(&mut self, kind: &Kind, worker: &NodeId) {
        self.each_pool(kind, |pool| pool.remove(worker));
        if self.kinds.get(kind).is_some_and(|it| it.pool.is_empty()) {
            self.remove_kind(kind);
        }
    }

    fn add_kind(&mut self, kind: &Kind) {
        self.forget_takers();
        self.kinds.insert(kind.clone(), OfKind::default());
        let (queues, _) = &**kind;
        if queues.is_empty() {
            self.anywhere.insert(kind.clone());
        }
        for queue in queues {
            let kinds = self.by_queue.entry(queue.clone()).or_default();
            kinds.insert(kind.clone());
        }
    }

    fn remove_kind(&mut self, kind: &Kind) {
        self.forget_takers();
        self.kinds.remove(kind);
        self.anywhere.remove(kind);
        let (queues, _) = &**kind;
        for queue in queues {
            if let Some(kinds) = self.by_queue.get_mut(queue) {
                kinds.remove(kind);
                if kinds.is_empty() {
                    self.by_queue.remove(queue);
                }
            }
        }
    }

    fn forget_takers(&mut self) {
        self.epoch += 1;
        self.takers.clear();
        self.takers_of.clear();
        self.by_kinds.clear();
        for of_kind in self.kinds.values_mut() {
            of_kind.among.clear();
        }
    }

    /// Grows whenever there are other kinds: then what was said of takers does not hold any more.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// One more claim for a worker.
    pub(super) fn hold(&mut self, kind: &Kind, worker: &NodeId) {
        self.each_pool(kind, |pool| pool.hold(worker));
    }

    /// One fewer.
    pub(super) fn release(&mut self, kind: &Kind, worker: &NodeId) {
        self.each_pool(kind, |pool| pool.release(worker));
    }

    /// The takers that workers of this kind are among.
    pub(super) fn takers_with(&self, kind: &Kind) -> &[TakersIx] {
        self.kinds.get(kind).map_or(&[], |it| &it.among)
    }

    /// Who takes tasks of this queue and type.
    pub(super) fn takers_of(&mut self, queue: &QueueName, of: &TaskType) -> TakersIx {
        let known = self.takers_of.get(queue).and_then(|types| types.get(of));
        if let Some(known) = known {
            return *known;
        }
        let mut kinds: Vec<Kind> = self.fit(queue, of).cloned().collect();
        kinds.sort_unstable();
        let ix = match self.by_kinds.get(&kinds) {
            Some(ix) => *ix,
            None => self.add_takers(kinds),
        };
        let types = self.takers_of.entry(queue.clone()).or_default();
        types.insert(of.clone(), ix);
        ix
    }

    fn add_takers(&mut self, kinds: Vec<Kind>) -> TakersIx {
        let ix = TakersIx(self.takers.len());
        for kind in &kinds {
            let of_kind = self.kinds.get_mut(kind);
            of_kind
                .expect("what fits is a kind that is there")
                .among
                .push(ix);
        }
        self.by_kinds.insert(kinds.clone(), ix);
        let union = None;
        self.takers.push(Takers { kinds, union });
        ix
    }

    /// A worker with a free slot for tasks of this queue and type. Nothing is counted as held yet.
    pub(super) fn pick(
        &mut self,
        queue: &QueueName,
        of: &TaskType,
        strategy: Strategy,
        rng: &mut Rng,
    ) -> Option<NodeId> {
        let TakersIx(ix) = self.takers_of(queue, of);
        if let [only] = &self.takers[ix].kinds[..] {
            return self.kinds.get_mut(only)?.pool.pick(strategy, rng);
        }
        if self.takers[ix].union.is_none() {
            self.takers[ix].union = Some(self.union(&self.takers[ix].kinds));
        }
        self.takers[ix].union.as_mut()?.pick(strategy, rng)
    }

    fn union(&self, kinds: &[Kind]) -> Pool {
        let mut union = Pool::default();
        let pools = kinds.iter().filter_map(|kind| self.kinds.get(kind));
        for (worker, standing) in pools.flat_map(|it| it.pool.iter()) {
            union.set(worker.clone(), standing.capacity);
            union.set_held(worker, standing.held);
        }
        union
    }

    /// Free slots, and all slots, for tasks of this queue and type.
    pub(super) fn capacity(&self, queue: &QueueName, of: &TaskType) -> (u64, u64) {
        let fit = self.fit(queue, of).filter_map(|kind| self.kinds.get(kind));
        fit.fold((0, 0), |(free, slots), OfKind { pool, .. }| {
            (free + pool.free(), slots + pool.slots())
        })
    }

    /// The kinds of workers that take tasks of this queue and type.
    fn fit(&self, queue: &QueueName, of: &TaskType) -> impl Iterator<Item = &Kind> {
        let here = self.by_queue.get(queue).into_iter().flatten();
        let serving = self.anywhere.iter().chain(here);
        serving.filter(|kind| kind.1.binary_search(of).is_ok())
    }

    /// Every pool that has the workers of a kind.
    fn each_pool(&mut self, kind: &Kind, mut tell: impl FnMut(&mut Pool)) {
        let Some(OfKind { pool, among }) = self.kinds.get_mut(kind) else {
            return;
        };
        tell(pool);
        for TakersIx(ix) in among {
            if let Some(union) = &mut self.takers[*ix].union {
                tell(union);
            }
        }
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
    fn classes_that_the_same_workers_take_share_a_name_until_there_are_other_kinds() {
        let (mut pools, kinds) = different();
        let takers = |pools: &mut Pools, queue: &str, of: &str| {
            pools.takers_of(&queue.parse().unwrap(), &of.parse().unwrap())
        };
        let everywhere = takers(&mut pools, "else", "t");
        assert_eq!(takers(&mut pools, "other", "t"), everywhere);
        let here = takers(&mut pools, "q", "t");
        assert_ne!(here, everywhere);
        assert_eq!(takers(&mut pools, "q", "v"), takers(&mut pools, "r", "v"));
        assert_eq!(pools.takers_with(&kinds[0]), [everywhere, here]);
        assert_eq!(pools.takers_with(&kinds[2]), [here]);
        let epoch = pools.epoch();
        pools.set(&kinds[2], &node("w5"), capacity(1), 0);
        assert_eq!(pools.epoch(), epoch, "there is one more of a known kind");
        pools.remove(&kinds[1], &node("w2"));
        assert_ne!(pools.epoch(), epoch);
        assert_eq!(pools.takers_with(&kinds[0]), [], "nobody has asked since");
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
