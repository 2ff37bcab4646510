//! What a fuzzer does to Windlass. Each target is a plain function from bytes to a verdict: it returns when every property
//! held, and panics when one did not.
//!
//! | target | the bytes are | what must hold |
//! |---|---|---|
//! | [`filter`] | a query | it is read, or refused with a place in it; what was read reads back, and means nothing out of its reach |
//! | [`keys`] | keys, one a line | every text has a meaning, what is ours has one spelling, keys are in the order of the queue |
//! | [`records`] | a value | decoders do not panic, what was read reads back, later versions are told from garbage |
//! | [`kv`] | calls to a store | it equals a naive map; watches have no gap; what it logged rebuilds it |
//! | [`view`] | a store's history, and news of it that are lost, late, doubled and out of order | a gap freezes the view; else it equals the replay |
//! | [`worker`], [`server`] | what surrounds a machine | no panic, deadlines lie ahead, few effects at once, the same inputs have the same effects |
//! | [`scenario`] | a scenario of the simulator | no checker finds anything |
//!
//! Three programs call them:
//! - `make fuzz` looks for new inputs, `cargo fuzz run --fuzz-dir fuzz -s none TARGET` for those of one target. The code
//!   is safe Rust, so there is no sanitizer to pay for, and the pinned stable toolchain will do;
//! - `cargo test -p windlass-fuzz` replays what is in `corpus/TARGET/`;
//! - `cargo run -p windlass-fuzz --bin TARGET -- FILE...` replays the files that it is given, without a fuzzer: this is
//!   where to look at a finding with a debugger.
//!
//! cargo-fuzz leaves what it found in `fuzz/artifacts/TARGET/`. It becomes a regression test as a file: cut it down with
//! `cargo fuzz tmin --fuzz-dir fuzz -s none TARGET FILE`, mend what it shows, and keep it as
//! `fuzz/corpus/TARGET/regression-WHAT_IT_WAS`. Bytes change their meaning with the target that reads them, so a finding
//! deserves a test in words beside the code that it is about, too; one of [`scenario`] prints its scenario, which
//! `windlass-sim shrink` cuts down and `sim/regressions/` keeps.
//!
//! Everything else in `corpus/` is there to reach much with little: real keys and records out of simulated runs, and for
//! each target the few inputs that together cover most of what a long run covered. What `make fuzz` gathers on top
//! stays in `target/fuzz/`, where the next run goes on.
#![warn(missing_docs)]

pub mod filter;
pub mod keys;
pub mod kv;
pub mod records;
pub mod scenario;
pub mod server;
pub mod view;
pub mod worker;

mod choices;
mod rig;
mod samples;
mod surroundings;

use std::ffi::OsString;
use std::io;

/// A property of the program that any bytes put to the test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of its binary and of its corpus.
    pub name: &'static str,
    /// Panics when a property is broken.
    pub check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "filter",
        check: filter::check,
    },
    Target {
        name: "keys",
        check: keys::check,
    },
    Target {
        name: "kv",
        check: kv::check,
    },
    Target {
        name: "records",
        check: records::check,
    },
    Target {
        name: "scenario",
        check: scenario::check,
    },
    Target {
        name: "server",
        check: server::check,
    },
    Target {
        name: "view",
        check: view::check,
    },
    Target {
        name: "worker",
        check: worker::check,
    },
];

/// Puts files to the test, one after the other.
///
/// # Errors
/// When a file cannot be read, or there is none.
pub fn replay(check: fn(&[u8]), files: impl Iterator<Item = OsString>) -> io::Result<()> {
    let mut files = files.peekable();
    if files.peek().is_none() {
        return Err(io::Error::other("name the files to replay"));
    }
    for file in files {
        check(&std::fs::read(file)?);
    }
    Ok(())
}

/// Makes a binary of the module of this name: under cargo-fuzz the fuzzer, else a program that replays files.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| windlass_fuzz::$name::check(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            windlass_fuzz::replay(windlass_fuzz::$name::check, std::env::args_os().skip(1))
        }
    };
}
