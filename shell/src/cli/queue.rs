//! `windlass queue`

use std::process::ExitCode;

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;
use windlass_core::balance::Strategy;
use windlass_core::ids::QueueName;

use super::exit::Exit;
use super::output::{Column, Kind, Listing, Output};
use super::reason::ReasonArgs;
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
        /// Why; for the audit log.
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Let a queue's tasks wait
    Pause {
        /// The queue's name
        queue: QueueName,
        /// Why; for the audit log.
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Let a paused queue's tasks go on
    Resume {
        /// The queue's name
        queue: QueueName,
        /// Why; for the audit log.
        #[command(flatten)]
        reason: ReasonArgs,
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
            output.list(&queues, &QUEUES)?;
            return Ok(Exit::Done.into());
        }
        QueueCommand::Get { queue } => Call::get(format!("/api/v1/queues/{queue}")),
        QueueCommand::Set {
            queue,
            strategy,
            reason,
        } => {
            let call = Call::new(Method::PUT, format!("/api/v1/queues/{queue}"));
            reason.on(call.body(json!({"strategy": strategy}).to_string()))
        }
        QueueCommand::Pause { queue, reason } => {
            reason.on(Call::post(format!("/api/v1/queues/{queue}/pause")))
        }
        QueueCommand::Resume { queue, reason } => {
            reason.on(Call::post(format!("/api/v1/queues/{queue}/resume")))
        }
    };
    output.row(&client.ask(&call).await?, &QUEUES)?;
    Ok(Exit::Done.into())
}

/// Lists of queues.
pub(super) const QUEUES: Listing = Listing {
    list: "queues",
    id: "name",
    columns: &[
        Column::new("QUEUE", "name").whole(),
        Column::new("STRATEGY", "strategy"),
        Column::new("PAUSED", "paused").kind(Kind::Flag),
        Column::new("PENDING", "pending"),
        Column::new("RUNNING", "running"),
        Column::new("DELAYED", "delayed"),
        Column::new("DEAD", "dead").kind(Kind::Trouble),
        Column::new("OLDEST", "oldest_at").kind(Kind::Time),
    ],
};
