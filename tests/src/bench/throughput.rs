//! `windlass bench`, again and again, each time on a store of its own.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::command::{self, number};
use super::distribution::median;
use super::part::Measured;
use super::sizes::Sizes;
use crate::etcd::Etcd;
use crate::{binary, usage};

/// The rate at which waits are measured.
const RATE: &str = "100";

/// Everything through the embedded store.
///
/// # Errors
/// When a measurement fails.
pub(super) fn embedded(sizes: &Sizes, folder: &Path) -> anyhow::Result<Measured> {
    let tasks = sizes.embedded_tasks.to_string();
    let rounds: Vec<Value> = (0..sizes.rounds)
        .map(|_| {
            let mut command = Command::new(binary::windlass());
            command.args(["bench", "run", "--store", "embedded", "-o", "json"]);
            // A store in memory would not be durable; the report lies on a disk.
            command.args(["--tasks", &tasks]).env("TMPDIR", folder);
            command::json(&mut command).map(brief)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Measured {
        reached: vec![middle(&rounds, "tasks_per_second")?],
        how: format!(
            "`windlass bench run --store embedded --tasks {tasks}`, the median of {}.",
            sizes.rounds
        ),
        details: json!({"rounds": rounds}),
    })
}

/// Everything through etcd, and the same writes alone, in turn.
///
/// # Errors
/// When a measurement fails.
pub(super) fn etcd(sizes: &Sizes) -> anyhow::Result<Measured> {
    let (mut runs, mut limits) = (Vec::new(), Vec::new());
    for round in 0..sizes.rounds {
        // Whoever goes first may find the machine cooler.
        let order = if round % 2 == 0 {
            ["limit", "run"]
        } else {
            ["run", "limit"]
        };
        for what in order {
            let measured = on_etcd(what, sizes.etcd_tasks, &[])?;
            if what == "run" {
                &mut runs
            } else {
                &mut limits
            }
            .push(measured);
        }
    }
    let run = middle(&runs, "tasks_per_second")?;
    let limit = middle(&limits, "tasks_per_second")?;
    Ok(Measured {
        reached: vec![run / limit, run],
        how: format!(
            "`windlass bench limit` and `windlass bench run` in turn, {} tasks, a fresh etcd each, which syncs its log to the \
             disk; medians of {} each.",
            sizes.etcd_tasks, sizes.rounds
        ),
        details: json!({"limit_tasks_per_second": limit, "runs": runs, "limits": limits}),
    })
}

/// How long tasks wait when there is little to do.
///
/// # Errors
/// When a measurement fails.
pub(super) fn latency(sizes: &Sizes) -> anyhow::Result<Measured> {
    let rounds: Vec<Value> = (0..sizes.rounds)
        .map(|_| on_etcd("run", sizes.latency_tasks, &["--rate", RATE]))
        .collect::<anyhow::Result<_>>()?;
    Ok(Measured {
        reached: vec![
            middle(&rounds, "submit_to_start_ms.p50")?,
            middle(&rounds, "submit_to_start_ms.p99")?,
        ],
        how: format!(
            "`windlass bench run --rate {RATE} --tasks {}`, a fresh etcd each; the median of the quantiles of {}.",
            sizes.latency_tasks, sizes.rounds
        ),
        details: json!({"rounds": rounds}),
    })
}

/// Measures on an etcd that nobody used before, and what that etcd used.
fn on_etcd(what: &str, tasks: u64, more: &[&str]) -> anyhow::Result<Value> {
    let etcd = Etcd::durable(&[]);
    let used = || usage::processor_time(etcd.id()).context("etcd has ended");
    let before = used()?;
    let mut command = Command::new(binary::windlass());
    command.args(["bench", what, "--store", etcd.endpoint(), "-o", "json"]);
    command.args(["--tasks", &tasks.to_string()]).args(more);
    let mut measured = command::json(&mut command).map(brief)?;
    let etcd_us = (used()? - before).as_secs_f64() * 1e6;
    measured["etcd_cpu_us_per_task"] = (etcd_us / number(&measured, "tasks")?).into();
    Ok(measured)
}

/// Without what fills pages: the bars of distributions.
fn brief(mut measured: Value) -> Value {
    for name in ["submit_to_ack_ms", "submit_to_start_ms", "submit_to_end_ms"] {
        if let Some(spread) = measured[name].as_object_mut() {
            spread.remove("bars");
        }
    }
    measured
}

fn middle(rounds: &[Value], path: &str) -> anyhow::Result<f64> {
    let all: Vec<f64> = rounds
        .iter()
        .map(|round| number(round, path))
        .collect::<anyhow::Result<_>>()?;
    median(all).context("nothing was measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_left_out_and_all_else_is_kept() {
        let full = json!({"tasks": 3, "submit_to_start_ms": {"p50": 1.5, "bars": [{}]}});
        let kept = json!({"tasks": 3, "submit_to_start_ms": {"p50": 1.5}});
        assert_eq!(
            brief(full)["submit_to_start_ms"],
            kept["submit_to_start_ms"]
        );
        let limit = json!({"tasks": 3});
        assert_eq!(brief(limit)["tasks"], 3);
    }

    #[test]
    fn a_round_without_its_figure_is_an_error() {
        let rounds = [json!({"x": 1.0}), json!({"x": 3.0})];
        assert_eq!(middle(&rounds, "x").unwrap(), 2.0);
        assert!(middle(&rounds, "y").is_err() && middle(&[], "x").is_err());
    }
}
