//! `windlass-sim planted`: how many seeds it takes to find each planted bug; and of those that no seed finds, which kept
//! scenario or explored story does.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Serialize;
use windlass_core::planted::{self, BUGS, Bug, Place, PlantError};
use windlass_sim::attempt::{attempt, attempt_silenced};
use windlass_sim::checkers::Rule;
use windlass_sim::explore::Story;
use windlass_sim::perturb::Target;
use windlass_sim::report::{Report, Verdict};
use windlass_sim::scenario::Scenario;

use super::say::say;
use super::{Output, pool};

/// A bug that is found within a few seeds, for the canary.
const KNOWN: &str = "M-33";
/// How many seeds are a few.
const KNOWN_SEEDS: u64 = 20;

#[derive(Debug, clap::Args)]
pub(crate) struct Planted {
    /// Only these bugs.
    bugs: Vec<String>,
    /// How many seeds are tried before a bug counts as not found.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Where the scenarios of former failures are kept.
    #[arg(long, value_name = "DIR", default_value = "sim/regressions")]
    kept: PathBuf,
    /// How many seeds run at the same time; as many as there are cores by default.
    #[arg(long, short)]
    jobs: Option<usize>,
    /// How to print the table.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    /// Why it is not planted.
    absent: Option<String>,
    /// How many seeds it took.
    seeds: Option<u64>,
    /// The rule that was seen broken.
    rule: Option<Rule>,
    /// How the harness noticed, if not by a seed.
    noticed: Option<String>,
    /// Whether that is one of the rules that it must break.
    expected: bool,
    breaks: &'static [&'static str],
}

impl Planted {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        if planted::uproot() == Err(PlantError::NotCompiled) {
            bail!(
                "this build holds no planted bugs. Build with RUSTFLAGS='--cfg planted_bug=\"all\"' into a target folder of its own, or call 'make planted'"
            );
        }
        for name in &self.bugs {
            if BUGS.iter().all(|bug| bug.name != name) {
                bail!("no planted bug is called '{name}'");
            }
        }
        let chosen = BUGS
            .iter()
            .filter(|bug| self.bugs.is_empty() || self.bugs.iter().any(|name| name == bug.name));
        let rows: Vec<Row> = chosen.map(|bug| self.hunt(bug)).collect();
        match self.output {
            Output::Json => say(format_args!(
                "{}",
                serde_json::to_string_pretty(&rows).context("the table is plain data")?
            )),
            Output::Text => sum_up(&rows),
        }
        Ok(verdict(&rows))
    }

    fn row_of(bug: &'static Bug) -> Row {
        Row {
            name: bug.name,
            what: bug.what,
            absent: None,
            seeds: None,
            rule: None,
            noticed: None,
            expected: false,
            breaks: bug.breaks,
        }
    }

    fn hunt(&self, bug: &'static Bug) -> Row {
        let mut row = Self::row_of(bug);
        let hidden = match bug.place {
            Place::Core(_) => planted::plant(bug.name).is_err(),
            Place::Sim(_) => true,
            Place::Tested(_) => {
                row.noticed = Some(format!("by the test {}", bug.needs));
                true
            }
            Place::Unbuilt(why) | Place::Impossible(why) | Place::Harmless(why) => {
                row.absent = Some(format!("{}: {why}", word(bug.place)));
                true
            }
        };
        if matches!(bug.place, Place::Sim(_)) {
            self.silence(&mut row);
        } else if !hidden {
            self.search(&mut row, self.seeds, attempt);
            if row.seeds.is_none() {
                row.noticed = self.replay_kept().or_else(explore);
            }
        }
        let _ = planted::uproot();
        if self.output == Output::Text {
            print(&row);
        }
        row
    }

    /// Runs the kept scenarios until one fails.
    fn replay_kept(&self) -> Option<String> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.kept)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        files.iter().find_map(|path| {
            let scenario = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
            let rule = attempt(&scenario).violations.first()?.rule;
            let name = path.file_stem()?.to_string_lossy();
            Some(format!("{rule}, by the kept scenario {name}"))
        })
    }

    /// The canary: with checkers that say nothing, a bug that they are known to find at once stays unseen. This command
    /// must notice by its own means: by its verdict on that table of one row.
    fn silence(&self, row: &mut Row) {
        let bug = BUGS
            .iter()
            .find(|bug| bug.name == KNOWN)
            .expect("the table has it");
        let mut told = Self::row_of(bug);
        let mut silent = Self::row_of(bug);
        if planted::plant(KNOWN).is_ok() {
            self.search(&mut told, KNOWN_SEEDS, attempt);
            self.search(&mut silent, KNOWN_SEEDS, attempt_silenced);
        }
        let heard = verdict(&[told]) == Verdict::Passed;
        if heard && verdict(&[silent]) == Verdict::Harness {
            row.noticed = Some(format!(
                "{KNOWN} stays alive for {KNOWN_SEEDS} seeds when every checker is silent, and the verdict is {:?}",
                Verdict::Harness
            ));
        }
    }

    /// Runs seeds until one fails.
    fn search(&self, row: &mut Row, seeds: u64, attempt: impl Fn(&Scenario) -> Report + Sync) {
        let jobs = self.jobs.unwrap_or_else(pool::jobs_default);
        let range = self.first..self.first + seeds;
        let job = |seed| {
            attempt(&Scenario::of_seed(seed))
                .violations
                .into_iter()
                .next()
        };
        pool::in_order(range, jobs, job, |seed, found| {
            let Some(violation) = found else {
                return true;
            };
            row.seeds = Some(seed - self.first + 1);
            row.rule = Some(violation.rule);
            row.expected = row.breaks.contains(&violation.rule.to_string().as_str());
            false
        });
    }
}

