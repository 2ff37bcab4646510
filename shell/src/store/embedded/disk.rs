//! What lies on the disk: a log of everything that changed, in a file of its own, and a database with a snapshot that makes
//! its beginning superfluous.
//!
//! Changing each key in place would cost the database three times as much as appending a group's changes as one record
//! (measured: 0.4 against 1.25 million changes a second in groups of 512). So the log is all that a commit writes, and
//! parts of a snapshot now and then. The log is no table of the database either: there a commit changes eight pages besides
//! its record, all over the file, and waits for ten writes where a log waits for one.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageBackend,
    TableDefinition,
};
use serde::Serialize;
use windlass_core::kv::{Kv, Log, Stored};
use windlass_core::time::Now;

use super::chunk::{Chunk, Join, parts};
use super::frame::Frame;
use super::log::{Layout, LogFile};
use super::snapshot::{Kept, Snapshot, Snapshots, Write};
use super::{EmbeddedError, Options};
use crate::host::entropy;

const FORMAT: u64 = 2;
/// The format whose log is a table of the database. It is still read.
const FORMAT_LOG_IN_TABLE: u64 = 1;
const FILE: &str = "store.redb";
const LOG_FILE: &str = "store.log";

/// What the database may keep in memory. It is only ever read from the beginning to the end.
const CACHE_BYTES: usize = 32 << 20;

/// Settings, by name.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The pieces of the log's chunks, by the number of the chunk and of the piece, as format 1 had them.
const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
/// The pieces of a snapshot's chunks, by the number of the snapshot, of the chunk and of the piece.
const SNAPSHOT: TableDefinition<'_, (u64, u64, u32), &[u8]> = TableDefinition::new("snapshot");

/// The store's database, and its log.
#[derive(Debug)]
pub(super) struct Disk {
    db: Database,
    log: LogFile,
}

fn db_error(error: impl Into<redb::Error>) -> EmbeddedError {
    EmbeddedError::Database(error.into())
}

impl Disk {
    /// Opens the database, or makes one, and rebuilds the store from it.
    pub(super) fn open(
        dir: &Path,
        options: Options,
        now: Now,
    ) -> Result<(Self, Snapshots, Kv), EmbeddedError> {
        fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        let db = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(|error| {
                if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
                    EmbeddedError::InUse(path)
                } else {
                    db_error(error)
                }
            })?;
        // Only the database is locked, and that before the log is looked at.
        let log = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOG_FILE))?;
        // The files themselves must not vanish with a crash, not only what is in them.
        File::open(dir)?.sync_all()?;
        Self::load(db, FileBackend::new(log).map_err(db_error)?, options, now)
    }

    /// Rebuilds the store from its database and its log.
    pub(super) fn load(
        db: Database,
        log: impl StorageBackend,
        options: Options,
        now: Now,
    ) -> Result<(Self, Snapshots, Kv), EmbeddedError> {
        let mut log: Box<dyn StorageBackend> = Box::new(log);
        let layout = Layout {
            seed: entropy(),
            slot_bytes: options.slot_bytes,
        };
        if prepare(&db, layout)? == FORMAT_LOG_IN_TABLE {
            log = move_log(&db, log, layout)?;
        }
        Self::read(db, log, options, now)
    }

    fn read(
        db: Database,
        log: Box<dyn StorageBackend>,
        options: Options,
        now: Now,
    ) -> Result<(Self, Snapshots, Kv), EmbeddedError> {
        let txn = db.begin_read().map_err(db_error)?;
        let meta = txn.open_table(META).map_err(db_error)?;
        let layout: Option<Layout> = setting(&meta, "log")?;
        let layout = layout.expect("whoever notes the format notes the log's layout");
        let snapshot: Option<Snapshot> = setting(&meta, "snapshot")?;
        let (number, from) = snapshot.map_or((0, 0), |it| (it.number, it.log_from));
        let (log, frames) = LogFile::open(log, layout, from)?;

        let failed = RefCell::new(None);
        let mut snapshot_bytes = 0;
        let snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
        let rows = snapshots
            .range((number, 0, 0)..(number + 1, 0, 0))
            .map_err(db_error)?;
        let stored = chunks(pieces(rows, |(_, chunk, _)| chunk), &failed)
            .inspect(|(_, chunk)| snapshot_bytes += chunk.len() as u64)
            .flat_map(|(_, chunk)| parts::<Stored>(&chunk, &failed));
        let read = |frame: &Frame| Ok((frame.chunk, log.read(frame)?));
        let changes = chunks(frames.iter().map(read), &failed)
            .flat_map(|(_, chunk)| parts::<Log>(&chunk, &failed));
        let head = snapshot.map(|it| it.head);
        let kv = Kv::recover(options.limits, now, head, stored, changes);
        // What cannot be read explains what does not fit together.
        if let Some(error) = failed.take() {
            return Err(error);
        }
        let kv = kv?;
        let snapshots = Snapshots::after(Kept {
            log_next: frames.last().map_or(from, |frame| frame.chunk + 1),
            log_bytes: frames.iter().map(|frame| u64::from(frame.bytes)).sum(),
            log_bytes_min: options.log_bytes_min,
            number,
            snapshot_bytes,
        });
        Ok((Self { db, log }, snapshots, kv))
    }

    /// Makes a group's records durable, all or none.
    pub(super) fn commit(&mut self, write: &Write, log: &Chunk) -> Result<(), EmbeddedError> {
        self.log.append(write.log_at, log.bytes())?;
        let Some(part) = &write.snapshot else {
            return Ok(());
        };
        let mut txn = self.db.begin_write().map_err(db_error)?;
        if !part.is_last {
            // Until it is whole, nobody reads it: then one sync makes all of it durable.
            txn.set_durability(Durability::None).map_err(db_error)?;
        }
        {
            let mut table = txn.open_table(SNAPSHOT).map_err(db_error)?;
            for (piece, number) in part.chunk.pieces().zip(0..) {
                table
                    .insert((part.of.number, part.chunk_at, number), piece)
                    .map_err(db_error)?;
            }
        }
        if part.is_last {
            end_snapshot(&txn, &part.of)?;
        }
        txn.commit().map_err(db_error)?;
        if part.is_last {
            self.log.forget(part.of.log_from)?;
        }
        Ok(())
    }
}

