//! `windlass task submit`

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use windlass_core::ids::{Priority, QueueName, TaskId, TaskType};

use super::exit::{CliError, Exit};
use super::output::{Column, Kind, Listing, Output};
use super::servers::{Call, Client};
use super::task::{FIELDS, deadline, wait_for};
use super::{bulk, values};

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
    /// What the handler gets: JSON, or @ and a file that holds it, or - for stdin [default: null]
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub payload: Option<String>,
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// A note for people that is kept with the task; may be repeated
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
    /// Idempotency key: submitted again with the same key, a task is not accepted twice
    #[arg(long)]
    pub key: Option<String>,
    /// Wait until it has ended, perhaps no longer than this; fails if it did not complete
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, value_parser = values::duration)]
    pub wait: Option<Option<Duration>>,
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

/// A task that was accepted.
const ACCEPTED: Listing = Listing {
    list: "tasks",
    id: "id",
    columns: &[
        Column::new("ID", "id").whole(),
        Column::new("STATUS", "status").kind(Kind::State),
    ],
};

#[derive(Debug, Deserialize)]
struct Accepted {
    id: TaskId,
}

/// Submits, perhaps waits, and prints the result.
pub(super) async fn run(
    args: SubmitArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    if let Some(from) = &args.from {
        return bulk::run(from, client, output).await;
    }
    let waiting = args.wait;
    let body = serde_json::to_string(&body(args)?)?;
    let accepted = client.ask(&Call::post("/api/v1/tasks").body(body)).await?;
    let Some(time_out) = waiting else {
        output.row(&accepted, &ACCEPTED)?;
        return Ok(Exit::Done.into());
    };
    let Accepted { id } = serde_json::from_str(&accepted)?;
    let end = wait_for(id, deadline(time_out), client).await?;
    output.fields(&end.json, "id", &FIELDS)?;
    Ok(end.exit.into())
}

fn body(args: SubmitArgs) -> anyhow::Result<Body> {
    Ok(Body {
        kind: args.kind.context("a task needs a type")?,
        queue: args.queue,
        priority: args.priority,
        payload: args
            .payload
            .map(|given| document_of("--payload", &given))
            .transpose()?,
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

/// The JSON that an option gives: itself, or `@` and a file that holds it, or `-` for stdin.
pub(super) fn document_of(option: &str, given: &str) -> anyhow::Result<Box<RawValue>> {
    let text = if given == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {option} from stdin"))?;
        text
    } else if let Some(path) = given.strip_prefix('@') {
        std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {option} from {path}"))?
    } else {
        given.to_owned()
    };
    Ok(document(option, text)?)
}

fn document(option: &str, text: String) -> Result<Box<RawValue>, CliError> {
    serde_json::from_str(&text)
        .map_err(|error| CliError::new(Exit::Usage, format!("{option} is not JSON: {error}")))
}
