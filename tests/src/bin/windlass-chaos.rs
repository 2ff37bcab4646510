//! Breaks a real cluster on purpose, and judges what came of it. `make chaos` runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use windlass_tests::chaos::report::Report;
use windlass_tests::chaos::run::{self, Options};
use windlass_tests::chaos::{cage, handler, judge};
use windlass_tests::tell;

/// Breaks a real cluster on purpose, and judges what came of it.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs a plan of faults, and judges it. Exit code 1: a rule was broken; 3: the run itself failed, nothing is proved
    Run {
        /// Names the plan of faults
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// For how long things are broken
        #[arg(long, default_value_t = 300)]
        seconds: u64,
        /// How many members etcd has: 1 or 3
        #[arg(long, default_value_t = 3)]
        members: usize,
        /// Tasks a second
        #[arg(long, default_value_t = 60)]
        rate: u64,
        /// Where records go; made anew
        #[arg(long)]
        folder: Option<PathBuf>,
        /// Keep the records of a run without violations, too
        #[arg(long)]
        keep: bool,
        /// How the report is written
        #[arg(long, short, default_value = "text")]
        output: Output,
    },
    /// Judges the records of a run again
    Judge {
        /// Where they are
        folder: PathBuf,
    },
    /// Does one attempt of a task, as workers ask
    #[command(hide = true)]
    Handle {
        /// Where to note it
        ledger: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let result = match Args::parse().what {
        What::Handle { ledger } => handler::handle(&ledger).map(|()| ExitCode::SUCCESS),
        What::Judge { folder } => judged(&folder),
        What::Run {
            seed,
            seconds,
            members,
            rate,
            folder,
            keep,
            output,
        } => {
            let folder = folder.unwrap_or_else(|| format!("target/chaos/seed-{seed}").into());
            let options = Options {
                seed,
                lasts: Duration::from_secs(seconds),
                members,
                rate,
                folder,
            };
            broken(&options, keep, output)
        }
    };
    result.unwrap_or_else(|error| {
        complain(&format!("{error:#}"));
        ExitCode::from(3)
    })
}

fn broken(options: &Options, keep: bool, output: Output) -> anyhow::Result<ExitCode> {
    run::check(options)?;
    cage::enter()?;
    let ran = run::run(options)?;
    let report = Report::of(options, ran)?;
    tell(&match output {
        Output::Text => report.text(&options.folder),
        Output::Json => serde_json::to_string_pretty(&report)?,
    });
    if !report.violations.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if !keep {
        std::fs::remove_dir_all(&options.folder)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn judged(folder: &std::path::Path) -> anyhow::Result<ExitCode> {
    let verdict = judge::judge(folder)?;
    tell(&format!("{verdict:#?}"));
    Ok(match verdict.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

#[allow(clippy::print_stderr, reason = "people read this")]
fn complain(what: &str) {
    eprintln!("windlass-chaos: {what}");
}
