//! What a handler's end means for its task, and what is refused at the start.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use windlass::{Context, NodeError, TaskError, TaskState, WaitError, Worker, WorkerBuilder};

use crate::tasks::{cluster, echo, echoing, say};

async fn refused(worker: WorkerBuilder) -> String {
    let scheduler = windlass::Scheduler::builder().in_memory().start().await;
    let store = scheduler.unwrap().store();
    worker.store(store).start().await.unwrap_err().to_string()
}

#[tokio::test]
async fn what_a_worker_cannot_be_is_told_at_its_start() {
    let worker = Worker::builder;
    let twice = refused(worker().handler(say).handler(say)).await;
    assert_eq!(twice, "the task type say has a handler already");
    let stock = refused(worker().handler_for("echo", say)).await;
    assert_eq!(stock, "the task type echo has a handler already");
    assert!(
        refused(worker().handler_for("no name", say))
            .await
            .contains("no name")
    );
    assert!(
        refused(worker().queues(["ok", "@w"]))
            .await
            .starts_with("queues: \"@w\"")
    );
    assert!(refused(worker().id("a b")).await.starts_with("id: "));
    assert!(refused(worker().slots(0)).await.starts_with("slots: "));
    assert!(refused(worker().weight(0)).await.starts_with("weight: "));
    assert!(
        refused(worker().ttl(Duration::ZERO))
            .await
            .starts_with("ttl: ")
    );
    for bytes in [0, (1 << 20) + 1] {
        assert!(
            refused(worker().result_max(bytes))
                .await
                .starts_with("result_max: ")
        );
    }
    let nowhere = worker().start().await.unwrap_err();
    assert!(matches!(nowhere, NodeError::NoStore), "{nowhere:?}");
}

#[tokio::test]
async fn a_payload_that_does_not_parse_fails_the_task_for_good_and_says_what_is_wrong() {
    let windlass = echoing().await;
    let client = windlass.client();
    let task = client
        .submit_raw("say", &json!({"txet": "hi"}))
        .await
        .unwrap();
    let ended = task.ended().await.unwrap();
    assert_eq!((ended.status, ended.retry_count), (TaskState::Failed, 0));
    let error = ended.error.unwrap();
    for word in ["say", "Echo", "missing field `text`"] {
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_is_tried_again_a_verdict_is_obeyed_and_a_panic_is_a_failed_attempt() {
    async fn moody(how: String, ctx: Context) -> Result<u32, TaskError> {
        match (how.as_str(), ctx.attempt().0) {
            ("error", 1) => Ok("x".parse::<u32>()?),
            ("text", 1) => Err("not yet")?,
            ("anyhow", 1) => Err(anyhow::anyhow!("not yet"))?,
            ("panic", 1) => panic!("oh"),
            ("later", 1) => Err(TaskError::retry_after("busy", Duration::from_secs(7_200))),
            ("never", _) => Err(TaskError::fail("cannot be")),
            (_, attempt) => Ok(attempt),
        }
    }
    let windlass = cluster(Worker::builder().handler_for("moody", moody)).await;
    let client = windlass.client();
    for how in ["error", "text", "anyhow", "panic"] {
        let task = client.submit_raw("moody", &how).await.unwrap();
        assert_eq!(task.wait().await.unwrap(), json!(2), "{how}");
    }
    let began = Instant::now();
    let later = client.submit_raw("moody", &"later").await.unwrap();
    assert_eq!(later.wait().await.unwrap(), json!(2));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(7_200), "{took:?}");
    assert!(took < Duration::from_secs(7_300), "{took:?}");
    let never = client.submit_raw("moody", &"never").await.unwrap();
    let error = never.wait().await.unwrap_err();
    assert!(matches!(error, WaitError::Failed(_)), "{error:?}");
    assert!(
        error.to_string().ends_with("has failed: cannot be"),
        "{error}"
    );
    assert_eq!(never.get().await.unwrap().retry_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_carries_what_its_type_says() {
    let windlass = echoing().await;
    let task = windlass.client().submit(&echo("hi")).await.unwrap();
    assert_eq!(task.wait().await.unwrap(), "hi");
    let info = task.get().await.unwrap();
    assert_eq!((info.kind.as_str(), info.queue.as_str()), ("say", "talk"));
    assert_eq!(
        (info.max_retries, info.timeout),
        (1, Duration::from_secs(90))
    );
    assert_eq!(info.payload::<crate::tasks::Echo>().unwrap().text, "hi");
    assert!(info.completed_at.unwrap() >= info.created_at);
}
