//! A client of the etcd port, as a machine's driver would be, and a mirror of what a watch tells.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use windlass::core::ids::{LeaseId, OpId, OpIds, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::store::{
    Answer, Call, Change, Found, Guard, Item, LeaseAnswer, Query, ReadAnswer, Step, Txn,
    TxnOutcome, Value, ViewEvent, Write,
};
use windlass::store::etcd::{EtcdConfig, EtcdStore};
use windlass::store::{Answers, StorePort};
use windlass_tests::etcd::Etcd;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn key(name: &str) -> Key {
    Key::from_store(name)
}

pub(crate) fn put(name: &str, value: &str) -> Write {
    Write::Put {
        key: key(name),
        value: Value::from(value.as_bytes().to_vec()),
        lease: None,
    }
}

pub(crate) fn delete(name: &str) -> Write {
    Write::Delete { key: key(name) }
}

pub(crate) fn alive(name: &str, since: Revision) -> Guard {
    Guard::Alive {
        key: key(name),
        since,
    }
}

pub(crate) fn config(etcd: &Etcd) -> EtcdConfig {
    EtcdConfig::new([etcd.endpoint()])
}

pub(crate) async fn store(etcd: &Etcd) -> EtcdStore {
    EtcdStore::connect(config(etcd)).await.unwrap()
}

/// One client with its inbox.
pub(crate) struct Client {
    port: Option<Box<dyn StorePort>>,
    inbox: mpsc::UnboundedReceiver<(OpId, Answer)>,
    waiting: Vec<(OpId, Answer)>,
    ops: OpIds,
}

