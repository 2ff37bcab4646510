//! The routes of locks. A token is opaque to clients: it names the waiter, its lease and the fence that it got.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;
use utoipa::ToSchema;
use windlass_core::gateway::{LockToken, Reply, Request};
use windlass_core::ids::{Fence, LeaseId, LockName, NodeId, Revision};
use windlass_core::time::Millis;

use super::body::{self, Size};
use super::describe::types;
use super::json::Object;
use super::problem::{Fault, Problem};
use super::query::Query;
use super::{Answer, App, AppState, Named, answer, field, json};

/// How long a lock is held without a renewal, unless its taker says otherwise.
const TTL_DEFAULT: Millis = Millis::from_secs(30);
/// The shortest and the longest that may be asked for.
const TTL_RANGE: (Millis, Millis) = (Millis::from_secs(1), Millis::from_secs(3_600));
/// How long a taker waits unless it says otherwise, and the longest that it may wait in one request.
const WAIT: (Millis, Millis) = (Millis::from_secs(10), Millis::from_secs(60));
/// A shorter wait would leave the store no time to answer: who asks for it wants the lock only if it is free.
const WAIT_LEAST: Millis = Millis::new(500);
/// The longest name of an owner.
const OWNER_MAX: usize = 256;

/// A lock that is held, or was.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lock)]
pub(super) struct Held {
    #[schema(value_type = u64)]
    fence: Fence,
    /// The proof of holding it.
    token: String,
    #[schema(value_type = Option<types::Span>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

/// `POST /api/v1/locks/KEY`
pub(super) async fn take(
    State(app): AppState,
    Named(lock): Named<LockName>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let mut object = open(if bytes.is_empty() { b"{}" } else { &bytes })?;
    let owner = object.take("owner", |raw| field::line(raw, OWNER_MAX));
    let ttl = object.take("ttl", |raw| field::span(raw, TTL_RANGE.0, TTL_RANGE.1));
    let wait = object.take("wait", |raw| field::span(raw, Millis::ZERO, WAIT.1));
    close(object)?;
    let wait = Duration::from(wait.unwrap_or(WAIT.0).max(WAIT_LEAST));
    let request = Request::LockTake {
        lock,
        owner: owner.map(Arc::from),
        ttl: ttl.unwrap_or(TTL_DEFAULT).into(),
        wait,
    };
    held(&app.ask_waiting(request, wait).await)
}

/// `PUT /api/v1/locks/KEY`
pub(super) async fn renew(
    State(app): AppState,
    Named(lock): Named<LockName>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (token, _) = token_of(&app, &headers, body, None).await?;
    held(&app.ask(Request::LockRenew { lock, token }).await)
}

/// `DELETE /api/v1/locks/KEY`: the token in the body, or in the query for clients that send no body here.
pub(super) async fn release(
    State(app): AppState,
    Named(lock): Named<LockName>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let mut query = Query::of(&uri)?;
    let in_query = query.take("token", read_token);
    query.close()?;
    let (token, fence) = token_of(&app, &headers, body, in_query).await?;
    let spelled = spell_token(&token, fence);
    let reply = app.ask(Request::LockRelease { lock, token }).await;
    if reply == Reply::Done {
        let released = Held {
            fence,
            token: spelled,
            ttl: None,
        };
        answer(StatusCode::OK, &released)
    } else {
        Err(Problem::from_reply(&reply, "lock"))
    }
}

fn open(bytes: &[u8]) -> Result<Object<'_>, Problem> {
    let bad = |fault| Problem::bad(vec![fault]);
    Object::open("", json::text(bytes).map_err(bad)?).map_err(bad)
}

fn close(object: Object<'_>) -> Result<(), Problem> {
    let faults = object.close();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::bad(faults))
    }
}

async fn token_of(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    in_query: Option<(LockToken, Fence)>,
) -> Result<(LockToken, Fence), Problem> {
    let bytes = body::read(app, headers, body, Size::Small).await?;
    let mut object = open(if bytes.is_empty() { b"{}" } else { &bytes })?;
    let in_body = object.take("token", |raw| read_token(&field::string(raw)?));
    close(object)?;
    in_body
        .or(in_query)
        .ok_or_else(|| Problem::bad(vec![Fault::new("token", "is missing")]))
}

fn held(reply: &Reply) -> Answer {
    if let Reply::Lock { fence, token, ttl } = reply {
        let ttl = Millis::new(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let held = Held {
            fence: *fence,
            token: spell_token(token, *fence),
            ttl: Some(field::span_spelled(ttl)),
        };
        answer(StatusCode::OK, &held)
    } else {
        Err(Problem::from_reply(reply, "lock"))
    }
}

fn spell_token(token: &LockToken, fence: Fence) -> String {
    let LockToken { waiter, lease } = token;
    field::hex(format!("{}/{fence}/{waiter}", lease.0).as_bytes())
}

fn read_token(text: &str) -> Result<(LockToken, Fence), String> {
    let read = || {
        let plain = String::from_utf8(field::unhex(text)?).ok()?;
        let mut parts = plain.splitn(3, '/');
        let lease = LeaseId(parts.next()?.parse().ok()?);
        let fence = Fence(Revision(parts.next()?.parse().ok()?));
        let waiter: NodeId = parts.next()?.parse().ok()?;
        Some((LockToken { waiter, lease }, fence))
    };
    read().ok_or_else(|| "is not a token that an earlier answer gave".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_read_back(lease in any::<i64>(), fence in any::<u64>(), waiter in "[A-Za-z0-9._-]{1,128}") {
            let token = LockToken { waiter: waiter.parse().unwrap(), lease: LeaseId(lease) };
            let fence = Fence(Revision(fence));
            prop_assert_eq!(read_token(&spell_token(&token, fence)), Ok((token, fence)));
        }

        #[test]
        fn no_text_crashes_the_reader(text in any::<String>(), digits in "[0-9a-f]{0,80}") {
            let _ = (read_token(&text), read_token(&digits));
        }
    }
}
