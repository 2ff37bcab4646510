//! What a machine knows of the store: a full read and a gap-free series of changes.

mod cluster;
mod feed;
mod news;
mod removal;
mod strangers;

pub use self::cluster::{Claimed, ClusterView, Dead, Delayed, Node, Offer, Spot, Waiting};
pub use self::feed::{Fed, Feed};
pub use self::news::News;
