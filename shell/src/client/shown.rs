//! Tasks, as servers show them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use windlass_core::gateway::TaskState;
use windlass_core::ids::{Fence, Priority, TaskId};
use windlass_core::record::Json;

/// A task, as it was when the server answered.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// What people call it.
    pub name: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it waits, or waited.
    pub queue: String,
    /// Where it is in its life.
    pub status: TaskState,
    /// How urgent it is.
    pub priority: Priority,
    /// What its handler gets.
    #[serde(default)]
    pub payload: Json,
    /// Its labels.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted.
    #[serde(deserialize_with = "time")]
    pub created_at: SystemTime,
    /// When it may start, if that is later than now.
    #[serde(default, deserialize_with = "time_if")]
    pub due_at: Option<SystemTime>,
    /// When it was given to its worker.
    #[serde(default, deserialize_with = "time_if")]
    pub assigned_at: Option<SystemTime>,
    /// When its last attempt began; known once that has ended.
    #[serde(default, deserialize_with = "time_if")]
    pub started_at: Option<SystemTime>,
    /// When it ended, however it did.
    #[serde(default, deserialize_with = "time_if")]
    pub completed_at: Option<SystemTime>,
    /// The worker that has it, or had it.
    pub worker_id: Option<String>,
    /// The fence of its last attempt.
    pub fence: Option<Fence>,
    /// Failures that were tried again.
    pub retry_count: u32,
    /// Workers that vanished under it.
    pub losses: u32,
    /// How many failures are tried again.
    pub max_retries: u32,
    /// How long one attempt may run.
    #[serde(deserialize_with = "span")]
    pub timeout: Duration,
    /// What its handler returned: see [`TaskInfo::result`].
    pub result: Option<Json>,
    /// Why it failed.
    pub error: Option<String>,
    /// What its handler has shown last.
    pub progress: Option<Json>,
    /// How often it was run again after it had ended, by hand.
    #[serde(default)]
    pub run: u32,
    /// The last attempts that did not complete it.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

impl TaskInfo {
    /// What its handler returned, as an `O`. A task that has not completed has returned `null`.
    pub fn result<O: DeserializeOwned>(&self) -> Result<O, serde_json::Error> {
        match &self.result {
            Some(result) => result.to(),
            None => Json::null().to(),
        }
    }

    /// Its payload, as a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.payload.to()
    }
}

/// An attempt that did not complete its task.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// Its number.
    pub attempt: u32,
    /// The worker that ran it.
    pub worker_id: String,
    /// When it began, if that is known.
    #[serde(default, deserialize_with = "time_if")]
    pub started_at: Option<SystemTime>,
    /// When it ended.
    #[serde(deserialize_with = "time")]
    pub ended_at: SystemTime,
    /// How it ended: `failed`, `timed_out`, `lost` or `cancelled`.
    pub end: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// Why a task has not ended yet.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Why {
    /// Its id.
    pub id: TaskId,
    /// Where it is in its life.
    pub status: TaskState,
    /// The reasons, the strongest first.
    pub reasons: Vec<Reason>,
    /// How many tasks of its queue go before it, while it waits there.
    pub ahead: Option<u64>,
    /// When it may start, if that can be told.
    #[serde(default)]
    pub estimate: Option<Estimate>,
}

/// One reason why a task has not ended yet.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Reason {
    /// The reason's name: `no_free_slot` for example.
    pub reason: String,
    /// The same for people.
    pub message: String,
}

/// When a task may start, if all goes on as it did lately.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The time.
    #[serde(deserialize_with = "time")]
    pub start_at: SystemTime,
    /// How many tasks of its queue start in a second.
    pub rate_per_second: f64,
}

fn at<E: Error>(text: &str) -> Result<SystemTime, E> {
    let time: jiff::Timestamp = text.parse().map_err(E::custom)?;
    Ok(time.into())
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    at(&String::deserialize(deserializer)?)
}

fn time_if<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.as_deref().map(at).transpose()
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}
