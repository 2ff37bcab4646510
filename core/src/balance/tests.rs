use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::{Capacity, Pool, Standing, Strategy};
use crate::ids::NodeId;
use crate::rng::Rng;

const ALL: [Strategy; 4] = [
    Strategy::LeastLoad,
    Strategy::RoundRobin,
    Strategy::Random,
    Strategy::Weighted,
];

fn id(n: usize) -> NodeId {
    format!("worker-{n}").parse().unwrap()
}

fn capacity(slots: u32, weight: u32) -> Capacity {
    Capacity {
        slots,
        weight,
        cpu_permille: 0,
    }
}

fn pool_of(capacities: impl IntoIterator<Item = Capacity>) -> Pool {
    let mut pool = Pool::default();
    for (n, capacity) in capacities.into_iter().enumerate() {
        pool.set(id(n), capacity);
    }
    pool
}

/// Picks `count` times and counts how often each worker came, without holding.
fn shares(pool: &mut Pool, strategy: Strategy, rng: &mut Rng, count: u64) -> BTreeMap<NodeId, u64> {
    let mut shares: BTreeMap<_, _> = pool.iter().map(|(id, _)| (id.clone(), 0)).collect();
    for _ in 0..count {
        *shares.get_mut(&pool.pick(strategy, rng).unwrap()).unwrap() += 1;
    }
    shares
}

#[derive(Debug, Clone)]
enum Op {
    Set(usize, Capacity),
    Remove(usize),
    Hold(usize),
    Release(usize),
    SetHeld(usize, u32),
    Pick(Strategy),
    PickAndHold(Strategy),
}

fn op() -> impl proptest::strategy::Strategy<Value = Op> {
    let worker = 0..12_usize;
    let strategy = prop::sample::select(&ALL[..]);
    let capacity =
        (0..4_u32, 0..9_u32, 0..1_100_u16).prop_map(|(slots, weight, cpu_permille)| Capacity {
            slots,
            weight,
            cpu_permille,
        });
    prop_oneof![
        3 => (worker.clone(), capacity).prop_map(|(n, it)| Op::Set(n, it)),
        1 => worker.clone().prop_map(Op::Remove),
        2 => worker.clone().prop_map(Op::Hold),
        4 => worker.clone().prop_map(Op::Release),
        1 => (worker, 0..6_u32).prop_map(|(n, held)| Op::SetHeld(n, held)),
        2 => strategy.clone().prop_map(Op::Pick),
        5 => strategy.prop_map(Op::PickAndHold),
    ]
}

/// Applies an operation to a pool and, as plainly as possible, to a table.
fn apply(
    pool: &mut Pool,
    table: &mut BTreeMap<NodeId, Standing>,
    rng: &mut Rng,
    op: &Op,
) -> Option<NodeId> {
    match op {
        Op::Set(n, capacity) => {
            pool.set(id(*n), *capacity);
            let fresh = Standing {
                capacity: *capacity,
                held: 0,
            };
            table.entry(id(*n)).or_insert(fresh).capacity = *capacity;
        }
        Op::Remove(n) => {
            pool.remove(&id(*n));
            table.remove(&id(*n));
        }
        Op::Hold(n) => {
            if let Some(standing) = table.get_mut(&id(*n)) {
                standing.held += 1;
                pool.hold(&id(*n));
            }
        }
        Op::Release(n) => {
            if let Some(standing) = table.get_mut(&id(*n)).filter(|it| it.held > 0) {
                standing.held -= 1;
                pool.release(&id(*n));
            }
        }
        Op::SetHeld(n, held) => {
            if let Some(standing) = table.get_mut(&id(*n)) {
                standing.held = *held;
                pool.set_held(&id(*n), *held);
            }
        }
        Op::Pick(strategy) => return pool.pick(*strategy, rng),
        Op::PickAndHold(strategy) => {
            let picked = pool.pick(*strategy, rng)?;
            table.get_mut(&picked)?.held += 1;
            pool.hold(&picked);
            return Some(picked);
        }
    }
    None
}

fn free(standing: &Standing) -> u64 {
    standing.capacity.slots.saturating_sub(standing.held).into()
}

