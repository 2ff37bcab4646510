//! A task that was submitted.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;
use windlass_core::gateway::TaskState;
use windlass_core::ids::TaskId;

use super::transport::Call;
use super::{Client, ClientError, ErrorKind, TaskInfo, Why};

/// How long one request waits for a task's end; longer waits are several requests.
const WAIT_STEP: Duration = Duration::from_secs(30);
/// How many times in a row a server may be out of reach while a task is waited for.
const MISSES_MAX: u32 = 30;
/// The least time from one request to the next.
const STEP_PAUSE: Duration = Duration::from_secs(1);

/// Why a task that was waited for has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It has failed for good.
    #[error("task {} has failed: {}", .0.id, .0.error.as_deref().unwrap_or("without a word"))]
    Failed(Box<TaskInfo>),
    /// It was cancelled.
    #[error("task {} was cancelled", .0.id)]
    Cancelled(Box<TaskInfo>),
    /// It has not ended in time. It goes on.
    #[error("task {0} has not ended in time")]
    TimedOut(TaskId),
    /// Its result is not what this program takes it for.
    #[error("the result of task {id} is no {wanted}: {source}")]
    Output {
        /// Which task.
        id: TaskId,
        /// The Rust type that was wanted.
        wanted: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It could not be asked for.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A task that was submitted, and returns an `O`. Dropping it does nothing to the task.
pub struct TaskHandle<O> {
    client: Client,
    id: TaskId,
    output: PhantomData<fn() -> O>,
}

impl<O> TaskHandle<O> {
    pub(super) fn new(client: Client, id: TaskId) -> Self {
        Self {
            client,
            id,
            output: PhantomData,
        }
    }

    /// The task's id, to be kept where the task is to be found again: see [`Client::task`].
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// How it is now.
    pub async fn get(&self) -> Result<TaskInfo, ClientError> {
        self.client.get(self.id).await
    }

    /// Cancels it: see [`Client::cancel`].
    pub async fn cancel(&self) -> Result<TaskInfo, ClientError> {
        self.client.cancel(self.id).await
    }

    /// Runs it again: see [`Client::rerun`].
    pub async fn rerun(&self) -> Result<TaskInfo, ClientError> {
        self.client.rerun(self.id).await
    }

    /// Why it has not ended yet.
    pub async fn why(&self) -> Result<Why, ClientError> {
        self.client.why(self.id).await
    }

    /// Waits until it has ended, however that went.
    pub async fn ended(&self) -> Result<TaskInfo, ClientError> {
        loop {
            if let Some(task) = self.ended_within(None).await? {
                return Ok(task);
            }
        }
    }

    /// Waits until it has ended, but no longer than until `until`: then there is nothing.
    async fn ended_within(&self, until: Option<Instant>) -> Result<Option<TaskInfo>, ClientError> {
        let (mut reached, mut misses) = (false, 0);
        loop {
            let began = Instant::now();
            let left = until.map_or(WAIT_STEP, |until| until.saturating_duration_since(began));
            let step = left.min(WAIT_STEP);
            let call = Call::get(format!("/api/v1/tasks/{}", self.id))
                .query("wait", Some(format!("{}ms", step.as_millis())))
                .waiting(step);
            match self.client.ask::<TaskInfo>(&call).await {
                Ok(task) if task.status.has_ended() => return Ok(Some(task)),
                Ok(_) => (reached, misses) = (true, 0),
                // Servers come and go while tasks take their time.
                Err(error) if can_pass(&error) && reached && misses < MISSES_MAX => misses += 1,
                Err(error) => return Err(error),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            // A server that answers early, because it stops for example, is not asked at full speed.
            tokio::time::sleep_until(began + step.min(STEP_PAUSE)).await;
        }
    }
}

fn can_pass(error: &ClientError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unreachable | ErrorKind::Unavailable
    )
}

impl<O: DeserializeOwned> TaskHandle<O> {
    /// Waits for its result, however long that takes. Servers that come and go meanwhile do not matter.
    pub async fn wait(&self) -> Result<O, WaitError> {
        result_of(self.ended().await?)
    }

    /// Waits for its result, but no longer than this.
    pub async fn wait_for(&self, time_out: Duration) -> Result<O, WaitError> {
        match self
            .ended_within(Instant::now().checked_add(time_out))
            .await?
        {
            Some(task) => result_of(task),
            None => Err(WaitError::TimedOut(self.id)),
        }
    }
}

fn result_of<O: DeserializeOwned>(task: TaskInfo) -> Result<O, WaitError> {
    match task.status {
        TaskState::Completed => task.result().map_err(|source| WaitError::Output {
            id: task.id,
            wanted: std::any::type_name::<O>(),
            source,
        }),
        TaskState::Cancelled => Err(WaitError::Cancelled(Box::new(task))),
        TaskState::Failed
        | TaskState::Scheduled
        | TaskState::Pending
        | TaskState::Running
        | TaskState::Retrying => Err(WaitError::Failed(Box::new(task))),
    }
}

impl<O> Clone for TaskHandle<O> {
    fn clone(&self) -> Self {
        Self::new(self.client.clone(), self.id)
    }
}

impl<O> fmt::Debug for TaskHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskHandle").field(&self.id).finish()
    }
}
