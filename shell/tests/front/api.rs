//! What the API answers to requests that make sense.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use windlass::api::Limits;

use super::fake::{Fake, call, get, post, submitted};

#[tokio::test]
async fn a_task_is_accepted_and_shown_with_every_field() {
    let router = Fake::default().router();
    let id = submitted(
        &router,
        r#"{"type":"echo","name":"n","priority":"high","payload":{"b": 1.0, "a": 12345678901234567890},"metadata":{"k":"v"}}"#,
    )
    .await;
    let shown = get(&router, &format!("/api/v1/tasks/{id}?wait=1s")).await;
    assert!(
        shown
            .text
            .contains(r#"{"b": 1.0, "a": 12345678901234567890}"#),
        "{}",
        shown.text
    );
    let task = shown.json();
    let fields: BTreeSet<&str> = task
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected: BTreeSet<&str> = [
        "id",
        "name",
        "type",
        "queue",
        "status",
        "priority",
        "payload",
        "metadata",
        "created_at",
        "assigned_at",
        "started_at",
        "completed_at",
        "worker_id",
        "fence",
        "retry_count",
        "losses",
        "max_retries",
        "timeout",
        "result",
        "error",
        "run",
        "due_at",
        "progress",
        "attempts",
    ]
    .into();
    assert_eq!(fields, expected);
    assert_eq!(task["status"], "completed");
    assert_eq!(task["timeout"], "5m");
    assert_eq!(task["priority"], 3);
    assert_eq!(task["fence"], 12);
    assert_eq!(task["completed_at"], "2023-11-14T22:13:21.000Z");
    assert_eq!(task["result"], task["payload"]);
    assert_eq!(task["error"], json!(null));
}

#[tokio::test]
async fn an_answer_to_a_submission_tells_id_and_status() {
    let router = Fake::default().router();
    let pending = post(&router, "/api/v1/tasks", r#"{"type":"t"}"#).await;
    assert_eq!(
        (pending.status, pending.kind.as_str()),
        (StatusCode::CREATED, "application/json")
    );
    assert_eq!(pending.json()["status"], "pending");
    let scheduled = post(&router, "/api/v1/tasks", r#"{"type":"t","delay":"1h"}"#).await;
    assert_eq!(scheduled.json()["status"], "scheduled");
}

#[tokio::test]
async fn a_failed_task_tells_its_attempts() {
    let router = Fake::default().router();
    let id = submitted(&router, r#"{"type":"fail"}"#).await;
    let task = get(&router, &format!("/api/v1/tasks/{id}?wait=1s"))
        .await
        .json();
    assert_eq!(
        (&task["status"], &task["error"]),
        (&json!("failed"), &json!("it broke"))
    );
    assert_eq!(task["attempts"][0]["end"], "failed");
    assert_eq!(task["attempts"][0]["error"], "it broke");
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_task_and_another_body_a_conflict() {
    let router = Fake::default().router();
    let first = submitted(&router, r#"{"type":"t","key":"k","payload":1}"#).await;
    let again = post(
        &router,
        "/api/v1/tasks",
        r#"{"key":"k", "type":"t", "payload": 1}"#,
    )
    .await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json(), json!({"id": first, "status": "pending"}));
    let other = post(
        &router,
        "/api/v1/tasks",
        r#"{"type":"t","key":"k","payload":2}"#,
    )
    .await;
    assert_eq!(other.problem(409)["id"], first);
}

#[tokio::test]
async fn the_same_key_twice_in_an_array_is_one_task() {
    let router = Fake::default().router();
    let body = r#"[{"type":"t","key":"k"},{"type":"t","key":"k"},{"type":"u","key":"k"}]"#;
    let answered = post(&router, "/api/v1/tasks", body).await;
    assert_eq!(answered.status, StatusCode::CREATED);
    let tasks = answered.json()["tasks"].clone();
    assert_eq!(tasks[0], tasks[1]);
    assert_eq!(tasks[2]["error"]["status"], 409);
}

#[tokio::test]
async fn one_bad_task_of_a_thousand_is_refused_alone() {
    let fake = Fake::default();
    let router = fake.router();
    let mut items = vec![r#"{"type":"t"}"#; 1_000];
    items[500] = r#"{"type":"t","timeout":"0s"}"#;
    items[999] = "7";
    let answered = post(&router, "/api/v1/tasks", format!("[{}]", items.join(","))).await;
    assert_eq!(answered.status, StatusCode::CREATED);
    let tasks = answered.json()["tasks"].as_array().unwrap().clone();
    assert_eq!(tasks.len(), 1_000);
    for (index, task) in tasks.iter().enumerate() {
        match index {
            500 => assert_eq!(task["error"]["errors"][0]["field"], "timeout"),
            999 => assert_eq!(task["error"]["status"], 400),
            _ => assert_eq!(task["status"], "pending"),
        }
    }
    assert_eq!(fake.memory().tasks.len(), 998);
}

#[tokio::test]
async fn an_array_of_one_is_an_array() {
    let router = Fake::default().router();
    let answered = post(&router, "/api/v1/tasks", r#"[{"type":"t"}]"#).await;
    assert_eq!(answered.json()["tasks"][0]["status"], "pending");
}

#[tokio::test]
async fn unknown_fates_are_told_with_the_ids_to_ask_for() {
    let router = Fake::default().router();
    let lost = post(&router, "/api/v1/tasks", r#"{"type":"lost"}"#)
        .await
        .problem(504);
    assert_eq!(lost["ids"].as_array().unwrap().len(), 1);
    let some = post(
        &router,
        "/api/v1/tasks",
        r#"[{"type":"t"},{"type":"lost"},{"type":7}]"#,
    )
    .await
    .problem(504);
    assert_eq!(some["ids"].as_array().unwrap().len(), 1);
    assert_eq!(some["tasks"][0]["status"], "pending");
    assert_eq!(some["tasks"][1]["error"]["id"], some["ids"][0]);
    assert_eq!(some["tasks"][2]["error"]["status"], 400);
    let impatient = Fake::default().router_within(Limits {
        ask_time_out: Duration::from_millis(20),
        ..Limits::default()
    });
    let silent = post(&impatient, "/api/v1/tasks", r#"{"type":"silent"}"#).await;
    assert_eq!(silent.problem(504)["ids"], json!([]));
}

#[tokio::test]
async fn what_the_store_cannot_take_now_may_be_sent_again() {
    let fake = Fake::default();
    let router = fake.router();
    for body in [r#"{"type":"busy"}"#, r#"[{"type":"busy"},{"type":"busy"}]"#] {
        let busy = post(&router, "/api/v1/tasks", body).await;
        busy.problem(503);
        assert!(busy.retry_after.is_some());
    }
    let mixed = post(
        &router,
        "/api/v1/tasks",
        r#"[{"type":"busy"},{"type":"t"}]"#,
    )
    .await;
    assert_eq!(mixed.status, StatusCode::CREATED);
    assert_eq!(mixed.json()["tasks"][0]["error"]["status"], 503);
    post(&router, "/api/v1/tasks", r#"{"type":"too_large"}"#)
        .await
        .problem(413);
    fake.memory().not_ready = true;
    for path in [
        "/api/v1/stats",
        "/api/v1/tasks",
        "/api/v1/queues",
        "/api/v1/nodes",
    ] {
        let answered = get(&router, path).await;
        answered.problem(503);
        assert!(answered.retry_after.is_some());
    }
}

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let router = Fake::default().router();
    for kind in ["a", "b", "a", "a"] {
        submitted(&router, &format!(r#"{{"type":"{kind}","queue":"q"}}"#)).await;
    }
    let mut seen = BTreeSet::new();
    let mut path = "/api/v1/tasks?state=pending&queue=q&type=a&limit=2".to_owned();
    loop {
        let page = get(&router, &path).await.json();
        for task in page["tasks"].as_array().unwrap() {
            assert_eq!(task["type"], "a");
            assert!(seen.insert(task["id"].as_str().unwrap().to_owned()));
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/tasks?type=a&limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_task_is_cancelled_once_and_rerun_when_it_ended_badly() {
    let router = Fake::default().router();
    let id = submitted(&router, r#"{"type":"t"}"#).await;
    let cancelled = post(&router, &format!("/api/v1/tasks/{id}/cancel"), "").await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (StatusCode::OK, &json!("cancelled"))
    );
    post(&router, &format!("/api/v1/tasks/{id}/cancel"), "")
        .await
        .problem(409);
    let again = post(&router, &format!("/api/v1/tasks/{id}/rerun"), "").await;
    assert_eq!(again.json()["status"], "pending");
    post(&router, &format!("/api/v1/tasks/{id}/rerun"), "")
        .await
        .problem(409);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let router = Fake::default().router();
    let id = "019aa000-0000-7000-8000-000000000000";
    get(&router, &format!("/api/v1/tasks/{id}"))
        .await
        .problem(404);
    get(&router, &format!("/api/v1/tasks/{id}/why"))
        .await
        .problem(404);
    get(&router, "/api/v1/queues/nowhere").await.problem(404);
    for path in [
        format!("/api/v1/tasks/{id}/cancel"),
        format!("/api/v1/tasks/{id}/rerun"),
        "/api/v1/nodes/nobody/drain".to_owned(),
    ] {
        post(&router, &path, "").await.problem(404);
    }
}

#[tokio::test]
async fn why_tells_reasons_as_data_and_in_words() {
    let router = Fake::default().router();
    let id = submitted(&router, r#"{"type":"t"}"#).await;
    let why = get(&router, &format!("/api/v1/tasks/{id}/why"))
        .await
        .json();
    assert_eq!(
        (&why["status"], &why["ahead"]),
        (&json!("pending"), &json!(7))
    );
    let reasons: Vec<_> = why["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["reason"].clone())
        .collect();
    assert_eq!(reasons, ["queue_paused", "no_free_slot", "not_due"]);
    assert_eq!(why["reasons"][1]["slots"], 4);
    assert_eq!(why["reasons"][1]["workers"], json!(["w1"]));
    assert_eq!(why["estimate"]["rate_per_second"], 1.5);
    assert_eq!(why["estimate"]["in"], "6s");
    assert_eq!(why["reasons"][2]["due_at"], "1970-01-01T00:00:00.000Z");
    assert!(
        why["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .all(|r| r["message"].is_string())
    );
}

#[tokio::test]
async fn stats_count_under_the_names_of_the_contract() {
    let router = Fake::default().router();
    submitted(&router, r#"{"type":"t"}"#).await;
    let stats = get(&router, "/api/v1/stats").await.json();
    assert_eq!(
        stats["tasks"],
        json!({"total": 1, "scheduled": 0, "pending": 1, "running": 0, "retrying": 0, "completed": 0, "failed": 0,
               "cancelled": 0, "refused_stale": 2})
    );
}

#[tokio::test]
async fn queues_are_configured_paused_and_resumed() {
    let router = Fake::default().router();
    let set = call(
        &router,
        "PUT",
        "/api/v1/queues/q",
        r#"{"strategy":"weighted"}"#,
    )
    .await;
    assert_eq!(
        (set.status, &set.json()["strategy"]),
        (StatusCode::OK, &json!("weighted"))
    );
    let paused = post(&router, "/api/v1/queues/q/pause", "").await.json();
    assert_eq!(
        (&paused["paused"], &paused["strategy"]),
        (&json!(true), &json!("weighted"))
    );
    assert_eq!(
        post(&router, "/api/v1/queues/q/resume", "").await.json()["paused"],
        false
    );
    assert_eq!(get(&router, "/api/v1/queues/q").await.json()["name"], "q");
    let all = get(&router, "/api/v1/queues").await.json();
    assert_eq!(all["queues"][0]["oldest_at"], "2023-11-14T22:13:20.000Z");
}

#[tokio::test]
async fn nodes_are_listed_and_drained() {
    let router = Fake::default().router();
    let nodes = get(&router, "/api/v1/nodes").await.json();
    assert_eq!(
        (&nodes["nodes"][0]["role"], &nodes["nodes"][0]["draining"]),
        (&json!("worker"), &json!(false))
    );
    let drained = post(&router, "/api/v1/nodes/w1/drain", "").await.json();
    assert_eq!(
        (&drained["id"], &drained["draining"]),
        (&json!("w1"), &json!(true))
    );
}

#[tokio::test]
async fn a_lock_is_taken_renewed_and_released_with_its_token() {
    let fake = Fake::default();
    let router = fake.router();
    let taken = post(
        &router,
        "/api/v1/locks/k",
        r#"{"ttl":"5s","wait":"0s","owner":"me"}"#,
    )
    .await
    .json();
    assert_eq!((&taken["fence"], &taken["ttl"]), (&json!(41), &json!("5s")));
    post(&router, "/api/v1/locks/k", r#"{"wait":"0s"}"#)
        .await
        .problem(504);
    let proof = json!({"token": taken["token"]}).to_string();
    let renewed = call(&router, "PUT", "/api/v1/locks/k", proof.clone())
        .await
        .json();
    assert_eq!(
        (&renewed["fence"], &renewed["token"]),
        (&taken["fence"], &taken["token"])
    );
    let released = call(&router, "DELETE", "/api/v1/locks/k", proof.clone()).await;
    assert_eq!(
        released.json(),
        json!({"fence": 41, "token": taken["token"]})
    );
    for method in ["PUT", "DELETE"] {
        call(&router, method, "/api/v1/locks/k", proof.clone())
            .await
            .problem(409);
    }
    let again = post(&router, "/api/v1/locks/k", "").await.json();
    assert_eq!(again["fence"], 82);
    let path = format!("/api/v1/locks/k?token={}", again["token"].as_str().unwrap());
    assert_eq!(
        call(&router, "DELETE", &path, "").await.status,
        StatusCode::OK
    );
    assert!(!fake.memory().lock_is_held());
}

#[tokio::test]
async fn probes_get_json_and_readiness_its_reason() {
    let fake = Fake::default();
    let router = fake.router();
    assert_eq!(get(&router, "/livez").await.json()["status"], "ok");
    assert_eq!(get(&router, "/readyz").await.json()["ready"], true);
    fake.memory().ready = Some("the view lags".to_owned());
    let lagging = get(&router, "/readyz").await;
    assert_eq!(
        (lagging.status, lagging.kind.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "application/json")
    );
    assert_eq!(
        lagging.json(),
        json!({"ready": false, "reason": "the view lags"})
    );
    assert_eq!(get(&router, "/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn metrics_tell_counts_and_requests_and_end_once() {
    let fake = Fake::default();
    let router = fake.router();
    submitted(&router, r#"{"type":"t"}"#).await;
    get(&router, "/nowhere/at/all").await;
    let metrics = get(&router, "/metrics").await.text;
    for line in [
        "windlass_tasks_accepted_total 1",
        "windlass_tasks{state=\"pending\"} 1",
        "windlass_tasks_ended_total{state=\"completed\"} 0",
        "windlass_ready 1",
        "windlass_http_requests_total{method=\"POST\",route=\"/api/v1/tasks\",status=\"201\"} 1",
        "windlass_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert_eq!(metrics.matches("# EOF").count(), 1);
    assert!(metrics.ends_with("# EOF\n"));
    fake.memory().not_ready = true;
    let alone = get(&router, "/metrics").await;
    assert_eq!(alone.status, StatusCode::OK);
    assert!(alone.text.contains("windlass_http_requests_total"));
}

#[tokio::test]
async fn the_description_is_served_and_names_routes_that_are_there() {
    let router = Fake::default().router();
    let document = get(&router, "/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("/tasks/{id}", "/tasks/019aa000-0000-7000-8000-000000000000")
            .replace("{id}", "w1")
            .replace("{queue}", "q")
            .replace("{key}", "k")
            // A stream never ends; a refusal does.
            .replace("/events", "/events?after=never");
        for method in methods.as_object().unwrap().keys() {
            let answered = call(&router, &method.to_uppercase(), &path, "").await;
            assert_ne!(
                answered.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert!(
                !answered.text.contains("nothing under this path"),
                "{method} {path}"
            );
        }
    }
}
