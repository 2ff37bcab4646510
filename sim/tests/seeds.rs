//! Seeds, scenarios and the witnesses of determinism: what the simulator promises of itself.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics when it fails, and takes its seeds from the environment"
)]

use std::fs;
use std::ops::Range;
use std::path::Path;

use windlass_sim::attempt::attempt;
use windlass_sim::nemesis::FaultKind;
use windlass_sim::report::{Report, Summary};
use windlass_sim::scenario::Scenario;

fn seeds() -> Range<u64> {
    let given = std::env::var("WINDLASS_SEEDS").ok();
    let parsed = given.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    parsed.unwrap_or(0..150)
}

fn assert_sound(what: &str, report: &Report) {
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{what}: {told:#?}");
}

#[test]
fn whatever_a_seed_draws_nothing_is_broken_and_much_happens() {
    let mut summary = Summary::default();
    for seed in seeds() {
        let report = attempt(&Scenario::of_seed(seed));
        assert_sound(&format!("seed {seed}"), &report);
        summary.add(seed, &report);
    }
    let hit = summary.faults.values().filter(|count| **count > 0).count();
    assert!(hit > 25, "only {hit} kinds of faults: {:?}", summary.faults);
    assert!(summary.tasks > 10 * summary.seeds && summary.events > 1_000 * summary.seeds);
}

#[test]
fn the_same_scenario_runs_the_same_way_twice() {
    for seed in [1, 7, 30, 77] {
        let scenario = Scenario::of_seed(seed);
        let (one, two) = (attempt(&scenario), attempt(&scenario));
        assert_eq!(
            (one.trace, one.events),
            (two.trace, two.events),
            "seed {seed}"
        );
        let other = attempt(&Scenario {
            seed: scenario.seed + 1,
            ..scenario
        });
        assert_ne!(one.trace, other.trace, "seed {seed}: chance has no say");
    }
}

/// A scenario that once failed is kept as it was cut down, because the generator may change.
#[test]
fn scenarios_that_once_failed_do_not_fail_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "json"));
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let scenario: Scenario = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_sound(&name, &attempt(&scenario));
    }
}

#[test]
fn the_readme_counts_the_kinds_of_faults_that_there_are() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let kinds = FaultKind::ALL.len();
    assert!(
        readme.contains(&format!("whole deployments under {kinds} kinds of faults")),
        "there are {kinds}"
    );
}
