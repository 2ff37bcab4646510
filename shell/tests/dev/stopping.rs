//! How it starts and ends: signals under load, ports and directories that are taken.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{send, text};
use crate::rig::{Dev, Process, Said, until, windlass};

#[test]
fn told_to_stop_it_finishes_what_is_short_and_hands_back_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Dev::start_in(dir.path(), &["--slots", "4", "--drain-grace", "2s"]);
    let sleep = |dev: &Dev, ms: u32| dev.submit(&json!({"type": "sleep", "payload": {"ms": ms}}));
    let short = sleep(&dev, 500);
    let long = sleep(&dev, 20_000);
    dev.in_state(&long, "running");
    dev.in_state(&short, "running");
    let mut acknowledged: Vec<String> = (0..300).map(|_| sleep(&dev, 5)).collect();
    let address = dev.address;
    let loading = std::thread::spawn(move || {
        let mut accepted = Vec::new();
        while let Ok(answer) = send(address, "POST", "/api/v1/tasks", Some(r#"{"type":"noop"}"#)) {
            if answer.status == 503 {
                answer.problem(503);
                continue;
            }
            accepted.push(text(&answer.json(201)["id"]));
        }
        accepted
    });
    let told = Instant::now();
    dev.process.signal(Signal::TERM);
    assert_eq!(dev.process.end().code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(12),
        "{:?}",
        told.elapsed()
    );
    acknowledged.extend(loading.join().unwrap());
    drop(dev);

    let dev = Dev::start_in(dir.path(), &[]);
    let finished = dev.task(&short);
    assert_eq!(
        (&finished["status"], &finished["losses"]),
        (&json!("completed"), &json!(0))
    );
    let handed_back = dev.task(&long);
    assert!(
        ["pending", "running"].contains(&&*text(&handed_back["status"])),
        "{handed_back}"
    );
    assert_eq!(
        (&handed_back["retry_count"], &handed_back["losses"]),
        (&json!(0), &json!(0))
    );
    for id in &acknowledged {
        let task = dev.ended(id);
        assert_eq!(
            (&task["status"], &task["losses"]),
            (&json!("completed"), &json!(0))
        );
    }
    let total = acknowledged.len() + 2;
    assert_eq!(dev.tasks()["total"], total);
    dev.cli_json(&["task", "cancel", &long]);
}

#[test]
fn an_idle_server_stops_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut dev = Dev::start(&[]);
        let told = Instant::now();
        dev.process.signal(signal);
        assert_eq!(dev.process.end().code(), Some(0));
        assert!(
            told.elapsed() < Duration::from_secs(3),
            "{:?}",
            told.elapsed()
        );
    }
}

#[test]
fn clients_that_wait_do_not_keep_the_server() {
    let mut dev = Dev::start(&["--drain-grace", "1s"]);
    let id = dev.submit(&json!({"type": "nobody"}));
    let mut waiting = Process::start(dev.command().args(["task", "wait", &id]));
    let address = dev.address;
    let asking = std::thread::spawn(move || {
        let path = format!("/api/v1/tasks/{id}?wait=60s");
        send(address, "GET", &path, None).map(|answer| answer.status)
    });
    dev.post("/api/v1/locks/l", &json!({})).json(200);
    let queuing = std::thread::spawn(move || {
        let body = r#"{"wait":"60s"}"#;
        send(address, "POST", "/api/v1/locks/l", Some(body)).map(|answer| answer.status)
    });
    // The holder's own turn comes round a few times while the other one queues.
    for _ in 0..5 {
        dev.post("/api/v1/locks/l", &json!({"wait": "0s"}))
            .problem(504);
    }
    dev.get_until("/api/v1/stats", |stats| stats["tasks"]["pending"] == 1);
    let told = Instant::now();
    dev.process.signal(Signal::TERM);
    assert_eq!(dev.process.end().code(), Some(0));
    assert!(
        told.elapsed() < Duration::from_secs(6),
        "{:?}",
        told.elapsed()
    );
    // They are told something, or cut off; they do not hang.
    let _ = asking.join().unwrap();
    let _ = queuing.join().unwrap();
    waiting.signal(Signal::TERM);
    waiting.end();
}

#[test]
fn told_to_stop_twice_it_ends_at_once() {
    let mut dev = Dev::start(&["--drain-grace", "10m", "--workers", "1"]);
    let id = dev.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    dev.in_state(&id, "running");
    // A worker that has done what came later has started what came before; a claim alone would be handed back.
    let later = dev.submit(&json!({"type": "noop"}));
    dev.in_state(&later, "completed");
    dev.process.signal(Signal::TERM);
    until("it has heard", || {
        dev.process.log().contains("told to stop").then_some(())
    });
    dev.process.signal(Signal::TERM);
    let ended = dev.process.end();
    assert_eq!((ended.code(), ended.signal()), (Some(128 + 15), None));
}

