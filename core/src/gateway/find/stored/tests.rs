use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::filter::Filter;
use crate::ids::{Priority, Registration, Revision};
use crate::keyspace::Place;
use crate::record::{CarriedTask, ClaimRecord, Json, Record, TaskRecord, Version};
use crate::retry::RetryPolicy;
use crate::store::Change;
use crate::time::{Millis, Mono};

const NOW: Wall = Wall::from_millis(1_795_428_000_000);

fn record() -> TaskRecord {
    TaskRecord {
        v: Version,
        kind: "noop".parse().unwrap(),
        queue: "q".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::null(),
        metadata: BTreeMap::new(),
        retries_max: 3,
        retry: RetryPolicy::default(),
        timeout: Millis::from_secs(1),
        created_at: NOW,
        due: None,
        unique: None,
    }
}

fn claim_key(id: TaskId) -> Key {
    let place = Place {
        priority: Priority::NORMAL,
        timestamp: NOW,
        task: id,
    };
    Key::claim(&"w".parse().unwrap(), place)
}

/// The task is given to a worker, and stands in its claim only.
fn claim(view: &mut ClusterView, id: TaskId) {
    let task = record();
    let claim = ClaimRecord {
        v: Version,
        carry: task.first_carry(),
        queue: task.queue.clone(),
        registration: Registration(Revision(1)),
        assigned_at: NOW,
        stop: None,
        progress: None,
        task: CarriedTask::of(&task).map(Box::new),
    };
    let at = Revision(1);
    let item = Item::new(claim_key(id), at, at, claim.encode());
    view.apply(Mono::ZERO, vec![Change::Put(item)], &mut Vec::new());
}

/// A store that holds these tasks, one key each, and what a walk through it costs.
struct Store {
    keys: BTreeMap<Key, Item>,
    view: ClusterView,
    reads: usize,
}

impl Store {
    /// One in so many tasks stands in its claim only.
    fn with_claims(ids: &BTreeSet<TaskId>, one_in: usize) -> Self {
        let mut store = Self::new(ids);
        for id in ids.iter().step_by(one_in) {
            store.keys.remove(&Key::task(*id));
            claim(&mut store.view, *id);
        }
        store
    }

    fn new(ids: &BTreeSet<TaskId>) -> Self {
        let value = record().encode();
        let item = |id: &TaskId| {
            let key = Key::task(*id);
            let at = Revision(1);
            (key.clone(), Item::new(key, at, at, value.clone()))
        };
        Self {
            keys: ids.iter().map(item).collect(),
            view: ClusterView::default(),
            reads: 0,
        }
    }

    fn read(&mut self, query: &Query) -> Read {
        let Query::Range { range, limit } = query else {
            panic!("a window")
        };
        let limit = usize::try_from(*limit).unwrap();
        let range = range.from.clone()..range.to.clone();
        let found = self.keys.range(range.clone()).count();
        self.reads += 1;
        let items = self.keys.range(range).take(limit);
        Read {
            items: items.map(|(_, item)| item.clone()).collect(),
            more: found > limit,
        }
    }

    /// All tasks in order, where every page but the first begins anew behind the one before, after so many reads.
    fn walk(&mut self, order: Order, page: usize) -> Vec<TaskId> {
        let reach = Filter::default().reach(NOW);
        let (mut found, mut position) = (Vec::new(), None);
        loop {
            let mut windows = Windows::begin(order, position, NOW);
            for _ in 0..page {
                let Some(query) = windows.next(position, &reach, NOW, &self.view) else {
                    return found;
                };
                windows.take(self.read(&query), &reach, &self.view);
                while let Some(task) = windows.pop() {
                    found.push(task.id);
                    position = Some(task.id);
                }
                match windows.reached() {
                    Some(Reached::End) => return found,
                    Some(Reached::Position(id)) => position = Some(id),
                    None => {}
                }
                assert!(self.reads < 5_000, "it does not come to an end");
            }
        }
    }
}

/// So many tasks, spread evenly over a time that ended so long ago.
fn burst(ids: &mut BTreeSet<TaskId>, count: u64, over_ms: u64, ago_ms: i64) {
    let end = NOW.as_millis().checked_add_signed(-ago_ms).unwrap();
    let first = u128::from(end - over_ms) << 80;
    let step = (u128::from(over_ms.max(1)) << 80) / u128::from(count.max(1));
    let all = (0..u128::from(count)).map(|n| TaskId::from_u128(first + n * step));
    ids.extend(all);
}

