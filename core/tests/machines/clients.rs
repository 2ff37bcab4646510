//! What clients ask of a scheduler process, and what everybody else writes meanwhile.

use std::time::Duration;

use proptest::sample::Index;
use windlass_core::filter::Filter;
use windlass_core::gateway::{
    Due, IdempotencyKey, LockToken, Order, Request, RequestId, TaskSpec, TaskState,
};
use windlass_core::ids::{LeaseId, Revision, TaskId};
use windlass_core::keyspace::{Key, Range, Role};
use windlass_core::record::{Json, OfferRecord, Record, Version};
use windlass_core::retry::RetryPolicy;
use windlass_core::server::{self, Server};
use windlass_core::store::{Step, Write};
use windlass_core::time::{Millis, Wall};

use crate::rig::Rig;
use crate::worker_news::{me, place, task};

fn spec(n: u8) -> TaskSpec {
    let base = task();
    TaskSpec {
        kind: base.kind,
        queue: base.queue,
        priority: base.priority,
        name: None,
        payload: Json::string("x"),
        metadata: Default::default(),
        retries_max: u32::from(n),
        retry: RetryPolicy::default(),
        timeout: Millis::new(u64::from(n)),
        due: match n % 4 {
            0 => Due::In(Millis::new(u64::from(n) * 100)),
            1 => Due::At(Wall::MAX),
            _ => Due::Now,
        },
        key: (n.is_multiple_of(5)).then(|| IdempotencyKey {
            key_hash: "k".into(),
            body_hash: if n > 100 { "a" } else { "b" }.into(),
        }),
    }
}

/// Every task that the store holds, and one that it does not.
fn known_tasks(rig: &Rig<Server>) -> Vec<TaskId> {
    let mut ids = vec![place(1).task];
    for item in rig.items(&Range::tasks()) {
        if let windlass_core::keyspace::Meaning::Task(id) =
            windlass_core::keyspace::Meaning::of(&item.key)
        {
            ids.push(id);
        }
    }
    ids
}

/// A listing, a search or a count.
fn search(n: u8, task: TaskId) -> Request {
    let state = TaskState::ALL.get(usize::from(n % 8)).copied();
    let filter = state.map_or_else(Filter::default, |state| Filter::of_states(&[state]));
    let order = [Order::Oldest, Order::Newest][usize::from(n % 2)];
    let (limit, after) = (u32::from(n), n.is_multiple_of(3).then_some(task));
    match n % 5 {
        0..=2 => Request::List {
            filter,
            order,
            limit,
            after,
        },
        3 => Request::Find {
            filter,
            order,
            limit,
            after,
        },
        _ => Request::Count(filter),
    }
}

fn request(rig: &Rig<Server>, kind: u8, n: u8, pick: &Index) -> Request {
    let ids = known_tasks(rig);
    let task = ids[pick.index(ids.len())];
    let span = Duration::from_millis(u64::from(n) * 50);
    let (queue, lock) = ("q".parse().expect("legal"), "l".parse().expect("legal"));
    let token = LockToken {
        waiter: me(),
        lease: LeaseId(i64::from(n % 4)),
    };
    match kind % 16 {
        0..=2 => Request::Submit((0..n % 5).map(|i| spec(n.wrapping_add(i))).collect()),
        3 => Request::Get {
            task,
            wait: (n.is_multiple_of(2)).then_some(span),
        },
        4 => search(n, task),
        5 => Request::Why(task),
        6 => Request::Cancel(task),
        7 => Request::Rerun(task),
        8 => Request::Stats,
        9 => Request::ConfigureQueue {
            queue,
            strategy: None,
            paused: Some(n.is_multiple_of(3)),
        },
        10 => Request::Drain(me()),
        11 => Request::LockTake {
            lock,
            owner: None,
            ttl: span,
            wait: span,
        },
        12 => Request::LockRenew { lock, token },
        13 => Request::Timings,
        14 => Request::Changes {
            after: (n > 20).then_some(Revision(u64::from(n))),
            wait: (n.is_multiple_of(2)).then_some(span),
        },
        _ => Request::LockRelease { lock, token },
    }
}

