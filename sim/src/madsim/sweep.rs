//! Many seeds, each in a process of its own, and what they come to. The first that fails ends it.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write as _};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::available_parallelism;

use serde_json::{Value, json};

use super::Options;
use super::command::process;
use super::fault::Kind;
use crate::report::Verdict;

/// One of so many seeds is run in two processes.
const TWICE_EVERY: u64 = 100;
/// With so many seeds, each kind of fault must have happened.
const ALL_FAULTS_FROM: u64 = 300;

/// What several runs come to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    twice: u64,
    simulated_seconds: f64,
    events: u64,
    tasks: u64,
    faults: BTreeMap<String, u64>,
    violations: Vec<Value>,
}

/// Runs every seed, as many at a time as there are processors.
pub(super) fn sweep(options: &Options) -> io::Result<Verdict> {
    #[allow(
        clippy::disallowed_types,
        reason = "how long the runs take outside of their own time is what a person waits"
    )]
    let began = std::time::Instant::now();
    let jobs = available_parallelism().map_or(1, usize::from);
    let mut seeds = options.seeds.clone();
    let mut running: VecDeque<(u64, Child)> = VecDeque::new();
    let mut sum = Sum::default();
    let mut failed = None;
    loop {
        while running.len() < jobs
            && failed.is_none()
            && let Some(seed) = seeds.next()
        {
            let mut command = process(seed)?;
            if options.twice || seed.is_multiple_of(TWICE_EVERY) {
                command.arg("--twice");
                sum.twice += 1;
            }
            running.push_back((seed, command.stdout(Stdio::piped()).spawn()?));
        }
        let Some((seed, child)) = running.pop_front() else {
            break;
        };
        let output = child.wait_with_output()?;
        let verdict = verdict_of(output.status);
        let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        match report {
            Some(report) => sum.add(&report),
            None => sum.violations.push(json!("a process told nothing")),
        }
        if verdict != Verdict::Passed && failed.is_none() {
            failed = Some((seed, verdict));
        }
    }
    sum.tell(options.json, began.elapsed().as_secs_f64())?;
    if let Some((seed, verdict)) = failed {
        return explain(options, seed, verdict);
    }
    let missing = sum.missing();
    if sum.seeds >= ALL_FAULTS_FROM && !missing.is_empty() {
        let what = format!("these faults never happened: {missing:?}");
        writeln!(io::stderr(), "windlass-sim: {what}")?;
        return Ok(Verdict::Harness);
    }
    Ok(Verdict::Passed)
}

fn verdict_of(status: ExitStatus) -> Verdict {
    match status.code() {
        Some(0) => Verdict::Passed,
        Some(2) => Verdict::Usage,
        Some(10) => Verdict::Safety,
        Some(11) => Verdict::Liveness,
        Some(12) => Verdict::NotDeterministic,
        Some(101) => Verdict::Panicked,
        Some(_) | None => Verdict::Harness,
    }
}

/// Says which seed failed, how it is repeated, and, to people, what happened there.
fn explain(options: &Options, seed: u64, verdict: Verdict) -> io::Result<Verdict> {
    let program = std::env::current_exe()?;
    let program = program.display();
    let how = format!("again: {program} shell --seed {seed}, with --trace for everything");
    if !options.json {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command
            .args(["shell", "--seed", &seed.to_string()])
            .status()?;
    }
    writeln!(io::stderr(), "seed {seed} failed: {verdict:?}\n{how}")?;
    Ok(verdict)
}

impl Sum {
    fn add(&mut self, report: &Value) {
        self.seeds += 1;
        self.simulated_seconds += report["simulated_seconds"].as_f64().unwrap_or(0.0);
        self.events += report["events"].as_u64().unwrap_or(0);
        self.tasks += report["tasks"].as_u64().unwrap_or(0);
        for (kind, count) in report["faults"].as_object().into_iter().flatten() {
            *self.faults.entry(kind.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        let violations = report["violations"].as_array().into_iter().flatten();
        self.violations.extend(violations.cloned());
    }

    /// Faults that never happened.
    fn missing(&self) -> Vec<&'static str> {
        let all = Kind::ALL.into_iter().map(Kind::as_str);
        all.filter(|kind| self.faults.get(*kind).is_none_or(|count| *count == 0))
            .collect()
    }

    fn tell(&self, json: bool, real_seconds: f64) -> io::Result<()> {
        if json {
            let report = json!({
                "seeds": self.seeds,
                "twice": self.twice,
                "simulated_seconds": self.simulated_seconds,
                "real_seconds": real_seconds,
                "events": self.events,
                "tasks": self.tasks,
                "faults": self.faults,
                "violations": self.violations,
            });
            return writeln!(io::stdout(), "{report}");
        }
        let faults = self.faults.iter().map(|(k, n)| format!("{k} {n}"));
        writeln!(
            io::stdout(),
            "{} seeds ({} in two processes): {:.0} s simulated in {real_seconds:.1} s, {} events, \
             {} tasks, {} violations\nfaults: {}",
            self.seeds,
            self.twice,
            self.simulated_seconds,
            self.events,
            self.tasks,
            self.violations.len(),
            faults.collect::<Vec<_>>().join(", "),
        )
    }
}
