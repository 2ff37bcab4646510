use std::time::Duration;

use redb::{Database, TableDefinition};
use windlass_core::ids::{LeaseId, Revision};
use windlass_core::keyspace::{Key, Range};
use windlass_core::kv::{Edit, Entry, Log, Stored};
use windlass_core::rng::Rng;
use windlass_core::store::{
    Answer, Change, Found, Guard, LeaseAnswer, Query, ReadAnswer, Step, Txn, TxnOutcome, Value,
    ViewEvent, Write,
};

use super::plug::{Medium, Plug};
use super::*;
use crate::clock::SystemClock;

/// Of the log's file.
const SLOT_BYTES: u64 = 4 << 20;

/// Longer than anything takes: only a broken store makes a test wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that waits for its answers.
struct Peer {
    port: Box<dyn StorePort>,
    inbox: mpsc::Receiver<(OpId, Answer)>,
    op: u64,
}

impl Peer {
    fn of(store: &EmbeddedStore) -> Self {
        let (give, inbox) = mpsc::channel();
        let answers = Answers::new(move |op, answer| {
            let _ = give.send((op, answer));
        });
        let port = store.client(answers);
        Self { port, inbox, op: 0 }
    }

    fn begin(&mut self, call: Call) -> OpId {
        self.op += 1;
        self.port.call(OpId(self.op), call);
        OpId(self.op)
    }

    fn next(&self) -> (OpId, Answer) {
        self.inbox
            .recv_timeout(PATIENCE)
            .expect("every question gets an answer")
    }

    fn ask(&mut self, call: Call) -> Answer {
        let op = self.begin(call);
        let (answered, answer) = self.next();
        assert_eq!(answered, op, "one question at a time");
        answer
    }

    fn write(&mut self, writes: Vec<Write>) -> Revision {
        let answer = self.ask(commit(writes));
        committed(&answer).unwrap_or_else(|| panic!("not committed: {answer:?}"))
    }

    fn read(&mut self) -> (Revision, Vec<(Key, Found)>) {
        let query = Query::Range {
            range: all(),
            limit: u32::MAX,
        };
        let Answer::Read(ReadAnswer::Items { at, items, .. }) = self.ask(Call::Read(query)) else {
            panic!("a read gives items");
        };
        (at, items.into_iter().map(|it| (it.key, it.found)).collect())
    }
}

fn committed(answer: &Answer) -> Option<Revision> {
    match answer {
        Answer::Txn(TxnOutcome::Committed { at }) => Some(*at),
        Answer::Txn(_)
        | Answer::View(_)
        | Answer::Read(_)
        | Answer::Lease(_)
        | Answer::Audited(_)
        | Answer::Compacted(_)
        | Answer::Usage(_) => None,
    }
}

fn all() -> Range {
    Range::new(Key::from_store(""), Key::from_store("~"))
}

fn key(n: u64) -> Key {
    Key::from_store(format!("/k/{n:06}"))
}

fn put(n: u64, bytes: usize) -> Write {
    Write::Put {
        key: key(n),
        value: Value::from(vec![b'x'; bytes]),
        lease: None,
    }
}

fn commit(writes: Vec<Write>) -> Call {
    let mut txn = Txn::default();
    txn.push(Step::new(vec![], writes)).unwrap();
    Call::Commit(txn)
}

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir, SystemClock::start()).unwrap()
}

#[test]
fn a_reopened_store_is_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::of(&store);
    peer.write(vec![put(1, 10), put(2, 10)]);
    peer.write(vec![put(1, 11)]);
    peer.write(vec![Write::Delete { key: key(2) }]);
    let before = peer.read();
    store.close().unwrap();

    let store = open(dir.path());
    let mut peer = Peer::of(&store);
    assert_eq!(peer.read(), before);
    assert_eq!(peer.write(vec![put(3, 1)]), before.0.next());
}

#[test]
fn leases_come_back_with_their_keys_and_end_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::of(&store);
    let ttl = Duration::from_secs(2);
    let Answer::Lease(LeaseAnswer::Live { lease, .. }) = peer.ask(Call::Grant { ttl }) else {
        panic!("a lease is granted");
    };
    let lease_key = Write::Put {
        key: key(1),
        value: Value::default(),
        lease: Some(lease),
    };
    let at = peer.write(vec![lease_key]);
    store.close().unwrap();

    let store = open(dir.path());
    let mut peer = Peer::of(&store);
    assert_eq!(
        peer.ask(Call::Renew { lease }),
        Answer::Lease(LeaseAnswer::Live { lease, ttl })
    );
    peer.begin(Call::Watch(all()));
    let (_, first) = peer.next();
    assert!(matches!(&first, Answer::View(ViewEvent::Reset { items, .. }) if items.len() == 1));
    let (key, after) = (key(1), at);
    let at = at.next();
    let changes = vec![Change::Delete { key, at }];
    assert_eq!(
        peer.next().1,
        Answer::View(ViewEvent::Delta { after, at, changes }),
        "nobody asked: the store's own clock ended the lease"
    );
    assert_eq!(
        peer.ask(Call::Renew { lease }),
        Answer::Lease(LeaseAnswer::Gone)
    );
    assert_ne!(lease, LeaseId(0));
}

