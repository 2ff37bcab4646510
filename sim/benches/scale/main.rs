//! How cost grows: one deployment after the other, each dimension in steps of ten, with all others fixed. Prints tables,
//! draws pictures, and fails when the cost of a task grows faster than it may.
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a benchmark reads the clock and prints"
)]

mod clock;
mod judge;
mod picture;
mod plan;
mod point;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::plan::Series;

/// Counts what is alive; the machines allocate as in the shipped binaries.
#[global_allocator]
static HEAP: cap::Cap<mimalloc::MiMalloc> = cap::Cap::new(mimalloc::MiMalloc, usize::MAX);

/// Measures what a task costs in deployments of many sizes.
#[derive(Debug, Parser)]
struct Args {
    /// Only these: waiting, workers, queues, own, schedulers, together.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Leave out the sizes that take minutes.
    #[arg(long)]
    quick: bool,
    /// Where pictures are written; none are without it.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// What cargo tells every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_wanted =
        |it: &Series| args.only.is_empty() || args.only.iter().any(|name| name == it.name);
    let mut series: Vec<Series> = plan::all(args.quick)
        .into_iter()
        .filter(is_wanted)
        .collect();
    for it in &mut series {
        it.measure();
        println!("{}", table::of(it));
    }
    if let Some(folder) = &args.pictures {
        for (name, picture) in picture::all(&series) {
            fs::write(folder.join(name), picture).expect("the folder for pictures can be written");
        }
    }
    let found: Vec<String> = series.iter().flat_map(judge::findings).collect();
    for finding in &found {
        println!("GROWS TOO FAST: {finding}");
    }
    if found.is_empty() {
        println!("Nothing grows faster than a logarithm.");
    }
    ExitCode::from(u8::from(!found.is_empty()))
}
