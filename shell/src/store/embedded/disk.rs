//! What lies on the disk: a log of everything that changed, and a snapshot that makes its beginning superfluous.
//!
//! Changing each key in place would cost the database three times as much as appending a group's changes as one record
//! (measured: 0.4 against 1.25 million changes a second in groups of 512). So the log is all that a commit writes, and
//! parts of a snapshot now and then.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use windlass_core::kv::{Kv, Log, Stored};
use windlass_core::time::Now;

use super::chunk::{Chunk, Join, parts};
use super::snapshot::{Kept, Snapshot, Snapshots, Write};
use super::{EmbeddedError, Options};

const FORMAT: u64 = 1;
const FILE: &str = "store.redb";

/// What the database may keep in memory. It is only ever read from the beginning to the end.
const CACHE_BYTES: usize = 32 << 20;

/// Settings, by name.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The pieces of the log's chunks, by the number of the chunk and of the piece.
const LOG: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("log");
/// The pieces of a snapshot's chunks, by the number of the snapshot, of the chunk and of the piece.
const SNAPSHOT: TableDefinition<'_, (u64, u64, u32), &[u8]> = TableDefinition::new("snapshot");

/// The store's database.
#[derive(Debug)]
pub(super) struct Disk(Database);

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
        // The file itself must not vanish with a crash, not only what is in it.
        File::open(dir)?.sync_all()?;
        Self::load(db, options, now)
    }

    /// Rebuilds the store from its database.
    pub(super) fn load(
        db: Database,
        options: Options,
        now: Now,
    ) -> Result<(Self, Snapshots, Kv), EmbeddedError> {
        Self::prepare(&db)?;
        Self::read(db, options, now)
    }

    /// Makes the tables, and drops what a crash left of an unfinished snapshot.
    fn prepare(db: &Database) -> Result<(), EmbeddedError> {
        let txn = db.begin_write().map_err(db_error)?;
        {
            let mut meta = txn.open_table(META).map_err(db_error)?;
            let found: Option<u64> = setting(&meta, "format")?;
            match found {
                None => put_setting(&mut meta, "format", &FORMAT)?,
                Some(FORMAT) => {}
                Some(found) => {
                    let expected = FORMAT;
                    return Err(EmbeddedError::Format { found, expected });
                }
            }
            let whole = setting(&meta, "snapshot")?.map_or(0, |it: Snapshot| it.number);
            txn.open_table(LOG).map_err(db_error)?;
            let mut snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
            snapshots
                .retain_in((whole + 1, 0, 0).., |_, _| false)
                .map_err(db_error)?;
        }
        txn.commit().map_err(db_error)
    }

    fn read(
        db: Database,
        options: Options,
        now: Now,
    ) -> Result<(Self, Snapshots, Kv), EmbeddedError> {
        let txn = db.begin_read().map_err(db_error)?;
        let meta = txn.open_table(META).map_err(db_error)?;
        let snapshot: Option<Snapshot> = setting(&meta, "snapshot")?;
        let (number, from) = snapshot.map_or((0, 0), |it| (it.number, it.log_from));

        let failed = RefCell::new(None);
        let (mut snapshot_bytes, mut log_bytes, mut log_next) = (0, 0, from);
        let snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
        let rows = snapshots
            .range((number, 0, 0)..(number + 1, 0, 0))
            .map_err(db_error)?;
        let stored = chunks(rows, |(_, chunk, _)| chunk, &failed)
            .inspect(|(_, chunk)| snapshot_bytes += chunk.len() as u64)
            .flat_map(|(_, chunk)| parts::<Stored>(&chunk, &failed));
        let log = txn.open_table(LOG).map_err(db_error)?;
        let rows = log.range((from, 0)..).map_err(db_error)?;
        let log = chunks(rows, |(chunk, _)| chunk, &failed)
            .inspect(|(chunk, bytes)| {
                log_next = chunk + 1;
                log_bytes += bytes.len() as u64;
            })
            .flat_map(|(_, chunk)| parts::<Log>(&chunk, &failed));
        let kv = Kv::recover(options.limits, now, snapshot.map(|it| it.head), stored, log);
        // What cannot be read explains what does not fit together.
        if let Some(error) = failed.take() {
            return Err(error);
        }
        let kv = kv?;
        let snapshots = Snapshots::after(Kept {
            log_next,
            log_bytes,
            log_bytes_min: options.log_bytes_min,
            number,
            snapshot_bytes,
        });
        Ok((Self(db), snapshots, kv))
    }

    /// Makes a group's records durable, all or none.
    pub(super) fn commit(&self, write: &Write, log: &Chunk) -> Result<(), EmbeddedError> {
        let txn = self.0.begin_write().map_err(db_error)?;
        {
            let mut table = txn.open_table(LOG).map_err(db_error)?;
            for (piece, number) in log.pieces().zip(0..) {
                table
                    .insert((write.log_at, number), piece)
                    .map_err(db_error)?;
            }
        }
        if let Some(part) = &write.snapshot {
            let mut table = txn.open_table(SNAPSHOT).map_err(db_error)?;
            for (piece, number) in part.chunk.pieces().zip(0..) {
                table
                    .insert((part.of.number, part.chunk_at, number), piece)
                    .map_err(db_error)?;
            }
            drop(table);
            if part.is_last {
                end_snapshot(&txn, &part.of)?;
            }
        }
        txn.commit().map_err(db_error)
    }
}

/// Puts the whole snapshot in force, and drops what it makes superfluous.
fn end_snapshot(txn: &redb::WriteTransaction, whole: &Snapshot) -> Result<(), EmbeddedError> {
    let mut meta = txn.open_table(META).map_err(db_error)?;
    put_setting(&mut meta, "snapshot", whole)?;
    let mut snapshots = txn.open_table(SNAPSHOT).map_err(db_error)?;
    snapshots
        .retain_in(..(whole.number, 0, 0), |_, _| false)
        .map_err(db_error)?;
    let mut log = txn.open_table(LOG).map_err(db_error)?;
    log.retain_in(..(whole.log_from, 0), |_, _| false)
        .map_err(db_error)?;
    tracing::debug!(number = whole.number, "snapshot taken");
    Ok(())
}

/// The chunks of a table's rows with their numbers, up to the first that cannot be read: then `failed` says why.
fn chunks<'a, K: redb::Key + 'static>(
    rows: redb::Range<'a, K, &'static [u8]>,
    number: impl Fn(K::SelfType<'_>) -> u64 + 'a,
    failed: &'a RefCell<Option<EmbeddedError>>,
) -> impl Iterator<Item = (u64, Vec<u8>)> + 'a {
    let pieces = rows.map(move |row| {
        let (key, piece) = row.map_err(db_error)?;
        Ok((number(key.value()), piece.value().to_vec()))
    });
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