#[test]
fn a_second_opener_is_told_that_the_store_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let second = EmbeddedStore::open(dir.path(), SystemClock::start());
    assert!(matches!(second, Err(EmbeddedError::InUse(_))), "{second:?}");
    assert!(second.unwrap_err().to_string().contains("in use"));
    store.close().unwrap();
    open(dir.path()).close().unwrap();
}

#[test]
fn an_answer_and_its_news_leave_only_after_a_sync() {
    let plug = Plug::default();
    let store = plug.open(1 << 30, SLOT_BYTES);
    let (give, inbox) = mpsc::channel();
    let seen = plug.log.clone();
    let mut port = store.client(Answers::new(move |op, answer| {
        let _ = give.send((op, answer, seen.syncs()));
    }));
    port.call(OpId(1), Call::Watch(all()));
    inbox.recv_timeout(PATIENCE).unwrap();
    for n in 0..20 {
        let before = plug.log.syncs();
        port.call(OpId(n + 2), commit(vec![put(n, 10)]));
        for what in ["answer", "news"] {
            let (.., syncs) = inbox.recv_timeout(PATIENCE).unwrap();
            assert!(
                syncs > before,
                "the {what} of write {n} left before its sync"
            );
        }
    }
}

#[test]
fn everything_acknowledged_survives_power_cuts() {
    const IN_FLIGHT: u64 = 24;
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let mut plug = Plug::default();
        let (mut at, mut known, mut answered) = (Revision(1), Vec::new(), 0);
        for _ in 0..6 {
            // So small that snapshots are taken, dropped and cut through all the time, and slots used again.
            let store = plug.open(20_000, 16 << 10);
            let mut peer = Peer::of(&store);
            let (found_at, mut found) = peer.read();
            let in_flight = found.split_off(found.partition_point(|(it, _)| *it < key(1_000)));
            assert_eq!(found, known, "seed {seed}");
            let landed = in_flight.len() as u64;
            assert!(
                landed >= answered,
                "seed {seed}: what was answered is there"
            );
            assert_eq!(found_at.0, at.0 + landed, "seed {seed}");
            let in_order = in_flight
                .iter()
                .zip(1_000..)
                .all(|((it, _), n)| *it == key(n));
            assert!(
                in_order,
                "seed {seed}: a crash cuts the end off, and takes nothing out"
            );

            let ended = Range::new(key(1_000), key(2_000));
            peer.write(vec![Write::DeleteRange { range: ended }]);
            for _ in 0..rng.below(60) {
                let n = rng.below(30);
                if rng.below(3) == 0 {
                    peer.write(vec![Write::Delete { key: key(n) }]);
                } else {
                    peer.write(vec![put(n, 3_000), put(n + 100, 10)]);
                }
            }
            (at, known) = peer.read();
            for n in 0..IN_FLIGHT {
                peer.begin(commit(vec![put(1_000 + n, 1_000)]));
            }
            answered = rng.below(IN_FLIGHT);
            for _ in 0..answered {
                assert!(committed(&peer.next().1).is_some());
            }
            plug = plug.cut(&mut rng);
        }
    }
}

#[test]
fn a_store_that_cannot_write_stops_and_says_that_it_does_not_know() {
    let plug = Plug::default();
    let store = plug.open(1 << 30, SLOT_BYTES);
    let mut peer = Peer::of(&store);
    let watch = peer.begin(Call::Watch(all()));
    peer.next();
    plug.log.break_writes();
    let write = peer.begin(commit(vec![put(1, 1)]));
    let mut told = [peer.next(), peer.next()];
    told.sort_by_key(|(op, _)| *op);
    assert_eq!(
        told,
        [
            (watch, Answer::View(ViewEvent::Lost)),
            (write, Answer::Txn(TxnOutcome::Unknown))
        ]
    );
    assert_eq!(
        peer.ask(commit(vec![put(2, 1)])),
        Answer::Txn(TxnOutcome::Unknown)
    );
    assert!(matches!(store.close(), Err(EmbeddedError::Io(_))));
}

