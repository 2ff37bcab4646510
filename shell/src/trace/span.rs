//! The spans themselves, named and described by OpenTelemetry's conventions for messaging: `send QUEUE` for a submission,
//! `process QUEUE` for an attempt. <https://opentelemetry.io/docs/specs/semconv/messaging/>

use std::borrow::Cow;
use std::collections::BTreeMap;

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;
use windlass_core::gateway::{Submitted, TaskSpec};
use windlass_core::record::StopReason;
use windlass_core::worker::Start;

use super::{Traces, context};
use crate::executor::TRACE_PARENT;

/// A span, which ends at the latest when it is dropped.
struct Open {
    // Dropped in this order: a span has a handle of its own on what exports it, and that should not be the last.
    span: Span,
    _traces: Traces,
}

impl Traces {
    fn open(&self, span: SpanBuilder, parent: Option<SpanContext>) -> Open {
        let context = match parent {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        Open {
            span: span.start_with_context(self.tracer(), &context),
            _traces: self.clone(),
        }
    }

    /// Begins the spans of a submission: one, or as many as the tasks belong to traces. A task belongs to that of its own
    /// label, else to `request`'s, and carries its span from now on.
    pub(crate) fn send(&self, tasks: &mut [TaskSpec], request: Option<&str>) -> Sending {
        let request = request.and_then(context::parse);
        let mut traces: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for (at, task) in tasks.iter().enumerate() {
            let own = task.metadata.get(TRACE_PARENT);
            let own = own.and_then(|text| context::parse(text));
            let parent = own.or_else(|| request.clone());
            traces
                .entry(parent.as_ref().and_then(context::spell))
                .or_default()
                .push(at);
        }
        let sent = traces.into_iter().map(|(parent, members)| {
            let of = members.iter().map(|at| &tasks[*at]).collect::<Vec<_>>();
            let open = self.open(sending(&of), parent.as_deref().and_then(context::parse));
            if let Some(carried) = context::spell(open.span.span_context()).or(parent) {
                for at in &members {
                    carry(&mut tasks[*at], &carried);
                }
            }
            Sent { open, members }
        });
        Sending(sent.collect())
    }

    /// Begins the span of an attempt.
    pub(crate) fn process(&self, start: &Start) -> AttemptSpan {
        let parent = start.metadata.get(TRACE_PARENT);
        let parent = parent.and_then(|text| context::parse(text));
        let queue = start.queue.as_str();
        let mut attributes = described("process", Some(queue), Some(start.kind.as_str()));
        attributes.extend([
            KeyValue::new("messaging.message.id", start.task.to_string()),
            KeyValue::new("windlass.attempt", i64::from(start.attempt.0)),
            KeyValue::new("windlass.fence", whole(start.fence.0.0)),
        ]);
        let span = SpanBuilder::from_name(format!("process {queue}"))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes);
        AttemptSpan(self.open(span, parent))
    }
}

/// Lets a task carry a span, unless its label says something that is none.
fn carry(task: &mut TaskSpec, span: &str) {
    let label = task.metadata.get(TRACE_PARENT);
    if label.is_none_or(|label| context::is_sound(label)) {
        task.metadata
            .insert(TRACE_PARENT.to_owned(), span.to_owned());
    }
}

/// What spans say of what they are, and of the queue and the type.
fn described(operation: &'static str, queue: Option<&str>, kind: Option<&str>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("messaging.system", "windlass"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
    ];
    attributes
        .extend(queue.map(|queue| KeyValue::new("messaging.destination.name", queue.to_owned())));
    attributes.extend(kind.map(|kind| KeyValue::new("windlass.task.type", kind.to_owned())));
    attributes
}

/// The span of a submission. What its tasks do not have in common is not said.
fn sending(tasks: &[&TaskSpec]) -> SpanBuilder {
    let queue = common(tasks.iter().map(|task| task.queue.as_str()));
    let kind = common(tasks.iter().map(|task| task.kind.as_str()));
    let mut attributes = described("send", queue, kind);
    if tasks.len() > 1 {
        let count = i64::try_from(tasks.len()).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("messaging.batch.message_count", count));
    }
    let name: Cow<'static, str> = match queue {
        Some(queue) => format!("send {queue}").into(),
        None => "send".into(),
    };
    SpanBuilder::from_name(name)
        .with_kind(SpanKind::Producer)
        .with_attributes(attributes)
}

fn common<'a>(mut texts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = texts.next()?;
    texts.all(|text| text == first).then_some(first)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A submission under way.
pub(crate) struct Sending(Vec<Sent>);

struct Sent {
    open: Open,
    /// Which of the request's tasks.
    members: Vec<usize>,
}

impl Sending {
    /// The fates of the request's tasks are known, in their order; or nothing is.
    pub(crate) fn end(self, fates: Option<&[Submitted]>) {
        for Sent { mut open, members } in self.0 {
            let fate = |at: &usize| fates.and_then(|fates| fates.get(*at));
            let known: Vec<_> = members.iter().filter_map(fate).collect();
            if let [only] = *known
                && let Some(id) = id_of(only)
            {
                let id = KeyValue::new("messaging.message.id", id);
                open.span.set_attribute(id);
            }
            let failures = known.iter().map(|fate| failure_of(fate));
            // One that was acknowledged makes it a submission.
            let failure = failures.reduce(|one, other| one.and(other));
            if let Some(kind) = failure.unwrap_or(Some("unanswered")) {
                open.span.set_attribute(KeyValue::new("error.type", kind));
                open.span.set_status(Status::error("not acknowledged"));
            }
            open.span.end();
        }
    }
}

