//! Windlass, the library: embed a worker or a client, or run the whole scheduler in your own process.

pub use windlass_core as core;

pub mod api;
pub mod bench;
pub mod cli;
pub mod clock;
pub mod driver;
pub mod executor;
pub mod gateway;
pub mod host;
pub mod logging;
pub mod node;
pub mod store;