#[test]
fn calls_that_wait_together_share_a_sync() {
    const CLIENTS: u64 = 8;
    const CALLS: u64 = 400;
    let plug = Plug::default();
    let store = plug.open(1 << 30, SLOT_BYTES);
    let before = plug.log.syncs();
    let mut peers: Vec<Peer> = (0..CLIENTS).map(|_| Peer::of(&store)).collect();
    let shut = plug.log.gate.lock().unwrap();
    for n in 0..CALLS {
        for (peer, client) in peers.iter_mut().zip(0..) {
            peer.begin(commit(vec![put(n * CLIENTS + client, 10)]));
        }
    }
    drop(shut);
    let mut revisions = Vec::new();
    for peer in &peers {
        let mut last = Revision(0);
        for op in 1..=CALLS {
            let (answered, answer) = peer.next();
            assert_eq!(answered, OpId(op), "answers come in the order of the calls");
            let at = committed(&answer).unwrap();
            assert!(at > last);
            last = at;
            revisions.push(at.0);
        }
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..CLIENTS * CALLS + 2).collect::<Vec<_>>());
    let syncs = plug.log.syncs() - before;
    assert!(syncs <= 3, "{syncs} syncs for {} calls", CLIENTS * CALLS);
}

#[test]
fn a_watch_misses_nothing_however_changes_are_grouped() {
    let store = EmbeddedStore::in_memory(SystemClock::start()).unwrap();
    let (mut writer, mut reader) = (Peer::of(&store), Peer::of(&store));
    reader.begin(Call::Watch(all()));
    for n in 0..500 {
        writer.begin(commit(vec![put(n % 7, 1)]));
    }
    let (mut reached, mut seen) = (Revision(0), Vec::new());
    while reached < Revision(501) {
        match reader.next().1 {
            Answer::View(ViewEvent::Reset { at, .. }) => reached = at,
            Answer::View(ViewEvent::Delta { after, at, changes }) => {
                assert_eq!(after, reached, "no gap");
                seen.extend(changes.iter().map(|change| change.at().0));
                reached = at;
            }
            other @ (Answer::View(ViewEvent::Lost)
            | Answer::Txn(_)
            | Answer::Read(_)
            | Answer::Lease(_)
            | Answer::Audited(_)
            | Answer::Compacted(_)
            | Answer::Usage(_)) => panic!("not news: {other:?}"),
        }
    }
    let first = seen[0];
    assert_eq!(seen, (first..=501).collect::<Vec<_>>());
}

#[test]
fn a_port_that_is_dropped_hears_no_more_and_others_go_on() {
    let store = EmbeddedStore::in_memory(SystemClock::start()).unwrap();
    let (mut gone, mut stays) = (Peer::of(&store), Peer::of(&store));
    gone.begin(Call::Watch(all()));
    gone.next();
    let Peer { port, inbox, .. } = gone;
    drop(port);
    stays.write(vec![put(1, 1)]);
    assert_eq!(
        inbox.recv(),
        Err(mpsc::RecvError),
        "its answers' way is closed"
    );
}

#[test]
fn the_disk_stays_bounded_while_the_same_keys_change() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        log_bytes_min: 1 << 20,
        ..Options::default()
    };
    let clock = SystemClock::start();
    let store = EmbeddedStore::open_with(dir.path(), clock.clone(), options.clone()).unwrap();
    let mut peer = Peer::of(&store);
    for round in 0..400 {
        for n in 0..8 {
            peer.begin(commit(vec![put(n, 20_000 + round)]));
        }
        for _ in 0..8 {
            assert!(committed(&peer.next().1).is_some());
        }
    }
    let before = peer.read();
    store.close().unwrap();
    let files = ["store.redb", "store.log"].map(|it| dir.path().join(it));
    let size: u64 = files.iter().map(|it| it.metadata().unwrap().len()).sum();
    assert!(size < 32 << 20, "64 MB were written, {size} bytes are kept");
    let store = EmbeddedStore::open_with(dir.path(), clock, options).unwrap();
    assert_eq!(Peer::of(&store).read(), before);
}

#[test]
fn a_closed_store_answers_what_was_asked_before_and_loses_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut peer = Peer::of(&store);
    for n in 0..50 {
        peer.begin(commit(vec![put(n, 1)]));
    }
    store.close().unwrap();
    for _ in 0..50 {
        assert!(committed(&peer.next().1).is_some());
    }
    assert_eq!(
        peer.ask(commit(vec![put(99, 1)])),
        Answer::Txn(TxnOutcome::Unknown)
    );
    let store = open(dir.path());
    assert_eq!(Peer::of(&store).read().1.len(), 50);
}

#[test]
fn data_of_another_format_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    let db = Database::create(dir.path().join("store.redb")).unwrap();
    let txn = db.begin_write().unwrap();
    let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    txn.open_table(table)
        .unwrap()
        .insert("format", &[99_u8][..])
        .unwrap();
    txn.commit().unwrap();
    drop(db);
    assert!(matches!(
        EmbeddedStore::open(dir.path(), SystemClock::start()),
        Err(EmbeddedError::Format {
            found: 99,
            expected: 2
        })
    ));
}

