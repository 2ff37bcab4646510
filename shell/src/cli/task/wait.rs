//! Waiting for tasks to end.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::time::Instant;
use windlass_core::gateway::TaskState;
use windlass_core::ids::TaskId;

use super::show::TASKS;
use crate::cli::exit::Exit;
use crate::cli::ids::{self, TaskRef};
use crate::cli::output::Output;
use crate::cli::servers::{Call, Client};

/// How long one request waits for a task's end; longer waits are several requests.
const WAIT_STEP: Duration = Duration::from_secs(30);
/// How many tasks are waited for at the same time.
const WAITS_MAX: usize = 64;
/// How many times in a row a server may be out of reach while a task is waited for.
const MISSES_MAX: u32 = 30;
/// The least time from one request to the next.
const STEP_PAUSE: Duration = Duration::from_secs(1);

/// A task that has ended, or whose wait ran out.
pub(in crate::cli) struct Ended {
    pub(in crate::cli) json: String,
    pub(in crate::cli) exit: Exit,
}

/// Waits for all of `tasks`, and prints them.
pub(super) async fn run(
    tasks: &[TaskRef],
    time_out: Option<Duration>,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let until = deadline(time_out);
    let found: Result<Vec<TaskId>, _> = ids::resolve(tasks, client).await?.into_iter().collect();
    let ended: Vec<Ended> = stream::iter(found?)
        .map(|id| wait_for(id, until, client))
        .buffered(WAITS_MAX)
        .try_collect()
        .await?;
    let tasks: Vec<&str> = ended.iter().map(|end| end.json.as_str()).collect();
    output.list(&format!("{{\"tasks\":[{}]}}", tasks.join(",")), &TASKS)?;
    // A task that failed has failed for good; one that goes on may still do so.
    let exits = || ended.iter().map(|end| end.exit);
    let exit = exits()
        .find(|exit| *exit == Exit::Failed)
        .or_else(|| exits().find(|exit| *exit != Exit::Done));
    Ok(exit.unwrap_or(Exit::Done).into())
}

/// When a wait of `time_out` ends.
pub(in crate::cli) fn deadline(time_out: Option<Duration>) -> Option<Instant> {
    time_out.and_then(|time_out| Instant::now().checked_add(time_out))
}

#[derive(Debug, Deserialize)]
struct Status {
    status: TaskState,
}

/// Waits until the task has ended, but no longer than `until`.
pub(in crate::cli) async fn wait_for(
    id: TaskId,
    until: Option<Instant>,
    client: &Client,
) -> anyhow::Result<Ended> {
    let (mut reached, mut misses) = (false, 0);
    loop {
        let began = Instant::now();
        let left = until.map_or(WAIT_STEP, |until| until.saturating_duration_since(began));
        let step = left.min(WAIT_STEP);
        let call = Call::get(format!("/api/v1/tasks/{id}"))
            .query("wait", Some(format!("{}ms", step.as_millis())))
            .waiting(step);
        match client.ask(&call).await {
            Ok(json) => {
                (reached, misses) = (true, 0);
                let exit = exit_of(&json)?;
                if exit != Exit::TimedOut || until.is_some_and(|until| Instant::now() >= until) {
                    return Ok(Ended { json, exit });
                }
            }
            // Servers come and go while tasks take their time.
            Err(error) if error.exit == Exit::Unreachable && reached && misses < MISSES_MAX => {
                misses += 1;
            }
            Err(error) => return Err(error.into()),
        }
        // A server that answers early, because it stops for example, is not asked at full speed.
        tokio::time::sleep_until(began + step.min(STEP_PAUSE)).await;
    }
}

/// What a script should make of a task in this state: one that has not ended has run out of time.
fn exit_of(task: &str) -> anyhow::Result<Exit> {
    let Status { status } = serde_json::from_str(task)?;
    Ok(match status {
        TaskState::Completed => Exit::Done,
        TaskState::Failed | TaskState::Cancelled => Exit::Failed,
        TaskState::Scheduled | TaskState::Pending | TaskState::Running | TaskState::Retrying => {
            Exit::TimedOut
        }
    })
}
