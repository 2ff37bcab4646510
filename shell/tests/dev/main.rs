//! Black-box tests of `windlass dev`: the real binary with its embedded store, by command line and by HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod http;
mod rig;

mod bad_input;
mod commands;
mod durability;
mod handlers;
mod life;
mod lists;
mod load;
mod locks;
mod malformed;
mod order;
mod stopping;
