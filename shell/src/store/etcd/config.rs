//! Where etcd is and how to get in, and what can be wrong with that.

use std::path::PathBuf;
use std::time::Duration;

use windlass_core::keyspace::Range;

/// How to reach an etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdConfig {
    /// Its members, as `http://host:port` or `https://host:port`. Scheme and port may be left out.
    pub endpoints: Vec<String>,
    /// What every key begins with; empty when the etcd is not shared.
    pub prefix: String,
    /// Certificates, if not the system's own suffice.
    pub tls: Option<Tls>,
    /// The user, if etcd asks for one.
    pub login: Option<Login>,
    /// After how long a call without an answer counts as unknown.
    pub patience: Duration,
    /// How large etcd's file may become, in bytes, where etcd does not tell it: releases before 3.6.
    pub quota: u64,
    /// What is read at first, to see that etcd serves and lets this user in: something that the user may read.
    pub probe: Range,
}

/// etcd's own default.
const QUOTA_DEFAULT: u64 = 2 * 1_024 * 1_024 * 1_024;

impl EtcdConfig {
    /// An etcd of one's own, without certificates and users, that gets 5 s to answer.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: String::new(),
            tls: None,
            login: None,
            patience: Duration::from_secs(5),
            quota: QUOTA_DEFAULT,
            probe: Range::cluster(),
        }
    }

    /// The endpoints with scheme and port.
    pub(super) fn urls(&self) -> Result<Vec<String>, EtcdError> {
        if self.endpoints.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        let urls: Vec<String> = self
            .endpoints
            .iter()
            .map(|endpoint| url(endpoint.trim(), self.tls.is_some()))
            .collect::<Result<_, _>>()?;
        let secure = urls.iter().filter(|url| url.starts_with("https:")).count();
        if secure != urls.len() && (secure > 0 || self.tls.is_some()) {
            return Err(EtcdError::MixedSchemes);
        }
        Ok(urls)
    }
}

fn url(endpoint: &str, secure: bool) -> Result<String, EtcdError> {
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return Err(EtcdError::Endpoint(endpoint.to_owned())),
        None => (if secure { "https" } else { "http" }, endpoint),
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '@', '?', '#', ' ', ',']) {
        return Err(EtcdError::Endpoint(endpoint.to_owned()));
    }
    // The colons of an IPv6 address stand in brackets.
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    if host
        .rsplit_once(']')
        .map_or(host, |(_, rest)| rest)
        .contains(':')
        && !has_port
    {
        return Err(EtcdError::Endpoint(endpoint.to_owned()));
    }
    let port = if host.ends_with(']') || !has_port {
        ":2379"
    } else {
        ""
    };
    Ok(format!("{scheme}://{host}{port}"))
}

/// Certificates, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Who signs etcd's certificate; the system's own authorities if left out.
    pub ca: Option<PathBuf>,
    /// This client's certificate and its key, if etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// A file whose first line is the password, so that it shows neither in a process list nor in the environment.
    pub password_file: PathBuf,
}

/// Why there is no connection to etcd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// No endpoint was given.
    #[error("no etcd endpoint was given; name at least one, as http://host:2379")]
    NoEndpoint,
    /// An endpoint is no URL.
    #[error("'{0}' is no etcd endpoint; write it as http://host:2379 or https://host:2379")]
    Endpoint(String),
    /// Certificates for some endpoints only.
    #[error(
        "either all etcd endpoints are https:// or none is, and certificates are only for https://"
    )]
    MixedSchemes,
    /// Certificates or a key that cannot be used.
    #[error("the certificates for etcd cannot be used: {reason}; they must be PEM files")]
    Certificates {
        /// Why.
        reason: String,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing answers.
    #[error("no etcd answers at {endpoints}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        endpoints: String,
        /// What the last of them said.
        reason: String,
    },
    /// etcd does not know the user, or wants one, or has none.
    #[error("etcd refuses the login: {reason}; check user and password file")]
    Login {
        /// What it says.
        reason: String,
    },
    /// The user may not read our keys.
    #[error(
        "etcd forbids this user keys below '{prefix}/': {reason}; deploy/README.md names the rights that each kind of node needs, and deploy/etcd-roles.sh grants them"
    )]
    Denied {
        /// The prefix of the keys.
        prefix: String,
        /// What it says.
        reason: String,
    },
    /// A member is of a version that loses data.
    #[error(
        "etcd {version} at {endpoint} can lose data (its releases 3.5.0 to 3.5.2); upgrade it to 3.5.33 or later"
    )]
    Unfit {
        /// Which member.
        endpoint: String,
        /// Its version.
        version: String,
    },
    /// The endpoints belong to several clusters.
    #[error("{one} and {other} belong to different etcd clusters; name the members of one only")]
    Strangers {
        /// A member of one.
        one: String,
        /// A member of another.
        other: String,
    },
    /// Members answer, but cannot serve.
    #[error(
        "etcd answers at {endpoints} but does not serve reads: {reason}; has it lost its quorum?"
    )]
    NotServing {
        /// Where it was looked for.
        endpoints: String,
        /// What it says.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(endpoints: &[&str], tls: bool) -> Result<Vec<String>, String> {
        let mut config = EtcdConfig::new(endpoints.iter().copied());
        config.tls = tls.then(Tls::default);
        config.urls().map_err(|error| error.to_string())
    }

    #[test]
    fn scheme_and_port_may_be_left_out() {
        for (given, tls, url) in [
            ("a", false, "http://a:2379"),
            ("a:1", false, "http://a:1"),
            ("a", true, "https://a:2379"),
            ("https://a/", false, "https://a:2379"),
            (" http://[::1]:4 ", false, "http://[::1]:4"),
            ("http://[::1]", false, "http://[::1]:2379"),
        ] {
            assert_eq!(urls(&[given], tls), Ok(vec![url.to_owned()]), "{given}");
        }
    }

    #[test]
    fn endpoints_that_are_none_are_refused_in_words() {
        for given in [
            "",
            "http://",
            "ftp://a",
            "http://a:b",
            "http://a/b",
            "a b",
            "u:p@a",
            "a:1,b:1",
        ] {
            let error = urls(&[given], false).unwrap_err();
            assert!(error.contains("no etcd endpoint"), "{given}: {error}");
        }
        assert!(urls(&[], false).unwrap_err().contains("at least one"));
    }

    #[test]
    fn certificates_and_plain_http_do_not_mix() {
        for (given, tls) in [
            (&["http://a"][..], true),
            (&["http://a", "https://b"][..], false),
        ] {
            assert!(
                urls(given, tls).unwrap_err().contains("https://"),
                "{given:?}"
            );
        }
    }
}
