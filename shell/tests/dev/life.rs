//! From submission to outcome: failures, time-outs, cancellation, repeated submissions.

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::Dev;

/// The time of `earlier` until `later`, in milliseconds.
fn millis(earlier: &Value, later: &Value) -> i64 {
    let at = |time: &Value| {
        text(time)
            .parse::<jiff::Timestamp>()
            .unwrap()
            .as_millisecond()
    };
    at(later) - at(earlier)
}

#[test]
fn a_failed_attempt_is_tried_again_later_and_later() {
    let dev = Dev::start(&[]);
    let retry = json!({"kind": "exponential", "delay": "200ms", "jitter": false});
    let id = dev.submit(&json!({"type": "fail", "payload": {"times": 3}, "retry": retry}));
    let by_cli = dev.cli(&[
        "-o",
        "json",
        "task",
        "submit",
        "fail",
        "--payload",
        r#"{"times":3}"#,
        "--retry",
        &retry.to_string(),
        "--wait",
    ]);
    assert_eq!(by_cli.code, 0);
    for task in [dev.ended(&id), by_cli.json()] {
        assert_eq!(task["status"], "completed");
        assert_eq!(task["retry_count"], 3);
        let attempts = task["attempts"].as_array().unwrap();
        let mut starts: Vec<&Value> = attempts.iter().map(|it| &it["started_at"]).collect();
        starts.push(&task["started_at"]);
        for (index, least) in [200, 400, 800].into_iter().enumerate() {
            assert_eq!(attempts[index]["end"], "failed");
            let waited = millis(&attempts[index]["ended_at"], starts[index + 1]);
            assert!(
                waited >= least,
                "attempt {index} was tried again after {waited} ms"
            );
        }
    }
    let stats = dev.get("/api/v1/stats");
    assert_eq!(stats["attempts"]["retried"], 6);
    assert_eq!(
        (&stats["tasks"]["completed"], &stats["tasks"]["failed"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn a_task_that_waits_for_its_next_attempt_is_retrying() {
    let dev = Dev::start(&[]);
    let retry = json!({"kind": "fixed", "delay": "1h", "jitter": false});
    let id = dev.submit(&json!({"type": "fail", "payload": {"times": 1}, "retry": retry}));
    let task = dev.in_state(&id, "retrying");
    assert_eq!(
        (&task["retry_count"], task["completed_at"].is_null()),
        (&json!(1), true)
    );
    assert!(
        text(&task["attempts"][0]["error"]).contains("attempt 1"),
        "{task}"
    );
    assert_eq!(dev.tasks()["retrying"], 1);
    let why = dev.cli(&["task", "why", &id]);
    assert!(
        why.out.contains("it failed, and is tried again at"),
        "{why:?}"
    );
    assert_eq!(
        dev.cli_json(&["task", "cancel", &id])["status"],
        "cancelled"
    );
}

#[test]
fn a_task_whose_retries_are_spent_is_dead_until_it_is_run_again() {
    let dev = Dev::start(&[]);
    let retry = r#"{"kind":"fixed","delay":"1ms"}"#;
    let said = dev.cli(&[
        "task",
        "submit",
        "fail",
        "--queue",
        "q",
        "--payload",
        r#"{"times":3}"#,
        "--max-retries",
        "1",
        "--retry",
        retry,
        "--wait",
    ]);
    assert_eq!(said.code, 1, "{said:?}");
    let id = text(&dev.listed("", 10)[0]["id"]);
    let failed = dev.task(&id);
    assert_eq!(
        (&failed["status"], &failed["retry_count"]),
        (&json!("failed"), &json!(1))
    );
    assert!(text(&failed["error"]).contains("attempt 2"), "{failed}");
    assert_eq!(dev.get("/api/v1/stats")["dead"], 1);
    assert_eq!(dev.cli_json(&["queue", "get", "q"])["dead"], 1);
    let rerun = dev.cli_json(&["task", "rerun", &id]);
    assert_eq!(
        (&rerun["run"], &rerun["retry_count"]),
        (&json!(1), &json!(0))
    );
    let failed = dev.ended(&id);
    assert_eq!(
        (&failed["run"], &failed["status"]),
        (&json!(1), &json!("failed"))
    );
    let rerun = dev.act(&format!("/api/v1/tasks/{id}/rerun")).json(200);
    assert_eq!(rerun["run"], 2);
    dev.ended(&id);
    let stats = dev.get("/api/v1/stats");
    assert_eq!(
        (&stats["dead"], &stats["tasks"]["total"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&stats["tasks"]["failed"], &stats["attempts"]["rerun"]),
        (&json!(3), &json!(2))
    );
}

#[test]
fn what_has_completed_is_not_run_again_nor_cancelled() {
    let dev = Dev::start(&[]);
    let id = dev.submit(&json!({"type": "noop"}));
    dev.ended(&id);
    for what in ["rerun", "cancel"] {
        let problem = dev.act(&format!("/api/v1/tasks/{id}/{what}")).problem(409);
        assert!(text(&problem["detail"]).contains("completed"), "{problem}");
        assert_eq!(dev.cli(&["task", what, &id]).code, 4);
    }
    assert_eq!(dev.task(&id)["status"], "completed");
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped_and_tried_again_then_failed() {
    let dev = Dev::start(&[]);
    let id = dev.submit(&json!({
        "type": "sleep", "payload": {"ms": 600_000}, "timeout": "150ms", "max_retries": 1,
        "retry": {"kind": "fixed", "delay": "1ms"},
    }));
    let said = dev.cli(&[
        "-o",
        "json",
        "task",
        "submit",
        "sleep",
        "--payload",
        r#"{"ms":600000}"#,
        "--timeout",
        "150ms",
        "--max-retries",
        "0",
        "--wait",
    ]);
    assert_eq!(said.code, 1);
    let task = dev.ended(&id);
    assert_eq!(
        (&task["status"], &task["retry_count"]),
        (&json!("failed"), &json!(1))
    );
    for task in [task, said.json()] {
        assert!(text(&task["error"]).contains("time-out"), "{task}");
        for attempt in task["attempts"].as_array().unwrap() {
            assert_eq!(attempt["end"], "timed_out");
            assert!(millis(&attempt["started_at"], &attempt["ended_at"]) >= 150);
        }
    }
}

#[test]
fn waiting_and_running_tasks_are_cancelled() {
    let dev = Dev::start(&["--slots", "1"]);
    for by_cli in [false, true] {
        let cancel = |id: &str| match by_cli {
            false => dev.act(&format!("/api/v1/tasks/{id}/cancel")).json(200),
            true => dev.cli_json(&["task", "cancel", id]),
        };
        let runs = dev.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
        dev.in_state(&runs, "running");
        let waits = dev.submit(&json!({"type": "noop"}));
        let later = dev.submit(&json!({"type": "noop", "delay": "1h"}));
        assert_eq!(cancel(&waits)["status"], "cancelled");
        assert_eq!(cancel(&later)["status"], "cancelled");
        cancel(&runs);
        let ended = dev.ended(&runs);
        assert_eq!(ended["status"], "cancelled", "{ended}");
        assert_eq!(dev.cli(&["task", "wait", &waits, &runs]).code, 1);
        let after = dev.submit(&json!({"type": "noop"}));
        assert_eq!(
            dev.ended(&after)["status"],
            "completed",
            "the slot is free again"
        );
    }
    assert_eq!(dev.tasks()["cancelled"], 6);
    let id = text(&dev.listed("&state=cancelled", 1)[0]["id"]);
    dev.cli_json(&["task", "rerun", &id]);
}

#[test]
fn a_repeated_key_is_the_first_task_or_a_conflict() {
    let dev = Dev::start(&[]);
    let body = json!({"type": "echo", "payload": {"a": 1}, "key": "k"});
    let first = dev.submit(&body);
    assert_eq!(
        dev.post("/api/v1/tasks", &body).json(200)["id"],
        first.as_str()
    );
    let spaced = r#"{ "key":"k", "payload": { "a" : 1 }, "type":"echo", "priority":"normal" }"#;
    let again = dev.send("POST", "/api/v1/tasks", Some(spaced)).json(200);
    assert_eq!(again["id"], first.as_str());
    let by_cli = dev.cli_json(&[
        "task",
        "submit",
        "echo",
        "--payload",
        r#"{"a":1}"#,
        "--key",
        "k",
    ]);
    assert_eq!(by_cli["id"], first.as_str());
    let other = json!({"type": "echo", "payload": {"a": 2}, "key": "k"});
    let problem = dev.post("/api/v1/tasks", &other).problem(409);
    assert_eq!(problem["id"], first.as_str());
    assert_eq!(dev.cli(&["task", "submit", "noop", "--key", "k"]).code, 4);
    let array = dev
        .post("/api/v1/tasks", &json!([body, other, {"type": "noop"}]))
        .json(201);
    assert_eq!(array["tasks"][0]["id"], first.as_str());
    assert_eq!(array["tasks"][1]["error"]["status"], 409);
    assert!(array["tasks"][2]["id"].is_string());
    assert_eq!(dev.tasks()["total"], 2);
}

#[test]
fn one_key_from_many_clients_is_one_task() {
    let dev = Dev::start(&[]);
    let send = |number: u32| {
        let payload = if number.is_multiple_of(10) { 1 } else { 0 };
        let body = json!({"type": "echo", "payload": payload, "key": "k"});
        dev.post("/api/v1/tasks", &body)
    };
    let first = text(&send(1).json(201)["id"]);
    let conflicts: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|number| scope.spawn(move || send(number)))
            .collect();
        clients
            .into_iter()
            .map(|client| {
                let answer = client.join().unwrap();
                let body = answer.json(answer.status);
                assert_eq!(body["id"], first.as_str());
                usize::from(answer.status == 409)
            })
            .sum()
    });
    assert_eq!((conflicts, &dev.tasks()["total"]), (10, &json!(1)));
}
