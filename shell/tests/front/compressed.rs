//! What is sent compressed, and what is not.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt as _;

use super::fake::Fake;

/// The head of the answer to somebody who takes `encoding`.
async fn head(router: &Router, path: &str, encoding: Option<&str>) -> HeaderMap {
    let mut request = Request::get(path).header(header::HOST, "localhost");
    if let Some(encoding) = encoding {
        request = request.header(header::ACCEPT_ENCODING, encoding);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.headers().clone()
}

#[tokio::test]
async fn long_text_is_compressed_for_whoever_takes_that() {
    let router = Fake::default().router();
    for path in ["/api/v1/openapi.json", "/", "/metrics"] {
        let sent = head(&router, path, Some("br, gzip;q=0.8")).await;
        assert_eq!(sent[header::CONTENT_ENCODING], "gzip", "{path}");
        assert_eq!(sent[header::VARY], "accept-encoding", "{path}");
        let plain = head(&router, path, None).await;
        assert!(!plain.contains_key(header::CONTENT_ENCODING), "{path}");
        let refused = head(&router, path, Some("gzip;q=0")).await;
        assert!(!refused.contains_key(header::CONTENT_ENCODING), "{path}");
    }
}

#[tokio::test]
async fn short_answers_and_streams_of_events_go_as_they_are() {
    let router = Fake::default().router();
    for path in ["/livez", "/api/v1/stats", "/api/v1/events"] {
        let sent = head(&router, path, Some("gzip")).await;
        assert!(!sent.contains_key(header::CONTENT_ENCODING), "{path}");
    }
}
