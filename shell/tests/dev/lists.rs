//! Lists, filters and cursors.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::Dev;

/// How many tasks of each of the five kinds.
const EACH: usize = 60;

fn ids(tasks: &[Value]) -> BTreeSet<String> {
    let ids: BTreeSet<String> = tasks.iter().map(|task| text(&task["id"])).collect();
    assert_eq!(ids.len(), tasks.len(), "each task is listed once");
    ids
}

#[test]
fn every_task_is_listed_once_whatever_its_state_and_the_page() {
    let dev = Dev::start(&["--slots", "4"]);
    let retry = json!({"kind": "fixed", "delay": "1h", "jitter": false});
    let kinds = [
        ("completed", json!({"type": "noop"})),
        (
            "failed",
            json!({"type": "fail", "payload": {"times": 9}, "max_retries": 0}),
        ),
        (
            "retrying",
            json!({"type": "fail", "payload": {"times": 9}, "retry": retry, "queue": "b"}),
        ),
        (
            "scheduled",
            json!({"type": "noop", "delay": "1h", "queue": "b"}),
        ),
        ("pending", json!({"type": "nobody", "queue": "c"})),
    ];
    let mut submitted: Vec<(&str, BTreeSet<String>)> = Vec::new();
    for (state, task) in &kinds {
        let array = Value::from(vec![task.clone(); EACH]);
        let answer = dev.post("/api/v1/tasks", &array).json(201);
        submitted.push((state, ids(answer["tasks"].as_array().unwrap())));
    }
    let running = dev.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    let cancelled = dev.submit(&json!({"type": "nobody"}));
    dev.act(&format!("/api/v1/tasks/{cancelled}/cancel"))
        .json(200);
    submitted.push(("running", BTreeSet::from([running])));
    submitted.push(("cancelled", BTreeSet::from([cancelled])));
    dev.get_until("/api/v1/stats", |stats| {
        kinds
            .iter()
            .all(|(state, _)| stats["tasks"][*state] == EACH)
            && stats["tasks"]["running"] == 1
    });
    let all: BTreeSet<String> = submitted.iter().flat_map(|(_, ids)| ids.clone()).collect();
    for limit in [1, 7, 100, 1_000] {
        assert_eq!(ids(&dev.listed("", limit)), all, "pages of {limit}");
    }
    for (state, expected) in &submitted {
        for limit in [9, 1_000] {
            let found = dev.listed(&format!("&state={state}"), limit);
            assert_eq!(ids(&found), *expected, "{state}, pages of {limit}");
            assert!(found.iter().all(|task| task["status"] == *state));
        }
        let by_cli = dev.cli_json(&["task", "list", "--state", state, "--limit", "1000"]);
        assert_eq!(
            ids(by_cli["tasks"].as_array().unwrap()),
            *expected,
            "{state}"
        );
    }
    for (filter, count) in [
        ("&queue=b", 2 * EACH),
        ("&type=fail", 2 * EACH),
        ("&queue=b&type=fail", EACH),
        ("&queue=b&state=scheduled", EACH),
        ("&queue=c&state=completed", 0),
        ("&queue=nowhere", 0),
    ] {
        assert_eq!(ids(&dev.listed(filter, 50)).len(), count, "{filter}");
    }
    cursors_of_the_command_line(&dev, &all);
}

fn cursors_of_the_command_line(dev: &Dev, all: &BTreeSet<String>) {
    let (mut found, mut cursor) = (BTreeSet::new(), None::<String>);
    loop {
        let mut words = vec!["task", "list", "--limit", "130"];
        if let Some(cursor) = &cursor {
            words.extend(["--cursor", cursor]);
        }
        let page = dev.cli_json(&words);
        let tasks = ids(page["tasks"].as_array().unwrap());
        assert!(found.is_disjoint(&tasks), "each task is on one page");
        found.extend(tasks);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, *all);
    let at_once = dev.cli_json(&["task", "list", "--limit", "100000"]);
    assert_eq!(ids(at_once["tasks"].as_array().unwrap()), *all);
    let table = dev.cli(&["task", "list", "--limit", "100000"]).out;
    assert_eq!(table.lines().count(), all.len() + 1);
}

#[test]
fn lists_refuse_what_they_do_not_know() {
    let dev = Dev::start(&[]);
    for (query, field) in [
        ("state=nope", "state"),
        ("state=", "state"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=zz", "cursor"),
        ("cursor=", "cursor"),
        ("order=best", "order"),
        (
            "order=oldest&cursor=n0123456789abcdef0123456789abcdef",
            "cursor",
        ),
        ("q=colour:red", "q"),
        ("queue=@x", "queue"),
        ("colour=red", "colour"),
    ] {
        let answer = dev.send("GET", &format!("/api/v1/tasks?{query}"), None);
        assert_eq!(answer.bad_fields(400), [field], "{query}");
    }
    assert_eq!(dev.cli(&["task", "list", "--cursor", "zz"]).code, 4);
    assert_eq!(dev.cli(&["task", "list", "--state", "nope"]).code, 2);
    assert_eq!(dev.cli(&["task", "list", "--limit", "0"]).code, 2);
}
