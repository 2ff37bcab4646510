//! Nodes and etcd are killed and frozen under load: nothing acknowledged is lost, nothing is recorded twice, and no
//! attempt starts after its successor.
#![allow(clippy::unwrap_used)]

mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ledger::{Ledger, Nanos, now, since};
use serde_json::{Value, json};
use windlass_tests::client::{Client, text};
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;
use windlass_tests::{PATIENCE, eventually, size, spread, within};

const TTL: Duration = Duration::from_secs(3);
/// How much sooner everything happens on a machine that does nothing else.
const NOISE: Duration = Duration::from_secs(3);
const NODE: [&str; 2] = ["--ttl", "3s"];
const PRIORITIES: [&str; 4] = ["critical", "high", "normal", "low"];
/// How many tasks are submitted at once.
const ARRAY: usize = 50;

fn scheduler(etcd: &Etcd, id: &str) -> Process {
    Process::scheduler(etcd, id, &NODE)
}

fn worker(etcd: &Etcd, id: &str, slots: &str, more: &[&str]) -> Process {
    let args = [&NODE, &["--slots", slots], more].concat();
    Process::worker(etcd, id, &args)
}

/// Submits tasks to all the servers there are while faults go on, and knows which of them were acknowledged.
struct Submitter {
    acknowledged: Mutex<BTreeSet<String>>,
    /// Tasks that may have been accepted: their answer was lost.
    unknown: Mutex<u64>,
    servers: Mutex<Vec<String>>,
    done: AtomicBool,
}

impl Submitter {
    fn new(client: &Client) -> Self {
        Self {
            acknowledged: Mutex::default(),
            unknown: Mutex::default(),
            servers: Mutex::new(client.servers().to_vec()),
            done: AtomicBool::new(false),
        }
    }

    /// Submits until `count` tasks are acknowledged, half of them as fast as it goes.
    fn run(&self, client: &Client, count: usize) {
        let begun = Instant::now();
        for array in 0.. {
            let known = self.acknowledged.lock().unwrap().len();
            if known >= count {
                break;
            }
            assert!(begun.elapsed() < 30 * PATIENCE, "nothing is accepted");
            let tasks: Vec<Value> = (0..ARRAY.min(count - known)).map(task).collect();
            let servers = self.servers.lock().unwrap().clone();
            let server = &servers[array % servers.len()];
            match client.try_post(server, "/api/v1/tasks", &tasks.into()) {
                Some((201, body)) => self.take(&body),
                // Refused for now, or nobody there, or the answer was lost: whatever was accepted runs, unknown to us.
                Some(_) | None => {
                    *self.unknown.lock().unwrap() += ARRAY as u64;
                    thread::sleep(Duration::from_millis(50));
                }
            }
            if known > count / 2 {
                thread::sleep(Duration::from_millis(100));
            }
        }
        self.done.store(true, Ordering::SeqCst);
    }

    fn take(&self, body: &Value) {
        let mut acknowledged = self.acknowledged.lock().unwrap();
        for item in body["tasks"].as_array().unwrap() {
            match item["id"].as_str() {
                Some(id) if item["error"].is_null() => assert!(acknowledged.insert(id.to_owned())),
                Some(_) | None => *self.unknown.lock().unwrap() += 1,
            }
        }
    }
}

fn task(n: usize) -> Value {
    json!({"type": "work", "priority": PRIORITIES[n % PRIORITIES.len()], "max_retries": 0})
}

/// All that runs.
struct Cluster {
    etcd: Etcd,
    schedulers: Vec<Process>,
    workers: Vec<Process>,
    client: Client,
    ledger: Ledger,
    /// Which worker was lost, and when.
    losses: Vec<(String, Nanos)>,
}

impl Cluster {
    fn start() -> Self {
        let etcd = Etcd::start();
        let ledger = Ledger::new();
        let mut schedulers: Vec<_> = ["s1", "s2"].map(|id| scheduler(&etcd, id)).into();
        let mut workers: Vec<_> = ["w1", "w2", "w3", "w4"]
            .map(|id| worker(&etcd, id, "8", &["--handler", &ledger.handler(id)]))
            .into();
        let client = Client::of(&mut schedulers);
        workers.iter_mut().for_each(Process::takes_tasks);
        Self {
            etcd,
            schedulers,
            workers,
            client,
            ledger,
            losses: Vec::new(),
        }
    }

