//! Which task starts next, and what keeps a task waiting.

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::Dev;

#[test]
fn one_slot_takes_tasks_by_priority_then_by_age() {
    let dev = Dev::start(&["--slots", "1"]);
    dev.act("/api/v1/queues/q/pause").json(200);
    let mut expected = Vec::new();
    for number in 0..4 {
        for priority in [json!(9), json!("low"), json!(0), json!("high"), json!(5)] {
            let id = if number % 2 == 0 {
                dev.submit(&json!({"type": "noop", "queue": "q", "priority": priority}))
            } else {
                let priority = priority.to_string();
                let priority = priority.trim_matches('"');
                let words = [
                    "task",
                    "submit",
                    "noop",
                    "--queue",
                    "q",
                    "--priority",
                    priority,
                ];
                text(&dev.cli_json(&words)["id"])
            };
            let task = dev.task(&id);
            assert_eq!(task["status"], "pending");
            expected.push((
                task["priority"].as_u64().unwrap(),
                text(&task["created_at"]),
                id,
            ));
        }
    }
    // The id grows with the time of submission too, so that two of one millisecond have an order.
    expected.sort();
    dev.cli_json(&["queue", "resume", "q"]);
    let mut started: Vec<(u64, String, String)> = expected
        .iter()
        .map(|(_, _, id)| {
            let task = dev.ended(id);
            let fence = task["fence"].as_u64().unwrap();
            (fence, text(&task["started_at"]), id.clone())
        })
        .collect();
    started.sort();
    let ids = |of: &[(u64, String, String)]| of.iter().map(|it| it.2.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&started), ids(&expected));
    assert!(started.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
}

#[test]
fn a_delayed_task_starts_when_it_is_due() {
    let dev = Dev::start(&[]);
    let at = jiff::Timestamp::now() + std::time::Duration::from_secs(4);
    let at = at.to_string();
    let delayed = dev.submit(&json!({"type": "noop", "delay": "4s"}));
    let timed = dev.submit(&json!({"type": "noop", "run_at": at}));
    let by_cli = dev.cli_json(&["task", "submit", "noop", "--delay", "4s"]);
    let timed_by_cli = dev.cli_json(&["task", "submit", "noop", "--run-at", &at]);
    let ids = [
        delayed,
        timed,
        text(&by_cli["id"]),
        text(&timed_by_cli["id"]),
    ];
    let due: Vec<String> = ids
        .iter()
        .map(|id| {
            let waiting = dev.task(id);
            assert_eq!(waiting["status"], "scheduled");
            let why = dev.get(&format!("/api/v1/tasks/{id}/why"));
            assert_eq!(why["reasons"][0]["reason"], "not_due");
            text(&waiting["due_at"])
        })
        .collect();
    for (id, due) in ids.iter().zip(due) {
        let ended = dev.ended(id);
        assert_eq!(ended["status"], "completed");
        assert!(text(&ended["started_at"]) >= due, "{due} {ended}");
    }
    let past = dev.submit(&json!({"type": "noop", "run_at": "2001-01-01T00:00:00Z"}));
    assert_eq!(dev.ended(&past)["status"], "completed");
}

#[test]
fn a_paused_queue_waits_and_says_so() {
    let dev = Dev::start(&[]);
    for by_cli in [false, true] {
        let act = |what: &str| match by_cli {
            false => dev.act(&format!("/api/v1/queues/q/{what}")).json(200),
            true => dev.cli_json(&["queue", what, "q"]),
        };
        assert_eq!(act("pause")["paused"], true);
        let waits = dev.submit(&json!({"type": "noop", "queue": "q"}));
        let passes = dev.submit(&json!({"type": "noop"}));
        assert_eq!(dev.ended(&passes)["status"], "completed");
        assert_eq!(dev.task(&waits)["status"], "pending");
        let why = dev.cli_json(&["task", "why", &waits]);
        assert_eq!(why["reasons"][0]["reason"], "queue_paused", "{why}");
        let queue = dev.cli_json(&["queue", "get", "q"]);
        assert_eq!(
            (&queue["pending"], &queue["paused"]),
            (&json!(1), &json!(true))
        );
        assert_eq!(act("resume")["paused"], false);
        assert_eq!(dev.ended(&waits)["status"], "completed");
    }
}

