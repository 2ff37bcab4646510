//! Keys from any text: each has a meaning, what is ours is spelled in one way only, and keys stand in the order of what
//! they mean. Every line of the input is a key.

use windlass_sim::core::keyspace::{Key, Meaning, Range};

/// Checks every line, and every pair of lines that follow each other.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let keys: Vec<Key> = text.split('\n').map(Key::from_store).collect();
    for key in &keys {
        check_spelling(key);
        check_ranges(key);
    }
    for pair in keys.windows(2) {
        check_order(&pair[0], &pair[1]);
    }
}

/// What a meaning is spelled like; `None` when a meaning does not tell all of its key.
fn spelled(meaning: &Meaning) -> Option<Key> {
    Some(match meaning {
        Meaning::QueueConfig(queue) => Key::queue_config(queue),
        Meaning::NodeConfig(node) => Key::node_config(node),
        Meaning::Dead(queue, task) => Key::dead(queue, *task),
        Meaning::Delayed(due, task) => Key::delayed(*due, *task),
        Meaning::LockWaiter(lock, waiter) => Key::lock_waiter(lock, waiter),
        Meaning::JanitorWaiter(waiter) => Key::janitor_waiter(waiter),
        Meaning::Node(role, node) => Key::node(*role, node),
        Meaning::Offer(worker) => Key::offer(worker),
        Meaning::Entry(queue, place) => Key::entry(queue, *place),
        Meaning::Claim(worker, place) => Key::claim(worker, *place),
        Meaning::FoldedTotals => Key::folded_totals(),
        Meaning::Task(task) => Key::task(*task),
        Meaning::Outcome(task) => Key::outcome(*task),
        Meaning::Run(task) => Key::run(*task),
        Meaning::Lane(_) | Meaning::Unique | Meaning::Foreign => return None,
    })
}

fn check_spelling(key: &Key) {
    let meaning = Meaning::of(key);
    if let Some(again) = spelled(&meaning) {
        assert_eq!(again, *key, "{meaning:?} has two spellings");
    }
}

/// Whether everybody who decides on a key of this meaning watches it with the cluster.
fn is_of_cluster(meaning: &Meaning) -> Option<bool> {
    match meaning {
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::Dead(..)
        | Meaning::Delayed(..)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Entry(..)
        | Meaning::Claim(..) => Some(true),
        Meaning::Lane(_)
        | Meaning::FoldedTotals
        | Meaning::Task(_)
        | Meaning::Outcome(_)
        | Meaning::Run(_)
        | Meaning::Unique => Some(false),
        Meaning::Foreign => None,
    }
}

/// Each key lies in the ranges of its meaning.
fn check_ranges(key: &Key) {
    let meaning = Meaning::of(key);
    if let Some(inside) = is_of_cluster(&meaning) {
        assert_eq!(Range::cluster().contains(key), inside, "{key:?}");
    }
    assert!(Range::of_key(key).contains(key), "{key:?}");
    assert!(!Range::cluster().behind(key).contains(key), "{key:?}");
    let within = match &meaning {
        Meaning::Claim(worker, _) => Range::claims_of(worker),
        Meaning::Lane(node) => Range::lanes_of(node),
        Meaning::FoldedTotals => Range::all_lanes(),
        Meaning::Task(task) | Meaning::Outcome(task) | Meaning::Run(task) => Range::of_task(*task),
        Meaning::QueueConfig(_)
        | Meaning::NodeConfig(_)
        | Meaning::Dead(..)
        | Meaning::Delayed(..)
        | Meaning::LockWaiter(..)
        | Meaning::JanitorWaiter(_)
        | Meaning::Node(..)
        | Meaning::Offer(_)
        | Meaning::Entry(..)
        | Meaning::Unique
        | Meaning::Foreign => return,
    };
    assert!(within.contains(key), "{key:?} is not in {within:?}");
}

/// Within a queue, and among what is not due, keys stand in the order in which their tasks come.
fn check_order(a: &Key, b: &Key) {
    let (is, should) = match (Meaning::of(a), Meaning::of(b)) {
        (Meaning::Entry(q, x), Meaning::Entry(r, y)) if q == r => (a.cmp(b), x.cmp(&y)),
        (Meaning::Claim(w, x), Meaning::Claim(v, y)) if w == v => (a.cmp(b), x.cmp(&y)),
        (Meaning::Delayed(x, t), Meaning::Delayed(y, u)) => (a.cmp(b), (x, t).cmp(&(y, u))),
        (Meaning::Task(x), Meaning::Task(y)) => (a.cmp(b), x.cmp(&y)),
        (one, other) => {
            assert!(
                a == b || one != other || spelled(&one).is_none(),
                "{a:?} and {b:?} mean the same"
            );
            return;
        }
    };
    assert_eq!(is, should, "{a:?} and {b:?}");
}
