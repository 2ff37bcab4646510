//! The store's history: every revision from the first to the last, with the time by which it was surely there.
//!
//! One watch at every member, by way of the bridge: whichever tells a revision first is believed, so that a member that is
//! frozen or cut off delays nothing. Revisions follow each other without a gap, or the recording has failed.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Lines, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use etcd_client::{Event, EventType, WatchOptions, WatchResponse};
use serde::{Deserialize, Serialize};
use windlass_sim::core::ids::{LeaseId, Revision};
use windlass_sim::core::keyspace::Key;
use windlass_sim::core::kv::{Edit, Entry};
use windlass_sim::core::store::{Found, Value};

use super::clock::{self, Nanos};
use super::store::client;

/// A member that says nothing for so long is asked whether it still watches.
const SILENCE: Duration = Duration::from_secs(2);
/// How large a piece of news may be: a watch that was away comes back with all that it missed.
const NEWS_MAX: usize = 1 << 30;

/// One revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number.
    #[serde(rename = "r")]
    pub revision: u64,
    /// When it was first told.
    #[serde(rename = "t")]
    pub at: Nanos,
    /// What it did, in order.
    #[serde(rename = "e")]
    pub writes: Vec<Written>,
}

/// What a revision did to one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Where.
    #[serde(rename = "k")]
    pub key: String,
    /// What, or nothing when the key was removed.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// When this life of the key began.
    #[serde(rename = "c", default)]
    pub created: u64,
    /// How often it was written in this life.
    #[serde(rename = "n", default)]
    pub version: u64,
    /// Its lease, if it has one.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<i64>,
}

impl Recorded {
    /// The same in the words of the store's model.
    pub fn edits(&self) -> Vec<Edit> {
        let edit = |it: &Written| {
            let key = Key::from_store(it.key.as_str());
            let Some(value) = &it.value else {
                return Edit::Delete { key };
            };
            let found = Found {
                created: Revision(it.created),
                modified: Revision(self.revision),
                value: Value::from(value.clone().into_bytes()),
            };
            let entry = Entry {
                found,
                version: it.version,
                lease: it.lease.map(LeaseId),
            };
            Edit::Put { key, entry }
        };
        self.writes.iter().map(edit).collect()
    }
}

/// Records until it is dropped.
#[derive(Debug)]
pub struct Recorder {
    sink: Arc<Sink>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
struct Sink {
    file: Mutex<BufWriter<File>>,
    /// The last revision that was written.
    last: AtomicU64,
    broken: Mutex<Option<String>>,
}

impl Recorder {
    /// Records what these members tell, from the first revision on.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn start(endpoints: &[String], path: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let sink = Arc::new(Sink {
            file: Mutex::new(BufWriter::new(File::create(path)?)),
            // A store begins at revision 1, which no write made.
            last: AtomicU64::new(1),
            broken: Mutex::default(),
        });
        for endpoint in endpoints {
            let (endpoint, sink) = (endpoint.clone(), Arc::clone(&sink));
            runtime.spawn(async move {
                loop {
                    // Members come and go; what is missing is missed at the end.
                    drop(follow(&endpoint, &sink).await);
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            });
        }
        Ok(Self {
            sink,
            _runtime: runtime,
        })
    }

    /// The last revision that is surely recorded.
    pub fn last(&self) -> u64 {
        self.sink.last.load(Ordering::SeqCst)
    }

    /// Leaves nothing in memory, and says whether the record is whole up to now.
    ///
    /// # Errors
    /// When it has a gap.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.sink.file().flush()?;
        let broken = self
            .sink
            .broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*broken {
            Some(why) => bail!("the history is not whole: {why}"),
            None => Ok(()),
        }
    }
}

impl Sink {
    fn file(&self) -> std::sync::MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes whole revisions, in order; those that are known are known to be the same.
    fn take(&self, response: &WatchResponse) -> anyhow::Result<()> {
        let at = clock::now();
        let mut file = self.file();
        for events in response
            .events()
            .chunk_by(|a, b| revision_of(a) == revision_of(b))
        {
            let revision = events.first().map(revision_of).unwrap_or_default();
            let last = self.last.load(Ordering::SeqCst);
            if revision <= last {
                continue;
            }
            ensure!(revision == last + 1, "after {last} came {revision}");
            let writes = events.iter().map(written).collect::<Result<_, _>>()?;
            let recorded = Recorded {
                revision,
                at,
                writes,
            };
            serde_json::to_writer(&mut *file, &recorded)?;
            file.write_all(b"\n")?;
            self.last.store(revision, Ordering::SeqCst);
        }
        Ok(())
    }

    fn fail(&self, why: String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert(why);
    }
}

/// Watches at one member until something is wrong with it.
async fn follow(endpoint: &str, sink: &Sink) -> anyhow::Result<()> {
    let client = client(endpoint).await?;
    let from = i64::try_from(sink.last.load(Ordering::SeqCst) + 1)?;
    let options = WatchOptions::new()
        .with_all_keys()
        .with_start_revision(from);
    let mut watches = client.watch_client().max_decoding_message_size(NEWS_MAX);
    let watch = watches.watch("", Some(options));
    let mut watch = tokio::time::timeout(SILENCE * 2, watch).await??;
    let mut asked = false;
    loop {
        match tokio::time::timeout(SILENCE, watch.message()).await {
            Ok(message) => {
                let response = message?.context("the watch ended")?;
                asked = false;
                if response.compact_revision() > 0 {
                    let compacted = u64::try_from(response.compact_revision())?;
                    if compacted > sink.last.load(Ordering::SeqCst) + 1 {
                        sink.fail(format!("{endpoint} has compacted up to {compacted}"));
                    }
                    bail!("compacted");
                }
                if response.canceled() {
                    bail!("cancelled");
                }
                if let Err(error) = sink.take(&response) {
                    sink.fail(format!("{endpoint}: {error:#}"));
                    bail!("broken");
                }
            }
            Err(_) if asked => bail!("silent"),
            Err(_) => {
                asked = true;
                watch.request_progress().await?;
            }
        }
    }
}

fn revision_of(event: &Event) -> u64 {
    let revision = event.kv().map(|it| it.mod_revision()).unwrap_or_default();
    u64::try_from(revision).unwrap_or_default()
}

fn written(event: &Event) -> anyhow::Result<Written> {
    let kv = event.kv().context("an event has a key")?;
    let is_there = event.event_type() == EventType::Put;
    let value = is_there.then(|| kv.value_str().map(str::to_owned));
    Ok(Written {
        key: kv.key_str()?.to_owned(),
        value: value.transpose()?,
        created: u64::try_from(kv.create_revision())?,
        version: u64::try_from(kv.version())?,
        lease: Some(kv.lease()).filter(|it| *it != 0),
    })
}

/// Reads a history, revision by revision.
#[derive(Debug)]
pub struct History {
    lines: Lines<BufReader<File>>,
}

impl History {
    /// Opens a recorded one.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let lines = BufReader::new(File::open(path)?).lines();
        Ok(Self { lines })
    }
}

impl Iterator for History {
    type Item = anyhow::Result<Recorded>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        let parse = |line: std::io::Result<String>| -> anyhow::Result<Recorded> {
            serde_json::from_str(&line?).context("a revision")
        };
        Some(parse(line))
    }
}
