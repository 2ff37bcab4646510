//! etcd without the port, for what machines cannot ask.

use std::time::Duration;

use etcd_client::{
    Client, DeleteOptions, Error, EventType, GetOptions, KvClient, WatchOptions,
    WatchRequestSender, WatchResponse, WatchResponseStream,
};
use tokio::time::{Instant, timeout, timeout_at};
use windlass::core::ids::{LeaseId, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::store::{Change, Item, Value};

use super::step::{Compaction, Stored, Told};

/// How long etcd may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long etcd may take to tell what a watch has seen, before it is asked for its progress again: it forgets what it
/// is asked while the watch catches up.
const ASK_FIRST: Duration = Duration::from_millis(5);

/// The largest answer, in bytes: everything that is stored.
const ANSWER_MAX: usize = 64 << 20;

/// A key that no range of a plan covers.
const OUTSIDE: &str = "~";

/// A connection of the test's own.
#[derive(Clone)]
pub(crate) struct Raw {
    client: Client,
    pub(crate) version: String,
}

pub(crate) fn revision(raw: i64) -> Revision {
    Revision(u64::try_from(raw).expect("revisions are positive"))
}

fn raw_revision(at: Revision) -> i64 {
    i64::try_from(at.0).expect("revisions are small here")
}

fn item(kv: &etcd_client::KeyValue) -> Item {
    let key = Key::from_store(kv.key_str().expect("keys are text here"));
    let value = Value::from(kv.value().to_vec());
    Item::new(
        key,
        revision(kv.create_revision()),
        revision(kv.mod_revision()),
        value,
    )
}

impl Raw {
    pub(crate) async fn connect(endpoint: &str) -> Self {
        let client = Client::connect([endpoint], None).await.unwrap();
        let status = client.maintenance_client().status().await.unwrap();
        let version = status.version().to_owned();
        Self { client, version }
    }

    pub(crate) fn kv(&self) -> KvClient {
        self.client
            .kv_client()
            .max_decoding_message_size(ANSWER_MAX)
    }

    /// Removes all keys and leases, forgets all history, and tells the revision then.
    pub(crate) async fn clear(&mut self) -> u64 {
        for lease in self.leases().await {
            self.client.lease_client().revoke(lease.0).await.unwrap();
        }
        let all = DeleteOptions::new().with_all_keys();
        let mut kv = self.kv();
        kv.delete("", Some(all)).await.unwrap();
        // A watch may begin with the revision that a plan begins with: what happened there is outside of all plans.
        let begun = kv.put(OUTSIDE, "", None).await.unwrap();
        let at = revision(begun.header().unwrap().revision());
        assert_eq!(self.compact(at).await, Compaction::Done);
        at.0
    }

    /// The present revision.
    pub(crate) async fn revision(&mut self) -> Revision {
        let got = self.kv().get(OUTSIDE, None).await.unwrap();
        revision(got.header().unwrap().revision())
    }

    async fn leases(&mut self) -> Vec<LeaseId> {
        let leases = self.client.lease_client().leases().await.unwrap();
        leases.leases().iter().map(|it| LeaseId(it.id())).collect()
    }

    pub(crate) async fn dump(&mut self) -> (Vec<Stored>, Vec<LeaseId>) {
        let all = GetOptions::new().with_range("0");
        let got = self.kv().get("/", Some(all)).await.unwrap();
        let keys = got.kvs().iter().map(|kv| {
            let Item { key, found } = item(kv);
            Stored {
                key,
                found,
                version: u64::try_from(kv.version()).unwrap(),
                lease: Some(LeaseId(kv.lease())).filter(|it| it.0 != 0),
            }
        });
        (keys.collect(), self.leases().await)
    }

    pub(crate) async fn compact(&mut self, at: Revision) -> Compaction {
        match self
            .client
            .kv_client()
            .compact(raw_revision(at), None)
            .await
        {
            Ok(_) => Compaction::Done,
            Err(Error::GRpcStatus(status)) if status.message().contains("has been compacted") => {
                Compaction::Already
            }
            Err(Error::GRpcStatus(status)) if status.message().contains("future revision") => {
                Compaction::Future
            }
            Err(error) => panic!("unexpected: {error}"),
        }
    }

    pub(crate) async fn watch(&mut self, range: &Range, from: Revision) -> Watch {
        let options = WatchOptions::new()
            .with_range(range.to.as_str())
            .with_start_revision(raw_revision(from))
            .with_fragment();
        let mut client = self.client.watch_client();
        let opened = client
            .watch(range.from.as_str(), Some(options))
            .await
            .unwrap();
        let (sender, responses) = opened.split();
        let mut watch = Watch {
            sender,
            responses,
            told: Told::default(),
        };
        // What is compacted next must not overtake it.
        let created = timeout(PATIENCE, watch.responses.message()).await;
        let created = created
            .expect("a watch begins")
            .unwrap()
            .expect("a stream goes on");
        assert!(
            created.created() && !created.canceled(),
            "{}",
            created.cancel_reason()
        );
        watch
    }
}

/// A watch with a stream of its own.
pub(crate) struct Watch {
    sender: WatchRequestSender,
    responses: WatchResponseStream,
    told: Told,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.told.fmt(f)
    }
}

impl Watch {
    /// What was told until now, for a watch that waits for the future.
    pub(crate) fn so_far(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// Everything that the watch tells until it has reached `present`, or is found to begin before what is remembered.
    pub(crate) async fn catch_up(&mut self, present: Revision) -> Told {
        let until = Instant::now() + PATIENCE;
        let mut patience = ASK_FIRST;
        while self.told.compacted.is_none() && self.told.reached < Some(present) {
            self.sender.request_progress().await.unwrap();
            let ask_again = until.min(Instant::now() + patience);
            patience *= 2;
            while let Ok(response) = timeout_at(ask_again, self.responses.message()).await {
                self.on_response(response.unwrap().expect("a stream goes on"));
                if self.told.compacted.is_some() || self.told.reached >= Some(present) {
                    break;
                }
            }
            assert!(
                Instant::now() < until,
                "etcd does not tell how far a watch is"
            );
        }
        std::mem::take(&mut self.told)
    }

    fn on_response(&mut self, response: WatchResponse) {
        if response.canceled() {
            assert!(
                response.compact_revision() > 0,
                "{}",
                response.cancel_reason()
            );
            self.told.compacted = Some(revision(response.compact_revision()));
            return;
        }
        for event in response.events() {
            let item = item(event.kv().expect("an event has a key"));
            let at = item.found.modified;
            self.told.changes.push(match event.event_type() {
                EventType::Put => Change::Put(item),
                EventType::Delete => Change::Delete { key: item.key, at },
            });
        }
        if response.events().is_empty() {
            self.told.reached = Some(revision(response.header().unwrap().revision()));
        }
    }
}
