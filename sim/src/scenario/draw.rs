//! Scenarios from a source of choices. Each run has a random part of all features and faults, at random rates.

use windlass_core::balance::Strategy;
use windlass_core::gateway::TaskState;
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::time::Millis;

use super::{Act, Broken, QUEUES, Scenario, ServerPlan, TaskPlan, Timed, WorkerPlan};
use crate::entropy::Entropy;
use crate::nemesis::{Fault, Way};
use crate::network::Rudeness;

/// How many different planned faults there are to choose from.
const FAULTS: u64 = 19;
/// How many different acts there are to choose from.
const ACTS: u64 = 13;

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64) -> Self {
        Self::draw(&mut Entropy::from_seed(seed))
    }

    /// Draws a scenario.
    pub fn draw(from: &mut Entropy<'_>) -> Self {
        let mut draw = Draw::new(from);
        let (servers, workers) = (draw.servers(), draw.workers());
        draw.servers = servers.len();
        draw.nodes = servers.len() + workers.len();
        let acts = draw.acts();
        let faults = draw.faults();
        Self {
            seed: draw.from.below(1 << 32),
            ttl: draw.ttl,
            servers,
            workers,
            retention: draw.retention(),
            rudeness: draw.rudeness(),
            acts,
            faults,
            safety: draw.safety,
            broken: draw.broken(),
        }
    }
}

struct Draw<'a, 'b> {
    from: &'a mut Entropy<'b>,
    ttl: Millis,
    safety: Millis,
    servers: usize,
    nodes: usize,
    /// No fault at all, of any kind.
    calm: bool,
    /// Handlers misbehave.
    rough: bool,
}

impl<'a, 'b> Draw<'a, 'b> {
    fn new(from: &'a mut Entropy<'b>) -> Self {
        let ttl = Millis::from_secs(from.one_of(&[3, 2, 3, 5, 10]));
        let safety = Millis::from_secs(5 + from.below(35));
        let calm = from.chance(8);
        let rough = from.chance(50);
        Self {
            from,
            ttl,
            safety,
            servers: 0,
            nodes: 0,
            calm,
            rough,
        }
    }

    fn servers(&mut self) -> Vec<ServerPlan> {
        let count = self.from.one_of(&[1, 1, 2, 2, 2, 3, 3, 4, 5, 7]);
        (0..count)
            .map(|nth| ServerPlan {
                lanes: self.lanes(),
                starts: self.starts(nth),
            })
            .collect()
    }

    fn workers(&mut self) -> Vec<WorkerPlan> {
        let count = match self.from.below(100) {
            0..60 => 1 + self.from.below(4),
            60..90 => 3 + self.from.below(8),
            90..99 => 8 + self.from.below(24),
            _ => 40 + self.from.below(160),
        };
        let picky = self.from.chance(25);
        (0..count)
            .map(|nth| WorkerPlan {
                slots: self.from.one_of(&[1, 1, 2, 3, 4, 8]),
                weight: self.from.one_of(&[1, 1, 2, 5]),
                // The first serves every queue, so that each is served.
                queues: if picky && nth > 0 {
                    self.some_queues()
                } else {
                    Vec::new()
                },
                lanes: self.lanes(),
                starts: self.starts(nth),
            })
            .collect()
    }

    fn lanes(&mut self) -> u8 {
        self.from.one_of(&[4, 1, 1, 2, 8])
    }

    /// The first of a role is there from the beginning; others may join later.
    fn starts(&mut self, nth: u64) -> Millis {
        if nth > 0 && self.from.chance(20) {
            self.moment()
        } else {
            Millis::ZERO
        }
    }

    fn some_queues(&mut self) -> Vec<u8> {
        (0..QUEUES.len() as u8)
            .filter(|_| self.from.chance(50))
            .collect()
    }

    fn retention(&mut self) -> Millis {
        Millis::from_secs(self.from.one_of(&[86_400, 86_400, 86_400, 20, 5]))
    }

