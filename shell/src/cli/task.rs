//! `windlass task`

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use windlass_core::gateway::TaskState;
use windlass_core::ids::{QueueName, TaskId, TaskType};

use super::exit::Exit;
use super::output::{Output, Table, cell};
use super::servers::{Call, Client};
use super::submit::{self, SubmitArgs};
use super::values;

/// How long one request waits for a task's end; longer waits are several requests.
const WAIT_STEP: Duration = Duration::from_secs(30);
/// How many tasks are waited for at the same time.
const WAITS_MAX: usize = 64;
/// How many times in a row a server may be out of reach while a task is waited for.
const MISSES_MAX: u32 = 30;
/// The least time from one request to the next.
const STEP_PAUSE: Duration = Duration::from_secs(1);
/// The most tasks of one page.
const PAGE_MAX: u64 = 1_000;

/// Submit, show, wait for, cancel and rerun tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Submit one task, or many from a file
    Submit(Box<SubmitArgs>),
    /// Show a task
    Get {
        /// The task's id
        id: TaskId,
    },
    /// List tasks
    #[command(visible_alias = "ls")]
    List {
        /// Only in this state: scheduled, pending, running, retrying, completed, failed or cancelled
        #[arg(long)]
        state: Option<TaskState>,
        /// Only of this queue
        #[arg(long)]
        queue: Option<QueueName>,
        /// Only of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<TaskType>,
        /// Only those that a query means, such as 'queue:mail error:refused created:>-1h'
        #[arg(long, short = 'f', value_name = "QUERY")]
        filter: Option<String>,
        /// Which first: those that were accepted first, or last [default: oldest]
        #[arg(long, value_parser = ["oldest", "newest"])]
        order: Option<String>,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Continue behind an earlier list: the next_cursor that `-o json` shows
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Wait until tasks have ended; fails if one of them did not complete
    Wait {
        /// The tasks' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<TaskId>,
        /// Wait no longer than this
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Cancel a task, waiting or running
    Cancel {
        /// The task's id
        id: TaskId,
    },
    /// Run a failed or cancelled task again
    Rerun {
        /// The task's id
        id: TaskId,
    },
    /// Say what a task is waiting for
    Why {
        /// The task's id
        id: TaskId,
    },
}

/// Does it, and prints the result.
pub(super) async fn run(
    command: TaskCommand,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let call = match command {
        TaskCommand::Submit(args) => return submit::run(*args, client, output).await,
        TaskCommand::List {
            state,
            queue,
            kind,
            filter,
            order,
            limit,
            cursor,
        } => {
            let call = move |page: u64, cursor| {
                Call::get("/api/v1/tasks")
                    .query("state", state.map(|state| state.to_string()))
                    .query("queue", queue.as_ref().map(ToString::to_string))
                    .query("type", kind.as_ref().map(ToString::to_string))
                    .query("q", filter.clone())
                    .query("order", order.clone())
                    .query("limit", Some(page.to_string()))
                    .query("cursor", cursor)
            };
            return list(call, limit, cursor, client, output).await;
        }
        TaskCommand::Wait { ids, timeout } => return wait(&ids, timeout, client, output).await,
        TaskCommand::Why { id } => {
            let why = client
                .ask(&Call::get(format!("/api/v1/tasks/{id}/why")))
                .await?;
            output.result(&why, why_table)?;
            return Ok(Exit::Done.into());
        }
        TaskCommand::Get { id } => Call::get(format!("/api/v1/tasks/{id}")),
        TaskCommand::Cancel { id } => Call::post(format!("/api/v1/tasks/{id}/cancel")),
        TaskCommand::Rerun { id } => Call::post(format!("/api/v1/tasks/{id}/rerun")),
    };
    output.result(&client.ask(&call).await?, task_table)?;
    Ok(Exit::Done.into())
}

/// A task that has ended, or whose wait ran out.
pub(super) struct Ended {
    pub(super) json: String,
    pub(super) exit: Exit,
}

async fn wait(
    ids: &[TaskId],
    time_out: Option<Duration>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let until = deadline(time_out);
    let ended: Vec<Ended> = stream::iter(ids)
        .map(|id| wait_for(*id, until, client))
        .buffered(WAITS_MAX)
        .try_collect()
        .await?;
    let tasks: Vec<&str> = ended.iter().map(|end| end.json.as_str()).collect();
    let json = format!("{{\"tasks\":[{}]}}", tasks.join(","));
    output.result(&json, |page| tasks_table(&page["tasks"]))?;
    // A task that failed has failed for good; one that goes on may still do so.
    let exits = || ended.iter().map(|end| end.exit);
    let exit = exits()
        .find(|exit| *exit == Exit::Failed)
        .or_else(|| exits().find(|exit| *exit != Exit::Done));
    Ok(exit.unwrap_or(Exit::Done).into())
}

/// When a wait of `time_out` ends.
pub(super) fn deadline(time_out: Option<Duration>) -> Option<Instant> {
    time_out.and_then(|time_out| Instant::now().checked_add(time_out))
}

#[derive(Debug, Deserialize)]
struct Status {
    status: TaskState,
}

/// Waits until the task has ended, but no longer than `until`.
pub(super) async fn wait_for(
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

#[derive(Debug, Default, Serialize, Deserialize)]
struct Page {
    tasks: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

async fn list(
    call: impl Fn(u64, Option<String>) -> Call,
    limit: u64,
    cursor: Option<String>,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut listed = Page {
        tasks: Vec::new(),
        next_cursor: cursor,
    };
    loop {
        let left = limit - listed.tasks.len() as u64;
        let call = call(left.min(PAGE_MAX), listed.next_cursor.take());
        let page: Page = serde_json::from_str(&client.ask(&call).await?)?;
        listed.tasks.extend(page.tasks);
        listed.next_cursor = page.next_cursor;
        if listed.next_cursor.is_none() || listed.tasks.len() as u64 >= limit {
            break;
        }
    }
    let json = serde_json::to_string(&listed)?;
    output.result(&json, |page| tasks_table(&page["tasks"]))?;
    Ok(Exit::Done.into())
}

fn tasks_table(tasks: &Value) -> Table {
    Table::of(
        tasks,
        &[
            ("ID", "id"),
            ("TYPE", "type"),
            ("QUEUE", "queue"),
            ("STATUS", "status"),
            ("PRIORITY", "priority"),
            ("RETRIES", "retry_count"),
            ("CREATED", "created_at"),
            ("COMPLETED", "completed_at"),
            ("WORKER", "worker_id"),
        ],
    )
}

/// The fields of a task, in the API's order.
const FIELDS: [&str; 24] = [
    "id",
    "name",
    "type",
    "queue",
    "status",
    "priority",
    "payload",
    "metadata",
    "created_at",
    "due_at",
    "assigned_at",
    "started_at",
    "completed_at",
    "worker_id",
    "fence",
    "retry_count",
    "losses",
    "max_retries",
    "timeout",
    "result",
    "error",
    "progress",
    "run",
    "attempts",
];

/// A task, field by field.
pub(super) fn task_table(task: &Value) -> Table {
    Table::of_fields(task, &FIELDS)
}

fn why_table(why: &Value) -> Table {
    let mut table = Table::new(&["STATUS", "REASON", "MESSAGE"]);
    let status = cell(&why["status"]);
    for reason in why["reasons"].as_array().into_iter().flatten() {
        table.row(vec![
            status.clone(),
            cell(&reason["reason"]),
            cell(&reason["message"]),
        ]);
    }
    if let Some(ahead) = why["ahead"].as_u64() {
        let message = format!("{ahead} tasks of its queue go before it");
        table.row(vec![status, "ahead".to_owned(), message]);
    }
    table
}