#[test]
fn a_conflict_is_answered_without_a_sync() {
    let plug = Plug::default();
    let store = plug.open(1 << 30, SLOT_BYTES);
    let mut peer = Peer::of(&store);
    peer.write(vec![put(1, 1)]);
    let before = plug.log.syncs();
    let mut txn = Txn::default();
    txn.push(Step::new(vec![Guard::Absent(key(1))], vec![put(2, 1)]))
        .unwrap();
    let answer = peer.ask(Call::Commit(txn));
    assert!(matches!(answer, Answer::Txn(TxnOutcome::Conflict { .. })));
    assert_eq!(plug.log.syncs(), before);
}

#[test]
fn a_log_of_format_1_moves_to_its_file_even_if_that_is_interrupted() {
    const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
    const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let plug = Plug::default();
    let db = Database::builder()
        .create_with_backend(plug.db.clone())
        .unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert("format", &[1_u8][..]).unwrap();
        let mut log = txn.open_table(LOG).unwrap();
        for n in 0..3 {
            let entry = Entry {
                found: Found {
                    created: Revision(n + 2),
                    modified: Revision(n + 2),
                    value: Value::from(vec![b'v'; 10_000]),
                },
                version: 1,
                lease: None,
            };
            let at = Revision(n + 2);
            let edits = vec![Edit::Put { key: key(n), entry }];
            let record = postcard::to_stdvec(&Log::Changed { at, edits }).unwrap();
            for (piece, number) in record.chunks(4_000).zip(0..) {
                log.insert((n, number), piece).unwrap();
            }
        }
    }
    txn.commit().unwrap();
    drop(db);
    plug.log.break_writes();
    assert!(matches!(
        plug.try_open(1 << 30, SLOT_BYTES),
        Err(EmbeddedError::Io(_))
    ));
    let plug = plug.cut(&mut Rng::new(1));
    for keys in 3..6 {
        let store = plug.open(1 << 30, SLOT_BYTES);
        let mut peer = Peer::of(&store);
        let (at, found) = peer.read();
        assert_eq!((at, found.len() as u64), (Revision(keys + 1), keys));
        peer.write(vec![put(keys, 1)]);
    }
}

#[test]
fn a_log_that_lacks_a_part_before_its_end_is_refused() {
    let plug = Plug::default();
    let store = plug.open(1 << 30, SLOT_BYTES);
    let mut peer = Peer::of(&store);
    for n in 0..5 {
        peer.write(vec![put(n, 10)]);
    }
    store.close().unwrap();
    for (chunk, lost) in [(4, 4), (2, 5)] {
        let mut image = plug.log.content().synced.clone();
        image[chunk * (4 << 10) + 40] ^= 1;
        let plug = Plug {
            db: plug.db.cut(&mut Rng::new(1)),
            log: Medium::holding(image),
        };
        if lost == 4 {
            let store = plug.open(1 << 30, SLOT_BYTES);
            assert_eq!(
                Peer::of(&store).read().1.len(),
                4,
                "the end of a log is as if it had not been written"
            );
        } else {
            let error = plug.try_open(1 << 30, SLOT_BYTES).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the data is damaged: part 2 of the log is missing, but part 3 is there"
            );
        }
    }
}

#[test]
fn what_format_1_has_written_is_still_read_the_same_way() {
    let entry = Entry {
        found: Found {
            created: Revision(2),
            modified: Revision(300),
            value: Value::from(b"v".to_vec()),
        },
        version: 3,
        lease: Some(LeaseId(7)),
    };
    let (lease, ttl) = (LeaseId(7), Duration::from_secs(2));
    let log = [
        Log::Changed {
            at: Revision(300),
            edits: vec![
                Edit::Put {
                    key: Key::from_store("/a"),
                    entry: entry.clone(),
                },
                Edit::Delete {
                    key: Key::from_store("/b"),
                },
            ],
        },
        Log::Granted { lease, ttl },
        Log::Ended { lease },
        Log::Compacted { at: Revision(4) },
    ];
    let stored = [
        Stored::Lease { lease, ttl },
        Stored::Key {
            key: Key::from_store("/a"),
            entry,
        },
    ];
    let log_written = b"\x00\xac\x02\x02\x00\x02/a\x02\xac\x02\x01v\x03\x01\x0e\x01\x02/b\
        \x01\x0e\x02\x00\x02\x0e\x03\x04";
    let stored_written = b"\x00\x0e\x02\x00\x01\x02/a\x02\xac\x02\x01v\x03\x01\x0e";
    assert_eq!(postcard::to_stdvec(&log).unwrap(), log_written);
    assert_eq!(postcard::to_stdvec(&stored).unwrap(), stored_written);
    assert_eq!(postcard::from_bytes(log_written), Ok(log));
    assert_eq!(postcard::from_bytes(stored_written), Ok(stored));
}
