//! A layer around all handlers of a worker: how long attempts took, and how they went. `cargo run --example middleware`
#![allow(
    clippy::print_stdout,
    reason = "that is how an example shows something"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tower::{Layer, Service};
use windlass::{Json, Scheduler, Task, TaskError, TaskRequest, Worker};

/// Attempts that went well, those that did not, and the time that all of them took; by type.
type Figures = Arc<Mutex<BTreeMap<String, (u64, u64, Duration)>>>;

#[derive(Clone, Default)]
struct Measure(Figures);

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        let figures = Arc::clone(&self.0);
        Measured { inner, figures }
    }
}

#[derive(Clone)]
struct Measured<S> {
    inner: S,
    figures: Figures,
}

impl<S> Service<TaskRequest> for Measured<S>
where
    S: Service<TaskRequest, Response = Json, Error = TaskError>,
    S::Future: Send + 'static,
{
    type Response = Json;
    type Error = TaskError;
    type Future = BoxFuture<'static, Result<Json, TaskError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), TaskError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: TaskRequest) -> Self::Future {
        let (kind, began) = (request.context().kind().to_string(), Instant::now());
        let (figures, attempt) = (Arc::clone(&self.figures), self.inner.call(request));
        Box::pin(async move {
            let outcome = attempt.await;
            let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
            let (done, failed, took) = figures.entry(kind).or_default();
            *done += u64::from(outcome.is_ok());
            *failed += u64::from(outcome.is_err());
            *took += began.elapsed();
            outcome
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Halve(u32);

impl Task for Halve {
    const TYPE: &'static str = "halve";
    type Output = u32;
}

async fn halve(Halve(number): Halve) -> Result<u32, TaskError> {
    match number % 2 {
        0 => Ok(number / 2),
        _ => Err(TaskError::fail("is odd")),
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let measure = Measure::default();
    let scheduler = Scheduler::builder().in_memory().start().await?;
    let _worker = Worker::builder()
        .store(scheduler.store())
        .handler(halve)
        .layer(measure.clone())
        .start()
        .await?;
    let client = scheduler.client();
    for number in 0..10 {
        let halved = client.submit(&Halve(number)).await?.wait().await;
        println!("half of {number}: {halved:?}");
    }
    let figures = measure.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, failed, took) = figures[Halve::TYPE];
    println!("{done} done, {failed} failed, in {took:?}");
    assert_eq!((done, failed), (5, 5));
    Ok(())
}
