//! The store once more, as plainly as can be: every state that ever was, in a list. What watches see is the difference
//! between states; what a lease holds is found by looking. Held equal to [`Kv`] over random lives.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::store::{Failed, Found, Guard, GuardIx, Item, Step, Value, ViewEvent};

type State = BTreeMap<Key, Entry>;
type Told = BTreeMap<(ClientId, OpId), Vec<Answer>>;

struct Reference {
    limits: Limits,
    now: Mono,
    states: Vec<State>,
    granted: i64,
    leases: BTreeMap<LeaseId, (Duration, Mono)>,
    watches: BTreeMap<(ClientId, OpId), (Range, Revision)>,
    compacted: Revision,
}

impl Reference {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: Mono::ZERO,
            states: vec![State::new(), State::new()],
            granted: 0,
            leases: BTreeMap::new(),
            watches: BTreeMap::new(),
            compacted: Revision(0),
        }
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    fn state(&self) -> &State {
        self.states.last().unwrap()
    }

    fn bytes(&self) -> u64 {
        let sizes = self
            .state()
            .iter()
            .map(|(key, entry)| (key.as_str().len() + entry.found.value.as_bytes().len()) as u64);
        sizes.sum()
    }

    fn handle(&mut self, now: Mono, input: Input) -> Told {
        self.now = now;
        let mut told = Told::new();
        while let Some(lease) = self.first_due() {
            self.end(lease);
        }
        match input {
            Input::Elapsed => {}
            Input::Leave { client } => self.watches.retain(|(of, _), _| *of != client),
            Input::LeaderChanged => {
                for (ttl, ends) in self.leases.values_mut() {
                    *ends = now.after(*ttl + self.limits.election);
                }
            }
            Input::Call { client, op, call } => {
                // What happened before the call is told before the call is looked at.
                self.tell(&mut told);
                if let Some(answer) = self.answer(client, op, call) {
                    told.entry((client, op)).or_default().push(answer);
                }
            }
        }
        self.tell(&mut told);
        told
    }

    fn first_due(&self) -> Option<LeaseId> {
        let due = self
            .leases
            .iter()
            .filter(|(_, (_, ends))| *ends <= self.now);
        due.min_by_key(|(lease, (_, ends))| (*ends, **lease))
            .map(|(lease, _)| *lease)
    }

    fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let mut state = self.state().clone();
        state.retain(|_, entry| entry.lease != Some(lease));
        self.become_state(state);
    }

    fn become_state(&mut self, state: State) {
        if state != *self.state() {
            self.states.push(state);
        }
    }

    fn answer(&mut self, client: ClientId, op: OpId, call: Call) -> Option<Answer> {
        let at = self.revision();
        Some(match call {
            Call::Commit(txn) => Answer::Txn(self.commit(&txn)),
            Call::Watch(range) => {
                let items = self.items(&range);
                self.watches.insert((client, op), (range, at));
                Answer::View(ViewEvent::Reset {
                    at,
                    items,
                    more: false,
                })
            }
            Call::Unwatch { watch } => {
                self.watches.remove(&(client, watch));
                return None;
            }
            Call::Progress { watch } => {
                let (_, reached) = self.watches.get_mut(&(client, watch))?;
                let after = std::mem::replace(reached, at);
                assert_eq!(op, watch, "the test asks under the watch's own name");
                Answer::View(ViewEvent::Delta {
                    after,
                    at,
                    changes: vec![],
                })
            }
            Call::Read(Query::Keys(keys)) => Answer::Read(ReadAnswer::Items {
                at,
                items: self
                    .state()
                    .iter()
                    .filter(|(key, _)| keys.contains(key))
                    .map(|(key, entry)| entry.item(key))
                    .collect(),
                more: false,
            }),
            Call::Read(Query::Range { range, limit }) => {
                let mut items = self.items(&range);
                let more = items.len() > limit as usize;
                items.truncate(limit as usize);
                Answer::Read(ReadAnswer::Items { at, items, more })
            }
            Call::Audit(range) => Answer::Audited(self.audit(&range)),
            Call::Grant { ttl } => Answer::Lease(self.grant(ttl)),
            Call::Renew { lease } => Answer::Lease(match self.leases.get_mut(&lease) {
                Some((ttl, ends)) => {
                    *ends = self.now.after(*ttl);
                    LeaseAnswer::Live { lease, ttl: *ttl }
                }
                None => LeaseAnswer::Gone,
            }),
            Call::Revoke { lease } => {
                self.end(lease);
                Answer::Lease(LeaseAnswer::Gone)
            }
            Call::Compact { at: to } => {
                if to <= at {
                    self.compacted = self.compacted.max(to);
                }
                Answer::Compacted(to <= at)
            }
            Call::Usage => Answer::Usage(Some(self.usage())),
        })
    }

    fn usage(&self) -> Usage {
        let quota = self.limits.quota_bytes;
        Usage {
            used: self.bytes(),
            size: self.bytes(),
            quota: (quota < u64::MAX).then_some(quota),
            full: false,
        }
    }

    fn audit(&self, range: &Range) -> AuditAnswer {
        let items = self.items(range);
        let held = items.iter().map(|it| (&it.key, it.found.modified));
        AuditAnswer::Held {
            at: self.revision(),
            digest: Digest::of(held),
        }
    }

    fn grant(&mut self, asked: Duration) -> LeaseAnswer {
        if asked > self.limits.ttl_max {
            return LeaseAnswer::Refused(Refusal::Invalid);
        }
        if self.bytes() + 64 > self.limits.quota_bytes {
            return LeaseAnswer::Unknown;
        }
        self.granted += 1;
        let (lease, ttl) = (LeaseId(self.granted), asked.max(self.limits.ttl_min));
        self.leases.insert(lease, (ttl, self.now.after(ttl)));
        LeaseAnswer::Live { lease, ttl }
    }

    fn items(&self, range: &Range) -> Vec<Item> {
        let state = self.state().iter();
        state
            .filter(|(key, _)| range.contains(key))
            .map(|(key, entry)| entry.item(key))
            .collect()
    }

    fn commit(&mut self, txn: &Txn) -> TxnOutcome {
        let size: usize = txn.writes().iter().map(Write::size).sum();
        let puts = txn.writes().iter().filter_map(|write| match write {
            Write::Put { key, value, lease } => Some((key, value, lease)),
            Write::Delete { .. } | Write::DeleteRange { .. } => None,
        });
        let puts: Vec<_> = puts.collect();
        if size > self.limits.request_bytes_max {
            return TxnOutcome::Refused(Refusal::TooLarge);
        }
        if !puts.is_empty() && self.bytes() + size as u64 > self.limits.quota_bytes {
            return TxnOutcome::Unknown;
        }
        let failed: Vec<Failed> = txn
            .guards()
            .iter()
            .enumerate()
            .filter(|(_, guard)| !self.holds(guard))
            .map(|(ix, guard)| Failed {
                guard: GuardIx(ix as u16),
                found: match guard {
                    Guard::Quiet { .. } => None,
                    Guard::Absent(key)
                    | Guard::Unchanged { key, .. }
                    | Guard::Alive { key, .. }
                    | Guard::Gone { key, .. } => self.state().get(key).map(|it| it.found.clone()),
                },
            })
            .collect();
        if !failed.is_empty() {
            let at = self.revision();
            return TxnOutcome::Conflict { at, failed };
        }
        for (_, _, lease) in &puts {
            if lease.is_some_and(|lease| !self.leases.contains_key(&lease)) {
                return TxnOutcome::Refused(Refusal::LeaseGone);
            }
        }
        let next = self.revision().next();
        let mut state = self.state().clone();
        for write in txn.writes() {
            match write {
                Write::Put { .. } => {}
                Write::Delete { key } => {
                    state.remove(key);
                }
                Write::DeleteRange { range } => state.retain(|key, _| !range.contains(key)),
            }
        }
        for (key, value, lease) in puts {
            let before = state.get(key);
            let entry = Entry {
                found: Found {
                    created: before.map_or(next, |it| it.found.created),
                    modified: next,
                    value: value.clone(),
                },
                version: before.map_or(0, |it| it.version) + 1,
                lease: *lease,
            };
            state.insert(key.clone(), entry);
        }
        self.become_state(state);
        TxnOutcome::Committed {
            at: self.revision(),
        }
    }

    fn holds(&self, guard: &Guard) -> bool {
        let state = self.state();
        match guard {
            Guard::Absent(key) => !state.contains_key(key),
            Guard::Unchanged { key, since } => {
                state.contains_key(key) && state[key].found.modified == *since
            }
            Guard::Alive { key, since } => {
                state.contains_key(key) && state[key].found.created == *since
            }
            Guard::Gone { key, since } => {
                !state.contains_key(key) || state[key].found.created != *since
            }
            Guard::Quiet { range, since } => !state
                .iter()
                .any(|(key, entry)| range.contains(key) && entry.found.modified > *since),
        }
    }

    /// What happened in a range after a revision: the difference of each state from the one before.
    fn changes(&self, range: &Range, after: Revision) -> Vec<Change> {
        let mut changes = Vec::new();
        for at in after.0 + 1..=self.revision().0 {
            let (before, state) = (&self.states[at as usize - 1], &self.states[at as usize]);
            for (key, entry) in state {
                if before.get(key) != Some(entry) {
                    changes.push(Change::Put(entry.item(key)));
                }
            }
            for key in before.keys().filter(|key| !state.contains_key(key)) {
                let (key, at) = (key.clone(), Revision(at));
                changes.push(Change::Delete { key, at });
            }
        }
        changes.retain(|change| range.contains(change.key()));
        sort(&mut changes);
        changes
    }

    fn tell(&mut self, told: &mut Told) {
        let mut watches = std::mem::take(&mut self.watches);
        for (name, (range, reached)) in &mut watches {
            let changes = self.changes(range, *reached);
            if let Some(at) = changes.iter().map(Change::at).max() {
                let after = std::mem::replace(reached, at);
                let event = ViewEvent::Delta { after, at, changes };
                told.entry(*name).or_default().push(Answer::View(event));
            }
        }
        self.watches = watches;
    }
}

