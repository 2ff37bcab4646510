//! The HTTP API: checks what clients send, asks the gateway, and shows its replies. It decides nothing about tasks.

mod body;
mod bulk;
mod cluster;
mod cursor;
mod field;
mod health;
mod json;
mod locks;
mod metrics;
mod problem;
mod query;
mod serve;
mod submission;
mod tasks;
mod view;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde::Serialize;
use windlass_core::gateway::{Reply, Request};

pub use self::problem::{Fault, Problem};
pub use self::serve::serve;
pub use self::worker::worker_metrics;
use crate::clock::{Clock, SystemClock};
use crate::gateway::Gateway;

/// The largest payload or result unless configured otherwise.
pub const PAYLOAD_MAX_DEFAULT: usize = 256 * 1024;
/// The largest that may be configured.
pub const PAYLOAD_MAX_HARD: usize = 1024 * 1024;
/// The most tasks of one submission.
pub const TASKS_MAX: usize = 1_000;
/// The longest that a request may wait for something to happen.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// What the server bears.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest payload of a task, in bytes; at most [`PAYLOAD_MAX_HARD`].
    pub payload_max: usize,
    /// The largest body that is an array, in bytes.
    pub body_max: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// How long the gateway may take for one request. Longer than the machine's own deadlines: a last resort.
    pub ask_time_out: Duration,
    /// How long a client may take to send a body.
    pub body_time_out: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may idle.
    pub head_time_out: Duration,
    /// How long requests that are under way get to finish when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_max: PAYLOAD_MAX_DEFAULT,
            body_max: 16 * 1024 * 1024,
            connections_max: 10_000,
            ask_time_out: Duration::from_secs(15),
            body_time_out: Duration::from_secs(30),
            head_time_out: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The largest body that is one object: its payload, every other field at its longest, and room for escapes.
    fn object_max(&self) -> usize {
        self.payload_max + 64 * 1024
    }
}

/// Says whether the process can serve, or why it cannot.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Shared {
    gateway: Gateway,
    limits: Limits,
    ready: Ready,
    clock: SystemClock,
    metrics: metrics::Metrics,
}

/// What every handler has.
#[derive(Clone)]
struct App(Arc<Shared>);

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

impl App {
    async fn ask(&self, request: Request) -> Reply {
        self.ask_waiting(request, Duration::ZERO).await
    }

    /// Asks for something that may itself wait for `wait`.
    async fn ask_waiting(&self, request: Request, wait: Duration) -> Reply {
        let time_out = wait + self.0.limits.ask_time_out;
        self.0.gateway.ask(request, time_out).await
    }

    fn now(&self) -> windlass_core::time::Wall {
        self.0.clock.now().wall
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

/// What every handler answers.
type Answer = Result<Response, Problem>;

/// The API in front of `gateway`, beside `more` routes without a fall-back of their own: they are counted and
/// protected like the API's. `ready` is asked by `/readyz`.
pub fn router(gateway: Gateway, limits: Limits, ready: Ready, more: Router) -> Router {
    assert!(
        limits.payload_max <= PAYLOAD_MAX_HARD,
        "a larger payload would not fit a transaction"
    );
    let app = App(Arc::new(Shared {
        gateway,
        limits,
        ready,
        clock: SystemClock::start(),
        metrics: metrics::Metrics::default(),
    }));
    routes()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| {
            router.route(path, handler)
        })
        .merge(more.with_state(()))
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "there is nothing under this path").into_response()
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
            .into_response()
        })
        .layer(middleware::from_fn(refuse_other_sites))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            metrics::count_requests,
        ))
        .with_state(app)
}

