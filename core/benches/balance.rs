//! Placement decisions, with workers that are half full. A decision is a pick that is held, with the release of an older
//! one, so that the load stays as it is.

use std::collections::VecDeque;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use windlass_core::balance::{Capacity, Pool, Strategy};
use windlass_core::ids::NodeId;
use windlass_core::rng::Rng;

use crate::samples::node;

const SLOTS: u32 = 8;

/// A pool under a steady load.
struct Load {
    pool: Pool,
    strategy: Strategy,
    running: VecDeque<NodeId>,
    rng: Rng,
}

impl Load {
    fn half_full(strategy: Strategy, workers: u64) -> Self {
        let (mut pool, mut rng) = (Pool::default(), Rng::new(1));
        for n in 0..workers {
            let capacity = Capacity {
                slots: SLOTS,
                weight: 1 + u32::try_from(n % 4).expect("below four"),
                cpu_permille: u16::try_from(rng.below(1_000)).expect("below a thousand"),
            };
            pool.set(node(n), capacity);
        }
        let mut load = Self {
            pool,
            strategy,
            running: VecDeque::new(),
            rng,
        };
        while load.pool.free() * 2 > load.pool.slots() {
            load.place();
        }
        load
    }

    fn place(&mut self) {
        let worker = self.pool.pick(self.strategy, &mut self.rng);
        let worker = worker.expect("half of the slots are free");
        self.pool.hold(&worker);
        self.running.push_back(black_box(worker));
    }

    fn decide(&mut self) {
        let ended = self.running.pop_front();
        let ended = ended.expect("half of the slots are taken");
        self.pool.release(&ended);
        self.place();
    }
}

pub(crate) fn measure(criterion: &mut Criterion) {
    // What reads the results knows this name, and those of the strategies.
    let mut group = criterion.benchmark_group("placement");
    group.throughput(Throughput::Elements(1));
    for strategy in [
        Strategy::LeastLoad,
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Weighted,
    ] {
        for workers in [10, 1_000, 10_000] {
            let mut load = Load::half_full(strategy, workers);
            group.bench_function(BenchmarkId::new(strategy.to_string(), workers), |b| {
                b.iter(|| load.decide());
            });
        }
    }
    group.finish();
}