    fn reaches(&self, completed: u64) {
        within(10 * PATIENCE, "the tasks go on being completed", || {
            (self.client.count("completed") >= completed).then_some(())
        });
    }

    /// Waits until a worker is in the middle of something.
    fn is_busy(&self, worker: &str) {
        eventually("the worker is busy", || {
            let unfinished = self.ledger.unfinished(worker);
            (!unfinished.is_empty()).then_some(())
        });
    }

    fn lose(&mut self, worker: usize) {
        let name = self.workers[worker].name().to_owned();
        self.losses.push((name, now()));
    }

    /// Everything that may befall a cluster, one after the other, each when some share of `count` is done.
    fn suffer(&mut self, count: u64, submitter: &Submitter) {
        self.reaches(count / 10);
        self.is_busy("w1");
        self.lose(0);
        self.workers[0].kill();
        self.reaches(count / 5);
        self.is_busy("w2");
        self.lose(1);
        self.workers[1].pause();
        let paused = Instant::now();
        self.reaches(count * 3 / 10);
        self.schedulers[0].kill();
        self.workers[0].restart();
        self.reaches(count * 2 / 5);
        self.etcd.restart();
        self.schedulers[0].restart();
        let url = self.schedulers[0].url();
        submitter.servers.lock().unwrap()[0] = url;
        self.reaches(count / 2);
        thread::sleep((3 * TTL).saturating_sub(paused.elapsed()));
        self.workers[1].resume();
        assert_eq!(self.workers[1].ended(), 1, "its life is over");
        self.workers[1].restart();
    }

    /// Every acknowledged task has exactly one outcome, and nothing else is left.
    fn has_kept_its_promise(&mut self, submitter: &Submitter) {
        self.client = Client::of(&mut self.schedulers);
        let stats = within(10 * PATIENCE, "everything has ended", || {
            let stats = self.client.get("/api/v1/stats");
            let tasks = &stats["tasks"];
            (tasks["total"] == tasks["completed"]).then_some(stats)
        });
        let tasks = self.client.tasks("");
        let ids: BTreeSet<String> = tasks.iter().map(|it| text(&it["id"])).collect();
        let acknowledged = submitter.acknowledged.lock().unwrap();
        let unknown = *submitter.unknown.lock().unwrap();
        assert!(ids.is_superset(&acknowledged), "acknowledged and lost");
        assert!(ids.len() as u64 <= acknowledged.len() as u64 + unknown);
        let unfinished = tasks.iter().find(|it| it["status"] != "completed");
        assert_eq!(unfinished, None);
        let count = ids.len();
        assert_eq!(stats["tasks"]["total"], count, "{stats}");
        for nothing in [
            "scheduled",
            "pending",
            "running",
            "retrying",
            "failed",
            "cancelled",
        ] {
            assert_eq!(stats["tasks"][nothing], 0, "{stats}");
        }
        self.only_leaves(&ids);
        self.ledger.is_in_the_order_of_fences();
        self.ledger.agrees_with(&tasks);
        windlass_tests::tell(&format!(
            "{} acknowledged, {count} accepted: {stats}",
            acknowledged.len()
        ));
    }

