//! A disk for tests.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::{Database, StorageBackend};
use windlass_core::rng::Rng;

use super::disk::Disk;
use super::{EmbeddedError, EmbeddedStore, Options};
use crate::clock::{Clock, SystemClock};

/// A disk whose power can be cut: what was not synced may be there afterwards, or not.
#[derive(Debug, Default)]
pub(super) struct Plug {
    pub(super) db: Medium,
    pub(super) log: Medium,
}

/// One of its files.
#[derive(Debug, Clone, Default)]
pub(super) struct Medium {
    content: Arc<Mutex<Content>>,
    /// No sync ends while this is locked.
    pub(super) gate: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) synced: Vec<u8>,
    seen: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
    syncs: u64,
    broken: bool,
}

impl Plug {
    /// The disk that is found when power comes back.
    pub(super) fn cut(&self, rng: &mut Rng) -> Self {
        Self {
            db: self.db.cut(rng),
            log: self.log.cut(rng),
        }
    }

    pub(super) fn open(&self, log_bytes_min: u64, slot_bytes: u64) -> EmbeddedStore {
        self.try_open(log_bytes_min, slot_bytes).unwrap()
    }

    pub(super) fn try_open(
        &self,
        log_bytes_min: u64,
        slot_bytes: u64,
    ) -> Result<EmbeddedStore, EmbeddedError> {
        let db = Database::builder()
            .create_with_backend(self.db.clone())
            .map_err(redb::Error::from)?;
        let options = Options {
            log_bytes_min,
            slot_bytes,
            ..Options::default()
        };
        let clock = SystemClock::start();
        let (disk, snapshots, kv) = Disk::load(db, self.log.clone(), options, clock.now())?;
        EmbeddedStore::start(kv, Some((disk, snapshots)), clock)
    }
}

impl Medium {
    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap()
    }

    fn wait_for_gate(&self) {
        drop(self.gate.lock().unwrap());
    }

    pub(super) fn syncs(&self) -> u64 {
        self.content().syncs
    }

    pub(super) fn break_writes(&self) {
        self.content().broken = true;
    }

    /// Writes last in blocks of 512 bytes, each by itself.
    pub(super) fn cut(&self, rng: &mut Rng) -> Self {
        let content = self.content();
        let mut image = content.synced.clone();
        for (offset, data) in &content.pending {
            for (at, block) in (*offset..).step_by(512).zip(data.chunks(512)) {
                if rng.below(2) == 0 {
                    let end = at + block.len();
                    image.resize(image.len().max(end), 0);
                    image[at..end].copy_from_slice(block);
                }
            }
        }
        Self::holding(image)
    }

    pub(super) fn holding(image: Vec<u8>) -> Self {
        let content = Content {
            synced: image.clone(),
            seen: image,
            ..Content::default()
        };
        Self {
            content: Arc::new(Mutex::new(content)),
            ..Self::default()
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        out.copy_from_slice(&self.content().seen[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content();
        content.seen.resize(len as usize, 0);
        // A file system keeps lengths in its journal.
        content.synced.resize(len as usize, 0);
        content
            .pending
            .retain(|(at, data)| at + data.len() <= len as usize);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wait_for_gate();
        let mut content = self.content();
        if content.broken {
            return Err(io::Error::other("broken"));
        }
        content.syncs += 1;
        for (at, data) in std::mem::take(&mut content.pending) {
            content.synced[at..at + data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = self.content();
        let at = offset as usize;
        content.seen[at..at + data.len()].copy_from_slice(data);
        content.pending.push((at, data.to_vec()));
        Ok(())
    }
}
