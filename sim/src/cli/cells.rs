//! `windlass-sim cells`: the plan for several cells, under faults; and the bugs that its checkers must find.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use windlass_sim::cells::bug::Bug;
use windlass_sim::cells::check::Violation;
use windlass_sim::cells::plan::Plan;
use windlass_sim::cells::{Report, attempt, attempt_told};
use windlass_sim::report::Verdict;

use super::say::say;
use super::{Output, SeedRange, pool};

/// From this many seeds on everything that can happen must have happened.
const ENOUGH: u64 = 1_000;
/// One seed in this many is run twice, to see that it runs the same.
const TWICE: u64 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Cells {
    /// Which seeds; the end is excluded.
    #[arg(long, value_name = "A..B", default_value = "0..1000")]
    seeds: SeedRange,
    /// Tell the run of the first seed in words, and its plan.
    #[arg(long)]
    told: bool,
    /// With this mistake on purpose.
    #[arg(long, conflicts_with = "planted")]
    bug: Option<String>,
    /// Count the seeds, of busy runs, until each mistake on purpose is found.
    #[arg(long)]
    planted: bool,
    /// How many seeds run at the same time; as many as there are cores by default.
    #[arg(long, short)]
    jobs: Option<usize>,
    /// How to print the summary.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

/// What many runs amount to.
#[derive(Debug, Default, Serialize)]
struct Sum {
    seeds: u64,
    simulated_seconds: f64,
    real_seconds: f64,
    events: u64,
    tasks: u64,
    moves: u64,
    counts: BTreeMap<&'static str, u64>,
    repeated: u64,
    violations: Vec<Failure>,
    trace: String,
}

/// A seed that failed.
#[derive(Debug, Serialize)]
struct Failure {
    seed: u64,
    #[serde(flatten)]
    violation: Option<Violation>,
    what: String,
    code: u8,
}

/// A row of the table of bugs.
#[derive(Debug, Serialize)]
struct Row {
    bug: &'static str,
    what: &'static str,
    /// How many seeds it took.
    seeds: Option<u64>,
    /// What was found broken.
    found: Option<Violation>,
    /// Whether that is one of the rules that it must break.
    expected: bool,
}

impl Cells {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let bug = match self.bug.as_deref() {
            None => None,
            Some(name) => Some(Bug::named(name).ok_or_else(|| unknown(name))?),
        };
        if self.jobs == Some(0) {
            bail!("--jobs: at least one");
        }
        if self.told {
            return Ok(tell(self.seeds.0.start, bug));
        }
        if self.planted {
            return self.table();
        }
        let sum = self.all(bug);
        let verdict = sum.verdict();
        match self.output {
            Output::Json => say(format_args!("{}", json(&sum)?)),
            Output::Text => sum.print(verdict),
        }
        Ok(verdict)
    }

    fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(pool::jobs_default)
    }

    #[allow(
        clippy::disallowed_types,
        reason = "the binary reads the clock for its report; no run does"
    )]
    fn all(&self, bug: Option<Bug>) -> Sum {
        let begun = std::time::Instant::now();
        let (mut sum, mut hash) = (Sum::default(), 0_u64);
        let job = |seed: u64| {
            let plan = Plan::of_seed(seed);
            let again = seed
                .is_multiple_of(TWICE)
                .then(|| attempt(&plan, bug).trace);
            (attempt(&plan, bug), again)
        };
        let range = self.seeds.0.clone();
        pool::in_order(range, self.jobs(), job, |seed, (report, again)| {
            hash = hash.rotate_left(1) ^ report.trace;
            sum.add(seed, report, again);
            sum.violations.is_empty()
        });
        sum.trace = format!("{hash:016x}");
        sum.real_seconds = begun.elapsed().as_secs_f64();
        sum
    }

    fn table(&self) -> anyhow::Result<Verdict> {
        let rows: Vec<Row> = Bug::ALL.iter().map(|bug| self.hunt(*bug)).collect();
        if self.output == Output::Json {
            say(format_args!("{}", json(&rows)?));
        }
        let all = rows.iter().all(|row| row.expected);
        Ok(if all {
            Verdict::Passed
        } else {
            Verdict::Harness
        })
    }

    fn hunt(&self, bug: Bug) -> Row {
        let mut row = Row {
            bug: bug.name(),
            what: bug.what(),
            seeds: None,
            found: None,
            expected: false,
        };
        let range = self.seeds.0.clone();
        let first = range.start;
        let job = |seed| attempt(&Plan::busy(seed), Some(bug)).violations;
        pool::in_order(range, self.jobs(), job, |seed, found| {
            let Some(violation) = found.into_iter().next() else {
                return true;
            };
            row.seeds = Some(seed - first + 1);
            row.expected = bug.breaks().contains(&violation.rule);
            row.found = Some(violation);
            false
        });
        if self.output == Output::Text {
            let found = match (&row.found, row.seeds) {
                (Some(found), Some(seeds)) if row.expected => format!("{seeds:>6}  {found}"),
                (Some(found), Some(seeds)) => {
                    format!("{seeds:>6}  {found} (expected one of {:?})", bug.breaks())
                }
                _ => format!(" ALIVE  expected one of {:?}", bug.breaks()),
            };
            say(format_args!("{:<20} {found}", row.bug));
        }
        row
    }
}

