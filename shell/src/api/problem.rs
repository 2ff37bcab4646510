//! Every error that the API answers: RFC 9457's `application/problem+json`, with the field and the reason for bad input.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use windlass_core::gateway::Reply;
use windlass_core::ids::TaskId;
use windlass_core::record::Json;
use windlass_core::store::Refusal;

use super::describe::types;
use super::request_id::RequestId;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Fault {
    /// Which field; `body` for the request's body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault {
    /// `field` is wrong because of `reason`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// An error as its client sees it. Serialised, it is the body of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Told>);

/// An error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
struct Told {
    #[schema(value_type = String)]
    title: Cow<'static, str>,
    #[schema(value_type = u16)]
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    /// What is wrong with which field.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The task that it is about.
    #[schema(value_type = Option<types::Id>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Tasks whose fate is unknown: ask for them.
    #[schema(value_type = Option<Vec<types::Id>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    /// What became of each task of an array.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<Json>,
    /// What the request is called in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip)]
    retry_after_secs: Option<u64>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Told::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Told::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Told::schemas(schemas);
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// When a client that was turned away may come back.
const RETRY_AFTER_SECS: u64 = 1;

/// The same when the store must become emptier first.
const RETRY_WHEN_ROOMIER_SECS: u64 = 5;

impl Problem {
    /// An error of this kind, in words for people.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Told {
            title: status.canonical_reason().unwrap_or("Error").into(),
            status,
            detail: detail.into(),
            errors: Vec::new(),
            id: None,
            ids: None,
            tasks: None,
            request_id: None,
            retry_after_secs: None,
        }))
    }

    /// The request is bad input: 400. Nothing was written.
    pub fn bad(faults: Vec<Fault>) -> Self {
        Self::faulty(StatusCode::BAD_REQUEST, faults)
    }

    /// One field of the request is bad: 400. Nothing was written.
    pub fn bad_field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::bad(vec![Fault::new(field, reason)])
    }

    /// The request is refused with `status` because of `faults`.
    pub fn faulty(status: StatusCode, faults: Vec<Fault>) -> Self {
        let detail = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.field, fault.reason))
            .collect::<Vec<_>>()
            .join("; ");
        let mut problem = Self::new(status, detail);
        problem.0.errors = faults;
        problem
    }

    /// The gateway cannot serve this now; nothing was done: 503.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        problem.0.retry_after_secs = Some(RETRY_AFTER_SECS);
        problem
    }

    /// The fate of these tasks is not known; they may be asked for later: 504.
    pub fn unknown_fate(ids: &[TaskId]) -> Self {
        let mut problem = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the store did not answer in time: the tasks under `ids` may or may not have been accepted, ask for them",
        );
        problem.0.ids = Some(ids.iter().map(TaskId::to_string).collect());
        problem
    }

    /// The store took nothing.
    pub fn refused(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Busy | Refusal::LeaseGone => {
                Self::unavailable(format!("nothing was done: {refusal}"))
            }
            Refusal::NoRoom => {
                let mut problem = Self::unavailable(
                    "nothing was done: the store has almost used up its quota; new tasks are taken again when enough of what has ended was removed, or the quota was raised",
                );
                problem.0.retry_after_secs = Some(RETRY_WHEN_ROOMIER_SECS);
                problem
            }
            Refusal::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("nothing was done: {refusal} for the store"),
            ),
            Refusal::Denied | Refusal::Invalid => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("nothing was done: {refusal}"),
            ),
        }
    }

    /// What a reply says that is not the one hoped for.
    pub fn from_reply(reply: &Reply, what: &str) -> Self {
        match reply {
            Reply::NotFound => Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}")),
            Reply::Forbidden { because } => Self::new(StatusCode::CONFLICT, &**because),
            Reply::Refused(refusal) => Self::refused(refusal),
            Reply::NotReady => Self::unavailable(
                "nothing was done: this scheduler is not ready, or has no store at the moment",
            ),
            Reply::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "no answer in time: the request may still take effect",
            ),
            Reply::Submitted(_)
            | Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Changes(_)
            | Reply::Missed { .. }
            | Reply::Timings(_)
            | Reply::Lock { .. }
            | Reply::Remote(_)
            | Reply::Done => {
                tracing::error!(what, "the gateway answered a question that was not asked");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the gateway answered another question",
                )
            }
        }
    }

    /// Names the task that the error is about.
    #[must_use]
    pub fn about(mut self, id: TaskId) -> Self {
        self.0.id = Some(id.to_string());
        self
    }

    /// Adds what became of each task of an array.
    #[must_use]
    pub fn with_tasks(mut self, tasks: &impl Serialize) -> Self {
        self.0.tasks = serde_json::value::to_raw_value(tasks).ok().map(Json::from);
        self
    }

    /// The client may come back after `wait`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        // In whole seconds, and never too early.
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        self.0.retry_after_secs = Some(u64::try_from(seconds).unwrap_or(u64::MAX));
        self
    }

    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        self.0.request_id = RequestId::current();
        let body = serde_json::to_vec(&self).expect("problems have string keys only");
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
