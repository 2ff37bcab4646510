//! The etcd port's audits against a real etcd.
#![allow(clippy::unwrap_used)]

mod port;

use std::collections::BTreeMap;

use port::{Client, delete, key, put, store};
use windlass::core::ids::Revision;
use windlass::core::keyspace::{Key, Range};
use windlass::core::store::{Answer, AuditAnswer, Call, Change, Digest, ViewEvent};
use windlass_tests::etcd::Etcd;

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_the_sum_of_one_revision_however_much_is_written_meanwhile() {
    let etcd = Etcd::start();
    let store = store(&etcd).await;
    let [mut client, mut watcher, mut writer] = [0; 3].map(|_| Client::new(&store));
    // More than two pages, and neighbours that do not belong to the range.
    client.fill("/t/", 2_300, 10).await;
    client.fill("/s/", 3, 10).await;
    let range = Range::new(key("/t/"), key("/t0"));
    let base = client.range("/t/", "/t0").await;
    let watch = watcher.begin(Call::Watch(range.clone()));
    while let ViewEvent::Reset { more: true, .. } = watcher.view(watch).await {}
    let writing = tokio::spawn(async move {
        let mut last = Revision(0);
        for n in 1..570 {
            let name = |factor| format!("/t/{:04}", n * factor % 2_300);
            let writes = vec![put(&name(7), "new"), delete(&name(11))];
            last = writer.committed(vec![], writes).await;
        }
        last
    });
    let mut audits = Vec::new();
    while !writing.is_finished() || audits.is_empty() {
        let answer = client.ask(Call::Audit(range.clone())).await;
        let Answer::Audited(AuditAnswer::Held { at, digest }) = answer else {
            panic!("unexpected: {answer:?}");
        };
        audits.push((at, digest));
    }
    let last = writing.await.unwrap();
    assert!(audits[0].0 < last, "writers went on: {audits:?}, {last}");
    let (mut reached, mut changes) = (Revision(0), Vec::new());
    while reached < last {
        match watcher.view(watch).await {
            ViewEvent::Delta {
                at, changes: more, ..
            } => {
                changes.extend(more);
                reached = at;
            }
            other @ (ViewEvent::Reset { .. } | ViewEvent::Lost) => panic!("unexpected: {other:?}"),
        }
    }
    let base = base.into_iter().map(|it| (it.key, it.found.modified));
    let mut held: BTreeMap<Key, Revision> = base.collect();
    let mut changes = changes.into_iter().peekable();
    for (at, digest) in audits {
        while let Some(change) = changes.next_if(|change| change.at() <= at) {
            match change {
                Change::Put(item) => drop(held.insert(item.key, item.found.modified)),
                Change::Delete { key, .. } => drop(held.remove(&key)),
            }
        }
        let stored = Digest::of(held.iter().map(|(key, modified)| (key, *modified)));
        assert_eq!(digest, stored, "at {at}");
    }
}
