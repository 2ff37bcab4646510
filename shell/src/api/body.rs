//! Reads a request's body within limits, to its end even when it is too large, so that its sender hears the answer.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::admission::Room;
use super::problem::{Fault, Problem};
use super::{App, BODY_RATE_MIN, BODY_TIME_MAX, Limits};

/// How much of a body over its limit is still read, to be thrown away.
const DRAIN_MAX: usize = 64 * 1024 * 1024;

/// How large a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// As large as an object or an array of objects may be, whichever it is.
    Tasks,
    /// As large as an array of objects may be, though it is an object.
    Results,
    /// A few fields.
    Small,
}

const SMALL_MAX: usize = 64 * 1024;

impl Size {
    fn most(self, first: Option<u8>, limits: &Limits) -> usize {
        match (self, first) {
            (Self::Small, _) => SMALL_MAX,
            (Self::Results, _) | (Self::Tasks, Some(b'[')) => {
                limits.body_max.max(limits.object_max())
            }
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
    let empty = body.is_end_stream();
    let bytes = collect(body, size, app.limits(), |_| true).await?;
    if !empty {
        check_headers(headers)?;
    }
    Ok(bytes)
}

/// The same of a submission, and the room that it takes until it is dropped.
pub(super) async fn read_submission<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Room<'a>), Problem> {
    let empty = body.is_end_stream();
    let mut room = Room::default();
    let grow = |bytes| app.admission().grow_body(&mut room, bytes);
    let bytes = collect(body, Size::Tasks, app.limits(), grow).await?;
    if !empty {
        check_headers(headers)?;
    }
    Ok((bytes, room))
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

/// How long a body may take of which `seen` bytes have come.
fn time_for(seen: usize, limits: &Limits) -> Duration {
    let earned = u64::try_from(seen).unwrap_or(u64::MAX) / BODY_RATE_MIN;
    (limits.body_time_out + Duration::from_secs(earned.min(BODY_TIME_MAX.as_secs())))
        .min(BODY_TIME_MAX)
}

/// Reads a body to its end. It may `grow` to so many bytes, or is thrown away.
async fn collect(
    body: Body,
    size: Size,
    limits: &Limits,
    mut grow: impl FnMut(usize) -> bool,
) -> Result<Bytes, Problem> {
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    let (mut first, mut has_room) = (None, true);
    let mut stream = body.into_data_stream();
    let began = Instant::now();
    loop {
        let deadline = began + time_for(seen, limits);
        let next = tokio::time::timeout_at(deadline, stream.next()).await;
        let next = next.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
        })?;
        let Some(chunk) = next else { break };
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
        has_room = has_room && (seen > most || grow(seen));
        if seen <= most && has_room {
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
    if !has_room {
        return Err(Problem::unavailable(
            "nothing was done: too many large bodies are being sent",
        ));
    }
    Ok(kept.freeze())
}
