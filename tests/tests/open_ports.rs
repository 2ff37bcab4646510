//! What listens, on the real binary: nothing but what the documentation names, where it says so.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::json;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;
use windlass_tests::sockets::reachable;

fn address_of(url: &str) -> SocketAddr {
    let address = url.rsplit('/').next().and_then(|it| it.parse().ok());
    address.expect("a URL ends in address and port")
}

#[test]
fn a_server_listens_where_it_was_told_to_and_nowhere_else() {
    let mut dev = Process::dev(&["--handler", "shell=sleep 60"]);
    let client = Client::of([&mut dev]);
    // A handler that runs has a guardian and a process of its own: neither opens anything.
    let task = client.submit(&json!({"type": "shell"}));
    let node = client.get("/api/v1/nodes")["nodes"]
        .as_array()
        .and_then(|nodes| nodes.iter().find(|it| it["role"] == "worker"))
        .map(|it| it["id"].as_str().unwrap_or_default().to_owned());
    client.runs_on(&task, &node.expect("there is a worker"));
    let only = BTreeSet::from([address_of(&dev.url())]);
    assert_eq!(reachable(dev.id()), only);
}

#[test]
fn a_scheduler_listens_where_it_was_told_to_and_a_worker_does_not_listen() {
    let etcd = Etcd::start();
    let mut scheduler = Process::scheduler(&etcd, "s", &[]);
    let mut worker = Process::worker(&etcd, "w", &[]);
    let client = Client::of([&mut scheduler]);
    worker.takes_tasks();
    client.end_of(&client.submit(&json!({"type": "noop"})));
    let only = BTreeSet::from([address_of(&scheduler.url())]);
    assert_eq!(reachable(scheduler.id()), only);
    assert_eq!(reachable(worker.id()), BTreeSet::new());
}

#[test]
fn a_worker_shows_its_metrics_where_it_was_told_to() {
    let etcd = Etcd::start();
    let mut worker = Process::worker(&etcd, "w", &["--metrics", "127.0.0.1:0"]);
    worker.takes_tasks();
    let found = reachable(worker.id());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.iter().all(|it| it.ip().is_loopback()), "{found:?}");
}
