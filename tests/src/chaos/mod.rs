//! Chaos: the real program on a real etcd, with real signals and cut networks, judged by the simulator's own checkers.
//!
//! 1. A [`plan`] of faults is drawn from the seed before anything starts.
//! 2. In namespaces of their own ([`cage`], [`net`]) run etcd, two schedulers and four workers ([`cluster`]), under the
//!    [`load`] of clients, while the [`nemesis`] does what the plan says.
//! 3. Three records are kept: the store's whole [`history`], the run's own [`journal`], and a ledger of what handlers did
//!    ([`handler`]). None of them goes through what is broken.
//! 4. All is healed; everything must come to its end, new work must be served.
//! 5. The records become one [`timeline`] of facts, and [`judge`] shows it to every checker of `windlass-sim`.
//!
//! The plan is replayed by its seed; how processes and the kernel interleave under it is not. A failed run keeps its
//! records, and `windlass-chaos judge DIR` judges them again.

pub mod cage;
pub mod clock;
pub mod cluster;
pub mod handler;
pub mod history;
pub mod journal;
pub mod judge;
pub mod load;
pub mod losses;
pub mod nemesis;
pub mod net;
pub mod plan;
pub mod process;
pub mod report;
pub mod run;
pub mod store;
pub mod timeline;
pub mod watchman;
