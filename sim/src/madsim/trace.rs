//! What happened, as lines: a running hash over all of them, the witness that a run can be repeated, and the last few.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::Duration;

/// How many lines are kept.
const TAIL: usize = 60;
/// How much of a line is kept.
const LINE_MAX: usize = 300;

/// FNV-1a, 64 bits: simple enough to be written down here, and the same on every machine and in every build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHash(u64);

impl TraceHash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A run's trace.
#[derive(Debug)]
pub struct Trace {
    hash: TraceHash,
    events: u64,
    line: String,
    tail: VecDeque<String>,
    is_told: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            hash: TraceHash::new(),
            events: 0,
            line: String::new(),
            tail: VecDeque::new(),
            is_told: false,
        }
    }
}

impl Trace {
    /// From now on every line is told on standard error, too.
    pub fn tell(&mut self) {
        self.is_told = true;
    }

    /// Notes something that happened `at`, counted from the start of the run.
    pub fn note(&mut self, at: Duration, what: fmt::Arguments<'_>) {
        self.line.clear();
        writeln!(self.line, "{:>14} {what}", at.as_nanos()).expect("a string takes everything");
        self.hash.add(self.line.as_bytes());
        self.events += 1;
        if self.is_told {
            // Who does not listen any more misses nothing that cannot be repeated.
            let _ = io::stderr().write_all(self.line.as_bytes());
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail
            .push_back(self.line.trim_end().chars().take(LINE_MAX).collect());
    }

    /// Over every line so far.
    pub fn hash(&self) -> TraceHash {
        self.hash
    }

    /// How many lines there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last lines.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.tail.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(lines: &[(u64, &str)]) -> String {
        let mut trace = Trace::default();
        for (at, line) in lines {
            trace.note(Duration::from_nanos(*at), format_args!("{line}"));
        }
        trace.hash().to_string()
    }

    #[test]
    fn the_hash_depends_on_what_happened_and_when_and_in_which_order() {
        let all = [(1, "a"), (2, "b")];
        assert_eq!(hash_of(&all), hash_of(&all));
        assert_ne!(hash_of(&all), hash_of(&[(1, "a"), (3, "b")]));
        assert_ne!(hash_of(&all), hash_of(&[(1, "b"), (2, "a")]));
        assert_ne!(hash_of(&all), hash_of(&[(1, "a")]));
    }

    #[test]
    fn only_the_last_lines_are_kept_and_all_are_counted() {
        let mut trace = Trace::default();
        for n in 0..100 {
            trace.note(Duration::ZERO, format_args!("{n}"));
        }
        assert_eq!(trace.events(), 100);
        assert_eq!(trace.tail().count(), TAIL);
        assert!(
            trace
                .tail()
                .last()
                .is_some_and(|line| line.ends_with(" 99"))
        );
    }
}
