//! Measures what Windlass is to reach, and writes one report. `make bench` runs it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use windlass_tests::bench::part::Part;
use windlass_tests::bench::report::Report;
use windlass_tests::bench::run::{self, Options};
use windlass_tests::bench::sizes::Sizes;
use windlass_tests::tell;

/// Measures what Windlass is to reach, and writes report.md and report.json. Exit code 1: something could not be measured;
/// what was measured and missed is in the report
#[derive(Debug, Parser)]
struct Args {
    /// The rows to measure; all unless given
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    rows: Vec<Part>,
    /// How often each throughput is measured; the median counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = rounds)]
    rounds: usize,
    /// Only see that everything works: the figures mean nothing
    #[arg(long, conflicts_with = "rounds")]
    small: bool,
    /// Where the report goes
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// What is printed of it
    #[arg(long, short, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on".to_owned()),
        Ok(rounds) => Ok(rounds),
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut parts = args.rows;
    if parts.is_empty() {
        parts = Part::value_variants().to_vec();
    }
    // Nothing is measured twice, and the table has its order.
    parts.sort_unstable();
    parts.dedup();
    let sizes = if args.small {
        Sizes::small()
    } else {
        Sizes::full(args.rounds)
    };
    let options = Options {
        parts,
        sizes,
        folder: args.folder,
    };
    match run::run(&options, say).and_then(|report| print(&options, &report, args.output)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(3)
        }
    }
}

/// Says whether everything was measured.
fn print(options: &Options, report: &Report, output: Output) -> anyhow::Result<bool> {
    tell(&match output {
        Output::Text => report.text(),
        Output::Json => serde_json::to_string_pretty(report)?,
    });
    let folder = options.folder.display();
    say(&format!(
        "the report is in {folder}: report.md and report.json"
    ));
    Ok(report.is_whole())
}

#[allow(clippy::print_stderr, reason = "people read this")]
fn say(what: &str) {
    eprintln!("windlass-bench: {what}");
}
