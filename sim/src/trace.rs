//! The witness of determinism: a running hash over everything that happens, and, when asked for, the last lines in words.

use std::collections::VecDeque;
use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_core::time::Mono;
use xxhash_rust::xxh3::Xxh3Default;

use crate::fact::NodeIx;

/// The hash of a run: the same for the same scenario and code, in every process and build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceHash(pub u64);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One event in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Mono,
    /// On which node; `None` for the store.
    pub node: Option<NodeIx>,
    /// What kind of event.
    pub kind: &'static str,
    /// What else there is to say.
    pub detail: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_nanos() / 1_000_000_000;
        let micros = self.at.as_nanos() / 1_000 % 1_000_000;
        let node = self
            .node
            .map_or_else(|| "store".to_owned(), |node| format!("n{node}"));
        write!(
            f,
            "{seconds:>5}.{micros:06} {node:<5} {:<9} {}",
            self.kind, self.detail
        )
    }
}

/// How many bytes are hashed at once, at least.
const PENDING_MAX: usize = 1 << 10;

/// Takes note of everything.
pub struct Trace {
    hash: Xxh3Default,
    /// What is to be hashed next: many small pieces at once.
    pending: Vec<u8>,
    lines: VecDeque<Line>,
    /// How many lines are kept; without any, no words are made.
    lines_max: usize,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("hash", &self.hash())
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// A trace that keeps the last `lines_max` lines.
    pub fn new(lines_max: usize) -> Self {
        Self {
            hash: Xxh3Default::new(),
            pending: Vec::with_capacity(2 * PENDING_MAX),
            lines: VecDeque::new(),
            lines_max,
        }
    }

    /// Whether words are kept.
    pub fn is_told(&self) -> bool {
        self.lines_max > 0
    }

    /// Takes note of an event: its time, place, kind and the numbers that tell it from others.
    pub fn note(
        &mut self,
        at: Mono,
        node: Option<NodeIx>,
        kind: &'static str,
        numbers: &[u64],
        detail: impl FnOnce() -> String,
    ) {
        let place = node.map_or(u64::MAX, |node| node as u64);
        self.bytes(&at.as_nanos().to_le_bytes());
        self.bytes(&place.to_le_bytes());
        self.bytes(kind.as_bytes());
        for number in numbers {
            self.bytes(&number.to_le_bytes());
        }
        if self.lines_max > 0 {
            if self.lines.len() == self.lines_max {
                self.lines.pop_front();
            }
            self.lines.push_back(Line {
                at,
                node,
                kind,
                detail: detail(),
            });
        }
    }

    /// Takes note of bytes that belong to the last event.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PENDING_MAX {
            self.hash.update(&self.pending);
            self.pending.clear();
        }
    }

    /// The hash of all that happened.
    pub fn hash(&self) -> TraceHash {
        let mut hash = self.hash.clone();
        hash.update(&self.pending);
        TraceHash(hash.digest())
    }

    /// The last lines.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(at: u64, node: Option<NodeIx>, numbers: &[u64]) -> TraceHash {
        let mut trace = Trace::new(0);
        trace.note(Mono::from_nanos(at), node, "call", numbers, String::new);
        trace.hash()
    }

    #[test]
    fn every_difference_changes_the_hash() {
        let one = noted(1, Some(0), &[7]);
        assert_eq!(one, noted(1, Some(0), &[7]));
        for other in [
            noted(2, Some(0), &[7]),
            noted(1, None, &[7]),
            noted(1, Some(0), &[8]),
            noted(1, Some(0), &[]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn words_do_not_change_the_hash_and_only_the_last_are_kept() {
        let mut told = Trace::new(2);
        let mut silent = Trace::new(0);
        for n in 0..5 {
            told.note(Mono::from_nanos(n), None, "x", &[n], || n.to_string());
            silent.note(Mono::from_nanos(n), None, "x", &[n], || {
                unreachable!("nobody asked for words")
            });
        }
        assert_eq!(told.hash(), silent.hash());
        assert!(told.lines().map(|line| line.detail.as_str()).eq(["3", "4"]));
    }
}
