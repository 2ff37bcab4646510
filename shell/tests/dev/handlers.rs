//! Commands that behave badly.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::{Dev, Process, until, windlass};

/// What becomes of a task whose handler is this script.
fn outcome(script: &str) -> Value {
    let dev = Dev::start(&["--handler", &format!("run=sh -c '{script}'")]);
    let id = dev.submit(&json!({"type": "run", "payload": {"n": 7}, "max_retries": 0}));
    let task = dev.ended(&id);
    let next = dev.submit(&json!({"type": "noop"}));
    assert_eq!(
        dev.ended(&next)["status"],
        "completed",
        "the worker goes on"
    );
    task
}

#[test]
fn a_command_gets_the_payload_and_knows_its_attempt() {
    let task =
        outcome(r#"echo "[$(cat), $WINDLASS_ATTEMPT, $WINDLASS_FENCE, \"$WINDLASS_TASK_ID\"]""#);
    assert_eq!(task["status"], "completed", "{task}");
    assert_eq!(
        task["result"],
        json!([{"n": 7}, 1, task["fence"], task["id"]])
    );
}

#[test]
fn a_command_goes_on_with_the_trace_of_whoever_submitted_its_task_if_that_is_one() {
    let dev = Dev::start(&["--handler", "run=sh -c 'echo \"\\\"$TRACEPARENT\\\"\"'"]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (carried, known) in [(trace, trace), ("no trace", "")] {
        let id = dev.submit(&json!({"type": "run", "metadata": {"traceparent": carried}}));
        assert_eq!(dev.ended(&id)["result"], known, "{carried}");
    }
}

#[test]
fn output_that_is_no_json_is_a_text_whatever_its_bytes() {
    let task = outcome(r#"printf "\377\376abc\n""#);
    assert_eq!(
        (&task["status"], text(&task["result"]).trim_end()),
        (&json!("completed"), "\u{fffd}\u{fffd}abc")
    );
}

#[test]
fn a_result_that_is_too_large_fails_the_attempt() {
    let task = outcome("head -c 10485760 /dev/zero | tr \"\\0\" x");
    assert_eq!(task["status"], "failed");
    assert!(text(&task["error"]).contains("262144 bytes"), "{task}");
}

#[test]
fn the_end_of_a_long_complaint_is_the_error() {
    let task = outcome(
        "head -c 10485760 /dev/zero | tr \"\\0\" y >&2; printf \"\\377 the end\" >&2; exit 3",
    );
    let error = text(&task["error"]);
    assert_eq!(task["status"], "failed");
    assert!(
        error.ends_with("the end") && error.len() < 20_000,
        "{} bytes",
        error.len()
    );
}

#[test]
fn a_command_that_is_killed_or_says_nothing_has_an_error_all_the_same() {
    let killed = outcome("kill -9 $$");
    assert!(text(&killed["error"]).contains("signal 9"), "{killed}");
    let silent = outcome("exit 9");
    assert!(text(&silent["error"]).contains('9'), "{silent}");
}

#[test]
fn a_command_that_never_reads_its_payload_completes() {
    let dev = Dev::start(&["--handler", "run=true"]);
    let id = dev.submit(&json!({"type": "run", "payload": "x".repeat(250_000)}));
    assert_eq!(dev.ended(&id)["status"], "completed");
}

#[test]
fn a_command_that_ignores_the_request_to_stop_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!(
        r#"trap "" TERM INT; sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; while :; do wait; sleep 1; done"#,
        pids.display()
    );
    let dev = Dev::start(&["--handler", &format!("run=sh -c '{script}'")]);
    let id = dev.submit(&json!({"type": "run", "timeout": "300ms", "max_retries": 0}));
    let task = dev.ended(&id);
    assert_eq!(task["status"], "failed");
    assert!(text(&task["error"]).contains("time-out"), "{task}");
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        until("it is gone", || {
            rustix::process::test_kill_process(pid).err()
        });
    }
}

#[test]
fn a_command_that_does_not_exist_is_refused_at_the_start() {
    for (handler, reason) in [
        (
            "run=./no-such-program --fast",
            "there is no program ./no-such-program",
        ),
        ("run=no-such-program", "there is no program no-such-program"),
        ("run=", "needs a command"),
        ("run='", "missing closing quote"),
        ("a/b=true", "a/b"),
        ("echo=true", "has a handler already"),
        ("true", "TYPE=COMMAND"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = windlass();
        command.args([
            "dev",
            "--listen",
            "127.0.0.1:0",
            "--handler",
            handler,
            "--data-dir",
        ]);
        let mut process = Process::start(command.arg(dir.path()));
        assert_eq!(process.end().code(), Some(2), "{handler}");
        until("it says why", || {
            process.log().contains(reason).then_some(())
        });
    }
}

#[test]
fn a_command_that_closes_its_streams_still_ends_when_it_ends() {
    let dev = Dev::start(&[
        "--handler",
        "run=sh -c 'exec <&- >&- 2>&-; sleep 0.3; exit 4'",
    ]);
    let id = dev.submit(&json!({"type": "run", "max_retries": 0}));
    let task = dev.ended(&id);
    assert_eq!(task["status"], "failed", "{task}");
    let took = Duration::from_millis(300);
    let at = |field: &str| text(&task[field]).parse::<jiff::Timestamp>().unwrap();
    let ran = at("completed_at").duration_since(at("started_at"));
    assert!(ran.as_millis() >= took.as_millis() as i128, "{task}");
}
