//! The commands.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a command line is for"
)]

mod cells;
mod explore;
mod planted;
mod pool;
mod replay;
mod run;
mod say;
mod seeds;
mod shell;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use windlass_sim::report::Verdict;

use self::seeds::SeedRange;

/// Simulates whole Windlass deployments under faults: the real state machines, on one clock, from a seed.
///
/// Exit codes: 0 nothing wrong; 2 usage; 10 something happened that may not; 11 something did not happen that must; 12 the
/// same seed ran differently; 13 the simulator proved nothing; 101 a machine panicked.
#[derive(Debug, Parser)]
#[command(name = "windlass-sim", version, about, long_about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds.
    Run(run::Run),
    /// Run one scenario or seed again, told in words.
    Replay(replay::Replay),
    /// Try every fault at every call of small stories, and every two of them.
    Explore(explore::Explore),
    /// Count the seeds that it takes to find each planted bug.
    Planted(planted::Planted),
    /// Cut a failing scenario down to what it needs to fail.
    Shrink(replay::Shrink),
    /// Simulate the plan for several cells: queues that move between stores.
    Cells(cells::Cells),
    /// Run the shell's real driver loop on a simulated executor, one process a seed.
    Shell(shell::Shell),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Where scenarios, traces and pictures of failures go.
#[derive(Debug, clap::Args)]
struct Artefacts {
    /// Where scenarios and timelines of failures are written.
    #[arg(long, value_name = "DIR", default_value = "target/sim")]
    artefacts: PathBuf,
}

/// Parses the command line, and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                Verdict::Usage.code()
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let verdict = match cli.command {
        Command::Run(run) => run.run(),
        Command::Replay(replay) => replay.run(),
        Command::Explore(explore) => explore.run(),
        Command::Planted(planted) => planted.run(),
        Command::Shrink(shrink) => shrink.run(),
        Command::Cells(cells) => cells.run(),
        Command::Shell(shell) => shell.run(),
    };
    match verdict {
        Ok(verdict) => ExitCode::from(verdict.code()),
        Err(error) => {
            eprintln!("windlass-sim: {error:#}");
            ExitCode::from(Verdict::Usage.code())
        }
    }
}
