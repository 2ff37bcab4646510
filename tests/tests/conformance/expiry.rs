//! Leases that end by themselves. etcd's take real seconds; the model's time follows the real one, but stands still
//! before a lease's end until etcd is seen to have ended it. So the model decides which lease it must be, and what goes
//! with it; and how long it must have lived.

use std::time::{Duration, Instant};

use windlass::core::ids::LeaseId;
use windlass::core::keyspace::Key;
use windlass::core::kv::{Input, Limits, Timer};
use windlass::core::machine::Machine as _;
use windlass::core::rng::Rng;
use windlass::core::store::{Call, Step as TxnStep, Txn, Value, Write};
use windlass_tests::{PATIENCE, etcd::Etcd};

use super::compare::{Tally, compare_step};
use super::model::Model;
use super::plan::{Act, At, Plan, WriteAct};
use super::real::Real;
use super::step::Step;

/// What leases are granted for, in seconds. No two end at about the same time, for etcd does not say which goes first:
/// the last one is renewed until the others have ended.
const TTLS: [u64; 2] = [2, 3];
const RENEW_INTERVAL: Duration = Duration::from_millis(400);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Both stores, and the time that they share.
struct Pair<'a> {
    model: Model,
    real: &'a mut Real,
    begun: Instant,
    tally: Tally,
}

impl Pair<'_> {
    async fn begin(real: &mut Real) -> Pair<'_> {
        real.begin().await;
        Pair {
            model: Model::new(Limits::default()),
            real,
            begun: Instant::now(),
            tally: Tally::default(),
        }
    }

    /// Moves the model's time to the present, or to just before the next end of a lease.
    fn keep_time(&mut self) {
        let now = &mut self.model.now.mono;
        *now = now.after(
            self.begun
                .elapsed()
                .saturating_sub(now.since(Default::default())),
        );
        if let Some((end, _)) = self.model.kv().deadline() {
            let before = end.before(Duration::from_nanos(1));
            self.model.now.mono = self.model.now.mono.min(before);
        }
    }

    async fn step(&mut self, step: Step) {
        self.keep_time();
        let found = compare_step(0, step, &mut self.model, self.real, &mut self.tally).await;
        assert_eq!(
            found,
            None,
            "the model and etcd {} differ",
            self.real.version()
        );
    }

    async fn act(&mut self, act: &Act) {
        for step in self.model.resolve(act) {
            self.step(step).await;
        }
    }

    /// A key of its own for each lease, so that its end shows.
    async fn anchor(&mut self, lease: u8) {
        let mut txn = Txn::default();
        let put = Write::Put {
            key: Key::from_store(format!("/anchor/{lease}")),
            value: Value::default(),
            lease: Some(LeaseId(i64::from(lease) + 1)),
        };
        txn.push(TxnStep::new(vec![], vec![put])).unwrap();
        self.step(Step::Call(Call::Commit(txn))).await;
    }

    async fn grant(&mut self, seconds: u64) {
        self.act(&Act::Grant { seconds }).await;
    }

    /// Waits until etcd has ended a lease, sees that it was not too early, and lets the model end it too.
    async fn a_lease_ends(&mut self, renewed: Option<u8>) -> LeaseId {
        let (waiting, mut renew_at) = (Instant::now(), Instant::now());
        while self.real.revision().await <= self.model.kv().revision() {
            assert!(waiting.elapsed() < PATIENCE, "etcd ends no lease");
            if let Some(lease) = renewed.filter(|_| Instant::now() >= renew_at) {
                renew_at = Instant::now() + RENEW_INTERVAL;
                self.act(&Act::Renew { lease }).await;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let (end, Timer::LeaseEnds(lease)) = self.model.kv().deadline().expect("a lease lives");
        let lived = self.begun.elapsed();
        let due = end.since(Default::default());
        assert!(
            lived >= due,
            "a lease that lasts until {due:?} ended after {lived:?}"
        );
        self.model.now.mono = end;
        self.model.handle(Input::Elapsed);
        self.step(self.model.settle_all()).await;
        self.act(&Act::Dump).await;
        lease
    }
}

/// Random writes under leases that end one after the other.
pub(crate) async fn leases_end(real: &mut Real, seed: u64) -> usize {
    let mut pair = Pair::begin(real).await;
    let everything = (12, 13);
    pair.act(&Act::Watch {
        slot: 0,
        range: everything,
    })
    .await;
    let from = At(0);
    pair.act(&Act::Follow {
        slot: 1,
        range: everything,
        from,
    })
    .await;
    for seconds in TTLS {
        pair.grant(seconds).await;
    }
    for act in writes(&mut Rng::new(seed)).acts {
        pair.act(&act).await;
    }
    for lease in 0..TTLS.len() as u8 {
        pair.anchor(lease).await;
    }
    pair.act(&Act::Dump).await;
    let renewed = TTLS.len() as u8 - 1;
    for lease in 1..TTLS.len() as i64 {
        assert_eq!(pair.a_lease_ends(Some(renewed)).await, LeaseId(lease));
    }
    assert_eq!(pair.a_lease_ends(None).await, LeaseId(TTLS.len() as i64));
    for lease in 0..TTLS.len() as u8 {
        pair.act(&Act::Renew { lease }).await;
    }
    pair.tally.changes
}

/// Many puts with leases, over each other.
fn writes(rng: &mut Rng) -> Plan {
    let mut plan = Plan::draw(rng, 120);
    plan.acts.retain_mut(|act| {
        let Act::Commit { guards, writes, .. } = act else {
            return false;
        };
        guards.clear();
        for write in writes.iter_mut() {
            if let WriteAct::Put { lease, .. } = write {
                *lease = lease.map(|it| it % TTLS.len() as u8);
            }
        }
        true
    });
    plan
}

/// Who leads anew gives every lease its full time again, and that of an election.
pub(crate) async fn leases_start_over(etcd: &mut Etcd, real: &mut Real) -> usize {
    let mut pair = Pair::begin(real).await;
    let everything = (12, 13);
    pair.act(&Act::Watch {
        slot: 0,
        range: everything,
    })
    .await;
    pair.grant(2).await;
    pair.anchor(0).await;
    pair.keep_time();
    tokio::task::block_in_place(|| etcd.restart());
    pair.model.handle(Input::LeaderChanged);
    assert_eq!(pair.a_lease_ends(None).await, LeaseId(1));
    pair.tally.changes
}
