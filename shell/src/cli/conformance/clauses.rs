//! The clauses of the protocol that can be seen from outside, and what provokes each.

use std::time::Duration;

use anyhow::ensure;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::bench::{Bench, GATEWAYS, PATIENCE, brief};

/// A clause.
pub(super) struct Clause {
    pub(super) name: &'static str,
    /// In a sentence.
    pub(super) says: &'static str,
    /// Provokes it, and fails when the worker breaks it.
    pub(super) provoke: for<'a> fn(&'a mut Bench) -> BoxFuture<'a, anyhow::Result<()>>,
}

/// Every clause, in the order in which they are judged.
pub(super) const ALL: &[Clause] = &[
    Clause {
        name: "result",
        says: "what a handler returns is the task's result, byte by byte of its meaning",
        provoke: |bench| result(bench).boxed(),
    },
    Clause {
        name: "large payload",
        says: "payloads and results of 200 KiB pass",
        provoke: |bench| large(bench).boxed(),
    },
    Clause {
        name: "many",
        says: "of forty tasks each is completed once, and none is lost",
        provoke: |bench| many(bench).boxed(),
    },
    Clause {
        name: "retry",
        says: "a failure is reported as one, and tried again",
        provoke: |bench| retry(bench).boxed(),
    },
    Clause {
        name: "unknown type",
        says: "the worker offers only the types that it runs",
        provoke: |bench| unknown_type(bench).boxed(),
    },
    Clause {
        name: "beat",
        says: "the session outlasts a handler that runs longer than it",
        provoke: |bench| beat(bench).boxed(),
    },
    Clause {
        name: "cancel",
        says: "a cancelled attempt is stopped and ended within a session",
        provoke: |bench| cancel(bench).boxed(),
    },
    Clause {
        name: "time-out",
        says: "an attempt that runs too long is stopped and reported as such",
        provoke: |bench| time_out(bench).boxed(),
    },
    Clause {
        name: "lost answer",
        says: "a report whose answer was lost is made again, and counted once",
        provoke: |bench| lost_answer(bench).boxed(),
    },
    Clause {
        name: "gateway restart",
        says: "a session goes on at another gateway",
        provoke: |bench| gateway_restart(bench).boxed(),
    },
    Clause {
        name: "silent gateway",
        says: "a gateway that falls silent costs no session, no task and no handler while another answers",
        provoke: |bench| silent_gateway(bench).boxed(),
    },
    Clause {
        name: "session lost",
        says: "a worker whose session ended joins again, and works on",
        provoke: |bench| session_lost(bench).boxed(),
    },
    Clause {
        name: "drain order",
        says: "a worker that is ordered to drain finishes what runs, and takes nothing new",
        provoke: |bench| drain_order(bench).boxed(),
    },
    Clause {
        name: "leave",
        says: "on SIGTERM a worker finishes what runs, leaves, and ends with code 0",
        provoke: |bench| leave(bench).boxed(),
    },
];

fn sleep_task(span: Duration) -> Value {
    let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    json!({"type": "sleep", "payload": {"ms": ms}})
}

/// What runs while something else happens. Half of it is more than a worker needs to start what it was given: from outside
/// nobody sees whether it has.
const TAKES: Duration = Duration::from_secs(3);

/// Much longer than any clause takes.
const LONG: Duration = Duration::from_secs(300);

async fn result(bench: &mut Bench) -> anyhow::Result<()> {
    for payload in [
        json!(null),
        json!(0.5),
        json!("\u{e9}\u{1f980}\n\"\\"),
        json!({"a": [1, {"b": null}], "": false}),
    ] {
        let id = bench
            .submit(json!({"type": "echo", "payload": payload}))
            .await?;
        let task = bench.await_state(&id, "completed", PATIENCE).await?;
        ensure!(
            task["result"] == payload,
            "{payload} came back as {}",
            task["result"]
        );
        ensure!(task["started_at"].is_string(), "ran_ms is not reported");
    }
    Ok(())
}

async fn large(bench: &mut Bench) -> anyhow::Result<()> {
    let payload = json!("x".repeat(200 * 1024));
    let id = bench
        .submit(json!({"type": "echo", "payload": payload}))
        .await?;
    let task = bench.await_state(&id, "completed", PATIENCE).await?;
    ensure!(task["result"] == payload, "it came back as another");
    Ok(())
}

