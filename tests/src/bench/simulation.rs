//! How fast the simulator is.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

use super::command::{self, number};
use super::part::Measured;
use super::sizes::Sizes;
use crate::binary;

/// # Errors
/// When a seed fails, or the simulator cannot be run.
pub(super) fn measure(sizes: &Sizes) -> anyhow::Result<Measured> {
    let simulator = binary::simulator();
    let one = run(&simulator, sizes.seeds, "1")?;
    let two = run(&simulator, sizes.seeds_on_two, "2")?;
    let events = number(&one, "events")? / number(&one, "real_seconds")?;
    // Scaled, so that a small size is not taken for a fast machine.
    let scale = 1_000.0 / number(&two, "seeds")?;
    Ok(Measured {
        reached: vec![events, number(&two, "real_seconds")? * scale],
        how: format!(
            "`windlass-sim run --seeds 0..{} --jobs 1`, events by seconds of the wall's clock; `--seeds 0..{} --jobs 2`, \
             seconds of the wall's clock. One seed in a hundred runs twice, and its events count once.",
            sizes.seeds, sizes.seeds_on_two
        ),
        details: json!({"one_core": one, "two_cores": two}),
    })
}

fn run(simulator: &Path, seeds: u64, jobs: &str) -> anyhow::Result<Value> {
    let seeds = format!("0..{seeds}");
    let mut command = Command::new(simulator);
    command.args(["run", "--seeds", &seeds, "--jobs", jobs, "-o", "json"]);
    let mut summary = command::json(&mut command)?;
    ensure!(
        summary["violations"] == json!([]),
        "a seed failed: {}",
        summary["violations"]
    );
    if let Some(summary) = summary.as_object_mut() {
        summary.retain(|name, _| name != "faults" && name != "marks");
    }
    Ok(summary)
}
