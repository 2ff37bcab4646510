//! Locks, by HTTP and around a command.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::rig::{Dev, Process, said, until};

const LOCK: &str = "/api/v1/locks/l";

fn fence(held: &Value) -> u64 {
    held["fence"].as_u64().unwrap()
}

fn release(dev: &Dev, held: &Value) {
    let body = json!({"token": held["token"]}).to_string();
    dev.send("DELETE", LOCK, Some(&body)).json(200);
}

#[test]
fn waiters_get_the_lock_one_by_one_with_growing_fences() {
    let dev = Dev::start(&[]);
    let holder = dev.post(LOCK, &json!({"owner": "first"})).json(200);
    let held = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let got = dev.post(LOCK, &json!({"wait": "60s"})).json(200);
                    let taken = held.swap(true, std::sync::atomic::Ordering::SeqCst);
                    assert!(!taken, "two hold it");
                    let renewed = json!({"token": got["token"]}).to_string();
                    dev.send("PUT", LOCK, Some(&renewed)).json(200);
                    held.store(false, std::sync::atomic::Ordering::SeqCst);
                    release(&dev, &got);
                    fence(&got)
                })
            })
            .collect();
        release(&dev, &holder);
        let mut fences: Vec<u64> = waiters.into_iter().map(|it| it.join().unwrap()).collect();
        fences.sort_unstable();
        fences.dedup();
        assert_eq!(fences.len(), 8, "each has a fence of its own");
        assert!(fences[0] > fence(&holder));
    });
}

#[test]
fn a_token_that_is_over_holds_and_releases_nothing() {
    let dev = Dev::start(&[]);
    let held = dev.post(LOCK, &json!({})).json(200);
    release(&dev, &held);
    let body = json!({"token": held["token"]}).to_string();
    let renewed = dev.send("PUT", LOCK, Some(&body));
    assert!([404, 409].contains(&renewed.status), "{renewed:?}");
    renewed.problem(renewed.status);
    let next = dev.post(LOCK, &json!({"wait": "0s"})).json(200);
    dev.send("DELETE", LOCK, Some(&body)).json(200);
    let renewal = json!({"token": next["token"]}).to_string();
    dev.send("PUT", LOCK, Some(&renewal)).json(200);
    for method in ["PUT", "DELETE"] {
        dev.send(method, LOCK, Some(r#"{"token":"00"}"#))
            .bad_fields(400);
        dev.send(method, LOCK, None).bad_fields(400);
    }
}

#[test]
fn a_command_under_a_lock_gets_a_growing_fence_and_its_exit_code_passes_through() {
    let dev = Dev::start(&[]);
    let mut last = 0;
    for code in [0, 1, 3, 77] {
        let script = format!("echo $WINDLASS_FENCE; exit {code}");
        let said = dev.cli(&["lock", "run", "l", "--", "sh", "-c", &script]);
        assert_eq!(said.code, code, "{said:?}");
        let fence: u64 = said.out.trim().parse().unwrap();
        assert!(fence > last, "{fence} after {last}");
        last = fence;
    }
    let killed = dev.cli(&["lock", "run", "l", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code, 128 + 9);
    let absent = dev.cli(&["lock", "run", "l", "--", "./no-such-program"]);
    assert_eq!(absent.code, 1);
    assert!(
        absent.err.contains("cannot run ./no-such-program"),
        "{absent:?}"
    );
    let free = dev.post(LOCK, &json!({"wait": "0s"})).json(200);
    assert!(fence(&free) > last, "every end gave it back");
}

#[test]
fn commands_under_one_lock_never_overlap() {
    let dev = Dev::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let script = "mkdir held && echo $WINDLASS_FENCE >> fences && rmdir held";
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut command = dev.command();
                command.current_dir(dir.path());
                let said = said(
                    command.args(["lock", "run", "l", "--", "sh", "-c", script]),
                    b"",
                );
                assert_eq!(said.code, 0, "{said:?}");
            });
        }
    });
    let fences = std::fs::read_to_string(dir.path().join("fences")).unwrap();
    let fences: Vec<u64> = fences.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(fences.len(), 6);
    assert!(fences.is_sorted_by(|a, b| a < b), "{fences:?}");
}

#[test]
fn a_lock_that_is_not_free_in_time_is_a_time_out() {
    let dev = Dev::start(&[]);
    let held = dev.post(LOCK, &json!({})).json(200);
    dev.post(LOCK, &json!({"wait": "0s"})).problem(504);
    let said = dev.cli(&["lock", "run", "l", "--wait", "100ms", "--", "true"]);
    assert_eq!(said.code, 6);
    assert!(
        said.err.contains("the lock l was not free in time"),
        "{said:?}"
    );
    release(&dev, &held);
    assert_eq!(
        dev.cli(&["lock", "run", "l", "--wait", "30s", "--", "true"])
            .code,
        0
    );
}

#[test]
fn a_command_is_killed_when_its_lock_is_lost() {
    let mut dev = Dev::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let mut command = dev.command();
    command.current_dir(dir.path()).stdout(Stdio::null());
    let script = "echo $$ > pid.new; mv pid.new pid; exec sleep 600";
    command.args(["lock", "run", "l", "--ttl", "2s", "--", "sh", "-c", script]);
    let mut runner = Process::start(&mut command);
    let pid = until("the command runs", || {
        std::fs::read_to_string(&pid_file).ok()
    });
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    dev.process.child.kill().unwrap();
    assert_eq!(runner.end().code(), Some(1));
    until("it says why", || {
        runner
            .log()
            .contains("the command was killed")
            .then_some(())
    });
    let tries = runner.log().matches("it is tried again").count();
    assert!(tries < 10, "{tries} tries in two seconds");
    until("the command is gone", || {
        rustix::process::test_kill_process(pid).err()
    });
}