async fn many(bench: &mut Bench) -> anyhow::Result<()> {
    const COUNT: u64 = 40;
    let mut ids = Vec::new();
    for nth in 0..COUNT {
        ids.push(
            bench
                .submit(json!({"type": "echo", "payload": nth}))
                .await?,
        );
    }
    for id in ids {
        bench.await_state(&id, "completed", PATIENCE * 4).await?;
    }
    let stats = bench.get("stats").await?;
    ensure!(
        stats["tasks"]["completed"] == COUNT,
        "counts: {}",
        stats["tasks"]
    );
    ensure!(
        stats["tasks"]["refused_stale"] == 0,
        "something was reported twice: {}",
        stats["tasks"]
    );
    Ok(())
}

async fn retry(bench: &mut Bench) -> anyhow::Result<()> {
    let policy = json!({"kind": "fixed", "delay": "20ms", "jitter": false});
    let flaky = json!({"type": "fail", "payload": {"times": 2}, "retry": policy});
    let id = bench.submit(flaky).await?;
    let task = bench.await_state(&id, "completed", PATIENCE).await?;
    ensure!(task["retry_count"] == 2, "attempts: {}", task["attempts"]);
    let hopeless =
        json!({"type": "fail", "payload": {"times": 9}, "max_retries": 1, "retry": policy});
    let id = bench.submit(hopeless).await?;
    let task = bench.await_state(&id, "failed", PATIENCE).await?;
    let error = task["error"].as_str().unwrap_or_default();
    ensure!(!error.is_empty(), "a failure tells no error");
    Ok(())
}

async fn unknown_type(bench: &mut Bench) -> anyhow::Result<()> {
    let strange = bench.submit(json!({"type": "nobody-runs-this"})).await?;
    let known = bench.submit(json!({"type": "echo"})).await?;
    bench.await_state(&known, "completed", PATIENCE).await?;
    let task = bench.get(&format!("tasks/{strange}")).await?;
    ensure!(
        task["status"] == "pending",
        "a task of a strange type: {}",
        brief(&task)
    );
    Ok(())
}

async fn beat(bench: &mut Bench) -> anyhow::Result<()> {
    let span = bench.ttl * 5 / 2;
    let id = bench.submit(sleep_task(span)).await?;
    let task = bench.await_state(&id, "completed", span + PATIENCE).await?;
    ensure!(
        task["losses"] == 0,
        "the session was lost: {}",
        brief(&task)
    );
    Ok(())
}

async fn cancel(bench: &mut Bench) -> anyhow::Result<()> {
    let id = bench.submit(sleep_task(LONG)).await?;
    bench.await_state(&id, "running", PATIENCE).await?;
    sleep(TAKES / 4).await;
    bench.post(&format!("tasks/{id}/cancel")).await?;
    bench.await_state(&id, "cancelled", bench.ttl * 2).await?;
    // Its slot is free again.
    let next = bench.submit(json!({"type": "echo"})).await?;
    bench.await_state(&next, "completed", PATIENCE).await?;
    Ok(())
}

async fn time_out(bench: &mut Bench) -> anyhow::Result<()> {
    let mut slow = sleep_task(LONG);
    slow["timeout"] = json!("500ms");
    slow["max_retries"] = json!(0);
    let id = bench.submit(slow).await?;
    // The backstop of the schedulers would take ten seconds more.
    let task = bench
        .await_state(&id, "failed", Duration::from_secs(6))
        .await?;
    let error = task["error"].as_str().unwrap_or_default();
    ensure!(error.contains("time-out"), "it is reported as: {error}");
    Ok(())
}

async fn lost_answer(bench: &mut Bench) -> anyhow::Result<()> {
    const COUNT: u64 = 10;
    bench.lose_answers(3, 2);
    let mut ids = Vec::new();
    for nth in 0..COUNT {
        ids.push(
            bench
                .submit(json!({"type": "echo", "payload": nth}))
                .await?,
        );
        sleep(Duration::from_millis(30)).await;
    }
    for id in ids {
        let task = bench.await_state(&id, "completed", PATIENCE * 2).await?;
        ensure!(
            task["losses"] == 0,
            "a lost answer lost the session: {}",
            brief(&task)
        );
    }
    let stats = bench.get("stats").await?;
    ensure!(
        stats["tasks"]["completed"] == COUNT,
        "counts: {}",
        stats["tasks"]
    );
    // What it did not hear of, it reports again: else it holds what has ended.
    let id = bench.submit(json!({"type": "echo"})).await?;
    bench.await_state(&id, "completed", PATIENCE).await?;
    Ok(())
}

