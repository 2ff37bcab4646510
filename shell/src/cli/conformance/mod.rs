//! Judges a worker that talks HTTP: starts servers of its own, provokes every clause of the protocol, and says which the
//! worker under test keeps.

mod bench;
mod clauses;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use self::bench::Bench;
use self::clauses::Clause;
use super::output::{Output, Table, note};
use super::values::duration;
use super::{CliError, Exit};
use crate::host::Stop;

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
    /// How many clauses are judged at a time, each with servers and a worker of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
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
    let wanted = |clause: &&Clause| {
        let only = args.only.as_deref();
        only.is_none_or(|only| clause.name.contains(only))
    };
    let judging = stream::iter(clauses::ALL.iter().filter(wanted))
        .map(|clause| judge(clause, &args))
        .buffered(args.jobs.into())
        .try_collect::<Vec<Judged>>();
    let stop = Stop::listen().context("cannot listen for signals")?;
    let judged = tokio::select! { biased;
        judged = judging => judged?,
        // Workers, servers and stores go with what is given up here.
        () = stop.asked() => return Err(CliError::new(Exit::Failed, "told to stop before all was judged").into()),
    };
    if judged.is_empty() {
        return Err(CliError::new(Exit::Usage, "--only: no clause has such a name").into());
    }
    show(&judged, output)?;
    let kept = judged.iter().all(|it| it.fault.is_none());
    Ok(if kept { Exit::Done } else { Exit::Failed }.into())
}

/// Judges one clause, with servers and a worker of its own: what one breaks does not reach the next.
async fn judge(clause: &Clause, args: &ConformanceArgs) -> anyhow::Result<Judged> {
    let mut bench = Bench::start(&args.command, args.ttl).await?;
    let result = (clause.provoke)(&mut bench).await;
    bench.end().await;
    let fault = result.err().map(|error| format!("{error:#}"));
    let what = fault.as_deref().unwrap_or("kept");
    note(&format!("{}: {what}", clause.name));
    Ok(Judged {
        name: clause.name,
        says: clause.says,
        fault,
    })
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