    fn rudeness(&mut self) -> Rudeness {
        if self.calm || self.from.chance(30) {
            return Rudeness::default();
        }
        let mut rate = |max: u64| {
            if self.from.chance(50) {
                self.from.below(max)
            } else {
                0
            }
        };
        Rudeness {
            lose_requests: rate(60),
            lose_answers: rate(80),
            arrive_late: rate(60),
            duplicate_requests: rate(60),
            duplicate_answers: rate(60),
            break_watches: rate(12),
            duplicate_news: rate(40),
        }
    }

    fn moment(&mut self) -> Millis {
        Millis::new(self.from.below(self.safety.get()))
    }

    fn server(&mut self) -> usize {
        self.from.below(self.servers as u64) as usize
    }

    fn node(&mut self) -> usize {
        // Schedulers are fewer, and as interesting.
        if self.from.chance(40) {
            self.server()
        } else {
            self.worker()
        }
    }

    fn worker(&mut self) -> usize {
        self.servers + self.from.below((self.nodes - self.servers) as u64) as usize
    }

    /// Around the thresholds that matter, mostly.
    fn span(&mut self) -> Millis {
        let ttl = self.ttl.get();
        let tenths = self.from.one_of(&[3, 9, 11, 30, 1]);
        Millis::new(ttl * tenths / 10 + self.from.below(50))
    }

    fn acts(&mut self) -> Vec<Timed<Act>> {
        // Each run has a part of all kinds of acts; submissions always.
        let mut kinds = vec![0; 3];
        kinds.extend((1..ACTS).filter(|_| self.from.chance(50)));
        let count = match self.from.below(10) {
            0..5 => 3 + self.from.below(15),
            5..9 => 10 + self.from.below(40),
            _ => 40 + self.from.below(100),
        };
        let burst = self.from.chance(20);
        let storm = self.moment();
        let mut acts: Vec<_> = (0..count)
            .map(|_| {
                let kind = self.from.one_of(&kinds);
                let at = if burst {
                    Millis::new(storm.get() + self.from.below(300))
                } else {
                    self.moment()
                };
                Timed {
                    at,
                    what: self.act(kind),
                }
            })
            .collect();
        acts.sort_by_key(|act| act.at);
        acts
    }

    fn act(&mut self, kind: u64) -> Act {
        let server = self.server();
        let nth = self.from.below(1_000) as u32;
        match kind {
            1 => Act::Repeat { server, nth },
            2 => Act::Cancel { server, nth },
            3 => Act::Rerun { server, nth },
            4 => Act::Get {
                server,
                nth,
                wait: self.from.chance(50).then_some(Millis::from_secs(5)),
            },
            5 => Act::Configure {
                server,
                queue: self.queue(),
                strategy: self.strategy(),
                paused: None,
            },
            6 => Act::Configure {
                server,
                queue: self.queue(),
                strategy: None,
                paused: Some(self.from.chance(60)),
            },
            7 => Act::Drain {
                node: self.node(),
                back_after: self.span(),
                slots: self.from.one_of(&[1, 2, 6]),
            },
            8 => Act::Order {
                server,
                node: self.worker(),
            },
            9 => Act::LockTake {
                server,
                lock: self.from.below(2) as u8,
                ttl: self.lock_ttl(),
                wait: Millis::from_secs(1 + self.from.below(10)),
            },
            10 if self.from.chance(50) => Act::LockRenew { server, nth },
            10 => Act::LockRelease { server, nth },
            11 if self.from.chance(50) => Act::List {
                server,
                state: self.state(),
            },
            11 => Act::Stats { server },
            12 => Act::Vanish { nth },
            _ => Act::Submit {
                server,
                tasks: self.tasks(),
            },
        }
    }

    fn lock_ttl(&mut self) -> Millis {
        Millis::from_secs(2 + self.from.below(4))
    }

    fn queue(&mut self) -> u8 {
        self.from.below(QUEUES.len() as u64) as u8
    }

