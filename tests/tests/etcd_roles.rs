//! The rights that `deploy/etcd-roles.sh` gives are enough for real schedulers and workers, and no more than its table says.
#![allow(clippy::unwrap_used)]

#[path = "etcd_roles/handlers.rs"]
mod handlers;
#[path = "etcd_roles/rig.rs"]
mod rig;

use rig::{Rig, Way, denied};
use serde_json::{Value, json};
use windlass_tests::client::{Client, command};
use windlass_tests::eventually;
use windlass_tests::process::Process;

fn fails(times: u32, max_retries: u32) -> Value {
    let retry = json!({"kind": "fixed", "delay": "100ms", "jitter": false});
    json!({"type": "fail", "payload": {"times": times}, "max_retries": max_retries, "retry": retry})
}

/// What tasks and operators do, from one end to the other.
fn whole_life(client: &Client, workers: &mut [Process]) {
    let echo = json!({"type": "echo", "payload": 1, "key": "once"});
    let first = client.submit_all(std::slice::from_ref(&echo));
    assert_eq!(client.submit_all(&[echo]), first, "its key is known");
    assert_eq!(client.end_of(&first[0])["status"], "completed");

    let tried_again = client.end_of(&client.submit(&fails(1, 3)));
    assert_eq!(tried_again["status"], "completed");
    assert_eq!(tried_again["retry_count"], 1);

    let dead = client.submit(&fails(1, 0));
    assert_eq!(client.end_of(&dead)["status"], "failed");
    client.done(&["task", "rerun", &dead]);

    let later = client.submit(&json!({"type": "noop", "delay": "1h"}));
    client.done(&["task", "cancel", &later]);
    assert_eq!(client.end_of(&later)["status"], "cancelled");

    client.done(&["queue", "set", "default", "--strategy", "weighted"]);
    client.done(&["queue", "pause", "default"]);
    let paused = client.submit(&json!({"type": "noop"}));
    client.done(&["queue", "resume", "default"]);
    assert_eq!(client.end_of(&paused)["status"], "completed");
    let server = ["--server", &client.servers()[0]];
    let (code, _, said) = command(&[&["lock", "run", "l"], &server[..], &["--", "true"]].concat());
    assert_eq!(code, 0, "{said}");

    for worker in &mut *workers {
        cancelled_while_it_runs(client, worker);
    }
    lost_and_drained(client, workers);
}

fn on(worker: &str, ms: u32) -> Value {
    json!({"type": "sleep", "payload": {"ms": ms}, "queue": worker})
}

fn cancelled_while_it_runs(client: &Client, worker: &Process) {
    let task = client.submit(&on(worker.name(), 600_000));
    client.runs_on(&task, worker.name());
    client.done(&["task", "cancel", &task]);
    assert_eq!(client.end_of(&task)["status"], "cancelled");
}

fn lost_and_drained(client: &Client, workers: &mut [Process]) {
    let [one, two] = workers else {
        panic!("there are two workers")
    };
    // The first is drained by order: what it had not started is the other's.
    client.done(&["node", "drain", one.name()]);
    let task = client.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    client.runs_on(&task, two.name());
    // The second is lost: nobody is there until the first comes back, in a new life.
    two.kill();
    one.terminate();
    assert_eq!(one.ended(), 0, "{} leaves in order", one.name());
    one.restart();
    let again = client.runs_on(&task, one.name());
    assert_eq!(again["losses"], 1);
    client.done(&["task", "cancel", &task]);
    assert_eq!(client.end_of(&task)["status"], "cancelled");
    // Told to leave, it hands back what runs.
    let handed_back = client.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    client.runs_on(&handed_back, one.name());
    one.terminate();
    assert_eq!(one.ended(), 0);
    eventually("it waits again", || {
        (client.task(&handed_back)["status"] == "pending").then_some(())
    });
}

/// Only root may ask etcd's own protocol for it.
fn knows_how_full_etcd_is(client: &Client) {
    eventually("the scheduler knows how full etcd is", || {
        let store = &client.get("/api/v1/stats")["store"];
        let is_told = store["size_bytes"].as_u64() > Some(0);
        is_told.then(|| assert_eq!(store["quota_bytes"], rig::QUOTA, "{store}"))
    });
}

#[test]
fn nodes_can_do_all_of_their_work_with_the_rights_of_the_table() {
    let rig = Rig::start(Way::Password);
    let mut scheduler = rig.scheduler();
    let client = Client::of([&mut scheduler]);
    let mut workers = [
        rig.worker("w1", "worker-w1", &["--queues", "default,w1"]),
        rig.worker("w2", "fleet", &["--queues", "default,w2"]),
    ];
    workers.iter_mut().for_each(Process::takes_tasks);
    knows_how_full_etcd_is(&client);
    whole_life(&client, &mut workers);
    scheduler.terminate();
    assert_eq!(scheduler.ended(), 0);
    for node in workers.iter().chain([&scheduler]) {
        assert_eq!(node.log_line("denied"), None, "{} was let in", node.name());
    }
}