/// How a second `windlass dev` ends that cannot start.
fn fails(listen: &str, dir: &Path) -> Said {
    let mut process = Process::start(
        windlass()
            .args(["dev", "--listen", listen, "--data-dir"])
            .arg(dir),
    );
    let code = process.end().code().unwrap();
    let err = until("it says why", || {
        Some(process.log()).filter(|log| log.contains("error: "))
    });
    Said {
        code,
        out: String::new(),
        err,
    }
}

#[test]
fn a_port_or_a_store_that_is_in_use_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(dir.path(), &[]);
    let port = fails(&dev.address.to_string(), other.path());
    assert_eq!(port.code, 1);
    assert!(
        port.err
            .contains(&format!("cannot listen on {}", dev.address)),
        "{port:?}"
    );
    let store = fails("127.0.0.1:0", dir.path());
    assert_eq!(store.code, 1);
    assert!(
        store.err.contains("is in use by another process"),
        "{store:?}"
    );
    let id = dev.submit(&json!({"type": "noop"}));
    assert_eq!(
        dev.ended(&id)["status"],
        "completed",
        "the first one does not mind"
    );
}

#[test]
fn a_directory_that_cannot_hold_the_store_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below_a_file = fails("127.0.0.1:0", &file.join("store"));
    assert_eq!(below_a_file.code, 1);
    assert!(
        below_a_file.err.contains("cannot make the directory"),
        "{below_a_file:?}"
    );
    let a_file = fails("127.0.0.1:0", &file);
    assert_eq!(a_file.code, 1);
    assert!(a_file.err.contains("file: "), "{a_file:?}");
    let foreign = dir.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("store.redb"), "this is no database").unwrap();
    let damaged = fails("127.0.0.1:0", &foreign);
    assert_eq!(damaged.code, 1);
    assert!(damaged.err.contains("foreign: "), "{damaged:?}");
    let kept = std::fs::read_to_string(foreign.join("store.redb")).unwrap();
    assert_eq!(kept, "this is no database", "a foreign file is left alone");
    if !rustix::process::geteuid().is_root() {
        let locked = dir.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).unwrap();
        let denied = fails("127.0.0.1:0", &locked);
        assert_eq!(denied.code, 1);
        assert!(denied.err.contains("locked"), "{denied:?}");
    }
}

#[test]
fn a_store_that_cannot_write_ends_the_server_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    // A full disk that needs no disk: files end at 8 or 16 MiB, depending on the shell's unit.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16384; exec \"$0\" \"$@\""]);
    limited.arg(env!("CARGO_BIN_EXE_windlass"));
    let mut dev = Dev::start_as(&mut limited, dir.path(), &[]);
    let task = json!({"type": "nobody", "payload": "x".repeat(200_000)});
    let mut acknowledged = Vec::new();
    while let Ok(answer) = dev.try_send("POST", "/api/v1/tasks", Some(&task.to_string())) {
        if answer.status != 201 {
            answer.problem(answer.status);
            break;
        }
        acknowledged.push(text(&answer.json(201)["id"]));
        assert!(acknowledged.len() < 1_000, "the disk is full some time");
    }
    assert_eq!(dev.process.end().code(), Some(1));
    until("it says why", || {
        dev.process.log().contains("error: ").then_some(())
    });
    assert!(
        dev.process.log().contains("File too large"),
        "{}",
        dev.process.log()
    );
    let dev = Dev::start_in(dir.path(), &[]);
    for id in &acknowledged {
        assert_eq!(dev.task(id)["status"], "pending");
    }
    assert!(dev.tasks()["total"].as_u64().unwrap() - acknowledged.len() as u64 <= 1);
}

#[test]
fn settings_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut dev = Dev::start_in(dir.path(), &[]);
    dev.cli_json(&["queue", "set", "q", "--strategy", "weighted"]);
    dev.cli_json(&["queue", "pause", "q"]);
    let id = dev.submit(&json!({"type": "noop", "queue": "q", "key": "k"}));
    dev.process.child.kill().unwrap();
    dev.process.end();
    let dev = Dev::start_in(dir.path(), &[]);
    let queue: Value = dev.get("/api/v1/queues/q");
    assert_eq!(
        (&queue["strategy"], &queue["paused"]),
        (&json!("weighted"), &json!(true))
    );
    let again = dev.post(
        "/api/v1/tasks",
        &json!({"type": "noop", "queue": "q", "key": "k"}),
    );
    assert_eq!(again.json(200)["id"], id.as_str());
    assert_eq!(dev.task(&id)["status"], "pending");
    dev.cli_json(&["queue", "resume", "q"]);
    assert_eq!(dev.ended(&id)["status"], "completed");
}
