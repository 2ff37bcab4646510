//! A short run of chaos breaks no rule; and whoever tampers with its records is found out, by the rule that he broke.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_tests::chaos::cage;
use windlass_tests::chaos::judge::judge;
use windlass_tests::{size, tell};

/// Runs the plan of a seed, and keeps its records.
fn run(seed: &str, seconds: usize, members: &str, folder: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_windlass-chaos"))
        .args([
            "run",
            "--keep",
            "--seed",
            seed,
            "--seconds",
            &seconds.to_string(),
        ])
        .args(["--members", members, "--rate", "30", "--folder"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(status.success(), "{status}: what it said is above");
}

/// The rules that a run's records break, once `tamper` has changed them.
fn broken(records: &Path, tamper: impl FnOnce(&Path)) -> BTreeSet<String> {
    let folder = TempDir::new().unwrap();
    for entry in fs::read_dir(records).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if [".jsonl", ".json", ".ledger"]
            .iter()
            .any(|it| name.ends_with(it))
        {
            fs::copy(&path, folder.path().join(&name)).unwrap();
        }
    }
    tamper(folder.path());
    let violations = judge(folder.path()).unwrap().violations;
    violations.iter().map(|it| it.rule.to_string()).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect()
}

fn write(path: &Path, lines: &[Value]) {
    let lines: Vec<String> = lines.iter().map(|it| format!("{it}\n")).collect();
    fs::write(path, lines.concat()).unwrap();
}

/// Where a revision first writes a key that `is_it` and that nothing touches later: its line, and where in it.
fn find(history: &[Value], is_it: impl Fn(&str) -> bool) -> (usize, usize) {
    let mut last = BTreeMap::new();
    for (line, revision) in history.iter().enumerate() {
        for (at, written) in revision["e"].as_array().unwrap().iter().enumerate() {
            let key = written["k"].as_str().unwrap();
            last.insert(key.to_owned(), (line, at, written["n"] == 1));
        }
    }
    let found = last.iter().find(|(key, (.., fresh))| *fresh && is_it(key));
    let (line, at, _) = *found.expect("a run leaves such a key").1;
    (line, at)
}

fn outcome(key: &str) -> bool {
    key.starts_with("/tasks/") && key.ends_with("/outcome")
}

fn in_history(folder: &Path, tamper: impl FnOnce(&mut Vec<Value>)) {
    let path: PathBuf = folder.join("history.jsonl");
    let mut history = lines(&path);
    tamper(&mut history);
    write(&path, &history);
}

fn in_journal(folder: &Path, tamper: impl FnOnce(&mut Vec<Value>)) {
    let path: PathBuf = folder.join("journal.jsonl");
    let mut journal = lines(&path);
    tamper(&mut journal);
    write(&path, &journal);
}

/// A worker's ledger that has something in it.
fn ledger(folder: &Path) -> PathBuf {
    let all = (1..=4).map(|n| folder.join(format!("w{n}.ledger")));
    all.into_iter()
        .find(|it| fs::metadata(it).is_ok_and(|it| it.len() > 0))
        .unwrap()
}

/// Whether the machine lets chaos break a cluster. Where it does not, everybody is told that nothing was tested.
fn runs_here() -> bool {
    let Err(why) = cage::possible() else {
        return true;
    };
    tell(&format!(
        "=== NOT TESTED: this machine does not let chaos cut networks: {why:#} ==="
    ));
    false
}

#[test]
fn a_short_run_breaks_no_rule_and_every_tampering_with_its_records_is_noticed() {
    if !runs_here() {
        return;
    }
    let records = TempDir::new().unwrap();
    let records = records.path().join("run");
    run("1", size("WINDLASS_TEST_CHAOS_SECONDS", 30), "3", &records);
    assert_eq!(broken(&records, |_| {}), BTreeSet::new());
    let noticed = |rule: &str, tamper: &dyn Fn(&Path)| {
        let broken = broken(&records, tamper);
        tell(&format!("{rule}: {broken:?}"));
        assert!(broken.contains(rule), "{rule} is not among {broken:?}");
    };
    // The end of a task is lost.
    noticed("S1", &|folder| {
        in_history(folder, |history| {
            let (line, at) = find(history, outcome);
            history[line]["e"].as_array_mut().unwrap().remove(at);
        });
    });
    // A task ends a second time.
    noticed("S5", &|folder| {
        in_history(folder, |history| {
            let (line, at) = find(history, outcome);
            let mut again = history[line]["e"][at].clone();
            let last = history.last().unwrap().clone();
            again["n"] = json!(2);
            let revision = last["r"].as_u64().unwrap() + 1;
            history.push(json!({"r": revision, "t": last["t"], "e": [again]}));
        });
    });
    // Somebody is told of a task that is nowhere.
    noticed("S1", &|folder| {
        in_journal(folder, |journal| {
            let told = journal
                .iter_mut()
                .rev()
                .find(|it| it[1]["Answered"]["reply"]["Submitted"][0]["Accepted"].is_object());
            let accepted = &mut told.unwrap()[1]["Answered"]["reply"]["Submitted"][0]["Accepted"];
            accepted["id"] = json!("0197f5a0-0000-7000-8000-000000000001");
        });
    });
    // A handler starts twice under one fence.
    noticed("S7", &|folder| {
        let path = ledger(folder);
        let text = fs::read_to_string(&path).unwrap();
        let start = text.lines().find(|it| it.starts_with("start ")).unwrap();
        let (rest, _) = start.rsplit_once(' ').unwrap();
        fs::write(&path, format!("{text}{rest} 1\n")).unwrap();
    });
    // A task is recorded as completed by nobody.
    noticed("S6", &|folder| {
        let path = ledger(folder);
        let text = fs::read_to_string(&path).unwrap();
        let kept = text.lines().filter(|it| !it.starts_with("done "));
        let kept: Vec<String> = kept.map(|it| format!("{it}\n")).collect();
        fs::write(&path, kept.concat()).unwrap();
    });
    // A worker's key outlives its worker.
    noticed("S16", &|folder| {
        in_history(folder, |history| {
            let mut writes = history
                .iter_mut()
                .flat_map(|it| it["e"].as_array_mut().unwrap());
            let is_node = |it: &&mut Value| it["k"].as_str().unwrap().starts_with("/nodes/worker/");
            let node = writes.find(is_node).unwrap();
            node.as_object_mut().unwrap().remove("l");
        });
    });
    // A task is accepted, and no lane counts it.
    noticed("S10", &|folder| {
        in_history(folder, |history| {
            let is_task = |key: &str| key.starts_with("/tasks/") && key.matches('/').count() == 2;
            let (line, _) = find(history, is_task);
            let writes = history[line]["e"].as_array_mut().unwrap();
            writes.retain(|it| !it["k"].as_str().unwrap().starts_with("/stats/"));
        });
    });
}
