//! `windlass doctor`: looks for what is wrong, and says what to do about it.

mod checks;
mod facts;

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use self::checks::{Finding, Verdict};
use self::facts::Facts;
use super::exit::Exit;
use super::output::{Cell, Output, Paint, Table, cell};
use super::servers::Client;
use crate::client::ServerUrl;

/// What is looked at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Look at these members of etcd too
    #[arg(
        long,
        env = "WINDLASS_ETCD",
        value_name = "URL,…",
        value_delimiter = ','
    )]
    pub etcd: Vec<ServerUrl>,
    /// The certificates that sign etcd's
    #[arg(long, env = "WINDLASS_ETCD_CA", value_name = "FILE", requires = "etcd")]
    pub etcd_ca: Option<std::path::PathBuf>,
}

/// Looks, and prints a line for each thing that was looked at. Fails when something is bad.
pub(super) async fn run(
    args: &DoctorArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let facts = Facts::gather(args, client).await?;
    let findings = checks::of(&facts);
    let worst = findings.iter().map(|it| it.result).max();
    let result = worst.unwrap_or(Verdict::Ok);
    let told = serde_json::json!({"result": result, "checks": findings});
    output.result(&told.to_string(), |_| table(&findings))?;
    Ok(match result {
        Verdict::Ok | Verdict::Warn => Exit::Done,
        Verdict::Bad => Exit::Failed,
    }
    .into())
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new(&["CHECK", "RESULT", "MESSAGE", "ADVICE"]);
    for finding in findings {
        let (word, paint) = match finding.result {
            Verdict::Ok => ("ok", Paint::Good),
            Verdict::Warn => ("warn", Paint::Warn),
            Verdict::Bad => ("bad", Paint::Bad),
        };
        let advice = cell(&Value::from(finding.advice.clone()));
        table.row([
            Cell::from(finding.check),
            Cell::new(word, paint),
            Cell::from(&finding.message),
            Cell::from(advice),
        ]);
    }
    table
}
