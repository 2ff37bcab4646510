//! A completion that comes late, written by hand: whatever its sender believes, etcd refuses it.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

mod port;

use serde_json::json;
use tokio::runtime::Runtime;
use windlass::core::ids::{Fence, NodeId, Revision};
use windlass::core::keyspace::{Key, Meaning, Place};
use windlass::core::record::{ClaimRecord, Json, Outcome, Record as _};
use windlass::core::steps::{self, Ending};
use windlass::core::store::{Guard, Step, TxnOutcome};
use windlass::core::time::Wall;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::eventually;
use windlass_tests::process::Process;

/// The claim of the one task that a worker holds.
struct Held {
    worker: NodeId,
    place: Place,
    fence: Fence,
    record: ClaimRecord,
}

impl Held {
    async fn by(worker: &str, port: &mut port::Client) -> Self {
        let folder = format!("/queues/@{worker}");
        let items = port
            .range(&format!("{folder}/"), &format!("{folder}0"))
            .await;
        let [item] = &items[..] else {
            panic!("one claim is expected: {items:?}");
        };
        let Meaning::Claim(worker, place) = Meaning::of(&item.key) else {
            panic!("{} is no claim", item.key);
        };
        Self {
            worker,
            place,
            fence: Fence(item.found.created),
            record: ClaimRecord::decode(&item.found.value).unwrap(),
        }
    }

    fn completed(&self, result: &str) -> Step {
        let ending = Ending {
            outcome: Outcome::Completed(Json::string(result)),
            started_at: None,
            ended_at: Wall::from_millis(1),
        };
        steps::end(&self.worker, self.place, self.fence, &self.record, ending)
    }

    fn key(&self) -> Key {
        Key::claim(&self.worker, self.place)
    }
}

#[test]
fn a_completion_under_an_older_fence_is_refused_and_told_whose_the_claim_is_now() {
    let etcd = Etcd::start();
    let mut scheduler = Process::scheduler(&etcd, "s1", &["--ttl", "3s"]);
    let mut worker = Process::worker(&etcd, "w1", &["--ttl", "3s"]);
    let client = Client::of([&mut scheduler]);
    worker.takes_tasks();
    let task = client.submit(&json!({"type": "sleep", "payload": {"ms": 600_000}}));
    client.runs_on(&task, "w1");
    let runtime = Runtime::new().unwrap();
    let mut port = runtime.block_on(async { port::Client::new(&port::store(&etcd).await) });
    let old = runtime.block_on(Held::by("w1", &mut port));
    // The same claim of the same worker, but of its next life.
    worker.restart();
    eventually("it is claimed again", || {
        let task = client.runs_on(&task, "w1");
        (task["losses"] == 1).then_some(())
    });
    let new = runtime.block_on(Held::by("w1", &mut port));
    assert_eq!(old.key(), new.key());
    assert!(old.fence < new.fence);

    let late = old.completed("late");
    let guard = late.guards[0].clone();
    let since = old.fence.0;
    assert_eq!(
        guard,
        Guard::Alive {
            key: old.key(),
            since
        }
    );
    match runtime.block_on(port.commit(late.guards, late.writes)) {
        TxnOutcome::Conflict { failed, .. } => {
            let [failed] = &failed[..] else {
                panic!("one guard fails: {failed:?}");
            };
            assert_eq!(failed.guard.0, 0, "the claim's");
            assert_eq!(failed.found.as_ref().unwrap().created, new.fence.0);
        }
        other => panic!("unexpected: {other:?}"),
    }
    assert_eq!(client.task(&task)["status"], "running");

    let timely = new.completed("timely");
    let at: Revision = runtime.block_on(port.committed(timely.guards, timely.writes));
    assert!(at > new.fence.0);
    let end = client.end_of(&task);
    assert_eq!(
        (&end["status"], &end["result"]),
        (&json!("completed"), &json!("timely"))
    );
    assert_eq!(end["fence"], json!(new.fence));
    // Nor does it help to come once more, when nobody holds the claim.
    let late = old.completed("late");
    let refused = runtime.block_on(port.commit(late.guards, late.writes));
    assert!(
        matches!(refused, TxnOutcome::Conflict { .. }),
        "{refused:?}"
    );
    assert_eq!(client.task(&task), end);
}
