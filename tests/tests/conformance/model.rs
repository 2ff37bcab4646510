//! The store's model as one side of the comparison. It also decides what a plan's steps mean, since it can be looked into.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass::core::ids::{LeaseId, OpId, Revision};
use windlass::core::keyspace::{Key, Range};
use windlass::core::kv::{ClientId, Compacted, Effect, Entry, Input, Kv, Limits, Stored as Part};
use windlass::core::machine::Machine as _;
use windlass::core::store::{
    Answer, Call, Guard, LeaseAnswer, Query, Step as TxnStep, Txn, Value, ViewEvent, Write,
};
use windlass::core::time::Now;

use super::plan::{Act, At, GuardAct, GuardKind, Since, WriteAct, key, range, some_range};
use super::step::{Compaction, Seen, Side, Step, Stored, Told};

const CLIENT: ClientId = ClientId(1);

#[derive(Debug)]
struct Watching {
    op: OpId,
    /// The first revision that it tells.
    from: Revision,
    told: Told,
}

/// The model, driven by hand. Its time stands still unless somebody moves it.
#[derive(Debug)]
pub(crate) struct Model {
    kv: Kv,
    pub(crate) now: Now,
    ops: u64,
    watches: BTreeMap<u8, Watching>,
    /// What etcd was told to compact. For a machine's call that is one revision less than it asked for.
    compacted_raw: Revision,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut model = Self {
            kv: Kv::new(limits),
            now: Now::default(),
            ops: 0,
            watches: BTreeMap::new(),
            compacted_raw: Revision(0),
        };
        // What was before the first step is nobody's business.
        let seen = model.compact_raw(Revision(1));
        assert_eq!(seen, Seen::CompactedRaw(Compaction::Done));
        model
    }

    pub(crate) fn kv(&self) -> &Kv {
        &self.kv
    }

    /// What a step of a plan means now.
    pub(crate) fn resolve(&self, act: &Act) -> Vec<Step> {
        let settle = |slot| Step::Settle {
            slot,
            at: self.kv.revision(),
        };
        match act {
            Act::Commit {
                guards,
                writes,
                whole,
            } => vec![self.commit(guards, writes, *whole)],
            Act::Fill { count, lease } => vec![fill(*count, *lease)],
            Act::ReadKeys(keys) => {
                let keys = keys.iter().copied().map(key).collect();
                vec![Step::Call(Call::Read(Query::Keys(keys)))]
            }
            Act::ReadRange { range: of, limit } => {
                let (range, limit) = (range(*of), *limit);
                vec![Step::Call(Call::Read(Query::Range { range, limit }))]
            }
            Act::Grant { seconds } => vec![Step::Call(grant(*seconds))],
            Act::Brief { seconds } => vec![Step::Brief {
                call: grant(*seconds),
            }],
            Act::Renew { lease } => vec![Step::Call(Call::Renew {
                lease: lease_id(*lease),
            })],
            Act::Revoke { lease } => vec![Step::Call(Call::Revoke {
                lease: lease_id(*lease),
            })],
            Act::Watch { slot, range: of } => {
                let (slot, range) = (*slot, range(*of));
                vec![settle(Some(slot)), Step::Watch { slot, range }]
            }
            Act::Follow {
                slot,
                range: of,
                from,
            } => vec![
                settle(Some(*slot)),
                Step::Follow {
                    slot: *slot,
                    range: some_range(*of),
                    from: self.beginning(*from),
                },
            ],
            Act::Unwatch { slot } => vec![settle(Some(*slot)), Step::Unwatch { slot: *slot }],
            Act::Progress { slot } => vec![settle(Some(*slot))],
            // A watch that lags is cancelled by compaction, or not: that is a matter of time.
            Act::Compact { at } => {
                let at = self.at(*at);
                vec![settle(None), Step::Call(Call::Compact { at })]
            }
            Act::CompactRaw { at } => vec![settle(None), Step::CompactRaw { at: self.at(*at) }],
            Act::Dump => vec![Step::Dump],
        }
    }

    /// The step that tells what all watches have seen.
    pub(crate) fn settle_all(&self) -> Step {
        Step::Settle {
            slot: None,
            at: self.kv.revision(),
        }
    }

    fn at(&self, At(ahead): At) -> Revision {
        Revision(self.kv.revision().0.saturating_add_signed(ahead).max(1))
    }

    /// Where a watch may begin so that both stores must agree.
    fn beginning(&self, at: At) -> Revision {
        let at = self.at(at);
        let between = at == self.compacted_raw && at < self.kv.compacted();
        if between { at.next() } else { at }
    }

    fn commit(&self, guards: &[GuardAct], writes: &[WriteAct], whole: bool) -> Step {
        let mut txn = Txn::default();
        for guard in guards {
            push(&mut txn, vec![self.guard(*guard)], vec![]);
        }
        let writes = writes.iter().copied().map(write);
        if whole {
            push(&mut txn, vec![], writes.collect());
        } else {
            writes.for_each(|write| push(&mut txn, vec![], vec![write]));
        }
        Step::Call(Call::Commit(txn))
    }

    fn guard(&self, act: GuardAct) -> Guard {
        let key = key(act.key);
        let found = self.kv.entry(&key).map(|entry| &entry.found);
        let now = self.kv.revision();
        let since = match act.since {
            Since::Created => found.map_or(now, |it| it.created),
            Since::Modified => found.map_or(now, |it| it.modified),
            Since::Now(at) => self.at(at),
            Since::Zero => Revision(0),
        };
        match act.kind {
            GuardKind::Absent => Guard::Absent(key),
            GuardKind::Unchanged => Guard::Unchanged { key, since },
            GuardKind::Alive => Guard::Alive { key, since },
            GuardKind::Gone => Guard::Gone { key, since },
            GuardKind::Quiet => Guard::Quiet {
                range: range((act.key, act.to)),
                since,
            },
        }
    }

    /// Gives the model an input; returns the answer to a call, if it has one.
    pub(crate) fn handle(&mut self, input: Input) -> Option<Answer> {
        let asked = match &input {
            Input::Call { op, .. } => Some(*op),
            Input::Elapsed | Input::Leave { .. } | Input::LeaderChanged => None,
        };
        let mut out = Vec::new();
        self.kv.handle(self.now, input, &mut out);
        let mut answered = None;
        for effect in out {
            let Effect::Answer { op, answer, .. } = effect else {
                continue;
            };
            match answer {
                Answer::View(event) => self.on_view(op, event),
                _ if Some(op) == asked => answered = Some(answer),
                Answer::Txn(_)
                | Answer::Read(_)
                | Answer::Lease(_)
                | Answer::Audited(_)
                | Answer::Compacted(_)
                | Answer::Usage(_) => {
                    panic!("nobody asked for {answer:?}")
                }
            }
        }
        answered
    }

    pub(crate) fn ask(&mut self, call: Call) -> Option<Answer> {
        self.ops += 1;
        let (client, op) = (CLIENT, OpId(self.ops));
        self.handle(Input::Call { client, op, call })
    }

    /// News of a watch. The full read is taken from the store itself when the watch begins.
    fn on_view(&mut self, of: OpId, event: ViewEvent) {
        let ViewEvent::Delta { after, at, changes } = event else {
            return;
        };
        let watching = self.watches.values_mut().find(|it| it.op == of);
        let Some(it) = watching else {
            panic!("news of a watch that was ended")
        };
        assert!(
            it.told.reached.is_none_or(|reached| reached == after),
            "no gap"
        );
        it.told.reached = Some(at);
        let told = changes.into_iter().filter(|change| change.at() >= it.from);
        it.told.changes.extend(told);
    }

    fn watch(&mut self, slot: u8, range: Range, from: Revision) -> Seen {
        self.unwatch(slot);
        self.ops += 1;
        let (client, op) = (CLIENT, OpId(self.ops));
        let call = Call::Watch(range);
        let mut out = Vec::new();
        let input = Input::Call { client, op, call };
        self.kv.handle(self.now, input, &mut out);
        let mut read = (Revision(0), Vec::new());
        for effect in out {
            let Effect::Answer {
                answer: Answer::View(ViewEvent::Reset { at, items, .. }),
                ..
            } = effect
            else {
                panic!("a watch begins with a full read, not with {effect:?}");
            };
            read.0 = at;
            read.1.extend(items);
        }
        let told = Told {
            reached: Some(read.0),
            ..Told::default()
        };
        self.watches.insert(slot, Watching { op, from, told });
        Seen::Read {
            at: read.0,
            items: read.1,
        }
    }

    fn follow(&mut self, slot: u8, range: &Range, from: Revision) -> Seen {
        self.watch(slot, range.clone(), from);
        let told = &mut self.watches.get_mut(&slot).expect("it was begun").told;
        match self.kv.changes_since(range, Revision(from.0 - 1)) {
            Ok(changes) => told.changes = changes,
            Err(Compacted { .. }) => told.compacted = Some(self.compacted_raw),
        }
        Seen::Nothing
    }

    fn unwatch(&mut self, slot: u8) -> Seen {
        if let Some(watching) = self.watches.remove(&slot) {
            let watch = watching.op;
            self.ask(Call::Unwatch { watch });
        }
        Seen::Nothing
    }

    fn settle(&mut self, slot: Option<u8>) -> Seen {
        let slots: Vec<u8> = self.watches.keys().copied().collect();
        let mut all = BTreeMap::new();
        for slot in slots
            .into_iter()
            .filter(|it| slot.is_none_or(|slot| slot == *it))
        {
            all.insert(slot, self.tell(slot));
        }
        Seen::Told(all)
    }

    fn tell(&mut self, slot: u8) -> Told {
        let watch = self.watches[&slot].op;
        if self.watches[&slot].told.compacted.is_some() {
            let mut told =
                std::mem::take(&mut self.watches.get_mut(&slot).expect("it is there").told);
            (told.changes, told.reached) = (Vec::new(), None);
            self.unwatch(slot);
            return told;
        }
        self.ask(Call::Progress { watch });
        let at = self.kv.revision();
        let it = self.watches.get_mut(&slot).expect("it is there");
        let waits = it.from > at;
        Told {
            changes: std::mem::take(&mut it.told.changes),
            reached: it.told.reached.filter(|_| !waits),
            ..Told::default()
        }
    }

    fn compact_raw(&mut self, at: Revision) -> Seen {
        let already = at <= self.compacted_raw;
        let done = self.ask(Call::Compact { at }) == Some(Answer::Compacted(true));
        if done {
            self.compacted_raw = self.compacted_raw.max(at);
        }
        Seen::CompactedRaw(match (done, already) {
            (false, _) => Compaction::Future,
            (true, true) => Compaction::Already,
            (true, false) => Compaction::Done,
        })
    }

    fn call(&mut self, call: &Call) -> Seen {
        let answer = self.ask(call.clone()).expect("these calls are answered");
        if let (Call::Compact { at }, Answer::Compacted(true)) = (call, &answer) {
            self.compacted_raw = self.compacted_raw.max(Revision(at.0 - 1));
        }
        Seen::Answer(answer)
    }

    fn brief(&mut self, call: &Call) -> Seen {
        let granted = self.ask(call.clone());
        let Some(Answer::Lease(granted @ LeaseAnswer::Live { lease, .. })) = granted else {
            return Seen::Odd(format!("{granted:?}"));
        };
        match self.ask(Call::Revoke { lease }) {
            Some(Answer::Lease(ended)) => Seen::Brief { granted, ended },
            other => Seen::Odd(format!("{other:?}")),
        }
    }

    fn dump(&self) -> Seen {
        let all = Range::new(Key::from_store("/"), Key::from_store("0"));
        let keys = self.kv.entries(&all).map(|(key, entry)| stored(key, entry));
        let leases = self.kv.stored_leases().filter_map(|part| match part {
            Part::Lease { lease, .. } => Some(lease),
            Part::Key { .. } => None,
        });
        Seen::Dump {
            keys: keys.collect(),
            leases: leases.collect(),
        }
    }
}

