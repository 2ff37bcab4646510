//! `windlass audit`: who did what.

use std::process::ExitCode;

use clap::Args;

use super::exit::Exit;
use super::output::{Column, Kind, Listing, Output};
use super::servers::{Call, Client};

/// How much of it.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// How many actions at most, the latest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub limit: u64,
}

/// Prints the last actions that the server remembers.
pub(super) async fn run(
    args: &AuditArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let call = Call::get("/api/v1/audit").query("limit", Some(args.limit.to_string()));
    output.list(&client.ask(&call).await?, &RECORDS)?;
    Ok(Exit::Done.into())
}

const RECORDS: Listing = Listing {
    list: "records",
    id: "request_id",
    columns: &[
        Column::new("AT", "at").kind(Kind::Time),
        Column::new("PRINCIPAL", "principal"),
        Column::new("METHOD", "method"),
        Column::new("ROUTE", "route"),
        Column::new("OBJECT", "object"),
        Column::new("STATUS", "status"),
        Column::new("REASON", "reason"),
        Column::new("ROLE", "role").wide(),
        Column::new("SOURCE", "source").wide(),
        Column::new("REQUEST", "request_id").wide(),
    ],
};