fn score(standing: &Standing) -> (u32, u16) {
    let Standing { capacity, held } = standing;
    (
        held * 1_000 / capacity.slots,
        capacity.cpu_permille.min(999) / 250,
    )
}

/// What the documentation promises of a pick, checked by looking at everybody.
fn judge(
    table: &BTreeMap<NodeId, Standing>,
    last_round: &mut Option<NodeId>,
    strategy: Strategy,
    picked: Option<&NodeId>,
) {
    let candidates: Vec<_> = table.iter().filter(|it| free(it.1) > 0).collect();
    let Some(picked) = picked else {
        assert!(candidates.is_empty(), "a free slot was overlooked");
        return;
    };
    assert!(
        free(&table[picked]) > 0,
        "a worker without a free slot was picked"
    );
    match strategy {
        Strategy::LeastLoad => {
            let least = candidates.iter().map(|it| score(it.1)).min();
            assert_eq!(Some(score(&table[picked])), least);
        }
        Strategy::RoundRobin => {
            if let Some(last) = last_round.replace(picked.clone()) {
                let later = candidates.iter().find(|it| *it.0 > last);
                assert_eq!(later.unwrap_or(&candidates[0]).0, picked);
            }
        }
        Strategy::Random | Strategy::Weighted => {}
    }
}

