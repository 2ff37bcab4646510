//! A remote worker whose tasks go on while the server is overloaded, and what the server counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use serde_json::json;
use windlass_tests::client::Client;
use windlass_tests::eventually;

const WORKER: &str = r"
import os
from windlass_worker import Worker
def note(ctx):
    ctx.stop.wait(0.05)
    with open(os.environ['LEDGER'], 'a') as ledger:
        ledger.write(ctx.payload['n'] + '\n')
Worker(os.environ['SERVER'], queues=['witness'], ttl='10s').handler('note', note).run()
";

/// A process that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A worker in another language, with a task now and then that it writes down.
pub(crate) struct Witness {
    folder: tempfile::TempDir,
    worker: Killed,
    stop: Arc<AtomicBool>,
    submitter: JoinHandle<Vec<String>>,
}

impl Witness {
    pub(crate) fn start(server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python");
        let worker = Command::new("python3")
            .args(["-c", WORKER])
            .env("PYTHONPATH", clients)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SERVER", server)
            .env("LEDGER", folder.path().join("ledger"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (server, stopped) = (server.to_owned(), Arc::clone(&stop));
        let submitter = std::thread::spawn(move || submit(&server, &stopped));
        Self {
            folder,
            worker: Killed(worker),
            stop,
            submitter,
        }
    }

    /// Waits until all of its tasks have ended, each having run once, and tells their number.
    pub(crate) fn end(self, client: &Client) -> u64 {
        let Self {
            folder,
            worker,
            stop,
            submitter,
        } = self;
        stop.store(true, Ordering::SeqCst);
        let sent = submitter.join().unwrap();
        assert!(!sent.is_empty());
        eventually("the witness's tasks have ended", || {
            let queues = client.get("/api/v1/queues");
            let queues = queues["queues"].as_array().unwrap();
            let queue = queues.iter().find(|it| it["name"] == "witness");
            queue
                .is_none_or(|it| it["pending"] == 0 && it["running"] == 0)
                .then_some(())
        });
        drop(worker);
        let ledger = std::fs::read_to_string(folder.path().join("ledger")).unwrap();
        let mut runs: BTreeMap<&str, u32> = BTreeMap::new();
        for line in ledger.lines() {
            *runs.entry(line).or_default() += 1;
        }
        for n in &sent {
            assert_eq!(runs.get(n.as_str()), Some(&1), "task {n} of {}", sent.len());
        }
        assert_eq!(runs.len(), sent.len(), "what was refused has not run");
        u64::try_from(sent.len()).unwrap()
    }
}

/// Submits until it is told to stop; what is turned away is submitted again under its key, as clients do.
fn submit(server: &str, stopped: &AtomicBool) -> Vec<String> {
    let http = windlass_tests::client::http()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    let mut sent = Vec::new();
    while !stopped.load(Ordering::SeqCst) {
        let n = sent.len().to_string();
        let task = json!({"type": "note", "queue": "witness", "payload": {"n": n}, "key": n});
        let again = || {
            let answer = http
                .post(format!("{server}/api/v1/tasks"))
                .json(&task)
                .send();
            answer
                .is_ok_and(|it| it.status().is_success())
                .then_some(())
        };
        eventually("a task of the witness is taken", again);
        sent.push(n);
        sleep(Duration::from_millis(100));
    }
    sent
}

/// The sum of all rows of one metric whose labels are wanted.
pub(crate) fn metric(text: &str, name: &str, is_wanted: impl Fn(&str) -> bool) -> f64 {
    let rows = text.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let (found, labels) = key.split_once('{').unwrap_or((key, ""));
        (found == name && is_wanted(labels)).then(|| value.parse::<f64>().unwrap())
    });
    rows.fold(0.0, |sum, it| sum + it)
}

/// Memory that the process has in use.
pub(crate) fn resident_mib(pid: u32) -> u64 {
    windlass_tests::usage::resident_bytes(pid) >> 20
}
