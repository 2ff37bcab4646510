//! The way to a server in the same process: its API is called as a function, without a network.

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, header};
use tower::ServiceExt;

use super::{Call, Miss, ServerUrl, judged, url};
use crate::client::{ClientError, ErrorKind};

/// The body of the answer, which is a success.
pub(super) async fn ask(router: Router, call: &Call) -> Result<String, Miss> {
    let here = ServerUrl("http://localhost".to_owned());
    let broken = |told: String| Miss::Final(ClientError::new(ErrorKind::Failed, told));
    let mut request = Request::builder()
        .method(call.method.clone())
        .uri(url(&here, call))
        .header(header::HOST, "localhost");
    for (name, value) in &call.headers {
        request = request.header(*name, value.as_bytes());
    }
    if call.body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = call.body.clone().map_or_else(Body::empty, Body::from);
    let request = request.body(body).map_err(|error| {
        let told = format!("cannot be asked for: {error}");
        Miss::Final(ClientError::new(ErrorKind::Input, told).undone())
    })?;
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    // The server bounds its answers itself.
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .map_err(|error| broken(format!("the answer broke off: {error}")))?;
    let text = String::from_utf8(body.into())
        .map_err(|_| broken("the answer is not a text".to_owned()))?;
    judged(&here, status, text)
}
