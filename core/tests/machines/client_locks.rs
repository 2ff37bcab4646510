//! Clients who take locks at a scheduler process.

use std::time::Duration;

use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{Fence, LockName, NodeId, Revision};
use windlass_core::keyspace::{Key, Range};
use windlass_core::record::{LockRecord, Record, Version};
use windlass_core::server::{self, Server};
use windlass_core::store::{Step, Write};

use crate::random::{limits, server_config};
use crate::rig::Rig;

const TTL: Duration = Duration::from_secs(20);

fn ready() -> Rig<Server> {
    let mut rig = Rig::new(limits(), |now| Server::new(server_config(), 7, now));
    rig.run_until(|rig| rig.machine.is_ready());
    rig.settle();
    rig
}

fn lock() -> LockName {
    "l".parse().unwrap()
}

fn take(rig: &mut Rig<Server>, id: u64) {
    let request = Request::LockTake {
        lock: lock(),
        owner: None,
        ttl: TTL,
        wait: TTL * 3,
    };
    let id = RequestId(id);
    rig.give(server::Input::Request { id, request });
}

/// The fence under which request `id` was given the lock.
fn given(rig: &Rig<Server>, id: u64) -> Option<Fence> {
    rig.wanted.iter().find_map(|effect| match effect {
        server::Effect::Reply {
            id: to,
            reply: Reply::Lock { fence, .. },
        } if to.0 == id => Some(*fence),
        server::Effect::Reply { .. } | server::Effect::Store(_) | server::Effect::Exit(_) => None,
    })
}

fn elsewhere(waiter: &str) -> Key {
    let waiter: NodeId = waiter.parse().unwrap();
    Key::lock_waiter(&lock(), &waiter)
}

/// Waiters of another process come, each after the one before.
fn others_come(rig: &mut Rig<Server>, waiters: impl IntoIterator<Item = String>) {
    let record = LockRecord {
        v: Version,
        owner: None,
    };
    for waiter in waiters {
        rig.put(elsewhere(&waiter), record.encode().as_bytes().to_vec());
    }
}

fn another_leaves(rig: &mut Rig<Server>, waiter: &str) {
    let key = elsewhere(waiter);
    rig.others(Step::new(vec![], vec![Write::Delete { key }]));
}

/// The revisions at which everybody in line came.
fn line(rig: &Rig<Server>) -> Vec<Revision> {
    let items = rig.items(&Range::waiters_of(&lock()));
    items.into_iter().map(|it| it.found.created).collect()
}

#[test]
fn the_lock_is_given_to_the_first_under_the_revision_at_which_it_came() {
    let mut rig = ready();
    take(&mut rig, 1);
    rig.settle();
    take(&mut rig, 2);
    rig.settle();
    let fence = given(&rig, 1).expect("nobody was before it");
    assert!(line(&rig).contains(&fence.0));
    assert_eq!(given(&rig, 2), None);
}

#[test]
fn one_who_came_before_and_of_whom_nothing_was_heard_is_waited_for() {
    let mut rig = ready();
    others_come(&mut rig, ["other".to_owned()]);
    rig.lose_news(&elsewhere("other"));
    rig.settle();
    take(&mut rig, 1);
    rig.settle();
    assert_eq!(line(&rig).len(), 2, "it waits in line");
    assert_eq!(given(&rig, 1), None, "another came before");
    another_leaves(&mut rig, "other");
    rig.run_until(|rig| given(rig, 1).is_some());
}

#[test]
fn whoever_came_first_is_found_in_a_line_that_is_longer_than_one_read() {
    let mut rig = ready();
    let first = "z-first";
    others_come(&mut rig, [first.to_owned()]);
    rig.lose_news(&elsewhere(first));
    rig.settle();
    take(&mut rig, 1);
    while line(&rig).len() < 2 {
        rig.flush();
        rig.deliver_all(true);
        rig.flush();
        rig.arrive_all();
    }
    // Keys are read in the order of their names: these, which came later, before the first.
    others_come(&mut rig, (0..2_100).map(|n| format!("a-{n}")));
    rig.settle();
    assert_eq!(given(&rig, 1), None, "another came before");
    another_leaves(&mut rig, first);
    rig.run_until(|rig| given(rig, 1).is_some());
}
