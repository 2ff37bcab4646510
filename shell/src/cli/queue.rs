//! `windlass queue`

use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;
use windlass_core::balance::Strategy;
use windlass_core::ids::QueueName;

use super::exit::Exit;
use super::output::{Output, Table};
use super::servers::{Call, Client};

/// Show, configure, pause and resume queues.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the queues
    #[command(visible_alias = "ls")]
    List,
    /// Show a queue
    Get {
        /// The queue's name
        queue: QueueName,
    },
    /// Change a queue's settings
    Set {
        /// The queue's name
        queue: QueueName,
        /// How its tasks are spread over its workers: least_load, round_robin, random or weighted
        #[arg(long)]
        strategy: Strategy,
    },
    /// Let a queue's tasks wait
    Pause {
        /// The queue's name
        queue: QueueName,
    },
    /// Let a paused queue's tasks go on
    Resume {
        /// The queue's name
        queue: QueueName,
    },
}

/// Does it, and prints the result.
pub(super) async fn run(
    command: QueueCommand,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let call = match command {
        QueueCommand::List => {
            let queues = client.ask(&Call::get("/api/v1/queues")).await?;
            output.result(&queues, |queues| Table::of(&queues["queues"], &COLUMNS))?;
            return Ok(Exit::Done.into());
        }
        QueueCommand::Get { queue } => Call::get(format!("/api/v1/queues/{queue}")),
        QueueCommand::Set { queue, strategy } => {
            Call::new(Method::PUT, format!("/api/v1/queues/{queue}"))
                .body(json!({"strategy": strategy}).to_string())
        }
        QueueCommand::Pause { queue } => Call::post(format!("/api/v1/queues/{queue}/pause")),
        QueueCommand::Resume { queue } => Call::post(format!("/api/v1/queues/{queue}/resume")),
    };
    let queue = client.ask(&call).await?;
    output.result(&queue, |queue| Table::of(&json!([queue]), &COLUMNS))?;
    Ok(Exit::Done.into())
}

const COLUMNS: [(&str, &str); 8] = [
    ("QUEUE", "name"),
    ("STRATEGY", "strategy"),
    ("PAUSED", "paused"),
    ("PENDING", "pending"),
    ("RUNNING", "running"),
    ("DELAYED", "delayed"),
    ("DEAD", "dead"),
    ("OLDEST", "oldest_at"),
];