#[test]
fn a_type_that_no_worker_runs_waits_and_says_so() {
    let dev = Dev::start(&[]);
    let id = dev.submit(&json!({"type": "nobody-runs-this", "priority": 0}));
    // Until the first worker has made its offer, there is none at all.
    dev.get_until(&format!("/api/v1/tasks/{id}/why"), |why| {
        why["reasons"][0]["reason"] == "no_worker_runs_type"
    });
    let said = dev.cli(&["task", "why", &id]);
    assert!(
        said.out.contains("serve its queue cannot run its type"),
        "{said:?}"
    );
    let other = dev.submit(&json!({"type": "noop", "priority": 9}));
    assert_eq!(
        dev.ended(&other)["status"],
        "completed",
        "it holds nobody up"
    );
    assert_eq!(dev.task(&id)["status"], "pending");
}

#[test]
fn a_drained_worker_finishes_what_runs_and_takes_nothing_more() {
    let dev = Dev::start(&["--workers", "3", "--slots", "1"]);
    let workers = dev.get_until("/api/v1/nodes", |nodes| of_workers(nodes).len() == 3);
    let workers = of_workers(&workers);
    let sleeper = dev.submit(&json!({"type": "sleep", "payload": {"ms": 1_000}}));
    let busy = text(&dev.in_state(&sleeper, "running")["worker_id"]);
    let idle = workers.iter().find(|worker| **worker != busy).unwrap();
    let drained = dev.cli_json(&["node", "drain", &busy]);
    assert_eq!(drained["draining"], true);
    let drained = dev.act(&format!("/api/v1/nodes/{idle}/drain")).json(200);
    assert_eq!(drained["draining"], true);
    let slots = |stats: &Value| stats["slots"] == 1;
    dev.get_until("/api/v1/stats", slots);
    for _ in 0..10 {
        let id = dev.submit(&json!({"type": "noop"}));
        let by = text(&dev.ended(&id)["worker_id"]);
        assert!(by != busy && by != *idle, "{by} takes tasks");
    }
    let finished = dev.ended(&sleeper);
    assert_eq!(
        (&finished["status"], text(&finished["worker_id"])),
        (&json!("completed"), busy)
    );
}

fn of_workers(nodes: &Value) -> Vec<String> {
    let nodes = nodes["nodes"].as_array().unwrap();
    let workers = nodes
        .iter()
        .filter(|node| node["role"] == "worker" && node["slots"] != 0);
    workers.map(|node| text(&node["id"])).collect()
}

#[test]
fn a_worker_tells_how_many_attempts_it_has_run() {
    let dev = Dev::start(&[]);
    assert_eq!(dev.worker()["total_run"], 0);
    let retry = json!({"kind": "fixed", "delay": "1ms", "jitter": false});
    let retried = json!({"type": "fail", "payload": {"times": 1}, "retry": retry});
    for task in [json!({"type": "noop"}), json!({"type": "noop"}), retried] {
        dev.ended(&dev.submit(&task));
    }
    assert_eq!(dev.worker()["total_run"], 4);
}

#[test]
fn tasks_wait_for_a_worker_when_all_are_drained() {
    let dev = Dev::start(&[]);
    let worker = text(&dev.worker()["id"]);
    dev.cli_json(&["node", "drain", &worker]);
    dev.get_until("/api/v1/stats", |stats| stats["slots"] == 0);
    let id = dev.submit(&json!({"type": "noop"}));
    let why = dev.get(&format!("/api/v1/tasks/{id}/why"));
    assert_eq!(why["status"], "pending");
    assert_eq!(why["reasons"][0]["reason"], "workers_draining", "{why}");
    assert_eq!(
        dev.cli(&["task", "wait", &id, "--timeout", "100ms"]).code,
        6
    );
    assert_eq!(
        dev.cli_json(&["task", "cancel", &id])["status"],
        "cancelled"
    );
}
