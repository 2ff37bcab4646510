//! Black-box tests of `windlass dev`: the real binary with its embedded store, by command line and by HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]
#![expect(
    clippy::print_stdout,
    reason = "a seed that is not told cannot be run again"
)]

mod http;
mod rig;

mod bad_input;
mod commands;
mod dashboard;
mod durability;
mod events;
mod handlers;
mod life;
mod lists;
mod load;
mod locks;
mod malformed;
mod metrics;
mod order;
mod query;
mod stopping;
mod why;
