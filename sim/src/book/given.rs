//! What an attempt is given of its task, as one number: what was asked for, what was accepted, and what a handler got.

use std::collections::BTreeMap;

use serde::Serialize;
use windlass_core::gateway::TaskSpec;
use windlass_core::ids::{Priority, QueueName, TaskType};
use windlass_core::record::{Json, TaskRecord};
use windlass_core::time::{Millis, Wall};
use windlass_core::worker::Start;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Serialize)]
struct Given<'a> {
    kind: &'a TaskType,
    queue: &'a QueueName,
    priority: Priority,
    name: Option<&'a str>,
    payload: &'a Json,
    metadata: &'a BTreeMap<String, String>,
    /// Nothing where it does not matter when.
    created_at: Option<Wall>,
    timeout: Millis,
}

impl Given<'_> {
    fn hash(&self) -> u64 {
        let spelled = serde_json::to_vec(self).expect("a task is JSON");
        xxh3_64(&spelled)
    }
}

/// What a client asks for.
pub fn asked(spec: &TaskSpec) -> u64 {
    let given = Given {
        kind: &spec.kind,
        queue: &spec.queue,
        priority: spec.priority,
        name: spec.name.as_deref(),
        payload: &spec.payload,
        metadata: &spec.metadata,
        created_at: None,
        timeout: spec.timeout,
    };
    given.hash()
}

/// What a client asked for, of whose submission `task` came.
pub fn accepted(task: &TaskRecord) -> u64 {
    Given {
        created_at: None,
        ..of(task)
    }
    .hash()
}

/// What every attempt of `task` is to get.
pub fn promised(task: &TaskRecord) -> u64 {
    of(task).hash()
}

fn of(task: &TaskRecord) -> Given<'_> {
    Given {
        kind: &task.kind,
        queue: &task.queue,
        priority: task.priority,
        name: task.name.as_deref(),
        payload: &task.payload,
        metadata: &task.metadata,
        created_at: Some(task.created_at),
        timeout: task.timeout,
    }
}

/// What a handler gets.
pub fn got(start: &Start) -> u64 {
    let given = Given {
        kind: &start.kind,
        queue: &start.queue,
        priority: start.priority,
        name: start.name.as_deref(),
        payload: &start.payload,
        metadata: &start.metadata,
        created_at: Some(start.created_at),
        timeout: start.timeout,
    };
    given.hash()
}
