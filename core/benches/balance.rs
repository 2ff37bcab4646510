//! Placement decisions a second, with 10,000 workers that are half full. A decision is a pick that is held, with the
//! release of an older one, so that the load stays as it is.
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use windlass_core::balance::{Capacity, Pool, Strategy};
use windlass_core::ids::NodeId;
use windlass_core::rng::Rng;

const WORKERS: usize = 10_000;
const SLOTS: u32 = 8;
const DECISIONS: u32 = 200_000;
/// The best one counts: what else the machine does only slows a round down.
const ROUNDS: u32 = 20;

fn half_full(strategy: Strategy, ids: &[NodeId], rng: &mut Rng) -> (Pool, VecDeque<NodeId>) {
    let mut pool = Pool::default();
    for (n, id) in ids.iter().enumerate() {
        let capacity = Capacity {
            slots: SLOTS,
            weight: 1 + u32::try_from(n % 4).expect("below four"),
            cpu_permille: u16::try_from(n % 1_000).expect("below a thousand"),
        };
        pool.set(id.clone(), capacity);
    }
    let mut running = VecDeque::new();
    while pool.free() * 2 > pool.slots() {
        let worker = pool
            .pick(strategy, rng)
            .expect("half of the slots are free");
        pool.hold(&worker);
        running.push_back(worker);
    }
    (pool, running)
}

fn measure(strategy: Strategy, what: &str, ids: &[NodeId]) {
    let mut rng = Rng::new(1);
    let (mut pool, mut running) = half_full(strategy, ids, &mut rng);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..DECISIONS {
            let ended = running.pop_front().expect("half of the slots are taken");
            pool.release(&ended);
            let worker = pool
                .pick(strategy, &mut rng)
                .expect("half of the slots are free");
            pool.hold(&worker);
            running.push_back(worker);
        }
        best = best.min(begun.elapsed());
    }
    let rate = u128::from(DECISIONS) * 1_000_000_000 / best.as_nanos();
    println!("{strategy:<12} {what:<12} {rate:>10} decisions/s");
}

fn main() {
    let id = |text: String| text.parse().expect("a legal name");
    let numbered: Vec<NodeId> = (0..WORKERS).map(|n| id(format!("worker-{n:05}"))).collect();
    let mut rng = Rng::new(2);
    let random: Vec<NodeId> = (0..WORKERS)
        .map(|_| id(format!("{:016x}{:016x}", rng.draw(), rng.draw())))
        .collect();
    for strategy in [
        Strategy::LeastLoad,
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::Weighted,
    ] {
        measure(strategy, "numbered ids", &numbered);
        measure(strategy, "random ids", &random);
    }
}
