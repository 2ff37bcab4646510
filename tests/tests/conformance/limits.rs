//! What etcd refuses, and what the model says to it.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, Error, Txn as RawTxn, TxnOp};
use windlass::core::keyspace::Key;
use windlass::core::kv::Limits;
use windlass::core::store::{
    Answer, Call, Guard, LeaseAnswer, OPS_MAX, Query, Step as TxnStep, TXN_BYTES_MAX, Txn,
    TxnOutcome, Value, Write,
};
use windlass_tests::etcd::Etcd;

use super::compare::{Tally, compare_step};
use super::model::Model;
use super::plan::range;
use super::real::Real;
use super::step::{Seen, Side as _, Step};
use crate::usual_etcd;

fn put(name: &str, bytes: usize) -> Write {
    Write::Put {
        key: Key::from_store(name),
        value: Value::from(vec![b'l'; bytes]),
        lease: None,
    }
}

fn commit(guards: Vec<Guard>, writes: Vec<Write>) -> Step {
    let mut txn = Txn::default();
    txn.push(TxnStep::new(guards, writes)).unwrap();
    Step::Call(Call::Commit(txn))
}

fn fate(error: Error) -> String {
    let Error::GRpcStatus(status) = error else {
        panic!("unexpected: {error}");
    };
    status.message().to_owned()
}

async fn same(step: Step, model: &mut Model, real: &mut Real) {
    let found = compare_step(0, step, model, real, &mut Tally::default()).await;
    assert_eq!(found, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_takes_as_many_guards_and_writes_as_a_transaction_may_have() {
    let etcd = usual_etcd();
    let mut kv = Real::connect(&etcd).await.raw();
    for count in [OPS_MAX - 1, OPS_MAX, OPS_MAX + 1] {
        let puts: Vec<TxnOp> = (0..count)
            .map(|n| TxnOp::put(format!("/{n}"), "", None))
            .collect();
        let guards: Vec<Compare> = (0..count)
            .map(|n| Compare::version(format!("/none/{n}"), CompareOp::Equal, 0))
            .collect();
        for txn in [RawTxn::new().and_then(puts), RawTxn::new().when(guards)] {
            let answer = kv.txn(txn).await.map_err(fate);
            let expected = if count > OPS_MAX {
                Err("etcdserver: too many operations in txn request".to_owned())
            } else {
                Ok(true)
            };
            assert_eq!(answer.map(|it| it.succeeded()), expected, "{count}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_takes_the_largest_legal_transaction_and_a_request_as_large_as_the_model_says() {
    let etcd = usual_etcd();
    let (mut model, mut real) = (Model::new(Limits::default()), Real::connect(&etcd).await);
    real.begin().await;
    let mut txn = Txn::default();
    for n in 0..OPS_MAX {
        let key = Key::from_store(format!("/none/{n}"));
        let writes = vec![put(&format!("/k/{n}"), if n == 0 { 0 } else { 5_000 })];
        txn.push(TxnStep::new(vec![Guard::Absent(key)], writes))
            .unwrap();
    }
    let parts = (txn.guards().to_vec(), txn.writes().to_vec());
    let with = |bytes| {
        let (guards, mut writes) = parts.clone();
        writes[0] = put("/k/0", bytes);
        let mut txn = Txn::default();
        txn.push(TxnStep::new(guards, writes)).ok().map(|_| txn)
    };
    let most = largest(0, TXN_BYTES_MAX, |bytes| with(bytes).is_some());
    let txn = with(most).unwrap();
    same(Step::Call(Call::Commit(txn)), &mut model, &mut real).await;
    same(Step::Dump, &mut model, &mut real).await;

    // The model counts keys and values only, etcd what it makes of them too.
    let limit = Limits::default().request_bytes_max;
    let mut kv = real.raw();
    let mut refused = Vec::new();
    for short in [1_000, 100, 0] {
        let key = "/large";
        let value = vec![b'l'; limit - key.len() - short];
        if let Err(error) = kv.put(key, value, None).await {
            refused.push((short, fate(error)));
        }
    }
    assert_eq!(
        refused,
        [(0, "etcdserver: request is too large".to_owned())]
    );
}

/// The largest number from `from` on for which something holds.
fn largest(from: usize, to: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut yes, mut no) = (from, to);
    while no - yes > 1 {
        let middle = yes.midpoint(no);
        if holds(middle) {
            yes = middle
        } else {
            no = middle
        }
    }
    yes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_takes_only_what_takes_no_room() {
    let etcd = Etcd::start_with("http", &["--quota-backend-bytes", "4000000"]);
    let mut real = Real::connect(&etcd).await;
    real.begin().await;
    let fill = |n: usize| commit(vec![], vec![put(&format!("/fill/{n}"), 200_000)]);
    let unknown = Seen::Answer(Answer::Txn(TxnOutcome::Unknown));
    let mut taken = 0;
    while real.run(&fill(taken)).await != unknown {
        taken += 1;
    }
    // etcd counts the pages of its file. A model that is full at the same moment must say the same from then on.
    let mut filled = Model::new(Limits::default());
    for n in 0..taken {
        filled.run(&fill(n)).await;
    }
    let limits = Limits {
        quota_bytes: filled.kv().bytes(),
        ..Limits::default()
    };
    let mut model = Model::new(limits);
    for n in 0..taken {
        model.run(&fill(n)).await;
    }
    let first = Key::from_store("/fill/0");
    let absent = || vec![Guard::Absent(first.clone())];
    let delete = |key: &Key| vec![Write::Delete { key: key.clone() }];
    let (whole, limit) = (range((12, 13)), u32::MAX);
    for step in [
        fill(taken),
        commit(vec![], vec![put("/small", 1)]),
        commit(absent(), vec![put("/small", 1)]),
        commit(absent(), delete(&first)),
        commit(absent(), vec![]),
        Step::Call(Call::Read(Query::Range {
            range: whole,
            limit,
        })),
        Step::Call(Call::Grant {
            ttl: Duration::from_secs(60),
        }),
        Step::Dump,
        commit(vec![], delete(&first)),
        Step::Dump,
    ] {
        same(step, &mut model, &mut real).await;
    }
    // Here they part: etcd stays full until it is told that somebody has made room, the model takes what fits.
    let small = commit(vec![], vec![put("/small", 1)]);
    assert_eq!(real.run(&small).await, unknown);
    let taken = model.run(&small).await;
    assert!(
        matches!(
            taken,
            Seen::Answer(Answer::Txn(TxnOutcome::Committed { .. }))
        ),
        "{taken:?}"
    );
    let grant = Step::Call(Call::Grant {
        ttl: Duration::from_secs(60),
    });
    assert_eq!(
        real.run(&grant).await,
        Seen::Answer(Answer::Lease(LeaseAnswer::Unknown))
    );
}
