//! Windlass as a library: workers, schedulers, clients and the test kit, as other programs use them.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]
#![allow(
    clippy::duplicate_mod,
    reason = "examples are programs of their own, each with its copy of what they share"
)]

mod client;
mod examples;
mod failures;
mod layers;
mod stops;
mod tasks;
mod trace;
