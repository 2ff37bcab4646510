//! Is the model of the store a model of etcd? Random lives of a store are led twice, by the model and by a real etcd,
//! and every answer and every event of a watch is compared.
//!
//! `make conformance STEPS=100000 FIRST=7` leads longer ones; `WINDLASS_ETCD` names another etcd than the tests' own.
//! What differs is shrunk to a plan that a file keeps and `make conformance REPLAY=that-file` leads again.
#![allow(clippy::unwrap_used)]

#[path = "conformance/mod.rs"]
mod conformance;
mod port;

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use conformance::compare::{Difference, Tally, compare};
use conformance::expiry::{leases_end, leases_start_over};
use conformance::model::Model;
use conformance::plan::{Act, At, Plan, WriteAct};
use conformance::real::Real;
use conformance::shrink::shrink;
use tokio::task::{JoinSet, LocalSet};
use windlass::core::kv::Limits;
use windlass::core::rng::Rng;
use windlass_tests::etcd::Etcd;
use windlass_tests::{size, tell};

/// How many steps a plan has: enough for state to build up, few enough to shrink.
const PLAN_STEPS: usize = 60;

/// What a run of some length must have seen, or it proved nothing.
const KINDS: [&str; 19] = [
    "Answer Txn Committed",
    "Answer Txn Conflict",
    "Answer Txn Refused",
    "Answer Read Items",
    "Answer Lease Live",
    "Answer Lease Gone",
    "Answer Lease Refused",
    "Answer Compacted true",
    "Answer Compacted false",
    "Brief",
    "Read",
    "Told changes",
    "Told nothing",
    "Told compacted",
    "CompactedRaw Done",
    "CompactedRaw Already",
    "CompactedRaw Future",
    "Dump",
    "Nothing",
];

/// How many servers are asked at once: a watch that begins in the past waits up to 100 ms, whatever the machine can do.
const SERVERS: usize = 6;

/// A server with the time-outs, and so the shortest lease, of a usual one.
fn usual_etcd() -> Etcd {
    Etcd::start_with(
        "http",
        &["--heartbeat-interval", "100", "--election-timeout", "1000"],
    )
}

async fn lead(plan: &Plan, real: &mut Real, tally: &mut Tally) -> Option<Difference> {
    let mut model = Model::new(Limits::default());
    real.begin().await;
    compare(plan, &mut model, real, tally).await
}

/// Shrinks what was found, keeps it and fails.
async fn report(plan: Plan, found: Difference, real: &mut Real) -> ! {
    let show = async |plan: &Plan| lead(plan, real, &mut Tally::default()).await;
    let (plan, found) = shrink(plan, found, show).await;
    let (plan, found) = (
        serde_json::to_string_pretty(&plan).unwrap(),
        serde_json::to_string_pretty(&found).unwrap(),
    );
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("difference.json");
    std::fs::write(&file, &plan).unwrap();
    panic!(
        "the model and etcd {} differ:\n{found}\nby this plan:\n{plan}\nAgain: make conformance REPLAY={}",
        real.version(),
        file.display()
    );
}

/// Which plan is next, of which seed, and how many each has.
#[derive(Debug)]
struct Queue {
    next: AtomicUsize,
    seeds: Vec<(u64, usize)>,
}

impl Queue {
    fn take(&self) -> Option<(u64, usize)> {
        let mut number = self.next.fetch_add(1, Ordering::Relaxed);
        for (seed, plans) in &self.seeds {
            if number < *plans {
                return Some((*seed, number));
            }
            number -= plans;
        }
        None
    }
}

/// Takes plans until there are no more of them.
async fn explore(etcd: Etcd, queue: Arc<Queue>) -> (Tally, String) {
    let (mut real, mut tally) = (Real::connect(&etcd).await, Tally::default());
    while let Some((seed, number)) = queue.take() {
        let mut rng = Rng::new(seed).fork(&format!("plan {number}"));
        let plan = Plan::draw(&mut rng, PLAN_STEPS);
        if let Some(found) = lead(&plan, &mut real, &mut tally).await {
            tell(&format!("WINDLASS_SEED={seed}, plan {number}"));
            report(plan, found, &mut real).await;
        }
    }
    (tally, real.version().to_owned())
}

