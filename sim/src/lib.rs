//! The deterministic simulator of Windlass: whole deployments under faults, from a seed, in milliseconds.
//!
//! The real state machines of `windlass-core` (gateway, scheduler, janitor, worker) run on one discrete-event loop over
//! `Kv`, the model of the store, which a differential test holds equal to a real etcd. There are no threads, sockets or
//! clocks in it: the same scenario gives the same run, event by event, in every process and build, and a hash over all
//! events is the witness.
//!
//! ```
//! use windlass_sim::{attempt::attempt, scenario::Scenario};
//!
//! let scenario = Scenario::of_seed(7);
//! let report = attempt(&scenario);
//! assert!(report.violations.is_empty());
//! assert_eq!(report.trace, attempt(&scenario).trace);
//! ```
//!
//! # A run
//! 1. A [`scenario`] is drawn from a seed, or from a fuzzer's bytes, before anything starts: who takes part, what users do,
//!    what breaks and when, what stays broken. It is data: printable, kept as a file, cut down by deletion.
//! 2. **Safety**: the [`world`] runs it. The [`nemesis`] breaks things: processes, connections, the store, clocks,
//!    handlers. Everything that happens is told as a [`fact`], and every fact is shown to every one of the [`checkers`].
//! 3. **[`liveness`]**: a core of the deployment is healed, the rest stays broken for ever. Everything must come to its end.
//! 4. **Service**: new work is accepted and done. **Rest**: views equal the store, totals equal a recount, nothing that was
//!    acknowledged is lost.
//!
//! # From a failing seed to the line of code
//! ```text
//! $ make sim SEEDS=1000
//! FAILED seed 417: S5 one_outcome at 12.400 s: 019b…07 was completed, and then failed
//! ```
//! The exit code says what kind of failure it is: 10 something happened that may not, 11 something did not happen that
//! must, 12 the same seed ran differently, 13 the simulator proved nothing, 101 a machine panicked.
//! 1. **Look.** Beside the scenario (`target/sim/fail-417.json`) lies a picture of the run (`fail-417.html`): a lane for each
//!    node with its life, session, claims and handlers, faults shaded, the violation a red line. Most often the story is
//!    already visible: a claim that outlives a session, a handler in a frozen process.
//! 2. **Make it small.** `cargo run --profile sim -p windlass-sim -- shrink target/sim/fail-417.json` takes parts out as long
//!    as the same rule is broken, and writes `fail-417-small.json` with its picture: often one node, two acts, one fault.
//! 3. **Read it.** `… replay target/sim/fail-417-small.json --lines 400` tells the run in words: every call, answer, piece of
//!    news, wake-up, start and end of a handler, each with its time, node and operation. Search the trace for the task's id
//!    or the fence that the violation names, and go backwards to the first line that surprises you.
//! 4. **Find the line.** Every transaction in the trace is one or more rows of the life table, each a function of
//!    `windlass_core::steps`; who decided on it is the machine of the line's node. The checker's file says which rule was
//!    broken and where the rule comes from.
//! 5. **Keep it.** Copy the small scenario to `sim/regressions/`, named after its story. The suite replays that folder; a
//!    bare seed would not do, because the generator changes.
//!
//! # Is the simulator itself any good?
//! - `windlass-sim planted` switches on each of more than a hundred planted bugs, and counts the seeds until a checker
//!   notices (`make planted`).
//! - `windlass-sim explore` tries every fault, and every two faults, at every call of small stories.
//! - From 1,000 seeds on a run fails when any kind of fault, or any of the [`marks`], was never hit.
//! - One seed in a hundred is run twice and must give the same hash.
//!
//! # Several cells
//! [`cells`] simulates a plan, not the product: several stores, and queues that move between them (`windlass-sim cells`).
//!
//! # What is not modelled
//! - **The shell**: the driver's loop, tokio, sockets, the HTTP API, the executor and its guardian, the etcd client, the
//!   embedded store's file. Tier 2 (`windlass-sim shell`) runs the driver's loop; the black-box tests the rest.
//! - **More than one store member**: the store is linearizable, as etcd promises. Stale linearizable reads, members that
//!   lag, watches that go back in time, lost unacknowledged revisions, and a restore from a backup do not happen.
//! - **A silent gap in a watch**: ports promise that a gap is noticed. Late, duplicate, broken and mute watches do happen,
//!   and so do late news of watches that were given up.
//! - **Memory and speed**: no input takes any time, nothing is ever full but the store.
//! - **A reboot of a worker's computer while its guardian lives on**, and handlers that survive their process.
//! - **Names**: queues, types and keys come from small sets, payloads are small; limits on sizes are tested in the core.
//! - **Tokens, roles, TLS**: who may do what is no part of the machines.

mod ambush;
pub mod attempt;
pub mod audit;
pub mod book;
pub mod cells;
pub mod checkers;
pub mod clients;
pub mod clock;
pub mod entropy;
pub mod explore;
pub mod fact;
pub mod ledger;
pub mod liveness;
pub mod madsim;
pub mod marks;
pub mod nemesis;
pub mod network;
pub mod node;
pub mod perturb;
pub mod remote;
pub mod report;
pub mod runner;
pub mod scale;
pub mod scenario;
pub mod shrink;
pub mod timeline;
pub mod trace;
pub mod world;

pub use windlass_core as core;

/// A seed out of any bytes: a commit's hash, say.
pub fn hash_seed(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