#[test]
fn nodes_can_do_all_of_their_work_by_certificates_and_passwords() {
    let rig = Rig::start(Way::Certificates);
    let mut scheduler = rig.scheduler();
    let client = Client::of([&mut scheduler]);
    let mut workers = [
        rig.worker("w1", "worker-w1", &["--queues", "default,w1"]),
        rig.worker("w2", "fleet", &["--queues", "default,w2"]),
    ];
    workers.iter_mut().for_each(Process::takes_tasks);
    knows_how_full_etcd_is(&client);
    whole_life(&client, &mut workers);
}

#[test]
fn a_node_without_a_password_or_with_anothers_rights_does_not_start() {
    let rig = Rig::start(Way::Password);
    let mut nobody = Process::start(
        "nobody",
        &["worker", "--etcd", rig.etcd().endpoint(), "--id", "w1"],
    );
    assert_eq!(nobody.ended(), 5, "it cannot reach its store");
    nobody.logs("etcd");
    let mut other = rig.worker("w2", "worker-w1", &[]);
    assert_eq!(other.ended(), 5, "w2 may not use what is w1's");
    other.logs("denied");
}

const TASK: &str = "/tasks/019aa000-0000-7000-8000-000000000000";

#[test]
fn a_workers_user_can_only_touch_what_a_worker_touches() {
    let rig = Rig::start(Way::Password);
    let mut one = rig.as_user("worker-w1");
    for key in [
        "/config/queues/default",
        "/config/nodes/w1",
        "/config/nodes/w2",
        "/locks/@janitor/x",
        "/nodes/scheduler/s1",
        "/nodes/worker/w2",
        "/nodes/worker/w10",
        "/offers/w2",
        "/offers/w10",
        "/queues/@w2/priority_5_1700000000000_x",
        "/queues/@w10/priority_5_1700000000000_x",
        "/stats/w2/w0",
        "/stats/@folded/totals",
        "/unique/abc",
        "/elsewhere",
    ] {
        denied(key, one.put(key));
        denied(key, one.delete(key));
        if key != "/config/nodes/w1" {
            denied(key, one.get(key));
        }
    }
    for key in [
        "/delayed/1700000000000_x",
        "/queues/default/x",
        "/dead/default/x",
    ] {
        denied(key, one.get(key));
        one.put(key).unwrap();
    }
    for range in [
        ("/config/", "/queues0"),
        ("/queues/", "/queues0"),
        ("/queues/@", "/queues/A"),
        ("/locks/", "/locks0"),
        ("/locks/@janitor/", "/locks/@janitor0"),
    ] {
        denied(range.0, one.get_range(range.0, range.1));
    }
    // Handlers take any lock, whatever its name begins with.
    for lock in ["l", "Z", "_", "-", ".", "0", "9"] {
        one.put(&format!("/locks/{lock}/x")).unwrap();
        let (from, to) = (format!("/locks/{lock}/"), format!("/locks/{lock}0"));
        one.get_range(&from, &to).unwrap();
    }
    // What prefixes cannot keep apart: the README says so.
    one.put(TASK).unwrap();
    one.put(&format!("{TASK}/outcome")).unwrap();
    let mut fleet = rig.as_user("fleet");
    fleet.put("/queues/@w1/priority_5_1700000000000_x").unwrap();
    denied(
        "/config/queues/default",
        fleet.put("/config/queues/default"),
    );
    denied("/unique/abc", fleet.get("/unique/abc"));
}

#[test]
fn a_workers_user_cannot_get_by_another_way_what_it_may_not_touch() {
    let rig = Rig::start(Way::Password);
    let mut one = rig.as_user("worker-w1");
    for key in ["/queues/@w2/x", "/unique/abc", "/nodes/worker/w2"] {
        denied(key, one.put_in_txn(key));
        denied(key, one.put_in_nested_txn(key));
        denied(key, one.get_in_nested_txn(key));
        denied(key, one.watch(key, None));
    }
    // It may write there, and learn nothing of what was there before.
    denied(
        "the former value",
        one.put_for_the_former_value("/dead/default/x"),
    );
    denied(
        "the former value",
        one.delete_for_the_former_value("/dead/default/x"),
    );
    for (from, to) in [
        ("/queues/@w1/", "/queues/@w2"),
        ("/tasks/", "/u"),
        ("/", "0"),
    ] {
        denied(from, one.watch(from, Some(to)));
    }
    one.watch("/queues/@w1/", Some("/queues/@w10")).unwrap();
}

#[test]
fn a_schedulers_user_cannot_pass_for_a_worker() {
    let rig = Rig::start(Way::Password);
    let mut user = rig.as_user("scheduler");
    for key in ["/nodes/worker/w1", "/offers/w1", "/zoo"] {
        denied(key, user.put(key));
    }
    denied("/zoo", user.get("/zoo"));
    user.put("/config/queues/default").unwrap();
    user.get_range("/config/", "/queues0").unwrap();
    denied("everything", user.get_range("/", "0"));
    denied("users", user.add_user());
    denied("compaction", user.compact());
}

#[test]
fn no_node_can_end_the_lease_of_another() {
    let rig = Rig::start(Way::Password);
    let mut worker = rig.worker("w2", "fleet", &[]);
    worker.takes_tasks();
    let lease = rig.as_user("root").lease_of("/nodes/worker/w2");
    denied("the lease of w2", rig.as_user("worker-w1").revoke(lease));
    denied("the lease of w2", rig.as_user("scheduler").revoke(lease));
}
