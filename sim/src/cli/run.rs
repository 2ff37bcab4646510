//! `windlass-sim run`: many seeds, on all cores, with one summary.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use windlass_sim::attempt::attempt;
use windlass_sim::checkers::Rule;
use windlass_sim::report::{Failure, Report, Summary, Verdict};
use windlass_sim::scenario::Scenario;

use super::say::say;
use super::{Artefacts, Output, SeedRange, pool, replay, seeds};

/// One seed in this many is run twice, to see that it runs the same.
const TWICE: u64 = 100;
/// From this many seeds on every kind of fault and every mark must have been hit.
const ENOUGH: u64 = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Which seeds; the end is excluded.
    #[arg(
        long,
        value_name = "A..B",
        default_value = "0..1000",
        conflicts_with = "commit"
    )]
    seeds: SeedRange,
    /// Take seeds that this commit's hash names instead, as many as --count says.
    #[arg(long, value_name = "HASH")]
    commit: Option<String>,
    /// How many seeds --commit takes.
    #[arg(long, default_value_t = 200, requires = "commit")]
    count: u64,
    /// Stop after this many seconds, with however many seeds were run.
    #[arg(long, value_name = "SECONDS")]
    time_max: Option<u64>,
    /// How many seeds run at the same time; as many as there are cores by default.
    #[arg(long, short)]
    jobs: Option<usize>,
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// How to print the summary.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    artefacts: Artefacts,
}

/// A seed's run, and whether it was run twice.
struct Done {
    seed: u64,
    report: Report,
    again: Option<Report>,
}

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let range = match &self.commit {
            Some(hash) => seeds::of_commit(hash, self.count),
            None => self.seeds.clone(),
        };
        if self.jobs == Some(0) {
            bail!("--jobs: at least one");
        }
        let summary = self.all(&range);
        let verdict = summary.verdict(ENOUGH);
        match self.output {
            Output::Json => say(format_args!(
                "{}",
                serde_json::to_string_pretty(&summary).context("the summary is plain data")?
            )),
            Output::Text => print(&summary, verdict),
        }
        if let Some(first) = summary.violations.first() {
            replay::explain(first.seed, &self.artefacts.artefacts)?;
        }
        Ok(verdict)
    }

    #[allow(
        clippy::disallowed_types,
        reason = "the binary reads the clock for its report; no run does"
    )]
    fn all(&self, range: &SeedRange) -> Summary {
        let begun = std::time::Instant::now();
        let mut summary = Summary::default();
        let jobs = self.jobs.unwrap_or_else(pool::jobs_default);
        pool::in_order(range.0.clone(), jobs, one, |_, done| {
            add(&mut summary, &done);
            let failed = !self.keep_going && !summary.violations.is_empty();
            let late = self
                .time_max
                .is_some_and(|max| begun.elapsed().as_secs() >= max);
            !failed && !late
        });
        summary.real_seconds = begun.elapsed().as_secs_f64();
        summary
    }
}

fn one(seed: u64) -> Done {
    let scenario = Scenario::of_seed(seed);
    let report = attempt(&scenario);
    let again = seed.is_multiple_of(TWICE).then(|| attempt(&scenario));
    Done {
        seed,
        report,
        again,
    }
}

fn add(summary: &mut Summary, done: &Done) {
    summary.add(done.seed, &done.report);
    if let Some(again) = &done.again {
        summary.repeated += 1;
        if again.trace != done.report.trace {
            summary.violations.push(Failure {
                seed: done.seed,
                rule: Rule::Harness,
                what: format!(
                    "the same seed ran differently: trace {} and then {}",
                    done.report.trace, again.trace
                ),
                code: Verdict::NotDeterministic.code(),
            });
        }
    }
}

fn print(summary: &Summary, verdict: Verdict) {
    let rate = summary.events as f64 / summary.real_seconds.max(1e-9);
    say(format_args!(
        "{} seeds, {:.0} simulated s in {:.1} s, {} events ({:.0}/s), {} tasks, {} seeds run twice, trace {}",
        summary.seeds,
        summary.simulated_seconds,
        summary.real_seconds,
        summary.events,
        rate,
        summary.tasks,
        summary.repeated,
        summary.trace,
    ));
    let list = |all: &BTreeMap<&str, u64>| {
        all.iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    say(format_args!("faults: {}", list(&summary.faults)));
    say(format_args!("marks: {}", list(&summary.marks)));
    for failure in &summary.violations {
        say(format_args!(
            "FAILED seed {}: {}",
            failure.seed, failure.what
        ));
    }
    if verdict == Verdict::Harness && summary.violations.is_empty() {
        say(format_args!(
            "FAILED: never hit: {}",
            summary.never().join(", ")
        ));
    }
}
