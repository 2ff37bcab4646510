//! What the run itself did and saw: facts with their times, written as they happen.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use windlass_sim::core::gateway::RequestId;
use windlass_sim::fact::Fact;

use super::clock::{self, Nanos};

/// The file of a run's own facts.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<BufWriter<File>>,
    requests: AtomicU64,
}

impl Journal {
    /// A new one.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            file: Mutex::new(BufWriter::new(File::create(path)?)),
            requests: AtomicU64::new(0),
        })
    }

    /// Notes a fact of this moment.
    pub fn note(&self, fact: &Fact) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(&(clock::now(), fact)).expect("facts can be spelled");
        writeln!(file, "{line}").expect("the journal can be written");
    }

    /// Names a request.
    pub fn request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Leaves nothing in memory.
    pub fn flush(&self) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush().expect("the journal can be written");
    }

    /// All that was noted, in order.
    ///
    /// # Errors
    /// When there is none, or it is no journal.
    pub fn read(path: &Path) -> anyhow::Result<Vec<(Nanos, Fact)>> {
        let lines = BufReader::new(File::open(path)?).lines();
        let parse = |line: std::io::Result<String>| -> anyhow::Result<(Nanos, Fact)> {
            serde_json::from_str(&line?).context("a fact")
        };
        lines.map(parse).collect()
    }
}
