//! The shell's real driver loop on a simulated executor: `windlass-sim shell`.
//!
//! What runs is the shell's own: the driver, the clock, the nodes with their ports to machine and gateway, the gateway's
//! handle, and the guards that see to it that each call is answered once. It runs on madsim's executor, which picks the
//! next task at random by its seed, with madsim's clock and network. Not the shell's own are the store's port (an etcd
//! client cannot live there; tier 3 runs it), the executor of handlers, and everything that people see.
//!
//! The store is the core's own model, served over the network by a process that can be killed. A scenario is drawn from a
//! seed before the run; one process runs one seed, because some of what madsim tames is tame only once per process. The
//! witness of determinism is our own hash over every message, answer, handler and fault, with its time.
//!
//! Not modelled: clocks of nodes that differ (madsim has one), a store of several members, connections that are neither
//! whole nor broken in the middle of a message, and the real executor's processes and signals.

pub mod fault;
pub mod report;
pub mod scenario;
pub mod trace;

#[cfg(madsim)]
mod clients;
#[cfg(madsim)]
mod handlers;
#[cfg(madsim)]
mod nemesis;
#[cfg(madsim)]
mod port;
#[cfg(madsim)]
mod process;
#[cfg(madsim)]
mod run;
#[cfg(madsim)]
mod store;
#[cfg(madsim)]
mod watch;
#[cfg(madsim)]
mod wire;
#[cfg(madsim)]
mod world;

#[cfg(madsim)]
mod command;
#[cfg(madsim)]
mod sweep;
#[cfg(madsim)]
pub use self::command::command;
#[cfg(not(madsim))]
pub use self::refusal::command;

use std::ops::Range;

/// What `windlass-sim shell` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which seeds. One is run by this process; several are run by a process each.
    pub seeds: Range<u64>,
    /// Tell everything that happens, on standard error.
    pub trace: bool,
    /// Run each seed in a second process as well, and compare. Of several seeds, one of a hundred always is.
    pub twice: bool,
    /// Tell it to a program, not to people.
    pub json: bool,
}

#[cfg(not(madsim))]
mod refusal {
    use std::io::{self, Write as _};

    use super::Options;
    use crate::report::Verdict;

    /// Says how to build a binary that can do this.
    pub fn command(_: &Options) -> io::Result<Verdict> {
        let how = "this binary was built without the simulated executor; `make sim-shell` builds \
                   and runs one, as does: RUSTFLAGS='--cfg madsim' cargo run --profile sim \
                   --target-dir target/madsim -p windlass-sim -- shell --seed N";
        writeln!(io::stderr(), "windlass-sim: {how}")?;
        Ok(Verdict::Usage)
    }
}
