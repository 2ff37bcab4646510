//! A process that is killed while it writes has lost nothing that it was told is written.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use windlass::clock::SystemClock;
use windlass::store::embedded::{EmbeddedError, EmbeddedStore, Options};
use windlass::store::{Answers, StorePort};
use windlass_core::ids::{OpId, Revision};
use windlass_core::keyspace::{Key, Range};
use windlass_core::store::{Answer, Call, Query, ReadAnswer, Step, Txn, TxnOutcome, Value, Write};

const DIR: &str = "WINDLASS_TEST_KILLED_DIR";
const IN_FLIGHT: u64 = 64;
const KEYS: u64 = 500;

fn open(dir: &Path) -> Result<EmbeddedStore, EmbeddedError> {
    let options = Options {
        log_bytes_min: 200_000,
        ..Options::default()
    };
    EmbeddedStore::open_with(dir, SystemClock::start(), options)
}

fn connect(store: &EmbeddedStore) -> (Box<dyn StorePort>, mpsc::Receiver<(OpId, Answer)>) {
    let (give, inbox) = mpsc::channel();
    let port = store.client(Answers::new(move |op, answer| {
        let _ = give.send((op, answer));
    }));
    (port, inbox)
}

fn key(op: u64) -> Key {
    Key::from_store(format!("/k/{:04}", op % KEYS))
}

#[test]
fn a_child_that_writes_until_it_is_killed() {
    // Only as the child of the next test is there anything to do.
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = open(Path::new(&dir)).unwrap();
    let (mut port, inbox) = connect(&store);
    let mut out = std::io::stdout().lock();
    let mut begin = |op: u64| {
        let value = Value::from(format!("{op}:{}", "x".repeat(1_000)).into_bytes());
        let (key, lease) = (key(op), None);
        let mut txn = Txn::default();
        txn.push(Step::new(vec![], vec![Write::Put { key, value, lease }]))
            .unwrap();
        port.call(OpId(op), Call::Commit(txn));
    };
    (1..=IN_FLIGHT).for_each(&mut begin);
    for (op, answer) in inbox {
        let Answer::Txn(TxnOutcome::Committed { at }) = answer else {
            panic!("{op:?} was not committed: {answer:?}");
        };
        writeln!(out, "acknowledged {} {}", op.0, at.0).unwrap();
        out.flush().unwrap();
        begin(op.0 + IN_FLIGHT);
    }
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_that_writes_until_it_is_killed"])
        .args(["--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(line: &str) -> Option<(u64, Revision)> {
    let (op, at) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
    Some((op.parse().ok()?, Revision(at.parse().ok()?)))
}

/// Lets a child write until it was told `count` times that something is written, kills it, and returns the last
/// acknowledged write of each key.
fn kill_after(dir: &Path, count: usize) -> BTreeMap<Key, (u64, Revision)> {
    let mut child = start_child(dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut last, mut seen) = (BTreeMap::new(), 0);
    for line in lines {
        // The kill may cut the last line.
        let Some((op, at)) = acknowledged(&line.unwrap()) else {
            continue;
        };
        last.insert(key(op), (op, at));
        seen += 1;
        if seen == count {
            let second = open(dir);
            assert!(matches!(second, Err(EmbeddedError::InUse(_))), "{second:?}");
            child.kill().unwrap();
        }
    }
    assert!(seen >= count, "the child ended by itself");
    child.wait().unwrap();
    last
}

#[test]
fn everything_acknowledged_survives_kill_nine_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut floor = Revision(0);
    for count in [1, 700, 3_000] {
        let last = kill_after(dir.path(), count);
        let store = open(dir.path()).unwrap();
        let (mut port, inbox) = connect(&store);
        let range = Range::new(Key::from_store("/"), Key::from_store("0"));
        let limit = u32::MAX;
        port.call(OpId(1), Call::Read(Query::Range { range, limit }));
        let (_, answer) = inbox.recv_timeout(Duration::from_secs(60)).unwrap();
        let Answer::Read(ReadAnswer::Items { at, items, .. }) = answer else {
            panic!("a read gives items");
        };
        assert!(at > floor, "revisions go on where they were");
        let stored: BTreeMap<Key, _> = items.into_iter().map(|it| (it.key, it.found)).collect();
        for (key, (op, written)) in last {
            let found = stored.get(&key).unwrap_or_else(|| panic!("{key} is lost"));
            assert!(
                found.modified >= written,
                "{key} went back to {}",
                found.modified
            );
            if found.modified == written {
                let value = String::from_utf8(found.value.as_bytes().to_vec()).unwrap();
                assert!(
                    value.starts_with(&format!("{op}:")),
                    "{key} has another value"
                );
            }
        }
        floor = at;
        store.close().unwrap();
    }
}
