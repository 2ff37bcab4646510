//! The way to a connection: members are looked at one by one, so that what is wrong can be said.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Channel, Client, ConnectOptions, Error, GetOptions, Identity, ResponseHeader,
    TlsOptions,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Code;
use tonic::transport::Endpoint;
use tower::util::BoxCloneSyncService;
use windlass_core::store::Refusal;

use super::config::{EtcdConfig, EtcdError, Tls};
use super::fate::{Fate, describe, innermost};
use super::members::{Dial, Members};
use super::route::Route;
use super::wire::Prefix;

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How often an open connection is tested. etcd ends connections that are tested more often than every 5 s.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PONG_MAX: Duration = Duration::from_secs(3);

/// The first release of each line that is free of known data loss and open doors.
const SOUND: [(u32, u32, u32); 3] = [(3, 5, 33), (3, 6, 14), (3, 7, 1)];

/// What stands for the version of a member that tells it to root alone.
const UNTOLD: &str = "untold";

/// What stands for a cluster's id that a member does not tell.
const UNKNOWN_CLUSTER: u64 = 0;

/// A connection to all members of an etcd that is fit, lets us in and serves reads.
pub(super) async fn connect(
    config: &EtcdConfig,
    dial: Dial,
) -> Result<(Client, Arc<Members>), EtcdError> {
    let urls = config.urls()?;
    let options = options(config)?;
    let members = Members::new(endpoints(config, &urls)?, dial);
    let until = Instant::now() + config.patience;
    inspect(&members, &urls, &options, until).await?;
    let client = loop {
        let channel = BoxCloneSyncService::new(Route(Arc::clone(&members)));
        let connecting = Client::from_channel(Channel::Custom(channel), Some(options.clone()));
        match timeout_at(until, connecting).await {
            Ok(Ok(client)) => break client,
            // The login may have gone to a member that is down.
            Ok(Err(error)) if Instant::now() >= until => return Err(failure(&urls, &error)),
            Ok(Err(_)) => sleep(Duration::from_millis(50)).await,
            Err(_) => return Err(silent(&urls)),
        }
    };
    serves(&client, config, &urls, until).await?;
    Ok((client, members))
}

/// Who this process is to etcd, and what it asks of every request.
fn options(config: &EtcdConfig) -> Result<ConnectOptions, EtcdError> {
    let options = ConnectOptions::new()
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    let Some(login) = &config.login else {
        return Ok(options);
    };
    let password = text(&login.password_file)?;
    let password = password.lines().next().unwrap_or_default();
    Ok(options.with_user(&login.user, password))
}

fn endpoints(config: &EtcdConfig, urls: &[String]) -> Result<Vec<(String, Endpoint)>, EtcdError> {
    let tls = match urls.iter().any(|url| url.starts_with("https:")) {
        true => Some(trust(&config.tls.clone().unwrap_or_default())?),
        false => None,
    };
    let endpoint = |url: &String| {
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|_| EtcdError::Endpoint(url.clone()))?
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PONG_MAX)
            .keep_alive_while_idle(false);
        if let Some(tls) = &tls {
            let unusable = |error: tonic::transport::Error| EtcdError::Certificates {
                reason: innermost(&error),
            };
            endpoint = endpoint.tls_config(tls.clone()).map_err(unusable)?;
        }
        Ok((url.clone(), endpoint))
    };
    urls.iter().map(endpoint).collect()
}

fn trust(tls: &Tls) -> Result<TlsOptions, EtcdError> {
    let trust = match &tls.ca {
        Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(text(ca)?)),
        None => TlsOptions::new().with_native_roots(),
    };
    Ok(match &tls.identity {
        Some((certificate, key)) => {
            trust.identity(Identity::from_pem(text(certificate)?, text(key)?))
        }
        None => trust,
    })
}

fn text(path: &Path) -> Result<String, EtcdError> {
    std::fs::read_to_string(path).map_err(|source| EtcdError::File {
        path: path.to_owned(),
        source,
    })
}

/// Asks every member for its version and its cluster. Some may be down, but not all.
async fn inspect(
    members: &Arc<Members>,
    urls: &[String],
    options: &ConnectOptions,
    until: Instant,
) -> Result<(), EtcdError> {
    let asking = urls.iter().enumerate();
    let asking = asking.map(|(index, url)| version(members, index, url, options, until));
    let versions = join_all(asking).await;
    let any_answers = versions.iter().any(Result::is_ok);
    let mut worst = None;
    let mut first: Option<(&String, u64)> = None;
    for (index, (url, version)) in urls.iter().zip(versions).enumerate() {
        match version {
            Ok((version, cluster)) => {
                judge(url, &version)?;
                let (one, id) = *first.get_or_insert((url, cluster));
                if id != cluster && ![id, cluster].contains(&UNKNOWN_CLUSTER) {
                    return Err(EtcdError::Strangers {
                        one: one.clone(),
                        other: url.clone(),
                    });
                }
            }
            Err(error) => {
                tracing::warn!(endpoint = url, %error, "an etcd member cannot be used");
                if any_answers {
                    members.leave(index, "it did not answer at the start");
                }
                let telling = matches!(error, EtcdError::Login { .. });
                if telling || worst.is_none() {
                    worst = Some(error);
                }
            }
        }
    }
    match worst {
        Some(error) if !any_answers => Err(error),
        Some(_) | None => Ok(()),
    }
}

