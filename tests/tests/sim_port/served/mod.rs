//! The store's model, served as etcd serves its own: the same services, the same errors in the same words.

mod auth;
mod kv;
mod lease;
mod maintenance;
mod member;
mod watch;
mod wire;

pub(crate) use auth::{PASSWORD, USER};
pub(crate) use member::{PORT, Served, serve};
