//! What stands around handlers.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tower::util::{BoxCloneSyncService, MapRequestLayer};
use tower::{ServiceExt, layer::layer_fn};
use windlass::testing::run;
use windlass::{Json, StopReason, TaskRequest, TaskService, TaskState, Worker};

use crate::tasks::{cluster, echo, say};

type Seen = Arc<Mutex<Vec<&'static str>>>;

fn noting(
    seen: &Seen,
    word: &'static str,
) -> impl Fn(TaskRequest) -> TaskRequest + Clone + Send + Sync + 'static {
    let seen = Arc::clone(seen);
    move |request| {
        assert_eq!(request.context().kind().as_str(), "say");
        seen.lock().unwrap().push(word);
        request
    }
}

#[tokio::test]
async fn the_first_layer_is_the_outermost_and_may_be_told_before_or_after_the_handlers() {
    let seen = Seen::default();
    let worker = Worker::builder()
        .layer(MapRequestLayer::new(noting(&seen, "outer")))
        .handler(say)
        .layer(MapRequestLayer::new(noting(&seen, "inner")));
    let windlass = cluster(worker).await;
    let task = windlass.client().submit(&echo("hi")).await.unwrap();
    assert_eq!(task.wait().await.unwrap(), "hi");
    assert_eq!(*seen.lock().unwrap(), ["outer", "inner"]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_layer_is_a_failed_attempt_and_a_handlers_verdict_comes_through() {
    let brittle = layer_fn(|inner: TaskService| {
        BoxCloneSyncService::new(
            inner
                .map_request(|request| request)
                .map_err(|failure| -> Box<dyn std::error::Error + Send + Sync> { failure.into() }),
        )
    });
    let broken = layer_fn(|_: TaskService| {
        tower::service_fn(|_: TaskRequest| async {
            Err::<Json, _>(Box::<dyn std::error::Error + Send + Sync>::from(
                io::Error::other("no way through"),
            ))
        })
    });
    let windlass = cluster(Worker::builder().handler(say).layer(brittle)).await;
    let payload = json!({"txet": 1});
    let task = windlass.client().submit_raw("say", &payload).await.unwrap();
    assert_eq!(task.ended().await.unwrap().retry_count, 0);

    let windlass = cluster(Worker::builder().handler(say).layer(broken)).await;
    let task = windlass.client().submit(&echo("hi")).await.unwrap();
    let ended = task.ended().await.unwrap();
    assert_eq!((ended.status, ended.retry_count), (TaskState::Failed, 1));
    assert_eq!(ended.error.as_deref(), Some("no way through"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_run_alone_has_every_lock_and_is_stopped_as_it_is_told() {
    use std::time::Duration;
    use windlass::{Context, TaskError};

    async fn locked(name: String, ctx: Context) -> Result<(u64, u64), TaskError> {
        let one = ctx.lock(&name).await?.fence();
        ctx.progress(0.5);
        let two = ctx.lock("other").await?.fence();
        Ok((one.0.0, two.0.0))
    }
    async fn patient(_: (), ctx: Context) -> Result<Option<StopReason>, TaskError> {
        ctx.cancelled().await;
        Ok(ctx.reason())
    }
    let shown = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&shown);
    let (one, two) = run(locked, "l".to_owned())
        .fence(7)
        .on_progress(move |json| kept.lock().unwrap().push(json.as_str().to_owned()))
        .await
        .unwrap();
    assert!(7 < one && one < two);
    assert_eq!(*shown.lock().unwrap(), ["0.5"]);
    let limit = Duration::from_secs(9);
    let reason = run(patient, ()).timeout(limit).await.unwrap();
    assert_eq!(reason, Some(StopReason::TimeOut));
    let early = run(patient, ()).stop_after(limit, StopReason::Cancel).await;
    assert_eq!(early.unwrap(), Some(StopReason::Cancel));
}
