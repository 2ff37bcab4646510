//! A long run counts what it did and judges it, however short it is.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_soak_counts_every_task_at_its_end_and_says_of_each_rule_whether_it_held() {
    let folder = TempDir::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_windlass-soak"))
        .args(["--rate", "200", "--seconds", "9", "--retention", "2"])
        .arg("--folder")
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Nothing is steady for nine seconds on a busy machine; but it was run, and judged.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    let report = String::from_utf8(output.stdout).unwrap();
    let whole = "- yes: each acknowledged task was completed once, and none is left (acknowledged 1800, accepted 1800, completed 1800";
    assert!(report.contains(whole), "{report}");
    let judged = report.lines().filter(|line| line.starts_with("- ")).count();
    assert_eq!(judged, 8, "{report}");
    let text = std::fs::read(folder.path().join("soak.json")).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    let parts = record["parts"].as_array().unwrap();
    let completed: f64 = parts
        .iter()
        .map(|it| it["completed"].as_f64().unwrap())
        .sum();
    assert!(
        (1_500.0..=1_800.0).contains(&completed),
        "the parts make up the whole: {completed}"
    );
    assert!(parts.iter().any(|it| it["file_bytes"].as_f64() > Some(0.0)));
    assert!(parts.iter().all(|it| it["etcd_bytes"].as_f64() > Some(0.0)));
}