pub(crate) fn server_own(rig: &mut Rig<Server>, kind: u8, n: u8, pick: &Index) {
    let id = RequestId(u64::try_from(rig.taped.len()).expect("a short run"));
    let input = match kind {
        0..=200 => server::Input::Request {
            id,
            request: request(rig, kind, n, pick),
        },
        201..=235 => server::Input::Forget {
            id: RequestId(pick.index(rig.taped.len().max(1)) as u64),
        },
        236..=252 => server::Input::Load {
            cpu_permille: u16::from(n),
            memory_bytes: 1,
        },
        253.. => server::Input::Drain,
    };
    rig.give(input);
}

pub(crate) fn server_others(rig: &mut Rig<Server>, kind: u8, n: u8) {
    let worker: windlass_core::ids::NodeId = format!("w{}", n % 3).parse().expect("legal");
    match kind % 6 {
        0 => {
            let mut node =
                serde_json::json!({"v": 1, "life": 1, "version": "t", "view": 1, "ttl": 6_000});
            node["started_at"] = 1.into();
            rig.put(
                Key::node(Role::Worker, &worker),
                node.to_string().into_bytes(),
            );
            let offer = OfferRecord {
                v: Version,
                slots: u32::from(n % 4),
                queues: vec![],
                types: vec!["noop".parse().expect("legal")],
                weight: 1,
                labels: Default::default(),
            };
            rig.put(Key::offer(&worker), offer.encode().as_bytes().to_vec());
        }
        1 => {
            let keys = [Key::node(Role::Worker, &worker), Key::offer(&worker)];
            let writes = keys.map(|key| Write::Delete { key });
            rig.others(Step::new(vec![], writes.to_vec()));
        }
        2 => server_worker_ends(rig, n),
        3 => {
            let key = Key::node(
                Role::Scheduler,
                &format!("x{}", n % 3).parse().expect("legal"),
            );
            rig.odd(n, &[key, Key::janitor_waiter(&worker)]);
        }
        4 => {
            // Anything that is there is taken away, or spoilt.
            let items = rig.items(&Range::cluster());
            let own = Key::node(Role::Scheduler, &me());
            let keys: Vec<Key> = items
                .into_iter()
                .map(|item| item.key)
                .filter(|key| *key != own)
                .collect();
            if !keys.is_empty() {
                rig.odd(n, &keys);
            }
        }
        _ => rig.odd(
            n,
            &[
                Key::from_store("/config/x"),
                Key::queue_config(&"q".parse().expect("legal")),
                Key::node_config(&worker),
                Key::entry(&"q".parse().expect("legal"), place(n)),
                Key::claim(&worker, place(n)),
                Key::delayed(Wall::from_millis(u64::from(n)), place(n).task),
                Key::dead(&"q".parse().expect("legal"), place(n).task),
                Key::lock_waiter(&"l".parse().expect("legal"), &me()),
            ],
        ),
    }
}

/// A worker ends, or hands back, one of its claims.
fn server_worker_ends(rig: &mut Rig<Server>, n: u8) {
    let range = Range::new(Key::from_store("/queues/@"), Key::from_store("/queues/A"));
    let claims = rig.items(&range);
    let Some(item) = claims.get(usize::from(n) % claims.len().max(1)) else {
        return;
    };
    let windlass_core::keyspace::Meaning::Claim(_, place) =
        windlass_core::keyspace::Meaning::of(&item.key)
    else {
        return;
    };
    let mut writes = vec![Write::Delete {
        key: item.key.clone(),
    }];
    if n.is_multiple_of(2) {
        let carry = task().first_carry();
        let entry = windlass_core::record::EntryRecord { v: Version, carry };
        writes.push(Write::Put {
            key: Key::entry(&"q".parse().expect("legal"), place),
            value: entry.encode(),
            lease: None,
        });
    }
    rig.others(Step::new(vec![], writes));
}
