//! What scripts rely on: exit codes, JSON, files of tasks.

use serde_json::{Value, json};

use crate::http::text;
use crate::rig::{Dev, said, windlass};

#[test]
fn every_exit_code_says_what_it_is_published_for() {
    let dev = Dev::start(&[]);
    let done = dev.cli(&["task", "submit", "echo", "--payload", "1", "--wait"]);
    assert_eq!(done.code, 0, "{done:?}");
    let failed = dev.cli(&[
        "task",
        "submit",
        "fail",
        "--payload",
        r#"{"times":9}"#,
        "--max-retries",
        "0",
        "--wait",
    ]);
    assert_eq!(failed.code, 1, "{failed:?}");
    for usage in [
        &["task", "submit"][..],
        &["task", "submit", "noop", "--priority", "10"],
        &["task", "submit", "noop", "--payload", "{"],
        &["task", "submit", "a/b"],
        &["task", "get", "not-an-id"],
        &["queue", "set", "default", "--strategy", "best"],
        &["lock", "run", "a/b", "--", "true"],
        &["no-such-noun"],
        &[],
    ] {
        let said = dev.cli(usage);
        assert_eq!((said.code, &*said.out), (2, ""), "{usage:?}: {said:?}");
        assert!(!said.err.is_empty());
    }
    let nobody = "01890000-0000-7000-8000-000000000000";
    for absent in [
        &["task", "get", nobody][..],
        &["task", "why", nobody],
        &["task", "cancel", nobody],
        &["task", "rerun", nobody],
        &["task", "wait", nobody],
        &["queue", "get", "nowhere"],
        &["node", "drain", "nobody"],
    ] {
        let said = dev.cli(absent);
        assert_eq!((said.code, &*said.out), (3, ""), "{absent:?}: {said:?}");
        assert!(said.err.contains("there is no "), "{said:?}");
    }
    let refused = dev.cli(&["task", "submit", "noop", "--timeout", "0s"]);
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("timeout: must be"), "{refused:?}");
    let mut nowhere = windlass();
    nowhere.args(["--server", "http://127.0.0.1:1", "stats"]);
    let unreachable = said(&mut nowhere, b"");
    assert_eq!(unreachable.code, 5);
    assert!(
        unreachable.err.contains("windlass dev"),
        "it tells what to do: {unreachable:?}"
    );
    let slow = dev.cli(&[
        "task",
        "submit",
        "sleep",
        "--payload",
        r#"{"ms":600000}"#,
        "--wait=100ms",
    ]);
    assert_eq!(slow.code, 6, "{slow:?}");
}

