//! The HTTP API: checks what clients send, asks the gateway, and shows its replies. It decides nothing about tasks.

mod access;
mod admission;
mod body;
mod bucket;
mod bulk;
mod cluster;
mod cursor;
mod describe;
mod events;
mod field;
mod health;
mod history;
mod json;
mod locks;
mod metrics;
mod pace;
mod problem;
mod query;
mod reasons;
mod reload;
mod request_id;
mod route;
mod routes;
mod serve;
mod submission;
mod tasks;
mod tls;
mod view;
mod worker;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use windlass_core::gateway::{Reply, Request};

use self::access::Gate;
pub use self::access::{Audit, Door, Front, Keys, Role, TOKEN_PREFIX};
pub(crate) use self::access::{Tokens, check_name, new_token};
pub use self::problem::{Fault, Problem};
use self::route::{AppState, Cost};
pub use self::serve::{Entrance, serve};
pub use self::tls::{Tls, TlsFiles};
pub use self::worker::worker_metrics;
use crate::clock::{Clock, SystemClock};
use crate::gateway::Gateway;
use crate::trace::Traces;

/// The largest payload or result unless configured otherwise.
pub const PAYLOAD_MAX_DEFAULT: usize = 256 * 1024;
/// The largest that may be configured.
pub const PAYLOAD_MAX_HARD: usize = 1024 * 1024;
/// The most tasks of one submission.
pub const TASKS_MAX: usize = 1_000;
/// The longest that a request may wait for something to happen.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// A body may come no slower than this, in bytes a second.
pub const BODY_RATE_MIN: u64 = 1_024;
/// However large it is, a body has come whole by then.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// What the server bears.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest payload of a task, in bytes; at most [`PAYLOAD_MAX_HARD`].
    pub payload_max: usize,
    /// The largest body that is an array, in bytes.
    pub body_max: usize,
    /// Connections at the same time.
    pub connections_max: usize,
    /// Connections from one address at the same time; from this machine itself there may be more.
    pub source_connections_max: usize,
    /// Streams of events at the same time.
    pub streams_max: usize,
    /// How long the gateway may take for one request. Longer than the machine's own deadlines: a last resort.
    pub ask_time_out: Duration,
    /// How long a client may take to send a body, beyond a second for each [`BODY_RATE_MIN`] bytes of it.
    pub body_time_out: Duration,
    /// How long a client may take for a TLS handshake.
    pub handshake_time_out: Duration,
    /// How long a client may take to send the head of a request, from its first byte on; for the first request from the
    /// connection's beginning on.
    pub head_time_out: Duration,
    /// How long a connection may idle between an answer and the end of the next head.
    pub idle_time_out: Duration,
    /// How long requests that are under way get to finish when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload_max: PAYLOAD_MAX_DEFAULT,
            body_max: 16 * 1024 * 1024,
            connections_max: 10_000,
            source_connections_max: 200,
            streams_max: 256,
            ask_time_out: Duration::from_secs(15),
            body_time_out: Duration::from_secs(10),
            handshake_time_out: Duration::from_secs(5),
            head_time_out: Duration::from_secs(10),
            idle_time_out: Duration::from_secs(60),
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

/// The shortest answer that is sent compressed, in bytes: less fits one packet anyway.
const COMPRESSED_MIN: u16 = 1_024;

/// Says whether the process can serve, or why it cannot.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Shared {
    gateway: Gateway,
    limits: Limits,
    ready: Ready,
    front: Front,
    traces: Option<Traces>,
    admission: admission::Admission,
    clock: SystemClock,
    metrics: metrics::Metrics,
    /// Room for fetches of remote workers that wait.
    fetches: tokio::sync::Semaphore,
    events: Arc<events::Hub>,
    history: history::History,
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

    fn admission(&self) -> &admission::Admission {
        &self.0.admission
    }

    fn front(&self) -> &Front {
        &self.0.front
    }

    fn door(&self) -> &Door {
        &self.0.front.door
    }

    fn traces(&self) -> Option<&Traces> {
        self.0.traces.as_ref()
    }
}

/// What every handler answers.
type Answer = Result<Response, Problem>;

/// The API in front of `gateway`, and behind `front`. `ready` is asked by `/readyz`. To be called within a runtime: it
/// looks at the cluster every now and then for as long as the router lives.
pub fn router(gateway: Gateway, limits: Limits, ready: Ready, front: Front) -> Router {
    traced_router(gateway, limits, ready, front, None)
}

/// The same, which exports spans of submissions to `traces`.
pub fn traced_router(
    gateway: Gateway,
    limits: Limits,
    ready: Ready,
    front: Front,
    traces: Option<Traces>,
) -> Router {
    assert!(
        limits.payload_max <= PAYLOAD_MAX_HARD,
        "a larger payload would not fit a transaction"
    );
    let app = App(Arc::new(Shared {
        gateway,
        limits,
        ready,
        front,
        traces,
        admission: admission::Admission::default(),
        clock: SystemClock::start(),
        metrics: metrics::Metrics::default(),
        fetches: tokio::sync::Semaphore::new(workers::FETCHES_MAX),
        events: Arc::default(),
        history: history::History::default(),
    }));
    tokio::spawn(history::keep(Arc::downgrade(&app.0)));
    let router = routes::all()
        .into_iter()
        .fold(Router::new(), |router, route| {
            let gate = gate(&app, route.access, route.cost);
            let gated = route
                .handler
                .route_layer(middleware::from_fn_with_state(gate, access::pass));
            router.route(route.path, gated)
        })
        // Open to everybody: files without any data.
        .merge(crate::dashboard::routes())
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
        .layer(middleware::from_fn_with_state(
            app.clone(),
            metrics::count_requests,
        ))
        .layer(compression());
    let door = app.door().clone();
    outermost(router, door).with_state(app)
}

/// Sends text of some length compressed to whoever takes that: a page of tasks shrinks to a tenth. Streams of events go as
/// they are: what compresses them would hold them back.
fn compression() -> CompressionLayer<impl Predicate> {
    let is_worth_it =
        SizeAbove::new(COMPRESSED_MIN).and(NotForContentType::const_new("text/event-stream"));
    CompressionLayer::new().compress_when(is_worth_it)
}

/// What stands before a route that needs `access`.
fn gate(app: &App, access: access::Access, cost: Cost) -> Gate {
    Gate {
        front: app.front().clone(),
        access,
        cost,
        clock: app.0.clock.clone(),
    }
}

/// What every request meets first, whether it has a route or not.
fn outermost<S: Clone + Send + Sync + 'static>(router: Router<S>, door: Door) -> Router<S> {
    router
        .layer(middleware::from_fn(refuse_other_sites))
        .layer(middleware::from_fn_with_state(door, refuse_other_names))
        .layer(middleware::from_fn(request_id::name))
}

/// A page may make its own name point here, and is then of the same site; so it counts by which name this server is called.
async fn refuse_other_names(
    State(door): State<Door>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    match door.check_host(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
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
