//! One client of the port: works off its script, as a machine would, and in the end makes sure that all is well again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use windlass::core::ids::{LeaseId, OpId, OpIds, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::store::{
    Answer, AuditAnswer, Call, Change, Found, Guard, Item, LeaseAnswer, Query, ReadAnswer, Step,
    Txn, TxnOutcome, Value, ViewEvent, Write,
};
use windlass::store::etcd::EtcdStore;
use windlass::store::{Answers, StorePort};

use super::scenario::{Act, GuardAct, WriteAct};
use super::txns::lane;
use super::world::Shared;

pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(10);
/// Until when, after the healing, all must work and every watch know everything.
const RECOVERY_MAX: Duration = Duration::from_secs(15);
/// How often somebody looks whether an answer is overdue.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn key(number: u64) -> Key {
    Key::from_store(format!("/tasks/{number:02}"))
}

pub(crate) fn range(from: u64, to: u64) -> Range {
    Range::new(key(from), key(to))
}

/// One client with its inbox.
pub(crate) struct Client {
    id: usize,
    shared: Arc<Shared>,
    port: Box<dyn StorePort>,
    inbox: mpsc::UnboundedReceiver<(OpId, Answer)>,
    ops: OpIds,
    /// The number that the lane gets next.
    number: u64,
    /// When the lane was written last, as far as is known.
    lane: Option<Revision>,
    committing: Option<OpId>,
    /// The fate of the last transaction is not known, so the lane is read.
    asking: Option<OpId>,
    lease: Option<LeaseId>,
    granting: Option<OpId>,
    renewing: BTreeMap<OpId, LeaseId>,
    renew_at: Instant,
    watches: BTreeMap<u64, OpId>,
    /// What was seen of keys, by any answer.
    seen: BTreeMap<Key, Found>,
    newest: Revision,
}

impl Client {
    pub(crate) fn new(id: usize, shared: Arc<Shared>, store: &EtcdStore) -> Self {
        let (sender, inbox) = mpsc::unbounded_channel();
        let answers = Answers::new(move |op, answer| drop(sender.send((op, answer))));
        Self {
            id,
            shared,
            port: store.client(answers),
            inbox,
            ops: OpIds::default(),
            number: 0,
            lane: None,
            committing: None,
            asking: None,
            lease: None,
            granting: None,
            renewing: BTreeMap::new(),
            renew_at: Instant::now(),
            watches: BTreeMap::new(),
            seen: BTreeMap::new(),
            newest: Revision(1),
        }
    }

    /// Works until all was done and all is well.
    pub(crate) async fn run(mut self, script: Vec<(u64, Act)>, begun: Instant, heal: Duration) {
        for (at, act) in script {
            self.until(begun + Duration::from_millis(at)).await;
            self.act(act);
        }
        self.until(begun + heal).await;
        let healed = begun + heal;
        let recovered = timeout_at(healed + RECOVERY_MAX, self.recover()).await;
        let took = healed.elapsed();
        self.shared.with(|world| {
            if recovered.is_err() {
                let reached = world.judge.reached(self.id);
                let present = world.kv.revision();
                let what = format!(
                    "not all works {took:?} after the healing; watches have reached {reached:?} of {present}"
                );
                world.judge.violated((self.id, OpId(0)), what);
            }
            let tally = &mut world.judge.tally;
            tally.recovered = tally.recovered.max(took);
        });
        // What is still owed has its time.
        let end = Instant::now() + PATIENCE + LOOK * 5;
        while Instant::now() < end && self.shared.with(|world| world.judge.owed(self.id)) > 0 {
            self.until(Instant::now() + LOOK).await;
        }
    }

