//! The command that workers run for every task: it notes in a ledger, outside of the store, that it starts, that it still
//! runs, and that it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::clock::{self, Nanos};

/// How often a handler notes that it still runs.
const BEAT: Duration = Duration::from_millis(50);

/// What a task asks its handler to do.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Work {
    /// How long to work.
    pub ms: u64,
    /// The attempts up to this one fail.
    #[serde(default)]
    pub fails: u32,
}

/// A line of the ledger: one side effect of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The attempt starts.
    Start,
    /// It still runs.
    Beat,
    /// It has done what it should.
    Done,
    /// It fails.
    Failed,
}

impl Mark {
    const ALL: [(Self, &str); 4] = [
        (Self::Start, "start"),
        (Self::Beat, "beat"),
        (Self::Done, "done"),
        (Self::Failed, "failed"),
    ];

    fn word(self) -> &'static str {
        let found = Self::ALL.iter().find(|(it, _)| *it == self);
        found.map_or("", |(_, word)| word)
    }
}

/// One side effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which.
    pub mark: Mark,
    /// When.
    pub at: Nanos,
    /// Of which task.
    pub task: String,
    /// Under which fence.
    pub fence: u64,
    /// Of which attempt.
    pub attempt: u32,
    /// Of which process.
    pub process: u32,
}

impl Line {
    /// Reads a line of a ledger.
    pub fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let [word, at, task, fence, attempt, process] = words[..] else {
            return None;
        };
        Some(Self {
            mark: Mark::ALL.iter().find(|(_, it)| *it == word)?.0,
            at: at.parse().ok()?,
            task: task.to_owned(),
            fence: fence.parse().ok()?,
            attempt: attempt.parse().ok()?,
            process: process.parse().ok()?,
        })
    }
}

/// The open ledger of one attempt.
struct Ledger {
    file: File,
    rest: String,
}

impl Ledger {
    /// One write a line, so that no two handlers' lines mix.
    fn note(&mut self, mark: Mark) -> anyhow::Result<()> {
        let line = format!("{} {} {}\n", mark.word(), clock::now(), self.rest);
        self.file.write_all(line.as_bytes()).context("the ledger")
    }
}

/// Does one attempt of a task.
///
/// # Errors
/// When the attempt is one of those that fail, or something is wrong with its surroundings.
pub fn handle(ledger: &Path) -> anyhow::Result<()> {
    let variable = |name| std::env::var(name).with_context(|| format!("{name} is not set"));
    let attempt: u32 = variable("WINDLASS_ATTEMPT")?.parse()?;
    let (task, fence) = (variable("WINDLASS_TASK_ID")?, variable("WINDLASS_FENCE")?);
    let process = std::process::id();
    let mut ledger = Ledger {
        file: OpenOptions::new().append(true).create(true).open(ledger)?,
        rest: format!("{task} {fence} {attempt} {process}"),
    };
    ledger.note(Mark::Start)?;
    let mut payload = String::new();
    std::io::stdin().read_to_string(&mut payload)?;
    let work: Work = serde_json::from_str(&payload).context("the payload")?;
    let mut left = Duration::from_millis(work.ms);
    while !left.is_zero() {
        let nap = left.min(BEAT);
        std::thread::sleep(nap);
        left -= nap;
        if !left.is_zero() {
            ledger.note(Mark::Beat)?;
        }
    }
    if attempt <= work.fails {
        ledger.note(Mark::Failed)?;
        bail!("attempt {attempt} of {} that fail", work.fails);
    }
    ledger.note(Mark::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = Line::parse("beat 12 task 7 2 99").unwrap();
        assert_eq!((line.mark, line.at, line.fence), (Mark::Beat, 12, 7));
        assert_eq!((line.attempt, line.process), (2, 99));
        assert_eq!(Line::parse("beat 12 task 7 2"), None);
        assert_eq!(Line::parse("bleat 12 task 7 2 99"), None);
    }
}
