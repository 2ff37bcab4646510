//! The session of a browser: a cookie that no script can read and no other site can make it send.
//!
//! It carries the token, so any scheduler can serve the next request, and it ends with its token.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::door::{COOKIE, Caller, TlsUsed};
use super::gate::source_in;
use super::role::Role;
use crate::api::body::{self, Size};
use crate::api::json::{self, Object};
use crate::api::problem::{Fault, Problem};
use crate::api::{Answer, AppState, answer, field};

/// How long a browser keeps the cookie: 30 days.
const COOKIE_AGE_SECS: u32 = 30 * 24 * 3_600;

/// Who somebody is, and what it may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// The name of the token's holder; null for nobody who is known.
    #[schema(required = true)]
    principal: Option<String>,
    /// What it may do; null for nothing that needs a role.
    #[schema(required = true)]
    role: Option<Role>,
    /// Whether this server requires a token.
    required: bool,
}

/// `GET /api/v1/session`
pub(crate) async fn show(
    State(app): AppState,
    headers: HeaderMap,
    extensions: Extensions,
) -> Answer {
    let door = app.door();
    let caller = match door.caller(&headers, source_in(&extensions)) {
        Ok(caller) => Some(caller),
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED => None,
        Err(problem) => return Err(problem),
    };
    answer(StatusCode::OK, &told(caller, door.is_locked()))
}

fn told(caller: Option<Caller>, required: bool) -> Session {
    Session {
        role: caller.as_ref().map(|caller| caller.role),
        principal: caller.map(|caller| caller.name.to_string()),
        required,
    }
}

/// `POST /api/v1/session`
pub(crate) async fn begin(
    State(app): AppState,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Answer {
    let bytes = body::read(&app, &headers, body, Size::Small).await?;
    let bad = |fault| Problem::bad(vec![fault]);
    let mut object = Object::open("", json::text(&bytes).map_err(bad)?).map_err(bad)?;
    let token = object.take("token", field::string);
    let sound = object.is_sound();
    let mut faults = object.close();
    if token.is_none() && sound {
        faults.push(Fault::new("token", "is missing"));
    }
    let (Some(token), true) = (token, faults.is_empty()) else {
        return Err(Problem::bad(faults));
    };
    let caller = app.door().caller_by(&token, source_in(&extensions))?;
    let secure = extensions.get::<TlsUsed>().is_some();
    let response = answer(StatusCode::OK, &told(Some(caller), true))?;
    with_cookie(response, &token, COOKIE_AGE_SECS, secure)
}

/// `DELETE /api/v1/session`
pub(crate) async fn end(State(app): AppState, extensions: Extensions) -> Answer {
    let secure = extensions.get::<TlsUsed>().is_some();
    let response = answer(StatusCode::OK, &told(None, app.door().is_locked()))?;
    with_cookie(response, "", 0, secure)
}

fn with_cookie(mut response: Response, value: &str, age: u32, secure: bool) -> Answer {
    let secure = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    // What is no legal value of a cookie is no token of `windlass token new`.
    let legal = value
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'));
    match HeaderValue::try_from(cookie) {
        Ok(cookie) if legal => {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            Ok(response)
        }
        Ok(_) | Err(_) => Err(Problem::bad_field(
            "token",
            "has characters that no cookie can carry",
        )),
    }
}
