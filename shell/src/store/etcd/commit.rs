//! Transactions and compaction.

use std::time::Duration;

use etcd_client::{
    CompactionOptions, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn as RawTxn, TxnOp,
};
use tokio::time::Instant;
use windlass_core::ids::Revision;
use windlass_core::store::{Failed, Found, Guard, GuardIx, Refusal, Txn, TxnOutcome, Write};

use super::fate::Fate;
use super::link::{Link, Repeat};
use super::read::newest;
use super::wire::{Prefix, ranges, raw_revision};

/// How long etcd may take to remove what is forgotten.
const COMPACT_MAX: Duration = Duration::from_secs(50);

/// Applies the transaction if its guards hold.
pub(super) async fn commit(link: &Link, txn: &Txn) -> TxnOutcome {
    let until = link.until();
    let known = link.epoch().highest();
    let sent = link.attempt(until, Repeat::OnlyUnsent, || {
        let mut kv = link.kv();
        let request = request(link.prefix(), txn);
        async move { kv.txn(request).await }
    });
    match sent.await {
        Ok(answer) => {
            let Ok(at) = link.told(known, answer.header()).await else {
                return TxnOutcome::Unknown;
            };
            if answer.succeeded() {
                TxnOutcome::Committed { at }
            } else {
                explain(link, txn.guards(), at, until).await
            }
        }
        Err(Fate::Refused(refusal)) => TxnOutcome::Refused(refusal),
        // No transaction of ours names a revision to read at.
        Err(Fate::Compacted) => TxnOutcome::Refused(Refusal::Invalid),
        Err(Fate::LoginStale | Fate::Unsent | Fate::Oversized | Fate::Unknown) => {
            TxnOutcome::Unknown
        }
    }
}

fn request(prefix: &Prefix, txn: &Txn) -> RawTxn {
    let compares: Vec<Compare> = txn
        .guards()
        .iter()
        .map(|guard| compare(prefix, guard))
        .collect();
    let writes: Vec<TxnOp> = txn
        .writes()
        .iter()
        .map(|write| operation(prefix, write))
        .collect();
    RawTxn::new().when(compares).and_then(writes)
}

fn compare(prefix: &Prefix, guard: &Guard) -> Compare {
    let key = prefix.raw(guard.key());
    match guard {
        Guard::Absent(_) => Compare::create_revision(key, CompareOp::Equal, 0),
        Guard::Unchanged { since, .. } => {
            Compare::mod_revision(key, CompareOp::Equal, raw_life(*since))
        }
        Guard::Alive { since, .. } => {
            Compare::create_revision(key, CompareOp::Equal, raw_life(*since))
        }
        Guard::Gone { since, .. } => {
            Compare::create_revision(key, CompareOp::NotEqual, raw_life(*since))
        }
        Guard::Quiet { range, since } => {
            Compare::mod_revision(key, CompareOp::Less, raw_revision(since.next()))
                .with_range(prefix.raw(&range.to))
        }
    }
}

/// The revision of a write. There is none at zero; but to etcd that is what an absent key has.
fn raw_life(since: Revision) -> i64 {
    if since == Revision(0) {
        -1
    } else {
        raw_revision(since)
    }
}

fn operation(prefix: &Prefix, write: &Write) -> TxnOp {
    match write {
        Write::Put { key, value, lease } => TxnOp::put(
            prefix.raw(key),
            value.as_bytes(),
            lease.map(|lease| PutOptions::new().with_lease(lease.0)),
        ),
        Write::Delete { key } => TxnOp::delete(prefix.raw(key), None),
        Write::DeleteRange { range } => TxnOp::delete(
            prefix.raw(&range.from),
            Some(DeleteOptions::new().with_range(prefix.raw(&range.to))),
        ),
    }
}

/// Reads what the guards look at, to tell which of them failed.
async fn explain(link: &Link, guards: &[Guard], seen: Revision, until: Instant) -> TxnOutcome {
    let known = link.epoch().highest();
    let read = link.attempt(until, Repeat::Always, || {
        let mut kv = link.kv();
        let gets: Vec<TxnOp> = guards
            .iter()
            .map(|guard| look(link.prefix(), guard))
            .collect();
        async move { kv.txn(RawTxn::new().and_then(gets)).await }
    });
    let Ok(answer) = read.await else {
        return TxnOutcome::Conflict {
            at: seen,
            failed: Vec::new(),
        };
    };
    let Ok(at) = link.told(known, answer.header()).await else {
        return TxnOutcome::Unknown;
    };
    let mut failed = Vec::new();
    for ((index, guard), range) in (0..).zip(guards).zip(ranges(answer)) {
        let found = range
            .kvs
            .into_iter()
            .next()
            .and_then(|kv| link.prefix().item(kv))
            .map(|item| item.found);
        if let Some(found) = failure(guard, found) {
            failed.push(Failed {
                guard: GuardIx(index),
                found,
            });
        }
    }
    TxnOutcome::Conflict { at, failed }
}

fn look(prefix: &Prefix, guard: &Guard) -> TxnOp {
    let options = match guard {
        Guard::Quiet { range, .. } => Some(
            GetOptions::new()
                .with_range(prefix.raw(&range.to))
                .with_sort(SortTarget::Mod, SortOrder::Descend)
                .with_limit(1)
                .with_keys_only(),
        ),
        Guard::Absent(_) | Guard::Unchanged { .. } | Guard::Alive { .. } | Guard::Gone { .. } => {
            None
        }
    };
    TxnOp::get(prefix.raw(guard.key()), options)
}

/// What a guard that does not hold found; `None` when it holds. `found` is the newest key of a guarded range.
fn failure(guard: &Guard, found: Option<Found>) -> Option<Option<Found>> {
    match guard {
        Guard::Quiet { since, .. } => found.filter(|it| it.modified > *since).map(|_| None),
        Guard::Absent(_) | Guard::Unchanged { .. } | Guard::Alive { .. } | Guard::Gone { .. } => {
            (guard.holds(found.as_ref()) == Some(false)).then_some(found)
        }
    }
}

/// Forgets the history before `at`, unless that lies ahead. Whether it is forgotten.
pub(super) async fn compact(link: &Link, at: Revision) -> bool {
    // etcd keeps no deletion made at the compacted revision itself before 3.5.18, so that a watch from there misses it.
    let last = raw_revision(at).saturating_sub(1);
    if last <= 0 {
        return true;
    }
    let until = link.until();
    // etcd itself refuses only what is more than one revision ahead, as it is told of one less.
    if !newest(link, until).await.is_ok_and(|newest| at <= newest) {
        return false;
    }
    // It takes as long as etcd needs to look at every key. Repeated sooner it would be told that it is done already.
    let sent = link.attempt(Instant::now() + COMPACT_MAX, Repeat::OnlyUnsent, || {
        let mut kv = link.kv();
        let wait_for_the_room = CompactionOptions::new().with_physical();
        async move { kv.compact(last, Some(wait_for_the_room)).await }
    });
    match sent.await {
        Ok(_) | Err(Fate::Compacted) => true,
        Err(
            Fate::Refused(_) | Fate::LoginStale | Fate::Unsent | Fate::Oversized | Fate::Unknown,
        ) => false,
    }
}
