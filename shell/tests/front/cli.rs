//! The real program in front of a gateway that answers from memory.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::Fake;

/// A server, and the program that is told of it.
struct Windlass {
    fake: Fake,
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Windlass {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let fake = Fake::default();
        let address = runtime.block_on(fake.listen());
        Self {
            fake,
            address,
            _runtime: runtime,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(args);
        command.env("WINDLASS_SERVER", format!("http://{}", self.address));
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The JSON that the command prints, which ends with `code`.
    fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            told(&output)
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// What the command, which ends with `code` and prints nothing, says on stderr.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        failed(code, &self.run(args))
    }

    fn submitted(&self, kind: &str) -> String {
        self.json(0, &["task", "submit", kind])["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("WINDLASS_SERVER");
    command
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn failed(code: i32, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", told(output));
    assert!(output.stdout.is_empty(), "results only go to stdout");
    assert!(!output.stderr.is_empty(), "a failure says why");
    told(output)
}

const NOBODY: &str = "019aa000-0000-7000-8000-000000000000";

#[test]
fn a_task_is_submitted_and_shown() {
    let windlass = Windlass::start();
    let args = [
        "task",
        "submit",
        "echo",
        "--queue",
        "q",
        "--priority",
        "critical",
        "--payload",
        r#"{"a": 1.0}"#,
        "--max-retries",
        "0",
        "--timeout",
        "1m30s",
        "--name",
        "n",
        "--metadata",
        "k=v",
    ];
    let accepted = windlass.json(0, &args);
    assert_eq!(accepted["status"], "pending");
    let id = accepted["id"].as_str().unwrap();
    let task = windlass.json(0, &["task", "get", id]);
    assert_eq!(
        (&task["queue"], &task["priority"], &task["timeout"]),
        (&json!("q"), &json!(0), &json!("1m30s"))
    );
    assert_eq!(
        (&task["metadata"], &task["max_retries"]),
        (&json!({"k": "v"}), &json!(0))
    );
    let table = String::from_utf8(windlass.run(&["task", "get", id]).stdout).unwrap();
    assert!(table.starts_with("FIELD"), "{table}");
    assert!(
        table
            .lines()
            .any(|line| line.split_whitespace().eq(["queue", "q"])),
        "{table}"
    );
    assert!(
        table.contains("1m30s") && !table.contains('\u{1b}'),
        "{table}"
    );
}

#[test]
fn a_payload_comes_from_the_line_a_file_or_stdin() {
    let windlass = Windlass::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[1, 2]").unwrap();
    let from_file = format!("@{}", file.path().display());
    windlass.json(0, &["task", "submit", "t", "--payload", &from_file]);
    let mut child = windlass
        .command(&["task", "submit", "t", "--payload", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\"in\"").unwrap();
    assert!(child.wait().unwrap().success());
    windlass.json(0, &["task", "submit", "t", "--payload", "-7"]);
    let payloads: Vec<String> = windlass
        .fake
        .memory()
        .specs
        .iter()
        .map(|spec| spec.payload.as_str().to_owned())
        .collect();
    assert_eq!(payloads, ["[1, 2]", "\"in\"", "-7"]);
    windlass.fails(2, &["task", "submit", "t", "--payload", "{nonsense"]);
    windlass.fails(1, &["task", "submit", "t", "--payload", "@/nowhere/at/all"]);
}

#[test]
fn waiting_ends_as_the_tasks_end() {
    let windlass = Windlass::start();
    let done = windlass.json(0, &["task", "submit", "echo", "--payload", "5", "--wait"]);
    assert_eq!(
        (&done["status"], &done["result"]),
        (&json!("completed"), &json!(5))
    );
    let failed = windlass.json(1, &["task", "submit", "fail", "--wait=10s"]);
    assert_eq!(failed["error"], "it broke");
    windlass.json(6, &["task", "submit", "endless", "--wait=10ms"]);
    let (good, endless) = (windlass.submitted("echo"), windlass.submitted("endless"));
    let tasks = windlass.json(6, &["task", "wait", &good, &endless, "--timeout", "500ms"]);
    assert_eq!(tasks["tasks"][0]["status"], "completed");
    assert_eq!(tasks["tasks"][1]["status"], "pending");
    assert!(
        windlass
            .fails(3, &["task", "wait", NOBODY])
            .contains("there is no such task")
    );
}

#[test]
fn tasks_are_listed_over_pages_cancelled_and_rerun() {
    let windlass = Windlass::start();
    let ids: Vec<String> = (0..3).map(|_| windlass.submitted("t")).collect();
    let two = windlass.json(0, &["task", "list", "--state", "pending", "--limit", "2"]);
    assert_eq!(two["tasks"].as_array().unwrap().len(), 2);
    let cursor = two["next_cursor"].as_str().unwrap();
    let rest = windlass.json(0, &["task", "list", "--cursor", cursor]);
    assert_eq!(
        (
            rest["tasks"].as_array().unwrap().len(),
            &rest["next_cursor"]
        ),
        (1, &Value::Null)
    );
    assert_eq!(
        windlass.json(0, &["task", "cancel", &ids[0]])["status"],
        "cancelled"
    );
    let refused = windlass.fails(4, &["task", "cancel", &ids[0]]);
    assert!(refused.contains("the task is cancelled"), "{refused}");
    assert_eq!(
        windlass.json(0, &["task", "rerun", &ids[0]])["status"],
        "pending"
    );
    let why = String::from_utf8(windlass.run(&["task", "why", &ids[0]]).stdout).unwrap();
    assert!(
        why.contains("queue_paused") && why.contains("7 tasks of its queue"),
        "{why}"
    );
    for verb in ["get", "cancel", "rerun", "why"] {
        windlass.fails(3, &["task", verb, NOBODY]);
    }
}

#[test]
fn queues_nodes_and_counts_are_shown_and_changed() {
    let windlass = Windlass::start();
    windlass.fails(3, &["queue", "get", "q"]);
    assert_eq!(
        windlass.json(0, &["queue", "set", "q", "--strategy", "random"])["strategy"],
        "random"
    );
    assert_eq!(windlass.json(0, &["queue", "pause", "q"])["paused"], true);
    assert_eq!(windlass.json(0, &["queue", "resume", "q"])["paused"], false);
    let table = String::from_utf8(windlass.run(&["queue", "list"]).stdout).unwrap();
    assert_eq!(
        table,
        "QUEUE  STRATEGY  PAUSED  PENDING  RUNNING  DELAYED  DEAD  OLDEST\n\
         q      random    false   1        2        3        4     2023-11-14T22:13:20.000Z\n"
    );
    assert_eq!(windlass.json(0, &["node", "list"])["nodes"][0]["id"], "w1");
    assert_eq!(windlass.json(0, &["node", "drain", "w1"])["draining"], true);
    windlass.fails(3, &["node", "drain", "nobody"]);
    assert_eq!(windlass.json(0, &["stats"])["tasks"]["total"], 0);
    let table = String::from_utf8(windlass.run(&["stats"]).stdout).unwrap();
    assert!(
        table
            .lines()
            .any(|line| line.split_whitespace().eq(["tasks.refused_stale", "2"])),
        "{table}"
    );
}

#[test]
fn the_servers_reasons_are_told_field_by_field() {
    let windlass = Windlass::start();
    let told = windlass.fails(
        4,
        &["task", "submit", "t", "--timeout", "0s", "--delay", "soon"],
    );
    assert!(
        told.contains("timeout: must be from 1ms") && told.contains("delay: must be a duration"),
        "{told}"
    );
    windlass.fails(6, &["task", "submit", "lost"]);
    windlass.fails(5, &["task", "submit", "busy"]);
}

#[test]
fn a_server_that_cannot_be_reached_is_not_the_last_one_asked() {
    let windlass = Windlass::start();
    let closed = closed_port();
    let both = format!("http://{closed},http://{}", windlass.address);
    let output = program(&["stats", "-o", "json", "--server", &both])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    let output = program(&["stats", "--server", &format!("http://{closed}")])
        .output()
        .unwrap();
    assert!(failed(5, &output).contains("windlass dev"));
}

/// An address at which nobody listens.
fn closed_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn lines_file(lines: &[String]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    file
}

#[test]
fn a_file_of_tasks_is_submitted_whole() {
    let windlass = Windlass::start();
    let lines: Vec<String> = (0..3_500)
        .map(|n| format!(r#"{{"type":"t","payload":{n}}}"#))
        .collect();
    let file = lines_file(&lines);
    let summary = windlass.json(
        0,
        &["task", "submit", "--from", file.path().to_str().unwrap()],
    );
    assert_eq!(summary, json!({"accepted": 3_500, "failed": 0}));
    let mut payloads: Vec<u64> = windlass
        .fake
        .memory()
        .specs
        .iter()
        .map(|spec| spec.payload.to().unwrap())
        .collect();
    payloads.sort_unstable();
    assert!(payloads.into_iter().eq(0..3_500));
}

#[test]
fn faulty_lines_are_told_by_number_and_the_others_go_through() {
    let windlass = Windlass::start();
    let mut lines = vec![r#"{"type":"t"}"#.to_owned(); 2_000];
    lines[4] = "{nonsense".to_owned();
    lines[6] = String::new();
    lines[1_499] = r#"{"type":"t","priority":77}"#.to_owned();
    let file = lines_file(&lines);
    let args = [
        "task",
        "submit",
        "--from",
        file.path().to_str().unwrap(),
        "-o",
        "json",
    ];
    let output = windlass.run(&args);
    assert_eq!(output.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary, json!({"accepted": 1_997, "failed": 2}));
    let told = told(&output);
    assert!(told.contains("line 5: is not JSON"), "{told}");
    assert!(
        told.contains("line 1500: bad request") && told.contains("priority: "),
        "{told}"
    );
}

#[test]
fn a_file_without_a_server_fails_as_a_whole() {
    let file = lines_file(&[r#"{"type":"t"}"#.to_owned()]);
    let path = file.path().to_str().unwrap();
    let server = format!("http://{}", closed_port());
    let output = program(&["task", "submit", "--from", path, "--server", &server])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", told(&output));
    let output = program(&["task", "submit", "--from", "/nowhere/at/all"])
        .output()
        .unwrap();
    failed(1, &output);
}

#[test]
fn a_command_under_a_lock_has_its_fence_and_ends_the_lock_with_it() {
    let windlass = Windlass::start();
    let output = windlass.run(&[
        "lock",
        "run",
        "k",
        "--",
        "sh",
        "-c",
        "echo $WINDLASS_FENCE; exit 7",
    ]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(7), b"41\n".as_slice()),
        "{}",
        told(&output)
    );
    assert!(!windlass.fake.memory().lock_is_held());
    let output = windlass.run(&["lock", "run", "k", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(output.status.code(), Some(137));
    windlass.fails(1, &["lock", "run", "k", "--", "/nowhere/at/all"]);
    assert!(!windlass.fake.memory().lock_is_held());
}

#[test]
fn a_lock_that_is_held_by_another_is_waited_for_no_longer_than_asked() {
    let windlass = Windlass::start();
    let mut holder = windlass
        .command(&["lock", "run", "k", "--", "sleep", "1000"])
        .spawn()
        .unwrap();
    until(|| windlass.fake.memory().lock_is_held());
    windlass.fails(6, &["lock", "run", "k", "--wait", "1ms", "--", "true"]);
    // A supervisor's signal reaches the command, and the lock is given back.
    let pid = rustix::process::Pid::from_child(&holder);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(holder.wait().unwrap().code(), Some(143));
    assert!(!windlass.fake.memory().lock_is_held());
}

#[test]
fn a_command_whose_lock_is_lost_is_killed() {
    let windlass = Windlass::start();
    let mut holder = windlass
        .command(&[
            "lock",
            "run",
            "k",
            "--ttl",
            "1s",
            "--",
            "sh",
            "-c",
            "sleep 1000 & wait",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(|| windlass.fake.memory().renewals >= 2);
    windlass.fake.memory().break_lock();
    until(|| holder.try_wait().unwrap().is_some());
    // Its pipe ends only when every process that the command started has ended.
    let output = holder.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("the lock is lost"),
        "{}",
        told(&output)
    );
}

/// Waits until `done`.
fn until(mut done: impl FnMut() -> bool) {
    let give_up = std::time::Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(std::time::Instant::now() < give_up, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn nonsense_is_a_usage_error_and_help_is_not() {
    failed(2, &program(&["task", "submit"]).output().unwrap());
    failed(
        2,
        &program(&["stats", "--log-level", "[["]).output().unwrap(),
    );
    let help = program(&["--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("Exit codes")
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let windlass = Windlass::start();
    let mut child = windlass
        .command(&["stats"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