async fn gateway_restart(bench: &mut Bench) -> anyhow::Result<()> {
    let id = bench.submit(sleep_task(bench.ttl)).await?;
    bench.await_state(&id, "running", PATIENCE).await?;
    bench.restart_gateway().await?;
    let task = bench
        .await_state(&id, "completed", bench.ttl + PATIENCE)
        .await?;
    ensure!(
        task["losses"] == 0,
        "the session did not go on: {}",
        brief(&task)
    );
    let next = bench.submit(json!({"type": "echo"})).await?;
    bench.await_state(&next, "completed", PATIENCE).await?;
    Ok(())
}

async fn silent_gateway(bench: &mut Bench) -> anyhow::Result<()> {
    for gateway in 0..GATEWAYS {
        let span = bench.ttl * 5 / 2;
        let id = bench.submit(sleep_task(span)).await?;
        bench.await_state(&id, "running", PATIENCE).await?;
        bench.silence(Some(gateway));
        let task = bench.await_state(&id, "completed", span + PATIENCE).await?;
        let next = bench.submit(json!({"type": "echo"})).await?;
        bench.await_state(&next, "completed", PATIENCE).await?;
        bench.silence(None);
        ensure!(
            task["losses"] == 0,
            "the session was lost: {}",
            brief(&task)
        );
    }
    Ok(())
}

async fn session_lost(bench: &mut Bench) -> anyhow::Result<()> {
    let id = bench.submit(sleep_task(Duration::from_secs(1))).await?;
    bench.await_state(&id, "running", PATIENCE).await?;
    bench.cut(true);
    bench
        .await_state(&id, "pending", bench.ttl + Duration::from_secs(3))
        .await?;
    bench.cut(false);
    let task = bench.await_state(&id, "completed", PATIENCE * 2).await?;
    ensure!(task["losses"] == 1, "it was lost once: {}", brief(&task));
    Ok(())
}

async fn drain_order(bench: &mut Bench) -> anyhow::Result<()> {
    let running = bench.submit(sleep_task(TAKES)).await?;
    bench.await_state(&running, "running", PATIENCE).await?;
    sleep(TAKES / 2).await;
    let nodes = bench.get("nodes").await?;
    let mut all = nodes["nodes"].as_array().into_iter().flatten();
    let worker = all.find(|node| node["role"] == "worker");
    let id = worker
        .and_then(|node| node["id"].as_str())
        .unwrap_or_default();
    bench.post(&format!("nodes/{id}/drain")).await?;
    bench
        .until("the offer is withdrawn", bench.ttl, async |bench| {
            let stats = bench.get("stats").await?;
            Ok(stats["slots"] == 0)
        })
        .await?;
    let late = bench.submit(json!({"type": "echo"})).await?;
    let task = bench.await_state(&running, "completed", PATIENCE).await?;
    ensure!(
        task["losses"] == 0,
        "what ran was not finished: {}",
        brief(&task)
    );
    let task = bench.get(&format!("tasks/{late}")).await?;
    ensure!(
        task["status"] == "pending",
        "a drained worker took a task: {}",
        brief(&task)
    );
    Ok(())
}

async fn leave(bench: &mut Bench) -> anyhow::Result<()> {
    let id = bench.submit(sleep_task(TAKES)).await?;
    bench.await_state(&id, "running", PATIENCE).await?;
    sleep(TAKES / 2).await;
    let well = bench.terminate(PATIENCE).await?;
    ensure!(well, "it did not end with code 0");
    let stats = bench.get("stats").await?;
    ensure!(
        stats["workers"] == 0,
        "it did not leave: its session goes on"
    );
    let task = bench.get(&format!("tasks/{id}")).await?;
    ensure!(
        task["status"] == "completed",
        "what ran was not finished: {}",
        brief(&task)
    );
    Ok(())
}