impl Side for Model {
    #[allow(
        clippy::unused_async,
        reason = "the other side is asked over a network"
    )]
    async fn run(&mut self, step: &Step) -> Seen {
        match step {
            Step::Call(call) => self.call(call),
            Step::Brief { call } => self.brief(call),
            Step::Watch { slot, range } => self.watch(*slot, range.clone(), Revision(0)),
            Step::Follow { slot, range, from } => self.follow(*slot, range, *from),
            Step::Unwatch { slot } => self.unwatch(*slot),
            Step::Settle { slot, .. } => self.settle(*slot),
            Step::CompactRaw { at } => self.compact_raw(*at),
            Step::Dump => self.dump(),
        }
    }
}

fn stored(key: &Key, entry: &Entry) -> Stored {
    Stored {
        key: key.clone(),
        found: entry.found.clone(),
        version: entry.version,
        lease: entry.lease,
    }
}

/// Both stores grant the numbers from 1 on, as this comparison counts them.
fn lease_id(number: u8) -> LeaseId {
    LeaseId(i64::from(number) + 1)
}

fn grant(seconds: u64) -> Call {
    Call::Grant {
        ttl: Duration::from_secs(seconds),
    }
}

fn write(act: WriteAct) -> Write {
    match act {
        WriteAct::Put {
            key: number,
            bytes,
            lease,
        } => Write::Put {
            key: key(number),
            value: Value::from(vec![b'v'; usize::from(bytes)]),
            lease: lease.map(lease_id),
        },
        WriteAct::Delete { key: number } => Write::Delete { key: key(number) },
        WriteAct::DeleteRange { range: of } => Write::DeleteRange { range: range(of) },
    }
}

/// What would make the transaction illegal is left out: nobody can ask for it.
fn push(txn: &mut Txn, guards: Vec<Guard>, writes: Vec<Write>) {
    drop(txn.push(TxnStep::new(guards, writes)));
}

fn fill(count: u8, lease: Option<u8>) -> Step {
    let mut txn = Txn::default();
    for number in 0..count {
        // Against the order of keys, and of one folder with the others.
        let key = Key::from_store(format!("/b/fill/{:03}", 999 - u16::from(number)));
        let other = Key::from_store(format!("/none/{number:03}"));
        let value = Value::from(vec![b'f'; usize::from(number)]);
        let lease = lease.map(lease_id);
        push(
            &mut txn,
            vec![Guard::Absent(other)],
            vec![Write::Put { key, value, lease }],
        );
    }
    Step::Call(Call::Commit(txn))
}
