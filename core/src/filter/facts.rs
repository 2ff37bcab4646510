//! What a query looks at: a task as far as it is known.

use std::collections::BTreeMap;

use crate::ids::{NodeId, Priority, QueueName, TaskId, TaskType};
use crate::task_state::TaskState;
use crate::time::Wall;

/// Something that is known, or would have to be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is this.
    Known(T),
    /// Only the store can tell.
    Unknown,
}

/// A task as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Its id.
    pub id: TaskId,
    /// Where it is in its life.
    pub state: TaskState,
    /// Where it waits.
    pub queue: &'a QueueName,
    /// Selects the handler.
    pub kind: &'a TaskType,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was accepted.
    pub created_at: Wall,
    /// When it ended, if it has.
    pub ended_at: Option<Wall>,
    /// Failures that were tried again, in this run.
    pub retries: u32,
    /// Workers that vanished under it, in this run.
    pub losses: u32,
    /// Its current or last worker.
    pub worker: Fact<Option<&'a NodeId>>,
    /// Why it failed, or why its last attempt did.
    pub error: Fact<Option<&'a str>>,
    /// What people call it.
    pub name: Fact<Option<&'a str>>,
    /// Labels.
    pub metadata: Fact<&'a BTreeMap<String, String>>,
}
