//! The HTTP client behind the commands: one of several servers, the next one when one cannot be reached.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;

use super::exit::{self, CliError, Exit};

/// How long a connection may take to come about.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(5);
/// How long an answer may take, beyond what the request itself may wait.
const ANSWER_TIME_OUT: Duration = Duration::from_secs(30);
/// Shorter than the server's, so that no request is sent on a connection that is just being closed.
const IDLE_TIME_OUT: Duration = Duration::from_secs(5);

/// Where a server is: `http://host:port`, perhaps with a path in front of the API's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl FromStr for ServerUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url: reqwest::Url = text.trim().parse().map_err(|error| {
            format!("a server is named by its URL, such as http://127.0.0.1:7070: {error}")
        })?;
        if url.scheme() != "http" || !url.has_host() {
            return Err("a server's URL starts with http:// and names a host".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Asks servers. Remembers which one answered last.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    servers: Vec<ServerUrl>,
    current: AtomicUsize,
}

/// One request.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<String>,
    wait: Duration,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: None,
            wait: Duration::ZERO,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// With this parameter, if there is one.
    pub(super) fn query(mut self, name: &'static str, value: Option<String>) -> Self {
        self.query.extend(value.map(|value| (name, value)));
        self
    }

    /// With this JSON as its body.
    pub(super) fn body(mut self, json: String) -> Self {
        self.body = Some(json);
        self
    }

    /// The server itself may wait this long before it answers.
    pub(super) fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// Why one server gave no answer that counts.
enum Miss {
    /// Nothing was done there: another one may be asked.
    Elsewhere(CliError),
    /// Asking again might do it twice, or would get the same answer.
    Final(CliError),
}

impl Client {
    /// A client of `servers`, the first of which is asked first.
    pub(super) fn new(servers: &[ServerUrl]) -> anyhow::Result<Self> {
        anyhow::ensure!(!servers.is_empty(), "there is no server to ask");
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIME_OUT)
            .pool_idle_timeout(IDLE_TIME_OUT)
            .tcp_nodelay(true)
            .build()
            .context("cannot start an HTTP client")?;
        Ok(Self {
            http,
            servers: servers.to_vec(),
            current: AtomicUsize::new(0),
        })
    }

    /// The body of the answer, which is a success.
    pub(super) async fn ask(&self, call: &Call) -> Result<String, CliError> {
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
        let mut request = self
            .http
            .request(call.method.clone(), url(server, call))
            .timeout(call.wait + ANSWER_TIME_OUT);
        if let Some(body) = &call.body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let failed = |error| unanswered(server, call, &error);
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        if status.is_success() {
            return Ok(body);
        }
        let problem: Problem = serde_json::from_str(&body).unwrap_or_default();
        let error = CliError::new(
            exit::of_status(status.as_u16()),
            problem.told(server, status),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE && problem.ids.is_empty() {
            Err(Miss::Elsewhere(error.undone()))
        } else {
            Err(Miss::Final(error))
        }
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
            "cannot reach the server at {server} ({})\n  hint: start one with `windlass dev`, or name it by --server or WINDLASS_SERVER",
            root_cause(error)
        );
        return Miss::Elsewhere(CliError::new(Exit::Unreachable, told).undone());
    }
    let (exit, what) = if error.is_timeout() {
        (Exit::TimedOut, "gave no answer in time")
    } else {
        (Exit::Unreachable, "broke off before its answer")
    };
    if call.method == Method::POST {
        Miss::Final(CliError::new(
            exit,
            format!("the server at {server} {what}: the request may have taken effect"),
        ))
    } else {
        Miss::Elsewhere(CliError::new(
            exit,
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
pub(super) struct Problem {
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
