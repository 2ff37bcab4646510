//! What probes ask, and the description of the API.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::{Answer, AppState, answer};

/// The API's description, kept by hand; a test holds it equal to the routes.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// The process answers.
pub(super) async fn live() -> Answer {
    answer(StatusCode::OK, &json!({"status": "ok"}))
}

/// The process can serve: it has its store, and a view that does not lag.
pub(super) async fn ready(State(app): AppState) -> Answer {
    match (app.0.ready)() {
        Ok(()) => answer(StatusCode::OK, &json!({"ready": true})),
        Err(reason) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({"ready": false, "reason": reason}),
        ),
    }
}

/// The API's description.
pub(super) async fn openapi() -> Answer {
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )];
    Ok((headers, OPENAPI).into_response())
}
