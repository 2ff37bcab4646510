//! A real etcd as the other side of the comparison: by way of the port that machines use, and directly where they have
//! no such call. Revisions are told as if etcd had been empty when the plan began, leases in the order of their grants.
//!
//! What is evened out, and nothing else:
//! - etcd numbers leases as it likes, and its revisions do not begin anew with each plan.
//! - The port compacts one revision less than it is asked to, so what a watch may begin with differs by that one: no
//!   watch of a plan begins there.
//! - A watch that lags behind a compaction begins again or not, as chance has it: plans let watches catch up first.
//! - A watch that etcd is asked for directly covers at least one key: etcd refuses others, the port does not.

use std::collections::BTreeMap;

use windlass::core::ids::{LeaseId, OpId, Revision};
use windlass::core::keyspace::Range;
use windlass::core::store::{
    Answer, Call, Change, Failed, Found, Guard, Item, LeaseAnswer, ReadAnswer, Step as TxnStep,
    Txn, TxnOutcome, ViewEvent, Write,
};
use windlass::store::etcd::EtcdStore;
use windlass_tests::etcd::Etcd;

use super::raw::{self, Raw};
use super::step::{Seen, Side, Step, Stored, Told};
use crate::port::{Client, store};

/// A lease that etcd never grants, but for once in 2⁶⁰ times.
const NEVER_GRANTED: i64 = 12_345;

#[derive(Debug)]
enum Watching {
    /// A machine's.
    Port { op: OpId, told: Told },
    Raw {
        watch: Box<raw::Watch>,
        from: Revision,
    },
}

/// One etcd, for one plan after the other.
pub(crate) struct Real {
    store: EtcdStore,
    client: Client,
    raw: Raw,
    /// What etcd's revisions are ahead of the plan's.
    offset: u64,
    /// Every lease that was granted in this plan, in order.
    leases: Vec<i64>,
    watches: BTreeMap<u8, Watching>,
}

impl Real {
    pub(crate) async fn connect(etcd: &Etcd) -> Self {
        let store = store(etcd).await;
        Self {
            client: Client::new(&store),
            store,
            raw: Raw::connect(etcd.endpoint()).await,
            offset: 0,
            leases: Vec::new(),
            watches: BTreeMap::new(),
        }
    }

    pub(crate) fn version(&self) -> &str {
        &self.raw.version
    }

    /// A connection that asks what no plan can.
    pub(crate) fn raw(&self) -> etcd_client::KvClient {
        self.raw.kv()
    }

    /// The present revision.
    pub(crate) async fn revision(&mut self) -> Revision {
        let at = self.raw.revision().await;
        self.home(at)
    }

    /// Removes what the plan before has left.
    pub(crate) async fn begin(&mut self) {
        self.client = Client::new(&self.store);
        self.watches.clear();
        self.leases.clear();
        let at = self.raw.clear().await;
        self.offset = at - 1;
    }

    fn out(&self, at: Revision) -> Revision {
        // Zero is no revision of anything, there as here.
        Revision(if at.0 == 0 { 0 } else { at.0 + self.offset })
    }

    fn home(&self, at: Revision) -> Revision {
        Revision(if at.0 == 0 {
            0
        } else {
            at.0.wrapping_sub(self.offset)
        })
    }

    fn lease_out(&self, lease: LeaseId) -> LeaseId {
        let granted = usize::try_from(lease.0 - 1)
            .ok()
            .and_then(|at| self.leases.get(at));
        LeaseId(granted.copied().unwrap_or(NEVER_GRANTED))
    }

    fn lease_home(&self, lease: LeaseId) -> LeaseId {
        let at = self.leases.iter().position(|it| *it == lease.0);
        at.map_or(lease, |at| LeaseId(at as i64 + 1))
    }

    fn call_out(&self, call: &Call) -> Call {
        match call {
            Call::Commit(txn) => Call::Commit(self.txn_out(txn)),
            Call::Renew { lease } => Call::Renew {
                lease: self.lease_out(*lease),
            },
            Call::Revoke { lease } => Call::Revoke {
                lease: self.lease_out(*lease),
            },
            Call::Compact { at } => Call::Compact { at: self.out(*at) },
            Call::Usage => Call::Usage,
            Call::Watch(_)
            | Call::Unwatch { .. }
            | Call::Progress { .. }
            | Call::Read(_)
            | Call::Audit(_)
            | Call::Grant { .. } => call.clone(),
        }
    }

