//! The report of what was measured is whole, whatever the figures, and tells what could not be measured.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// Measures these rows in small sizes: the exit code, the report for programs, and the one for people.
fn measured(rows: &str, env: &[(&str, &Path)]) -> (Option<i32>, Value, String) {
    let folder = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_windlass-bench"))
        .args(["--small", "--rows", rows, "--output", "json", "--folder"])
        .arg(folder.path())
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.stdout.is_empty(), "{said}");
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let written: Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(printed, written);
    (output.status.code(), written, read("report.md"))
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name);
    row.unwrap_or_else(|| panic!("no row {name} in {report}"))
}

#[test]
fn every_row_tells_goal_figure_ratio_and_how() {
    let rows = "scheduler,embedded,etcd,latency,memory,leave";
    let (code, report, text) = measured(rows, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let names: Vec<&str> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    let expected = [
        "embedded_tasks_per_second",
        "etcd_share_of_limit",
        "etcd_tasks_per_second",
        "latency_p50_ms",
        "latency_p99_ms",
        "memory_after_submissions_mib",
        "memory_fresh_mib",
        "worker_left_ms",
        "scheduler_killed_wait_ms",
    ];
    assert_eq!(names, expected, "in the table's order");
    for name in names {
        let row = row(&report, name);
        let [goal, reached, ratio] =
            ["goal", "reached", "ratio"].map(|it| row[it].as_f64().unwrap());
        assert!(goal > 0.0 && reached >= 0.0, "{row}");
        assert!((ratio - reached / goal).abs() < 1e-9, "{row}");
        let is_met = match row["aim"].as_str().unwrap() {
            "at_least" => reached >= goal,
            "at_most" => reached <= goal,
            other => panic!("{other}"),
        };
        assert_eq!(row["met"], is_met, "{row}");
        assert!(!row["how"].as_str().unwrap().is_empty(), "{row}");
    }
    for of_etcd in ["runs", "limits"] {
        let round = &report["details"]["etcd"][of_etcd][0];
        for cost in [
            "cpu_us_per_task",
            "store_transactions_per_task",
            "etcd_cpu_us_per_task",
        ] {
            assert!(round[cost].is_number(), "{cost} in {round}");
        }
    }
    let memory = &report["details"]["memory"];
    assert!(memory["cold_start_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(memory["tasks"], 2_500);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(text.contains("| figure | goal | reached | reached / goal | |"));
    assert!(text.contains("these figures mean nothing"), "{text}");
}

#[test]
fn a_row_that_cannot_be_measured_says_so_and_hinders_no_other() {
    let nowhere = Path::new("/nowhere/etcd");
    let (code, report, text) = measured("embedded,latency", &[("WINDLASS_ETCD", nowhere)]);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(row(&report, "embedded_tasks_per_second")["reached"].is_number());
    let failed = row(&report, "latency_p99_ms");
    assert!(failed["reached"].is_null() && failed["ratio"].is_null());
    assert_eq!(failed["met"], false);
    let how = failed["how"].as_str().unwrap();
    assert!(how.starts_with("NOT MEASURED: "), "{how}");
    assert!(text.contains("**NOT MEASURED**"), "{text}");
}
