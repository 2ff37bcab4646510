//! The parts of the comparison of the store's model with etcd.

pub(crate) mod compare;
pub(crate) mod expiry;
mod limits;
pub(crate) mod model;
pub(crate) mod plan;
pub(crate) mod raw;
pub(crate) mod real;
pub(crate) mod shrink;
pub(crate) mod step;
mod wrong;
