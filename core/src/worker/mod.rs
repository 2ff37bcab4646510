//! The worker: runs what appears in its own queue, and records how it went.

mod run;

pub use self::run::{Exit, HandlerError, RunEvent, Start};