    fn strategy(&mut self) -> Option<Strategy> {
        let all = [
            Strategy::LeastLoad,
            Strategy::RoundRobin,
            Strategy::Random,
            Strategy::Weighted,
        ];
        Some(self.from.one_of(&all))
    }

    fn state(&mut self) -> Option<TaskState> {
        let at = self.from.below(TaskState::ALL.len() as u64 + 1) as usize;
        TaskState::ALL.get(at).copied()
    }

    fn tasks(&mut self) -> Vec<TaskPlan> {
        let count = match self.from.below(20) {
            0..12 => 1,
            12..18 => 2 + self.from.below(6),
            18 => 10 + self.from.below(40),
            _ => 40 + self.from.below(160),
        };
        (0..count).map(|_| self.task()).collect()
    }

    fn task(&mut self) -> TaskPlan {
        let (kind, payload) = self.kind();
        TaskPlan {
            kind: kind.to_owned(),
            payload: Json::parse(payload).expect("what is written here is JSON"),
            queue: self.queue(),
            priority: Priority::new(self.from.below(10) as u8).expect("a digit"),
            retries_max: self.from.below(4) as u32,
            backoff: Millis::new(self.from.one_of(&[500, 50, 2_000])),
            timeout: Millis::from_secs(self.from.one_of(&[20, 20, 2, 5])),
            delay: Millis::new(if self.from.chance(15) {
                1 + self.from.below(6_000)
            } else {
                0
            }),
            key: self
                .from
                .chance(20)
                .then(|| (self.from.below(8) as u8, self.from.below(2) as u8)),
        }
    }

    fn kind(&mut self) -> (&'static str, String) {
        let ms = self.span().get();
        if self.rough && self.from.chance(25) {
            return match self.from.below(5) {
                0 => ("hang", "null".to_owned()),
                1 => (
                    "deaf",
                    format!("{{\"ms\":{ms},\"deaf_ms\":{}}}", self.span().get()),
                ),
                2 => (
                    "exit",
                    format!(
                        "{{\"ms\":{},\"times\":{}}}",
                        self.from.below(500),
                        1 + self.from.below(2)
                    ),
                ),
                3 => ("lie", format!("{{\"ms\":{}}}", self.from.below(3_000))),
                _ => ("chatty", format!("{{\"ms\":{ms}}}")),
            };
        }
        match self.from.below(8) {
            0 => ("fail", "{\"times\":1}".to_owned()),
            1 => ("fail", "{\"times\":9}".to_owned()),
            2 => ("sleep", format!("{{\"ms\":{}}}", self.from.below(400))),
            3 => ("sleep", format!("{{\"ms\":{ms}}}")),
            4 => ("echo", "[1,2]".to_owned()),
            _ => ("noop", "null".to_owned()),
        }
    }

