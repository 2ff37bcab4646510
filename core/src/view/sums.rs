//! Whatever is put and deleted, read or not, a cluster's view knows the sum of what the store holds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{ClusterView, DelayedCount};
use crate::ids::{NodeId, Priority, QueueName, Registration, Revision, TaskId};
use crate::keyspace::{Key, Place, Role};
use crate::record::{
    Carry, ClaimRecord, DeadRecord, DelayedRecord, EntryRecord, LockRecord, NodeConfig, NodeRecord,
    OfferRecord, QueueConfig, Record, Version,
};
use crate::store::{Change, Digest, Item, Value};
use crate::time::{Millis, Mono, Wall};

/// How many different keys there are of each kind.
const EACH: u8 = 2;

/// One key of every kind that belongs to a task, with a record that belongs there.
fn of_tasks(n: u8) -> Vec<(Key, Value)> {
    let at = Wall::from_millis(u64::from(n) + 1);
    let task = TaskId::floor_of(at);
    let (queue, node): (QueueName, NodeId) = ("q".parse().unwrap(), "w".parse().unwrap());
    let (priority, timestamp) = (Priority::NORMAL, at);
    let place = Place {
        priority,
        timestamp,
        task,
    };
    let carry = Carry {
        kind: "echo".parse().unwrap(),
        timeout: Millis::from_secs(1),
        retries: 0,
        losses: 0,
        run: 0,
        notes: vec![],
    };
    let claim = ClaimRecord {
        v: Version,
        carry: carry.clone(),
        queue: queue.clone(),
        registration: Registration(Revision(1)),
        assigned_at: at,
        stop: None,
        progress: None,
        task: None,
    };
    let delayed = DelayedRecord {
        v: Version,
        carry: Carry {
            retries: u32::from(n),
            ..carry.clone()
        },
        queue: queue.clone(),
        priority,
    };
    let dead = DeadRecord {
        v: Version,
        carry: carry.clone(),
        priority,
        died_at: at,
    };
    let entry = EntryRecord { v: Version, carry };
    vec![
        (Key::entry(&queue, place), entry.encode()),
        (Key::claim(&node, place), claim.encode()),
        (Key::delayed(at, task), delayed.encode()),
        (Key::dead(&queue, task), dead.encode()),
    ]
}

/// One key of every other kind that the range holds, and one that is nobody's.
fn of_others(n: u8) -> Vec<(Key, Value)> {
    let named: NodeId = format!("w{n}").parse().unwrap();
    let lock = "l".parse().unwrap();
    let offer = OfferRecord {
        v: Version,
        slots: 1,
        queues: vec![],
        types: vec![],
        weight: 1,
        labels: BTreeMap::new(),
    };
    let life = NodeRecord {
        v: Version,
        life: 1,
        version: "1".into(),
        view: Revision(0),
        load: 0,
        cpu_permille: 0,
        memory_bytes: 0,
        ttl: Millis::from_secs(1),
        started_at: Wall::from_millis(1),
        remote: None,
    };
    vec![
        (Key::node(Role::Worker, &named), life.encode()),
        (Key::node(Role::Scheduler, &named), life.encode()),
        (Key::offer(&named), offer.encode()),
        (
            Key::queue_config(&format!("q{n}").parse().unwrap()),
            QueueConfig::default().encode(),
        ),
        (Key::node_config(&named), NodeConfig::default().encode()),
        (
            Key::lock_waiter(&lock, &named),
            LockRecord::default().encode(),
        ),
        (Key::janitor_waiter(&named), LockRecord::default().encode()),
        (
            Key::from_store(format!("/nobody/{n}")),
            Value::from(b"x".to_vec()),
        ),
    ]
}

/// What is done to which key: a put that can be read, one that nobody can, or a delete.
fn steps() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5), 0..200)
}

proptest! {
    #[test]
    fn a_view_knows_the_sum_of_what_the_store_holds(steps in steps(), part in 0_usize..200) {
        let keys: Vec<(Key, Value)> = (0..EACH)
            .flat_map(|n| of_tasks(n).into_iter().chain(of_others(n)))
            .collect();
        let mut stored: BTreeMap<Key, Item> = BTreeMap::new();
        let mut view = ClusterView::default();
        for (step, (index, how)) in steps.into_iter().enumerate() {
            let at = Revision(step as u64 + 1);
            let (key, readable) = index.get(&keys).clone();
            let value = match how {
                0 | 1 => Some(readable),
                2 => Some(Value::from(b"{not json".to_vec())),
                _ => None,
            };
            let change = match value {
                Some(value) => {
                    let created = stored.get(&key).map_or(at, |it| it.found.created);
                    let item = Item::new(key.clone(), created, at, value);
                    stored.insert(key, item.clone());
                    Change::Put(item)
                }
                // The store tells of a delete only when there was something; a view takes any.
                None => {
                    stored.remove(&key);
                    Change::Delete { key, at }
                }
            };
            view.apply(Mono::ZERO, vec![change], &mut Vec::new());
            if step == part {
                view = ClusterView::default();
                view.fill(Mono::ZERO, stored.values().cloned().collect(), &mut Vec::new());
            }
            let truth = Digest::of(stored.values().map(|it| (&it.key, it.found.modified)));
            prop_assert_eq!(view.known().digest(), truth);
            let waits = |retries: bool| {
                let records = view.delayed.values().map(|it| &it.record);
                records.filter(|it| (it.carry.retries > 0) == retries).count() as u64
            };
            let counted = DelayedCount { scheduled: waits(false), retrying: waits(true) };
            prop_assert_eq!(view.delayed_in_all(), counted);
            prop_assert_eq!(view.delayed_of(&"q".parse().unwrap()), counted);
            prop_assert_eq!(view.delayed_queues().count() as u64, counted.all().min(1));
        }
    }
}
