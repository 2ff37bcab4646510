//! A store under any calls: it equals a map that is changed naively, no watch misses anything, and what it logged brings
//! it back.

mod map;

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_sim::core::ids::{LeaseId, OpId, Revision};
use windlass_sim::core::keyspace::{Key, Range};
use windlass_sim::core::kv::{ClientId, Effect, Head, Input, Kv, Limits, Log, Stored};
use windlass_sim::core::machine::Machine;
use windlass_sim::core::store::{
    Answer, Call, Change, Found, Guard, Query, Step, Txn, Value, ViewEvent, Write,
};
use windlass_sim::core::time::Now;

use self::map::Map;
use crate::choices::Choices;

/// More tells nothing new, and takes long.
const STEPS_MAX: usize = 300;

/// Makes calls until the bytes run out.
pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut rig = Rig::new();
    for _ in 0..STEPS_MAX {
        if choices.is_empty() {
            break;
        }
        rig.step(&mut choices);
    }
    rig.check_recovery();
}

/// What a watch must know: everything in its range, as of the revision that it has reached.
struct Follower {
    range: Range,
    at: Revision,
    items: BTreeMap<Key, Found>,
    is_loading: bool,
}

/// A snapshot that is taken while the store goes on.
struct Snapshot {
    head: Head,
    parts: Vec<Stored>,
    /// The last key taken; `None` before the first.
    behind: Option<Key>,
    log_from: usize,
}

struct Rig {
    kv: Kv,
    now: Now,
    map: Map,
    followers: BTreeMap<(ClientId, OpId), Follower>,
    log: Vec<Log>,
    snapshot: Option<Snapshot>,
    ops: u64,
}

fn limits() -> Limits {
    Limits {
        history_max: 40,
        part_items_max: 2,
        quota_bytes: 600,
        request_bytes_max: 300,
        ..Limits::default()
    }
}

fn key(c: &mut Choices<'_>) -> Key {
    Key::from_store(["/a", "/a/1", "/a/2", "/b", "/b/1", "/c"][c.below(6)])
}

fn range(c: &mut Choices<'_>) -> Range {
    Range::new(key(c), key(c))
}

impl Rig {
    fn new() -> Self {
        Self {
            kv: Kv::new(limits()),
            now: Now::default(),
            map: Map::new(),
            followers: BTreeMap::new(),
            log: Vec::new(),
            snapshot: None,
            ops: 0,
        }
    }

    fn step(&mut self, c: &mut Choices<'_>) {
        match c.below(16) {
            0..=5 => {
                let txn = self.txn(c);
                self.call(c, Call::Commit(txn));
            }
            6 => {
                let range = range(c);
                self.call(c, Call::Watch(range));
            }
            7 => {
                let watch = self.some_watch(c);
                let call = if c.one_in(2) {
                    Call::Unwatch { watch }
                } else {
                    Call::Progress { watch }
                };
                self.call(c, call);
            }
            8 => {
                if c.one_in(4) {
                    let range = range(c);
                    return self.call(c, Call::Audit(range));
                }
                let query = if c.one_in(2) {
                    Query::Range {
                        range: range(c),
                        limit: u32::from(c.byte() % 4),
                    }
                } else {
                    Query::Keys((0..c.below(4)).map(|_| key(c)).collect())
                };
                self.call(c, Call::Read(query));
            }
            9 => {
                let ttl = [
                    Duration::from_secs(1),
                    Duration::from_secs(5),
                    Duration::MAX,
                ][c.below(3)];
                self.call(c, Call::Grant { ttl });
            }
            10 => {
                let lease = LeaseId(i64::from(c.byte() % 8));
                self.call(c, Call::Renew { lease });
            }
            11 => {
                let lease = LeaseId(i64::from(c.byte() % 8));
                self.call(c, Call::Revoke { lease });
            }
            12 => {
                let at = Revision(u64::from(c.byte()));
                self.call(c, Call::Compact { at });
            }
            13 => {
                self.now.mono = self
                    .now
                    .mono
                    .after(Duration::from_millis(u64::from(c.wide())));
                self.give(Input::Elapsed);
            }
            14 if c.one_in(2) => self.give(Input::LeaderChanged),
            14 => {
                let client = client(c);
                self.followers.retain(|(of, _), _| *of != client);
                self.give(Input::Leave { client });
            }
            _ => self.take_snapshot(c),
        }
    }