    /// Asks one of everything, until each is answered as it should be, and waits until every watch knows all.
    async fn recover(&mut self) {
        while self.committing.is_some() || self.asking.is_some() {
            self.until(Instant::now() + LOOK / 10).await;
        }
        loop {
            self.commit(&[], &[]);
            if let Some(op) = self.committing
                && let Answer::Txn(TxnOutcome::Committed { .. }) = self.answer(op).await
            {
                break;
            }
            self.until(Instant::now() + LOOK / 10).await;
        }
        let range = Range::cluster();
        let limit = u32::MAX;
        let read = Call::Read(Query::Range { range, limit });
        self.insist(read, |answer| {
            matches!(answer, Answer::Read(ReadAnswer::Items { .. }))
        })
        .await;
        let audit = Call::Audit(Range::cluster());
        self.insist(audit, |answer| {
            matches!(answer, Answer::Audited(AuditAnswer::Held { .. }))
        })
        .await;
        let is_live = |answer: &Answer| matches!(answer, Answer::Lease(LeaseAnswer::Live { .. }));
        let granted = self.insist(Call::Grant { ttl: TTL }, is_live).await;
        if let Answer::Lease(LeaseAnswer::Live { lease, .. }) = granted {
            self.insist(Call::Renew { lease }, is_live).await;
            self.insist(Call::Revoke { lease }, |answer| {
                *answer == Answer::Lease(LeaseAnswer::Gone)
            })
            .await;
        }
        let at = self.lane.expect("it was just written");
        self.insist(Call::Compact { at }, |answer| {
            *answer == Answer::Compacted(true)
        })
        .await;
        let target = self.shared.with(|world| world.kv.revision());
        while self.shared.with(|world| world.judge.reached(self.id)) < Some(target) {
            for watch in self.watches.clone().into_values() {
                self.begin(Call::Progress { watch });
            }
            self.until(Instant::now() + LOOK).await;
        }
    }

    async fn insist(&mut self, call: Call, is_good: impl Fn(&Answer) -> bool) -> Answer {
        loop {
            let op = self.begin(call.clone());
            let answer = self.answer(op).await;
            if is_good(&answer) {
                return answer;
            }
            self.until(Instant::now() + LOOK / 10).await;
        }
    }

    async fn answer(&mut self, op: OpId) -> Answer {
        loop {
            self.look();
            let now = Instant::now();
            if now >= self.renew_at {
                self.renew();
            }
            let wake = self.renew_at.min(now + LOOK);
            let Ok(Some((of, answer))) = timeout_at(wake, self.inbox.recv()).await else {
                continue;
            };
            self.on_answer(of, &answer);
            if of == op {
                return answer;
            }
        }
    }

    /// Lives on: takes answers, and renews its lease.
    async fn until(&mut self, end: Instant) {
        loop {
            let now = Instant::now();
            self.look();
            if now >= end {
                return;
            }
            if now >= self.renew_at {
                self.renew();
            }
            let wake = end.min(self.renew_at).min(now + LOOK);
            if let Ok(Some((op, answer))) = timeout_at(wake, self.inbox.recv()).await {
                self.on_answer(op, &answer);
            }
        }
    }

    fn look(&self) {
        self.shared.with(|world| {
            let now = world.now();
            world.judge.on_time(self.id, now, PATIENCE);
        });
    }

    fn begin(&mut self, call: Call) -> OpId {
        let op = self.ops.fresh();
        self.shared.with(|world| {
            let (now, step) = (world.now(), world.step());
            let name = format!("client-{}", self.id);
            world
                .trace
                .note(now, &name, || format!("{} {call:?}", op.0));
            world
                .judge
                .on_asked((self.id, op), &call, now, step, &world.ledger);
        });
        self.port.call(op, call);
        op
    }