fn sort(changes: &mut [Change]) {
    changes.sort_by(|a, b| (a.at(), a.key()).cmp(&(b.at(), b.key())));
}

/// Joins what may come in any number of pieces, so that two stores can be compared.
fn joined(told: Told) -> Told {
    told.into_iter()
        .map(|(name, answers)| {
            let mut whole: Vec<Answer> = Vec::new();
            for answer in answers {
                match (whole.last_mut(), answer) {
                    (
                        Some(Answer::View(ViewEvent::Reset { at, items, more })),
                        Answer::View(ViewEvent::Reset {
                            at: next,
                            items: rest,
                            more: further,
                        }),
                    ) if *more => {
                        assert_eq!(*at, next, "all parts of a full read have one revision");
                        items.extend(rest);
                        *more = further;
                    }
                    (
                        Some(Answer::View(ViewEvent::Delta { at, changes, .. })),
                        Answer::View(ViewEvent::Delta {
                            after,
                            at: to,
                            changes: more,
                        }),
                    ) => {
                        assert_eq!(*at, after, "deltas have no gap");
                        *at = to;
                        changes.extend(more);
                        sort(changes);
                    }
                    (
                        _,
                        Answer::View(ViewEvent::Delta {
                            after,
                            at,
                            mut changes,
                        }),
                    ) => {
                        sort(&mut changes);
                        whole.push(Answer::View(ViewEvent::Delta { after, at, changes }));
                    }
                    (_, other) => whole.push(other),
                }
            }
            (name, whole)
        })
        .collect()
}

