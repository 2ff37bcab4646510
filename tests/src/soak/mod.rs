//! A long run at a steady rate: does anything grow, slow down or get lost in time?

pub mod report;
pub mod run;
pub mod verdict;
