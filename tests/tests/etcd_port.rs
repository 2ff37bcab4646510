//! The etcd port against a real etcd: transactions, reads, watches and leases while all is well.
#![allow(clippy::unwrap_used)]

mod port;

use std::time::Duration;

use port::{Client, Mirror, alive, config, delete, key, put, store};
use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::Range;
use windlass::core::store::{
    Answer, Call, Change, Failed, Found, Guard, GuardIx, LeaseAnswer, Query, ReadAnswer, Refusal,
    TxnOutcome, Value, ViewEvent, Write,
};
use windlass::store::etcd::EtcdStore;
use windlass_tests::etcd::Etcd;

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_holds_and_fails_as_it_is_defined() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let first = client.committed(vec![], vec![put("/a", "1")]).await;
    let second = client.committed(vec![], vec![put("/a", "2")]).await;
    let (a, none) = (key("/a"), key("/none"));
    let range = Range::new(key("/a"), key("/b"));
    let unchanged = |key, since| Guard::Unchanged { key, since };
    let gone = |key, since| Guard::Gone { key, since };
    let quiet = |since| Guard::Quiet {
        range: range.clone(),
        since,
    };
    let cases = [
        (Guard::Absent(none.clone()), true),
        (Guard::Absent(a.clone()), false),
        (unchanged(a.clone(), first), false),
        (unchanged(a.clone(), second), true),
        (unchanged(none.clone(), first), false),
        (alive("/a", first), true),
        (alive("/a", second), false),
        (alive("/none", first), false),
        (gone(a.clone(), first), false),
        (gone(a, second), true),
        (gone(none, first), true),
        (quiet(first), false),
        (quiet(second), true),
        (
            Guard::Quiet {
                range: Range::new(key("/x"), key("/y")),
                since: Revision(0),
            },
            true,
        ),
    ];
    for (guard, holds) in cases {
        let writes = vec![put("/else", "x")];
        match client.commit(vec![guard.clone()], writes).await {
            TxnOutcome::Committed { .. } => assert!(holds, "{guard:?}"),
            TxnOutcome::Conflict { failed, .. } => {
                assert!(!holds && failed.len() == 1, "{guard:?}: {failed:?}");
            }
            other @ (TxnOutcome::Refused(_) | TxnOutcome::Unknown) => {
                panic!("{guard:?}: {other:?}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_tells_which_guards_failed_and_what_they_found() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let a = client.committed(vec![], vec![put("/a", "1")]).await;
    let b = client
        .committed(vec![], vec![put("/b", "1"), put("/c", "1")])
        .await;
    let now = client.committed(vec![], vec![delete("/c")]).await;
    let quiet = Guard::Quiet {
        range: Range::new(key("/a"), key("/z")),
        since: a,
    };
    let outcome = client
        .commit(
            vec![
                alive("/a", a),
                Guard::Absent(key("/b")),
                alive("/c", b),
                quiet,
            ],
            vec![put("/d", "1")],
        )
        .await;
    let failed = |guard, found| Failed {
        guard: GuardIx(guard),
        found,
    };
    let found = Found {
        created: b,
        modified: b,
        value: Value::from(b"1".to_vec()),
    };
    assert_eq!(
        outcome,
        TxnOutcome::Conflict {
            at: now,
            failed: vec![failed(1, Some(found)), failed(2, None), failed(3, None)],
        }
    );
    assert_eq!(
        client.range("/d", "/e").await,
        vec![],
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_makes_one_revision_of_every_kind_of_write() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let names = ["/a/1", "/a/2", "/b", "/c"];
    let writes = names.map(|name| put(name, "x")).to_vec();
    let first = client.committed(vec![], writes).await;
    let range = Range::new(key("/a/"), key("/a0"));
    let writes = vec![Write::DeleteRange { range }, delete("/b"), put("/c", "y")];
    let second = client.committed(vec![], writes).await;
    assert_eq!(second, first.next());
    let items = client.range("/", "0").await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].key, key("/c"));
    assert_eq!(
        (items[0].found.created, items[0].found.modified),
        (first, second)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_together_in_order_without_those_that_are_absent() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let at = client
        .committed(vec![], vec![put("/b", "2"), put("/a", "1")])
        .await;
    let keys = ["/b", "/none", "/a", "/b"].map(key).to_vec();
    let read = client.ask(Call::Read(Query::Keys(keys))).await;
    let Answer::Read(ReadAnswer::Items {
        at: seen,
        items,
        more,
    }) = read
    else {
        panic!("a read is answered");
    };
    let names: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
    assert_eq!((seen, names, more), (at, vec!["/a", "/b"], false));
    assert_eq!(
        client.ask(Call::Read(Query::Keys(vec![]))).await,
        Answer::Read(ReadAnswer::Items {
            at,
            items: vec![],
            more: false
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_range_is_read_in_pages_at_one_revision() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    // More than two pages, and more bytes in each than a gRPC client takes by default.
    let written = client.fill("/big/", 1_300, 10_000).await;
    let range = Range::new(key("/big/"), key("/big0"));
    let items = client.range("/big/", "/big0").await;
    assert_eq!(items.len(), 1_300);
    assert!(
        items
            .iter()
            .all(|it| it.found.value.as_bytes().len() == 10_000)
    );
    for (limit, more) in [(1_299, true), (1_300, false), (1, true)] {
        let range = range.clone();
        let read = client.ask(Call::Read(Query::Range { range, limit })).await;
        assert!(
            matches!(&read, Answer::Read(ReadAnswer::Items { items, more: left, .. })
                if items.len() == limit as usize && *left == more),
            "{limit}"
        );
    }
    let mut mirror = Mirror::watch(&mut client, range);
    mirror.reaches(&mut client, written).await;
    assert_eq!(mirror.parts, 3);
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_of_one_revision_come_in_one_delta() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let range = Range::new(key("/m/"), key("/m0"));
    let mut mirror = Mirror::watch(&mut client, range.clone());
    // The keys alone make more than one message of the size at which etcd cuts.
    let folder = format!("/m/{}/", "x".repeat(1_000));
    let written = client.fill(&folder, 3_000, 1).await;
    mirror.reaches(&mut client, written).await;
    assert_eq!(mirror.held.len(), 3_000);
    let at = client
        .committed(vec![], vec![Write::DeleteRange { range }])
        .await;
    mirror.reaches(&mut client, at).await;
    assert_eq!((mirror.held.len(), mirror.last.len()), (0, 3_000));
    mirror.equals_the_store(&mut client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_tells_a_quiet_watch_how_far_the_store_is() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    for _ in 0..50 {
        let at = client.committed(vec![], vec![put("/elsewhere", "1")]).await;
        client.tell(Call::Progress { watch: mirror.op });
        mirror.reaches(&mut client, at).await;
    }
    client.heard_nothing(mirror.op);
    client.tell(Call::Progress { watch: mirror.op });
    let event = client.view(mirror.op).await;
    assert!(
        matches!(&event, ViewEvent::Delta { changes, .. } if changes.is_empty()),
        "with nothing new it answers all the same: {event:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_was_ended_says_no_more_and_the_others_go_on() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let range = Range::new(key("/w/"), key("/w0"));
    let mut ended = Mirror::watch(&mut client, range.clone());
    let mut other = Mirror::watch(&mut client, range);
    ended.reaches(&mut client, Revision(1)).await;
    other.reaches(&mut client, Revision(1)).await;
    client.tell(Call::Unwatch { watch: ended.op });
    let at = client.fill("/w/", 10, 1).await;
    other.reaches(&mut client, at).await;
    assert!(client.heard_nothing(ended.op));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_client_ends_its_watches_and_still_pays_its_debts() {
    let etcd = Etcd::start();
    let store = store(&etcd).await;
    let mut client = Client::new(&store);
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(1)).await;
    let op = client.begin_commit(vec![], vec![put("/w/1", "1")]);
    client.drop_port();
    let answer = client.answer(op).await;
    assert!(
        matches!(answer, Answer::Txn(TxnOutcome::Committed { .. })),
        "{answer:?}"
    );
    client.all_senders_are_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_keep_deployments_apart() {
    let etcd = Etcd::start();
    let with = |prefix: &str| {
        let mut config = config(&etcd);
        prefix.clone_into(&mut config.prefix);
        config
    };
    let mut one = Client::new(&EtcdStore::connect(with("/one")).await.unwrap());
    let mut two = Client::new(&EtcdStore::connect(with("two/")).await.unwrap());
    let mut seen_by_two = Mirror::watch(&mut two, Range::cluster());
    one.committed(vec![], vec![put("/config/x", "1")]).await;
    let absent = Guard::Absent(key("/config/x"));
    let at = two
        .committed(vec![absent], vec![put("/config/x", "2")])
        .await;
    seen_by_two.reaches(&mut two, at).await;
    assert_eq!(seen_by_two.held.len(), 1);
    assert_eq!(
        one.range("/", "0").await[0].found.value.as_bytes(),
        b"1".as_slice()
    );
    let mut raw = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    let stored = raw.get("two/config/x", None).await.unwrap();
    assert_eq!(stored.kvs().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_text_are_passed_over() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let mut raw = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    raw.put(b"/w/\xff".to_vec(), "1", None).await.unwrap();
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    mirror.reaches(&mut client, Revision(2)).await;
    raw.put(b"/w/\xfe".to_vec(), "1", None).await.unwrap();
    let at = client.committed(vec![], vec![put("/w/good", "1")]).await;
    mirror.reaches(&mut client, at).await;
    assert_eq!(mirror.held.keys().collect::<Vec<_>>(), [&key("/w/good")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_forgets_history_and_may_be_repeated() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    client.fill("/c/", 5, 1).await;
    client.committed(vec![], vec![delete("/c/0000")]).await;
    let at = client.committed(vec![], vec![put("/c/last", "1")]).await;
    for _ in 0..2 {
        assert_eq!(
            client.ask(Call::Compact { at }).await,
            Answer::Compacted(true)
        );
    }
    let mut raw = etcd_client::Client::connect([etcd.endpoint()], None)
        .await
        .unwrap();
    let old = i64::try_from(at.0).unwrap() - 2;
    let old = etcd_client::GetOptions::new().with_revision(old);
    assert!(raw.get("/c/0001", Some(old)).await.is_err());
    let future = Revision(at.0 + 1_000);
    assert_eq!(
        client.ask(Call::Compact { at: future }).await,
        Answer::Compacted(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_granted_renewed_and_revoked_with_its_keys() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let (lease, ttl) = client.grant(Duration::from_millis(29_001)).await;
    assert_eq!(ttl, Duration::from_secs(30), "fractions are rounded up");
    let leased = Write::Put {
        key: key("/l"),
        value: Value::from(b"1".to_vec()),
        lease: Some(lease),
    };
    client.committed(vec![], vec![leased.clone()]).await;
    for _ in 0..3 {
        assert_eq!(
            client.ask(Call::Renew { lease }).await,
            Answer::Lease(LeaseAnswer::Live { lease, ttl })
        );
    }
    let gone = Answer::Lease(LeaseAnswer::Gone);
    assert_eq!(client.ask(Call::Revoke { lease }).await, gone);
    assert_eq!(client.range("/l", "/m").await, vec![]);
    for call in [
        Call::Renew { lease },
        Call::Revoke { lease },
        Call::Renew { lease },
        Call::Renew {
            lease: LeaseId(12_345),
        },
    ] {
        assert_eq!(client.ask(call.clone()).await, gone, "{call:?}");
    }
    assert_eq!(
        client.commit(vec![], vec![leased]).await,
        TxnOutcome::Refused(Refusal::LeaseGone)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_expires_and_the_watch_tells() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let (lease, _) = client.grant(Duration::from_secs(1)).await;
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/l"), key("/m")));
    mirror.reaches(&mut client, Revision(1)).await;
    let leased = Write::Put {
        key: key("/l"),
        value: Value::default(),
        lease: Some(lease),
    };
    let at = client.committed(vec![], vec![leased]).await;
    mirror.reaches(&mut client, at.next()).await;
    assert_eq!(
        mirror.last,
        [Change::Delete {
            key: key("/l"),
            at: at.next()
        }]
    );
    assert_eq!(
        client.ask(Call::Renew { lease }).await,
        Answer::Lease(LeaseAnswer::Gone)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_transaction_is_taken_and_one_over_the_limits_of_etcd_refused() {
    let etcd = Etcd::start_with("http", &["--max-request-bytes", "20000"]);
    let mut client = Client::new(&store(&etcd).await);
    client.fill("/t/", 128, 1).await;
    let large = "x".repeat(30_000);
    assert_eq!(
        client.commit(vec![], vec![put("/t/large", &large)]).await,
        TxnOutcome::Refused(Refusal::TooLarge)
    );
    let larger = "x".repeat(1_000_000);
    assert_eq!(
        client.commit(vec![], vec![put("/t/large", &larger)]).await,
        TxnOutcome::Refused(Refusal::TooLarge)
    );
    assert_eq!(client.range("/t/", "/t0").await.len(), 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_life_begins_at_revision_zero_whatever_is_compared_with_it() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    client.committed(vec![], vec![put("/a", "1")]).await;
    let since = Revision(0);
    for name in ["/a", "/none"] {
        let key = key(name);
        let guards = [
            Guard::Unchanged {
                key: key.clone(),
                since,
            },
            alive(name, since),
        ];
        for guard in guards {
            let outcome = client.commit(vec![guard.clone()], vec![]).await;
            assert!(
                matches!(&outcome, TxnOutcome::Conflict { failed, .. } if failed.len() == 1),
                "{guard:?}: {outcome:?}"
            );
        }
        let gone = Guard::Gone { key, since };
        client.committed(vec![gone], vec![]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_has_not_happened_is_not_forgotten() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let now = client.committed(vec![], vec![put("/a", "1")]).await;
    for (at, forgotten) in [(now.next(), false), (now, true), (now, true)] {
        assert_eq!(
            client.ask(Call::Compact { at }).await,
            Answer::Compacted(forgotten),
            "{at}, now is {now}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_longer_than_etcd_grants_is_refused() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    let max = Duration::from_secs(9_000_000_000);
    for ttl in [max + Duration::from_secs(1), Duration::MAX] {
        assert_eq!(
            client.ask(Call::Grant { ttl }).await,
            Answer::Lease(LeaseAnswer::Refused(Refusal::Invalid)),
            "{ttl:?}"
        );
    }
    assert_eq!(client.grant(max).await.1, max);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_no_key_tells_how_far_the_store_is() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    for (from, to) in [("/w", "/w"), ("/w", "/a")] {
        let mut mirror = Mirror::watch(&mut client, Range::new(key(from), key(to)));
        let writes = ["/b", "/w"].map(|name| put(name, "1")).to_vec();
        let at = client.committed(vec![], writes).await;
        client.tell(Call::Progress { watch: mirror.op });
        mirror.reaches(&mut client, at).await;
        assert_eq!((mirror.held.len(), mirror.last.len()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_gone_is_gone_however_fast_it_is_asked_for_again() {
    let etcd = Etcd::start();
    let mut client = Client::new(&store(&etcd).await);
    for number in 0..300 {
        let lease = LeaseId(12_345);
        assert_eq!(
            client.ask(Call::Renew { lease }).await,
            Answer::Lease(LeaseAnswer::Gone),
            "question {number}"
        );
    }
}
