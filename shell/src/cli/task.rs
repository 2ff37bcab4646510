//! `windlass task`

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use windlass_core::gateway::TaskState;
use windlass_core::ids::{Priority, QueueName, TaskId, TaskType};

use super::bulk;
use super::client::{Call, Client};
use super::exit::{CliError, Exit};
use super::output::{Output, Table, cell};
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
        /// Which
        id: TaskId,
    },
    /// List tasks
    #[command(visible_alias = "ls")]
    List {
        /// Only in this state
        #[arg(long)]
        state: Option<TaskState>,
        /// Only of this queue
        #[arg(long)]
        queue: Option<QueueName>,
        /// Only of this type
        #[arg(long = "type")]
        kind: Option<TaskType>,
        /// How many at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Continue behind an earlier list: its next_cursor
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Wait until tasks have ended; fails if one of them did not complete
    Wait {
        /// Which
        #[arg(required = true, value_name = "ID")]
        ids: Vec<TaskId>,
        /// Wait no longer than this
        #[arg(long, value_parser = values::duration)]
        timeout: Option<Duration>,
    },
    /// Cancel a task, waiting or running
    Cancel {
        /// Which
        id: TaskId,
    },
    /// Run a failed or cancelled task again
    Rerun {
        /// Which
        id: TaskId,
    },
    /// Say why a task is not running
    Why {
        /// Which
        id: TaskId,
    },
}

/// What to submit.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["kind", "from"]))]
pub struct SubmitArgs {
    /// The task's type: it selects the handler
    #[arg(value_name = "TYPE")]
    pub kind: Option<TaskType>,
    /// Submit every line of this file, or of stdin for -: one JSON object a line, as for the API
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["queue", "priority", "payload", "name", "metadata",
        "max_retries", "retry", "timeout", "delay", "run_at", "key", "wait"])]
    pub from: Option<PathBuf>,
    /// Where it waits [default: default]
    #[arg(long)]
    pub queue: Option<QueueName>,
    /// 0 (most urgent) to 9, or critical, high, normal, low [default: 5]
    #[arg(long)]
    pub priority: Option<Priority>,
    /// What the handler gets: JSON, or a file that holds it, or - for stdin
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub payload: Option<String>,
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// A label; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    pub metadata: Vec<(String, String)>,
    /// How many failures are tried again [default: 3]
    #[arg(long, value_name = "N")]
    pub max_retries: Option<u32>,
    /// How long to wait between them, as for the API: {"kind": "fixed", "delay": "1s", …}
    #[arg(long, value_name = "JSON")]
    pub retry: Option<String>,
    /// How long one attempt may run [default: 5m]
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Start no sooner than after this long
    #[arg(long, value_name = "DURATION", conflicts_with = "run_at")]
    pub delay: Option<String>,
    /// Start no sooner than at this time, in RFC 3339
    #[arg(long, value_name = "TIME")]
    pub run_at: Option<String>,
    /// A repeated submission with the same key and body is the first one
    #[arg(long)]
    pub key: Option<String>,
    /// Wait until it has ended, perhaps no longer than this; fails if it did not complete
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = values::duration)]
    pub wait: Option<Option<Duration>>,
}

/// Does it, and prints the result.
pub(super) async fn run(
    command: TaskCommand,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let call = match command {
        TaskCommand::Submit(args) => return submit(*args, client, output).await,
        TaskCommand::List {
            state,
            queue,
            kind,
            limit,
            cursor,
        } => {
            let call = move |page: u64, cursor| {
                Call::get("/api/v1/tasks")
                    .query("state", state.map(|state| state.to_string()))
                    .query("queue", queue.as_ref().map(ToString::to_string))
                    .query("type", kind.as_ref().map(ToString::to_string))
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

/// A submission, spelled for the API.
#[derive(Debug, Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: TaskType,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Accepted {
    id: TaskId,
}

async fn submit(args: SubmitArgs, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    if let Some(from) = &args.from {
        return bulk::run(from, client, output).await;
    }
    let waiting = args.wait;
    let body = serde_json::to_string(&body(args)?)?;
    let accepted = client.ask(&Call::post("/api/v1/tasks").body(body)).await?;
    let Some(time_out) = waiting else {
        output.result(&accepted, |task| {
            Table::of(
                &Value::from(vec![task.clone()]),
                &[("ID", "id"), ("STATUS", "status")],
            )
        })?;
        return Ok(Exit::Done.into());
    };
    let Accepted { id } = serde_json::from_str(&accepted)?;
    let end = wait_for(id, deadline(time_out), client).await?;
    output.result(&end.json, task_table)?;
    Ok(end.exit.into())
}

fn body(args: SubmitArgs) -> anyhow::Result<Body> {
    Ok(Body {
        kind: args.kind.context("a task needs a type")?,
        queue: args.queue,
        priority: args.priority,
        payload: args.payload.as_deref().map(payload).transpose()?,
        name: args.name,
        metadata: args.metadata.into_iter().collect(),
        max_retries: args.max_retries,
        retry: args
            .retry
            .map(|text| document("--retry", text))
            .transpose()?,
        timeout: args.timeout,
        delay: args.delay,
        run_at: args.run_at,
        key: args.key,
    })
}

fn payload(given: &str) -> anyhow::Result<Box<RawValue>> {
    let text = if given == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read the payload from stdin")?;
        text
    } else if let Some(path) = given.strip_prefix('@') {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the payload from {path}"))?
    } else {
        given.to_owned()
    };
    Ok(document("--payload", text)?)
}

fn document(option: &str, text: String) -> Result<Box<RawValue>, CliError> {
    serde_json::from_str(&text)
        .map_err(|error| CliError::new(Exit::Usage, format!("{option} is not JSON: {error}")))
}

/// A task that has ended, or whose wait ran out.
struct Ended {
    json: String,
    exit: Exit,
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

fn deadline(time_out: Option<Duration>) -> Option<Instant> {
    time_out.and_then(|time_out| Instant::now().checked_add(time_out))
}

#[derive(Debug, Deserialize)]
struct Status {
    status: TaskState,
}

async fn wait_for(id: TaskId, until: Option<Instant>, client: &Client) -> anyhow::Result<Ended> {
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

fn task_table(task: &Value) -> Table {
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
