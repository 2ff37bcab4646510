//! Every route with every credential, and what happens to who was let in and is no more.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use tempfile::TempDir;
use tower::ServiceExt as _;
use windlass_core::gateway::Reply;

use super::*;
use crate::api::route::Cost;
use crate::api::{self, Limits, routes};
use crate::clock::SystemClock;
use crate::gateway::Gateway;

const PATIENCE: Duration = Duration::from_secs(30);

/// A file with a token for each role, and one that has expired.
struct Tokens {
    _folder: TempDir,
    path: PathBuf,
}

fn token(name: &str) -> (String, String) {
    let mut seed = [7; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    new_token(seed)
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn line(role: Role) -> String {
    format!("the-{role} {role} {}\n", token(role.as_str()).1)
}

impl Tokens {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let mut text: String = Role::ALL.into_iter().map(line).collect();
        let gone = token("expired").1;
        text.push_str(&format!("old admin {gone} 2020-01-01T00:00:00Z\n"));
        write(&path, &text);
        Self {
            _folder: folder,
            path,
        }
    }

    fn front(&self) -> Front {
        Front::new(Door::locked(Keys::watch(self.path.clone()).unwrap()))
    }
}

/// The API before a gateway that is never ready: whatever passes the gate is answered by 503 or a complaint.
fn api(front: Front) -> Router {
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let gateway = Gateway::new(move |id, _| sender.send(id).unwrap());
    let answering = gateway.clone();
    tokio::spawn(async move {
        while let Some(id) = asked.recv().await {
            answering.reply(id, Reply::NotReady);
        }
    });
    api::router(gateway, Limits::default(), Arc::new(|| Ok(())), front)
}

fn request(method: &str, path: &str, source: &str, credential: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = credential {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    let peer: SocketAddr = format!("{source}:1").parse().unwrap();
    request.extensions_mut().insert(Peer(peer));
    request
}

async fn status(router: &Router, request: Request<Body>) -> u16 {
    router
        .clone()
        .oneshot(request)
        .await
        .unwrap()
        .status()
        .as_u16()
}

fn some_path(template: &str) -> String {
    template
        .replace("/tasks/{id}", "/tasks/019aa000-0000-7000-8000-000000000000")
        .replace("{queue}", "q")
        .replace("{key}", "k")
        .replace("{id}", "n")
}

#[tokio::test]
async fn every_route_lets_in_whom_its_access_names_and_nobody_else() {
    let tokens = Tokens::new();
    let router = api(tokens.front());
    let (unknown, expired) = (token("unknown").0, token("expired").0);
    // Each wrong token comes from an address of its own: how often one may fail is another matter.
    let mut sources = (1_u32..).map(|number| format!("10.0.{}.{}", number / 250, number % 250));
    let mut tried = 0;
    for route in routes::all() {
        let (method, path) = (route.method.as_str(), some_path(route.path));
        let mut answer = async |credential: Option<&str>| {
            tried += 1;
            let source = sources.next().unwrap();
            status(&router, request(method, &path, &source, credential)).await
        };
        let what = format!("{method} {path}");
        let open = route.access == Access::Open;
        for credential in [None, Some(&*unknown), Some(&*expired), Some(""), Some("x")] {
            let refused = answer(credential).await == 401;
            assert_eq!(refused, !open, "{what} with {credential:?}");
        }
        for role in Role::ALL {
            let status = answer(Some(&token(role.as_str()).0)).await;
            assert_ne!(status, 401, "{what} as {role}");
            let refused = status == 403;
            assert_eq!(refused, !role.allows(route.access), "{what} as {role}");
        }
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test]
async fn a_credential_counts_and_nothing_that_claims_to_be_one() {
    let tokens = Tokens::new();
    let router = api(tokens.front());
    let read = token("read").0;
    let with = |headers: &[(&str, &str)]| {
        let mut request = request("POST", "/api/v1/queues/q/pause", "10.0.0.1", Some(&read));
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    };
    for headers in [
        [
            ("x-forwarded-user", "the-admin"),
            ("x-forwarded-for", "127.0.0.1"),
        ],
        [("x-original-url", "/livez"), ("x-rewrite-url", "/livez")],
        [
            ("x-http-method-override", "GET"),
            ("x-method-override", "GET"),
        ],
        [("x-windlass-role", "admin"), ("forwarded", "for=127.0.0.1")],
    ] {
        assert_eq!(status(&router, with(&headers)).await, 403, "{headers:?}");
    }
    let admin = format!("Bearer {}", token("admin").0);
    let twice = with(&[("authorization", &admin)]);
    assert_eq!(status(&router, twice).await, 400);
    let by_query = format!("/api/v1/stats?token={read}&access_token={read}");
    assert_eq!(
        status(&router, request("GET", &by_query, "10.0.0.1", None)).await,
        401
    );
}

#[tokio::test]
async fn whoever_tries_many_tokens_is_not_heard_and_others_are() {
    let tokens = Tokens::new();
    let router = api(tokens.front());
    let admin = token("admin").0;
    let ask = |source: &'static str, credential: String| {
        let router = router.clone();
        async move {
            let request = request("GET", "/api/v1/audit", source, Some(&credential));
            router.oneshot(request).await.unwrap()
        }
    };
    // Known from this address before anybody guesses there.
    assert_eq!(ask("10.0.0.1", admin.clone()).await.status(), 200);
    let mut refused = 0;
    let mut last: Option<Response> = None;
    for guess in 0..1_000 {
        let response = ask("10.0.0.1", token(&format!("guess{guess}")).0).await;
        refused += u32::from(response.status() == StatusCode::UNAUTHORIZED);
        last = Some(response);
    }
    assert!(
        (10..100).contains(&refused),
        "{refused} guesses were looked at"
    );
    let last = last.unwrap();
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(last.headers().contains_key("retry-after"));
    // The right one, guessed in the end, is not told apart from a wrong one; who was there before is let in.
    let guessed = ask("10.0.0.1", token("operate").0).await;
    assert_eq!(guessed.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask("10.0.0.1", admin.clone()).await.status(), 200);
    assert_eq!(ask("10.0.0.2", admin).await.status(), 200);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_taken_away() {
    let tokens = Tokens::new();
    let gate = Gate {
        front: tokens.front(),
        access: Access::Read,
        cost: Cost::Small,
        clock: SystemClock::start(),
    };
    let endless = async || {
        let body = stream::iter([Ok::<_, std::io::Error>("first")]).chain(stream::pending());
        (
            [("content-type", "text/event-stream")],
            Body::from_stream(body),
        )
    };
    let waits = async || std::future::pending::<()>().await;
    let layer = middleware::from_fn_with_state(gate, pass);
    let router = Router::new()
        .route("/stream", get(endless))
        .route("/wait", get(waits))
        .route_layer(layer);
    let open = async |path: &'static str, role: Role| {
        let credential = token(role.as_str()).0;
        let asked = request("GET", path, "10.0.0.1", Some(&credential));
        router.clone().oneshot(asked).await.unwrap()
    };
    let mut taken = open("/stream", Role::Read)
        .await
        .into_body()
        .into_data_stream();
    let mut kept = open("/stream", Role::Submit)
        .await
        .into_body()
        .into_data_stream();
    assert_eq!(taken.next().await.unwrap().unwrap(), "first");
    assert_eq!(kept.next().await.unwrap().unwrap(), "first");
    let waiting = open("/wait", Role::Read);
    let take_away = async {
        // What is wrong is not taken up.
        write(&tokens.path, "");
        write(&tokens.path, &line(Role::Submit));
        tokio::time::timeout(PATIENCE, taken.next())
            .await
            .expect("it ends")
    };
    let (answered, ended) = tokio::join!(waiting, take_away);
    assert!(ended.is_none());
    assert_eq!(answered.status(), StatusCode::UNAUTHORIZED);
    let more = tokio::time::timeout(Duration::from_millis(50), kept.next()).await;
    assert!(more.is_err(), "the other goes on");
    assert_eq!(
        open("/stream", Role::Read).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn without_tokens_only_names_of_this_machine_are_answered_to() {
    let router = api(Front::new(Door::local()));
    let ask = async |uri: &str, host: Option<&str>| {
        let mut asked = request("GET", uri, "127.0.0.1", None);
        if let Some(host) = host {
            asked.headers_mut().insert("host", host.parse().unwrap());
        }
        status(&router, asked).await
    };
    for host in [
        None,
        Some("127.0.0.1:7070"),
        Some("localhost"),
        Some("[::1]:7070"),
    ] {
        assert_eq!(ask("/livez", host).await, 200, "{host:?}");
    }
    for host in ["evil.example:7070", "192.168.1.1", ""] {
        assert_eq!(ask("/livez", Some(host)).await, 421, "{host}");
        assert_eq!(ask("/api/v1/session", Some(host)).await, 421, "{host}");
    }
    assert_eq!(
        ask("http://evil.example/livez", Some("localhost")).await,
        421
    );
    let open = api(Front::new(Door::open()));
    let mut asked = request("GET", "/livez", "127.0.0.1", None);
    asked
        .headers_mut()
        .insert("host", "windlass.example".parse().unwrap());
    assert_eq!(status(&open, asked).await, 200);
}

async fn told(response: Response) -> serde_json::Value {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_session_is_a_cookie_that_only_the_browser_sees() {
    let tokens = Tokens::new();
    let router = api(tokens.front());
    let begin = |credential: &str, secure: bool| {
        let body = serde_json::json!({ "token": credential }).to_string();
        let mut asked = request("POST", "/api/v1/session", "10.0.0.1", None);
        asked
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        if secure {
            asked.extensions_mut().insert(TlsUsed);
        }
        *asked.body_mut() = Body::from(body);
        router.clone().oneshot(asked)
    };
    let operate = token("operate").0;
    let response = begin(&operate, true).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !begin(&operate, false).await.unwrap().headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Secure")
    );
    let pair = cookie.split(';').next().unwrap();
    let with_cookie = |method: &str, path: &str| {
        let mut asked = request(method, path, "10.0.0.1", None);
        asked.headers_mut().insert("cookie", pair.parse().unwrap());
        router.clone().oneshot(asked)
    };
    let session = told(with_cookie("GET", "/api/v1/session").await.unwrap()).await;
    let expected =
        serde_json::json!({"principal": "the-operate", "role": "operate", "required": true});
    assert_eq!(session, expected);
    assert_eq!(
        with_cookie("GET", "/api/v1/audit").await.unwrap().status(),
        403
    );
    assert_eq!(
        with_cookie("GET", "/api/v1/stats").await.unwrap().status(),
        503
    );
    let ended = with_cookie("DELETE", "/api/v1/session").await.unwrap();
    assert!(
        ended.headers()["set-cookie"]
            .to_str()
            .unwrap()
            .contains("Max-Age=0")
    );
    let wrong = begin(&token("unknown").0, true).await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key("set-cookie"));
    let nobody = request("GET", "/api/v1/session", "10.0.0.1", None);
    let nobody = told(router.clone().oneshot(nobody).await.unwrap()).await;
    assert_eq!(
        nobody,
        serde_json::json!({"principal": null, "role": null, "required": true})
    );
}

#[tokio::test]
async fn what_changes_something_of_others_is_noted_and_what_looks_is_not() {
    let tokens = Tokens::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let router = api(tokens.front().with_audit(Audit::to_file(&file).unwrap()));
    let act = async |method: &str, path: &str, role: Role, reason: Option<&str>| {
        let mut asked = request(method, path, "10.0.0.1", Some(&token(role.as_str()).0));
        asked
            .headers_mut()
            .insert("x-request-id", "r-1".parse().unwrap());
        if let Some(reason) = reason {
            asked
                .headers_mut()
                .insert("x-windlass-reason", reason.parse().unwrap());
        }
        status(&router, asked).await
    };
    assert_eq!(act("GET", "/api/v1/stats", Role::Read, None).await, 503);
    assert_eq!(
        act(
            "POST",
            "/api/v1/queues/q/pause",
            Role::Operate,
            Some("it burns")
        )
        .await,
        503
    );
    assert_eq!(
        act("POST", "/api/v1/nodes/n/drain", Role::Submit, None).await,
        403
    );
    let long = "x".repeat(audit::REASON_MAX + 1);
    assert_eq!(
        act("POST", "/api/v1/nodes/n/drain", Role::Admin, Some(&long)).await,
        400
    );
    let asked = request(
        "GET",
        "/api/v1/audit?limit=5",
        "10.0.0.1",
        Some(&token("admin").0),
    );
    let found = told(router.clone().oneshot(asked).await.unwrap()).await;
    let mut records = found["records"].as_array().unwrap().clone();
    for record in &mut records {
        assert!(record["at"].as_str().unwrap().ends_with('Z'));
        record.as_object_mut().unwrap().remove("at");
    }
    let expected = serde_json::json!([
        {"principal": "the-submit", "role": "submit", "source": "10.0.0.1", "method": "POST",
         "route": "/api/v1/nodes/{id}/drain", "object": "n", "reason": null, "status": 403, "request_id": "r-1"},
        {"principal": "the-operate", "role": "operate", "source": "10.0.0.1", "method": "POST",
         "route": "/api/v1/queues/{queue}/pause", "object": "q", "reason": "it burns", "status": 503, "request_id": "r-1"},
    ]);
    assert_eq!(serde_json::Value::Array(records), expected);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_caller_above_its_rate_is_turned_away_and_others_are_not() {
    let tokens = Tokens::new();
    let router = api(tokens.front().with_rate_max(Some(5)));
    let ask = async |path: &str, role: Role| {
        status(
            &router,
            request("GET", path, "10.0.0.1", Some(&token(role.as_str()).0)),
        )
        .await
    };
    let mut passed = 0;
    for _ in 0..50 {
        let status = ask("/api/v1/stats", Role::Read).await;
        assert!(matches!(status, 429 | 503), "{status}");
        passed += u32::from(status == 503);
    }
    assert!((5..40).contains(&passed), "{passed}");
    assert_eq!(ask("/livez", Role::Read).await, 200);
    assert_eq!(ask("/api/v1/stats", Role::Admin).await, 503);
}

#[tokio::test]
async fn lists_are_turned_away_before_anything_else_is() {
    let router = api(Front::new(Door::open()).with_costly_max(0));
    let ask = async |method: &str, path: &str| {
        let asked = request(method, path, "10.0.0.1", None);
        router.clone().oneshot(asked).await.unwrap()
    };
    let list = ask("GET", "/api/v1/tasks").await;
    assert_eq!(list.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(list.headers().contains_key("retry-after"));
    assert!(
        told(list).await["detail"]
            .as_str()
            .unwrap()
            .contains("too many lists")
    );
    let cancel = ask(
        "POST",
        "/api/v1/tasks/019aa000-0000-7000-8000-000000000000/cancel",
    )
    .await;
    assert!(
        told(cancel).await["detail"]
            .as_str()
            .unwrap()
            .contains("not ready")
    );
    assert_eq!(ask("GET", "/livez").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn every_answer_has_its_name_and_forbids_what_browsers_guess() {
    let router = api(Front::new(Door::open()));
    let ask = async |path: &str, id: Option<&str>| {
        let mut asked = request("GET", path, "10.0.0.1", None);
        if let Some(id) = id {
            asked
                .headers_mut()
                .insert("x-request-id", id.parse().unwrap());
        }
        router.clone().oneshot(asked).await.unwrap()
    };
    for path in [
        "/livez",
        "/nothing",
        "/api/v1/tasks",
        "/api/v1/openapi.json",
        "/metrics",
    ] {
        let response = ask(path, None).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("x-request-id").len(), 32, "{path}");
        if path.starts_with("/api/") {
            assert_eq!(header("cache-control"), "no-store", "{path}");
        }
    }
    let named = ask("/api/v1/stats", Some("job-4711/2")).await;
    assert_eq!(named.headers()["x-request-id"], "job-4711/2");
    assert_eq!(told(named).await["request_id"], "job-4711/2");
    for bad in ["", "a b", &"x".repeat(129), "<script>"] {
        let named = ask("/livez", Some(bad)).await;
        assert_eq!(named.headers()["x-request-id"].len(), 32, "{bad}");
    }
}
