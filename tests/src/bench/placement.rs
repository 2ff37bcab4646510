//! The core's own measurement of placement decisions.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::command::{self, number};
use super::part::Measured;
use crate::binary;

/// As the measurement of the core names them.
const STRATEGIES: [&str; 4] = ["least_load", "round_robin", "random", "weighted"];
const WORKERS: &str = "10000";

/// Builds it.
///
/// # Errors
/// When it cannot be built.
pub(super) fn build() -> anyhow::Result<()> {
    run(bench().arg("--no-run"))
}

/// # Errors
/// When the measurement fails, or leaves no results.
pub(super) fn measure(folder: &Path) -> anyhow::Result<Measured> {
    let results = folder.join("criterion");
    // What an earlier run left is no result of this one.
    if results.exists() {
        std::fs::remove_dir_all(&results)?;
    }
    let wanted = format!("placement/.*/{WORKERS}$");
    run(bench()
        .args(["--", &wanted])
        .env("CRITERION_HOME", &results))?;
    let mut rates = BTreeMap::new();
    for strategy in STRATEGIES {
        let file = results.join(format!("placement/{strategy}/{WORKERS}/new/estimates.json"));
        let nanos = number(&command::read(&file)?, "slope.point_estimate")?;
        rates.insert(strategy, 1e9 / nanos);
    }
    let slowest = rates.values().copied().reduce(f64::min);
    Ok(Measured {
        reached: vec![slowest.context("nothing was measured")?],
        how: "`cargo bench -p windlass-core -- placement`: a decision is a pick that is held, with the release of an older \
              one, among 10,000 workers that are half full; the slowest of the four strategies."
            .to_owned(),
        details: json!({"decisions_per_second": rates}),
    })
}

fn bench() -> Command {
    let mut command = Command::new(binary::cargo());
    command
        .args(["bench", "--locked", "--package", "windlass-core"])
        .args(["--bench", "core"])
        .current_dir(binary::repository());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("cargo cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails: {said}");
    Ok(())
}
