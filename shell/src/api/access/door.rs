//! Who is let in: by a token, or, where none is required, by coming from this machine. It knows no route.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use windlass_core::time::Mono;

use super::keys::Keys;
use super::role::Role;
use super::tokens::Holder;
use crate::api::bucket::{Buckets, Rate};
use crate::api::problem::Problem;
use crate::clock::{Clock, SystemClock};

/// The cookie that a session is.
pub(super) const COOKIE: &str = "windlass_token";

/// How often one address may show a wrong token: ten times at once, then once a second.
const FAILURES: Rate = Rate {
    burst: 10,
    each: Duration::from_secs(1),
};
/// So many addresses are told apart by their failures.
const SOURCES_MAX: usize = 10_000;
/// So many pairs of an address and a name that was let in from there are remembered.
const TRUSTED_MAX: usize = 10_000;

/// Where a request came from: put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Marks a request that came over TLS: put into the request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsUsed;

/// The part of an address that one party has to itself: of IPv6 a whole network.
pub(crate) fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The name in the file of tokens; `anonymous` where none is required.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    pub(super) holder: Option<Holder>,
}

/// Who is let in.
#[derive(Debug, Clone)]
pub struct Door(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Option<Keys>,
    local_names_only: bool,
    failures: Mutex<Failures>,
    clock: SystemClock,
}

#[derive(Debug)]
struct Failures {
    by_source: Buckets<IpAddr>,
    trusted: BTreeSet<(IpAddr, Arc<str>)>,
}

impl Door {
    fn new(keys: Option<Keys>, local_names_only: bool) -> Self {
        Self(Arc::new(Inner {
            keys,
            local_names_only,
            failures: Mutex::new(Failures {
                by_source: Buckets::new(FAILURES, SOURCES_MAX),
                trusted: BTreeSet::new(),
            }),
            clock: SystemClock::start(),
        }))
    }

    /// Everybody is let in, with every right: something else must keep strangers away.
    pub fn open() -> Self {
        Self::new(None, false)
    }

    /// Everybody is let in who calls this machine by a name that only this machine has. A page of a foreign site that
    /// makes its own name point here is not.
    pub fn local() -> Self {
        Self::new(None, true)
    }

    /// Whoever shows one of `keys` is let in, with the rights of its role.
    pub fn locked(keys: Keys) -> Self {
        Self::new(Some(keys), false)
    }

    /// Whether a token is required.
    pub(super) fn is_locked(&self) -> bool {
        self.0.keys.is_some()
    }

