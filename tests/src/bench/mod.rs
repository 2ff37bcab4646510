//! The figures that Windlass is to reach, measured on this machine by the programs that users run, and one report of them.
//! Each part of the table has a file of its own. What cannot be measured is told as loudly as what was missed.

mod claims;
mod cluster;
mod command;
pub mod distribution;
mod fail_over;
pub mod figure;
mod loss;
pub mod machine;
mod memory;
pub mod part;
mod placement;
pub mod report;
pub mod run;
mod simulation;
pub mod sizes;
mod throughput;