/// Plays every story with every fault, and with every two, until one fails. A panic is a failure as well.
fn explore() -> Option<String> {
    let goes_wrong = |story: &Story, plan: &[Target]| {
        panic::catch_unwind(AssertUnwindSafe(|| story.play(plan).is_err())).unwrap_or(true)
    };
    Story::all().iter().find_map(|story| {
        let plans = panic::catch_unwind(AssertUnwindSafe(|| story.plans(true)));
        let faults = match plans {
            Ok(Ok(plans)) => plans.iter().find(|plan| goes_wrong(story, plan))?.len(),
            Ok(Err(_)) | Err(_) => 0,
        };
        Some(format!(
            "by the story '{}' with {faults} faults",
            story.name
        ))
    })
}

/// What the table says of the harness: it passes when it found whatever is planted.
fn verdict(rows: &[Row]) -> Verdict {
    let missed = |row: &Row| row.absent.is_none() && row.seeds.is_none() && row.noticed.is_none();
    if rows.iter().any(missed) {
        Verdict::Harness
    } else {
        Verdict::Passed
    }
}

fn word(place: Place) -> &'static str {
    match place {
        Place::Core(_) | Place::Tested(_) | Place::Sim(_) => "planted",
        Place::Unbuilt(_) => "not built yet",
        Place::Impossible(_) => "impossible",
        Place::Harmless(_) => "harmless",
    }
}

fn print(row: &Row) {
    let result = match (&row.absent, row.seeds, row.rule) {
        (None, None, _) if row.noticed.is_some() => {
            format!("     -  {}", row.noticed.as_deref().unwrap_or_default())
        }
        (Some(why), ..) => format!("     -  {why}"),
        (None, Some(seeds), Some(rule)) if row.expected => format!("{seeds:>6}  {rule}"),
        (None, Some(seeds), Some(rule)) => format!(
            "{seeds:>6}  {rule} (expected one of {})",
            row.breaks.join(" ")
        ),
        (None, ..) => format!("ALIVE   expected one of {}", row.breaks.join(" ")),
    };
    say(format_args!("{:<34} {result}", row.name));
}

fn sum_up(rows: &[Row]) {
    let planted: Vec<&Row> = rows.iter().filter(|row| row.absent.is_none()).collect();
    let mut seeds: Vec<u64> = planted.iter().filter_map(|row| row.seeds).collect();
    seeds.sort_unstable();
    let expected = planted.iter().filter(|row| row.expected).count();
    say(format_args!(
        "{} planted, {} noticed ({expected} by a rule that they must break), median {} seeds, worst {}; {} not planted",
        planted.len(),
        planted
            .iter()
            .filter(|row| row.seeds.is_some() || row.noticed.is_some())
            .count(),
        seeds.get(seeds.len() / 2).copied().unwrap_or(0),
        seeds.last().copied().unwrap_or(0),
        rows.len() - planted.len(),
    ));
}
