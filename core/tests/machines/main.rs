//! The machines against the store's model, with every message in the test's hands.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod at_once;
mod carried;
mod client_locks;
mod clients;
mod following;
mod gathering;
mod leaving;
mod random;
mod rig;
mod worker_locks;
mod worker_news;
