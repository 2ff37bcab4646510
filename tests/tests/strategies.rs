//! How the tasks of a queue are spread over its workers, while all of them have room.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::json;
use windlass_tests::client::{Client, text};
use windlass_tests::etcd::Etcd;
use windlass_tests::eventually;
use windlass_tests::process::Process;

/// Two schedulers, and three workers with weights 1, 2 and 4.
struct Cluster {
    client: Client,
    _workers: [Process; 3],
    _schedulers: [Process; 2],
    _etcd: Etcd,
}

const SCHEDULERS: usize = 2;
const WORKERS: [(&str, &str); 3] = [("w1", "1"), ("w2", "2"), ("w4", "4")];

impl Cluster {
    fn start() -> Self {
        let etcd = Etcd::start();
        let mut schedulers = ["s1", "s2"].map(|id| Process::scheduler(&etcd, id, &[]));
        let mut workers = WORKERS.map(|(id, weight)| {
            let queues = format!("spread,only-{id}");
            let args = ["--slots", "16", "--weight", weight, "--queues", &queues];
            Process::worker(&etcd, id, &args)
        });
        let client = Client::of(&mut schedulers);
        workers.iter_mut().for_each(Process::takes_tasks);
        eventually("the schedulers know the workers", || {
            let stats = client.get("/api/v1/stats");
            (stats["workers"] == 3).then_some(())
        });
        Self {
            client,
            _workers: workers,
            _schedulers: schedulers,
            _etcd: etcd,
        }
    }

    /// Runs tasks in the queue `spread`, `group` at the same time, and tells which worker ran each.
    fn spread(&self, strategy: &str, count: usize, group: usize) -> Vec<String> {
        let set = ["queue", "set", "spread", "--strategy", strategy];
        assert_eq!(self.client.done(&set)["strategy"], strategy);
        for server in self.client.servers() {
            eventually("all schedulers have heard of the strategy", || {
                let queue = self.client.try_get(server, "/api/v1/queues/spread");
                queue.filter(|it| it.1["strategy"] == strategy)
            });
        }
        let task = json!({"type": "noop", "queue": "spread"});
        let mut ran = Vec::new();
        while ran.len() < count {
            let ids = self.client.submit_all(&vec![task.clone(); group]);
            let ends = ids.iter().map(|id| self.client.end_of(id));
            ran.extend(ends.map(|end| text(&end["worker_id"])));
        }
        windlass_tests::tell(&format!("{strategy}: {:?} of {count}", shares(&ran)));
        ran
    }
}

fn shares(ran: &[String]) -> BTreeMap<&str, usize> {
    let mut shares: BTreeMap<_, _> = WORKERS.iter().map(|(id, _)| (*id, 0)).collect();
    for worker in ran {
        *shares.get_mut(worker.as_str()).unwrap() += 1;
    }
    shares
}

#[test]
fn weighted_gives_workers_their_shares() {
    let cluster = Cluster::start();
    for group in [1, 7] {
        let ran = cluster.spread("weighted", 700, group);
        for ((worker, share), expected) in shares(&ran).into_iter().zip([100, 200, 400]) {
            let off = share.abs_diff(expected);
            assert!(off * 20 <= expected, "{worker}: {share}, not {expected}");
        }
    }
}

#[test]
fn round_robin_gives_all_workers_the_same() {
    let cluster = Cluster::start();
    let ran = cluster.spread("round_robin", 300, 1);
    let shares = shares(&ran);
    let (least, most) = (shares.values().min(), shares.values().max());
    // Each scheduler goes round by itself.
    assert!(most.unwrap() - least.unwrap() <= SCHEDULERS, "{shares:?}");
}

#[test]
fn random_is_even_on_the_whole_and_follows_no_order() {
    let cluster = Cluster::start();
    let ran = cluster.spread("random", 600, 1);
    for (worker, share) in shares(&ran) {
        // Five standard deviations of 11.5 from the mean of 200: less than once in a million runs.
        assert!((142..=258).contains(&share), "{worker}: {share}");
    }
    let repeats = ran.windows(2).filter(|pair| pair[0] == pair[1]).count();
    // Of 599 pairs a third, give or take five standard deviations again.
    assert!((142..=258).contains(&repeats), "{repeats} repeats");
}

#[test]
fn least_load_prefers_the_emptiest_worker() {
    let cluster = Cluster::start();
    let client = &cluster.client;
    for (worker, busy) in [("w1", 12), ("w2", 6)] {
        let queue = format!("only-{worker}");
        let task = json!({"type": "sleep", "payload": {"ms": 600_000}, "queue": queue});
        for id in client.submit_all(&vec![task; busy]) {
            client.runs_on(&id, worker);
        }
    }
    // The loads are 12, 6 and 0 of 16, and one more at a time.
    let ran = cluster.spread("least_load", 60, 1);
    assert_eq!(shares(&ran)["w4"], 60);
    // Six at a time fill it up to where the second is, and no further.
    let ran = cluster.spread("least_load", 60, 6);
    assert_eq!(shares(&ran)["w1"], 0);
}
