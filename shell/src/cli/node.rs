//! `windlass node`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use windlass_core::ids::NodeId;

use super::exit::Exit;
use super::output::{Output, Table};
use super::servers::{Call, Client};

/// Show schedulers and workers, drain workers.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the live nodes
    #[command(visible_alias = "ls")]
    List,
    /// Tell a worker to take no new tasks and to hand back what it has not started
    Drain {
        /// The worker's id
        id: NodeId,
    },
}

/// Does it, and prints the result.
pub(super) async fn run(
    command: NodeCommand,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match command {
        NodeCommand::List => {
            let nodes = client.ask(&Call::get("/api/v1/nodes")).await?;
            output.result(&nodes, |nodes| Table::of(&nodes["nodes"], &COLUMNS))?;
        }
        NodeCommand::Drain { id } => {
            let node = client
                .ask(&Call::post(format!("/api/v1/nodes/{id}/drain")))
                .await?;
            output.result(&node, |node| Table::of(&json!([node]), &COLUMNS))?;
        }
    }
    Ok(Exit::Done.into())
}

const COLUMNS: [(&str, &str); 9] = [
    ("NODE", "id"),
    ("ROLE", "role"),
    ("VERSION", "version"),
    ("CLAIMS", "claims"),
    ("SLOTS", "slots"),
    ("WEIGHT", "weight"),
    ("QUEUES", "queues"),
    ("DRAINING", "draining"),
    ("STARTED", "started_at"),
];
