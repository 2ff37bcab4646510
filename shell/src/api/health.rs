//! What probes ask, and the description of the API.

use std::sync::LazyLock;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Answer, AppState, answer, describe, routes};

/// The API's description as it is answered.
static OPENAPI: LazyLock<String> = LazyLock::new(|| {
    let document = describe::document(routes::all());
    document
        .to_json()
        .expect("the description has string keys only")
});

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    status: &'static str,
}

/// `GET /livez`
pub(super) async fn live() -> Answer {
    answer(StatusCode::OK, &Alive { status: "ok" })
}

/// Whether the process can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    ready: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// `GET /readyz`: the process has its store, and a view that does not lag.
pub(super) async fn ready(State(app): AppState) -> Answer {
    let (status, reason) = match (app.0.ready)() {
        Ok(()) => (StatusCode::OK, None),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, Some(reason)),
    };
    let ready = reason.is_none();
    answer(status, &Ready { ready, reason })
}

/// `GET /api/v1/openapi.json`
pub(super) async fn openapi() -> Answer {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    Ok((headers, OPENAPI.as_str()).into_response())
}
