//! `windlass node`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::exit::{CliError, Exit};
use super::output::{self, Column, Kind, Listing, Output};
use super::reason::ReasonArgs;
use super::servers::{self, Call, Client};
use super::{ids, values};

/// Show schedulers and workers, drain workers.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the live nodes
    #[command(visible_alias = "ls")]
    List,
    /// Show a live node
    Get {
        /// The node's id, or the start of it
        #[arg(value_parser = values::filled)]
        id: String,
    },
    /// Tell workers to take no new tasks and to hand back what they have not started
    Drain {
        /// The workers' ids, or the starts of them
        #[arg(required = true, value_name = "ID", value_parser = values::filled)]
        ids: Vec<String>,
        /// Why; for the audit log.
        #[command(flatten)]
        reason: ReasonArgs,
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
            output.list(&nodes, &NODES)?;
        }
        NodeCommand::Get { id } => {
            let nodes = nodes(client).await?;
            let id = ids::pick("node", &id, &names(&nodes))?;
            let named = |node: &&Value| node["id"] == id;
            if let Some(node) = nodes.iter().find(named) {
                output.fields(&node.to_string(), "id", &FIELDS)?;
            }
        }
        NodeCommand::Drain { ids, reason } => return drain(&ids, &reason, client, &output).await,
    }
    Ok(Exit::Done.into())
}

async fn nodes(client: &Client) -> Result<Vec<Value>, CliError> {
    let mut page: Value = servers::parsed(&client.ask(&Call::get("/api/v1/nodes")).await?)?;
    match page["nodes"].take() {
        Value::Array(nodes) => Ok(nodes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Ok(Vec::new())
        }
    }
}

fn names(nodes: &[Value]) -> Vec<String> {
    let names = nodes.iter().filter_map(|node| node["id"].as_str());
    names.map(str::to_owned).collect()
}

/// Drains each of `given`; one that fails does not keep the others.
async fn drain(
    given: &[String],
    reason: &ReasonArgs,
    client: &Client,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let names = names(&nodes(client).await?);
    let mut drained = Vec::new();
    let mut failed = Vec::new();
    for given in given {
        let asked = match ids::pick("node", given, &names) {
            Ok(id) => {
                let call = Call::post(format!("/api/v1/nodes/{id}/drain"));
                client.ask(&reason.on(call)).await
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(node) => drained.push(node),
            Err(error) => failed.push(error),
        }
    }
    match (given, &*drained) {
        ([_], [node]) => output.row(node, &NODES)?,
        ([_], _) => {}
        (_, nodes) => output.list(&format!("{{\"nodes\":[{}]}}", nodes.join(",")), &NODES)?,
    }
    for error in &failed {
        output::note(&format!("error: {error}"));
    }
    Ok(failed.first().map_or(Exit::Done, |error| error.exit).into())
}

/// Lists of nodes.
pub(super) const NODES: Listing = Listing {
    list: "nodes",
    id: "id",
    columns: &[
        Column::new("NODE", "id").whole(),
        Column::new("ROLE", "role"),
        Column::new("VERSION", "version"),
        Column::new("CLAIMS", "claims"),
        Column::new("SLOTS", "slots"),
        Column::new("WEIGHT", "weight"),
        Column::new("QUEUES", "queues"),
        Column::new("DRAINING", "draining").kind(Kind::Flag),
        Column::new("STARTED", "started_at").kind(Kind::Time),
        Column::new("TYPES", "types").wide(),
        Column::new("LABELS", "labels").wide(),
        Column::new("RUN", "total_run").wide(),
        Column::new("CPU_PERMILLE", "cpu_permille").wide(),
        Column::new("MEMORY_BYTES", "memory_bytes").wide(),
    ],
};

/// The fields of a node, in the API's order.
const FIELDS: [(&str, Kind); 14] = [
    ("id", Kind::Plain),
    ("role", Kind::Plain),
    ("version", Kind::Plain),
    ("started_at", Kind::Time),
    ("slots", Kind::Plain),
    ("claims", Kind::Plain),
    ("weight", Kind::Plain),
    ("queues", Kind::Plain),
    ("types", Kind::Plain),
    ("labels", Kind::Plain),
    ("draining", Kind::Flag),
    ("total_run", Kind::Plain),
    ("cpu_permille", Kind::Plain),
    ("memory_bytes", Kind::Plain),
];