    fn txn_out(&self, txn: &Txn) -> Txn {
        let guards = txn.guards().iter().cloned().map(|mut guard| {
            match &mut guard {
                Guard::Absent(_) => {}
                Guard::Unchanged { since, .. }
                | Guard::Alive { since, .. }
                | Guard::Gone { since, .. }
                | Guard::Quiet { since, .. } => *since = self.out(*since),
            }
            guard
        });
        let writes = txn.writes().iter().cloned().map(|mut write| {
            match &mut write {
                Write::Put { lease, .. } => *lease = lease.map(|lease| self.lease_out(lease)),
                Write::Delete { .. } | Write::DeleteRange { .. } => {}
            }
            write
        });
        let step = TxnStep::new(guards.collect(), writes.collect());
        let mut out = Txn::default();
        out.push(step)
            .expect("the same with other numbers is as legal");
        out
    }

    fn answer_home(&mut self, answer: Answer) -> Answer {
        match answer {
            Answer::Txn(TxnOutcome::Committed { at }) => {
                Answer::Txn(TxnOutcome::Committed { at: self.home(at) })
            }
            Answer::Txn(TxnOutcome::Conflict { at, failed }) => {
                let failed = failed.into_iter().map(|it| Failed {
                    guard: it.guard,
                    found: it.found.map(|found| self.found_home(found)),
                });
                Answer::Txn(TxnOutcome::Conflict {
                    at: self.home(at),
                    failed: failed.collect(),
                })
            }
            Answer::Read(ReadAnswer::Items { at, items, more }) => {
                Answer::Read(ReadAnswer::Items {
                    at: self.home(at),
                    items: self.items_home(items),
                    more,
                })
            }
            Answer::Lease(LeaseAnswer::Live { lease, ttl }) => Answer::Lease(LeaseAnswer::Live {
                lease: self.lease_home(lease),
                ttl,
            }),
            Answer::Txn(TxnOutcome::Refused(_) | TxnOutcome::Unknown)
            | Answer::View(_)
            | Answer::Read(ReadAnswer::Failed)
            | Answer::Lease(LeaseAnswer::Gone | LeaseAnswer::Refused(_) | LeaseAnswer::Unknown)
            | Answer::Audited(_)
            | Answer::Compacted(_)
            | Answer::Usage(_) => answer,
        }
    }

    fn found_home(&self, found: Found) -> Found {
        Found {
            created: self.home(found.created),
            modified: self.home(found.modified),
            value: found.value,
        }
    }

    fn items_home(&self, items: Vec<Item>) -> Vec<Item> {
        let items = items.into_iter().map(|it| Item {
            key: it.key,
            found: self.found_home(it.found),
        });
        items.collect()
    }

    fn change_home(&self, change: Change) -> Change {
        match change {
            Change::Put(item) => Change::Put(Item {
                key: item.key,
                found: self.found_home(item.found),
            }),
            Change::Delete { key, at } => Change::Delete {
                key,
                at: self.home(at),
            },
        }
    }

    async fn call(&mut self, call: &Call) -> Seen {
        let answer = self.client.ask(self.call_out(call)).await;
        if let (Call::Grant { .. }, Answer::Lease(LeaseAnswer::Live { lease, .. })) =
            (call, &answer)
        {
            self.leases.push(lease.0);
        }
        Seen::Answer(self.answer_home(answer))
    }

    async fn brief(&mut self, call: &Call) -> Seen {
        let seen = self.call(call).await;
        let Seen::Answer(Answer::Lease(granted @ LeaseAnswer::Live { .. })) = seen else {
            return Seen::Odd(format!("{seen:?}"));
        };
        let lease = LeaseId(*self.leases.last().expect("one was granted"));
        let answer = self.client.ask(Call::Revoke { lease }).await;
        let Answer::Lease(ended) = answer else {
            return Seen::Odd(format!("{answer:?}"));
        };
        Seen::Brief { granted, ended }
    }

