//! Runs Windlass on an etcd for long at a steady rate, and judges what came of it. `make soak` runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use windlass_tests::soak::run::{self, Options};
use windlass_tests::soak::{report, verdict};
use windlass_tests::tell;

/// Runs Windlass on an etcd for long at a steady rate, and judges what came of it. Exit code 1: something grew, slowed down
/// or was lost; 3: the run itself failed, nothing is proved
#[derive(Debug, Parser)]
struct Args {
    /// Tasks a second
    #[arg(long, default_value_t = 7_300, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 1_800, value_parser = clap::value_parser!(u64).range(9..))]
    seconds: u64,
    /// For how many seconds ended tasks are kept
    #[arg(long, default_value_t = 30)]
    retention: u64,
    /// Where the report goes
    #[arg(long, default_value = "target/soak")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options {
        rate: args.rate,
        lasts: Duration::from_secs(args.seconds),
        retention: Duration::from_secs(args.retention),
        folder: args.folder,
    };
    match soak(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(3)
        }
    }
}

/// Whether all held.
fn soak(options: &Options) -> anyhow::Result<bool> {
    let soaked = run::run(options, say)?;
    run::write(&soaked, &options.folder)?;
    let findings = verdict::judge(&soaked);
    let text = report::text(&soaked, &findings);
    std::fs::write(options.folder.join("soak.md"), &text)?;
    tell(&text);
    Ok(findings.iter().all(|it| it.holds))
}

#[allow(clippy::print_stderr, reason = "people read this")]
fn say(what: &str) {
    eprintln!("windlass-soak: {what}");
}
