//! A worker's sign of life, as a probe in its container sees it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use windlass_tests::client::command;
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;
use windlass_tests::{PATIENCE, eventually, within};

/// The exit code of a probe.
fn probe(file: &Path, more: &[&str]) -> i32 {
    let file = file.to_str().unwrap();
    command(&[&["health", "--file", file], more].concat()).0
}

fn worker(etcd: &Etcd, folder: &TempDir, id: &str) -> (Process, std::path::PathBuf) {
    let file = folder.path().join(id);
    let more = ["--ttl", "3s", "--health-file", file.to_str().unwrap()];
    (Process::worker(etcd, id, &more), file)
}

const YOUNG: [&str; 2] = ["--max-age", "3s"];

#[test]
fn a_worker_is_well_until_it_stands_still_and_again_when_it_goes_on() {
    let (etcd, folder) = (Etcd::start(), tempfile::tempdir().unwrap());
    let (worker, file) = worker(&etcd, &folder, "w");
    let ready = [&YOUNG[..], &["--ready"]].concat();
    eventually("the worker is ready", || {
        (probe(&file, &ready) == 0).then_some(())
    });
    worker.pause();
    within(PATIENCE, "a worker that stands still is unwell", || {
        (probe(&file, &YOUNG) == 5).then_some(())
    });
    worker.resume();
}

#[test]
fn a_worker_whose_session_is_over_is_not_well_though_its_process_lives() {
    let (etcd, folder) = (Etcd::start(), tempfile::tempdir().unwrap());
    let (mut worker, file) = worker(&etcd, &folder, "w");
    eventually("the worker is well", || {
        (probe(&file, &YOUNG) == 0).then_some(())
    });
    etcd.pause();
    within(PATIENCE, "without its store it is unwell", || {
        (probe(&file, &YOUNG) == 5).then_some(())
    });
    assert!(worker.runs(), "it waits for the store");
    assert_eq!(
        probe(&file, &["--max-age", "1h"]),
        0,
        "it was well, not long ago"
    );
    etcd.resume();
}

#[test]
fn two_workers_on_one_machine_have_a_file_each() {
    let (etcd, folder) = (Etcd::start(), tempfile::tempdir().unwrap());
    let (mut one, first) = worker(&etcd, &folder, "one");
    let (_two, second) = worker(&etcd, &folder, "two");
    for file in [&first, &second] {
        eventually("both are well", || (probe(file, &YOUNG) == 0).then_some(()));
    }
    one.kill();
    within(
        Duration::from_secs(30),
        "only the dead one is unwell",
        || (probe(&first, &YOUNG) == 5).then_some(()),
    );
    assert_eq!(probe(&second, &YOUNG), 0);
}
