//! Why a task waits: each reason that one machine can show.

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::Dev;

/// What is told about the task once the first reason is this one.
fn why(dev: &Dev, id: &str, first: &str) -> Value {
    dev.get_until(&format!("/api/v1/tasks/{id}/why"), |why| {
        why["reasons"][0]["reason"] == first
    })
}

fn reasons(why: &Value) -> Vec<String> {
    let reasons = why["reasons"].as_array().unwrap().iter();
    assert!(
        reasons.clone().all(|it| it["message"].is_string()),
        "each in words: {why}"
    );
    reasons.map(|it| text(&it["reason"])).collect()
}

#[test]
fn full_workers_and_those_who_go_before_are_named() {
    let dev = Dev::start(&["--slots", "1"]);
    let worker = text(&dev.worker()["id"]);
    let sleeper = dev.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    let told = why(&dev, &sleeper, "running");
    assert_eq!(told["reasons"][0]["worker_id"], worker);
    assert!(told["ahead"].is_null() && told["estimate"].is_null());
    let first = dev.submit(&json!({"type": "noop"}));
    let urgent = dev.submit(&json!({"type": "noop", "priority": 0}));
    let last = dev.submit(&json!({"type": "noop", "priority": 9}));
    let told = why(&dev, &urgent, "no_free_slot");
    assert_eq!(reasons(&told), ["no_free_slot"]);
    let reason = &told["reasons"][0];
    assert_eq!(
        (&reason["slots"], &reason["workers"]),
        (&json!(1), &json!([worker]))
    );
    for (id, ahead) in [(&urgent, 0), (&first, 1), (&last, 2)] {
        let told = why(&dev, id, "no_free_slot");
        assert_eq!(told["ahead"], ahead);
        if ahead > 0 {
            assert_eq!(reasons(&told), ["no_free_slot", "behind"]);
            assert_eq!(told["reasons"][1]["ahead"], ahead);
        }
        // The sleeper has left the queue: that is what is known of its speed.
        let estimate = &told["estimate"];
        assert!(
            estimate["rate_per_second"].as_f64().unwrap() > 0.0,
            "{told}"
        );
        assert!(estimate["start_at"].is_string() && estimate["in"].is_string());
    }
    dev.act(&format!("/api/v1/tasks/{sleeper}/cancel"))
        .json(200);
    dev.ended(&last);
    assert_eq!(reasons(&why(&dev, &last, "ended")), ["ended"]);
}

#[test]
fn a_paused_queue_and_a_type_that_nobody_runs_are_told_together() {
    let dev = Dev::start(&[]);
    let worker = text(&dev.worker()["id"]);
    let id = dev.submit(&json!({"type": "nobody", "queue": "q"}));
    let told = why(&dev, &id, "no_worker_runs_type");
    assert_eq!(told["reasons"][0]["workers"], json!([worker]));
    dev.act("/api/v1/queues/q/pause").json(200);
    let told = why(&dev, &id, "queue_paused");
    assert_eq!(reasons(&told), ["queue_paused", "no_worker_runs_type"]);
    assert!(told["estimate"].is_null(), "nothing moves: {told}");
    let said = dev.cli(&["task", "why", &id]).out;
    assert!(
        said.contains("queue_paused") && said.contains(&worker),
        "{said}"
    );
}

#[test]
fn what_is_not_due_says_when_it_is() {
    let dev = Dev::start(&[]);
    let delayed = dev.submit(&json!({"type": "noop", "delay": "1h"}));
    let told = why(&dev, &delayed, "not_due");
    assert_eq!(told["reasons"][0]["due_at"], dev.task(&delayed)["due_at"]);
    let retry = json!({"kind": "fixed", "delay": "1h", "jitter": false});
    let failed = dev.submit(&json!({"type": "fail", "payload": {"times": 9}, "retry": retry}));
    let told = why(&dev, &failed, "not_due");
    assert!(
        text(&told["reasons"][0]["message"]).contains("failed"),
        "{told}"
    );
}

#[test]
fn a_draining_worker_is_named() {
    let dev = Dev::start(&["--slots", "1", "--drain-grace", "60s"]);
    let worker = text(&dev.worker()["id"]);
    let sleeper = dev.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    dev.in_state(&sleeper, "running");
    dev.act(&format!("/api/v1/nodes/{worker}/drain")).json(200);
    let id = dev.submit(&json!({"type": "noop"}));
    let told = why(&dev, &id, "workers_draining");
    assert_eq!(told["reasons"][0]["workers"], json!([worker]));
    assert_eq!(told["reasons"][0]["worker_count"], 1);
    assert!(told["estimate"].is_null(), "{told}");
}
