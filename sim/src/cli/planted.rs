//! `windlass-sim planted`: how many seeds it takes to find each planted bug.

use anyhow::{Context, bail};
use serde::Serialize;
use windlass_core::planted::{self, BUGS, Bug, Place, PlantError};
use windlass_sim::attempt::attempt;
use windlass_sim::checkers::Rule;
use windlass_sim::report::Verdict;
use windlass_sim::scenario::Scenario;

use super::{Output, pool};

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
        let missed = rows
            .iter()
            .any(|row| row.absent.is_none() && row.seeds.is_none());
        match self.output {
            Output::Json => println!(
                "{}",
                serde_json::to_string_pretty(&rows).context("the table is plain data")?
            ),
            Output::Text => sum_up(&rows),
        }
        Ok(if missed {
            Verdict::Harness
        } else {
            Verdict::Passed
        })
    }

    fn hunt(&self, bug: &'static Bug) -> Row {
        let mut row = Row {
            name: bug.name,
            what: bug.what,
            absent: None,
            seeds: None,
            rule: None,
            expected: false,
            breaks: bug.breaks,
        };
        let hidden = match bug.place {
            Place::Core(_) => planted::plant(bug.name).is_err(),
            Place::Sim(_) => false,
            Place::Unbuilt(why) | Place::Impossible(why) | Place::Harmless(why) => {
                row.absent = Some(format!("{}: {why}", word(bug.place)));
                true
            }
        };
        if !hidden {
            let blind = matches!(bug.place, Place::Sim(_));
            self.search(&mut row, blind);
        }
        let _ = planted::uproot();
        if self.output == Output::Text {
            print(&row);
        }
        row
    }

    /// Runs seeds until one fails. The canary's checkers say nothing, and the harness must notice that by its own means.
    fn search(&self, row: &mut Row, canary: bool) {
        let jobs = self.jobs.unwrap_or_else(pool::jobs_default);
        let range = self.first..self.first + self.seeds;
        if canary {
            let _ = planted::plant("M-01");
        }
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

fn word(place: Place) -> &'static str {
    match place {
        Place::Core(_) | Place::Sim(_) => "planted",
        Place::Unbuilt(_) => "not built yet",
        Place::Impossible(_) => "impossible",
        Place::Harmless(_) => "harmless",
    }
}

fn print(row: &Row) {
    let result = match (&row.absent, row.seeds, row.rule) {
        (Some(why), ..) => format!("     -  {why}"),
        (None, Some(seeds), Some(rule)) if row.expected => format!("{seeds:>6}  {rule}"),
        (None, Some(seeds), Some(rule)) => format!(
            "{seeds:>6}  {rule} (expected one of {})",
            row.breaks.join(" ")
        ),
        (None, ..) => format!("ALIVE   expected one of {}", row.breaks.join(" ")),
    };
    println!("{:<34} {result}", row.name);
}

fn sum_up(rows: &[Row]) {
    let planted: Vec<&Row> = rows.iter().filter(|row| row.absent.is_none()).collect();
    let mut seeds: Vec<u64> = planted.iter().filter_map(|row| row.seeds).collect();
    seeds.sort_unstable();
    let expected = planted.iter().filter(|row| row.expected).count();
    println!(
        "{} planted, {} found ({expected} by a rule that they must break), median {} seeds, worst {}; {} not planted",
        planted.len(),
        seeds.len(),
        seeds.get(seeds.len() / 2).copied().unwrap_or(0),
        seeds.last().copied().unwrap_or(0),
        rows.len() - planted.len(),
    );
}
