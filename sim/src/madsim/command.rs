//! One seed, one process.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Options;
use super::report::Report;
use super::run::run;
use super::sweep::sweep;
use crate::report::Verdict;

/// Runs one seed, or sees to it that several are run, and tells how it ended, on standard output.
pub fn command(options: &Options) -> io::Result<Verdict> {
    let seeds = &options.seeds;
    if seeds.is_empty() {
        writeln!(
            io::stderr(),
            "windlass-sim: there are no seeds in {seeds:?}"
        )?;
        return Ok(Verdict::Usage);
    }
    if seeds.end - seeds.start > 1 {
        return sweep(options);
    }
    #[allow(
        clippy::disallowed_types,
        reason = "how long a run takes outside of its own time is what a person waits"
    )]
    let began = std::time::Instant::now();
    let report = run(seeds.start, options.trace, || began.elapsed());
    if options.json {
        writeln!(io::stdout(), "{}", report.to_json())?;
    } else {
        writeln!(io::stdout(), "{report}")?;
    }
    if options.twice && report.verdict() == Verdict::Passed {
        return again(&report);
    }
    Ok(report.verdict())
}

/// A process for one seed, which tells its report as JSON.
pub(super) fn process(seed: u64) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["shell", "--seed", &seed.to_string(), "-o", "json"]);
    command.stderr(Stdio::inherit());
    Ok(command)
}

/// Runs the same seed in another process, and compares.
fn again(first: &Report) -> io::Result<Verdict> {
    let seed = first.seed;
    let second = process(seed)?.output()?;
    let second: Option<Value> = serde_json::from_slice(&second.stdout).ok();
    let second = second.as_ref().and_then(|it| it["trace"].as_str());
    let first = first.trace.to_string();
    match second {
        None => {
            writeln!(io::stderr(), "seed {seed}: the second process told nothing")?;
            Ok(Verdict::Harness)
        }
        Some(second) if second != first => {
            let what = format!("two processes, two runs: trace {first}, trace {second}");
            writeln!(io::stderr(), "seed {seed}: {what}")?;
            Ok(Verdict::NotDeterministic)
        }
        Some(_) => Ok(Verdict::Passed),
    }
}
