//! What an error of etcd says about the request that it answers. Nothing counts as not applied unless the store said
//! so, or the request never left this process.

use std::error::Error as _;

use etcd_client::Error;
use tonic::{Code, ConnectError, Status};
use windlass_core::store::Refusal;

/// What became of a request that got an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not applied: the store said no.
    Refused(Refusal),
    /// Not applied: the revision that it names has been compacted.
    Compacted,
    /// Not applied: the login has to be renewed.
    LoginStale,
    /// There was no connection to send it on.
    Unsent,
    /// The answer is larger than this client takes.
    Oversized,
    /// Applied, or not, or not yet.
    Unknown,
}

impl Fate {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::of_status(status),
            // What the crate says when a keep-alive finds its lease gone.
            Error::LeaseKeepAliveError(text) if text == "lease not found" => {
                Self::Refused(Refusal::LeaseGone)
            }
            Error::InvalidArgs(_)
            | Error::InvalidUri(_)
            | Error::IoError(_)
            | Error::TransportError(_)
            | Error::WatchError(_)
            | Error::Utf8Error(_)
            | Error::LeaseKeepAliveError(_)
            | Error::ElectError(_)
            | Error::InvalidMetadataValue(_)
            | Error::EndpointError(_)
            | Error::EndpointsNotManaged
            | Error::Internal(_) => Self::Unknown,
        }
    }

    fn of_status(status: &Status) -> Self {
        let says = |text: &str| status.message().contains(text);
        match status.code() {
            Code::InvalidArgument if says("revision of auth store is old") => Self::LoginStale,
            Code::InvalidArgument if says("user name is empty") => Self::LoginStale,
            Code::InvalidArgument if says("request is too large") => {
                Self::Refused(Refusal::TooLarge)
            }
            Code::InvalidArgument if says("authentication failed") => {
                Self::Refused(Refusal::Denied)
            }
            Code::InvalidArgument => Self::Refused(Refusal::Invalid),
            Code::OutOfRange if says("revision has been compacted") => Self::Compacted,
            Code::OutOfRange if says("is a future revision") => Self::Refused(Refusal::Invalid),
            Code::OutOfRange if says("too large lease TTL") => Self::Refused(Refusal::Invalid),
            Code::OutOfRange if says("decoded message length too large") => Self::Oversized,
            Code::NotFound if says("lease not found") => Self::Refused(Refusal::LeaseGone),
            Code::ResourceExhausted if says("too many requests") => Self::Refused(Refusal::Busy),
            // etcd's transport refuses what is far too large before etcd itself sees it.
            Code::ResourceExhausted if says("received message larger than max") => {
                Self::Refused(Refusal::TooLarge)
            }
            Code::Unauthenticated => Self::LoginStale,
            Code::PermissionDenied => Self::Refused(Refusal::Denied),
            Code::Unavailable if never_sent(status) => Self::Unsent,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Unknown,
        }
    }
}

fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// The error in words, with its innermost cause.
pub(super) fn describe(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else {
        return error.to_string();
    };
    let mut text = status.message().to_owned();
    let cause = status.source().map(innermost);
    if let Some(cause) = cause.filter(|cause| !text.contains(cause.as_str())) {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    if text.is_empty() {
        text = status.code().description().to_owned();
    }
    text
}

/// The words of the error that began it.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn fate(code: Code, message: &str) -> Fate {
        Fate::of(&Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn what_the_store_certainly_did_not_apply_is_refused() {
        use Refusal::{Busy, Denied, Invalid, LeaseGone, TooLarge};
        let cases = [
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Invalid,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
                Invalid,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: key is not provided",
                Invalid,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                TooLarge,
            ),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max (3000000 vs. 2097152)",
                TooLarge,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
                Invalid,
            ),
            (Code::OutOfRange, "etcdserver: too large lease TTL", Invalid),
            (
                Code::NotFound,
                "etcdserver: requested lease not found",
                LeaseGone,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Busy,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Denied,
            ),
        ];
        for (code, message, refusal) in cases {
            assert_eq!(fate(code, message), Fate::Refused(refusal), "{message}");
        }
        assert_eq!(
            Fate::of(&Error::LeaseKeepAliveError("lease not found".into())),
            Fate::Refused(LeaseGone)
        );
    }

    #[test]
    fn what_may_have_been_applied_is_unknown() {
        for (code, message) in [
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
            ),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::Cancelled, "Timeout expired"),
            (Code::Unknown, "transport error"),
            (Code::Internal, "h2 protocol error"),
            (Code::DataLoss, "etcdserver: corrupt cluster"),
            (Code::NotFound, "etcdserver: member not found"),
            (Code::OutOfRange, "something else"),
        ] {
            assert_eq!(fate(code, message), Fate::Unknown, "{message}");
        }
        assert_eq!(
            Fate::of(&Error::LeaseKeepAliveError("channel closed".into())),
            Fate::Unknown
        );
    }

    #[test]
    fn a_login_that_ran_out_is_told_from_a_missing_right() {
        for (code, message) in [
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
            ),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
        ] {
            assert_eq!(fate(code, message), Fate::LoginStale, "{message}");
        }
    }

    #[test]
    fn only_a_failure_to_connect_proves_that_nothing_was_sent() {
        let mut status = Status::unavailable("tcp connect error");
        assert_eq!(Fate::of(&Error::GRpcStatus(status.clone())), Fate::Unknown);
        status.set_source(Arc::new(ConnectError("connection refused".into())));
        assert_eq!(Fate::of(&Error::GRpcStatus(status)), Fate::Unsent);
    }

    #[test]
    fn a_compacted_revision_is_told_from_an_answer_too_large_to_take() {
        assert_eq!(
            fate(
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted"
            ),
            Fate::Compacted
        );
        assert_eq!(
            fate(
                Code::OutOfRange,
                "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes"
            ),
            Fate::Oversized
        );
    }
}
