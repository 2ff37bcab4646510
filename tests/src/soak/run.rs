//! One run: an etcd and `windlass bench run` of their own, looked at from outside while it lasts, and counted at its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bench::machine::Machine;
use crate::client::Client;
use crate::etcd::Etcd;
use crate::process::Process;
use crate::{binary, usage};

/// What a large and busy etcd needs, as the guide says.
pub const ETCD: [&str; 6] = [
    "--quota-backend-bytes",
    QUOTA,
    "--snapshot-count",
    "10000",
    "--experimental-compaction-batch-limit",
    "5000",
];
const QUOTA: &str = "8589934592";

/// How many parts a run has that are told one by one.
const PARTS: u32 = 60;

/// How long a scheduler that counts keeps ended tasks: none of them may go before it has counted them.
const COUNTING: &str = "365d";

/// What is run.
#[derive(Debug, Clone, Serialize)]
pub struct Options {
    /// Tasks a second.
    pub rate: u64,
    /// For so long.
    pub lasts: Duration,
    /// How long ended tasks are kept.
    pub retention: Duration,
    /// Where the report goes.
    pub folder: PathBuf,
}

/// One part of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// When it ended.
    pub until_seconds: f64,
    /// Tasks whose completion was recorded in it.
    pub completed: f64,
    /// How often a task was refused in it, and submitted again later.
    pub refused: f64,
    /// From submission to acknowledgement: all but one in a hundred waited no longer, in milliseconds.
    pub ack_p99_ms: f64,
    /// From acknowledgement to start: half of the tasks waited no longer, in milliseconds. Zero when none started.
    pub p50_ms: f64,
    /// All but one in a hundred.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Memory of Windlass: submitters, scheduler and workers.
    pub windlass_bytes: f64,
    /// Memory of etcd, with the pages of its file that are in memory.
    pub etcd_bytes: f64,
    /// What is in use in etcd's file. Zero when nobody told.
    pub used_bytes: f64,
    /// The file.
    pub file_bytes: f64,
}

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Soaked {
    /// What was asked for.
    pub options: Options,
    /// Where.
    pub machine: Machine,
    /// Part by part.
    pub parts: Vec<Part>,
    /// What the store holds at the end, by the totals that commit with what they count.
    pub totals: Totals,
    /// All that `windlass bench run` told, but for its parts.
    pub told: Value,
}

/// What was counted at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks that were acknowledged.
    pub acknowledged: u64,
    /// Tasks that the store knows to have been accepted.
    pub total: u64,
    /// Recorded completions.
    pub completed: u64,
    /// Tasks that have not ended.
    pub live: u64,
    /// Attempts that were lost.
    pub lost_attempts: u64,
}

/// Runs it. `say` hears what is going on.
///
/// # Errors
/// When anything fails.
pub fn run(options: &Options, say: impl Fn(&str)) -> anyhow::Result<Soaked> {
    std::fs::create_dir_all(&options.folder)?;
    let machine = Machine::this()?;
    let etcd = Etcd::durable(&ETCD);
    let tasks = options.rate * options.lasts.as_secs();
    say(&format!("{tasks} tasks, {} a second", options.rate));
    let mut told = bench(options, tasks, &etcd, &say)?;
    let parts: Vec<Value> = serde_json::from_value(told["value"]["intervals"].take())?;
    let parts = parts
        .iter()
        .map(|part| of(part, &told["etcd"]))
        .collect::<anyhow::Result<_>>()?;
    let totals = count(&etcd, tasks)?;
    Ok(Soaked {
        options: options.clone(),
        machine,
        parts,
        totals,
        told: told["value"].take(),
    })
}

