//! The machines against the store's model, with every message in the test's hands.

mod random;
mod rig;
mod worker_news;
