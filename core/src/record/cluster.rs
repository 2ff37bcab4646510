//! Records of nodes, queues, locks and idempotency keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Carry, Record, Version, is_default};
use crate::balance::Strategy;
use crate::ids::{LeaseId, Priority, QueueName, Registration, Revision, TaskId, TaskType};
use crate::time::{Millis, Wall};

/// `/config/queues/{queue}`: what an operator set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct QueueConfig {
    #[doc(hidden)]
    pub v: Version,
    /// How workers are chosen.
    #[serde(default)]
    pub strategy: Strategy,
    /// Whether its tasks wait for `resume`.
    #[serde(default)]
    pub paused: bool,
}
impl Record for QueueConfig {}

/// `/config/nodes/{node_id}`: orders to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct NodeConfig {
    #[doc(hidden)]
    pub v: Version,
    /// Take no new tasks.
    #[serde(default)]
    pub drain: bool,
    /// The life of the node that the orders are for; every life when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Registration>,
}
impl Record for NodeConfig {}

impl NodeConfig {
    /// Whether this life of the node is to take no new tasks.
    pub fn drains(&self, life: Registration) -> bool {
        self.drain && self.life.is_none_or(|meant| meant == life)
    }
}

/// `/nodes/{role}/{node_id}`: one life of a node; its create revision is the registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    #[doc(hidden)]
    pub v: Version,
    /// Drawn anew for each life, so that a node recognises its own registration when the answer to it was lost.
    pub life: u64,
    /// The build.
    pub version: Arc<str>,
    /// The revision that the node's view has reached: history before the lowest of these may be compacted.
    pub view: Revision,
    /// Handlers running, or requests in flight.
    #[serde(default)]
    pub load: u32,
    /// The machine's busy share, in thousandths.
    #[serde(default)]
    pub cpu_permille: u16,
    /// The process's memory, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// The time to live of its lease: a record that was not renewed for half of it is not to be trusted.
    pub ttl: Millis,
    /// When the node started, by its own clock.
    pub started_at: Wall,
    /// What gateways must know of a worker that has no connection to the store; `None` for every other node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Box<RemoteRecord>>,
}
impl Record for NodeRecord {}

/// What a gateway must know to act for a worker that talks to gateways only. Part of the worker's own leased key, so
/// that every gateway knows it, and none does any more when the session is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRecord {
    /// The lease of its session.
    pub lease: LeaseId,
    /// The hash of the secret that the worker was given, in hex: who knows the secret is the worker.
    pub secret: Arc<str>,
    /// What it takes while it is not drained.
    pub offer: OfferRecord,
    /// It leaves: nothing is offered for it any more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leaving: bool,
}

/// `/offers/{worker_id}`: what a worker takes now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRecord {
    #[doc(hidden)]
    pub v: Version,
    /// Handlers that run at the same time.
    pub slots: u32,
    /// The queues that it serves; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<QueueName>,
    /// The task types that it can run, sorted.
    pub types: Vec<TaskType>,
    /// Its share under the weighted strategy.
    pub weight: u32,
    /// Labels for people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
impl Record for OfferRecord {}

/// `/dead/{queue}/{task_id}`: the task's attempts are spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRecord {
    #[doc(hidden)]
    pub v: Version,
    /// What the last attempt had started with.
    pub carry: Carry,
    /// How urgent it was.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// When it died.
    pub died_at: Wall,
}
impl Record for DeadRecord {}

/// `/locks/{lock_key}/{waiter}`: leased; the lowest create revision holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LockRecord {
    #[doc(hidden)]
    pub v: Version,
    /// Who waits, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
}
impl Record for LockRecord {}

/// `/unique/{hash}`: which task an idempotency key stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueRecord {
    #[doc(hidden)]
    pub v: Version,
    /// The task that was accepted under the key.
    pub task: TaskId,
    /// The hash of the body that came with it.
    pub body: Arc<str>,
}
impl Record for UniqueRecord {}
