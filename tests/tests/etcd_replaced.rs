//! An etcd that is no longer the one that it was: restored from a backup, wiped, or another.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

mod port;

use std::time::Duration;

use port::{Client, config, put, store};
use tokio::time::timeout;
use windlass::core::keyspace::Range;
use windlass::core::store::{Call, Query};
use windlass::store::etcd::{EtcdConfig, EtcdError, EtcdStore, Replaced};
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_was_restored_from_a_backup_is_told_from_one_that_was_restarted() {
    let mut etcd = Etcd::start();
    let mut old = Client::new(&store(&etcd).await);
    old.fill("/before/", 300, 10).await;
    let backup = etcd.backup();
    let store = store(&etcd).await;
    let mut client = Client::new(&store);
    let was = client.fill("/after/", 300, 10).await;
    etcd.restart();
    let again = client
        .eventually_committed(vec![put("/after/restart", "1")])
        .await;
    assert!(again > was);
    let replaced = store.replaced();
    tokio::pin!(replaced);
    let early = timeout(Duration::ZERO, &mut replaced).await;
    assert!(early.is_err(), "a restart is nothing: {early:?}");
    etcd.restore(&backup);
    let reads = async {
        loop {
            let range = Range::cluster();
            client
                .ask(Call::Read(Query::Range { range, limit: 1 }))
                .await;
        }
    };
    let told = tokio::select! { biased;
        told = timeout(PATIENCE, &mut replaced) => told.unwrap(),
        () = reads => unreachable!("it reads for ever"),
    };
    match told {
        Replaced::WentBack { was, is } => assert!(was == again && is < was),
        other @ Replaced::Cluster { .. } => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_different_clusters_are_refused() {
    let (one, other) = (Etcd::start(), Etcd::start());
    let both = EtcdConfig::new([one.endpoint(), other.endpoint()]);
    let error = EtcdStore::connect(both).await.unwrap_err();
    assert!(matches!(error, EtcdError::Strangers { .. }), "{error}");
    EtcdStore::connect(config(&one)).await.unwrap();
}

#[test]
fn nodes_end_when_etcd_was_restored_from_a_backup() {
    let mut etcd = Etcd::start();
    let mut scheduler = Process::scheduler(&etcd, "scheduler", &[]);
    let mut worker = Process::worker(&etcd, "worker", &[]);
    let windlass = windlass_tests::client::Client::of([&mut scheduler]);
    worker.takes_tasks();
    let backup = etcd.backup();
    for _ in 0..20 {
        windlass.done(&["task", "submit", "noop", "--wait"]);
    }
    etcd.restore(&backup);
    for process in [&mut scheduler, &mut worker] {
        assert_eq!(process.ended(), 1);
        let said = process.log_line("restored from a backup");
        assert!(said.is_some(), "{} says why", process.name());
    }
}
