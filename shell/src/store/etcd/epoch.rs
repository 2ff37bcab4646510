//! Whether the etcd that answers is still the one that was connected to. One that was restored from a backup, or set up
//! anew in the same place, has forgotten what it had acknowledged: everything that this process knows of it is void.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use etcd_client::ResponseHeader;
use tokio_util::sync::CancellationToken;
use windlass_core::ids::Revision;

use super::wire::revision;

/// What shows that an etcd is not the one that was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// It is another cluster.
    Cluster {
        /// The id of the first.
        was: u64,
        /// The id of the one that answers.
        is: u64,
    },
    /// Its revision is lower than one that it has told before.
    WentBack {
        /// The highest that it has told.
        was: Revision,
        /// What it tells now.
        is: Revision,
    },
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster { was, is } => write!(
                f,
                "etcd was replaced by another cluster: its id was {was:x} and is {is:x}"
            )?,
            Self::WentBack { was, is } => write!(
                f,
                "etcd was restored from a backup, or has lost its data: its revision was {was} and is {is}"
            )?,
        }
        f.write_str("; what this process knows of it is void, start it again")
    }
}

/// What is known of the etcd that was connected to.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// The cluster's id; 0 while none was told.
    cluster: AtomicU64,
    highest: AtomicU64,
    replaced: OnceLock<Replaced>,
    over: CancellationToken,
}

impl Epoch {
    /// The highest revision that was told so far. A question that is asked from now on is answered with no lower one.
    pub(super) fn highest(&self) -> Revision {
        Revision(self.highest.load(Ordering::Acquire))
    }

    /// Takes the head of an answer that needed a quorum, to a question asked when the highest revision was `known`.
    /// Whether that is in doubt and must be asked again: [`Epoch::confirm`].
    pub(super) fn take(&self, known: Revision, header: Option<&ResponseHeader>) -> bool {
        let Some(header) = header else { return false };
        self.take_cluster(header.cluster_id());
        let told = revision(header.revision());
        self.raise(told);
        told < known
    }

    /// Takes a revision that a watch has told.
    pub(super) fn raise(&self, told: Revision) {
        self.highest.fetch_max(told.0, Ordering::AcqRel);
    }

    /// Whether it has proved to be another etcd.
    pub(super) fn is_over(&self) -> bool {
        self.replaced.get().is_some()
    }

    /// Takes the cluster's id, as any answer tells it; 0 if it does not.
    pub(super) fn take_cluster(&self, is: u64) {
        if is == 0 {
            return;
        }
        let first = self
            .cluster
            .compare_exchange(0, is, Ordering::AcqRel, Ordering::Acquire);
        if let Err(was) = first
            && was != is
        {
            self.end(Replaced::Cluster { was, is });
        }
    }

    /// Takes a second answer after one that was too low: a single stale read is no loss.
    pub(super) fn confirm(&self, known: Revision, second: Option<Revision>) {
        if let Some(is) = second.filter(|is| *is < known) {
            self.end(Replaced::WentBack { was: known, is });
        }
    }

    fn end(&self, replaced: Replaced) {
        if self.replaced.set(replaced).is_ok() {
            tracing::error!("{replaced}");
            self.over.cancel();
        }
    }

    /// Waits until it is over.
    pub(super) async fn over(&self) -> Replaced {
        self.over.cancelled().await;
        *self.replaced.get().expect("set before it was cancelled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cluster: u64, revision: i64) -> ResponseHeader {
        ResponseHeader(etcd_client::proto::PbResponseHeader {
            cluster_id: cluster,
            member_id: 1,
            revision,
            raft_term: 1,
        })
    }

    #[test]
    fn a_stale_answer_is_asked_for_once_more_and_a_second_one_is_a_loss() {
        let epoch = Epoch::default();
        assert!(!epoch.take(Revision(0), Some(&header(7, 10))));
        assert!(
            !epoch.take(Revision(9), Some(&header(7, 9))),
            "it was asked before"
        );
        assert!(epoch.take(epoch.highest(), Some(&header(7, 9))));
        epoch.confirm(epoch.highest(), Some(Revision(10)));
        assert!(!epoch.is_over());
        assert!(epoch.take(epoch.highest(), Some(&header(7, 8))));
        epoch.confirm(epoch.highest(), Some(Revision(8)));
        let (was, is) = (Revision(10), Revision(8));
        assert_eq!(epoch.replaced.get(), Some(&Replaced::WentBack { was, is }));
    }

    #[test]
    fn another_cluster_is_told_at_once() {
        let epoch = Epoch::default();
        epoch.take_cluster(7);
        epoch.take_cluster(7);
        assert!(epoch.replaced.get().is_none());
        epoch.take_cluster(8);
        let replaced = Replaced::Cluster { was: 7, is: 8 };
        assert_eq!(epoch.replaced.get(), Some(&replaced));
        assert!(replaced.to_string().contains("start it again"));
    }
}
