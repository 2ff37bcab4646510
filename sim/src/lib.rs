//! The deterministic simulator of Windlass: the real machines on one discrete-event loop over the store's model.
//!
//! A [`world::World`] is a store, scheduler processes and workers, with a network that delays, loses and repeats, and
//! nodes that crash, pause and wake up. The same seed gives the same run. [`ledger::Ledger`] notes every start and end of
//! a handler; [`audit`] judges the store at the end.
//!
//! Not modelled yet: clock drift between nodes, a store that loses its own state, more than one store member, and the
//! shell around the machines.

pub mod attempt;
pub mod audit;
pub mod book;
pub mod checkers;
pub mod clients;
pub mod clock;
pub mod entropy;
pub mod explore;
pub mod fact;
pub mod ledger;
pub mod liveness;
pub mod marks;
pub mod nemesis;
pub mod network;
pub mod node;
pub mod perturb;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod shrink;
pub mod timeline;
pub mod trace;
pub mod world;

/// A seed out of any bytes: a commit's hash, say.
pub fn hash_seed(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
