//! Many clients, many tasks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::Dev;

#[test]
fn fifty_clients_submit_and_wait_beside_each_other() {
    let dev = Dev::start(&["--workers", "2"]);
    std::thread::scope(|scope| {
        for client in 0..50 {
            let dev = &dev;
            scope.spawn(move || {
                for round in 0..10 {
                    let payload = json!([client, round]);
                    let id = dev.submit(&json!({"type": "echo", "payload": payload}));
                    assert_eq!(dev.ended(&id)["result"], payload);
                }
            });
        }
    });
    let tasks = dev.tasks();
    assert_eq!(
        (&tasks["total"], &tasks["completed"]),
        (&json!(500), &json!(500))
    );
}

#[test]
fn ten_thousand_lines_become_ten_thousand_completed_tasks() {
    let dev = Dev::start(&["--workers", "4", "--slots", "64"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tasks.jsonl");
    let mut lines = String::new();
    for number in 0..10_000 {
        let kind = ["noop", "echo"][number % 2];
        writeln!(
            lines,
            r#"{{"type":"{kind}","payload":{number},"priority":{}}}"#,
            number % 10
        )
        .unwrap();
    }
    std::fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    let summary = dev.cli_json(&["task", "submit", "--from", file]);
    assert_eq!(summary, json!({"accepted": 10_000, "failed": 0}));
    dev.get_until("/api/v1/stats", |stats| {
        stats["tasks"]["completed"] == 10_000
    });
    let listed = dev.cli_json(&["task", "list", "--limit", "20000"]);
    let listed = listed["tasks"].as_array().unwrap();
    let payloads: BTreeSet<i64> = listed
        .iter()
        .map(|it| it["payload"].as_i64().unwrap())
        .collect();
    assert_eq!((listed.len(), payloads.len()), (10_000, 10_000));
    assert!(listed.iter().all(|task| task["status"] == "completed"));
    assert_eq!(dev.tasks()["total"], 10_000);
}

#[test]
fn names_and_metadata_of_any_script_are_kept() {
    let dev = Dev::start(&[]);
    let name = "Größe · 大きさ · 🦀 · \u{5d0}\u{5d1}";
    let metadata =
        json!({"ключ": "значение", "emoji": "👩‍👩‍👧", "e\u{301}": "decomposed", "é": "composed"});
    let id = dev.submit(&json!({"type": "noop", "name": name, "metadata": metadata}));
    let task = dev.ended(&id);
    assert_eq!(
        (&task["name"], &task["metadata"]),
        (&Value::from(name), &metadata)
    );
    let by_cli = dev.cli_json(&[
        "task",
        "submit",
        "noop",
        "--name",
        name,
        "--metadata",
        "ключ=a=b",
    ]);
    let task = dev.ended(&text(&by_cli["id"]));
    assert_eq!(
        (&task["name"], &task["metadata"]),
        (&Value::from(name), &json!({"ключ": "a=b"}))
    );
    assert!(dev.cli(&["task", "get", &id]).out.contains("大きさ"));
}
