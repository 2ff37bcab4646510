//! `windlass stats`

use std::process::ExitCode;

use serde_json::Value;

use super::exit::Exit;
use super::output::{Output, Table, cell};
use super::servers::{Call, Client};

/// Prints what is counted.
pub(super) async fn run(client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let stats = client.ask(&Call::get("/api/v1/stats")).await?;
    output.result(&stats, table)?;
    Ok(Exit::Done.into())
}

fn table(stats: &Value) -> Table {
    let mut table = Table::new(&["WHAT", "COUNT"]);
    for (name, value) in stats.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(parts) => {
                for (part, count) in parts {
                    table.row([format!("{name}.{part}"), cell(count)]);
                }
            }
            None => table.row([name.clone(), cell(value)]),
        }
    }
    table
}
