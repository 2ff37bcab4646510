//! The pure state machines of Windlass.
//!
//! Nothing here is async, reads a clock, draws entropy, or talks to anything. A [`machine::Machine`] takes inputs and
//! time, and returns effects; a shell performs them.
#![deny(clippy::float_arithmetic)]
#![warn(missing_docs)]

pub mod balance;
pub mod config;
pub mod filter;
pub mod gateway;
pub mod ids;
pub mod keyspace;
pub mod kv;
pub mod lanes;
pub mod lock;
pub mod machine;
pub mod planted;
pub mod record;
pub mod registration;
pub mod retry;
pub mod rng;
pub mod room;
pub mod scheduler;
pub mod server;
pub mod session;
pub mod steps;
pub mod store;
pub mod task_state;
pub mod time;
pub mod timers;
pub mod view;
pub mod worker;
