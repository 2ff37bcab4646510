//! The etcd port in simulation: the real port and the real etcd client on a simulated network, against the store's model,
//! served as etcd serves its own. A seed names a scenario; the same seed gives the same run.
#![allow(clippy::unwrap_used)]

mod client;
mod judge;
mod ledger;
mod links;
mod net;
mod run;
mod scenario;
mod seeds;
mod served;
mod trace;
mod txns;
mod view;
mod world;
