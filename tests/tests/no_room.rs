//! Stores that are nearly full, and one that is quite full: what is refused, what goes on, and what is lost, which is nothing.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use etcd_client::{
    AlarmAction, AlarmOptions, AlarmType, Client as Raw, CompactionOptions, DeleteOptions, Error,
};
use reqwest::blocking::Client as Http;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use windlass_tests::client::Client;
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;
use windlass_tests::{eventually, within};

const NODE: [&str; 2] = ["--ttl", "3s"];

/// What somebody else writes into the same etcd, and whoever runs that etcd does about it.
struct Stranger {
    runtime: Runtime,
    raw: Raw,
}

impl Stranger {
    fn of(etcd: &Etcd) -> Self {
        let runtime = Runtime::new().unwrap();
        let raw = runtime
            .block_on(Raw::connect([etcd.endpoint()], None))
            .unwrap();
        Self { runtime, raw }
    }

    /// A lease that nobody renews: etcd counts the seconds by the clock that it counts everybody's by.
    fn hourglass(&mut self) -> i64 {
        let granted = self.runtime.block_on(self.raw.lease_grant(600, None));
        granted.unwrap().id()
    }

    fn seconds_left(&mut self, hourglass: i64) -> i64 {
        let asked = self.raw.lease_time_to_live(hourglass, None);
        self.runtime.block_on(asked).unwrap().ttl()
    }