    fn some_watch(&self, c: &mut Choices<'_>) -> OpId {
        let all: Vec<OpId> = self.followers.keys().map(|(_, op)| *op).collect();
        c.pick(&all).copied().unwrap_or(OpId(0))
    }

    fn txn(&self, c: &mut Choices<'_>) -> Txn {
        let mut txn = Txn::default();
        for _ in 0..=c.below(4) {
            let guards = (0..c.below(3)).map(|_| self.guard(c)).collect();
            let writes = (0..c.below(3)).map(|_| write(c)).collect();
            // What would be illegal is handed back.
            drop(txn.push(Step::new(guards, writes)));
        }
        txn
    }

    fn guard(&self, c: &mut Choices<'_>) -> Guard {
        let key = key(c);
        let near = self.map.state.get(&key).map(|it| &it.found);
        let since = match (c.below(4), near) {
            (0, Some(found)) => found.modified,
            (1, Some(found)) => found.created,
            _ => Revision(u64::from(c.byte())),
        };
        match c.below(5) {
            0 => Guard::Absent(key),
            1 => Guard::Unchanged { key, since },
            2 => Guard::Alive { key, since },
            3 => Guard::Gone { key, since },
            _ => Guard::Quiet {
                range: Range::new(key, Key::from_store("/b/2")),
                since,
            },
        }
    }

    fn call(&mut self, c: &mut Choices<'_>, call: Call) {
        let client = client(c);
        self.ops += 1;
        let op = OpId(self.ops);
        if let Call::Watch(range) = &call {
            let follower = Follower {
                range: range.clone(),
                at: Revision(0),
                items: BTreeMap::new(),
                is_loading: true,
            };
            self.followers.insert((client, op), follower);
        }
        if let Call::Unwatch { watch } = &call {
            self.followers.remove(&(client, *watch));
        }
        self.give(Input::Call { client, op, call });
    }

