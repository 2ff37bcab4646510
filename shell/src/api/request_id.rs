//! The name of a request, in its answer, in problems and in the log; and the headers that every answer has.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{Extensions, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::field::hex;

/// The header that carries it, both ways.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest that is taken from a client.
const LEN_MAX: usize = 128;

/// The name of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

tokio::task_local! {
    static CURRENT: RequestId;
}

impl RequestId {
    /// What the client calls it, if that is a sound name; else a new one.
    fn of_request(request: &Request) -> Self {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-:/+=@".contains(byte);
        let given = request.headers().get(HEADER).filter(|value| {
            (1..=LEN_MAX).contains(&value.len()) && value.as_bytes().iter().all(legal)
        });
        given.map_or_else(Self::fresh, |value| Self(value.clone()))
    }

    /// Unique in this process, and in others as far as chance allows.
    fn fresh() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(crate::host::entropy);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = [PROCESS.to_be_bytes(), count.to_be_bytes()].concat();
        Self(HeaderValue::try_from(hex(&name)).expect("hex digits are a legal value"))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The one that a request was given.
    pub(super) fn of(extensions: &Extensions) -> String {
        let found = extensions.get::<Self>();
        found.map(|id| id.as_str().to_owned()).unwrap_or_default()
    }

    /// That of the request which is being answered, if one is.
    pub(super) fn current() -> Option<String> {
        CURRENT.try_with(|id| id.as_str().to_owned()).ok()
    }
}

/// Names a request, and completes its answer.
pub(super) async fn name(mut request: Request, next: Next) -> Response {
    let id = RequestId::of_request(&request);
    request.extensions_mut().insert(id.clone());
    let of_the_api = request.uri().path().starts_with("/api/");
    let span = tracing::info_span!("request", id = id.as_str());
    let served = CURRENT.scope(id.clone(), next.run(request).instrument(span));
    let mut response = served.await;
    let headers = response.headers_mut();
    headers.insert(HEADER, id.0);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    if of_the_api && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}
