//! Tasks that are run again at the moment at which they are removed.
#![allow(clippy::unwrap_used)]

use std::thread;

use serde_json::json;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::eventually;
use windlass_tests::process::Process;

const TASKS: usize = 1_000;
const CLIENTS: usize = 4;
/// Those that are run again in time, however fast the janitor is.
const EARLY: usize = 50;

/// Several clients do this to one task after the other: for how many they were allowed to.
fn for_each(client: &Client, ids: &[String], action: &str) -> usize {
    let server = &client.servers()[0];
    let act = |id: &&String| {
        let path = format!("/api/v1/tasks/{id}/{action}");
        let (status, body) = client.try_post(server, &path, &json!({})).unwrap();
        assert!([200, 404].contains(&status), "{action} {status} {body}");
        status == 200
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let own = ids.iter().skip(n).step_by(CLIENTS);
                scope.spawn(move || own.filter(act).count())
            })
            .collect();
        clients.into_iter().map(|it| it.join().unwrap()).sum()
    })
}

#[test]
fn a_task_is_run_again_or_removed_but_never_both() {
    let etcd = Etcd::start();
    let options = ["--ttl", "3s", "--retention", "10s"];
    let mut scheduler = Process::scheduler(&etcd, "s1", &options);
    let client = Client::of([&mut scheduler]);
    let mut worker = Process::worker(&etcd, "w1", &["--ttl", "3s", "--slots", "64"]);
    worker.takes_tasks();
    let later = json!({"type": "noop", "delay": "1h"});
    let mut ids = client.submit_all(&vec![later; TASKS]);
    assert_eq!(for_each(&client, &ids, "cancel"), TASKS);
    // The oldest go first: who begins with the youngest meets the janitor in the middle.
    ids.reverse();
    assert_eq!(for_each(&client, &ids[..EARLY], "rerun"), EARLY);
    eventually("tasks are being removed", || {
        let oldest = format!("/api/v1/tasks/{}", ids[TASKS - 1]);
        let (status, _) = client.try_get(&client.servers()[0], &oldest)?;
        (status == 404).then_some(())
    });
    let taken = EARLY + for_each(&client, &ids[EARLY..], "rerun");
    windlass_tests::tell(&format!(
        "{taken} of {TASKS} run again, the others were gone"
    ));
    assert!(taken < TASKS, "the oldest was gone");

    let expected = u64::try_from(taken).unwrap();
    eventually("each that was taken ends", || {
        (client.count("completed") >= expected).then_some(())
    });
    eventually("all are removed in the end", || {
        client.tasks("").is_empty().then_some(())
    });
    assert_eq!(client.count("completed"), expected, "none was run twice");
    let purged = &client.get("/api/v1/stats")["purged"];
    assert_eq!(*purged, TASKS, "each once, and nothing of it is left");
}
