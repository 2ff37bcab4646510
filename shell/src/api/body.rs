//! Reads a request's body within limits, to its end even when it is too large, so that its sender hears the answer.

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::problem::{Fault, Problem};
use super::{App, Limits};

/// How much of a body over its limit is still read, to be thrown away.
const DRAIN_MAX: usize = 64 * 1024 * 1024;

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// As large as an object or an array of objects may be, whichever it is.
    Tasks,
    /// A few fields.
    Small,
}

const SMALL_MAX: usize = 64 * 1024;

impl Size {
    fn most(self, first: Option<u8>, limits: &Limits) -> usize {
        match (self, first) {
            (Self::Small, _) => SMALL_MAX,
            (Self::Tasks, Some(b'[')) => limits.body_max.max(limits.object_max()),
            (Self::Tasks, Some(_) | None) => limits.object_max(),
        }
    }
}

/// The whole body of a request that brings JSON. An absent body is empty.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    size: Size,
) -> Result<Bytes, Problem> {
    let limits = app.limits();
    let empty = body.is_end_stream();
    let reading = collect(body, size, limits);
    let bytes = tokio::time::timeout(limits.body_time_out, reading)
        .await
        .map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
        })??;
    if !empty {
        check_headers(headers)?;
    }
    Ok(bytes)
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail| Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return unsupported("a body must not be compressed");
    }
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Ok(()),
        Some(_) | None => unsupported("a body must have the content type application/json"),
    }
}

async fn collect(body: Body, size: Size, limits: &Limits) -> Result<Bytes, Problem> {
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    let mut first = None;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::bad(vec![Fault::new("body", format!("cannot be read: {error}"))])
        })?;
        seen = seen.saturating_add(chunk.len());
        first = first.or_else(|| {
            chunk
                .iter()
                .copied()
                .find(|byte| !byte.is_ascii_whitespace())
        });
        let most = size.most(first, limits);
        if seen <= most {
            kept.extend_from_slice(&chunk);
        } else {
            kept = BytesMut::new();
            if seen > DRAIN_MAX.max(most) {
                break;
            }
        }
    }
    let most = size.most(first, limits);
    if seen > most {
        return Err(Problem::faulty(
            StatusCode::PAYLOAD_TOO_LARGE,
            vec![Fault::new("body", format!("is larger than {most} bytes"))],
        ));
    }
    Ok(kept.freeze())
}
