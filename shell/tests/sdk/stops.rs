//! How workers and handlers end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use windlass::testing::Windlass;
use windlass::{Context, Scheduler, StopReason, TaskError, TaskState, Worker, WorkerBuilder};

use crate::tasks::{cluster, echo, say};

/// Handlers that tell when they begin, and why they were stopped.
struct Patient {
    begun: mpsc::UnboundedReceiver<u32>,
    stopped: mpsc::UnboundedReceiver<Option<StopReason>>,
}

impl Patient {
    fn worker() -> (Self, WorkerBuilder) {
        let ((begins, begun), (stops, stopped)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let handler = move |_: Value, ctx: Context| {
            let (begins, stops) = (begins.clone(), stops.clone());
            async move {
                begins.send(ctx.attempt().0)?;
                ctx.cancelled().await;
                stops.send(ctx.reason())?;
                Err::<Value, _>(TaskError::retry("stopped"))
            }
        };
        let worker = Worker::builder().handler_for("patient", handler);
        (Self { begun, stopped }, worker)
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_tell_a_cancellation_from_a_time_out() {
    let (mut patient, worker) = Patient::worker();
    let windlass = cluster(worker).await;
    let client = windlass.client();
    let task = client.submit_raw("patient", &()).await.unwrap();
    patient.begun.recv().await.unwrap();
    client.cancel(task.id()).await.unwrap();
    assert_eq!(
        patient.stopped.recv().await.unwrap(),
        Some(StopReason::Cancel)
    );
    assert_eq!(task.ended().await.unwrap().status, TaskState::Cancelled);

    let short = client.submit_raw("patient", &()).max_retries(0);
    let task = short.timeout(Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        patient.stopped.recv().await.unwrap(),
        Some(StopReason::TimeOut)
    );
    assert_eq!(task.ended().await.unwrap().status, TaskState::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_told_to_stop_hands_back_what_does_not_end_within_its_grace() {
    let (mut patient, worker) = Patient::worker();
    let windlass = cluster(Worker::builder().queues(["none"])).await;
    let mut leaving = windlass
        .worker(worker.grace(Duration::from_secs(3)))
        .unwrap();
    let task = windlass.client().submit_raw("patient", &()).await.unwrap();
    patient.begun.recv().await.unwrap();
    leaving.stop();
    leaving.wait().await.unwrap();
    assert_eq!(
        patient.stopped.recv().await.unwrap(),
        Some(StopReason::Shutdown)
    );
    let info = task.get().await.unwrap();
    assert_eq!(
        (info.status, info.retry_count, info.losses),
        (TaskState::Pending, 0, 0)
    );
    leaving.wait().await.unwrap();

    let next = Worker::builder().handler_for("patient", async |_: Value| Ok(json!("done")));
    let _next = windlass.worker(next).unwrap();
    assert_eq!(task.wait().await.unwrap(), json!("done"));
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_takes_its_handlers_with_it_and_another_runs_their_tasks() {
    let windlass: Windlass = cluster(Worker::builder().queues(["none"])).await;
    let (gone, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (in_handler, begins) = (Arc::clone(&gone), Arc::clone(&begun));
    let hangs = move |_: Value| {
        let (guard, begins) = (Dropped(Arc::clone(&in_handler)), Arc::clone(&begins));
        async move {
            begins.notify_one();
            std::future::pending::<()>().await;
            drop(guard);
            Ok(Value::Null)
        }
    };
    let worker = windlass.worker(Worker::builder().handler_for("t", hangs));
    let task = windlass.client().submit_raw("t", &()).await.unwrap();
    begun.notified().await;
    drop(worker);
    while !gone.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    let again =
        Worker::builder().handler_for("t", async |_: Value, ctx: Context| Ok(ctx.attempt().0));
    let _again = windlass.worker(again).unwrap();
    assert_eq!(task.wait().await.unwrap(), json!(2));
    assert_eq!(task.get().await.unwrap().losses, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_when_its_worker_must_go_is_told_of() {
    let scheduler = Scheduler::builder().in_memory().start().await.unwrap();
    let (free, wedged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let (until, told) = (Arc::clone(&free), Arc::clone(&wedged));
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    let blocks = move |_: Value| {
        let (until, begins) = (Arc::clone(&until), Arc::clone(&begins));
        async move {
            begins.notify_one();
            while !until.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok(Value::Null)
        }
    };
    let mut worker = Worker::builder()
        .store(scheduler.store())
        .ttl(Duration::from_secs(2))
        .grace(Duration::ZERO)
        .handler_for("blocks", blocks)
        .on_wedged(move || {
            told.fetch_add(1, Ordering::SeqCst);
        })
        .start()
        .await
        .unwrap();
    scheduler.client().submit_raw("blocks", &()).await.unwrap();
    begun.notified().await;
    worker.stop();
    let ended = worker.wait().await.unwrap_err().to_string();
    assert_eq!(wedged.load(Ordering::SeqCst), 1, "{ended}");
    assert!(ended.contains("did not stop"), "{ended}");
    free.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn what_was_kept_in_a_directory_is_there_for_the_next_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Scheduler::builder().data_dir(folder.path()).start();
    let mut first = start().await.unwrap();
    let id = first.client().submit(&echo("kept")).await.unwrap().id();
    assert!(start().await.is_err(), "one at a time");
    first.stop();
    first.wait().await.unwrap();
    drop(first);
    let second = start().await.unwrap();
    let _worker = Worker::builder()
        .store(second.store())
        .handler(say)
        .start()
        .await
        .unwrap();
    let task = second.client().task::<crate::tasks::Echo>(id);
    assert_eq!(task.wait().await.unwrap(), "kept");
}
