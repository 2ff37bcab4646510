//! How servers are asked: one of several, the next one when one cannot be reached. The commands and the typed client
//! share it.

mod local;

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::error::{ClientError, ErrorKind};

/// How long a connection may take to come about.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(5);
/// How long an answer may take, beyond what the request itself may wait.
const ANSWER_TIME_OUT: Duration = Duration::from_secs(30);
/// Shorter than the server's, so that no request is sent on a connection that is just being closed.
const IDLE_TIME_OUT: Duration = Duration::from_secs(5);

/// Where a server is: `http://host:port` or `https://host:port`, perhaps with a path in front of the API's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url: reqwest::Url = text.trim().parse().map_err(|error| {
            format!("a server is named by its URL, such as http://127.0.0.1:7070: {error}")
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(
                "a server's URL starts with http:// or https:// and names a host".to_owned(),
            );
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl ServerUrl {
    fn is_secure(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How servers are known, and how this side is known to them.
#[derive(Default)]
pub(crate) struct Options {
    /// What is sent as `Authorization: Bearer`.
    pub token: Option<String>,
    /// The certificates, in PEM, that alone may sign a server's. Without them: those that the system trusts.
    pub ca: Option<Vec<u8>>,
    /// The certificate that this side shows and its key, both in PEM.
    pub identity: Option<Vec<u8>>,
}

impl fmt::Debug for Options {
    /// The token reaches no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options")
    }
}

impl Options {
    fn applied_to(
        self,
        mut builder: reqwest::ClientBuilder,
        servers: &[ServerUrl],
    ) -> Result<reqwest::ClientBuilder, ClientError> {
        crate::tls::name_provider();
        let refuse = |told: String| ClientError::new(ErrorKind::Input, told);
        if let Some(pem) = self.ca {
            let trusted = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| refuse(format!("the CA is not PEM: {}", root_cause(&error))))?;
            if trusted.is_empty() {
                return Err(refuse("the CA holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_only(trusted);
        } else if !servers.iter().any(ServerUrl::is_secure) {
            // Otherwise the system's certificates would be read, and must be there, though nobody needs them.
            builder = builder.tls_certs_only([]);
        }
        if let Some(pem) = self.identity {
            let identity = reqwest::Identity::from_pem(&pem).map_err(|error| {
                let cause = root_cause(&error);
                refuse(format!(
                    "the client's certificate and key are of no use: {cause}"
                ))
            })?;
            builder = builder.identity(identity);
        }
        if let Some(token) = self.token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| refuse("the token has characters that none may have".to_owned()))?;
            bearer.set_sensitive(true);
            builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        }
        Ok(builder)
    }
}

/// Asks servers.
#[derive(Debug)]
pub(crate) struct Transport(Way);

#[derive(Debug)]
enum Way {
    Network(Network),
    /// Straight into a server of this process.
    Local(Router),
}

/// Servers that are reached over the network. Remembers which one answered last.
#[derive(Debug)]
struct Network {
    http: reqwest::Client,
    servers: Vec<ServerUrl>,
    current: AtomicUsize,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<String>,
    wait: Duration,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            wait: Duration::ZERO,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// With this parameter, if there is one.
    pub(crate) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// With this header, whose value has no control characters.
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With this JSON as its body.
    pub(crate) fn body(mut self, json: String) -> Self {
        self.body = Some(json);
        self
    }

    /// The server itself may wait this long before it answers.
    pub(crate) fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// Why one server gave no answer that counts.
pub(super) enum Miss {
    /// Nothing was done there: another one may be asked.
    Elsewhere(ClientError),
    /// Asking again might do it twice, or would get the same answer.
    Final(ClientError),
}

impl Miss {
    fn into_error(self) -> ClientError {
        match self {
            Self::Elsewhere(error) | Self::Final(error) => error,
        }
    }
}

impl Transport {
    /// Asks `servers`, the first of which is asked first.
    pub(crate) fn new(servers: &[ServerUrl], options: Options) -> Result<Self, ClientError> {
        if servers.is_empty() {
            let told = "there is no server to ask";
            return Err(ClientError::new(ErrorKind::Input, told));
        }
        let http = options
            .applied_to(reqwest::Client::builder(), servers)?
            .no_proxy()
            .connect_timeout(CONNECT_TIME_OUT)
            .pool_idle_timeout(IDLE_TIME_OUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| {
                let told = format!("cannot start an HTTP client: {}", root_cause(&error));
                ClientError::new(ErrorKind::Input, told)
            })?;
        Ok(Self(Way::Network(Network {
            http,
            servers: servers.to_vec(),
            current: AtomicUsize::new(0),
        })))
    }

    /// Asks the server in this process that `router` is the API of.
    pub(crate) fn local(router: Router) -> Self {
        Self(Way::Local(router))
    }

    /// The answer of a server on the network, which is a success, as soon as its head is there: its body may go on for ever.
    pub(crate) async fn open(&self, call: &Call) -> Result<Response, ClientError> {
        match &self.0 {
            Way::Network(network) => network.open(call).await,
            Way::Local(_) => {
                let told = "a server in this process answers only as a whole";
                Err(ClientError::new(ErrorKind::Input, told).undone())
            }
        }
    }

    /// The body of the answer, which is a success.
    pub(crate) async fn ask(&self, call: &Call) -> Result<String, ClientError> {
        match &self.0 {
            Way::Network(network) => network.ask(call).await,
            Way::Local(router) => local::ask(router.clone(), call)
                .await
                .map_err(Miss::into_error),
        }
    }
}

impl Network {
    async fn open(&self, call: &Call) -> Result<Response, ClientError> {
        let start = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.servers.len() {
            let index = (start + step) % self.servers.len();
            let server = &self.servers[index];
            let opened = tokio::time::timeout(ANSWER_TIME_OUT, self.send(server, call, None)).await;
            match opened {
                Ok(Ok(response)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(response);
                }
                Ok(Err(Miss::Final(error))) => return Err(error),
                Ok(Err(Miss::Elsewhere(error))) => last = Some(error),
                Err(_) => {
                    let told = format!("the server at {server} gave no answer in time");
                    last = Some(ClientError::new(ErrorKind::TimedOut, told));
                }
            }
        }
        Err(last.expect("there is at least one server"))
    }

    async fn ask(&self, call: &Call) -> Result<String, ClientError> {
        let start = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for step in 0..self.servers.len() {
            let index = (start + step) % self.servers.len();
            match self.ask_one(&self.servers[index], call).await {
                Ok(body) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(body);
                }
                Err(Miss::Elsewhere(error)) => {
                    tracing::debug!(server = %self.servers[index], %error, "another server is asked");
                    last = Some(error);
                }
                Err(Miss::Final(error)) => return Err(error),
            }
        }
        Err(last.expect("there is at least one server"))
    }

    async fn ask_one(&self, server: &ServerUrl, call: &Call) -> Result<String, Miss> {
        let time_out = call.wait + ANSWER_TIME_OUT;
        let response = self.send(server, call, Some(time_out)).await?;
        let body = response.text().await;
        body.map_err(|error| unanswered(server, call, &error))
    }

    async fn send(
        &self,
        server: &ServerUrl,
        call: &Call,
        time_out: Option<Duration>,
    ) -> Result<Response, Miss> {
        let mut request = self.http.request(call.method.clone(), url(server, call));
        if let Some(time_out) = time_out {
            request = request.timeout(time_out);
        }
        for (name, value) in &call.headers {
            // As bytes: a value need not be ASCII.
            request = request.header(*name, value.as_bytes());
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let failed = |error| unanswered(server, call, &error);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.map_err(failed)?;
        Err(refused(server, status, &body))
    }
}

/// What an answer means.
fn judged(server: &ServerUrl, status: StatusCode, body: String) -> Result<String, Miss> {
    if status.is_success() {
        Ok(body)
    } else {
        Err(refused(server, status, &body))
    }
}

/// What an answer means that is no success.
fn refused(server: &ServerUrl, status: StatusCode, body: &str) -> Miss {
    let problem: Problem = serde_json::from_str(body).unwrap_or_default();
    let error = ClientError::new(
        ErrorKind::of_status(status.as_u16()),
        problem.told(server, status),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE && problem.ids.is_empty() {
        Miss::Elsewhere(error.undone())
    } else {
        Miss::Final(error)
    }
}

fn url(server: &ServerUrl, call: &Call) -> String {
    let base = format!("{server}{}", call.path);
    match reqwest::Url::parse_with_params(&base, &call.query) {
        Ok(url) if !call.query.is_empty() => url.into(),
        Ok(_) | Err(_) => base,
    }
}

fn unanswered(server: &ServerUrl, call: &Call, error: &reqwest::Error) -> Miss {
    if error.is_connect() {
        let told = format!(
            "cannot reach the server at {server} ({})",
            root_cause(error)
        );
        return Miss::Elsewhere(ClientError::new(ErrorKind::Unreachable, told).undone());
    }
    let (kind, what) = if error.is_timeout() {
        (ErrorKind::TimedOut, "gave no answer in time")
    } else {
        (ErrorKind::Unreachable, "broke off before its answer")
    };
    if call.method == Method::POST {
        Miss::Final(ClientError::new(
            kind,
            format!("the server at {server} {what}: the request may have taken effect"),
        ))
    } else {
        Miss::Elsewhere(ClientError::new(
            kind,
            format!("the server at {server} {what} ({})", root_cause(error)),
        ))
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// An error as the server tells it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    title: String,
    status: u16,
    detail: String,
    errors: Vec<Fault>,
    ids: Vec<String>,
    /// Of a server that is asked whether it is ready, and is not.
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    field: String,
    reason: String,
}

impl Problem {
    /// The error of one task among many.
    pub(crate) fn to_error(&self) -> ClientError {
        let error = ClientError::new(ErrorKind::of_status(self.status), self.to_string());
        if self.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
            error.undone()
        } else {
            error
        }
    }

    fn told(&self, server: &ServerUrl, status: StatusCode) -> String {
        if self.status == 0 {
            return match &*self.reason {
                "" => format!(
                    "the server at {server} answered {status}, and nothing that Windlass says"
                ),
                reason => format!("the server at {server} is not ready: {reason}"),
            };
        }
        self.to_string()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title.to_lowercase())?;
        if self.errors.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for fault in &self.errors {
            write!(f, "\n  {}: {}", fault.field, fault.reason)?;
        }
        for id in &self.ids {
            write!(f, "\n  ask for: {id}")?;
        }
        Ok(())
    }
}