proptest! {
    #[test]
    fn a_pool_agrees_with_a_plain_table_whatever_happens(ops in prop::collection::vec(op(), 0..300), seed: u64) {
        let (mut pool, mut rng) = (Pool::default(), Rng::new(seed));
        let (mut table, mut last_round) = (BTreeMap::new(), None);
        for op in &ops {
            let before = table.clone();
            // Who leaves takes its place in the round along.
            last_round = last_round.filter(|last| table.contains_key(last));
            let picked = apply(&mut pool, &mut table, &mut rng, op);
            if let Op::Pick(strategy) | Op::PickAndHold(strategy) = op {
                judge(&before, &mut last_round, *strategy, picked.as_ref());
            }
            prop_assert!(pool.iter().eq(table.iter().map(|(id, it)| (id, *it))));
            prop_assert_eq!(pool.free(), table.values().map(free).sum::<u64>());
            prop_assert_eq!(pool.slots(), table.values().map(|it| u64::from(it.capacity.slots)).sum::<u64>());
            prop_assert_eq!((pool.len(), pool.is_empty()), (table.len(), table.is_empty()));
            pool.assert_consistent();
        }
    }

    #[test]
    fn the_same_calls_pick_the_same_workers(ops in prop::collection::vec(op(), 0..200), seed: u64) {
        let run = || {
            let (mut pool, mut table, mut rng) = (Pool::default(), BTreeMap::new(), Rng::new(seed));
            let picks = ops.iter().map(|op| apply(&mut pool, &mut table, &mut rng, op));
            picks.collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn a_pool_gives_exactly_the_slots_that_it_has(slots in prop::collection::vec(0..5_u32, 0..20), seed: u64) {
        for strategy in ALL {
            let mut pool = pool_of(slots.iter().map(|it| capacity(*it, 1 + it % 3)));
            let mut rng = Rng::new(seed);
            let mut given = 0;
            while let Some(worker) = pool.pick(strategy, &mut rng) {
                pool.hold(&worker);
                given += 1;
            }
            prop_assert_eq!(given, pool.slots());
            prop_assert!(pool.iter().all(|(_, it)| it.held == it.capacity.slots));
        }
    }

    #[test]
    fn a_weighted_share_is_never_a_whole_pick_off(weights in prop::collection::vec(1..200_u32, 1..12), seed: u64) {
        let mut pool = pool_of(weights.iter().map(|it| capacity(1, *it)));
        let mut rng = Rng::new(seed);
        let total: i128 = weights.iter().map(|it| i128::from(*it)).sum();
        let mut counts = vec![0_i128; weights.len()];
        for picks in 1..=1_000_i128 {
            let picked = pool.pick(Strategy::Weighted, &mut rng).unwrap();
            let n: usize = picked.as_str()["worker-".len()..].parse().unwrap();
            counts[n] += 1;
            for (count, weight) in counts.iter().zip(&weights) {
                let off = (count * total - i128::from(*weight) * picks).abs();
                prop_assert!(off <= total, "off by {off}/{total} after {picks} picks");
            }
        }
    }

    #[test]
    fn round_robin_gives_everybody_the_same_to_within_one(count in 1..40_usize, picks in 0..400_u64, seed: u64) {
        let mut pool = pool_of((0..count).map(|_| capacity(1, 1)));
        let shares = shares(&mut pool, Strategy::RoundRobin, &mut Rng::new(seed), picks);
        prop_assert!(shares.values().max().unwrap() - shares.values().min().unwrap() <= 1);
    }

    #[test]
    fn least_load_keeps_equal_workers_level_whatever_they_report(cpu in prop::collection::vec(0..1_001_u16, 1..30), seed: u64) {
        let mut pool = pool_of(cpu.iter().map(|it| Capacity { slots: 7, weight: 1, cpu_permille: *it }));
        let mut rng = Rng::new(seed);
        while let Some(worker) = pool.pick(Strategy::LeastLoad, &mut rng) {
            pool.hold(&worker);
            let held = || pool.iter().map(|it| it.1.held);
            prop_assert!(held().max().unwrap() - held().min().unwrap() <= 1);
        }
    }

    #[test]
    fn workers_may_join_in_any_order(order in Just((0..300_usize).collect::<Vec<_>>()).prop_shuffle(), seed: u64) {
        let (mut pool, mut rng) = (Pool::default(), Rng::new(seed));
        for n in order {
            pool.set(id(n), capacity(1, 1));
            pool.pick(Strategy::RoundRobin, &mut rng).unwrap();
        }
        pool.assert_consistent();
    }
}

#[test]
fn weights_one_two_four_hold_in_every_window() {
    let mut pool = pool_of([1, 2, 4].map(|weight| capacity(1, weight)));
    let mut rng = Rng::new(3);
    let picks: Vec<_> = (0..140)
        .map(|_| pool.pick(Strategy::Weighted, &mut rng).unwrap())
        .collect();
    for window in (1..picks.len()).flat_map(|length| picks.windows(length)) {
        for (n, weight) in [1_i64, 2, 4].into_iter().enumerate() {
            let count = window.iter().filter(|it| **it == id(n)).count() as i64;
            let off = (count * 7 - weight * window.len() as i64).abs();
            assert!(off <= 7, "worker {n} has {count} of {}", window.len());
        }
    }
}

#[test]
fn one_heavy_worker_does_not_go_first_for_its_whole_share() {
    let mut pool =
        pool_of(std::iter::once(capacity(1, 100)).chain((0..100).map(|_| capacity(1, 1))));
    let shares = shares(&mut pool, Strategy::Weighted, &mut Rng::new(1), 20);
    assert!(
        (9..=11).contains(&shares[&id(0)]),
        "{} of 20",
        shares[&id(0)]
    );
}

#[test]
fn who_was_full_or_away_does_not_catch_up() {
    let mut pool = pool_of([1, 1, 2].map(|weight| capacity(8, weight)));
    let mut rng = Rng::new(9);
    pool.pick(Strategy::Weighted, &mut rng);
    pool.set_held(&id(0), 8);
    pool.remove(&id(2));
    let alone = shares(&mut pool, Strategy::Weighted, &mut rng, 1_000);
    assert_eq!(alone[&id(1)], 1_000);
    pool.set_held(&id(0), 0);
    pool.set(id(2), capacity(8, 2));
    let together = shares(&mut pool, Strategy::Weighted, &mut rng, 400);
    for (n, exact) in [(0, 100), (1, 100), (2, 200_u64)] {
        assert!(together[&id(n)].abs_diff(exact) <= 2, "{together:?}");
    }
}

#[test]
fn a_changed_weight_counts_at_once() {
    let mut pool = pool_of([1, 1_000_000].map(|weight| capacity(1, weight)));
    let mut rng = Rng::new(2);
    shares(&mut pool, Strategy::Weighted, &mut rng, 10);
    pool.set(id(0), capacity(1, 3));
    pool.set(id(1), capacity(1, 1));
    let shares = shares(&mut pool, Strategy::Weighted, &mut rng, 400);
    assert!(shares[&id(0)].abs_diff(300) <= 2, "{shares:?}");
}

#[test]
fn nobody_waits_for_what_a_smaller_weight_or_a_former_worker_got() {
    let after_the_light_one_was_picked = || {
        let mut pool = pool_of([1, 1_000].map(|weight| capacity(1, weight)));
        let mut rng = Rng::new(4);
        while pool.pick(Strategy::Weighted, &mut rng) != Some(id(0)) {}
        (pool, rng)
    };
    let (mut pool, mut rng) = after_the_light_one_was_picked();
    pool.set(id(0), capacity(1, 1_000));
    let grown = shares(&mut pool, Strategy::Weighted, &mut rng, 100);
    assert!(grown[&id(0)].abs_diff(50) <= 1, "{grown:?}");

    let (mut pool, mut rng) = after_the_light_one_was_picked();
    pool.remove(&id(0));
    pool.set(id(7), capacity(1, 1));
    let fresh = shares(&mut pool, Strategy::Weighted, &mut rng, 500);
    assert_eq!(fresh[&id(7)], 1);
}

#[test]
fn random_picks_are_even() {
    let mut pool = pool_of((0..10).map(|_| capacity(1, 1)));
    pool.set_held(&id(4), 1);
    let shares = shares(&mut pool, Strategy::Random, &mut Rng::new(5), 90_000);
    assert_eq!(shares[&id(4)], 0);
    let others = shares.iter().filter(|it| *it.0 != id(4));
    for (worker, share) in others {
        assert!(share.abs_diff(10_000) < 500, "{worker}: {share}");
    }
}

#[test]
fn among_equally_loaded_workers_the_less_busy_machine_comes_first() {
    let mut pool = pool_of([capacity(4, 1), capacity(4, 1)]);
    let mut rng = Rng::new(1);
    pool.set(
        id(0),
        Capacity {
            cpu_permille: 900,
            ..capacity(4, 1)
        },
    );
    for expected in [1, 0, 1, 0] {
        let picked = pool.pick(Strategy::LeastLoad, &mut rng).unwrap();
        assert_eq!(picked, id(expected));
        pool.hold(&picked);
    }
}

#[test]
fn idle_workers_take_turns_and_schedulers_start_at_different_ones() {
    for strategy in [
        Strategy::LeastLoad,
        Strategy::RoundRobin,
        Strategy::Weighted,
    ] {
        let firsts: Vec<_> = (0..8)
            .map(|seed| {
                let mut pool = pool_of((0..100).map(|_| capacity(4, 1)));
                let mut rng = Rng::new(seed);
                let first = pool.pick(strategy, &mut rng).unwrap();
                let rest = shares(&mut pool, strategy, &mut rng, 99);
                assert_eq!(rest[&first], 0, "{strategy}");
                assert!(
                    rest.iter().all(|it| *it.0 == first || *it.1 == 1),
                    "{strategy}"
                );
                first
            })
            .collect();
        let mut distinct = firsts.clone();
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() >= 6, "{strategy}: {firsts:?}");
    }
}

#[test]
fn new_ranks_leave_the_round_where_it_was() {
    let name = |text: &str| text.parse::<NodeId>().unwrap();
    for leaves in [false, true] {
        let (mut pool, mut rng) = (Pool::default(), Rng::new(1));
        for letter in 'a'..='z' {
            pool.set(name(&letter.to_string()), capacity(1, 1));
        }
        while pool.pick(Strategy::RoundRobin, &mut rng) != Some(name("a")) {}
        if leaves {
            pool.remove(&name("a"));
        }
        // Each joins right behind "y" and before the last one, until the room between them is used up.
        for length in (1..=100).rev() {
            pool.set(name(&format!("y{}", "-".repeat(length))), capacity(0, 1));
        }
        pool.assert_consistent();
        for letter in 'b'..='z' {
            let picked = pool.pick(Strategy::RoundRobin, &mut rng);
            assert_eq!(picked, Some(name(&letter.to_string())));
        }
    }
}

#[test]
#[should_panic(expected = "only known workers hold claims")]
fn a_stranger_holds_nothing() {
    Pool::default().hold(&id(1));
}

#[test]
#[should_panic(expected = "only what is held is released")]
fn nothing_is_released_twice() {
    let mut pool = pool_of([capacity(1, 1)]);
    pool.release(&id(0));
}
