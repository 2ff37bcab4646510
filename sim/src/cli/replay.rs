//! `windlass-sim replay` and `shrink`: one scenario, closely.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use windlass_sim::attempt::{attempt, attempt_told};
use windlass_sim::report::{Report, Verdict};
use windlass_sim::runner::Watch;
use windlass_sim::scenario::Scenario;
use windlass_sim::shrink::shrink;
use windlass_sim::timeline;

use super::Artefacts;
use super::say::say;

/// How many lines a failure's report ends with.
const TAIL: usize = 40;

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A scenario's file, or a seed.
    scenario: String,
    /// How many of the last lines of the trace to print.
    #[arg(long, default_value_t = TAIL)]
    lines: usize,
    #[command(flatten)]
    artefacts: Artefacts,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Shrink {
    /// A scenario's file, or a seed.
    scenario: String,
    /// How many runs it may take.
    #[arg(long, default_value_t = 3_000)]
    tries: usize,
    #[command(flatten)]
    artefacts: Artefacts,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let (name, scenario) = load(&self.scenario)?;
        let report = tell(&name, &scenario, self.lines, &self.artefacts.artefacts)?;
        Ok(report.verdict())
    }
}

impl Shrink {
    pub(crate) fn run(self) -> anyhow::Result<Verdict> {
        let (name, scenario) = load(&self.scenario)?;
        let Some(first) = attempt(&scenario).violations.first().cloned() else {
            say(format_args!(
                "{name} does not fail: there is nothing to cut down"
            ));
            return Ok(Verdict::Passed);
        };
        let small = shrink(&scenario, first.rule, self.tries);
        let parts = |it: &Scenario| {
            format!(
                "{} nodes, {} acts, {} faults",
                it.nodes(),
                it.acts.len(),
                it.faults.len()
            )
        };
        say(format_args!(
            "{}: cut down from {} to {}, in {} runs",
            first.rule,
            parts(&scenario),
            parts(&small.scenario),
            small.runs
        ));
        let report = tell(
            &format!("{name}-small"),
            &small.scenario,
            TAIL,
            &self.artefacts.artefacts,
        )?;
        Ok(report.verdict())
    }
}

/// A scenario by its file, or by its seed.
fn load(text: &str) -> anyhow::Result<(String, Scenario)> {
    if let Ok(seed) = text.parse::<u64>() {
        return Ok((format!("seed-{seed}"), Scenario::of_seed(seed)));
    }
    let file = fs::read_to_string(text)
        .with_context(|| format!("'{text}' is neither a seed nor a file that can be read"))?;
    let scenario = serde_json::from_str(&file).with_context(|| format!("{text} is no scenario"))?;
    let stem = Path::new(text).file_stem().map_or_else(
        || "scenario".into(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    Ok((stem, scenario))
}

/// Says of a seed that failed what is known: its trace's end, its scenario and timeline, and how to see it again.
pub(crate) fn explain(seed: u64, artefacts: &Path) -> anyhow::Result<()> {
    tell(
        &format!("fail-{seed}"),
        &Scenario::of_seed(seed),
        TAIL,
        artefacts,
    )?;
    Ok(())
}

fn tell(name: &str, scenario: &Scenario, lines: usize, artefacts: &Path) -> anyhow::Result<Report> {
    let told = attempt_told(
        scenario,
        Watch {
            lines_max: lines.max(1),
            keep_facts: true,
            silenced: false,
        },
    );
    for line in &told.lines {
        eprintln!("{line}");
    }
    let report = told.report;
    for violation in &report.violations {
        eprintln!("FAILED {violation}");
    }
    let file = write(
        artefacts,
        &format!("{name}.json"),
        &serde_json::to_string_pretty(scenario)?,
    )?;
    let picture = write(
        artefacts,
        &format!("{name}.html"),
        &timeline::html(name, scenario, &told.facts, &report),
    )?;
    eprintln!(
        "{} events, {:.1} simulated s, trace {}\nscenario {}\ntimeline {}\nagain    cargo run --profile sim -p windlass-sim -- replay {}",
        report.events,
        report.simulated_ms as f64 / 1_000.0,
        report.trace,
        file.display(),
        picture.display(),
        file.display(),
    );
    Ok(report)
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
