//! Stores, as the machines' ports see them, and the two that there are.

pub mod embedded;
pub mod etcd;
mod port;

pub use self::port::{Answers, Owed, StorePort};
