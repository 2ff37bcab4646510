//! Every route with every credential, and what happens to who was let in and is no more.

mod after;

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
        assert_eq!(ask("/nothing", Some(host)).await, 421, "{host}");
        assert_eq!(ask("/", Some(host)).await, 421, "{host}");
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
