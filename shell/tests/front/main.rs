//! The API and the command line in front of a gateway that answers from memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]
#![allow(clippy::print_stderr, reason = "what cannot be tested here is said")]

mod api;
mod bad_input;
mod changes;
mod cli;
mod commands;
mod compressed;
mod described;
mod events;
mod fake;
mod health;
mod rig;
mod room;
mod search;
mod serving;
mod shown;
mod snapshots;
mod stand_in;
mod top;
mod trace;
