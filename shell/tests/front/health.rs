//! `windlass health`: what probes see.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use super::fake::Fake;

fn health(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_windlass"))
        .arg("health")
        .args(args)
        .env_remove("WINDLASS_SERVER")
        .output()
        .unwrap()
}

/// The exit code, and what is said on either stream.
fn told(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_server_that_lives_need_not_be_ready() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fake = Fake::default();
    let server = format!("http://{}", runtime.block_on(fake.listen()));
    let ask = |more: &[&str]| told(&health(&[&["--server", &server], more].concat()));
    assert_eq!(
        ask(&["-o", "json"]),
        (Some(0), r#"{"status":"ok"}"#.to_owned() + "\n")
    );
    assert_eq!(ask(&["--ready"]).0, Some(0));
    fake.memory().ready = Some("the view lags".to_owned());
    assert_eq!(ask(&[]).0, Some(0));
    let (code, text) = ask(&["--ready"]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("not ready: the view lags"), "{text}");
}

#[test]
fn a_probe_that_talks_in_the_clear_needs_no_certificates() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = format!("http://{}", runtime.block_on(Fake::default().listen()));
    let bare = Command::new(env!("CARGO_BIN_EXE_windlass"))
        .args(["health", "--server", &server])
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/dev/null")
        .output()
        .unwrap();
    let (code, text) = told(&bare);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_not_well() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let silent = health(&["--server", &server, "--timeout", "100ms"]);
    assert_eq!(told(&silent).0, Some(6));
    drop(listener);
    assert_eq!(told(&health(&["--server", &server])).0, Some(5));
}

fn file(folder: &Path, text: &str) -> String {
    let path = folder.join("health");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_worker_is_well_while_its_file_is_young() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), r#"{"node":"w1","ready":true}"#);
    assert_eq!(told(&health(&["--file", &path, "--ready"])).0, Some(0));
    let written = fs::File::options().write(true).open(&path).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(60);
    written.set_modified(long_ago).unwrap();
    let (code, text) = told(&health(&["--file", &path]));
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("ago"), "{text}");
    let patient = health(&["--file", &path, "--max-age", "1h"]);
    assert_eq!(told(&patient).0, Some(0));
}

#[test]
fn a_worker_that_takes_no_tasks_lives_and_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), r#"{"node":"w1","ready":false}"#);
    assert_eq!(told(&health(&["--file", &path])).0, Some(0));
    let (code, text) = told(&health(&["--file", &path, "--ready"]));
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("w1 takes no tasks"), "{text}");
}

#[test]
fn a_worker_without_a_file_is_not_well() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let (code, text) = told(&health(&["--file", none.to_str().unwrap()]));
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("none"), "{text}");
    let foreign = file(folder.path(), "hello");
    assert_eq!(told(&health(&["--file", &foreign])).0, Some(5));
}