    /// Refuses a request that was sent to a name which is not this machine's own, where that matters.
    pub(in crate::api) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if !self.0.local_names_only {
            return Ok(());
        }
        let given = headers
            .get_all(header::HOST)
            .iter()
            .map(|host| host.to_str());
        let in_target = uri.authority().map(|authority| Ok(authority.as_str()));
        for host in given.chain(in_target) {
            if !host.is_ok_and(is_local) {
                return Err(Problem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "without tokens this server answers to localhost, 127.0.0.1 and [::1] only; start it with --tokens to be called by another name",
                ));
            }
        }
        Ok(())
    }

    /// Who sent a request with these headers from `source`.
    pub(super) fn caller(&self, headers: &HeaderMap, source: IpAddr) -> Result<Caller, Problem> {
        let Some(keys) = &self.0.keys else {
            return Ok(Caller {
                name: "anonymous".into(),
                role: Role::Admin,
                holder: None,
            });
        };
        match shown(headers)? {
            Some(token) => self.caller_with(keys, token, source),
            None => Err(unauthorized(
                "a token is required (Authorization: Bearer TOKEN; on the command line --token-file or WINDLASS_TOKEN_FILE)",
            )),
        }
    }

    /// Whose `token` is that came from `source`.
    pub(super) fn caller_by(&self, token: &str, source: IpAddr) -> Result<Caller, Problem> {
        match &self.0.keys {
            Some(keys) => self.caller_with(keys, token, source),
            None => Err(Problem::new(
                StatusCode::CONFLICT,
                "no token is required here",
            )),
        }
    }

    /// An address that has shown too many wrong tokens is not heard, whatever it shows, but for names that were let in
    /// from there before: so nobody can try many, and who shares an address with an attacker is not locked out.
    fn caller_with(&self, keys: &Keys, token: &str, source: IpAddr) -> Result<Caller, Problem> {
        let source = source_of(source);
        let found = keys.find(token);
        let now = self.now();
        let mut failures = self.failures();
        let trusted = found.as_ref().is_some_and(|holder| {
            failures
                .trusted
                .contains(&(source, Arc::clone(&holder.name)))
        });
        let wait = failures.by_source.wait(&source, now);
        if !trusted && !wait.is_zero() {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many wrong tokens came from this address",
            )
            .retry_after(wait));
        }
        let Some(holder) = found else {
            // There was room for one more, as was seen under the same lock.
            let _ = failures.by_source.take(&source, now);
            return Err(unauthorized("the token is not known here, or has expired"));
        };
        if !trusted && failures.trusted.len() < TRUSTED_MAX {
            failures.trusted.insert((source, Arc::clone(&holder.name)));
        }
        Ok(Caller {
            name: Arc::clone(&holder.name),
            role: holder.role,
            holder: Some(holder),
        })
    }

    /// Done once `caller` is let in no more; never where no token is required.
    pub(super) async fn gone(&self, caller: &Caller) {
        match (&self.0.keys, &caller.holder) {
            (Some(keys), Some(holder)) => keys.gone(holder.clone()).await,
            (None, _) | (_, None) => std::future::pending().await,
        }
    }

    fn now(&self) -> Mono {
        self.0.clock.now().mono
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0
            .failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// 401, which says how a token is shown.
fn unauthorized(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// The token that a request shows: in `Authorization`, else in the cookie of a session.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = given.next() {
        if given.next().is_some() {
            return Err(Problem::bad_field("authorization", "is given twice"));
        }
        let bearer = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        return match bearer {
            Some(token) => Ok(Some(token)),
            None => Err(unauthorized("Authorization must be: Bearer TOKEN")),
        };
    }
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let mut ours = cookies.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE && !value.is_empty()).then_some(value)
    });
    let first = ours.next();
    if ours.next().is_some() {
        return Err(Problem::bad_field("cookie", format!("has {COOKIE} twice")));
    }
    Ok(first)
}

/// Whether a `Host` names this machine as only this machine can.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = name
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    loopback || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:7070",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:7070",
            "[::1]",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:7070",
            "0.0.0.0",
            "192.168.0.1:7070",
            "[fe80::1]",
            "localhost.",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_party_cannot_have_many_sources_in_its_own_network() {
        let source = |text: &str| source_of(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }

    #[test]
    fn a_token_is_shown_in_one_place_only() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, value.parse().unwrap());
            }
            map
        };
        let seen = |pairs: &[(&'static str, &str)]| {
            shown(&headers(pairs)).map(|token| token.map(str::to_owned))
        };
        assert_eq!(seen(&[]), Ok(None));
        assert_eq!(
            seen(&[("authorization", "bEARER  x")]),
            Ok(Some("x".to_owned()))
        );
        assert_eq!(
            seen(&[("cookie", "a=b; windlass_token=c")]),
            Ok(Some("c".to_owned()))
        );
        assert_eq!(
            seen(&[
                ("authorization", "Bearer x"),
                ("cookie", "windlass_token=c")
            ]),
            Ok(Some("x".to_owned()))
        );
        let twice = [("authorization", "Bearer x"), ("authorization", "Bearer y")];
        assert_eq!(seen(&twice).unwrap_err().status(), StatusCode::BAD_REQUEST);
        let twice = [("cookie", "windlass_token=a; windlass_token=b")];
        assert_eq!(seen(&twice).unwrap_err().status(), StatusCode::BAD_REQUEST);
        let basic = [("authorization", "Basic eDp5")];
        assert_eq!(seen(&basic).unwrap_err().status(), StatusCode::UNAUTHORIZED);
    }
}
