//! The workers that come in other languages, judged by the protocol's own command, and killed.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use windlass_tests::client::{Client, command, text};
use windlass_tests::process::Process;
use windlass_tests::{PATIENCE, eventually, tell, within};

fn clients() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("clients")
}

/// The tools that a client needs; a machine without them cannot judge it, and says so.
fn has(tools: &[&str]) -> bool {
    let missing: Vec<&&str> = tools
        .iter()
        .filter(|tool| {
            let asked = Command::new(tool)
                .arg("--version")
                .stdout(Stdio::null())
                .status();
            !asked.is_ok_and(|status| status.success())
        })
        .collect();
    if !missing.is_empty() {
        tell(&format!("SKIPPED: this machine has no {missing:?}"));
    }
    missing.is_empty()
}

fn judge(ttl: &str, worker: &[&str]) {
    // Most of a clause's time is waiting.
    let words = [
        "conformance",
        "worker",
        "-o",
        "json",
        "--jobs",
        "4",
        "--ttl",
        ttl,
        "--",
    ];
    let words = [&words[..], worker].concat();
    let (code, out, err) = command(&words);
    assert_eq!(code, 0, "{out}\n{err}");
    let judged: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(judged["clauses"].as_array().unwrap().len() >= 14, "{out}");
}

#[test]
fn the_python_worker_keeps_every_clause_of_the_protocol() {
    if has(&["python3"]) {
        let stock = clients().join("python/stock.py");
        judge("3s", &["python3", stock.to_str().unwrap()]);
    }
}

#[test]
fn the_shell_worker_keeps_every_clause_of_the_protocol() {
    if has(&["bash", "curl", "jq"]) {
        let (worker, stock) = (
            clients().join("shell/worker.sh"),
            clients().join("shell/stock.sh"),
        );
        let (worker, stock) = (worker.to_str().unwrap(), stock.to_str().unwrap());
        // A script starts a program for each thing that it looks at.
        judge("6s", &["bash", worker, "echo,sleep,fail", stock]);
    }
}

#[test]
fn a_worker_that_does_nothing_is_found_out() {
    let words = [
        "conformance",
        "worker",
        "--only",
        "result",
        "--",
        "sleep",
        "60",
    ];
    let (code, _, err) = command(&words);
    assert_eq!(code, 1, "{err}");
}

#[test]
fn a_judge_that_is_told_to_stop_leaves_no_worker_and_no_store_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("worker");
    let script = format!(
        "echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600",
        mark.display()
    );
    let mut judge = Command::new(windlass_tests::windlass())
        .args([
            "conformance",
            "worker",
            "--only",
            "result",
            "--",
            "bash",
            "-c",
            &script,
        ])
        .env("TMPDIR", dir.path())
        .spawn()
        .unwrap();
    eventually("the worker runs", || mark.exists().then_some(()));
    let worker = std::fs::read_to_string(&mark).unwrap();
    let worker = rustix::process::Pid::from_raw(worker.trim().parse().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_child(&judge);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(!judge.wait().unwrap().success());
    eventually("the worker is gone", || {
        rustix::process::test_kill_process(worker)
            .is_err()
            .then_some(())
    });
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert_eq!(left, ["worker"], "nothing else is left");
}

/// A worker in Python, killed when the test ends.
struct Python(Child);

impl Python {
    fn start(server: &str, ttl: &str) -> Self {
        let stock = clients().join("python/stock.py");
        let child = Command::new("python3")
            .arg(stock)
            .env("WINDLASS_SERVER", server)
            .env("WINDLASS_TTL", ttl)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_task_of_a_killed_python_worker_is_taken_over_within_its_session_and_two_seconds() {
    const TTL: Duration = Duration::from_secs(3);
    if !has(&["python3"]) {
        return;
    }
    let mut dev = Process::dev(&["--workers", "0"]);
    let server = dev.url();
    let client = Client::of([&mut dev]);
    let mut first = Python::start(&server, "3s");
    eventually("a worker takes tasks", || {
        (client.get("/api/v1/stats")["slots"] == 4).then_some(())
    });
    let task = client.submit(&json!({"type": "sleep", "payload": {"ms": 60_000}}));
    let before = eventually("it runs", || {
        let shown = client.task(&task);
        (shown["status"] == "running").then(|| text(&shown["worker_id"]))
    });
    let _second = Python::start(&server, "3s");
    eventually("another worker takes tasks", || {
        (client.get("/api/v1/stats")["slots"] == 8).then_some(())
    });
    first.0.kill().unwrap();
    let killed = Instant::now();
    within(
        TTL + Duration::from_secs(2),
        "another worker has it",
        || {
            let shown = client.task(&task);
            let moved = shown["status"] == "running" && text(&shown["worker_id"]) != before;
            moved.then_some(())
        },
    );
    tell(&format!("taken over after {:?}", killed.elapsed()));
    assert_eq!(client.task(&task)["losses"], 1);
    assert!(killed.elapsed() < PATIENCE);
}
