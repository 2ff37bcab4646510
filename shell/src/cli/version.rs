//! `windlass version`: what this program was built from, and whether the servers are of the same version.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{self, Output, Table, cell};
use super::servers::{Call, Client};

/// This program's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a server may take to tell its own.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Whose version.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Ask no server
    #[arg(long)]
    pub client: bool,
}

/// Prints it.
pub(super) async fn run(
    args: &VersionArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let server = if args.client {
        None
    } else {
        let asked = tokio::time::timeout(ANSWER_MAX, of_server(client)).await;
        asked.unwrap_or(None)
    };
    match &server {
        None if args.client => {}
        None => output::note("no server told its version"),
        Some(version) => {
            if let Some(skew) = skew(VERSION, version) {
                output::note(&format!("warning: {skew}"));
            }
        }
    }
    let told = json!({
        "version": VERSION,
        "commit": known(env!("WINDLASS_BUILD_COMMIT")),
        "rustc": known(env!("WINDLASS_BUILD_RUSTC")),
        "target": known(env!("WINDLASS_BUILD_TARGET")),
        "server_version": server,
    });
    output.result(&told.to_string(), table)?;
    Ok(Exit::Done.into())
}

fn known(fact: &'static str) -> Option<&'static str> {
    (fact != "unknown").then_some(fact)
}

fn table(told: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "VALUE"]);
    for (name, value) in told.as_object().into_iter().flatten() {
        table.row([name.clone(), cell(value)]);
    }
    table
}

/// The version of the server that answers, as the first of its schedulers tells it.
pub(super) async fn of_server(client: &Client) -> Option<String> {
    let nodes = client.ask(&Call::get("/api/v1/nodes")).await.ok()?;
    let nodes: Value = serde_json::from_str(&nodes).ok()?;
    let mut nodes = nodes["nodes"].as_array()?.iter();
    let scheduler = nodes.find(|node| node["role"] == "scheduler")?;
    Some(scheduler["version"].as_str()?.to_owned())
}

/// What is wrong with a client and a server of these versions, if anything is. Until 1.0 a minor version may break things.
pub(super) fn skew(client: &str, server: &str) -> Option<String> {
    let told = || format!("this program is of version {client}, the server of version {server}");
    match (series(client), series(server)) {
        (Some(ours), Some(theirs)) if ours == theirs => None,
        (Some(_), Some(_)) => Some(format!("{}: they may not understand each other", told())),
        (None, _) | (_, None) => Some(told()),
    }
}

/// The part of a version that must be equal.
fn series(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(['.', '-', '+']);
    let major: u64 = parts.next()?.parse().ok()?;
    let minor: u64 = parts.next()?.parse().ok()?;
    Some(if major == 0 { (0, minor) } else { (major, 0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_may_break_each_other_are_told() {
        for (client, server) in [("0.1.0", "0.1.7"), ("1.2.3", "1.9.0-rc.1")] {
            assert_eq!(skew(client, server), None, "{client} {server}");
        }
        for (client, server) in [("0.1.0", "0.2.0"), ("1.0.0", "2.0.0"), ("1.0.0", "x")] {
            assert!(skew(client, server).is_some(), "{client} {server}");
        }
    }
}
