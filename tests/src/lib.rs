//! What the black-box tests share.

pub mod bench;
mod binary;
pub mod certificates;
pub mod chaos;
pub mod client;
pub mod etcd;
pub mod load;
pub mod process;
pub mod proxy;
pub mod soak;
pub mod sockets;
pub mod usage;

use std::path::Path;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails, unless a test is about how long it takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until there is something to see.
///
/// # Panics
/// When there is nothing for [`PATIENCE`].
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks again and again until there is something to see.
///
/// # Panics
/// When there is nothing for as long as `patience`.
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            begun.elapsed() < patience,
            "not within {patience:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The program under test, built if need be.
///
/// # Panics
/// When it cannot be built.
pub fn windlass() -> &'static Path {
    binary::windlass()
}

/// A number that whoever runs the tests may choose, for example to make a run as large as an acceptance.
///
/// # Panics
/// When it is set to something that is no number.
pub fn size(variable: &str, unless_set: usize) -> usize {
    std::env::var(variable).map_or(unless_set, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number"))
    })
}

/// Tells people what was measured; the test runner shows it on request.
pub fn tell(figure: &str) {
    #[allow(clippy::print_stdout, reason = "people read this")]
    {
        println!("{figure}");
    }
}

/// How many were measured, the middle, the 99th of a hundred and the largest, for people.
pub fn spread(mut measured: Vec<Duration>) -> String {
    measured.sort_unstable();
    let at = |permille: usize| {
        let last = measured.len().saturating_sub(1);
        measured
            .get(last * permille / 1_000)
            .copied()
            .unwrap_or_default()
    };
    format!(
        "{} measured, p50 {:?}, p99 {:?}, max {:?}",
        measured.len(),
        at(500),
        at(990),
        at(1_000)
    )
}
