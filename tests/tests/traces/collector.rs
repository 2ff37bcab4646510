//! An OpenTelemetry collector that remembers what it is sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use windlass_tests::eventually;

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// What it says of its node.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) failed: bool,
    pub(crate) message: String,
}

impl Seen {
    /// The header that names it.
    pub(crate) fn trace_parent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    fn of(span: Span, resource: &BTreeMap<String, String>) -> Self {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        let status = span.status.unwrap_or_default();
        Self {
            kind: SpanKind::try_from(span.kind).unwrap(),
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: texts(span.attributes),
            resource: resource.clone(),
            failed: status.code == i32::from(StatusCode::Error),
            message: status.message,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    let pairs = attributes
        .into_iter()
        .map(|it| (it.key, text(it.value.and_then(|value| value.value))));
    pairs.collect()
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Seen>>>);

#[tonic::async_trait]
impl TraceService for Memory {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for node in request.into_inner().resource_spans {
            let resource = texts(node.resource.unwrap_or_default().attributes);
            let spans = node.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let seen = spans.map(|span| Seen::of(span, &resource));
            self.0.lock().unwrap().extend(seen);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector on a free port of this machine.
pub(crate) struct Collector {
    memory: Memory,
    url: String,
    _runtime: Runtime,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let memory = Memory::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(memory.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        runtime.spawn(server);
        Self {
            memory,
            url,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Everything that came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.memory.0.lock().unwrap().clone()
    }

    /// The spans of a task, of both kinds, in the order of their attempts, once `count` are there.
    pub(crate) fn of_task(&self, id: &str, count: usize) -> Vec<Seen> {
        let mut spans = eventually("the spans of a task are there", || {
            let mut seen = self.seen();
            seen.retain(|span| {
                span.attributes
                    .get("messaging.message.id")
                    .map(String::as_str)
                    == Some(id)
            });
            (seen.len() >= count).then_some(seen)
        });
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans.sort_by_key(|span| span.attributes.get("windlass.attempt").cloned());
        spans
    }
}
