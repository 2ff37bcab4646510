//! Tasks and handlers that several tests use.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::testing::Windlass;
use windlass::{Task, TaskError, Worker, WorkerBuilder};

/// Returns what it is given.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Echo {
    pub(crate) text: String,
}

impl Task for Echo {
    const TYPE: &'static str = "say";
    const QUEUE: &'static str = "talk";
    const MAX_RETRIES: Option<u32> = Some(1);
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(90));
    type Output = String;
}

pub(crate) fn echo(text: &str) -> Echo {
    Echo {
        text: text.to_owned(),
    }
}

pub(crate) async fn say(Echo { text }: Echo) -> Result<String, TaskError> {
    Ok(text)
}

/// A cluster with such a worker.
pub(crate) async fn cluster(worker: WorkerBuilder) -> Windlass {
    Windlass::start(worker).await.unwrap()
}

/// A cluster that echoes.
pub(crate) async fn echoing() -> Windlass {
    cluster(Worker::builder().handler(say)).await
}
