//! Judges a worker that talks HTTP: starts servers of its own, provokes every clause of the protocol, and says which the
//! worker under test keeps.

mod bench;
mod clauses;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use self::bench::Bench;
use super::output::{Output, Table, note};
use super::values::duration;
use super::{CliError, Exit};

/// `windlass conformance`
#[derive(Debug, Subcommand)]
pub enum ConformanceCommand {
    /// Judge a worker that talks HTTP by the protocol of workers
    Worker(ConformanceArgs),
}

/// `windlass conformance worker`
#[derive(Debug, Args)]
pub struct ConformanceArgs {
    /// The session that the worker is told to ask for, as WINDLASS_TTL
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = ttl)]
    pub ttl: Duration,
    /// Only the clauses whose names contain this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// The worker, which runs the types echo, sleep and fail as every worker does. WINDLASS_SERVER and WINDLASS_TTL are
    /// in its environment; it ends on SIGTERM
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if (2..=30).contains(&ttl.as_secs()) {
        Ok(ttl)
    } else {
        Err("must be from 2s to 30s".to_owned())
    }
}

/// What became of one clause.
struct Judged {
    name: &'static str,
    says: &'static str,
    fault: Option<String>,
}

/// Runs the command. Fails when the worker breaks a clause.
pub(super) async fn run(command: ConformanceCommand, output: Output) -> anyhow::Result<ExitCode> {
    let ConformanceCommand::Worker(args) = command;
    let mut judged = Vec::new();
    for clause in clauses::ALL {
        if args
            .only
            .as_ref()
            .is_some_and(|only| !clause.name.contains(only.as_str()))
        {
            continue;
        }
        // Each clause has servers and a worker of its own: what one breaks does not reach the next.
        let mut bench = Bench::start(&args.command, args.ttl).await?;
        let result = (clause.provoke)(&mut bench).await;
        bench.end().await;
        let fault = result.err().map(|error| format!("{error:#}"));
        note(&format!(
            "{}: {}",
            clause.name,
            fault.as_deref().unwrap_or("kept")
        ));
        judged.push(Judged {
            name: clause.name,
            says: clause.says,
            fault,
        });
    }
    if judged.is_empty() {
        return Err(CliError::new(Exit::Usage, "--only: no clause has such a name").into());
    }
    show(&judged, output)?;
    let kept = judged.iter().all(|it| it.fault.is_none());
    Ok(if kept { Exit::Done } else { Exit::Failed }.into())
}

fn show(judged: &[Judged], output: Output) -> anyhow::Result<()> {
    let clauses: Vec<_> = judged
        .iter()
        .map(|it| json!({"clause": it.name, "says": it.says, "kept": it.fault.is_none(), "fault": it.fault}))
        .collect();
    let value = json!({ "clauses": clauses });
    output.result(&value.to_string(), |_| {
        let mut table = Table::new(&["CLAUSE", "KEPT", "WHAT IT SAYS"]);
        for it in judged {
            let kept = if it.fault.is_none() { "yes" } else { "NO" };
            let says = it.fault.as_deref().unwrap_or(it.says);
            table.row(vec![it.name.to_owned(), kept.to_owned(), says.to_owned()]);
        }
        table
    })?;
    Ok(())
}
