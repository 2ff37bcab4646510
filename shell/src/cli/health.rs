//! `windlass health`: a probe for images without a shell.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::exit::{CliError, Exit};
use super::output::{Output, Table, cell};
use super::servers::{Call, Client};
use super::values;
use crate::host::Health;

/// Ask whether a server lives, or a worker that writes a health file.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask for more: that the server can serve, or that the worker takes tasks
    #[arg(long)]
    pub ready: bool,
    /// Look at this file, which a worker writes (--health-file), and ask no server
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How old the worker's file may be
    #[arg(long, value_name = "DURATION", default_value = "15s", requires = "file", value_parser = values::positive_duration)]
    pub max_age: Duration,
    /// How long the server may take
    #[arg(long, value_name = "DURATION", default_value = "5s", conflicts_with = "file", value_parser = values::positive_duration)]
    pub timeout: Duration,
}

/// Succeeds when it is well.
pub(super) async fn run(
    args: HealthArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let found = match &args.file {
        Some(path) => {
            let health = Health::read(path, args.max_age)
                .map_err(|error| CliError::new(Exit::Unreachable, error.to_string()))?;
            if args.ready && !health.ready {
                let why = format!("the worker {} takes no tasks", health.node);
                return Err(CliError::new(Exit::Unreachable, why).into());
            }
            serde_json::to_string(&health)?
        }
        None => {
            let path = if args.ready { "/readyz" } else { "/livez" };
            let asked = tokio::time::timeout(args.timeout, client.ask(&Call::get(path))).await;
            asked.map_err(|_| CliError::new(Exit::TimedOut, "no server answered in time"))??
        }
    };
    output.result(&found, table)?;
    Ok(Exit::Done.into())
}

fn table(found: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (name, value) in found.as_object().into_iter().flatten() {
        table.row([name.clone(), cell(value)]);
    }
    table
}
