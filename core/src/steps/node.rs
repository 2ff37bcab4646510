//! The rows of nodes and operators: what a worker offers, how nodes report, and what people order.

use super::{put, unchanged};
use crate::ids::{LeaseId, NodeId, QueueName, Registration, Revision};
use crate::keyspace::{Key, Role};
use crate::planted::{planted, unless_planted};
use crate::record::{NodeConfig, NodeRecord, OfferRecord, QueueConfig, Record};
use crate::store::{Guard, Step, Write};

fn put_leased(key: Key, record: &impl Record, lease: LeaseId) -> Write {
    Write::Put {
        key,
        value: record.encode(),
        lease: Some(lease),
    }
}

/// A worker says what it takes.
pub fn offer(
    worker: &NodeId,
    registration: Registration,
    lease: LeaseId,
    offer: &OfferRecord,
) -> Step {
    let key = Key::offer(worker);
    let node = Guard::Alive {
        key: Key::node(Role::Worker, worker),
        since: registration.0,
    };
    Step::new(
        vec![Guard::Absent(key.clone()), node],
        vec![put_leased(key, offer, lease)],
    )
}

/// A worker takes nothing any more.
pub fn withdraw(worker: &NodeId, offer: Revision) -> Step {
    let key = Key::offer(worker);
    Step::new(
        vec![Guard::Alive {
            key: key.clone(),
            since: offer,
        }],
        vec![Write::Delete { key }],
    )
}

/// A node reports: always with its lease, or its key would outlive it.
pub fn beat(
    role: Role,
    node: &NodeId,
    registration: Registration,
    lease: LeaseId,
    record: &NodeRecord,
) -> Step {
    let key = Key::node(role, node);
    let life = Guard::Alive {
        key: key.clone(),
        since: registration.0,
    };
    let report = if planted!("M-07") {
        put(key, record)
    } else {
        put_leased(key, record, lease)
    };
    Step::new(vec![life], vec![report])
}

/// An operator changes a queue's settings.
pub fn configure_queue(queue: &QueueName, before: Option<Revision>, config: &QueueConfig) -> Step {
    let key = Key::queue_config(queue);
    Step::new(vec![same_as(&key, before)], vec![put(key, config)])
}

/// An operator gives a node orders.
pub fn configure_node(node: &NodeId, before: Option<Revision>, config: &NodeConfig) -> Step {
    let key = Key::node_config(node);
    Step::new(vec![same_as(&key, before)], vec![put(key, config)])
}

fn same_as(key: &Key, before: Option<Revision>) -> Guard {
    let same = match before {
        Some(since) => unchanged(key, since),
        None => Guard::Absent(key.clone()),
    };
    unless_planted!("P-configure-unguarded", same)
}