/// A step of a random life. Numbers are resolved against what is stored then, so that guards often hold.
#[derive(Debug, Clone)]
enum Act {
    Wait(u64),
    Commit(Vec<(u8, u8, u64)>, Vec<(u8, u8, u8, i64)>),
    Watch(u64, u64, u8, u8),
    Unwatch(u64, u64),
    Progress(u64, u64),
    Leave(u64),
    LeaderChanged,
    ReadKeys(Vec<u8>),
    ReadRange(u8, u8, u32),
    Audit(u8, u8),
    Grant(u64),
    Renew(i64),
    Revoke(i64),
    Compact(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let guard = (0_u8..5, 0_u8..8, 0_u64..4);
    let write = (0_u8..6, 0_u8..8, 0_u8..12, 0_i64..5);
    prop_oneof![
        3 => (0_u64..3_000).prop_map(Act::Wait),
        12 => (prop::collection::vec(guard, 0..3), prop::collection::vec(write, 0..5))
            .prop_map(|(guards, writes)| Act::Commit(guards, writes)),
        2 => (0_u64..3, 0_u64..3, 0_u8..9, 0_u8..9).prop_map(|(c, o, a, b)| Act::Watch(c, o, a, b)),
        1 => (0_u64..3, 0_u64..3).prop_map(|(c, o)| Act::Unwatch(c, o)),
        1 => (0_u64..3, 0_u64..3).prop_map(|(c, o)| Act::Progress(c, o)),
        1 => (0_u64..3).prop_map(Act::Leave),
        1 => Just(Act::LeaderChanged),
        1 => prop::collection::vec(0_u8..8, 0..5).prop_map(Act::ReadKeys),
        1 => (0_u8..9, 0_u8..9, 0_u32..5).prop_map(|(a, b, limit)| Act::ReadRange(a, b, limit)),
        1 => (0_u8..9, 0_u8..9).prop_map(|(a, b)| Act::Audit(a, b)),
        2 => (0_u64..12).prop_map(Act::Grant),
        2 => (0_i64..6).prop_map(Act::Renew),
        1 => (0_i64..6).prop_map(Act::Revoke),
        1 => (0_u64..40).prop_map(Act::Compact),
    ]
}

fn key(n: u8) -> Key {
    Key::from_store(format!("/{n}"))
}

fn range(a: u8, b: u8) -> Range {
    Range::new(key(a), key(b))
}

impl Reference {
    fn txn(&self, guards: &[(u8, u8, u64)], writes: &[(u8, u8, u8, i64)]) -> Txn {
        let mut txn = Txn::default();
        for (kind, n, back) in guards {
            let key = key(*n);
            let found = self.state().get(&key).map(|it| &it.found);
            let back =
                |at: Option<Revision>| Revision(at.unwrap_or_else(|| self.revision()).0 - back / 3);
            let guard = match kind {
                0 => Guard::Absent(key),
                1 => Guard::Unchanged {
                    since: back(found.map(|it| it.modified)),
                    key,
                },
                2 => Guard::Alive {
                    since: back(found.map(|it| it.created)),
                    key,
                },
                3 => Guard::Gone {
                    since: back(found.map(|it| it.created)),
                    key,
                },
                _ => Guard::Quiet {
                    range: Range::new(key, self::key(5)),
                    since: back(None),
                },
            };
            txn.push(Step::new(vec![guard], vec![])).unwrap();
        }
        for (kind, n, size, lease) in writes {
            let key = key(*n);
            let write = match kind {
                0..=3 => Write::Put {
                    key,
                    value: Value::from(vec![b'x'; usize::from(*size)]),
                    lease: (*lease > 0).then_some(LeaseId(*lease)),
                },
                4 => Write::Delete { key },
                _ => Write::DeleteRange {
                    range: range(*n, *size % 9),
                },
            };
            // A write that would make the transaction illegal is left out.
            let _ = txn.push(Step::new(vec![], vec![write]));
        }
        txn
    }

