//! When is a snapshot taken, and which part of it goes with which commit?
//!
//! Once the log has grown twice as large as what the store holds, a new snapshot is taken, some keys with each commit, so
//! that none waits long; when it is whole, the old one and the log before it are dropped. That bounds the disk to about
//! five times what the store holds, and the time to open it.

use serde::{Deserialize, Serialize};
use windlass_core::keyspace::Key;
use windlass_core::kv::{Head, Kv, Stored};

use super::chunk::Chunk;

/// How much larger than the last snapshot the log becomes before a new one is taken: what a snapshot costs is spread over
/// that many bytes of log.
const LOG_PER_SNAPSHOT: u64 = 2;

/// How many bytes a snapshot grows for each byte of log: the log grows by half the store until it is whole.
const SNAPSHOT_PACE: usize = 2;

/// A snapshot grows by this at least with each commit, so that it ends.
const SNAPSHOT_STEP_MIN: usize = 64 << 10;

/// A snapshot's name, and where it begins.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) number: u64,
    pub(super) head: Head,
    /// The first chunk of the log that is not part of it.
    pub(super) log_from: u64,
}

/// What one commit writes beside the log's chunk.
#[derive(Debug)]
pub(super) struct Write {
    /// The number of the log's chunk.
    pub(super) log_at: u64,
    /// What goes with it.
    pub(super) snapshot: Option<Part>,
}

/// A part of a snapshot.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) of: Snapshot,
    /// The number of the chunk within the snapshot.
    pub(super) chunk_at: u64,
    pub(super) chunk: Chunk,
    /// With this part the snapshot is whole.
    pub(super) is_last: bool,
}

/// What lay on the disk when it was opened.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) log_next: u64,
    pub(super) log_bytes: u64,
    /// The log never has fewer bytes before it is replaced.
    pub(super) log_bytes_min: u64,
    /// The number of the last snapshot.
    pub(super) number: u64,
    pub(super) snapshot_bytes: u64,
}

/// Decides about snapshots. What it decides is written in the order in which it was decided, or the store ends.
#[derive(Debug)]
pub(super) struct Snapshots {
    kept: Kept,
    growing: Option<Growing>,
}

/// A snapshot that is being taken.
#[derive(Debug)]
struct Growing {
    snapshot: Snapshot,
    behind: Option<Key>,
    chunks: u64,
    bytes: u64,
    /// The log that it will make superfluous.
    log_bytes: u64,
}

impl Snapshots {
    /// Goes on from what lay on the disk.
    pub(super) fn after(kept: Kept) -> Self {
        Self {
            kept,
            growing: None,
        }
    }

    /// What is to be written with the next `log_bytes` of log. `kv` is the store behind them.
    pub(super) fn next(&mut self, log_bytes: usize, kv: &Kv) -> Write {
        let kept = &mut self.kept;
        let log_at = kept.log_next;
        kept.log_next += 1;
        kept.log_bytes += log_bytes as u64;
        let enough = kept.snapshot_bytes * LOG_PER_SNAPSHOT;
        let snapshot = match self.growing.take() {
            Some(growing) => Some(self.grow(growing, log_bytes, kv)),
            None if kept.log_bytes >= kept.log_bytes_min.max(enough) => Some(self.begin(kv)),
            None => None,
        };
        Write { log_at, snapshot }
    }

    /// A snapshot begins with the head and the leases as they are behind the last log record.
    fn begin(&mut self, kv: &Kv) -> Part {
        self.kept.number += 1;
        let growing = Growing {
            snapshot: Snapshot {
                number: self.kept.number,
                head: kv.head(),
                log_from: self.kept.log_next,
            },
            behind: None,
            chunks: 0,
            bytes: 0,
            log_bytes: self.kept.log_bytes,
        };
        let mut chunk = Chunk::default();
        for lease in kv.stored_leases() {
            chunk.push(&lease);
        }
        let growing = self.growing.insert(growing);
        growing.part(chunk, false)
    }

    /// Takes the next keys as they are now: the log since the snapshot began repairs the difference.
    fn grow(&mut self, mut growing: Growing, log_bytes: usize, kv: &Kv) -> Part {
        let enough = (log_bytes * SNAPSHOT_PACE).max(SNAPSHOT_STEP_MIN);
        let mut chunk = Chunk::default();
        let mut behind = None;
        for part in kv.stored_keys(growing.behind.as_ref()) {
            chunk.push(&part);
            if chunk.len() >= enough {
                behind = Some(part);
                break;
            }
        }
        if let Some(Stored::Key { key, .. }) = behind {
            let part = growing.part(chunk, false);
            growing.behind = Some(key);
            self.growing = Some(growing);
            return part;
        }
        let part = growing.part(chunk, true);
        self.kept.log_bytes -= growing.log_bytes;
        self.kept.snapshot_bytes = growing.bytes;
        part
    }
}

impl Growing {
    fn part(&mut self, chunk: Chunk, is_last: bool) -> Part {
        let chunk_at = self.chunks;
        self.chunks += 1;
        self.bytes += chunk.len() as u64;
        Part {
            of: self.snapshot,
            chunk_at,
            chunk,
            is_last,
        }
    }
}