/// Every route, by method and path.
fn routes() -> Vec<(Method, &'static str, MethodRouter<App>)> {
    use axum::routing::{delete, get, post, put};
    let (read, act, set, remove) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    vec![
        (act.clone(), "/api/v1/tasks", post(tasks::submit)),
        (read.clone(), "/api/v1/tasks", get(tasks::list)),
        (read.clone(), "/api/v1/tasks/count", get(tasks::count)),
        (act.clone(), "/api/v1/tasks/bulk", post(bulk::act)),
        (read.clone(), "/api/v1/tasks/{id}", get(tasks::show)),
        (
            act.clone(),
            "/api/v1/tasks/{id}/cancel",
            post(tasks::cancel),
        ),
        (act.clone(), "/api/v1/tasks/{id}/rerun", post(tasks::rerun)),
        (read.clone(), "/api/v1/tasks/{id}/why", get(tasks::why)),
        (read.clone(), "/api/v1/stats", get(cluster::stats)),
        (read.clone(), "/api/v1/queues", get(cluster::queues)),
        (read.clone(), "/api/v1/queues/{queue}", get(cluster::queue)),
        (
            set.clone(),
            "/api/v1/queues/{queue}",
            put(cluster::configure),
        ),
        (
            act.clone(),
            "/api/v1/queues/{queue}/pause",
            post(cluster::pause),
        ),
        (
            act.clone(),
            "/api/v1/queues/{queue}/resume",
            post(cluster::resume),
        ),
        (read.clone(), "/api/v1/nodes", get(cluster::nodes)),
        (
            act.clone(),
            "/api/v1/nodes/{id}/drain",
            post(cluster::drain),
        ),
        (act, "/api/v1/locks/{key}", post(locks::take)),
        (set, "/api/v1/locks/{key}", put(locks::renew)),
        (remove, "/api/v1/locks/{key}", delete(locks::release)),
        (read.clone(), "/livez", get(health::live)),
        (read.clone(), "/readyz", get(health::ready)),
        (read.clone(), "/metrics", get(metrics::show)),
        (read, "/api/v1/openapi.json", get(health::openapi)),
    ]
}

/// A page of another site may make a browser send a request that changes something; it may not.
async fn refuse_other_sites(request: axum::extract::Request, next: Next) -> Response {
    let changes = !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    let site = request.headers().get("sec-fetch-site");
    if changes && site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site may not change anything here",
        )
        .into_response();
    }
    next.run(request).await
}

/// `value` as the body of an answer.
fn answer(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            );
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok((status, headers, body).into_response())
        }
        Err(error) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the answer cannot be spelled: {error}"),
        )),
    }
}

/// The one segment of the path that is a variable, as a `T`.
struct Named<T>(T);

impl<T> FromRequestParts<App> for Named<T>
where
    T: std::str::FromStr<Err: fmt::Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let field = variable(parts);
        let Path(text): Path<String> = Path::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::bad_field(&field, "is not UTF-8 text"))?;
        match text.parse() {
            Ok(named) => Ok(Self(named)),
            Err(error) => Err(Problem::bad_field(&field, error.to_string())),
        }
    }
}

/// What the route calls its variable.
fn variable(parts: &Parts) -> String {
    parts
        .extensions
        .get::<axum::extract::MatchedPath>()
        .and_then(|path| path.as_str().split_once('{')?.1.split_once('}'))
        .map_or_else(|| "path".to_owned(), |(name, _)| name.to_owned())
}

/// The state that handlers take.
type AppState = State<App>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_described_and_every_description_is_a_route() {
        let document: serde_json::Value = serde_json::from_str(health::OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                if method != "parameters" {
                    described.insert((method.to_uppercase(), path.clone()));
                }
            }
        }
        let routed: BTreeSet<_> = routes()
            .into_iter()
            .map(|(method, path, _)| (method.to_string(), path.to_owned()))
            .collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_of_the_description_leads_somewhere() {
        fn references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
            if let Some(reference) = value.get("$ref").and_then(|value| value.as_str()) {
                found.push(reference);
            }
            match value {
                serde_json::Value::Array(items) => {
                    items.iter().for_each(|item| references(item, found));
                }
                serde_json::Value::Object(members) => {
                    members.values().for_each(|item| references(item, found));
                }
                serde_json::Value::Null
                | serde_json::Value::Bool(_)
                | serde_json::Value::Number(_)
                | serde_json::Value::String(_) => {}
            }
        }
        let document: serde_json::Value = serde_json::from_str(health::OPENAPI).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
