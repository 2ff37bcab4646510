//! What a program that embeds Windlass exports.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use windlass::{Client, Context, NodeError, Scheduler, TaskError, Worker};

use super::collector::{Collector, Seen};
use super::is_child;

/// Submits a child under its own id, and fails the first time.
async fn parent(client: Client, ctx: Context) -> Result<(), TaskError> {
    let child = client.submit_raw("child", &()).key(ctx.task().to_string());
    child.child_of(&ctx).await?;
    match ctx.attempt().0 {
        1 => Err(TaskError::retry_after("again", Duration::from_millis(1))),
        _ => Ok(()),
    }
}

async fn run(collector: &Collector) -> Result<(), Box<dyn std::error::Error>> {
    let mut scheduler = Scheduler::builder()
        .in_memory()
        .id("s-1")
        .otlp(collector.url())
        .start()
        .await?;
    let client = scheduler.client();
    let own = client.clone();
    let mut worker = Worker::builder()
        .store(scheduler.store())
        .id("w-1")
        .otlp(collector.url())
        .handler_for("parent", move |_: Value, ctx| parent(own.clone(), ctx))
        .handler_for("child", async |_: Value, _: Context| Ok(()))
        .handler_for(
            "panics",
            async |_: Value, _: Context| -> Result<(), TaskError> { panic!("oh") },
        )
        .handler_for(
            "waits",
            async |_: Value, ctx: Context| -> Result<(), TaskError> {
                ctx.cancelled().await;
                Err("told to stop".into())
            },
        )
        .start()
        .await?;
    let parent = client.submit_raw("parent", &()).await?;
    assert_eq!(parent.ended().await?.status.as_str(), "completed");
    let child = client.submit_raw("child", &()).key(parent.id().to_string());
    child.await?.ended().await?;
    let panics = client.submit_raw("panics", &()).max_retries(0).await?;
    assert_eq!(panics.ended().await?.status.as_str(), "failed");
    let waits = client.submit_raw("waits", &()).await?;
    while waits.get().await?.status.as_str() != "running" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    waits.cancel().await?;
    assert_eq!(waits.ended().await?.status.as_str(), "cancelled");
    worker.stop();
    worker.wait().await?;
    scheduler.stop();
    scheduler.wait().await?;
    Ok(())
}

fn of_kind(seen: &[Seen], name: &str, kind: SpanKind) -> Vec<Seen> {
    let of = |span: &&Seen| span.kind == kind && span.attributes["windlass.task.type"] == name;
    seen.iter().filter(of).cloned().collect()
}

#[test]
fn what_a_handler_submits_hangs_below_its_own_attempt_and_is_the_same_task_in_the_next() {
    let collector = Collector::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&collector)).unwrap();
    let seen = collector.seen();
    let parents = of_kind(&seen, "parent", SpanKind::Consumer);
    let sent = of_kind(&seen, "child", SpanKind::Producer);
    let [first, second] = parents.try_into().unwrap();
    let [by_first, by_second, by_test] = sent.try_into().unwrap();
    assert!(is_child(&by_first, &first) && is_child(&by_second, &second));
    assert!(by_test.parent.is_empty());
    // One task, which is the child of whoever submitted it first.
    let [child] = of_kind(&seen, "child", SpanKind::Consumer)
        .try_into()
        .unwrap();
    assert!(is_child(&child, &by_first));
    let [panicked] = of_kind(&seen, "panics", SpanKind::Consumer)
        .try_into()
        .unwrap();
    assert_eq!(panicked.attributes["error.type"], "panicked");
    assert_eq!(panicked.message, "the handler panicked: oh");
    let [cancelled] = of_kind(&seen, "waits", SpanKind::Consumer)
        .try_into()
        .unwrap();
    assert_eq!(cancelled.attributes["windlass.outcome"], "cancelled");
    assert!(!cancelled.failed, "somebody wanted it");
}

#[tokio::test]
async fn a_builder_says_what_is_no_collector() {
    let worker = Worker::builder().otlp("collector:4317").start().await;
    let scheduler = Scheduler::builder()
        .in_memory()
        .otlp("collector:4317")
        .start()
        .await;
    for error in [worker.unwrap_err(), scheduler.unwrap_err()] {
        let is_told = matches!(error, NodeError::Option { field: "otlp", .. });
        assert!(is_told, "{error:?}");
    }
}