impl Client {
    pub(crate) fn new(store: &EtcdStore) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let sender = Arc::new(sender);
        let answers = Answers::new(move |op, answer| drop(sender.send((op, answer))));
        Self {
            port: Some(store.client(answers)),
            inbox,
            waiting: Vec::new(),
            ops: OpIds::default(),
        }
    }

    pub(crate) fn begin(&mut self, call: Call) -> OpId {
        let op = self.ops.fresh();
        self.port.as_mut().unwrap().call(op, call);
        op
    }

    pub(crate) fn begin_commit(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> OpId {
        let mut txn = Txn::default();
        txn.push(Step::new(guards, writes)).unwrap();
        self.begin(Call::Commit(txn))
    }

    /// A call that gets no answer of its own.
    pub(crate) fn tell(&mut self, call: Call) {
        self.begin(call);
    }

    pub(crate) async fn answer(&mut self, op: OpId) -> Answer {
        if let Some(at) = self.waiting.iter().position(|(it, _)| *it == op) {
            return self.waiting.remove(at).1;
        }
        loop {
            let (of, answer) = timeout(PATIENCE, self.inbox.recv())
                .await
                .expect("every call is answered")
                .expect("the port lives");
            if of == op {
                return answer;
            }
            self.waiting.push((of, answer));
        }
    }

    pub(crate) async fn ask(&mut self, call: Call) -> Answer {
        let op = self.begin(call);
        self.answer(op).await
    }

    pub(crate) async fn view(&mut self, watch: OpId) -> ViewEvent {
        match self.answer(watch).await {
            Answer::View(event) => event,
            other => panic!("unexpected: {other:?}"),
        }
    }

    pub(crate) async fn commit(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> TxnOutcome {
        let op = self.begin_commit(guards, writes);
        match self.answer(op).await {
            Answer::Txn(outcome) => outcome,
            other => panic!("unexpected: {other:?}"),
        }
    }

    pub(crate) async fn committed(&mut self, guards: Vec<Guard>, writes: Vec<Write>) -> Revision {
        match self.commit(guards, writes).await {
            TxnOutcome::Committed { at } => at,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// Commits, however often that takes.
    pub(crate) async fn eventually_committed(&mut self, writes: Vec<Write>) -> Revision {
        let begun = Instant::now();
        loop {
            if let TxnOutcome::Committed { at } = self.commit(vec![], writes.clone()).await {
                return at;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing can be committed");
        }
    }

    pub(crate) async fn range(&mut self, from: &str, to: &str) -> Vec<Item> {
        let range = Range::new(key(from), key(to));
        self.read(range).await.expect("the store can be read").1
    }

    pub(crate) async fn eventually_range(&mut self, from: &str, to: &str) -> Vec<Item> {
        self.eventually_read(Range::new(key(from), key(to))).await.1
    }

    async fn eventually_read(&mut self, range: Range) -> (Revision, Vec<Item>) {
        let begun = Instant::now();
        loop {
            if let Some(read) = self.read(range.clone()).await {
                return read;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing can be read");
        }
    }

    async fn read(&mut self, range: Range) -> Option<(Revision, Vec<Item>)> {
        let limit = u32::MAX;
        match self.ask(Call::Read(Query::Range { range, limit })).await {
            Answer::Read(ReadAnswer::Items { at, items, more }) => {
                assert!(!more, "there was no limit");
                Some((at, items))
            }
            Answer::Read(ReadAnswer::Failed) => None,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// Writes `count` keys of `size` bytes, and tells the last revision.
    pub(crate) async fn fill(&mut self, folder: &str, count: usize, size: usize) -> Revision {
        let value = "x".repeat(size);
        let names: Vec<String> = (0..count).map(|n| format!("{folder}{n:04}")).collect();
        let mut last = Revision(0);
        for batch in names.chunks(100) {
            let writes = batch.iter().map(|name| put(name, &value)).collect();
            last = self.committed(vec![], writes).await;
        }
        last
    }

    pub(crate) async fn grant(&mut self, ttl: Duration) -> (LeaseId, Duration) {
        match self.ask(Call::Grant { ttl }).await {
            Answer::Lease(LeaseAnswer::Live { lease, ttl }) => (lease, ttl),
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// Whether nothing that was received so far and not looked at belongs to `op`. Forgets it.
    pub(crate) fn heard_nothing(&mut self, op: OpId) -> bool {
        while let Ok(received) = self.inbox.try_recv() {
            self.waiting.push(received);
        }
        let before = self.waiting.len();
        self.waiting.retain(|(of, _)| *of != op);
        before == self.waiting.len()
    }

    pub(crate) fn drop_port(&mut self) {
        self.port = None;
    }

    /// Waits until nothing can be received any more.
    pub(crate) async fn all_senders_are_gone(&mut self) {
        let drained = async { while self.inbox.recv().await.is_some() {} };
        timeout(PATIENCE, drained)
            .await
            .expect("what the port began ends with it");
    }
}

/// What a watch's owner knows, with the contract of [`ViewEvent`] asserted at every step.
pub(crate) struct Mirror {
    pub(crate) op: OpId,
    pub(crate) held: BTreeMap<Key, Found>,
    pub(crate) resets: usize,
    /// Into how many parts the last reset was cut.
    pub(crate) parts: usize,
    pub(crate) largest_delta: usize,
    /// The changes of the last delta that had any.
    pub(crate) last: Vec<Change>,
    range: Range,
    at: Revision,
    loading: bool,
}

impl Mirror {
    pub(crate) fn watch(client: &mut Client, range: Range) -> Self {
        Self {
            op: client.begin(Call::Watch(range.clone())),
            held: BTreeMap::new(),
            resets: 0,
            parts: 0,
            largest_delta: 0,
            last: Vec::new(),
            range,
            at: Revision(0),
            loading: false,
        }
    }

    /// Follows the watch until it has reached `at`.
    pub(crate) async fn reaches(&mut self, client: &mut Client, at: Revision) {
        let begun = Instant::now();
        while self.at < at || self.loading {
            assert!(begun.elapsed() < PATIENCE, "the watch hangs at {}", self.at);
            let event = client.view(self.op).await;
            self.apply(event);
        }
    }

    pub(crate) async fn equals_the_store(&mut self, client: &mut Client) {
        let (at, items) = client.eventually_read(self.range.clone()).await;
        if at > self.at {
            client.tell(Call::Progress { watch: self.op });
        }
        self.reaches(client, at).await;
        let stored: BTreeMap<Key, Found> = items.into_iter().map(|it| (it.key, it.found)).collect();
        assert!(self.held == stored, "the mirror differs at {at}");
    }

    fn apply(&mut self, event: ViewEvent) {
        match event {
            ViewEvent::Reset { at, items, more } => self.on_reset(at, items, more),
            ViewEvent::Delta { after, at, changes } => self.on_delta(after, at, changes),
            ViewEvent::Lost => panic!("the port heals its watches itself"),
        }
    }

    fn on_reset(&mut self, at: Revision, items: Vec<Item>, more: bool) {
        if !self.loading || at != self.at {
            self.held.clear();
            self.resets += 1;
            self.parts = 0;
        }
        self.parts += 1;
        self.at = at;
        self.loading = more;
        for item in items {
            let before = self.held.last_key_value().map(|(key, _)| key);
            assert!(before < Some(&item.key), "a read is in the order of keys");
            self.held.insert(item.key, item.found);
        }
    }

    fn on_delta(&mut self, after: Revision, at: Revision, changes: Vec<Change>) {
        assert!(!self.loading, "a read is complete before changes follow");
        assert_eq!(after, self.at, "there is no gap");
        assert!(at >= after, "a watch never goes back");
        self.largest_delta = self.largest_delta.max(changes.len());
        let mut last = after.next();
        for change in &changes {
            assert!(
                change.at() >= last && change.at() <= at,
                "changes are in order"
            );
            last = change.at();
            assert!(self.range.contains(change.key()));
            match change.clone() {
                Change::Put(item) => drop(self.held.insert(item.key, item.found)),
                Change::Delete { key, .. } => drop(self.held.remove(&key)),
            }
        }
        if !changes.is_empty() {
            self.last = changes;
        }
        self.at = at;
    }
}
