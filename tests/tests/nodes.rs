//! The lives of nodes: restarts, doubles, draining, freezing, and what becomes of the commands of a worker that is gone.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::eventually;
use windlass_tests::process::Process;

const TTL: Duration = Duration::from_secs(3);
const NODE: [&str; 2] = ["--ttl", "3s"];
/// Workers tell of every attempt that they start.
const LOG: [&str; 2] = ["--log-level", "info,windlass::node=debug"];

/// An etcd and a scheduler.
struct Cluster {
    client: Client,
    _scheduler: Process,
    etcd: Etcd,
}

impl Cluster {
    fn start() -> Self {
        let etcd = Etcd::start();
        let mut scheduler = Process::scheduler(&etcd, "s1", &NODE);
        Self {
            client: Client::of([&mut scheduler]),
            _scheduler: scheduler,
            etcd,
        }
    }

    fn worker(&self, id: &str, more: &[&str]) -> Process {
        Process::worker(&self.etcd, id, &[&NODE, &LOG, more].concat())
    }

    /// A worker that takes tasks.
    fn ready(&self, id: &str, more: &[&str]) -> Process {
        let mut worker = self.worker(id, more);
        worker.takes_tasks();
        worker
    }

    fn sleeps(&self, ms: u64) -> String {
        let task = json!({"type": "sleep", "payload": {"ms": ms}});
        self.client.submit(&task)
    }

    /// A task that sleeps, once `worker` runs it.
    fn sleeps_on(&self, worker: &mut Process, ms: u64) -> String {
        let task = self.sleeps(ms);
        worker.logs(&format!("starts task={task}"));
        task
    }

    fn node(&self, id: &str) -> Option<Value> {
        let nodes = self.client.get("/api/v1/nodes");
        let mut nodes = nodes["nodes"].as_array().into_iter().flatten();
        nodes.find(|it| it["id"] == id).cloned()
    }

    /// The reasons why a task waits, by the command line.
    fn why(&self, id: &str) -> Vec<String> {
        let why = self.client.done(&["task", "why", id]);
        let reasons = why["reasons"].as_array().unwrap().iter();
        reasons
            .map(|it| it["reason"].as_str().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn what_a_worker_does_after_it_was_taken_for_dead_is_not_recorded() {
    let cluster = Cluster::start();
    let mut zombie = cluster.ready("zombie", &[]);
    let task = cluster.sleeps_on(&mut zombie, 1_000);
    zombie.pause();
    let _other = cluster.ready("other", &[]);
    let end = cluster.client.end_of(&task);
    assert_eq!(end["status"], "completed");
    assert_eq!(
        (&end["worker_id"], &end["losses"]),
        (&json!("other"), &json!(1))
    );
    zombie.resume();
    assert_eq!(zombie.ended(), 1);
    assert_eq!(cluster.client.task(&task), end, "the outcome stands");
    assert_eq!(cluster.client.count("completed"), 1);
}

#[test]
fn a_restarted_worker_runs_again_what_its_former_life_has_lost() {
    let cluster = Cluster::start();
    let mut worker = cluster.ready("w1", &[]);
    let task = cluster.sleeps(1_000);
    let before = cluster.client.runs_on(&task, "w1");
    worker.logs(&format!("starts task={task}"));
    let killed = Instant::now();
    worker.restart();
    let end = cluster.client.end_of(&task);
    windlass_tests::tell(&format!(
        "run again and ended {:?} after the kill",
        killed.elapsed()
    ));
    assert_eq!(
        (&end["status"], &end["worker_id"]),
        (&json!("completed"), &json!("w1"))
    );
    assert_eq!(end["losses"], 1, "a former life's claim is not inherited");
    assert!(end["fence"].as_u64() > before["fence"].as_u64());
}

#[test]
fn the_second_process_with_an_id_waits_until_the_first_is_gone() {
    let cluster = Cluster::start();
    let mut first = cluster.ready("same", &["--label", "process=first"]);
    let second = cluster.worker("same", &["--label", "process=second"]);
    let label = |node: Value| node["labels"]["process"].clone();
    let begun = Instant::now();
    // Longer than the first could live without renewals.
    while begun.elapsed() < 2 * TTL {
        let task = cluster.sleeps(1);
        assert_eq!(cluster.client.end_of(&task)["status"], "completed");
        assert_eq!(label(cluster.node("same").unwrap()), "first");
    }
    assert_eq!(second.log_line("takes tasks"), None);
    assert!(first.runs());
    first.terminate();
    assert_eq!(first.ended(), 0);
    let mut second = second;
    second.takes_tasks();
    eventually("the cluster knows the second", || {
        cluster
            .node("same")
            .filter(|it| label(it.clone()) == "second")
    });
    let task = cluster.sleeps(1);
    assert_eq!(cluster.client.end_of(&task)["status"], "completed");
}

#[test]
fn an_idle_worker_leaves_at_once_when_it_is_told_to() {
    let cluster = Cluster::start();
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut worker = cluster.ready("w1", &[]);
        let task = cluster.sleeps(1);
        cluster.client.end_of(&task);
        let told = Instant::now();
        worker.terminate();
        assert_eq!(worker.ended(), 0);
        times.push(told.elapsed());
        eventually("the cluster knows", || {
            cluster.node("w1").is_none().then_some(())
        });
    }
    windlass_tests::tell(&format!("left after {times:?}"));
    times.sort_unstable();
    assert!(times[2] < Duration::from_millis(500), "{times:?}");
    assert!(times[4] < TTL, "nobody waits for its lease");
}

#[test]
fn a_worker_that_leaves_finishes_what_runs_and_hands_back_the_rest_at_once() {
    let cluster = Cluster::start();
    let mut leaving = cluster.ready("leaving", &["--slots", "1"]);
    let running = cluster.sleeps_on(&mut leaving, 3_000);
    let _other = cluster.ready("other", &[]);
    leaving.terminate();
    leaving.logs("told to stop");
    // It has withdrawn its offer: everything goes to the other.
    eventually("it takes nothing", || leaving.log_line("takes no tasks"));
    for _ in 0..10 {
        let task = cluster.sleeps(1);
        assert_eq!(cluster.client.end_of(&task)["worker_id"], "other");
    }
    assert_eq!(leaving.ended(), 0);
    let end = cluster.client.task(&running);
    assert_eq!(
        (&end["status"], &end["worker_id"]),
        (&json!("completed"), &json!("leaving"))
    );
    assert_eq!(end["losses"], 0);
}

#[test]
fn a_drained_node_finishes_what_it_has_and_takes_no_more() {
    let cluster = Cluster::start();
    let mut worker = cluster.ready("w1", &[]);
    let running = cluster.sleeps_on(&mut worker, 1_500);
    let node = cluster.client.done(&["node", "drain", "w1"]);
    assert_eq!(
        (&node["id"], &node["draining"]),
        (&json!("w1"), &json!(true))
    );
    eventually("it takes nothing", || worker.log_line("takes no tasks"));
    let waiting = cluster.sleeps(1);
    assert_eq!(cluster.client.end_of(&running)["worker_id"], "w1");
    assert_eq!(cluster.client.task(&waiting)["status"], "pending");
    assert_eq!(cluster.why(&waiting), ["workers_draining"]);
    assert!(worker.runs(), "it stays until it is told to leave");
    let _other = cluster.ready("w2", &[]);
    assert_eq!(cluster.client.end_of(&waiting)["worker_id"], "w2");
    let (code, _) = cluster.client.fails(&["node", "drain", "nobody"]);
    assert_eq!(code, 3);
}

#[test]
fn a_task_that_no_worker_can_run_waits_and_says_why() {
    let cluster = Cluster::start();
    let task = json!({"type": "special"});
    let id = cluster.client.submit(&task);
    assert_eq!(cluster.why(&id), ["no_workers"]);
    let _plain = cluster.ready("plain", &["--queues", "default"]);
    eventually("the reason is its type", || {
        (cluster.why(&id) == ["no_worker_runs_type"]).then_some(())
    });
    let elsewhere = json!({"type": "noop", "queue": "unserved"});
    let elsewhere = cluster.client.submit(&elsewhere);
    assert_eq!(cluster.why(&elsewhere), ["no_worker_serves_queue"]);
    let ordinary = cluster.sleeps(1);
    assert_eq!(cluster.client.end_of(&ordinary)["status"], "completed");
    assert_eq!(cluster.client.task(&id)["status"], "pending");
    let _special = cluster.ready("special", &["--handler", "special=cat"]);
    assert_eq!(cluster.client.end_of(&id)["worker_id"], "special");
}

/// A command that says who it is and then does nothing for long, with a child of its own.
struct Command {
    folder: TempDir,
}

impl Command {
    const SCRIPT: &str = "sleep 600 & echo \"$$ $!\" > \"$1.new\"; mv \"$1.new\" \"$1\"; wait\n";

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("command.sh"), Self::SCRIPT).unwrap();
        Self { folder }
    }

