//! The etcd port against a real etcd that is killed, stopped, restarted and compacted.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

mod port;

use std::time::Duration;

use port::{Client, Mirror, config, delete, key, put, store};
use tokio::time::timeout;
use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::Range;
use windlass::core::store::{
    Answer, Call, Guard, LeaseAnswer, Query, ReadAnswer, TxnOutcome, ViewEvent,
};
use windlass::store::etcd::{EtcdConfig, EtcdStore};
use windlass_tests::etcd::Etcd;
use windlass_tests::proxy::Proxy;

async fn through(proxy: &Proxy) -> Client {
    let config = EtcdConfig::new([proxy.endpoint()]);
    Client::new(&EtcdStore::connect(config).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_without_a_gap_when_etcd_restarts() {
    let mut etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    let before = client.fill("/w/", 10, 10).await;
    mirror.reaches(&mut client, before).await;
    etcd.restart();
    let writes = vec![put("/w/new", "1"), delete("/w/0000")];
    let after = client.eventually_committed(writes).await;
    mirror.reaches(&mut client, after).await;
    assert_eq!(mirror.resets, 1, "what was known is not sent again");
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_compaction_overtakes_begins_again_with_all_of_the_range() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.endpoint());
    let mut client = through(&proxy).await;
    let mut writer = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    let before = writer.fill("/w/", 10, 10).await;
    mirror.reaches(&mut client, before).await;
    proxy.cut();
    writer.committed(vec![], vec![delete("/w/0000")]).await;
    writer.committed(vec![], vec![put("/w/0001", "new")]).await;
    let last = writer.committed(vec![], vec![put("/w/last", "1")]).await;
    assert_eq!(
        writer.ask(Call::Compact { at: last }).await,
        Answer::Compacted(true)
    );
    proxy.heal();
    mirror.reaches(&mut client, last).await;
    assert_eq!(mirror.resets, 2);
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_etcd_cuts_into_fragments_is_joined() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.endpoint());
    let mut client = through(&proxy).await;
    let mut writer = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/f/"), key("/f0")));
    mirror.reaches(&mut client, Revision(1)).await;
    proxy.cut();
    // Each transaction makes 1 MB, and etcd cuts at 1.5 MiB.
    let last = writer.fill("/f/", 500, 10_000).await;
    proxy.heal();
    mirror.reaches(&mut client, last).await;
    assert_eq!((mirror.resets, mirror.largest_delta), (1, 500));
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_progress_asked_for_while_cut_off_is_told_after_healing() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.endpoint());
    let mut client = through(&proxy).await;
    let mut writer = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    proxy.cut();
    client.tell(Call::Progress { watch: mirror.op });
    let last = writer.committed(vec![], vec![put("/else", "1")]).await;
    proxy.heal();
    mirror.reaches(&mut client, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_watch_on_a_store_at_rest_tells_its_progress() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    for _ in 0..3 {
        client.tell(Call::Progress { watch: mirror.op });
        let event = client.view(mirror.op).await;
        let nothing = ViewEvent::Delta {
            after: Revision(1),
            at: Revision(1),
            changes: vec![],
        };
        assert_eq!(event, nothing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_leaves_a_connection_that_went_mute() {
    let etcd = Etcd::start();
    let proxy = Proxy::to(etcd.endpoint());
    let mut client = through(&proxy).await;
    let mut writer = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    proxy.mute();
    let last = writer.committed(vec![], vec![put("/w/1", "1")]).await;
    mirror.reaches(&mut client, last).await;
    assert_eq!(mirror.resets, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_over_a_new_stream_when_etcd_restarts() {
    let mut etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let (lease, ttl) = client.grant(Duration::from_secs(60)).await;
    let live = Answer::Lease(LeaseAnswer::Live { lease, ttl });
    assert_eq!(client.ask(Call::Renew { lease }).await, live);
    etcd.restart();
    assert_eq!(client.ask(Call::Renew { lease }).await, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_to_a_silent_etcd_ends_at_its_deadline_as_unknown() {
    let etcd = Etcd::start();
    let mut short = config(&etcd);
    short.patience = Duration::from_millis(1_500);
    let mut client = Client::new(&EtcdStore::connect(short).await.unwrap());
    let (lease, _) = client.grant(Duration::from_secs(60)).await;
    client.ask(Call::Renew { lease }).await;
    etcd.pause();
    let unknown = Answer::Lease(LeaseAnswer::Unknown);
    let ttl = Duration::from_secs(9);
    let calls = [
        (
            client.begin_commit(vec![], vec![put("/a", "1")]),
            Answer::Txn(TxnOutcome::Unknown),
        ),
        (client.begin(Call::Renew { lease }), unknown.clone()),
        (client.begin(Call::Grant { ttl }), unknown.clone()),
        (client.begin(Call::Revoke { lease: LeaseId(1) }), unknown),
        (
            client.begin(Call::Read(Query::Keys(vec![key("/a")]))),
            Answer::Read(ReadAnswer::Failed),
        ),
        (
            client.begin(Call::Compact { at: Revision(2) }),
            Answer::Compacted(false),
        ),
    ];
    for (op, expected) in calls {
        assert_eq!(client.answer(op).await, expected);
    }
    etcd.resume();
    client.eventually_committed(vec![put("/b", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_cut_off_by_a_kill_is_unknown_and_its_lane_tells_what_landed() {
    let mut etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let mut lane = client.committed(vec![], vec![put("/lane", "0")]).await;
    let mut unknown = 0;
    for round in 0..20 {
        let guard = Guard::Unchanged {
            key: key("/lane"),
            since: lane,
        };
        let task = format!("/task/{round}");
        if round % 2 == 0 {
            etcd.pause();
        }
        let op = client.begin_commit(vec![guard], vec![put("/lane", "x"), put(&task, "x")]);
        etcd.kill();
        etcd.restart();
        let outcome = client.answer(op).await;
        let items = client.eventually_range("/lane", "/task0").await;
        let landed = items.iter().any(|item| item.key == key(&task));
        assert_eq!(items[0].key, key("/lane"));
        assert_eq!(
            items[0].found.modified != lane,
            landed,
            "the lane is the witness"
        );
        match outcome {
            Answer::Txn(TxnOutcome::Unknown) => unknown += 1,
            Answer::Txn(TxnOutcome::Committed { .. }) => assert!(landed),
            other => panic!("unexpected: {other:?}"),
        }
        if unknown >= 2 {
            return;
        }
        lane = client.eventually_committed(vec![put("/lane", "x")]).await;
    }
    panic!("no commit was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_finds_no_connection_is_sent_when_etcd_is_back() {
    let mut etcd = Etcd::start();
    let mut patient = config(&etcd);
    patient.patience = Duration::from_secs(60);
    let mut client = Client::new(&EtcdStore::connect(patient).await.unwrap());
    etcd.kill();
    for _ in 0..100 {
        let absent = Guard::Absent(key("/once"));
        let op = client.begin_commit(vec![absent], vec![put("/once", "1")]);
        // The first may still go out on the connection that is dying.
        if let Ok(answer) = timeout(Duration::from_millis(300), client.answer(op)).await {
            assert_eq!(answer, Answer::Txn(TxnOutcome::Unknown));
            continue;
        }
        etcd.restart();
        let answer = client.answer(op).await;
        assert!(
            matches!(answer, Answer::Txn(TxnOutcome::Committed { .. })),
            "{answer:?}"
        );
        return;
    }
    panic!("requests are never kept while there is no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_member_of_three_costs_nothing() {
    let mut members = Etcd::cluster(3);
    let endpoints = members.iter().map(Etcd::endpoint);
    let config = EtcdConfig::new(endpoints);
    members[2].kill();
    let mut client = Client::new(&EtcdStore::connect(config).await.unwrap());
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    // The dead one may have led the others.
    let mut last = client.eventually_committed(vec![put("/w/0", "1")]).await;
    for n in 0..100 {
        let writes = vec![put(&format!("/w/{n}"), "1")];
        last = client.committed(vec![], writes).await;
    }
    mirror.reaches(&mut client, last).await;
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_etcd_answers_the_error_says_where_and_why() {
    let mut etcd = Etcd::start();
    etcd.kill();
    let mut short = config(&etcd);
    short.patience = Duration::from_secs(2);
    let error = EtcdStore::connect(short.clone()).await.unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(etcd.endpoint()) && error.contains("refused"),
        "{error}"
    );
    etcd.restart();
    etcd.pause();
    let error = EtcdStore::connect(short).await.unwrap_err().to_string();
    assert!(error.contains("silent"), "{error}");
}
