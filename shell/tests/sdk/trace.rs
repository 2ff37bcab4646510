//! What ties a handler's work to what came before it.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use windlass::testing::Windlass;
use windlass::{Context, TaskError, Worker};

use crate::tasks::{cluster, echo, say};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_handlers_log_lines_say_which_attempt_they_are_of() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let speaks = async |_: Value, ctx: Context| {
        tracing::info!("here I am");
        Ok(json!(ctx.fence()))
    };
    let windlass = cluster(Worker::builder().handler_for("speaks", speaks)).await;
    let task = windlass
        .client()
        .submit_raw("speaks", &())
        .metadata("traceparent", TRACE)
        .await
        .unwrap();
    let fence = task.wait().await.unwrap();
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("here I am"))
        .unwrap();
    let fence = fence
        .as_str()
        .map_or_else(|| fence.to_string(), str::to_owned);
    for part in [
        format!("id={}", task.id()),
        "type=speaks".to_owned(),
        "attempt=1".to_owned(),
        format!("fence={fence}"),
        TRACE.to_owned(),
    ] {
        assert!(line.contains(&part), "{part} is not in: {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_belongs_to_its_parents_trace() {
    let children = Arc::new(std::sync::OnceLock::new());
    let client = Arc::clone(&children);
    let parent = move |_: Value, ctx: Context| {
        let client: Arc<std::sync::OnceLock<windlass::Client>> = Arc::clone(&client);
        async move {
            let client = client.get().ok_or("no client")?;
            let child = client
                .submit(&echo("hi"))
                .key(ctx.task().to_string())
                .child_of(&ctx)
                .await?;
            Ok::<_, TaskError>(child.id())
        }
    };
    let worker = Worker::builder().handler(say).handler_for("parent", parent);
    let windlass: Windlass = cluster(worker).await;
    let client = children.get_or_init(|| windlass.client());
    for trace in [Some(TRACE), None] {
        let submission = client.submit_raw("parent", &());
        let submission = match trace {
            Some(trace) => submission.metadata("traceparent", trace),
            None => submission.queue("other"),
        };
        let result = submission.await.unwrap().wait().await.unwrap();
        let child = client
            .get(serde_json::from_value(result).unwrap())
            .await
            .unwrap();
        let carried = child.metadata.get("traceparent").map(String::as_str);
        assert_eq!(carried, trace);
    }
}