    /// Gives an input to the store and to the map, and compares.
    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.kv.handle(self.now, input.clone(), &mut out);
        self.map.now = self.now.mono;
        self.map.expire();
        let expected = self.map.expect(&input, self.kv.head().last_lease);
        let mut answered = Vec::new();
        for effect in out {
            match effect {
                Effect::Applied(log) => self.log.push(log),
                Effect::Answer {
                    client,
                    op,
                    answer: Answer::View(event),
                } => self.follow((client, op), event),
                Effect::Answer { answer, .. } => answered.push(answer),
            }
        }
        assert_eq!(
            answered,
            Vec::from_iter(expected),
            "the answers to {input:?}"
        );
        self.compare();
    }

    /// A watch is told something: it must follow what it was told before.
    fn follow(&mut self, name: (ClientId, OpId), event: ViewEvent) {
        let follower = self
            .followers
            .get_mut(&name)
            .expect("only who watches is told");
        match event {
            ViewEvent::Reset { at, items, more } => {
                assert!(follower.is_loading, "only the beginning is a full read");
                assert!(
                    follower.at == Revision(0) || follower.at == at,
                    "one read, one revision"
                );
                assert!(items.len() <= limits().part_items_max);
                follower.at = at;
                follower
                    .items
                    .extend(items.into_iter().map(|it| (it.key, it.found)));
                follower.is_loading = more;
            }
            ViewEvent::Delta { after, at, changes } => {
                assert!(!follower.is_loading, "changes follow a whole read");
                assert!(
                    after == follower.at && at >= after,
                    "{after} to {at} follows {}",
                    follower.at
                );
                let mut last = after.next();
                for change in changes {
                    assert!(
                        last <= change.at() && change.at() <= at,
                        "changes are in order"
                    );
                    assert!(
                        follower.range.contains(change.key()),
                        "{:?} is watched",
                        change.key()
                    );
                    last = change.at();
                    match change {
                        Change::Put(item) => follower.items.insert(item.key, item.found),
                        Change::Delete { key, .. } => follower.items.remove(&key),
                    };
                }
                follower.at = at;
            }
            ViewEvent::Lost => panic!("the store itself loses nothing"),
        }
    }

    fn compare(&self) {
        assert_eq!(self.kv.revision(), self.map.revision);
        assert!(
            self.kv.entries(&everything()).eq(&self.map.state),
            "the store holds what the map holds"
        );
        assert_eq!(
            (self.kv.len(), self.kv.bytes()),
            (self.map.state.len(), self.map.bytes() as u64)
        );
        for lease in 0..8 {
            let known = self.map.leases.get(&LeaseId(lease));
            let left = known.map(|(ttl, ends)| (*ttl, ends.since(self.now.mono)));
            assert_eq!(self.kv.lease(LeaseId(lease)), left);
        }
        for follower in self.followers.values() {
            assert!(!follower.is_loading, "a read is told at once");
            let inside = self
                .map
                .state
                .iter()
                .filter(|(key, _)| follower.range.contains(key));
            assert!(
                inside
                    .map(|(key, entry)| (key, &entry.found))
                    .eq(&follower.items),
                "who watches {:?} knows what it holds",
                follower.range
            );
        }
    }

    /// Takes the head and the leases of a snapshot, or one more of its keys.
    fn take_snapshot(&mut self, c: &mut Choices<'_>) {
        let Some(snapshot) = &mut self.snapshot else {
            self.snapshot = Some(Snapshot {
                head: self.kv.head(),
                parts: self.kv.stored_leases().collect(),
                behind: None,
                log_from: self.log.len(),
            });
            return;
        };
        if c.one_in(16) {
            self.snapshot = None;
            return;
        }
        let next = self.kv.stored_keys(snapshot.behind.as_ref()).next();
        if let Some(part @ Stored::Key { .. }) = next {
            if let Stored::Key { key, .. } = &part {
                snapshot.behind = Some(key.clone());
            }
            snapshot.parts.push(part);
        }
    }

    /// The log alone, and a snapshot with the log since, both bring back what there was.
    fn check_recovery(mut self) {
        let log = std::mem::take(&mut self.log);
        let again = Kv::recover(limits(), self.now, None, [], log.clone());
        self.check_recovered(&again.expect("the log has no gap"));
        let Some(mut snapshot) = self.snapshot.take() else {
            return;
        };
        snapshot
            .parts
            .extend(self.kv.stored_keys(snapshot.behind.as_ref()));
        let log = log.into_iter().skip(snapshot.log_from);
        let again = Kv::recover(limits(), self.now, Some(snapshot.head), snapshot.parts, log);
        self.check_recovered(&again.expect("the snapshot and the log fit"));
    }

    fn check_recovered(&self, again: &Kv) {
        assert_eq!(again.head(), self.kv.head());
        assert!(
            again.entries(&everything()).eq(&self.map.state),
            "what was stored is back"
        );
        let leases = self
            .map
            .leases
            .iter()
            .map(|(lease, (ttl, _))| (*lease, Some((*ttl, *ttl))));
        assert!(
            leases.eq(self
                .map
                .leases
                .keys()
                .map(|lease| (*lease, again.lease(*lease))))
        );
        assert_eq!(again.stored_leases().count(), self.map.leases.len());
    }
}

fn everything() -> Range {
    Range::new(Key::from_store(""), Key::from_store("\u{10ffff}"))
}

fn client(c: &mut Choices<'_>) -> ClientId {
    ClientId(1 + u64::from(c.byte() % 2))
}

fn write(c: &mut Choices<'_>) -> Write {
    match c.below(8) {
        6 => Write::Delete { key: key(c) },
        7 => Write::DeleteRange { range: range(c) },
        kind => Write::Put {
            key: key(c),
            value: Value::from(vec![c.byte(); usize::from(c.byte() % 64)]),
            lease: (kind < 3).then(|| LeaseId(i64::from(c.byte() % 8))),
        },
    }
}