    fn input(&self, step: u64, act: Act) -> Input {
        let (mut client, mut op) = (ClientId(9), OpId(1_000 + step));
        let call = match act {
            Act::Wait(_) => return Input::Elapsed,
            Act::Leave(client) => {
                return Input::Leave {
                    client: ClientId(client),
                };
            }
            Act::LeaderChanged => return Input::LeaderChanged,
            Act::Commit(guards, writes) => Call::Commit(self.txn(&guards, &writes)),
            Act::Watch(c, o, a, b) => {
                (client, op) = (ClientId(c), OpId(o));
                Call::Watch(range(a, b))
            }
            Act::Unwatch(c, watch) => {
                client = ClientId(c);
                Call::Unwatch { watch: OpId(watch) }
            }
            Act::Progress(c, watch) => {
                (client, op) = (ClientId(c), OpId(watch));
                Call::Progress { watch: OpId(watch) }
            }
            Act::ReadKeys(keys) => Call::Read(Query::Keys(keys.into_iter().map(key).collect())),
            Act::ReadRange(a, b, limit) => Call::Read(Query::Range {
                range: range(a, b),
                limit,
            }),
            Act::Audit(a, b) => Call::Audit(range(a, b)),
            Act::Grant(seconds) => Call::Grant {
                ttl: Duration::from_secs(seconds),
            },
            Act::Renew(lease) => Call::Renew {
                lease: LeaseId(lease),
            },
            Act::Revoke(lease) => Call::Revoke {
                lease: LeaseId(lease),
            },
            Act::Compact(at) => Call::Compact { at: Revision(at) },
        };
        Input::Call { client, op, call }
    }
}

fn limits(history_max: usize) -> Limits {
    Limits {
        ttl_max: Duration::from_secs(10),
        request_bytes_max: 36,
        quota_bytes: 80,
        history_max,
        part_items_max: 3,
        part_bytes_max: 12,
        ..Limits::default()
    }
}

/// A snapshot that is taken one key a step, while the store goes on.
struct Fuzzy {
    head: Head,
    stored: Vec<Stored>,
    behind: Option<Key>,
    log: Vec<Log>,
}

impl Fuzzy {
    fn begin(kv: &Kv) -> Self {
        Self {
            head: kv.head(),
            stored: kv.stored_leases().collect(),
            behind: None,
            log: Vec::new(),
        }
    }

