//! `/metrics`: counts of the cluster as this gateway sees them, and of this server's own requests.

pub(super) mod own;
mod queues;
pub(super) mod table;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use windlass_core::gateway::{self, Reply, StatsView, TaskState};
use windlass_core::record::Totals;
use windlass_core::room::Room;

use super::problem::Problem;
use super::{Answer, App, AppState};

/// How long a scrape waits for the counts before it goes without.
const COUNTS_TIME_OUT: Duration = Duration::from_secs(2);

/// From a millisecond to longer than the longest long poll.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 90.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    route: String,
}

/// What this server counts itself.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    seconds: Family<Routed, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let seconds: Family<Routed, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        registry.register(
            "windlass_http_requests",
            "Requests that were answered",
            requests.clone(),
        );
        registry.register(
            "windlass_http_request_seconds",
            "Time from a request's head to its answer",
            seconds.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            requests,
            seconds,
        }
    }
}

/// Counts every request, by its route: a path is never a label, since clients choose it.
pub(super) async fn count_requests(State(app): AppState, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    let metrics = &app.0.metrics;
    let labels = Routed {
        route: route.clone(),
    };
    metrics
        .seconds
        .get_or_create(&labels)
        .observe(began.elapsed().as_secs_f64());
    let labels = Answered {
        method,
        route,
        status: response.status().as_u16(),
    };
    metrics.requests.get_or_create(&labels).inc();
    response
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

/// `GET /metrics`
pub(super) async fn show(State(app): AppState) -> Answer {
    let text = spell(&app).await.map_err(|error| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics cannot be spelled: {error}"),
        )
    })?;
    let headers = [(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    )];
    Ok((headers, text).into_response())
}

async fn spell(app: &App) -> Result<String, std::fmt::Error> {
    let reply = app
        .0
        .gateway
        .ask(gateway::Request::Stats, COUNTS_TIME_OUT)
        .await;
    let mut registry = Registry::default();
    registry.register(
        "windlass_ready",
        "Whether this process can serve",
        ConstGauge::new(i64::from((app.0.ready)().is_ok())),
    );
    let readers = i64::try_from(app.0.events.readers()).unwrap_or(i64::MAX);
    registry.register(
        "windlass_sse_clients",
        "Streams of events that are open",
        ConstGauge::new(readers),
    );
    own::register_process(&mut registry);
    own::register_instruments(&mut registry, app.0.gateway.instruments());
    let asked = app
        .0
        .gateway
        .ask(gateway::Request::Timings, COUNTS_TIME_OUT);
    if let Reply::Timings(timings) = asked.await {
        queues::register(&mut registry, &timings, app.now());
    }
    if let Reply::Stats(stats) = &reply {
        register_counts(&mut registry, stats);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    // Each encoding ends with a mark of its own; the whole has one.
    text.truncate(text.trim_end().trim_end_matches("# EOF").len());
    let own = app
        .0
        .metrics
        .registry
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut rest = String::new();
    encode(&mut rest, &own)?;
    write!(text, "{rest}")?;
    Ok(text)
}

fn register_counts(registry: &mut Registry, stats: &StatsView) {
    for (name, help, count) in totals(&stats.totals) {
        registry.register(name, help, ConstCounter::new(count));
    }
    for (name, help, count) in levels(stats) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        registry.register(name, help, ConstGauge::new(count));
    }
    for (name, help, bytes) in room(&stats.room) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        registry.register(name, help, ConstGauge::new(bytes));
    }
    registry.register(
        "windlass_drift_repaired",
        "Times this server's view was found to differ from the store, and was read anew",
        ConstCounter::new(stats.drift_repaired),
    );
    let ended = ByState {
        kind: MetricType::Counter,
        counts: vec![
            (TaskState::Completed, stats.totals.completed),
            (TaskState::Failed, stats.totals.failed),
            (TaskState::Cancelled, stats.totals.cancelled),
        ],
    };
    registry.register("windlass_tasks_ended", "Outcomes ever recorded", ended);
    let living = ByState {
        kind: MetricType::Gauge,
        counts: vec![
            (TaskState::Scheduled, stats.scheduled),
            (TaskState::Pending, stats.pending),
            (TaskState::Running, stats.running),
            (TaskState::Retrying, stats.retrying),
        ],
    };
    registry.register("windlass_tasks", "Tasks that have not ended, now", living);
}

type Count = (&'static str, &'static str, u64);

#[rustfmt::skip]
fn totals(totals: &Totals) -> [Count; 9] {
    [
        ("windlass_tasks_accepted", "Tasks ever accepted", totals.accepted),
        ("windlass_tasks_refused_stale", "Late outcomes of fenced attempts, refused", totals.refused_stale),
        ("windlass_tasks_released", "Tasks that became due", totals.released),
        ("windlass_tasks_rerun", "Ended tasks that were run again", totals.rerun),
        ("windlass_tasks_purged", "Ended tasks removed after their retention", totals.purged),
        ("windlass_attempts_dispatched", "Entries ever given to a worker", totals.dispatched),
        ("windlass_attempts_retried", "Failed attempts that were tried again", totals.retried),
        ("windlass_attempts_lost", "Attempts whose worker vanished", totals.lost),
        ("windlass_attempts_handed_back", "Attempts that workers gave back", totals.handed_back),
    ]
}

#[rustfmt::skip]
fn levels(stats: &StatsView) -> [Count; 5] {
    [
        ("windlass_tasks_dead", "Tasks whose attempts are spent", stats.dead),
        ("windlass_schedulers", "Live schedulers", stats.schedulers),
        ("windlass_workers", "Live workers", stats.workers),
        ("windlass_worker_slots", "Slots that workers offer", stats.slots),
        ("windlass_foreign_records", "Records of a later version, or corrupt, that were skipped", stats.foreign),
    ]
}

/// What the store has told of itself; nothing when it did not.
#[rustfmt::skip]
fn room(room: &Room) -> Vec<Count> {
    let level = room.level as u64;
    let mut counts = vec![("windlass_store_level", "0 roomy, 1 tight (less is kept), 2 full (no new tasks)", level)];
    if let Some(usage) = &room.usage {
        counts.push(("windlass_store_used_bytes", "Bytes in use in the store, history among them", usage.used));
        counts.push(("windlass_store_size_bytes", "Bytes that the store has taken from its disk", usage.size));
        counts.extend(usage.quota.map(|quota| ("windlass_store_quota_bytes", "What the store may take", quota)));
    }
    counts
}

/// One count for each state.
#[derive(Debug)]
struct ByState {
    kind: MetricType,
    counts: Vec<(TaskState, u64)>,
}

impl TypedMetric for ByState {}

impl EncodeMetric for ByState {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (state, count) in &self.counts {
            let labels = [("state", state.as_str())];
            let mut of_state = encoder.encode_family(&labels)?;
            match self.kind {
                MetricType::Counter => {
                    of_state.encode_counter::<NoLabelSet, _, u64>(count, None)?
                }
                MetricType::Gauge
                | MetricType::Histogram
                | MetricType::Info
                | MetricType::Unknown => {
                    of_state.encode_gauge(&i64::try_from(*count).unwrap_or(i64::MAX))?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}
