//! A task on its way to a server.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use windlass_core::ids::{Priority, TaskId};

use super::transport::Call;
use super::{Client, ClientError, ErrorKind, TaskHandle, read};
use crate::executor::{Context, TRACE_PARENT};
use crate::sdk::Task;

/// How often a submission is sent, if it is certain that the times before did nothing, or nothing that a repetition
/// would do twice.
const TRIES_MAX: u32 = 6;
/// How long to wait before it is sent again; doubles each time.
const TRY_PAUSE: Duration = Duration::from_millis(100);

/// How long to wait between the attempts of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retry {
    kind: &'static str,
    #[serde(serialize_with = "spelled")]
    delay: Duration,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "spelled_if")]
    cap: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "spelled_if")]
    max_elapsed: Option<Duration>,
}

impl Retry {
    /// `delay` first, then twice as long each time.
    pub fn exponential(delay: Duration) -> Self {
        Self::new("exponential", delay)
    }

    /// `delay` first, then longer by `delay` each time.
    pub fn linear(delay: Duration) -> Self {
        Self::new("linear", delay)
    }

    /// Always `delay`.
    pub fn fixed(delay: Duration) -> Self {
        Self::new("fixed", delay)
    }

    fn new(kind: &'static str, delay: Duration) -> Self {
        Self {
            kind,
            delay,
            cap: None,
            jitter: None,
            max_elapsed: None,
        }
    }

    /// Never longer than `cap`: 5 minutes unless given.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = Some(cap);
        self
    }

    /// Without jitter: exactly as long as was said.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.jitter = Some(false);
        self
    }

    /// No attempt begins later than this after the first one failed.
    #[must_use]
    pub fn max_elapsed(mut self, span: Duration) -> Self {
        self.max_elapsed = Some(span);
        self
    }
}

fn spell(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}

fn spelled<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&spell(*span))
}

fn spelled_if<S: serde::Serializer>(
    span: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    span.map(spell).serialize(serializer)
}

/// A submission, spelled for the API.
#[derive(Debug, Default, Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_retries: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Retry>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "spelled_if")]
    timeout: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "spelled_if")]
    delay: Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A task that is about to be submitted: `O` is what it returns. Awaiting it submits it.
///
/// A server that cannot take it for certain is asked again, and so are the others, for some seconds. When it is not known
/// whether it was taken, it is sent again only if it has a [`key`](Self::key); otherwise that is an error, and the task
/// may have been accepted.
#[must_use = "nothing is submitted before this is awaited"]
pub struct Submission<O> {
    client: Client,
    body: Body,
    fault: Option<ClientError>,
    output: PhantomData<fn() -> O>,
}

impl<O> Submission<O> {
    pub(super) fn of_task<T: Task<Output = O> + Serialize>(client: Client, task: &T) -> Self {
        let mut this = Self::empty(client, T::TYPE.to_owned(), task);
        this.body.queue = Some(T::QUEUE.to_owned());
        this.body.priority = Some(T::PRIORITY);
        this.body.max_retries = T::MAX_RETRIES;
        this.body.timeout = T::TIMEOUT;
        this
    }

    fn empty(client: Client, kind: String, payload: &impl Serialize) -> Self {
        let mut this = Self {
            client,
            body: Body {
                kind,
                ..Body::default()
            },
            fault: None,
            output: PhantomData,
        };
        match serde_json::value::to_raw_value(payload) {
            Ok(payload) => this.body.payload = Some(payload),
            Err(error) => this.fail(format!("the payload is no JSON: {error}")),
        }
        this
    }

    fn fail(&mut self, told: String) {
        let error = ClientError::new(ErrorKind::Input, told).undone();
        self.fault.get_or_insert(error);
    }

    /// Where it waits.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.body.queue = Some(queue.into());
        self
    }

    /// How urgent it is.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.body.priority = Some(priority);
        self
    }

    /// What people call it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.body.name = Some(name.into());
        self
    }

    /// A label, which the handler sees as well; may be repeated.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.body.metadata.insert(name.into(), value.into());
        self
    }

    /// How many failures are tried again.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.body.max_retries = Some(retries);
        self
    }

    /// How long to wait between attempts.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.body.retry = Some(retry);
        self
    }

    /// How long one attempt may run, to the millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.body.timeout = Some(timeout);
        self
    }

    /// It starts no sooner than after this long, to the millisecond.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.body.delay = Some(delay);
        self
    }

    /// It starts no sooner than at this time.
    pub fn run_at(mut self, time: SystemTime) -> Self {
        match jiff::Timestamp::try_from(time) {
            Ok(time) => self.body.run_at = Some(time.to_string()),
            Err(error) => self.fail(format!("run_at is no time: {error}")),
        }
        self
    }

    /// The idempotency key: submitted again with the same key, the task is not accepted twice, and the handle is that of
    /// the first one. A handler that submits should always give one, because it may run again: its own task's id and what
    /// tells its children apart.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.body.key = Some(key.into());
        self
    }

    /// It belongs to the trace of the task that `context` is an attempt of.
    pub fn child_of(mut self, context: &Context) -> Self {
        if let Some(trace) = context.trace_parent() {
            let (name, trace) = (TRACE_PARENT.to_owned(), trace.to_owned());
            self.body.metadata.insert(name, trace);
        }
        self
    }

    pub(super) fn has_key(&self) -> bool {
        self.body.key.is_some()
    }

    /// The submission in JSON.
    pub(super) fn spelled(&self) -> Result<String, ClientError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        serde_json::to_string(&self.body).map_err(|error| {
            let told = format!("the submission is no JSON: {error}");
            ClientError::new(ErrorKind::Input, told).undone()
        })
    }

    async fn send(self) -> Result<TaskHandle<O>, ClientError> {
        let call = Call::post("/api/v1/tasks").body(self.spelled()?);
        let text = send(&self.client, &call, self.has_key()).await?;
        let Accepted { id } = read(&text)?;
        Ok(TaskHandle::new(self.client, id))
    }
}

impl Submission<serde_json::Value> {
    pub(super) fn raw(client: Client, kind: String, payload: &impl Serialize) -> Self {
        Self::empty(client, kind, payload)
    }
}

/// Sends a submission, again and again where that cannot do anything twice.
pub(super) async fn send(
    client: &Client,
    call: &Call,
    repeatable: bool,
) -> Result<String, ClientError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let error = match client.0.ask(call).await {
            Ok(text) => return Ok(text),
            Err(error) => error,
        };
        let lost = matches!(
            error.kind(),
            ErrorKind::TimedOut | ErrorKind::Unreachable | ErrorKind::Unavailable
        );
        if tries == TRIES_MAX || !(error.is_undone() || (repeatable && lost)) {
            return Err(error);
        }
        tracing::debug!(%error, tries, "is sent again");
        tokio::time::sleep(TRY_PAUSE * (1 << (tries - 1))).await;
    }
}

/// A submission that the store has.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {
    pub(super) id: TaskId,
}

impl<O: 'static> IntoFuture for Submission<O> {
    type Output = Result<TaskHandle<O>, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send().boxed()
    }
}

impl<O> fmt::Debug for Submission<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("type", &self.body.kind)
            .field("queue", &self.body.queue)
            .finish_non_exhaustive()
    }
}
