//! What a machine knows of the store: a full read and a gap-free series of changes.

mod cluster;
mod counts;
mod feed;
mod known;
mod news;
mod reconcile;
mod removal;
mod spot;
mod strangers;
#[cfg(test)]
mod sums;

pub use self::cluster::{Claimed, ClusterView, Dead, Delayed, Node, Offer, Waiting};
pub use self::counts::DelayedCount;
pub use self::feed::{Fed, Feed};
pub use self::known::Known;
pub use self::news::News;
pub use self::reconcile::{AUDIT_MAX, CheckedFeed, RECONCILE_EVERY, Reconcile};
pub use self::spot::{Rank, Spot};