    fn renew(&mut self) {
        self.renew_at = Instant::now() + TTL / 3;
        if let Some(lease) = self.lease {
            let op = self.begin(Call::Renew { lease });
            self.renewing.insert(op, lease);
        } else if self.granting.is_none() {
            self.granting = Some(self.begin(Call::Grant { ttl: TTL }));
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Commit { guards, writes } => self.commit(&guards, &writes),
            Act::Fill { from, count } => {
                let put = |key| WriteAct::Put {
                    key,
                    bytes: 30,
                    leased: false,
                };
                let writes: Vec<WriteAct> = (from..from + count).map(put).collect();
                self.commit(&[], &writes);
            }
            Act::ReadKeys(keys) => {
                let keys = keys.into_iter().map(key).collect();
                self.begin(Call::Read(Query::Keys(keys)));
            }
            Act::ReadRange { from, to, limit } => {
                let range = range(from, to);
                self.begin(Call::Audit(range.clone()));
                self.begin(Call::Read(Query::Range { range, limit }));
            }
            Act::Watch { slot, from, to } => {
                if let Some(watch) = self.watches.remove(&slot) {
                    self.begin(Call::Unwatch { watch });
                }
                let watch = self.begin(Call::Watch(range(from, to)));
                self.watches.insert(slot, watch);
            }
            Act::Progress { slot } => {
                if let Some(watch) = self.watches.get(&slot).copied() {
                    self.begin(Call::Progress { watch });
                }
            }
            Act::Relet => {
                if let Some(lease) = self.take_lease() {
                    self.begin(Call::Revoke { lease });
                }
            }
            Act::Compact { keep } => {
                let at = Revision(self.newest.0.saturating_sub(keep).max(1));
                self.begin(Call::Compact { at });
            }
        }
    }

    fn take_lease(&mut self) -> Option<LeaseId> {
        self.renew_at = Instant::now();
        self.set_lease(None)
    }

    fn set_lease(&mut self, lease: Option<LeaseId>) -> Option<LeaseId> {
        self.shared.with(|world| world.leases[self.id] = lease);
        std::mem::replace(&mut self.lease, lease)
    }

    /// Writes the lane, and what else is wanted. A lane has one transaction in flight.
    fn commit(&mut self, guards: &[GuardAct], writes: &[WriteAct]) {
        if self.committing.is_some() || self.asking.is_some() {
            return;
        }
        self.number += 1;
        let mut txn = Txn::default();
        let name = lane(self.id);
        let own = self.lane.map_or_else(
            || Guard::Absent(name.clone()),
            |since| Guard::Unchanged {
                key: name.clone(),
                since,
            },
        );
        let number = Value::from(self.number.to_string().into_bytes());
        let mark = Write::Put {
            key: name,
            value: number,
            lease: None,
        };
        txn.push(Step::new(vec![own], vec![mark]))
            .expect("an empty transaction has room");
        for guard in guards {
            let guard = self.guard(*guard);
            // What does not go together with the rest is left out.
            drop(txn.push(Step::new(vec![guard], vec![])));
        }
        for (at, write) in writes.iter().enumerate() {
            let write = self.write(*write, at);
            drop(txn.push(Step::new(vec![], vec![write])));
        }
        self.committing = Some(self.begin(Call::Commit(txn)));
    }

    fn guard(&self, act: GuardAct) -> Guard {
        let (number, to) = match act {
            GuardAct::Absent(key)
            | GuardAct::Unchanged(key)
            | GuardAct::Alive(key)
            | GuardAct::Gone(key) => (key, key),
            GuardAct::Quiet(from, to) => (from, to),
        };
        let key = key(number);
        let found = self.seen.get(&key);
        let created = found.map_or(self.newest, |found| found.created);
        let modified = found.map_or(self.newest, |found| found.modified);
        match act {
            GuardAct::Absent(_) => Guard::Absent(key),
            GuardAct::Unchanged(_) => Guard::Unchanged {
                key,
                since: modified,
            },
            GuardAct::Alive(_) => Guard::Alive {
                key,
                since: created,
            },
            GuardAct::Gone(_) => Guard::Gone {
                key,
                since: created,
            },
            GuardAct::Quiet(..) => Guard::Quiet {
                range: range(number, to),
                since: self.newest,
            },
        }
    }

