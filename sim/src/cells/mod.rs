//! The plan for several cells (`docs/guide/src/cells.md`), simulated: queues that move between stores, gateways whose maps
//! are old, and movers that crash.
//!
//! This is a plan and no part of the product, so all of it lies in the simulator, the machines of the new parts too: what
//! the core has is what runs in production. Once it is more than a plan, [`record`], the rows, the mover and the routing
//! go to the core, and what is a model here is replaced by the machines that are there.
//!
//! ```
//! use windlass_sim::cells::{attempt, plan::Plan};
//!
//! let report = attempt(&Plan::of_seed(7), None);
//! assert!(report.violations.is_empty());
//! assert_eq!(report.trace, attempt(&Plan::of_seed(7), None).trace);
//! ```
//!
//! # What is real
//! - The stores: the core's own [`Kv`](windlass_core::kv::Kv), one for each cell and one for the directory.
//! - Keys, records and the rows of a task's life, from the core; `rows` adds the guards on marks and the fences' bases.
//! - The new parts, as pure machines: `mover`, and of a gateway the routing of submissions (`route`) and the search for a
//!   task (`search`).
//!
//! # What is a model
//! - Scheduler, worker, janitor and the rest of a gateway: small machines that take the same rows. They read where the
//!   real ones watch, which makes what they decide on as late, and never gaps.
//! - Whether a worker lives: a scheduler takes claims at random, as if from a silent worker, and some attempts go on all
//!   the same.
//! - Lanes: gateways have one in each cell, since a submission guards absences only. Everybody else's steps guard revisions.
//!
//! # What is left out
//! Leases, reruns, queue settings, locks, statistics, lists, batches larger than a few tasks, and compaction.

pub mod actor;
pub mod bug;
mod cast;
pub mod check;
mod gateway;
mod held;
mod janitor;
mod mover;
mod parcel;
pub mod plan;
pub mod record;
mod request;
mod route;
mod rows;
mod rule;
mod run;
mod scheduler;
mod search;
pub mod snapshot;
mod worker;
mod world;

pub use self::run::{Report, attempt, attempt_told};
pub use self::world::COUNTED;
