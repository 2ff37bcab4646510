//! The tasks: those that wait from the beginning, and those that follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::gateway::{Due, TaskSpec};
use windlass_core::ids::{Priority, QueueName, TaskId, TaskType};
use windlass_core::record::{Json, TaskRecord, Version};
use windlass_core::retry::RetryPolicy;
use windlass_core::rng::Rng;
use windlass_core::steps;
use windlass_core::store::{Step, Txn};
use windlass_core::time::{Millis, Wall};

use super::Size;

/// What every worker runs.
const KIND: &str = "noop";

/// The payload's bytes.
const PAYLOAD: usize = 256;

/// Makes tasks, one queue after the other.
#[derive(Debug)]
pub(super) struct Tasks {
    rng: Rng,
    queues: Vec<QueueName>,
    kind: TaskType,
    payload: Json,
    made: usize,
}

impl Tasks {
    pub(super) fn new(size: &Size) -> Self {
        let name = |n| format!("queue-{n:04}").parse().expect("a legal name");
        Self {
            rng: Rng::new(1),
            queues: (0..size.queues).map(name).collect(),
            kind: KIND.parse().expect("a legal name"),
            payload: Json::string(&"x".repeat(PAYLOAD)),
            made: 0,
        }
    }

    pub(super) fn kind(&self) -> TaskType {
        self.kind.clone()
    }

    /// The queues that the worker number `worker` serves; all when there are none.
    pub(super) fn served_by(&self, worker: usize, size: &Size) -> Vec<QueueName> {
        if size.dedicated {
            vec![self.queues[worker % self.queues.len()].clone()]
        } else {
            Vec::new()
        }
    }

    fn next_queue(&mut self) -> QueueName {
        self.made += 1;
        self.queues[self.made % self.queues.len()].clone()
    }

    /// A task as a client submits it.
    pub(super) fn spec(&mut self) -> TaskSpec {
        TaskSpec {
            kind: self.kind.clone(),
            queue: self.next_queue(),
            priority: Priority::NORMAL,
            name: None,
            payload: self.payload.clone(),
            metadata: BTreeMap::new(),
            retries_max: 3,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(300),
            due: Due::Now,
            key: None,
        }
    }

    /// The transaction that accepts `count` tasks, as a gateway would commit it but for its lane.
    pub(super) fn accept(&mut self, count: u64, wall: Wall) -> Txn {
        let mut txn = Txn::default();
        for _ in 0..count {
            let step = self.accept_one(wall);
            txn.push(step).expect("few enough tasks for a transaction");
        }
        txn
    }

    fn accept_one(&mut self, wall: Wall) -> Step {
        let spec = self.spec();
        let record = TaskRecord {
            v: Version,
            kind: spec.kind,
            queue: spec.queue,
            priority: spec.priority,
            name: spec.name,
            payload: spec.payload,
            metadata: spec.metadata,
            created_at: wall,
            due: None,
            retries_max: spec.retries_max,
            retry: spec.retry,
            timeout: spec.timeout,
            unique: None::<Arc<str>>,
        };
        steps::submit(TaskId::new(&mut self.rng, wall), &record, None, None)
    }
}
