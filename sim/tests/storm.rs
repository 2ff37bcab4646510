//! Storms: everything that users, machines and the network can do, drawn from a seed, and then calm. Whatever happened,
//! every acknowledged task ends once, and the totals are exact.
//!
//! `WINDLASS_SEEDS=0..1000` explores more seeds than the suite does.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test panics when it fails, and takes its seeds from the environment"
)]

use std::ops::Range;
use std::time::Duration;

use windlass_core::balance::Strategy;
use windlass_core::gateway::{Due, IdempotencyKey, Reply, Request, RequestId, Submitted, TaskSpec};
use windlass_core::ids::{Priority, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::rng::Rng;
use windlass_core::time::Millis;
use windlass_sim::audit::audit;
use windlass_sim::network::Rudeness;
use windlass_sim::world::{NodeIx, World};

/// A deployment in a storm.
struct Storm {
    world: World,
    rng: Rng,
    servers: Vec<NodeIx>,
    workers: Vec<NodeIx>,
    /// Submissions that were not answered yet, or whose answer was not read.
    asked: Vec<RequestId>,
    acknowledged: Vec<TaskId>,
}

fn spec(rng: &mut Rng) -> TaskSpec {
    let (kind, payload) = match rng.below(6) {
        0 => ("fail", "{\"times\":1}"),
        1 => ("fail", "{\"times\":9}"),
        2 => ("sleep", "{\"ms\":300}"),
        3 => ("sleep", "{\"ms\":6000}"),
        4 => ("echo", "[1,2]"),
        _ => ("noop", "null"),
    };
    let due = match rng.below(5) {
        0 => Due::In(Millis::new(1 + rng.below(4_000))),
        _ => Due::Now,
    };
    let key = (rng.below(4) == 0).then(|| {
        let name = rng.below(12);
        IdempotencyKey {
            key_hash: format!("key{name}").into(),
            body_hash: format!("body{}", name % 3).into(),
        }
    });
    TaskSpec {
        kind: kind.parse().unwrap(),
        queue: ["a", "b", "c"][rng.below(3) as usize].parse().unwrap(),
        priority: Priority::new(rng.below(10) as u8).unwrap(),
        name: None,
        payload: Json::parse(payload.to_owned()).unwrap(),
        metadata: Default::default(),
        retries_max: rng.below(3) as u32,
        retry: RetryPolicy {
            kind: Backoff::Fixed,
            delay: Millis::new(500),
            ..RetryPolicy::default()
        },
        timeout: Millis::from_secs(if rng.below(4) == 0 { 2 } else { 60 }),
        due,
        key,
    }
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("storm");
        let rudeness = Rudeness {
            lose_requests: rng.below(30),
            lose_answers: rng.below(40),
            arrive_late: rng.below(30),
            break_watches: rng.below(8),
        };
        let mut world = World::new(seed, rudeness);
        let servers = (0..1 + rng.below(3))
            .map(|n| world.add_server(&format!("s{n}"), |_| {}))
            .collect();
        let workers = (0..1 + rng.below(4))
            .map(|n| {
                let slots = 1 + rng.below(4) as u32;
                world.add_worker(&format!("w{n}"), |config| {
                    config.slots = slots;
                    config.drain_grace = Duration::from_secs(2);
                })
            })
            .collect();
        Self {
            world,
            rng,
            servers,
            workers,
            asked: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    fn pick(&mut self, nodes: fn(&Self) -> &Vec<NodeIx>) -> NodeIx {
        let count = nodes(self).len() as u64;
        let at = self.rng.below(count) as usize;
        nodes(self)[at]
    }

    fn act(&mut self) {
        let server = self.pick(|it| &it.servers);
        let anyone = if self.rng.below(3) == 0 {
            server
        } else {
            self.pick(|it| &it.workers)
        };
        match self.rng.below(14) {
            0..=4 => {
                let count = 1 + self.rng.below(6);
                let specs = (0..count).map(|_| spec(&mut self.rng)).collect();
                let id = self.world.request(server, Request::Submit(specs));
                self.asked.push(id);
            }
            5 | 6 if !self.acknowledged.is_empty() => {
                let at = self.rng.below(self.acknowledged.len() as u64) as usize;
                let task = self.acknowledged[at];
                let request = if self.rng.below(3) == 0 {
                    Request::Rerun(task)
                } else {
                    Request::Cancel(task)
                };
                self.world.request(server, request);
            }
            7 => self.world.crash(anyone),
            8 => {
                let lasts =
                    Duration::from_millis([900, 2_700, 3_300, 9_000][self.rng.below(4) as usize]);
                self.world.pause(anyone, lasts);
            }
            9 => self.world.drain(anyone),
            10 => {
                let strategies = [
                    Strategy::LeastLoad,
                    Strategy::RoundRobin,
                    Strategy::Random,
                    Strategy::Weighted,
                ];
                let strategy = Some(strategies[self.rng.below(4) as usize]);
                let paused = Some(self.rng.below(3) == 0);
                let queue = "a".parse().unwrap();
                self.world.request(
                    server,
                    Request::ConfigureQueue {
                        queue,
                        strategy,
                        paused,
                    },
                );
            }
            _ => {}
        }
        let wait = Duration::from_millis(self.rng.below(1_200));
        self.world.run_for(wait);
        self.reboot();
        self.read_answers();
    }

    fn reboot(&mut self) {
        for node in 0..self.world.nodes.len() {
            if self.world.nodes[node].brain.is_none() {
                self.world.boot(node);
            }
        }
    }

    fn read_answers(&mut self) {
        for id in std::mem::take(&mut self.asked) {
            match self.world.replies.get(&id) {
                Some(Reply::Submitted(fates)) => {
                    let ids = fates.iter().filter_map(|fate| match fate {
                        Submitted::Accepted { id, .. } | Submitted::Repeated { id } => Some(*id),
                        _ => None,
                    });
                    self.acknowledged.extend(ids);
                }
                Some(_) => {}
                None => self.asked.push(id),
            }
        }
    }

    /// Heals everything, resumes what was paused, and waits until all has ended.
    fn calm(&mut self) -> bool {
        self.world.network.rudeness = Rudeness::default();
        for _ in 0..40 {
            self.reboot();
            let queue = "a".parse().unwrap();
            self.world.request(
                self.servers[0],
                Request::ConfigureQueue {
                    queue,
                    strategy: None,
                    paused: Some(false),
                },
            );
            let ended = self.world.run_until(Duration::from_secs(10), |world| {
                let audit = audit(world.kv());
                audit.live.is_empty() && audit.tasks.values().all(Option::is_some)
            });
            if ended {
                return true;
            }
        }
        false
    }
}

fn seeds() -> Range<u64> {
    let given = std::env::var("WINDLASS_SEEDS").ok();
    let parsed = given.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    parsed.unwrap_or(0..60)
}

#[test]
fn after_any_storm_every_acknowledged_task_has_ended_once() {
    let (mut events, mut tasks) = (0, 0);
    for seed in seeds() {
        let mut storm = Storm::new(seed);
        for _ in 0..40 {
            storm.act();
        }
        let calm = storm.calm();
        storm.read_answers();
        let report = audit(storm.world.kv());
        assert!(
            calm,
            "seed {seed}: still live: {:?}; exits {:?}",
            report.live, storm.world.exits
        );
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        assert_eq!(
            storm.world.ledger.violations(),
            Vec::<String>::new(),
            "seed {seed}"
        );
        for task in &storm.acknowledged {
            assert!(
                report.tasks.contains_key(task),
                "seed {seed}: {task} was acknowledged and is gone"
            );
        }
        events += storm.world.events;
        tasks += report.tasks.len();
    }
    assert!(
        events > 1_000 && tasks > 100,
        "a storm that does nothing proves nothing: {events} events, {tasks} tasks"
    );
}
