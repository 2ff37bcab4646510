//! What a worker shows when it is told to: metrics and health, and nothing else.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::access::{self, Access, Front, Gate};
use super::metrics::own;
use super::metrics::table::Table;
use super::route::Cost;
use crate::clock::SystemClock;
use crate::node::WorkerStatus;

/// `/metrics`, `/livez` and `/readyz` of a worker, behind `front`.
pub fn worker_metrics(status: Arc<WorkerStatus>, id: &str, front: &Front) -> Router {
    let node = id.to_owned();
    let shown = Arc::clone(&status);
    let metrics = move || async move { render(&shown, &node) };
    let readyz = move || async move {
        let code = if status.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (
            code,
            axum::Json(serde_json::json!({ "ready": status.is_ready() })),
        )
    };
    let clock = SystemClock::start();
    let gated = |handler: MethodRouter, access| {
        let gate = Gate {
            front: front.clone(),
            access,
            cost: Cost::Small,
            clock: clock.clone(),
        };
        handler.route_layer(middleware::from_fn_with_state(gate, access::pass))
    };
    let livez = async || axum::Json(serde_json::json!({ "live": true }));
    let router = Router::new()
        .route("/metrics", gated(get(metrics), Access::Read))
        .route("/livez", gated(get(livez), Access::Open))
        .route("/readyz", gated(get(readyz), Access::Open));
    super::outermost(router, front.door.clone())
}

fn render(status: &WorkerStatus, node: &str) -> axum::response::Response {
    let labels = [("node".into(), node.to_owned().into())];
    let mut all = Registry::default();
    own::register_process(&mut all);
    let registry = all
        .sub_registry_with_prefix("windlass_worker")
        .sub_registry_with_labels(labels.into_iter());
    registry.register(
        "running",
        "Handlers that run",
        ConstGauge::new(status.running()),
    );
    registry.register(
        "claims",
        "Claims held, running or waiting for a slot",
        ConstGauge::new(status.holding()),
    );
    registry.register(
        "tasks_completed",
        "Outcomes recorded as completed",
        ConstCounter::new(status.completed()),
    );
    registry.register(
        "tasks_failed",
        "Outcomes recorded as failed",
        ConstCounter::new(status.failed()),
    );
    registry.register(
        "refused_stale",
        "Ends of attempts that were refused because their claim was gone",
        ConstCounter::new(status.refused_stale()),
    );
    registry.register(
        "drift_repaired",
        "Times what the worker knew was found to differ from the store, and was read anew",
        ConstCounter::new(status.drift_repaired()),
    );
    registry.register(
        "slots",
        "Handlers that may run at the same time",
        ConstGauge::new(status.slots()),
    );
    let runs = status.runs().by_type().into_iter();
    registry.register(
        "run_seconds",
        "Time that handlers run, by type",
        Table::spans(
            runs.map(|(kind, meter)| (vec![("type", kind.to_string())], own::spans(&meter))),
        ),
    );
    let mut text = String::new();
    match encode(&mut text, &all) {
        Ok(()) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
