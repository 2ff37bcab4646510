//! The trace that a request belongs to.

use axum::body::Body;
use axum::http::Request;

use super::fake::{Fake, get, send};

#[tokio::test]
async fn a_task_without_a_trace_carries_that_of_its_request() {
    let router = Fake::default().router();
    let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let other = sound.replace("00f0", "10f0");
    let own = format!(r#"{{"type":"t","metadata":{{"traceparent":"{other}"}}}}"#);
    for (headers, body, carried) in [
        (&[sound][..], r#"{"type":"t"}"#, Some(sound)),
        (&[sound], own.as_str(), Some(other.as_str())),
        (&["00-xyz"], r#"{"type":"t"}"#, None),
        (&[sound, sound], r#"{"type":"t"}"#, None),
    ] {
        let mut request = Request::post("/api/v1/tasks").header("content-type", "application/json");
        for header in headers {
            request = request.header("traceparent", *header);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let accepted = send(&router, request).await.json();
        let id = accepted["id"].as_str().unwrap();
        let shown = get(&router, &format!("/api/v1/tasks/{id}")).await.json();
        let found = shown["metadata"]["traceparent"].as_str();
        assert_eq!(found, carried, "{headers:?} {body}");
    }
}
