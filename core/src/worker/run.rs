//! What a worker asks of the handlers, and what they tell it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Attempt, Fence, OpId, Priority, QueueName, TaskId, TaskType};
use crate::record::Json;
use crate::retry::Verdict;
use crate::time::{Millis, Wall};

/// An attempt that is to start now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Names the execution in all that follows.
    pub run: OpId,
    /// Which task.
    pub task: TaskId,
    /// Selects the handler.
    pub kind: TaskType,
    /// Where it waited.
    pub queue: QueueName,
    /// How urgent it is.
    pub priority: Priority,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// What the handler gets.
    pub payload: Json,
    /// Labels.
    pub metadata: BTreeMap<String, String>,
    /// When the task was accepted.
    pub created_at: Wall,
    /// How many attempts of this run there were, this one included.
    pub attempt: Attempt,
    /// Larger than that of every earlier attempt.
    pub fence: Fence,
    /// How long it may run; the worker stops it then.
    pub timeout: Millis,
}

/// What a handler tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// It succeeded with this result. It has ended.
    Completed(Json),
    /// It failed. It has ended.
    Failed(HandlerError),
    /// It was stopped, and has ended without a result.
    Stopped,
    /// It goes on, and wants people to see this.
    Progress(Json),
}

/// Why a handler failed, and what it advises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerError {
    /// For people.
    pub message: Arc<str>,
    /// Whether to try again.
    pub verdict: Verdict,
}

/// Why a machine's process must end, or may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It was told to stop, and holds nothing any more.
    Drained,
    /// Its own key is gone: the cluster believes it dead.
    Deposed,
    /// Another process uses its node id.
    Usurped,
    /// A handler runs on though the session is over.
    HandlerWedged,
}
