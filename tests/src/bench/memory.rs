//! A scheduler with very many waiting tasks: the memory that it needs, and how long it takes to know them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::part::Measured;
use super::sizes::Sizes;
use crate::client::{self, Client};
use crate::etcd::Etcd;
use crate::process::Process;
use crate::{PATIENCE, usage, within};

/// What etcd's file may become: a million tasks need more than the default.
const QUOTA: &str = "8589934592";
/// Tasks of one submission.
const ARRAY: usize = 1_000;
/// Submissions under way.
const CONNECTIONS: usize = 8;
const MIB: f64 = 1_048_576.0;

/// # Errors
/// When tasks are not accepted.
pub(super) fn measure(sizes: &Sizes) -> anyhow::Result<Measured> {
    // How etcd keeps them is no part of what is measured.
    let etcd = Etcd::start_with("http", &["--quota-backend-bytes", QUOTA]);
    let start = |id| Process::scheduler(&etcd, id, &["--etcd-quota", QUOTA]);
    let mut old = start("old");
    let client = Client::of([&mut old]);
    let empty = memory(&old, sizes.settled);
    let began = Instant::now();
    submit_all(&client, sizes.waiting_tasks)?;
    let submitted = began.elapsed();
    let tasks = waiting(&client, sizes.waiting_tasks);
    let old_memory = memory(&old, sizes.settled);
    old.terminate();
    ensure!(old.ended() == 0, "the first scheduler did not leave well");
    let began = Instant::now();
    let mut fresh = start("fresh");
    // However long it takes: that is measured.
    let client = Client::of([&mut fresh]);
    let ready = began.elapsed();
    ensure!(
        waiting(&client, sizes.waiting_tasks) == tasks,
        "the fresh scheduler knows others"
    );
    let fresh_memory = memory(&fresh, sizes.settled);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let of_each = |resident: f64| (resident - empty.resident) * MIB / tasks as f64;
    Ok(Measured {
        reached: vec![old_memory.resident, fresh_memory.resident],
        how: format!(
            "A scheduler on etcd, without workers, took {tasks} noop tasks of 256 bytes through the API, in arrays of {ARRAY} \
             over {CONNECTIONS} connections, and then left; another began on what it found. Memory in use (VmRSS) {:?} after \
             each knew them all.",
            sizes.settled
        ),
        details: json!({
            "tasks": tasks,
            "submitted_in_seconds": submitted.as_secs_f64(),
            "cold_start_seconds": ready.as_secs_f64(),
            "empty_mib": empty.resident,
            "old": {"mib": old_memory.resident, "peak_mib": old_memory.peak, "bytes_per_task": of_each(old_memory.resident)},
            "fresh": {"mib": fresh_memory.resident, "peak_mib": fresh_memory.peak, "bytes_per_task": of_each(fresh_memory.resident)},
        }),
    })
}

/// In MiB.
struct Memory {
    resident: f64,
    peak: f64,
}

fn memory(process: &Process, settled: Duration) -> Memory {
    std::thread::sleep(settled);
    Memory {
        resident: mib(usage::resident_bytes(process.id())),
        peak: mib(usage::peak_bytes(process.id())),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// Waits until the scheduler knows of that many, and tells how many it knows: an unanswered submission may have been
/// accepted.
fn waiting(client: &Client, least: usize) -> u64 {
    let least = u64::try_from(least).unwrap_or(u64::MAX);
    within(5 * PATIENCE, "all tasks wait", || {
        Some(client.count("pending")).filter(|it| *it >= least)
    })
}

/// Submits until that many tasks are acknowledged.
fn submit_all(client: &Client, count: usize) -> anyhow::Result<()> {
    let http = client::http().timeout(PATIENCE).build()?;
    let url = format!("{}/api/v1/tasks", client.servers()[0]);
    let left = AtomicUsize::new(count);
    std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| submit_some(&http, &url, &left)))
            .collect();
        for submitter in submitters {
            submitter
                .join()
                .map_err(|_| anyhow::anyhow!("a submitter died"))??;
        }
        Ok(())
    })
}

/// Takes arrays of what is left until nothing is.
fn submit_some(
    http: &reqwest::blocking::Client,
    url: &str,
    left: &AtomicUsize,
) -> anyhow::Result<()> {
    loop {
        let take = |left: usize| (left > 0).then(|| left.saturating_sub(ARRAY));
        let Ok(before) = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) else {
            return Ok(());
        };
        let (mut count, begun) = (before.min(ARRAY), Instant::now());
        while count > 0 {
            count -= submit(http, url, count)?;
            ensure!(
                begun.elapsed() < 2 * PATIENCE,
                "the scheduler takes no tasks"
            );
        }
    }
}

/// Submits an array, and tells how many of its tasks were acknowledged.
fn submit(http: &reqwest::blocking::Client, url: &str, count: usize) -> anyhow::Result<usize> {
    let task = json!({"type": "noop", "payload": "x".repeat(254)});
    let answer = http.post(url).json(&vec![task; count]).send()?;
    match answer.status().as_u16() {
        201 => {
            let body: Value = answer.json()?;
            let items = body["tasks"].as_array().context("an item for each task")?;
            Ok(items.iter().filter(|it| it["error"].is_null()).count())
        }
        // Too fast: whoever is turned away, or was not told, comes again. More may wait then than were wanted.
        429 | 503 | 504 => {
            std::thread::sleep(Duration::from_millis(200));
            Ok(0)
        }
        status => bail!(
            "a submission was answered with {status}: {}",
            answer.text()?
        ),
    }
}
