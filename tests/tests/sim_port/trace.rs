//! The witness of determinism, and what is shown of a run that went wrong.

use std::collections::VecDeque;
use std::fmt::Write as _;

use windlass::core::time::Mono;

/// How many lines are kept for those who read.
const LINES_MAX: usize = 4_000;

/// Everything that happened, as a number and, the end of it, in words.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    count: u64,
    lines: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            // FNV-1a's.
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            lines: VecDeque::new(),
        }
    }
}

impl Trace {
    pub(crate) fn note(&mut self, at: Mono, who: &str, what: impl FnOnce() -> String) {
        let micros = at.as_nanos() / 1_000;
        let mut line = String::new();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        write!(line, "{seconds:>3}.{micros:06} {who:<8} {}", what()).expect("memory is writable");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.count += 1;
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
