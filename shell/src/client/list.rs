//! Lists of tasks.

use serde::Deserialize;
use windlass_core::gateway::TaskState;

use super::transport::Call;
use super::{Client, ClientError, TaskInfo};

/// The most tasks of one page.
const PAGE_MAX: usize = 1_000;

/// Which tasks to list. What is said more than once, holds as it was said last.
#[derive(Debug, Clone)]
#[must_use = "nothing is listed before a page is asked for"]
pub struct List {
    client: Client,
    query: Option<String>,
    state: Option<TaskState>,
    queue: Option<String>,
    kind: Option<String>,
    newest: bool,
    cursor: Option<String>,
}

/// Some of the tasks that were asked for.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskInfo>,
    /// Where to go on; nothing when these were the last. A page may have none of the tasks and go on all the same.
    pub next_cursor: Option<String>,
}

impl List {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            query: None,
            state: None,
            queue: None,
            kind: None,
            newest: false,
            cursor: None,
        }
    }

    /// Only those that this filter is true of, as the command line and the dashboard spell it:
    /// `state:failed type:email.* error:timeout`.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = Some(query.into());
        self
    }

    /// Only those in this state.
    pub fn state(mut self, state: TaskState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only those of this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    /// Only those of this type.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// The newest first; without this the oldest come first.
    pub fn newest_first(mut self) -> Self {
        self.newest = true;
        self
    }

    /// Goes on behind an earlier page of the same list.
    pub fn after(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// The next at most `limit` tasks; from 1 to 1,000.
    pub async fn page(&self, limit: usize) -> Result<Page, ClientError> {
        self.ask(limit, self.cursor.clone()).await
    }

    /// The first `limit` tasks, over as many pages as it takes.
    pub async fn first(&self, limit: usize) -> Result<Vec<TaskInfo>, ClientError> {
        let (mut tasks, mut cursor) = (Vec::new(), self.cursor.clone());
        while tasks.len() < limit {
            let left = (limit - tasks.len()).min(PAGE_MAX);
            let page = self.ask(left, cursor.take()).await?;
            tasks.extend(page.tasks);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(tasks)
    }

    async fn ask(&self, limit: usize, cursor: Option<String>) -> Result<Page, ClientError> {
        let call = Call::get("/api/v1/tasks")
            .query("q", self.query.clone())
            .query("state", self.state.map(|state| state.to_string()))
            .query("queue", self.queue.clone())
            .query("type", self.kind.clone())
            .query("order", self.newest.then(|| "newest".to_owned()))
            .query("limit", Some(limit.to_string()))
            .query("cursor", cursor);
        self.client.ask(&call).await
    }
}
