//! Locks for clients: a waiter's key on a lease of its own; the lowest create revision holds.

use std::sync::Arc;
use std::time::Duration;

use super::errand::{Errand, Next};
use super::request::{LockToken, Reply};
use crate::ids::{Fence, LeaseId, LockName};
use crate::keyspace::{Key, Range};
use crate::planted::planted;
use crate::record::{LockRecord, Record, Version};
use crate::store::{Call, Guard, Item, LeaseAnswer, Query, Step, Write};
use crate::view::ClusterView;

/// How many of a line are read at once.
const LINE_PART: u32 = 1_000;

/// How far a request about a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No lease yet.
    Begin,
    /// The waiter's lease lives, for this long at a time.
    Leased { lease: LeaseId, ttl: Duration },
    /// The lock is held.
    Held { lease: LeaseId },
    /// The lease has ended, or never was.
    Gone,
    /// Nothing is left to do.
    Done,
}

impl Stage {
    pub(super) fn on_lease(&mut self, answer: LeaseAnswer) {
        match answer {
            LeaseAnswer::Live { lease, ttl } => *self = Self::Leased { lease, ttl },
            LeaseAnswer::Gone | LeaseAnswer::Refused(_) => *self = Self::Gone,
            LeaseAnswer::Unknown => {}
        }
    }

    /// The lease that hangs on this request alone.
    pub(super) fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Leased { lease, .. } | Self::Held { lease } => Some(*lease),
            Self::Begin | Self::Gone | Self::Done => None,
        }
    }
}

/// The fence of `token`'s waiter, if it holds the lock now.
fn fence_of(lock: &LockName, token: &LockToken, view: &ClusterView) -> Option<Fence> {
    view.locks.get(lock)?.fence_of(&token.waiter)
}

fn waits(lock: &LockName, token: &LockToken, view: &ClusterView) -> bool {
    view.locks
        .get(lock)
        .is_some_and(|waiters| waiters.rank(&token.waiter).is_some())
}

pub(super) fn take(
    errand: &mut Errand,
    lock: &LockName,
    owner: Option<Arc<str>>,
    ttl: Duration,
    view: &ClusterView,
) -> Next {
    let (lease, ttl) = match errand.lock {
        Stage::Begin => return Next::Ask(Call::Grant { ttl }),
        Stage::Leased { lease, ttl } => (lease, ttl),
        Stage::Held { .. } | Stage::Gone | Stage::Done => {
            return Next::Reply(Reply::Refused(crate::store::Refusal::LeaseGone));
        }
    };
    let token = errand.token(lease);
    if let Some(fence) = fence_of(lock, &token, view) {
        return match look_at_line(errand, lock, fence) {
            Look::Ask(query) => Next::Ask(Call::Read(query)),
            Look::First => {
                errand.lock = Stage::Held { lease };
                Next::Reply(Reply::Lock { fence, token, ttl })
            }
            Look::NotFirst => await_turn(ttl),
        };
    }
    errand.read = None;
    if errand.committed {
        if waits(lock, &token, view) {
            return await_turn(ttl);
        }
        // Its lease ended while it waited: it queues again, behind the others.
        errand.committed = false;
        errand.lock = Stage::Begin;
        return Next::Ask(Call::Grant { ttl });
    }
    let key = Key::lock_waiter(lock, &token.waiter);
    let record = LockRecord { v: Version, owner };
    let write = Write::Put {
        key: key.clone(),
        value: record.encode(),
        lease: Some(lease).filter(|_| !planted!("P-lock-key-unleased")),
    };
    Next::CommitAlone(Step::new(vec![Guard::Absent(key)], vec![write]))
}

fn await_turn(ttl: Duration) -> Next {
    Next::AwaitLocks {
        renew_after: ttl / 3,
    }
}

/// What the store itself says of a waiter whom the view shows first in line.
enum Look {
    /// Nothing yet: this is to be read.
    Ask(Query),
    First,
    NotFirst,
}

/// A view may have missed somebody who came before, so the store's own line is read before the lock is given. Nobody can
/// come before who is first, so the line may be read in parts, and what it says once stays true.
fn look_at_line(errand: &mut Errand, lock: &LockName, fence: Fence) -> Look {
    if planted!("P-lock-line-not-read") {
        return Look::First;
    }
    let ask = |range| {
        let limit = LINE_PART;
        Look::Ask(Query::Range { range, limit })
    };
    let line = Range::waiters_of(lock);
    let Some(read) = errand.read.take() else {
        return ask(line);
    };
    let earlier = |item: &Item| item.found.created < fence.0;
    match read.items.last() {
        _ if read.items.iter().any(earlier) => Look::NotFirst,
        Some(last) if read.more => ask(line.behind(&last.key)),
        Some(_) | None => Look::First,
    }
}

/// Whether the store holds the waiter that `token` names, on the lease that it names. Leases of nodes and of other
/// waiters are none of a client's business, so this is known before anything is done to a lease.
fn exists(errand: &mut Errand, lock: &LockName, token: &LockToken) -> Option<bool> {
    if !token.is_whole() {
        return Some(false);
    }
    let key = Key::lock_waiter(lock, &token.waiter);
    let read = errand.read.take()?;
    Some(read.items.iter().any(|item| item.key == key))
}

fn look(lock: &LockName, token: &LockToken) -> Next {
    let key = Key::lock_waiter(lock, &token.waiter);
    Next::Ask(Call::Read(Query::Keys(vec![key])))
}

pub(super) fn renew(
    errand: &mut Errand,
    lock: &LockName,
    token: &LockToken,
    view: &ClusterView,
) -> Next {
    match errand.lock {
        Stage::Begin => match exists(errand, lock, token) {
            Some(true) => Next::Ask(Call::Renew { lease: token.lease }),
            Some(false) => Next::Reply(not_held()),
            None => look(lock, token),
        },
        Stage::Leased { ttl, .. } => match fence_of(lock, token, view) {
            Some(fence) => Next::Reply(Reply::Lock {
                fence,
                token: token.clone(),
                ttl,
            }),
            None => Next::Reply(not_held()),
        },
        Stage::Held { .. } | Stage::Gone | Stage::Done => Next::Reply(not_held()),
    }
}

pub(super) fn release(errand: &mut Errand, lock: &LockName, token: &LockToken) -> Next {
    match errand.lock {
        Stage::Begin => match exists(errand, lock, token) {
            Some(true) => Next::Ask(Call::Revoke { lease: token.lease }),
            Some(false) => Next::Reply(Reply::Done),
            None => look(lock, token),
        },
        Stage::Leased { .. } | Stage::Held { .. } | Stage::Gone | Stage::Done => {
            Next::Reply(Reply::Done)
        }
    }
}

fn not_held() -> Reply {
    Reply::Forbidden {
        because: "the lock is not held any more".into(),
    }
}