#[test]
fn the_next_server_is_asked_when_one_cannot_be_reached() {
    let dev = Dev::start(&[]);
    let servers = format!("http://127.0.0.1:1,http://{}", dev.address);
    let said = dev.cli(&["--server", &servers, "task", "submit", "noop", "--wait"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn several_tasks_are_waited_for_at_once() {
    let dev = Dev::start(&[]);
    let sleep = |ms: u32| dev.submit(&json!({"type": "sleep", "payload": {"ms": ms}}));
    let (one, two, endless) = (sleep(300), sleep(10), sleep(600_000));
    let failing = dev.submit(&json!({"type": "fail", "payload": {"times": 9}, "max_retries": 0}));
    let both = dev.cli_json(&["task", "wait", &one, &two, &one]);
    let told: Vec<String> = both["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["id"]))
        .collect();
    assert_eq!(told, [&*one, &*two, &*one], "in the order that was asked");
    assert!(
        both["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["status"] == "completed")
    );
    assert_eq!(dev.cli(&["task", "wait", &one, &failing]).code, 1);
    assert_eq!(
        dev.cli(&["task", "wait", &one, &endless, "--timeout", "200ms"])
            .code,
        6
    );
    assert_eq!(
        dev.cli(&["task", "wait", &failing, &endless, "--timeout", "200ms"])
            .code,
        1
    );
}

#[test]
fn every_command_prints_json_when_asked() {
    let dev = Dev::start(&[]);
    let worker = text(&dev.worker()["id"]);
    let id = text(&dev.cli_json(&["task", "submit", "nobody"])["id"]);
    for words in [
        &["task", "get", &id][..],
        &["task", "list"],
        &["task", "why", &id],
        &["task", "cancel", &id],
        &["task", "rerun", &id],
        &["task", "submit", "noop", "--wait"],
        &["queue", "list"],
        &["queue", "get", "default"],
        &["queue", "set", "default", "--strategy", "round_robin"],
        &["queue", "pause", "default"],
        &["queue", "resume", "default"],
        &["node", "list"],
        &["node", "drain", &worker],
        &["stats"],
    ] {
        let json = dev.cli_json(words);
        assert!(json.is_object(), "{words:?}: {json}");
    }
    let table = dev.cli(&["queue", "list"]).out;
    assert!(table.contains("round_robin"), "{table}");
}

#[test]
fn the_faulty_lines_of_a_file_are_told_and_the_others_are_submitted() {
    let dev = Dev::start(&[]);
    let lines = [
        r#"{"type":"echo","payload":{"n":1},"name":"ünïcode 🦀","metadata":{"ключ":"значение"}}"#,
        "",
        r#"{"type":"echo""#,
        r#"{"type":"noop","priority":10}"#,
        r#"[{"type":"noop"}]"#,
        "\u{1}",
        r#"{"type":"noop"}"#,
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend(b"\n{\"type\":\"\xff\"}\n{\"type\":\"noop\"}");
    let mut command = dev.command();
    let bulk = said(
        command.args(["-o", "json", "task", "submit", "--from", "-"]),
        &input,
    );
    assert_eq!(bulk.code, 1, "{bulk:?}");
    assert_eq!(bulk.json(), json!({"accepted": 3, "failed": 5}));
    for line in [
        "line 3: is not JSON",
        "line 4: ",
        "priority",
        "line 5: ",
        "line 6: is not JSON",
        "line 8: is not UTF-8",
    ] {
        assert!(bulk.err.contains(line), "{line}: {}", bulk.err);
    }
    dev.get_until("/api/v1/stats", |stats| stats["tasks"]["completed"] == 3);
    assert_eq!(dev.tasks()["total"], 3);
    let tasks = dev.listed("&type=echo", 10);
    assert_eq!(tasks[0]["name"], "ünïcode 🦀");
    assert_eq!(tasks[0]["metadata"], json!({"ключ": "значение"}));
    let absent = dev.cli(&["task", "submit", "--from", "no-such-file"]);
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("no-such-file"), "{absent:?}");
    let empty = said(
        dev.command()
            .args(["-o", "json", "task", "submit", "--from", "-"]),
        b"",
    );
    assert_eq!(
        (empty.code, empty.json()),
        (0, json!({"accepted": 0, "failed": 0}))
    );
}

#[test]
fn a_payload_comes_from_the_command_line_a_file_or_stdin() {
    let dev = Dev::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("payload.json");
    std::fs::write(&file, r#"{"from":"file"}"#).unwrap();
    let given = format!("@{}", file.display());
    let submit = |payload: &str, input: &[u8]| -> Value {
        let mut command = dev.command();
        command.args([
            "-o",
            "json",
            "task",
            "submit",
            "echo",
            "--wait",
            "--payload",
            payload,
        ]);
        let said = said(&mut command, input);
        assert_eq!(said.code, 0, "{said:?}");
        said.json()["result"].clone()
    };
    assert_eq!(submit(r#"{"from":"words"}"#, b""), json!({"from": "words"}));
    assert_eq!(submit(&given, b""), json!({"from": "file"}));
    assert_eq!(
        submit("-", b"{\"from\":\"stdin\"}\n"),
        json!({"from": "stdin"})
    );
    assert_eq!(submit("-1", b""), json!(-1));
    let absent = dev.cli(&["task", "submit", "echo", "--payload", "@no-such-file"]);
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("no-such-file"), "{absent:?}");
}