/// What the measurement printed, and how large etcd was at each second.
fn bench(options: &Options, tasks: u64, etcd: &Etcd, say: &impl Fn(&str)) -> anyhow::Result<Value> {
    let seconds = |span: Duration| format!("{}ms", span.as_millis());
    let every = options.lasts / PARTS;
    let printed = options.folder.join("bench.json");
    let mut child = Command::new(binary::windlass())
        .args(["bench", "run", "-o", "json", "--store", etcd.endpoint()])
        .args(["--etcd-quota", QUOTA, "--tasks", &tasks.to_string()])
        .args(["--rate", &options.rate.to_string()])
        .args(["--retention", &seconds(options.retention)])
        .args(["--interval", &seconds(every)])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&printed)?)
        .spawn()?;
    let (began, mut sizes) = (Instant::now(), Vec::new());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_secs(1));
        sizes.push(usage::resident_bytes(etcd.id()));
        if sizes.len() % 60 == 0 {
            let mib = sizes.last().copied().unwrap_or_default() >> 20;
            say(&format!("{:?}: etcd has {mib} MiB", began.elapsed()));
        }
    };
    ensure!(status.success(), "windlass bench run ended with {status}");
    let text = std::fs::read(&printed)?;
    let value: Value = serde_json::from_slice(&text).context("it printed no JSON")?;
    Ok(serde_json::json!({"value": value, "etcd": sizes}))
}

/// A part as it was told, with etcd's memory by the second.
fn of(told: &Value, etcd: &Value) -> anyhow::Result<Part> {
    let number = |path: &str| {
        let found = told.pointer(path).and_then(Value::as_f64);
        found.with_context(|| format!("no {path} in {told}"))
    };
    let if_told = |path: &str| told.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
    let until_seconds = number("/until_seconds")?;
    let sizes = etcd.as_array().context("etcd's sizes are a list")?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a run of fewer seconds than fit"
    )]
    let second = (until_seconds as usize).clamp(1, sizes.len().max(1));
    let etcd_bytes = sizes.get(second - 1).and_then(Value::as_f64);
    Ok(Part {
        until_seconds,
        completed: number("/completed")?,
        refused: number("/refused")?,
        ack_p99_ms: if_told("/submit_to_ack_ms/p99"),
        p50_ms: if_told("/submit_to_start_ms/p50"),
        p99_ms: if_told("/submit_to_start_ms/p99"),
        max_ms: if_told("/submit_to_start_ms/max"),
        windlass_bytes: number("/rss_bytes")?,
        etcd_bytes: etcd_bytes.context("etcd's size is not known")?,
        used_bytes: if_told("/store/used"),
        file_bytes: if_told("/store/size"),
    })
}

/// Counts what a scheduler that was not there finds in the store.
fn count(etcd: &Etcd, acknowledged: u64) -> anyhow::Result<Totals> {
    let keys = etcd.keys();
    let key = keys.first().context("the store is empty")?;
    let prefix = key.split('/').nth(1).context("keys have a prefix")?;
    let more = ["--prefix", &format!("/{prefix}"), "--retention", COUNTING];
    let mut scheduler = Process::scheduler(etcd, "counts", &more);
    let stats = Client::of([&mut scheduler]).get("/api/v1/stats");
    let number = |path: &str| {
        let found = stats.pointer(path).and_then(Value::as_u64);
        found.with_context(|| format!("no {path} in {stats}"))
    };
    Ok(Totals {
        acknowledged,
        total: number("/tasks/total")?,
        completed: number("/tasks/completed")?,
        live: number("/tasks/scheduled")?
            + number("/tasks/pending")?
            + number("/tasks/running")?
            + number("/tasks/retrying")?,
        lost_attempts: number("/attempts/lost")?,
    })
}

/// Writes the record, for programs.
///
/// # Errors
/// When it cannot be written.
pub fn write(soaked: &Soaked, folder: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(soaked)?;
    Ok(std::fs::write(folder.join("soak.json"), text)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_gets_the_memory_that_etcd_had_at_its_end() {
        let told = |until: f64| {
            json!({
                "until_seconds": until, "completed": 7, "refused": 0, "rss_bytes": 5,
                "submit_to_ack_ms": {"p99": 9.0}, "submit_to_start_ms": {"p50": 0.5, "p99": 2.0, "max": 3.0}, "store": {"used": 8, "size": 9},
            })
        };
        let sizes = json!([10, 20, 30]);
        let bytes = |until| of(&told(until), &sizes).unwrap().etcd_bytes;
        assert_eq!([0.2, 2.1, 9.0].map(bytes), [10.0, 20.0, 30.0]);
        assert!(of(&json!({"until_seconds": 1}), &sizes).is_err());
        assert!(of(&told(1.0), &json!([])).is_err());
    }
}
