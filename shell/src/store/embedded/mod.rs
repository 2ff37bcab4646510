//! The store inside this process: the pure [`Kv`] on a thread of its own, made durable by a log in an embedded database.
//!
//! Calls that wait together are handled together and made durable together, by one fsync, on a second thread: while the
//! disk writes one group, the next one is handled. Answers and news of watches leave only after the fsync that covers
//! them, so nobody ever knows what a crash can take back.

mod chunk;
mod disk;
mod engine;
mod frame;
mod group;
mod log;
mod memory;
mod snapshot;
mod writer;

#[cfg(test)]
mod plug;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::watch;
use windlass_core::ids::OpId;
use windlass_core::kv::{ClientId, Kv, Limits, RecoverError};
use windlass_core::store::Call;

use self::disk::Disk;
use self::engine::{Engine, Message};
pub use self::memory::MemoryStore;
use self::snapshot::Snapshots;
use self::writer::Writer;
use super::{Answers, Owed, StorePort};
use crate::clock::Clock;

/// A store in this process. Dropping it makes what was asked durable, answers it, and ends the store.
#[derive(Debug)]
pub struct EmbeddedStore {
    calls: mpsc::Sender<Message>,
    clients: AtomicU64,
    thread: Option<JoinHandle<Result<(), EmbeddedError>>>,
    stopped: watch::Receiver<()>,
}

/// What may be chosen about an embedded store.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the store grants and takes.
    pub limits: Limits,
    /// The log never has fewer bytes before it is replaced by a snapshot: a small store would do nothing else.
    pub log_bytes_min: u64,
    /// How large the slots are into which the file of a new store's log is cut: whole blocks of 4 KiB, two at least.
    pub slot_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // No watch of this port ever resumes, so no history is kept.
            limits: Limits {
                history_max: 0,
                ..Limits::default()
            },
            log_bytes_min: 64 << 20,
            slot_bytes: 4 << 20,
        }
    }
}

/// Why an embedded store cannot be opened, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Only one process at a time may use the directory.
    #[error("{} is in use by another process, or was opened twice by this one", .0.display())]
    InUse(PathBuf),
    /// The directory was written by another version of the store.
    #[error("the data has format {found}, this program reads format {expected}")]
    Format {
        /// What the directory says.
        found: u64,
        /// What this program knows.
        expected: u64,
    },
    /// A record cannot be read.
    #[error("the data is damaged: {0}")]
    Damaged(#[from] postcard::Error),
    /// A chunk of the log is missing, and not at its end.
    #[error("the data is damaged: part {missing} of the log is missing, but part {found} is there")]
    LogBroken {
        /// The first that is missing.
        missing: u64,
        /// One behind it.
        found: u64,
    },
    /// The records do not make a store.
    #[error("the data is damaged: {0}")]
    Inconsistent(#[from] RecoverError),
    /// The database failed.
    #[error("the store's database failed: {0}")]
    Database(#[from] redb::Error),
    /// The file system failed.
    #[error("the store's directory failed: {0}")]
    Io(#[from] std::io::Error),
    /// The store's thread died of a bug.
    #[error("the store's thread panicked")]
    Panicked,
}

impl EmbeddedStore {
    /// Opens the store in a directory, which is made if it is missing. Everything that was ever acknowledged is there
    /// again; leases have their full time to live.
    pub fn open(dir: &Path, clock: impl Clock) -> Result<Self, EmbeddedError> {
        Self::open_with(dir, clock, Options::default())
    }

    /// Opens the store in a directory, with other options than the usual.
    pub fn open_with(
        dir: &Path,
        clock: impl Clock,
        options: Options,
    ) -> Result<Self, EmbeddedError> {
        let (disk, snapshots, kv) = Disk::open(dir, options, clock.now())?;
        tracing::info!(dir = %dir.display(), revision = %kv.revision(), keys = kv.len(), "store opened");
        Self::start(kv, Some((disk, snapshots)), clock)
    }

    /// A store that is forgotten when it is dropped.
    pub fn in_memory(clock: impl Clock) -> Result<Self, EmbeddedError> {
        Self::start(Kv::new(Options::default().limits), None, clock)
    }

    fn start(
        kv: Kv,
        disk: Option<(Disk, Snapshots)>,
        clock: impl Clock,
    ) -> Result<Self, EmbeddedError> {
        let (calls, inbox) = mpsc::channel();
        let engine = Engine::new(kv, disk.is_some(), clock);
        let writer = disk
            .map(|(disk, snapshots)| Writer::start(disk, snapshots, calls.clone()))
            .transpose()?;
        let (alive, stopped) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                // Dropped when the thread ends, however it ends.
                let _alive = alive;
                engine.run(&inbox, writer)
            })?;
        Ok(Self {
            calls,
            clients: AtomicU64::new(0),
            thread: Some(thread),
            stopped,
        })
    }

    /// A new client, whose answers go to `answers`.
    pub fn client(&self, answers: Answers) -> Box<dyn StorePort> {
        let client = ClientId(self.clients.fetch_add(1, Ordering::Relaxed));
        let calls = self.calls.clone();
        // A store that has stopped answers every call by its loss.
        let _ = calls.send(Message::Join(client, answers.clone()));
        Box::new(EmbeddedPort {
            client,
            calls,
            answers,
        })
    }

    /// Whether the store still answers. It stops for good when its disk fails.
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Done when the store answers no more. [`close`](Self::close) says why.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move { while stopped.changed().await.is_ok() {} }
    }

    /// Ends the store: what was asked before is made durable and answered. Says why it had stopped already, if it had.
    pub fn close(mut self) -> Result<(), EmbeddedError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), EmbeddedError> {
        // If nobody receives it, the thread has ended by itself.
        let _ = self.calls.send(Message::Stop);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| EmbeddedError::Panicked)?,
            None => Ok(()),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "store ended badly");
        }
    }
}

/// One client's way in.
#[derive(Debug)]
struct EmbeddedPort {
    client: ClientId,
    calls: mpsc::Sender<Message>,
    answers: Answers,
}

impl StorePort for EmbeddedPort {
    fn call(&mut self, op: OpId, call: Call) {
        let message = Message::Call {
            client: self.client,
            op,
            owed: Owed::new(op, &call, self.answers.clone()),
            call,
        };
        // A message that cannot be sent is dropped, and what it owes is answered by its loss.
        let _ = self.calls.send(message);
    }
}

impl Drop for EmbeddedPort {
    fn drop(&mut self) {
        let _ = self.calls.send(Message::Leave(self.client));
    }
}
