//! How many files the process may have open: connections are files, and so is the store.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For the store, its connections, handlers and logs: whatever comes over the API leaves them these.
const RESERVED: usize = 256;

/// Never fewer: a server that takes no connection is none.
const CONNECTIONS_MIN: usize = 16;

/// How many of `wanted` connections may be open at a time. Raises the limit of open files as far as the process may.
pub(super) fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it may not be raised, what there is has to do.
    let _ = setrlimit(Resource::Nofile, raised);
    let open_max = getrlimit(Resource::Nofile).current;
    let open_max = open_max.map_or(usize::MAX, |it| usize::try_from(it).unwrap_or(usize::MAX));
    let fit = fitting(wanted, open_max);
    if fit < wanted {
        warn!(
            "only {open_max} files may be open (ulimit -n, LimitNOFILE): the API takes {fit} connections at a time, not {wanted}"
        );
    }
    fit
}

/// How many connections fit beside what is reserved.
fn fitting(wanted: usize, open_max: usize) -> usize {
    wanted.min(open_max.saturating_sub(RESERVED).max(CONNECTIONS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_store() {
        assert_eq!(fitting(10_000, usize::MAX), 10_000);
        assert_eq!(fitting(10_000, 20_000), 10_000);
        assert_eq!(fitting(10_000, 1_024), 768);
        assert_eq!(fitting(10_000, 64), CONNECTIONS_MIN);
    }
}