    fn handler(&self) -> String {
        let script = self.folder.path().join("command.sh");
        format!("long=sh {} {}", script.display(), self.says().display())
    }

    fn says(&self) -> PathBuf {
        self.folder.path().join("processes")
    }

    /// The command and its child, once they run.
    fn processes(&self) -> Vec<PathBuf> {
        let said = eventually("the command runs", || {
            std::fs::read_to_string(self.says()).ok()
        });
        let processes = said
            .split_whitespace()
            .map(|it| Path::new("/proc").join(it));
        processes.collect()
    }
}

/// Whether a process is there, and is not merely waiting to be noticed as dead.
fn lives(process: &Path) -> bool {
    std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| {
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.starts_with('Z')
    })
}

/// Does something to a worker that runs a command, and tells how long the command outlived that.
fn outlived(fate: impl FnOnce(&mut Process)) -> Duration {
    let cluster = Cluster::start();
    let command = Command::new();
    let mut worker = cluster.ready("w1", &["--handler", &command.handler()]);
    cluster.client.submit(&json!({"type": "long"}));
    let processes = command.processes();
    assert!(processes.iter().all(|it| lives(it)), "{processes:?}");
    let begun = Instant::now();
    fate(&mut worker);
    eventually("the command is gone", || {
        (!processes.iter().any(|it| lives(it))).then_some(())
    });
    begun.elapsed()
}

#[test]
fn the_commands_of_a_killed_worker_are_killed() {
    let outlived = outlived(Process::kill);
    windlass_tests::tell(&format!("killed {outlived:?} after their worker"));
    assert!(outlived < Duration::from_secs(2), "{outlived:?}");
}

#[test]
fn the_commands_of_a_frozen_worker_are_killed_before_its_lease_ends() {
    let outlived = outlived(|worker| worker.pause());
    windlass_tests::tell(&format!(
        "killed {outlived:?} after their worker was frozen"
    ));
    assert!(outlived < TTL, "{outlived:?}");
}
