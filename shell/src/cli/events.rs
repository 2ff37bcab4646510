//! `windlass events`: what happens in the cluster, as it happens.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{Cell, Format, Kind, Output, cell, harmless, write_stdout};
use super::servers::{self, Client};
use super::sse::{Feed, Frame};

/// Without `--follow`: how long nothing may come before that is all.
const LULL: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on until interrupted; without it, end when nothing came for a second
    #[arg(long)]
    pub follow: bool,
    /// Only of these topics
    #[arg(
        long,
        value_name = "TOPIC,…",
        value_delimiter = ',',
        value_parser = ["tasks", "queues", "nodes", "stats"]
    )]
    pub topics: Vec<String>,
    /// First those behind this revision, if the server still knows them: the id of an earlier event
    #[arg(long, value_name = "REVISION", value_parser = super::values::filled)]
    pub after: Option<String>,
}

/// Prints them, as JSON lines.
pub(super) async fn run(
    args: &EventsArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let topics = (!args.topics.is_empty()).then(|| args.topics.join(","));
    let mut feed = Feed::new(client, topics, args.after.clone());
    loop {
        let frame = if args.follow {
            feed.next().await?
        } else {
            match tokio::time::timeout(LULL, feed.next()).await {
                Ok(frame) => frame?,
                Err(_) => return Ok(Exit::Done.into()),
            }
        };
        match write_stdout(&spelled(&frame, &output)?) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Exit::Done.into());
            }
            written => written?,
        }
    }
}

fn spelled(frame: &Frame, output: &Output) -> anyhow::Result<String> {
    let data: Value = servers::parsed(&frame.data)?;
    Ok(match output.format() {
        Format::Table | Format::Wide => told(frame, &data, output),
        Format::Name => ids(&data).map(|id| format!("{id}\n")).collect(),
        Format::Json | Format::Jsonl => {
            let line = json!({"event": frame.event, "id": frame.id, "data": data});
            format!("{line}\n")
        }
    })
}

fn ids(data: &Value) -> impl Iterator<Item = String> {
    let tasks = data["tasks"].as_array().into_iter().flatten();
    tasks.map(|task| harmless(&cell(&task["id"])))
}

/// An event a line; of changes, a task, a queue or the nodes a line.
fn told(frame: &Frame, data: &Value, output: &Output) -> String {
    let mut text = String::new();
    let mut line = |words: &[&str]| {
        text.push_str(
            &words
                .iter()
                .map(|word| harmless(word))
                .collect::<Vec<_>>()
                .join("  "),
        );
        text.push('\n');
    };
    if frame.event != "changes" {
        line(&[&frame.event, &data.to_string()]);
        return text;
    }
    for task in data["tasks"].as_array().into_iter().flatten() {
        let status: Cell = Kind::State.cell(&task["status"], output.look());
        let field = |name: &str| cell(&task[name]);
        line(&[
            "task",
            &field("id"),
            status.text(),
            &field("queue"),
            &field("type"),
            &field("worker_id"),
        ]);
    }
    if let Some(omitted) = data["tasks_omitted"]
        .as_u64()
        .filter(|omitted| *omitted > 0)
    {
        line(&["tasks", &format!("{omitted} more")]);
    }
    for queue in data["queues"].as_array().into_iter().flatten() {
        line(&["queue", &cell(queue)]);
    }
    if data["nodes"] == true {
        line(&["nodes"]);
    }
    text
}
