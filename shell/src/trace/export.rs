//! From ended spans to the collector: a bounded queue, batches, retries (those two are the SDK's), and a log that tells of
//! lost spans now and then, not of each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;
use tracing::{info, warn};
use windlass_core::ids::NodeId;

use super::collector::{Collector, CollectorError};

/// Spans that may wait for the collector: some ten megabytes, and a second of a busy node.
const QUEUE_MAX: usize = 16_384;
/// How long the collector may take for a batch, retries included.
const EXPORT_MAX: Duration = Duration::from_secs(5);
/// The log tells of lost spans no more often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What is known of the way to the collector.
#[derive(Debug, Clone)]
pub(super) struct Pipeline(Arc<State>);

#[derive(Debug)]
struct State {
    node: NodeId,
    collector: Collector,
    /// Spans that wait.
    waiting: AtomicUsize,
    losses: Mutex<Losses>,
}

/// The way of `node` to `collector`: what spans enter by, and what is known of it.
pub(super) fn pipeline(
    node: &NodeId,
    collector: &Collector,
) -> Result<(Pipeline, impl SpanProcessor + use<>), CollectorError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(collector.channel(EXPORT_MAX)?)
        .with_timeout(EXPORT_MAX)
        .build()
        .map_err(|error| CollectorError::Setting(error.to_string()))?;
    let pipeline = Pipeline(Arc::new(State {
        node: node.clone(),
        collector: collector.clone(),
        waiting: AtomicUsize::new(0),
        losses: Mutex::default(),
    }));
    let exporter = Exporter {
        inner: Arc::new(exporter),
        runtime: Handle::current(),
        pipeline: pipeline.clone(),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .build();
    let batches = BatchSpanProcessor::builder(exporter)
        .with_batch_config(config)
        .build();
    let entrance = Entrance {
        batches,
        pipeline: pipeline.clone(),
    };
    Ok((pipeline, entrance))
}

impl Pipeline {
    /// Tells of what the collector has not taken before the end.
    pub(super) fn tell_of_the_rest(&self) {
        let left = self.0.waiting.load(Ordering::SeqCst);
        let lost = self.losses().take() + left;
        if lost > 0 {
            let State {
                node, collector, ..
            } = &*self.0;
            warn!(%node, %collector, lost, "spans were lost: the collector had not taken them before the end");
        }
    }

    /// Makes room for a span; false when there is none.
    fn enter(&self) -> bool {
        let room = |waiting| (waiting < QUEUE_MAX).then_some(waiting + 1);
        let (relaxed, waiting) = (Ordering::Relaxed, &self.0.waiting);
        let entered = waiting.fetch_update(relaxed, relaxed, room).is_ok();
        if !entered {
            self.losses().lost += 1;
        }
        entered
    }

    /// A batch of `count` spans was taken, or is lost.
    fn leave(&self, count: usize, result: &OTelSdkResult) {
        self.0.waiting.fetch_sub(count, Ordering::Relaxed);
        let news = self.losses().note(Instant::now(), count, result.is_ok());
        let State {
            node, collector, ..
        } = &*self.0;
        match (news, result) {
            (Some(News::Lost(lost)), Ok(())) => {
                warn!(%node, %collector, lost, "spans were lost: they came faster than the collector took them");
            }
            (Some(News::Lost(lost)), Err(error)) => {
                warn!(%node, %collector, lost, %error, "spans are lost: the collector does not take them");
            }
            (Some(News::Taken), _) => info!(%node, %collector, "the collector takes spans again"),
            (None, _) => {}
        }
    }

    fn losses(&self) -> std::sync::MutexGuard<'_, Losses> {
        self.0.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// As many spans were lost since it was told last.
    Lost(usize),
    /// The collector takes spans again.
    Taken,
}

/// Spans that were lost, and what the log knows of that.
#[derive(Debug, Default)]
struct Losses {
    /// Not told yet.
    lost: usize,
    told: Option<Instant>,
    /// The log's last word was that the collector takes none.
    refuses: bool,
}

impl Losses {
    /// What is to be told once a batch of `count` spans was taken, or was not.
    fn note(&mut self, now: Instant, count: usize, taken: bool) -> Option<News> {
        if !taken {
            self.lost += count;
        }
        let quiet = self
            .told
            .is_some_and(|told| now.duration_since(told) < TELL_EVERY);
        if self.lost > 0 && !quiet {
            self.told = Some(now);
            self.refuses = !taken;
            return Some(News::Lost(self.take()));
        }
        (taken && std::mem::take(&mut self.refuses)).then_some(News::Taken)
    }

    fn take(&mut self) -> usize {
        std::mem::take(&mut self.lost)
    }
}

/// What lets spans into the queue, and counts those that find it full.
#[derive(Debug)]
struct Entrance {
    batches: BatchSpanProcessor,
    pipeline: Pipeline,
}

impl SpanProcessor for Entrance {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.pipeline.enter() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends batches, on the runtime: the SDK's own thread has no timers, and the SDK's time-out does not cover a connection
/// that is not made.
#[derive(Debug)]
struct Exporter {
    inner: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Handle,
    pipeline: Pipeline,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (count, inner) = (batch.len(), Arc::clone(&self.inner));
        let sent = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(EXPORT_MAX, inner.export(batch)).await;
            sent.unwrap_or(Err(OTelSdkError::Timeout(EXPORT_MAX)))
        });
        let ended =
            |error: tokio::task::JoinError| OTelSdkError::InternalFailure(error.to_string());
        let result = sent.await.unwrap_or_else(|error| Err(ended(error)));
        self.pipeline.leave(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        let inner = Arc::get_mut(&mut self.inner);
        inner
            .expect("the resource is set before the first batch")
            .set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_told_of_losses_once_in_a_while_and_of_their_end() {
        let mut losses = Losses::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(losses.note(after(0), 5, true), None);
        assert_eq!(losses.note(after(1), 5, false), Some(News::Lost(5)));
        assert_eq!(losses.note(after(2), 6, false), None);
        assert_eq!(losses.note(after(30), 7, false), None);
        assert_eq!(losses.note(after(61), 1, false), Some(News::Lost(14)));
        assert_eq!(losses.note(after(62), 1, true), Some(News::Taken));
        assert_eq!(losses.note(after(63), 1, true), None);
        losses.lost += 3;
        assert_eq!(losses.note(after(64), 1, true), None);
        assert_eq!(losses.note(after(200), 1, true), Some(News::Lost(3)));
        assert_eq!(losses.note(after(201), 1, true), None);
    }

    #[tokio::test]
    async fn a_full_queue_loses_spans_and_counts_them() {
        let collector: Collector = "http://127.0.0.1:1".parse().unwrap();
        let (pipeline, _entrance) = pipeline(&"w-1".parse().unwrap(), &collector).unwrap();
        assert!((0..QUEUE_MAX).all(|_| pipeline.enter()));
        assert!(!pipeline.enter());
        assert_eq!(pipeline.losses().lost, 1);
        pipeline.leave(2, &Ok(()));
        assert!(pipeline.enter() && pipeline.enter() && !pipeline.enter());
    }
}