/// Makes the tables, drops what a crash left of an unfinished snapshot, and says which format the store has.
fn prepare(db: &Database, layout: Layout) -> Result<u64, EmbeddedError> {
    let txn = db.begin_write().map_err(db_error)?;
    let found: Option<u64>;
    {
        let mut meta = txn.open_table(META).map_err(db_error)?;
        found = setting(&meta, "format")?;
        match found {
            None => {
                put_setting(&mut meta, "format", &FORMAT)?;
                put_setting(&mut meta, "log", &layout)?;
            }
            Some(FORMAT | FORMAT_LOG_IN_TABLE) => {}
            Some(found) => {
                let expected = FORMAT;
                return Err(EmbeddedError::Format { found, expected });
            }
        }
        let whole = setting(&meta, "snapshot")?.map_or(0, |it: Snapshot| it.number);
        let mut snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
        snapshots
            .retain_in((whole + 1, 0, 0).., |_, _| false)
            .map_err(db_error)?;
    }
    txn.commit().map_err(db_error)?;
    Ok(found.unwrap_or(FORMAT))
}

/// Moves the log from its table to its file. Whoever is stopped at that begins anew, with another seed.
fn move_log(
    db: &Database,
    medium: Box<dyn StorageBackend>,
    layout: Layout,
) -> Result<Box<dyn StorageBackend>, EmbeddedError> {
    let (mut log, _) = LogFile::open(medium, layout, 0)?;
    let txn = db.begin_write().map_err(db_error)?;
    {
        let failed = RefCell::new(None);
        let mut meta = txn.open_table(META).map_err(db_error)?;
        let from = setting(&meta, "snapshot")?.map_or(0, |it: Snapshot| it.log_from);
        let table = txn.open_table(LOG).map_err(db_error)?;
        let rows = table.range((from, 0)..).map_err(db_error)?;
        for (number, chunk) in chunks(pieces(rows, |(chunk, _)| chunk), &failed) {
            log.append(number, &chunk)?;
        }
        if let Some(error) = failed.take() {
            return Err(error);
        }
        put_setting(&mut meta, "format", &FORMAT)?;
        put_setting(&mut meta, "log", &layout)?;
    }
    txn.delete_table(LOG).map_err(db_error)?;
    txn.commit().map_err(db_error)?;
    Ok(log.into_medium())
}

/// Puts the whole snapshot in force, and drops what it makes superfluous.
fn end_snapshot(txn: &redb::WriteTransaction, whole: &Snapshot) -> Result<(), EmbeddedError> {
    let mut meta = txn.open_table(META).map_err(db_error)?;
    put_setting(&mut meta, "snapshot", whole)?;
    let mut snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
    snapshots
        .retain_in(..(whole.number, 0, 0), |_, _| false)
        .map_err(db_error)?;
    tracing::debug!(number = whole.number, "snapshot taken");
    Ok(())
}

/// The pieces in a table's rows, each with its chunk's number.
fn pieces<'a, K: redb::Key + 'static>(
    rows: redb::Range<'a, K, &'static [u8]>,
    number: impl Fn(K::SelfType<'_>) -> u64 + 'a,
) -> impl Iterator<Item = Result<(u64, Vec<u8>), EmbeddedError>> + 'a {
    rows.map(move |row| {
        let (key, piece) = row.map_err(db_error)?;
        Ok((number(key.value()), piece.value().to_vec()))
    })
}

/// The chunks of these pieces with their numbers, up to the first that cannot be read: then `failed` says why.
fn chunks<'a>(
    pieces: impl Iterator<Item = Result<(u64, Vec<u8>), EmbeddedError>> + 'a,
    failed: &'a RefCell<Option<EmbeddedError>>,
) -> impl Iterator<Item = (u64, Vec<u8>)> + 'a {
    Join::new(pieces).map_while(|chunk| {
        chunk
            .map_err(|error| *failed.borrow_mut() = Some(error))
            .ok()
    })
}

fn setting<T: serde::de::DeserializeOwned>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, EmbeddedError> {
    match meta.get(name).map_err(db_error)? {
        Some(bytes) => Ok(Some(postcard::from_bytes(bytes.value())?)),
        None => Ok(None),
    }
}

fn put_setting(
    meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    name: &str,
    value: &impl Serialize,
) -> Result<(), EmbeddedError> {
    let bytes = postcard::to_stdvec(value)?;
    meta.insert(name, bytes.as_slice()).map_err(db_error)?;
    Ok(())
}
