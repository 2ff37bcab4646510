//! Talks to servers over HTTP, from Rust: [`Client`].

mod builder;
mod error;
mod handle;
mod list;
mod many;
mod shown;
mod submission;
pub(crate) mod transport;

use std::sync::Arc;

use axum::Router;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_core::ids::TaskId;

pub use self::builder::ClientBuilder;
pub use self::error::{ClientError, ErrorKind};
pub use self::handle::{TaskHandle, WaitError};
pub use self::list::{List, Page};
pub use self::shown::{Attempt, Estimate, Reason, TaskInfo, Why};
pub use self::submission::{Retry, Submission};
pub use self::transport::ServerUrl;
use self::transport::{Call, Transport};
use crate::sdk::Task;

/// A client of a cluster: submits tasks, waits for them, looks after them. Cheap to clone; all clones share their
/// connections. Of several servers it asks the next one when one cannot be reached.
#[derive(Debug, Clone)]
pub struct Client(Arc<Transport>);

impl Client {
    /// A client of the servers at these URLs, separated by commas: `http://127.0.0.1:7070`. Nothing is sent yet.
    pub fn connect(servers: &str) -> Result<Self, ClientError> {
        Self::builder().servers(servers.split(',')).build()
    }

    /// A client that is told more: a token, a CA.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client as the environment says, in the words of the command line: `WINDLASS_SERVER` (one or several URLs),
    /// `WINDLASS_TOKEN_FILE` or else `WINDLASS_TOKEN`, `WINDLASS_SERVER_CA`, `WINDLASS_SERVER_CERT` and
    /// `WINDLASS_SERVER_KEY`.
    pub fn from_env() -> Result<Self, ClientError> {
        ClientBuilder::from_env()?.build()
    }

    /// A client of a scheduler in this process.
    pub(crate) fn local(router: Router) -> Self {
        Self(Arc::new(Transport::local(router)))
    }

    /// Submits `task`, with what its type says about queue, priority, retries and time-out. To be awaited; until then the
    /// submission can be changed.
    pub fn submit<T: Task + Serialize>(&self, task: &T) -> Submission<T::Output> {
        Submission::of_task(self.clone(), task)
    }

    /// Submits a task of the type `kind`, for which this program has no Rust type.
    pub fn submit_raw(
        &self,
        kind: impl Into<String>,
        payload: &impl Serialize,
    ) -> Submission<serde_json::Value> {
        Submission::raw(self.clone(), kind.into(), payload)
    }

    /// Submits many tasks in few requests. Each has its own fate, in the order of the submissions: one that is refused
    /// keeps no other from being accepted.
    pub async fn submit_all<O>(
        &self,
        submissions: impl IntoIterator<Item = Submission<O>>,
    ) -> Vec<Result<TaskHandle<O>, ClientError>> {
        many::submit(self, submissions.into_iter().collect()).await
    }

    /// The task with this id, which was submitted as a `T`. Nothing is asked yet.
    pub fn task<T: Task>(&self, id: TaskId) -> TaskHandle<T::Output> {
        TaskHandle::new(self.clone(), id)
    }

    /// How a task is.
    pub async fn get(&self, id: TaskId) -> Result<TaskInfo, ClientError> {
        self.ask(&Call::get(format!("/api/v1/tasks/{id}"))).await
    }

    /// Cancels a task, waiting or running; refused when it has ended. Returns how it is then: a running one stops a
    /// little later.
    pub async fn cancel(&self, id: TaskId) -> Result<TaskInfo, ClientError> {
        self.ask(&Call::post(format!("/api/v1/tasks/{id}/cancel")))
            .await
    }

    /// Runs a failed or cancelled task again; refused in every other state.
    pub async fn rerun(&self, id: TaskId) -> Result<TaskInfo, ClientError> {
        self.ask(&Call::post(format!("/api/v1/tasks/{id}/rerun")))
            .await
    }

    /// Why a task has not ended yet.
    pub async fn why(&self, id: TaskId) -> Result<Why, ClientError> {
        self.ask(&Call::get(format!("/api/v1/tasks/{id}/why")))
            .await
    }

    /// Lists tasks: all of them, unless it is told which.
    pub fn list(&self) -> List {
        List::new(self.clone())
    }

    /// The JSON of an answer.
    async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        read(&self.0.ask(call).await?)
    }
}

/// The JSON of an answer, as a `T`.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|error| {
        ClientError::new(
            ErrorKind::Failed,
            format!("the server answered nonsense: {error}"),
        )
    })
}