    /// Writes until etcd takes nothing any more.
    fn fill(&mut self) {
        let raw = &mut self.raw;
        self.runtime.block_on(async {
            let value = vec![b'x'; 1_000_000];
            for n in 0_u32.. {
                match raw.put(format!("stranger/{n}"), value.clone(), None).await {
                    Ok(_) => {}
                    Err(Error::GRpcStatus(status)) => {
                        assert!(status.message().contains("space exceeded"), "{status}");
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }

    fn alarms(&mut self) -> usize {
        let asked = self.raw.alarm(AlarmAction::Get, AlarmType::None, None);
        self.runtime.block_on(asked).unwrap().alarms().len()
    }

    /// Removes what was written, gives the room back and ends the alarm.
    fn mend(&mut self) {
        let raw = &mut self.raw;
        self.runtime.block_on(async {
            let all = DeleteOptions::new().with_prefix();
            let gone = raw.delete("stranger/", Some(all)).await.unwrap();
            let at = gone.header().unwrap().revision();
            // Else the file is tidied before there is anything to tidy, and is as large as before.
            let wait_for_the_room = CompactionOptions::new().with_physical();
            raw.compact(at, Some(wait_for_the_room)).await.unwrap();
            raw.defragment().await.unwrap();
            let raised = raw.alarm(AlarmAction::Get, AlarmType::None, None);
            for alarm in raised.await.unwrap().alarms() {
                let mut of = AlarmOptions::new();
                of.with_member(alarm.member_id());
                raw.alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of))
                    .await
                    .unwrap();
            }
        });
    }
}

/// The status, when to come again, and the body.
fn submit(http: &Http, client: &Client, tasks: &Value) -> (u16, Option<String>, Value) {
    let url = format!("{}/api/v1/tasks", client.servers()[0]);
    let answer = http.post(url).json(tasks).send().unwrap();
    let later = answer.headers().get("retry-after");
    let later = later.map(|it| it.to_str().unwrap().to_owned());
    (answer.status().as_u16(), later, answer.json().unwrap())
}

fn http() -> Http {
    let patience = Duration::from_secs(30);
    windlass_tests::client::http()
        .timeout(patience)
        .build()
        .unwrap()
}

#[test]
fn while_etcd_takes_nothing_new_tasks_are_refused_and_what_has_run_is_recorded_later() {
    let etcd = Etcd::start_with("http", &["--quota-backend-bytes", "20000000"]);
    let quota = ["--etcd-quota", "20000000"];
    let mut scheduler = Process::scheduler(&etcd, "s1", &[&NODE[..], &quota].concat());
    let client = Client::of([&mut scheduler]);
    let folder = tempfile::tempdir().unwrap();
    let done = folder.path().join("done");
    let gate = folder.path().join("gate");
    let command = format!(
        "work=sh -c 'until test -e {}; do sleep 0.1; done; echo ran >> {}'",
        gate.display(),
        done.display()
    );
    let handler = ["--handler", command.as_str()];
    let mut worker = Process::worker(&etcd, "w1", &[&NODE[..], &handler].concat());
    worker.takes_tasks();
    let running = client.submit(&json!({"type": "work"}));
    client.submit(&json!({"type": "noop", "delay": "1s", "key": "k"}));
    client.runs_on(&running, "w1");

    let (http, mut stranger) = (http(), Stranger::of(&etcd));
    let hourglass = stranger.hourglass();
    stranger.fill();
    assert_eq!(stranger.alarms(), 1);
    let task = json!({"type": "noop"});
    // Until the scheduler knows, the fate of what it has sent is unknown: such a task may be there in the end.
    let mut unsure = 0;
    let (later, refusal) = eventually("new tasks are refused", || {
        let (status, later, body) = submit(&http, &client, &task);
        let is_refused = status == 503 && later.is_some();
        unsure += u64::from(!is_refused);
        is_refused.then_some((later, body))
    });
    assert_eq!(later.as_deref(), Some("5"));
    let detail = refusal["detail"].as_str().unwrap();
    assert!(detail.contains("quota"), "{detail}");
    let all = json!([task, task]);
    assert_eq!(submit(&http, &client, &all).0, 503, "an array as a whole");
    let (code, said) = client.fails(&["task", "submit", "noop"]);
    assert!(code == 5 && said.contains("quota"), "{code}: {said}");
    assert_eq!(client.get("/api/v1/stats")["store"]["level"], "full");
    scheduler.logs("etcdctl alarm disarm");

    std::fs::write(&gate, "").unwrap();
    eventually("the handler ends", || std::fs::read(&done).ok());
    // Longer than leases live: those of the nodes must be renewed though nothing can be written.
    let three_lives_on = stranger.seconds_left(hourglass) - 9;
    eventually("etcd has counted three lives of a node", || {
        (stranger.seconds_left(hourglass) < three_lives_on).then_some(())
    });
    assert_eq!(client.task(&running)["status"], "running", "as recorded");
    assert_eq!(submit(&http, &client, &task).0, 503);

    stranger.mend();
    let end = client.end_of(&running);
    assert_eq!(
        (&end["status"], &end["losses"]),
        (&json!("completed"), &json!(0))
    );
    assert_eq!(std::fs::read_to_string(&done).unwrap(), "ran\n", "once");
    // The other may have been removed already: a full store keeps what has ended for moments only.
    eventually("the other has ended", || {
        (client.count("completed") >= 2).then_some(())
    });
    eventually("new tasks are taken again", || {
        (submit(&http, &client, &task).0 == 201).then_some(())
    });
    let total = client.count("total");
    assert!(
        (3..=3 + unsure).contains(&total),
        "{total} with {unsure} of unknown fate: what was refused is nowhere"
    );
    assert_eq!(stranger.alarms(), 0);
}

#[test]
fn ended_tasks_make_room_for_new_ones_before_etcd_is_full() {
    const QUOTA: u64 = 64_000_000;
    // Few and large ones: it is bytes that fill a store.
    const TASKS: u64 = 5_000;
    const BATCH: u64 = 25;
    let quota = QUOTA.to_string();
    let etcd = Etcd::start_with("http", &["--quota-backend-bytes", &quota]);
    let more = ["--etcd-quota", quota.as_str()];
    let mut scheduler = Process::scheduler(&etcd, "s1", &[&NODE[..], &more].concat());
    let client = Client::of([&mut scheduler]);
    let mut worker = Process::worker(&etcd, "w1", &[&NODE[..], &["--slots", "64"]].concat());
    worker.takes_tasks();
    let (http, mut stranger) = (http(), Stranger::of(&etcd));

    let task = json!({"type": "noop", "payload": "x".repeat(16_000)});
    let batch = Value::Array(vec![task; usize::try_from(BATCH).unwrap()]);
    let (mut accepted, mut refused) = (0, 0);
    let patience = Duration::from_secs(300);
    within(patience, "every task is accepted", || {
        match submit(&http, &client, &batch) {
            (201, ..) => accepted += BATCH,
            (503, Some(_), _) => {
                refused += BATCH;
                std::thread::sleep(Duration::from_millis(200));
            }
            other => panic!("{other:?}"),
        }
        (accepted >= TASKS).then_some(())
    });
    within(patience, "every task has ended", || {
        (client.count("completed") == TASKS).then_some(())
    });
    let stats = client.get("/api/v1/stats");
    windlass_tests::tell(&format!("{refused} refused meanwhile; {}", stats["store"]));
    assert!(stats["purged"].as_u64() > Some(0), "{stats}");
    assert!(
        stats["store"]["size_bytes"].as_u64() < Some(QUOTA),
        "{stats}"
    );
    assert_eq!(stranger.alarms(), 0);
}
