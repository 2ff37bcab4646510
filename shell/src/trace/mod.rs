//! Traces: the W3C context that tasks carry, and the spans that a node exports to an OpenTelemetry collector when it is
//! told of one. A [`Traces`] is handed to whatever makes spans; where there is none, nothing is made.

mod collector;
mod context;
mod export;
mod span;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use windlass_core::ids::NodeId;
use windlass_core::keyspace::Role;

pub use self::collector::{Collector, CollectorError};
pub(crate) use self::context::is_sound;
use self::export::Pipeline;
pub(crate) use self::span::{AttemptEnd, AttemptSpan};
use crate::node::VERSION;

/// How long a node that ends waits for the collector to take its last spans.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Where a node's spans go. Cheap to clone. Making a span never waits: spans are queued, and lost when the queue is full.
#[derive(Clone)]
pub struct Traces(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    closed: AtomicBool,
}

impl Traces {
    /// Exports the spans of `node`, which is a `role`, to `collector`. To be called within a tokio runtime. The
    /// collector need not be there yet.
    pub fn export(
        collector: &Collector,
        role: Role,
        node: &NodeId,
    ) -> Result<Self, CollectorError> {
        let (pipeline, processor) = export::pipeline(node, collector)?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(role, node))
            .with_span_processor(processor)
            .build();
        let scope = InstrumentationScope::builder("windlass").with_version(VERSION);
        Ok(Self(Arc::new(Shared {
            pipeline,
            tracer: provider.tracer_with_scope(scope.build()),
            provider,
            closed: AtomicBool::new(false),
        })))
    }

    /// Exports what is queued, and ends. Waits for the collector two seconds at most; spans that end later are lost.
    pub async fn close(&self) {
        if self.0.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let provider = self.0.provider.clone();
        let closing =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(CLOSE_MAX));
        // Whatever went wrong shows in what is left.
        let _ = closing.await;
        self.0.pipeline.tell_of_the_rest();
    }

    fn tracer(&self) -> &SdkTracer {
        &self.0.tracer
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::SeqCst) {
            // The last handle of a provider waits for its exporter, which a thread of the runtime must not do.
            let provider = self.provider.clone();
            let closing = move || {
                let _ = provider.shutdown_with_timeout(CLOSE_MAX);
            };
            // Without a thread the spans are lost, as in a crash.
            let _ = std::thread::Builder::new()
                .name("traces-end".to_owned())
                .spawn(closing);
        }
    }
}

/// What all spans of a node have in common. The environment may name the service otherwise (`OTEL_SERVICE_NAME`), and say
/// more of it (`OTEL_RESOURCE_ATTRIBUTES`).
fn resource(role: Role, node: &NodeId) -> Resource {
    let told = Resource::builder().build();
    let is_named = told
        .get(&Key::new("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let name = (!is_named).then(|| KeyValue::new("service.name", "windlass"));
    let own = [
        KeyValue::new("service.version", VERSION),
        KeyValue::new("service.instance.id", node.to_string()),
        KeyValue::new("windlass.role", role.to_string()),
    ];
    Resource::builder()
        .with_attributes(own.into_iter().chain(name))
        .build()
}