    /// What etcd holds is what the end of all tasks leaves.
    fn only_leaves(&self, ids: &BTreeSet<String>) {
        let mut counts = BTreeMap::<String, usize>::new();
        let mut outcomes = BTreeSet::new();
        for key in self.etcd.keys() {
            let parts: Vec<&str> = key.split('/').collect();
            let kind = match parts[..] {
                ["", "tasks", id] if ids.contains(id) => "task",
                ["", "tasks", id, "outcome"] if ids.contains(id) => {
                    outcomes.insert(id.to_owned());
                    "outcome"
                }
                ["", "stats", ..] => "stats",
                ["", "nodes", "worker", _] => "worker",
                ["", "nodes", "scheduler", _] => "scheduler",
                ["", "offers", _] => "offer",
                ["", "locks", "@janitor", _] => "janitor",
                _ => panic!("{key} is left over"),
            };
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
        windlass_tests::tell(&format!("etcd holds {counts:?}"));
        // A task that was placed by its submission stands in its outcome: it was listed like the others.
        assert!(counts.get("task").is_none_or(|it| *it <= ids.len()));
        assert_eq!(&outcomes, ids);
        let live = ["worker", "offer", "scheduler"].map(|it| counts[it]);
        assert_eq!(live, [4, 4, 2]);
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_recorded_twice_whatever_is_killed() {
    let count = size("WINDLASS_TEST_TASKS", 2_000);
    let mut cluster = Cluster::start();
    let submitter = Submitter::new(&cluster.client);
    let begun = Instant::now();
    let client = cluster.client.clone();
    thread::scope(|scope| {
        scope.spawn(|| submitter.run(&client, count));
        cluster.suffer(count as u64, &submitter);
    });
    assert!(submitter.done.load(Ordering::SeqCst));
    cluster.has_kept_its_promise(&submitter);
    windlass_tests::tell(&format!("took {:?}", begun.elapsed()));
    let losses = std::mem::take(&mut cluster.losses);
    for (worker, at) in losses {
        let again = cluster.ledger.started_again(&worker, at);
        windlass_tests::tell(&format!(
            "{worker} was lost: its attempts started again after {}",
            spread(again)
        ));
    }
}

/// What becomes of a worker.
#[derive(Clone, Copy)]
enum Fate {
    Killed,
    Frozen,
}

/// The times from the loss of a worker with many running tasks until they are claimed by others.
fn claimed_again(fate: Fate) -> Vec<Duration> {
    let etcd = Etcd::start();
    let mut schedulers = ["s1", "s2"].map(|id| scheduler(&etcd, id));
    let mut first = worker(&etcd, "lost", "64", &[]);
    let client = Client::of(&mut schedulers);
    first.takes_tasks();
    let task = json!({"type": "sleep", "payload": {"ms": 600_000}});
    let ids = client.submit_all(&vec![task; 60]);
    let all_run = |on: &dyn Fn(&Value) -> bool| {
        let tasks = client.tasks("state=running");
        let there = tasks.iter().filter(|it| on(&it["worker_id"])).count();
        (there == ids.len()).then_some(tasks)
    };
    eventually("the first worker runs them all", || {
        all_run(&|it| it == "lost")
    });
    let mut others = ["w1", "w2"].map(|id| worker(&etcd, id, "64", &[]));
    others.iter_mut().for_each(Process::takes_tasks);
    let lost = now();
    match fate {
        Fate::Killed => first.kill(),
        Fate::Frozen => first.pause(),
    }
    let tasks = eventually("the others run them all", || all_run(&|it| it != "lost"));
    tasks
        .iter()
        .map(|task| {
            assert_eq!(task["losses"], 1);
            since(lost, &text(&task["assigned_at"]))
        })
        .collect()
}

#[test]
fn the_tasks_of_a_killed_worker_are_soon_claimed_by_others() {
    let times = claimed_again(Fate::Killed);
    windlass_tests::tell(&format!("killed, claimed again: {}", spread(times.clone())));
    let longest = times.into_iter().max().unwrap();
    assert!(longest <= TTL + Duration::from_secs(2) + NOISE);
}

#[test]
fn the_tasks_of_a_frozen_worker_are_soon_claimed_by_others() {
    let times = claimed_again(Fate::Frozen);
    windlass_tests::tell(&format!("frozen, claimed again: {}", spread(times.clone())));
    let longest = times.into_iter().max().unwrap();
    assert!(longest <= TTL + Duration::from_secs(2) + NOISE);
}

#[test]
fn no_task_waits_long_for_a_scheduler_that_was_killed() {
    let etcd = Etcd::start();
    let mut schedulers = ["s1", "s2"].map(|id| scheduler(&etcd, id));
    let mut worker = worker(&etcd, "w1", "64", &[]);
    Client::of(&mut schedulers);
    worker.takes_tasks();
    let [mut first, mut second] = schedulers;
    let client = Client::of([&mut second]);
    first.kill();
    let ids = client.submit_all(&vec![json!({"type": "noop"}); 200]);
    let waited: Vec<Duration> = ids
        .iter()
        .map(|id| {
            let end = client.end_of(id);
            let created: jiff::Timestamp = text(&end["created_at"]).parse().unwrap();
            let assigned: jiff::Timestamp = text(&end["assigned_at"]).parse().unwrap();
            assigned.duration_since(created).try_into().unwrap()
        })
        .collect();
    windlass_tests::tell(&format!(
        "a scheduler was killed, placed after {}",
        spread(waited.clone())
    ));
    let longest = waited.into_iter().max().unwrap();
    assert!(longest <= Duration::from_secs(1) + NOISE);
    assert!(
        longest < TTL,
        "somebody waited until the dead one was known dead"
    );
}