async fn explore_all(seeds: &[(u64, usize)]) {
    let plans = |(seed, steps): &(u64, usize)| (*seed, steps.div_ceil(PLAN_STEPS));
    let queue = Arc::new(Queue {
        next: AtomicUsize::new(0),
        seeds: seeds.iter().map(plans).collect(),
    });
    let (mut tally, mut servers, begun) = (Tally::default(), JoinSet::new(), Instant::now());
    for _ in 0..SERVERS {
        servers.spawn_local(explore(usual_etcd(), Arc::clone(&queue)));
    }
    let mut versions = BTreeSet::new();
    while let Some(part) = servers.join_next().await {
        let (part, version) = part.unwrap();
        tally.add(part);
        versions.insert(version);
    }
    let took = begun.elapsed();
    tell(&format!(
        "equal to etcd {versions:?} in {took:.1?}: {tally:#?}"
    ));
    assert_eq!(
        tally.missing(&KINDS),
        Vec::<&str>::new(),
        "a run sees every kind of answer"
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_answers_and_tells_what_etcd_does() {
    if let Ok(file) = std::env::var("WINDLASS_REPLAY") {
        let etcd = usual_etcd();
        let plan: Plan = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut real = Real::connect(&etcd).await;
        if let Some(found) = lead(&plan, &mut real, &mut Tally::default()).await {
            report(plan, found, &mut real).await;
        }
        return;
    }
    let steps = size("WINDLASS_STEPS", 2_100);
    let seed = number("WINDLASS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    tell(&format!("WINDLASS_SEED={seed} WINDLASS_STEPS={steps}"));
    let seeds = [(1, steps.min(900)), (seed, steps)];
    LocalSet::new().run_until(explore_all(&seeds)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_just_the_compacted_revision_misses_no_deletion() {
    let commit = |write| Act::Commit {
        guards: vec![],
        writes: vec![write],
        whole: true,
    };
    let put = || WriteAct::Put {
        key: 0,
        bytes: 1,
        lease: None,
    };
    let follow = |from| Act::Follow {
        slot: 0,
        range: (12, 13),
        from: At(from),
    };
    let plan = Plan {
        acts: vec![
            commit(put()),
            commit(WriteAct::Delete { key: 0 }),
            Act::CompactRaw { at: At(0) },
            follow(-1),
            follow(0),
            commit(put()),
            follow(-1),
        ],
    };
    let etcd = usual_etcd();
    let (mut real, mut tally) = (Real::connect(&etcd).await, Tally::default());
    for _ in 0..3 {
        assert_eq!(lead(&plan, &mut real, &mut tally).await, None);
    }
    assert_eq!(tally.missing(&["Told compacted", "Told changes"]), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_takes_all_its_keys_at_once_in_order_and_never_early() {
    let seed = number("WINDLASS_SEED").unwrap_or_else(|| RandomState::new().hash_one(1));
    let plans = size("WINDLASS_EXPIRIES", SERVERS);
    tell(&format!("WINDLASS_SEED={seed} WINDLASS_EXPIRIES={plans}"));
    let mut servers = JoinSet::new();
    servers.spawn(async {
        let mut etcd = usual_etcd();
        let mut real = Real::connect(&etcd).await;
        leases_start_over(&mut etcd, &mut real).await
    });
    for server in 0..SERVERS {
        let etcd = usual_etcd();
        servers.spawn(async move {
            let (mut real, mut changes) = (Real::connect(&etcd).await, 0);
            for number in (server..plans).step_by(SERVERS) {
                changes += leases_end(&mut real, seed.wrapping_add(number as u64)).await;
            }
            changes
        });
    }
    let mut changes = 0;
    while let Some(part) = servers.join_next().await {
        changes += part.unwrap();
    }
    tell(&format!(
        "{plans} plans of leases that end: {changes} changes told alike"
    ));
}