fn assert_walks(ids: &BTreeSet<TaskId>, page: usize) -> usize {
    let mut worst = 0;
    for order in [Order::Oldest, Order::Newest] {
        let mut store = Store::new(ids);
        let mut found = store.walk(order, page);
        if order == Order::Newest {
            found.reverse();
        }
        assert!(found.iter().eq(ids), "{order:?} by pages of {page} reads");
        worst = worst.max(store.reads);
    }
    worst
}

#[test]
fn a_long_history_is_read_in_windows_of_about_a_page() {
    let mut ids = BTreeSet::new();
    burst(&mut ids, 20_000, 60_000, 3_600_000);
    burst(&mut ids, 300, 86_400_000, 4_000_000);
    burst(&mut ids, 5_000, 0, 1_000);
    let reads = assert_walks(&ids, 100);
    let least = ids.len() / usize::try_from(PAGE).unwrap();
    assert!(reads < 4 * least, "{reads} reads of at least {least}");
}

#[test]
fn a_few_old_tasks_are_found_in_a_few_reads() {
    for ago in [0, 5_000, 3_600_000, 86_400_000, 40_000_000_000] {
        let mut ids = BTreeSet::new();
        burst(&mut ids, 3, 1_000, ago);
        let reads = assert_walks(&ids, 100);
        assert!(reads <= 20, "{reads} reads for what was {ago} ms ago");
    }
}

#[test]
fn tasks_of_clocks_that_are_ahead_are_found() {
    let mut ids = BTreeSet::new();
    burst(&mut ids, 3_000, 1_000, -3_600_000);
    burst(&mut ids, 2_000, 1_000, 1_000);
    assert_walks(&ids, 50);
}

#[test]
fn keys_that_are_nobodys_do_not_stand_in_the_way() {
    let mut ids = BTreeSet::new();
    burst(&mut ids, 100, 1_000, 1_000);
    for order in [Order::Oldest, Order::Newest] {
        let mut store = Store::new(&ids);
        let begin = Key::task(*ids.first().unwrap()).as_str()[..12].to_owned();
        for n in 0..2_000 {
            let begin = if n % 2 == 0 { "/tasks/" } else { &begin };
            let key = Key::from_store(format!("{begin}stray-{n:04}"));
            let item = Item::new(key.clone(), Revision(1), Revision(1), record().encode());
            store.keys.insert(key, item);
        }
        let found = store.walk(order, 100);
        assert_eq!(found.len(), ids.len(), "{order:?}");
    }
}

#[test]
fn tasks_that_only_their_claims_tell_are_found_in_their_places() {
    for one_in in [1, 2, 7] {
        let mut ids = BTreeSet::new();
        burst(&mut ids, 2_000, 60_000, 3_600_000);
        burst(&mut ids, 900, 0, 1_000);
        for order in [Order::Oldest, Order::Newest] {
            let mut found = Store::with_claims(&ids, one_in).walk(order, 100);
            if order == Order::Newest {
                found.reverse();
            }
            assert!(found.iter().eq(&ids), "{order:?}, one in {one_in}");
        }
    }
}

#[test]
fn a_claim_that_went_while_its_window_was_read_is_looked_for_again() {
    let id = TaskId::from_u128(u128::from(NOW.as_millis()) << 80);
    let reach = Filter::default().reach(NOW);
    let mut store = Store::with_claims(&[id].into(), 1);
    let mut windows = Windows::begin(Order::Newest, None, NOW);
    let query = windows.next(None, &reach, NOW, &store.view).unwrap();
    let read = store.read(&query);
    let gone = Change::Delete {
        key: claim_key(id),
        at: Revision(2),
    };
    store.view.apply(Mono::ZERO, vec![gone], &mut Vec::new());
    windows.take(read, &reach, &store.view);
    assert_eq!(windows.ask_again(9, |_| false), Some(vec![id]));
    let items = vec![Item::new(
        Key::task(id),
        Revision(2),
        Revision(2),
        record().encode(),
    )];
    windows.take(Read { items, more: false }, &reach, &store.view);
    assert_eq!(windows.ask_again(9, |_| false), None);
    assert_eq!(windows.pop().map(|it| it.id), Some(id));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_task_is_walked_over_once(
        bursts in prop::collection::vec((0_u64..1_500, 0_u64..100_000, -10_000_i64..100_000_000), 0..5),
        page in 1_usize..50,
    ) {
        let mut ids = BTreeSet::new();
        for (count, over, ago) in bursts {
            burst(&mut ids, count, over, ago);
        }
        assert_walks(&ids, page + 40);
    }
}