async fn version(
    members: &Arc<Members>,
    index: usize,
    url: &String,
    options: &ConnectOptions,
    until: Instant,
) -> Result<(String, u64), EtcdError> {
    let alone = std::slice::from_ref(url);
    let asked = async {
        let channel = Channel::Tonic(members.line(Some(index)).channel.clone());
        let mut client = Client::from_channel(channel, Some(options.clone())).await?;
        let status = client.status().await?;
        let cluster = status.header().map_or(0, ResponseHeader::cluster_id);
        Ok((status.version().to_owned(), cluster))
    };
    // One silent member must not use up the time of all.
    let until = until.min(Instant::now() + CONNECT_MAX);
    match timeout_at(until, asked).await {
        Ok(Ok(told)) => Ok(told),
        // Only root may ask, once logins are on, since the releases that mend CVE-2026-33413 (3.4.42, 3.5.28, 3.6.9): those
        // that are refused or have older faults tell it to everybody.
        Ok(Err(Error::GRpcStatus(status))) if status.code() == Code::PermissionDenied => {
            Ok((UNTOLD.to_owned(), UNKNOWN_CLUSTER))
        }
        Ok(Err(error)) => Err(failure(alone, &error)),
        Err(_) => Err(silent(alone)),
    }
}

/// Whether an etcd of some version may be trusted with tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// As far as is known.
    Sound,
    /// It has known faults.
    Faulty,
    /// It can lose data.
    Unfit,
    /// Its version says nothing.
    Unknown,
}

/// What is known of etcd `version`.
pub(crate) fn fitness(version: &str) -> Fitness {
    match parse(version) {
        None => Fitness::Unknown,
        Some((3, 5, 0..=2)) => Fitness::Unfit,
        Some(parsed) if is_sound(parsed) => Fitness::Sound,
        Some(_) => Fitness::Faulty,
    }
}

fn judge(endpoint: &str, version: &str) -> Result<(), EtcdError> {
    if version == UNTOLD {
        return Ok(());
    }
    match fitness(version) {
        Fitness::Sound => {}
        Fitness::Unknown => {
            tracing::warn!(endpoint, version, "cannot tell whether this etcd is fit");
        }
        Fitness::Faulty => {
            tracing::warn!(
                endpoint,
                version,
                "this etcd has known faults; 3.5.33, 3.6.14 and 3.7.1 are free of them"
            );
        }
        Fitness::Unfit => {
            return Err(EtcdError::Unfit {
                endpoint: endpoint.to_owned(),
                version: version.to_owned(),
            });
        }
    }
    Ok(())
}

fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split(['.', '-', '+']).map(str::parse);
    let mut part = || parts.next()?.ok();
    Some((part()?, part()?, part()?))
}

fn is_sound((major, minor, patch): (u32, u32, u32)) -> bool {
    SOUND
        .iter()
        .find(|sound| (sound.0, sound.1) == (major, minor))
        .map_or((major, minor) > (3, 7), |sound| patch >= sound.2)
}

/// Makes one linearizable read of ours: it needs a quorum, the login and the right to our keys.
async fn serves(
    client: &Client,
    config: &EtcdConfig,
    urls: &[String],
    until: Instant,
) -> Result<(), EtcdError> {
    let prefix = Prefix::new(&config.prefix);
    let range = &config.probe;
    let mut kv = client.kv_client();
    let mut reason = "it is silent".to_owned();
    // A member that is down fails a read that another would serve, so it is tried again.
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let options = GetOptions::new()
            .with_range(prefix.raw(&range.to))
            .with_limit(1)
            .with_keys_only();
        match timeout(left, kv.get(prefix.raw(&range.from), Some(options))).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => {
                if let Fate::Refused(_) | Fate::LoginStale = Fate::of(&error) {
                    return Err(refusal(config, &error));
                }
                reason = describe(&error);
                sleep(Duration::from_millis(50)).await;
            }
            Err(_) => break,
        }
    }
    Err(EtcdError::NotServing {
        endpoints: urls.join(", "),
        reason,
    })
}

fn refusal(config: &EtcdConfig, error: &Error) -> EtcdError {
    let reason = describe(error);
    if Fate::of(error) == Fate::Refused(Refusal::Denied) {
        return EtcdError::Denied {
            prefix: config.prefix.trim_end_matches('/').to_owned(),
            reason,
        };
    }
    EtcdError::Login { reason }
}

fn failure(urls: &[String], error: &Error) -> EtcdError {
    let reason = describe(error);
    if let Error::GRpcStatus(status) = error
        && let Code::InvalidArgument | Code::Unauthenticated | Code::FailedPrecondition =
            status.code()
    {
        return EtcdError::Login { reason };
    }
    EtcdError::Unreachable {
        endpoints: urls.join(", "),
        reason,
    }
}

fn silent(urls: &[String]) -> EtcdError {
    EtcdError::Unreachable {
        endpoints: urls.join(", "),
        reason: "it is silent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_lose_data_are_refused() {
        for version in ["3.5.0", "3.5.1", "3.5.2"] {
            let error = judge("a", version).unwrap_err().to_string();
            assert!(
                error.contains(version) && error.contains("upgrade"),
                "{error}"
            );
        }
        for version in ["3.5.3", "3.5.32", "3.4.23", "3.6.0", "strange", UNTOLD] {
            judge("a", version).unwrap();
        }
    }

    #[test]
    fn only_releases_without_known_faults_are_sound() {
        for (version, sound) in [
            ("3.5.32", false),
            ("3.5.33", true),
            ("3.6.13", false),
            ("3.6.14", true),
            ("3.7.0-rc.1", false),
            ("3.7.1", true),
            ("3.8.0", true),
            ("4.0.0", true),
            ("3.4.40", false),
        ] {
            assert_eq!(parse(version).map(is_sound), Some(sound), "{version}");
        }
    }
}