fn id_of(fate: &Submitted) -> Option<String> {
    match fate {
        Submitted::Accepted { id, .. } | Submitted::Repeated { id } | Submitted::Unknown { id } => {
            Some(id.to_string())
        }
        Submitted::KeyTaken { .. } | Submitted::Refused(_) => None,
    }
}

/// Why a task was not acknowledged; nothing if it was.
fn failure_of(fate: &Submitted) -> Option<&'static str> {
    match fate {
        Submitted::Accepted { .. } | Submitted::Repeated { .. } => None,
        Submitted::KeyTaken { .. } => Some("key_taken"),
        Submitted::Refused(_) => Some("refused"),
        Submitted::Unknown { .. } => Some("unknown"),
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// With a result.
    Completed,
    /// Its handler said so.
    Failed,
    /// Its handler panicked.
    Panicked,
    /// There is no handler for its type.
    NoHandler,
    /// Its result is longer than is allowed.
    ResultTooLong,
    /// It was told to stop; for no reason when somebody else ended it.
    Stopped(Option<StopReason>),
}

impl AttemptEnd {
    fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::NoHandler => "no_handler",
            Self::ResultTooLong => "result_too_long",
            Self::Stopped(Some(StopReason::Cancel)) => "cancelled",
            Self::Stopped(Some(StopReason::TimeOut)) => "timed_out",
            Self::Stopped(Some(StopReason::Fenced)) => "fenced",
            Self::Stopped(Some(StopReason::Shutdown)) => "handed_back",
            Self::Stopped(None) => "killed",
        }
    }

    /// What somebody wanted is no error.
    fn is_error(self) -> bool {
        match self {
            Self::Completed | Self::Stopped(Some(StopReason::Cancel | StopReason::Shutdown)) => {
                false
            }
            Self::Failed
            | Self::Panicked
            | Self::NoHandler
            | Self::ResultTooLong
            | Self::Stopped(Some(StopReason::TimeOut | StopReason::Fenced) | None) => true,
        }
    }
}

/// The span of an attempt that runs.
pub(crate) struct AttemptSpan(Open);

impl AttemptSpan {
    /// The `traceparent` of what the attempt does.
    pub(crate) fn trace_parent(&self) -> Option<String> {
        context::spell(self.0.span.span_context())
    }

    /// The attempt has ended, with this error if it has one.
    pub(crate) fn end(mut self, end: AttemptEnd, error: Option<&str>) {
        let span = &mut self.0.span;
        span.set_attribute(KeyValue::new("windlass.outcome", end.word()));
        if end.is_error() {
            span.set_attribute(KeyValue::new("error.type", end.word()));
            span.set_status(Status::error(error.unwrap_or_default().to_owned()));
        }
        span.end();
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::gateway::Due;
    use windlass_core::keyspace::Role;
    use windlass_core::record::Json;
    use windlass_core::retry::RetryPolicy;
    use windlass_core::time::Millis;

    use super::*;

    const REQUEST: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn task(label: Option<&str>) -> TaskSpec {
        let label = label.map(|label| (TRACE_PARENT.to_owned(), label.to_owned()));
        TaskSpec {
            kind: "t".parse().unwrap(),
            queue: "q".parse().unwrap(),
            priority: windlass_core::ids::Priority::NORMAL,
            name: None,
            payload: Json::null(),
            metadata: label.into_iter().collect(),
            retries_max: 0,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(1),
            due: Due::Now,
            key: None,
        }
    }

    fn carried(tasks: &[TaskSpec]) -> Vec<Option<&str>> {
        let labels = tasks.iter().map(|task| task.metadata.get(TRACE_PARENT));
        labels.map(|label| label.map(String::as_str)).collect()
    }

    fn traces() -> Traces {
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        Traces::export(&nowhere, Role::Scheduler, &"s-1".parse().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn tasks_of_a_trace_carry_one_span_and_a_label_that_is_no_trace_is_left_alone() {
        let own = REQUEST.replace("4bf9", "5bf9");
        let mut tasks = [None, Some(REQUEST), Some("no trace"), Some(&own)].map(task);
        let sending = traces().send(&mut tasks, Some(REQUEST));
        assert_eq!(sending.0.len(), 2);
        let found = carried(&tasks);
        let [first, second, third, fourth] = *found else {
            panic!("{found:?}");
        };
        assert_eq!((first, third), (second, Some("no trace")));
        assert_ne!(first, Some(REQUEST));
        assert_eq!(first.map(|it| &it[..35]), Some(&REQUEST[..35]));
        assert_eq!(fourth.map(|it| &it[..35]), Some(&own[..35]));
    }

    #[tokio::test]
    async fn after_the_exporters_end_tasks_carry_what_they_would_without_one() {
        let traces = traces();
        traces.close().await;
        let mut tasks = [None, Some("no trace")].map(task);
        traces.send(&mut tasks, Some(REQUEST)).end(None);
        assert_eq!(carried(&tasks), [Some(REQUEST), Some("no trace")]);
        let mut tasks = [task(None)];
        traces.send(&mut tasks, None).end(None);
        assert_eq!(carried(&tasks), [None]);
    }
}
