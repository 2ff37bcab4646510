//! How full etcd is, as its members say. Each has a file of its own, and the fullest counts: the first one whose file
//! reaches the quota raises the alarm for all.

use std::time::Duration;

use etcd_client::StatusResponse;
use futures_util::future::join_all;
use tokio::time::timeout;
use windlass_core::store::{Refusal, Usage};

use super::fate::{Fate, describe};
use super::link::Link;
use super::metrics;
use super::route::pinned;

/// How long one member may take. Those that are down must not keep the others' answers back.
const MEMBER_MAX: Duration = Duration::from_secs(2);

/// How full the members are; `None` when none of them answers.
pub(super) async fn usage(link: &Link) -> Option<Usage> {
    let asked = (0..link.count()).map(|member| async move {
        let told = timeout(MEMBER_MAX, of_member(link, member));
        match told.await {
            Ok(Ok(usage)) => Some(usage),
            Ok(Err(error)) => {
                let error = format!("{error:#}");
                tracing::debug!(member, error, "a member does not tell how full it is");
                None
            }
            Err(_) => None,
        }
    });
    join_all(asked).await.into_iter().flatten().reduce(fuller)
}

async fn of_member(link: &Link, member: usize) -> anyhow::Result<Usage> {
    let mut client = link.maintenance();
    match pinned(member, client.status()).await {
        Ok(status) => Ok(read(&status, link.quota())),
        Err(error) if Fate::of(&error) == Fate::Refused(Refusal::Denied) => {
            metrics::usage(link.line(member)).await
        }
        Err(error) => Err(anyhow::anyhow!(describe(&error))),
    }
}

/// What one member says of itself.
fn read(status: &StatusResponse, unless_told: u64) -> Usage {
    let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let size = bytes(status.db_size());
    Usage {
        // Releases before 3.4 do not tell what is in use.
        used: match bytes(status.raft_used_db_size()) {
            0 => size,
            used => used,
        },
        size,
        quota: match status.db_size_quota() {
            // It does not tell: releases before 3.6.
            0 => Some(unless_told),
            // It was told to have none.
            quota if quota < 0 => None,
            quota => Some(bytes(quota)),
        },
        full: status.errors().iter().any(|it| it.contains("NOSPACE")),
    }
}

fn fuller(one: Usage, other: Usage) -> Usage {
    Usage {
        used: one.used.max(other.used),
        size: one.size.max(other.size),
        quota: match (one.quota, other.quota) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        full: one.full || other.full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_members_the_fullest_counts() {
        let of = |used, size, quota, full| Usage {
            used,
            size,
            quota,
            full,
        };
        let all = [
            of(5, 20, Some(100), false),
            of(7, 10, None, true),
            of(6, 10, Some(90), false),
        ];
        let fullest = all.into_iter().reduce(fuller);
        assert_eq!(fullest, Some(of(7, 20, Some(90), true)));
    }
}