    fn write(&self, act: WriteAct, at: usize) -> Write {
        match act {
            WriteAct::Put {
                key: number,
                bytes,
                leased,
            } => {
                let mut value = format!("{}.{}.{at}.", self.id, self.number);
                let filled = usize::try_from(bytes).expect("a value is small");
                while value.len() < filled {
                    value.push('x');
                }
                Write::Put {
                    key: key(number),
                    value: Value::from(value.into_bytes()),
                    lease: self.lease.filter(|_| leased),
                }
            }
            WriteAct::Delete(number) => Write::Delete { key: key(number) },
            WriteAct::DeleteRange(from, to) => Write::DeleteRange {
                range: range(from, to),
            },
        }
    }

    fn on_answer(&mut self, op: OpId, answer: &Answer) {
        self.shared.with(|world| {
            let now = world.now();
            let name = format!("client-{}", self.id);
            world
                .trace
                .note(now, &name, || format!("{} -> {answer:?}", op.0));
            let (judge, ledger) = (&mut world.judge, &world.ledger);
            judge.on_answer((self.id, op), answer, now, PATIENCE, ledger);
        });
        match answer {
            Answer::Txn(outcome) if self.committing == Some(op) => self.on_outcome(outcome),
            Answer::Read(read) => self.on_read(op, read),
            Answer::Lease(answer) => self.on_lease(op, answer),
            Answer::View(event) => self.on_view(event),
            Answer::Txn(_) | Answer::Audited(_) | Answer::Compacted(_) | Answer::Usage(_) => {}
        }
    }

    fn on_outcome(&mut self, outcome: &TxnOutcome) {
        self.committing = None;
        match outcome {
            TxnOutcome::Committed { at } => {
                self.newest = self.newest.max(*at);
                self.lane = Some(*at);
            }
            TxnOutcome::Conflict { failed, .. } => {
                let own = failed.iter().find(|it| it.guard.0 == 0);
                match own {
                    // An earlier transaction of unknown fate has landed.
                    Some(own) => self.lane = own.found.as_ref().map(|found| found.modified),
                    None if failed.is_empty() => self.ask_lane(),
                    None => {}
                }
            }
            TxnOutcome::Refused(_) => {}
            TxnOutcome::Unknown => self.ask_lane(),
        }
    }

    fn ask_lane(&mut self) {
        let keys = vec![lane(self.id)];
        self.asking = Some(self.begin(Call::Read(Query::Keys(keys))));
    }

    fn on_read(&mut self, op: OpId, read: &ReadAnswer) {
        let asked = self.asking == Some(op);
        match read {
            ReadAnswer::Items { at, items, .. } => {
                self.newest = self.newest.max(*at);
                self.see(items);
                if asked {
                    self.asking = None;
                    self.lane = items.first().map(|item| item.found.modified);
                }
            }
            ReadAnswer::Failed if asked => self.ask_lane(),
            ReadAnswer::Failed => {}
        }
    }

    fn on_lease(&mut self, op: OpId, answer: &LeaseAnswer) {
        let renewed = self.renewing.remove(&op);
        let granting = self.granting == Some(op);
        if granting {
            self.granting = None;
        }
        match answer {
            LeaseAnswer::Live { lease, .. } if granting => {
                self.set_lease(Some(*lease));
            }
            LeaseAnswer::Gone if renewed.is_some() && renewed == self.lease => {
                self.take_lease();
            }
            LeaseAnswer::Live { .. }
            | LeaseAnswer::Gone
            | LeaseAnswer::Refused(_)
            | LeaseAnswer::Unknown => {}
        }
    }

    fn on_view(&mut self, event: &ViewEvent) {
        match event {
            ViewEvent::Reset { items, .. } => self.see(items),
            ViewEvent::Delta { changes, .. } => {
                for change in changes {
                    match change {
                        Change::Put(item) => self.see(std::slice::from_ref(item)),
                        Change::Delete { key, .. } => drop(self.seen.remove(key)),
                    }
                }
            }
            ViewEvent::Lost => {}
        }
    }

    fn see(&mut self, items: &[Item]) {
        for item in items {
            self.seen.insert(item.key.clone(), item.found.clone());
        }
    }
}
