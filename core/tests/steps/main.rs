//! The rows of a task's life against the store's model: what each one guards and writes, and what becomes of a task
//! when several are tried on it, in any order, late and twice.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bench;
mod copies;
mod lane;
mod placed;
mod races;
mod rows;
mod sequences;
