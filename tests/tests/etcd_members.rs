//! The etcd port against three members, one of which cannot be relied on.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "figures, for whoever wants them")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

mod port;

use std::time::{Duration, Instant};

use port::{Client, Mirror, key, put};
use windlass::core::ids::Revision;
use windlass::core::keyspace::Range;
use windlass::core::store::{Answer, Call, Guard, LeaseAnswer, Query, ReadAnswer, TxnOutcome};
use windlass::store::etcd::{EtcdConfig, EtcdStore};
use windlass_tests::etcd::Etcd;
use windlass_tests::proxy::Proxy;

/// Three members, each behind a proxy of its own.
struct Cluster {
    _members: Vec<Etcd>,
    proxies: Vec<Proxy>,
}

impl Cluster {
    fn start() -> Self {
        let members = Etcd::cluster(3);
        let proxies = members.iter().map(|it| Proxy::to(it.endpoint()));
        Self {
            proxies: proxies.collect(),
            _members: members,
        }
    }

    fn config(&self) -> EtcdConfig {
        EtcdConfig::new(self.proxies.iter().map(Proxy::endpoint))
    }

    async fn client(&self) -> Client {
        Client::new(&EtcdStore::connect(self.config()).await.unwrap())
    }
}

/// One writer under the rule of lanes: what is unknown is looked up, and sent again if it has not landed.
struct Writer {
    client: Client,
    lane: String,
    at: Revision,
    unknown: u32,
    /// How long each write and each read took until it was known.
    took: Vec<Duration>,
}

impl Writer {
    async fn new(mut client: Client, n: usize) -> Self {
        let lane = format!("/lanes/{n}");
        let at = client.committed(vec![], vec![put(&lane, "new")]).await;
        Self {
            client,
            lane,
            at,
            unknown: 0,
            took: Vec::new(),
        }
    }

    async fn write(&mut self, name: &str) {
        let begun = Instant::now();
        loop {
            let guards = vec![
                Guard::Unchanged {
                    key: key(&self.lane),
                    since: self.at,
                },
                Guard::Absent(key(name)),
            ];
            let writes = vec![put(&self.lane, name), put(name, "1")];
            match self.client.commit(guards, writes).await {
                TxnOutcome::Committed { at } => self.at = at,
                TxnOutcome::Unknown => {
                    self.unknown += 1;
                    let seen = self.read().await;
                    if seen == self.at {
                        continue;
                    }
                    self.at = seen;
                }
                other => panic!("{name}: {other:?}"),
            }
            self.took.push(begun.elapsed());
            return;
        }
    }

    /// Where the lane is. Must not fail, whatever one member does.
    async fn read(&mut self) -> Revision {
        let begun = Instant::now();
        let query = Query::Keys(vec![key(&self.lane)]);
        match self.client.ask(Call::Read(query)).await {
            Answer::Read(ReadAnswer::Items { items, .. }) => {
                self.took.push(begun.elapsed());
                items[0].found.modified
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Writers of four processes, all connected.
async fn writers(cluster: &Cluster) -> Vec<Writer> {
    let mut writers = Vec::new();
    for n in 0..4 {
        writers.push(Writer::new(cluster.client().await, n).await);
    }
    writers
}

/// Each writes and reads many times.
async fn run(writers: Vec<Writer>) -> Vec<Writer> {
    let begin = |(n, mut writer): (usize, Writer)| {
        tokio::spawn(async move {
            for turn in 0..100 {
                writer.write(&format!("/w/{n}-{turn:05}")).await;
                writer.read().await;
            }
            writer
        })
    };
    let tasks: Vec<_> = writers.into_iter().enumerate().map(begin).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.unwrap());
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_of_one_member_fails_no_read_no_renewal_and_no_write_under_lanes() {
    // One of them leads the others.
    for dark in 0..3 {
        let cluster = Cluster::start();
        let mut client = cluster.client().await;
        let (lease, ttl) = client.grant(Duration::from_secs(60)).await;
        let live = Answer::Lease(LeaseAnswer::Live { lease, ttl });
        let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
        mirror.reaches(&mut client, Revision(1)).await;
        assert_eq!(client.ask(Call::Renew { lease }).await, live);
        let writers = writers(&cluster).await;
        cluster.proxies[dark].swallow();
        let writers = run(writers).await;
        tell(dark, &writers);
        assert_eq!(client.ask(Call::Renew { lease }).await, live);
        let last = writers.iter().map(|it| it.at).max().unwrap();
        mirror.reaches(&mut client, last).await;
        mirror.equals_the_store(&mut client).await;
        assert_eq!(mirror.resets, 1, "nothing had to be read again");
    }
}

fn tell(dark: usize, writers: &[Writer]) {
    let mut took: Vec<Duration> = writers.iter().flat_map(|it| it.took.clone()).collect();
    took.sort_unstable();
    let unknown: u32 = writers.iter().map(|it| it.unknown).sum();
    println!(
        "member {dark} dark: {} calls, {unknown} unknown, p50 {:?}, p99 {:?}, max {:?}",
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        took[took.len() - 1]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_left_is_asked_again_once_it_answers() {
    let cluster = Cluster::start();
    let mut client = cluster.client().await;
    let mut mirror = Mirror::watch(&mut client, Range::new(key("/w/"), key("/w0")));
    cluster.proxies[0].swallow();
    let at = client.eventually_committed(vec![put("/w/1", "1")]).await;
    mirror.reaches(&mut client, at).await;
    cluster.proxies[0].heal();
    cluster.proxies[1].swallow();
    cluster.proxies[2].cut();
    let at = client.eventually_committed(vec![put("/w/2", "1")]).await;
    mirror.reaches(&mut client, at).await;
    mirror.equals_the_store(&mut client).await;
}