fn unknown(name: &str) -> anyhow::Error {
    let known: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    anyhow!("no bug is called '{name}'; there are {}", known.join(", "))
}

fn json(what: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string_pretty(what).context("the summary is plain data")
}

fn tell(seed: u64, bug: Option<Bug>) -> Verdict {
    let plan = Plan::of_seed(seed);
    let report = attempt_told(&plan, bug);
    say(format_args!("{plan:#?}"));
    for line in &report.lines {
        say(format_args!("{line}"));
    }
    for violation in &report.violations {
        say(format_args!("FAILED seed {seed}: {violation}"));
    }
    verdict_of(report.violations.first())
}

fn verdict_of(violation: Option<&Violation>) -> Verdict {
    match violation {
        None => Verdict::Passed,
        Some(it) if it.rule.is_liveness() => Verdict::Liveness,
        Some(_) => Verdict::Safety,
    }
}

impl Sum {
    fn add(&mut self, seed: u64, report: Report, again: Option<u64>) {
        self.seeds += 1;
        self.simulated_seconds += report.simulated_ms as f64 / 1_000.0;
        self.events += report.events;
        self.tasks += report.tasks;
        self.moves += report.moves;
        for (what, count) in report.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.repeated += u64::from(again.is_some());
        if again.is_some_and(|again| again != report.trace) {
            self.violations.push(Failure {
                seed,
                violation: None,
                what: "the same seed ran differently".to_owned(),
                code: Verdict::NotDeterministic.code(),
            });
        }
        if let Some(violation) = report.violations.into_iter().next() {
            self.violations.push(Failure {
                seed,
                what: violation.to_string(),
                code: verdict_of(Some(&violation)).code(),
                violation: Some(violation),
            });
        }
    }

    /// What should have happened, and never did.
    fn never(&self) -> Vec<&'static str> {
        let all = windlass_sim::cells::COUNTED.iter().copied();
        all.filter(|what| self.counts.get(what).is_none_or(|count| *count == 0))
            .collect()
    }

    fn verdict(&self) -> Verdict {
        let codes = [
            Verdict::Safety,
            Verdict::Liveness,
            Verdict::NotDeterministic,
        ];
        let first = self.violations.first().map(|failure| failure.code);
        match codes.into_iter().find(|it| Some(it.code()) == first) {
            Some(verdict) => verdict,
            None if self.seeds >= ENOUGH && !self.never().is_empty() => Verdict::Harness,
            None => Verdict::Passed,
        }
    }

    fn print(&self, verdict: Verdict) {
        say(format_args!(
            "{} seeds, {:.0} simulated s in {:.1} s, {} events, {} tasks, {} moves, {} seeds run twice, trace {}",
            self.seeds,
            self.simulated_seconds,
            self.real_seconds,
            self.events,
            self.tasks,
            self.moves,
            self.repeated,
            self.trace,
        ));
        let counts: Vec<_> = self
            .counts
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        say(format_args!("{}", counts.join(", ")));
        for failure in &self.violations {
            say(format_args!(
                "FAILED seed {}: {}",
                failure.seed, failure.what
            ));
        }
        if verdict == Verdict::Harness {
            say(format_args!("FAILED: never: {}", self.never().join(", ")));
        }
    }
}