    /// The first full read, joined. A commit that comes next must not overtake it.
    async fn watch(&mut self, slot: u8, range: &Range) -> Seen {
        self.unwatch(slot);
        let op = self.client.begin(Call::Watch(range.clone()));
        let mut all = Vec::new();
        loop {
            let ViewEvent::Reset { at, items, more } = self.client.view(op).await else {
                return Seen::Odd("a watch that does not begin with a full read".into());
            };
            all.extend(items);
            if !more {
                let told = Told {
                    reached: Some(at),
                    ..Told::default()
                };
                self.watches.insert(slot, Watching::Port { op, told });
                return Seen::Read {
                    at: self.home(at),
                    items: self.items_home(all),
                };
            }
        }
    }

    async fn follow(&mut self, slot: u8, range: &Range, from: Revision) -> Seen {
        self.unwatch(slot);
        let watch = Box::new(self.raw.watch(range, self.out(from)).await);
        self.watches.insert(slot, Watching::Raw { watch, from });
        Seen::Nothing
    }

    fn unwatch(&mut self, slot: u8) -> Seen {
        if let Some(Watching::Port { op, .. }) = self.watches.remove(&slot) {
            self.client.tell(Call::Unwatch { watch: op });
        }
        Seen::Nothing
    }

    async fn settle(&mut self, slot: Option<u8>, at: Revision) -> Seen {
        let slots: Vec<u8> = self.watches.keys().copied().collect();
        let mut all = BTreeMap::new();
        for slot in slots
            .into_iter()
            .filter(|it| slot.is_none_or(|slot| slot == *it))
        {
            let (mut watching, present) = (
                self.watches.remove(&slot).expect("it is there"),
                self.out(at),
            );
            let told = match &mut watching {
                Watching::Port { op, told } => catch_up(&mut self.client, *op, told, present).await,
                Watching::Raw { watch, from, .. } if *from > at => watch.so_far(),
                Watching::Raw { watch, .. } => watch.catch_up(present).await,
            };
            if told.compacted.is_none() {
                self.watches.insert(slot, watching);
            }
            all.insert(slot, self.told_home(told));
        }
        Seen::Told(all)
    }

    fn told_home(&self, told: Told) -> Told {
        Told {
            changes: told
                .changes
                .into_iter()
                .map(|it| self.change_home(it))
                .collect(),
            reached: told.reached.map(|at| self.home(at)),
            compacted: told.compacted.map(|at| self.home(at)),
            resets: told.resets,
        }
    }

    async fn compact_raw(&mut self, at: Revision) -> Seen {
        Seen::CompactedRaw(self.raw.compact(self.out(at)).await)
    }

    async fn dump(&mut self) -> Seen {
        let (keys, leases) = self.raw.dump().await;
        let keys = keys.into_iter().map(|it| Stored {
            found: self.found_home(it.found),
            lease: it.lease.map(|lease| self.lease_home(lease)),
            ..it
        });
        let mut leases: Vec<LeaseId> = leases.into_iter().map(|it| self.lease_home(it)).collect();
        leases.sort_unstable();
        Seen::Dump {
            keys: keys.collect(),
            leases,
        }
    }
}

/// Everything that a machine's watch tells until it has reached `present`.
async fn catch_up(client: &mut Client, op: OpId, told: &mut Told, present: Revision) -> Told {
    client.tell(Call::Progress { watch: op });
    loop {
        let event = client.view(op).await;
        let progress = matches!(&event, ViewEvent::Delta { changes, .. } if changes.is_empty());
        match event {
            ViewEvent::Reset { at, .. } => {
                told.resets += 1;
                told.reached = Some(at);
            }
            ViewEvent::Delta { after, at, changes } => {
                assert_eq!(told.reached, Some(after), "there is no gap");
                told.reached = Some(at);
                told.changes.extend(changes);
            }
            ViewEvent::Lost => panic!("the port heals its watches itself"),
        }
        if progress && told.reached >= Some(present) {
            let reached = told.reached;
            let next = Told {
                reached,
                ..Told::default()
            };
            return std::mem::replace(told, next);
        }
    }
}

impl Side for Real {
    async fn run(&mut self, step: &Step) -> Seen {
        match step {
            Step::Call(call) => self.call(call).await,
            Step::Brief { call } => self.brief(call).await,
            Step::Watch { slot, range } => self.watch(*slot, range).await,
            Step::Follow { slot, range, from } => self.follow(*slot, range, *from).await,
            Step::Unwatch { slot } => self.unwatch(*slot),
            Step::Settle { slot, at } => self.settle(*slot, *at).await,
            Step::CompactRaw { at } => self.compact_raw(*at).await,
            Step::Dump => self.dump().await,
        }
    }
}