    fn faults(&mut self) -> Vec<Timed<Fault>> {
        if self.calm {
            return Vec::new();
        }
        let rare = self.from.below(4);
        let kinds: Vec<u64> = (0..FAULTS)
            .filter(|_| self.from.chance(25 + 10 * rare))
            .collect();
        if kinds.is_empty() {
            return Vec::new();
        }
        let count = self.from.below(30);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let kind = self.from.one_of(&kinds);
                Timed {
                    at: self.moment(),
                    what: self.fault(kind),
                }
            })
            .collect();
        faults.sort_by_key(|fault| fault.at);
        faults
    }

    fn fault(&mut self, kind: u64) -> Fault {
        let node = self.node();
        let lasts = self.span();
        match kind {
            0 => Fault::Crash {
                node,
                down_for: lasts,
            },
            1 => Fault::Pause { node, lasts },
            2 => Fault::Double { node },
            3 => Fault::Cut {
                node,
                way: self.way(),
                lasts,
            },
            4 => Fault::LoseAnswers {
                node,
                count: 1 + self.from.below(6) as u8,
            },
            5 => Fault::ArriveLate {
                node,
                by: Millis::new(self.from.below(5_000)),
                lasts,
            },
            6 => Fault::DelayWatch {
                node,
                by: self.span(),
                lasts,
            },
            7 => Fault::MuteWatch { node, lasts },
            8 => Fault::BreakWatches {
                node: self.from.chance(60).then_some(node),
            },
            9 => Fault::Compact,
            10 => Fault::MoveLeader,
            11 => Fault::StoreDown { lasts },
            12 => Fault::NoSpace { lasts },
            13 => Fault::Busy { lasts },
            14 => Fault::ExpireLease { node },
            15 => Fault::ExpireAll,
            16 => Fault::JumpWall {
                node,
                by_ms: self.from.one_of(&[120_000, -3_600_000, 700, -700, 9_000]),
            },
            17 => Fault::Drift {
                node,
                ppm: self
                    .from
                    .one_of(&[1_000, -1_000, 100_000, -100_000, 800_000, -450_000]),
                lasts: Millis::new(lasts.get() * 3),
            },
            _ => Fault::Upgrade { lasts },
        }
    }

    fn way(&mut self) -> Way {
        self.from.one_of(&[Way::Both, Way::ToStore, Way::FromStore])
    }

    /// One scheduler and the first worker, which serves every queue, are always healed.
    fn broken(&mut self) -> Vec<Broken> {
        if self.calm || self.from.chance(50) {
            return Vec::new();
        }
        let core = [self.server(), self.servers];
        let mut broken = Vec::new();
        for node in (0..self.nodes).filter(|node| !core.contains(node)) {
            if self.from.chance(40) {
                broken.push(match self.from.below(4) {
                    0 => Broken::Down(node),
                    1 => Broken::Frozen(node),
                    _ => Broken::Cut(node, self.way()),
                });
            }
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::nemesis::FaultKind;

    #[test]
    fn the_same_seed_draws_the_same_scenario_and_it_reads_back() {
        for seed in 0..50 {
            let scenario = Scenario::of_seed(seed);
            assert_eq!(scenario, Scenario::of_seed(seed));
            let text = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&text).unwrap(), scenario);
        }
    }

    #[test]
    fn any_bytes_are_a_scenario_and_none_at_all_a_tame_one() {
        let tame = Scenario::draw(&mut Entropy::Bytes(&[]));
        assert!(tame.faults.is_empty() && tame.broken.is_empty());
        assert_eq!((tame.servers.len(), tame.workers.len()), (1, 1));
        for seed in 0..200_u64 {
            let bytes: Vec<u8> = (0..300_u64)
                .map(|n| (seed.wrapping_mul(2_654_435_761).wrapping_add(n * n * 31) >> 3) as u8)
                .collect();
            let scenario = Scenario::draw(&mut Entropy::Bytes(&bytes));
            assert!(!scenario.servers.is_empty() && !scenario.workers.is_empty());
        }
    }

    #[test]
    fn every_planned_fault_and_every_act_is_drawn_sooner_or_later() {
        let (mut faults, mut acts) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..300 {
            let scenario = Scenario::of_seed(seed);
            faults.extend(scenario.faults.iter().map(|it| it.what.kind()));
            acts.extend(scenario.acts.iter().map(|it| {
                let text = serde_json::to_value(&it.what).unwrap();
                text.as_object().unwrap().keys().next().unwrap().clone()
            }));
        }
        assert_eq!(faults.len(), 21, "{faults:?}");
        assert!(faults.contains(&FaultKind::CutFromStore));
        assert_eq!(acts.len(), 14, "{acts:?}");
    }

    #[test]
    fn a_core_is_always_whole() {
        for seed in 0..500 {
            let scenario = Scenario::of_seed(seed);
            let whole = |node| !scenario.broken.iter().any(|it| it.node() == node);
            assert!((0..scenario.servers.len()).any(whole), "seed {seed}");
            assert!(
                whole(scenario.servers.len()),
                "seed {seed}: the first worker serves every queue"
            );
        }
    }
}
