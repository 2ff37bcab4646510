//! Stands before the API of the fake gateway and answers what the fake does not: queries, work on many tasks, events and
//! the audit log, as the API's description has them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tower::ServiceExt;
use windlass::api::{self, Limits};

use super::fake::Fake;

/// What it knows beside the fake.
#[derive(Clone, Default)]
pub(crate) struct StandIn {
    pub(crate) fake: Fake,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    reasons: Vec<String>,
    events: Vec<String>,
    pages: Vec<Value>,
}

/// How many tasks a page of work has here.
const PAGE: usize = 2;

impl StandIn {
    /// The reasons that came with requests.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.told.lock().unwrap().reasons.clone()
    }

    /// What was asked of pages of work.
    pub(crate) fn pages(&self) -> Vec<Value> {
        self.told.lock().unwrap().pages.clone()
    }

    /// Whoever asks for events gets these, and then no more.
    pub(crate) fn tell_events(&self, frames: &[&str]) {
        self.told.lock().unwrap().events = frames.iter().map(|it| (*it).to_owned()).collect();
    }

    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        let ended = std::future::pending();
        tokio::spawn(api::serve(listener, router, Limits::default(), ended));
        address
    }

    fn router(&self) -> Router {
        let inner = self.fake.router();
        let (listing, bulk, counting, events, noting) = (
            self.clone(),
            self.clone(),
            self.clone(),
            self.clone(),
            self.clone(),
        );
        let list = move |uri: Uri| listing.list(&uri);
        let passed = inner.clone();
        Router::new()
            .route(
                "/api/v1/tasks/count",
                get(async move |uri: Uri| {
                    let count = counting.matching(&parameter(&uri, "q")).len();
                    axum::Json(json!({"count": count, "exact": true}))
                }),
            )
            .route(
                "/api/v1/tasks/bulk",
                post(async move |body: String| bulk.bulk(&body).await),
            )
            .route("/api/v1/events", get(async move || events.stream()))
            .route("/api/v1/audit", get(async || axum::Json(audit())))
            .route(
                "/api/v1/tasks",
                get(list).post(async move |request: Request| passed.oneshot(request).await),
            )
            .fallback_service(inner)
            .layer(middleware::from_fn(move |request: Request, next: Next| {
                noting.note(request.headers());
                next.run(request)
            }))
    }

    fn note(&self, headers: &HeaderMap) {
        if let Some(reason) = headers.get("x-windlass-reason") {
            let reason = String::from_utf8(reason.as_bytes().to_vec()).unwrap();
            self.told.lock().unwrap().reasons.push(reason);
        }
    }

    fn stream(&self) -> Response {
        let events = self.told.lock().unwrap().events.clone();
        let frames = stream::iter(events.into_iter().map(Ok::<_, std::io::Error>));
        let body = Body::from_stream(frames.chain(stream::pending()));
        ([("content-type", "text/event-stream")], body).into_response()
    }

    /// The tasks that the query matches, each as the API shows it.
    fn matching(&self, query: &str) -> Vec<(String, String)> {
        let memory = self.fake.memory();
        let found = memory.tasks.values().filter(|task| {
            query
                .split_whitespace()
                .all(|term| match term.split_once(':') {
                    Some(("id", ids)) => {
                        ids.split(',').any(|id| task.id.to_string().starts_with(id))
                    }
                    Some(("type", kind)) => task.kind.as_str() == kind,
                    Some(("state", state)) => task.state.to_string() == state,
                    Some(_) | None => panic!("a query that is not known here: {query}"),
                })
        });
        found
            .map(|task| (task.id.to_string(), task.state.to_string()))
            .collect()
    }

    async fn show(&self, id: &str) -> Value {
        ask(self.fake.router(), "GET", format!("/api/v1/tasks/{id}"))
            .await
            .1
    }

    fn list(&self, uri: &Uri) -> impl Future<Output = axum::Json<Value>> + Send + use<> {
        let this = self.clone();
        let mut terms = vec![parameter(uri, "q")];
        for field in ["state", "type"] {
            let value = parameter(uri, field);
            if !value.is_empty() {
                terms.push(format!("{field}:{value}"));
            }
        }
        let (order, cursor) = (parameter(uri, "order"), parameter(uri, "cursor"));
        let limit: usize = parameter(uri, "limit").parse().unwrap_or(100);
        async move {
            let mut found = this.matching(&terms.join(" "));
            if order == "newest" {
                found.reverse();
            }
            let from: usize = cursor.parse().unwrap_or(0);
            let mut tasks = Vec::new();
            for (id, _) in found.iter().skip(from).take(limit) {
                tasks.push(this.show(id).await);
            }
            let next = (found.len() > from + limit).then(|| (from + limit).to_string());
            axum::Json(json!({"tasks": tasks, "next_cursor": next}))
        }
    }

    /// A page of work: what is done no longer matches, what is refused is stepped over.
    async fn bulk(&self, body: &str) -> Response {
        let page: Value = serde_json::from_str(body).unwrap();
        self.told.lock().unwrap().pages.push(page.clone());
        if page["q"] == "state:nonsense" {
            let problem = json!({"title": "Bad Request", "status": 400, "detail": "x", "errors": [{"field": "q", "reason": "at 6"}]});
            return (StatusCode::BAD_REQUEST, problem.to_string()).into_response();
        }
        let from: usize = page["cursor"]
            .as_str()
            .map_or(0, |cursor| cursor.parse().unwrap());
        let found = self.matching(page["q"].as_str().unwrap());
        let (mut done, mut refused) = (0, Vec::new());
        let ids: Vec<String> = found
            .iter()
            .skip(from)
            .take(PAGE)
            .map(|it| it.0.clone())
            .collect();
        for id in &ids {
            let path = format!("/api/v1/tasks/{id}/{}", page["action"].as_str().unwrap());
            let is_dry = page["dry_run"] == true;
            if is_dry || ask(self.fake.router(), "POST", path).await.0 == StatusCode::OK {
                done += usize::from(!is_dry);
            } else {
                refused.push(json!({"id": id, "error": {"title": "Conflict", "status": 409, "detail": "the task has ended"}}));
            }
        }
        let left = self.matching(page["q"].as_str().unwrap()).len();
        let gone = found.len() - left;
        let at = from + ids.len() - gone;
        let next = (at < left).then(|| at.to_string());
        axum::Json(
            json!({"matched": ids.len(), "done": done, "refused": refused, "next_cursor": next}),
        )
        .into_response()
    }
}

async fn ask(router: Router, method: &'static str, path: String) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path);
    let response = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (head.status, serde_json::from_slice(&body).unwrap())
}

fn parameter(uri: &Uri, name: &str) -> String {
    let url = format!("http://x{uri}").parse::<reqwest::Url>().unwrap();
    let mut pairs = url.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map_or_else(String::new, |(_, value)| value.into_owned())
}

fn audit() -> Value {
    json!({"records": [{"at": "2023-11-14T22:13:20.000Z", "principal": "ops", "role": "operate", "source": "127.0.0.1",
        "method": "POST", "route": "/api/v1/queues/{queue}/pause", "object": "mails", "reason": "it moves", "status": 200,
        "request_id": "r1"}]})
}