    fn step(&mut self, kv: &Kv, count: usize) {
        for part in kv
            .stored_keys(self.behind.as_ref())
            .take(count)
            .collect::<Vec<_>>()
        {
            if let Stored::Key { key, .. } = &part {
                self.behind = Some(key.clone());
            }
            self.stored.push(part);
        }
    }

    fn recover(self, kv: &Kv, now: Now) -> Kv {
        Kv::recover(
            kv.limits.clone(),
            now,
            Some(self.head),
            self.stored,
            self.log,
        )
        .unwrap()
    }
}

fn same(a: &Kv, b: &Kv) {
    assert_eq!(a.head(), b.head());
    assert_eq!(a.bytes(), b.bytes());
    assert!(a.stored_keys(None).eq(b.stored_keys(None)));
    assert!(a.stored_leases().eq(b.stored_leases()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    #[test]
    fn the_store_equals_a_list_of_all_its_states(
        acts in prop::collection::vec(act(), 1..60),
        history_max in prop_oneof![Just(2_usize), Just(1_000)],
        snapshot_at in 0_usize..60,
        (a, b, after) in (0_u8..9, 0_u8..9, 0_u64..40),
    ) {
        let mut kv = Kv::new(limits(history_max));
        let mut reference = Reference::new(limits(history_max));
        let mut now = Now::default();
        let (mut log, mut fuzzy) = (Vec::new(), None);
        for (step, act) in acts.into_iter().enumerate() {
            if step == snapshot_at {
                fuzzy = Some(Fuzzy::begin(&kv));
            }
            if let Act::Wait(millis) = act {
                now.mono = now.mono.after(Duration::from_millis(millis));
            }
            let input = reference.input(step as u64, act);
            let mut out = Vec::new();
            kv.handle(now, input.clone(), &mut out);
            let mut told = Told::new();
            for effect in out {
                match effect {
                    Effect::Applied(record) => {
                        if let Some(fuzzy) = &mut fuzzy {
                            fuzzy.log.push(record.clone());
                        }
                        log.push(record);
                    }
                    Effect::Answer { client, op, answer } => {
                        told.entry((client, op)).or_default().push(answer);
                    }
                }
            }
            prop_assert_eq!(joined(told), joined(reference.handle(now.mono, input)));
            prop_assert_eq!(kv.revision(), reference.revision());
            prop_assert!(kv.table.behind(None).eq(reference.state()));
            prop_assert_eq!(kv.bytes(), reference.bytes());
            prop_assert_eq!(
                kv.deadline().map(|(at, _)| at),
                reference.leases.values().map(|(_, ends)| *ends).min()
            );
            if let Some(fuzzy) = &mut fuzzy {
                fuzzy.step(&kv, 1);
            }
        }
        match kv.changes_since(&range(a, b), Revision(after)) {
            Ok(mut changes) => {
                sort(&mut changes);
                prop_assert!(Revision(after + 1) >= reference.compacted);
                prop_assert_eq!(changes, reference.changes(&range(a, b), Revision(after)));
            }
            Err(Compacted { at }) => {
                prop_assert!(at > Revision(after + 1));
                prop_assert!(history_max == 2 || at == reference.compacted);
            }
        }
        if let Some(mut fuzzy) = fuzzy {
            fuzzy.step(&kv, usize::MAX);
            same(&fuzzy.recover(&kv, now), &kv);
        }
        let replayed = Kv::recover(limits(history_max), now, None, [], log).unwrap();
        prop_assert_eq!(replayed.compacted(), kv.compacted());
        prop_assert_eq!(&replayed.history.since(&range(0, 9), kv.compacted()), &kv.history.since(&range(0, 9), kv.compacted()));
        same(&replayed, &kv);
    }
}
