//! What the servers tell about themselves. What could not be asked is a fact too.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::DoctorArgs;
use crate::cli::exit::CliError;
use crate::cli::servers::{Call, Client};
use crate::client::ServerUrl;
use crate::client::transport::{Options, Transport};

/// How long a server may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// An answer, or why there is none.
pub(super) type Told = Result<Value, String>;

/// What is known of a cluster.
#[derive(Debug)]
pub(super) struct Facts {
    /// Whether a server answers, and how long it took.
    pub(super) reached: Result<Duration, String>,
    /// How far the server's clock is ahead of ours, as far as it tells.
    pub(super) clock_ahead_s: Option<i64>,
    pub(super) ready: Result<(), String>,
    pub(super) stats: Told,
    pub(super) queues: Told,
    pub(super) nodes: Told,
    /// The members of etcd that were named, and their versions.
    pub(super) etcd: Vec<(String, Told)>,
}

impl Facts {
    /// Asks for everything.
    pub(super) async fn gather(args: &DoctorArgs, client: &Client) -> anyhow::Result<Self> {
        let (reached, clock_ahead_s) = reach(client).await;
        let there = reached.is_ok();
        let ask = async |path: &'static str| {
            if there {
                told(client, path).await
            } else {
                Err("no server can be reached".to_owned())
            }
        };
        Ok(Self {
            ready: ask("/readyz").await.map(drop),
            stats: ask("/api/v1/stats").await,
            queues: ask("/api/v1/queues").await,
            nodes: ask("/api/v1/nodes").await,
            etcd: etcd(args).await?,
            reached,
            clock_ahead_s,
        })
    }
}

/// Whether a server lives, and how far its clock is ahead of ours.
async fn reach(client: &Client) -> (Result<Duration, String>, Option<i64>) {
    let began = Instant::now();
    let call = Call::get("/livez");
    let opened = tokio::time::timeout(ANSWER_MAX, client.open(&call)).await;
    let took = began.elapsed();
    let now = Timestamp::now();
    let response = match opened {
        Ok(Ok(response)) => response,
        Ok(Err(CliError { message, .. })) => return (Err(message), None),
        Err(_) => return (Err("no server answered in time".to_owned()), None),
    };
    let date = response.headers().get("date");
    let date = date.and_then(|date| humane_date(date.to_str().ok()?));
    (Ok(took), date.map(|date| ahead(date, now, took)))
}

/// An HTTP date has whole seconds, and was taken while the answer was under way: what these explain is no difference.
fn ahead(date: Timestamp, now: Timestamp, took: Duration) -> i64 {
    let slack = i64::try_from(took.as_secs())
        .unwrap_or(i64::MAX)
        .saturating_add(1);
    let difference = date.as_second() - now.as_second();
    match difference {
        0.. => (difference - slack).max(0),
        _ => (difference + slack).min(0),
    }
}

fn humane_date(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    parsed.ok()
}

async fn told(client: &Client, path: &str) -> Told {
    let call = Call::get(path);
    match tokio::time::timeout(ANSWER_MAX, client.ask(&call)).await {
        Ok(Ok(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.message),
        Err(_) => Err("no server answered in time".to_owned()),
    }
}

async fn etcd(args: &DoctorArgs) -> anyhow::Result<Vec<(String, Told)>> {
    let mut told = Vec::new();
    for url in &args.etcd {
        let ca = args.etcd_ca.as_ref();
        let ca = ca.map(|path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        });
        let answer = version_of(url, ca.transpose()?).await;
        told.push((url.to_string(), answer));
    }
    Ok(told)
}

async fn version_of(url: &ServerUrl, ca: Option<Vec<u8>>) -> Told {
    let options = Options {
        ca,
        ..Options::default()
    };
    let transport = Transport::new(std::slice::from_ref(url), options);
    let transport = transport.map_err(|error| error.to_string())?;
    let call = Call::get("/version");
    match tokio::time::timeout(ANSWER_MAX, transport.ask(&call)).await {
        Ok(Ok(text)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it gave no answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_only_by_what_the_answers_way_cannot_explain() {
        let now: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        let at = |text: &str| humane_date(text).unwrap();
        let took = Duration::from_millis(2_500);
        assert_eq!(ahead(at("Sun, 06 Nov 1994 08:49:37 GMT"), now, took), 0);
        assert_eq!(ahead(at("Sun, 06 Nov 1994 08:49:40 GMT"), now, took), 0);
        assert_eq!(ahead(at("Sun, 06 Nov 1994 08:50:37 GMT"), now, took), 57);
        assert_eq!(ahead(at("Sun, 06 Nov 1994 08:48:37 GMT"), now, took), -57);
    }
}
