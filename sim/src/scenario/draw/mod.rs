//! Scenarios from a source of choices. Each run has a random part of all features and faults, at random rates.

mod acts;
mod faults;
mod leanings;

use windlass_core::time::Millis;

use super::{LOSSES_MAX, QUEUES, REQUEST_BYTES_MAX, Scenario, ServerPlan, Settings, WorkerPlan};
use crate::entropy::Entropy;
use crate::network::Rudeness;

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
        let mut acts = draw.acts();
        let faults = draw.faults();
        acts.extend(draw.acts_around(&faults));
        acts.sort_by_key(|act| act.at);
        let mut scenario = Self {
            seed: draw.from.below(1 << 32),
            ttl: draw.ttl,
            servers,
            workers,
            retention: draw.retention(),
            settings: draw.settings(),
            rudeness: draw.rudeness(),
            acts,
            faults,
            safety: draw.safety,
            broken: draw.broken(),
        };
        scenario.settings.quota = draw.quota();
        // Drawn last: what was drawn before there were remote workers is drawn still.
        if draw.from.chance(35) {
            for worker in scenario.workers.iter_mut().skip(1) {
                worker.remote = draw.from.chance(60);
            }
        }
        let remotes = scenario.workers.iter().filter(|it| it.remote).count() as u64;
        let beats = remotes * REMOTE_BEATS_BYTES;
        scenario.settings.quota = scenario.settings.quota.map(|it| it + beats);
        draw.lean(&mut scenario);
        scenario
    }
}

/// What the beats of one remote worker keep of a store: its key is rewritten with each, and history lasts for seconds
/// even when room is short.
const REMOTE_BEATS_BYTES: u64 = 6_000;

struct Draw<'a, 'b> {
    from: &'a mut Entropy<'b>,
    ttl: Millis,
    safety: Millis,
    servers: usize,
    nodes: usize,
    /// No fault at all, of any kind.
    calm: bool,
    /// Faults come in clusters, mostly at one node.
    clustered: bool,
    /// Handlers that fail say what to do about it.
    advised: bool,
    /// Handlers misbehave.
    rough: bool,
    /// Handlers take locks.
    locking: bool,
}

impl<'a, 'b> Draw<'a, 'b> {
    fn new(from: &'a mut Entropy<'b>) -> Self {
        let ttl = Millis::from_secs(from.one_of(&[3, 2, 3, 5, 10]));
        // Some runs are long: janitors fold once a minute.
        let long = from.chance(4);
        let safety = Millis::from_secs(if long {
            80 + from.below(60)
        } else {
            5 + from.below(35)
        });
        let calm = from.chance(8);
        let rough = from.chance(50);
        let advised = from.chance(25);
        let clustered = from.chance(40);
        let locking = from.chance(40);
        Self {
            from,
            ttl,
            safety,
            servers: 0,
            nodes: 0,
            calm,
            clustered,
            advised,
            rough,
            locking,
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
                slots: self.from.one_of(&[1, 1, 2, 3, 4, 8, 2, 64]),
                weight: self.from.one_of(&[1, 1, 2, 5]),
                // The first serves every queue, so that each is served.
                queues: if picky && nth > 0 {
                    self.some_queues()
                } else {
                    Vec::new()
                },
                lanes: self.lanes(),
                starts: self.starts(nth),
                remote: false,
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
        Millis::from_secs(self.from.one_of(&[86_400, 86_400, 20, 5, 2]))
    }

    fn settings(&mut self) -> Settings {
        Settings {
            silence_grace: Millis::from_secs(self.from.one_of(&[10, 1, 3])),
            losses_max: self.from.one_of(&[LOSSES_MAX, LOSSES_MAX, 1, 2]),
            claim_wait_max: Millis::from_secs(self.from.one_of(&[10, 10, 2])),
            fold_every: Millis::from_secs(self.from.one_of(&[60, 1])),
            part_items_max: self.from.one_of(&[1_000, 3]),
            quota: None,
            request_bytes_max: REQUEST_BYTES_MAX,
        }
    }

    /// Some stores are so small that the tasks of a run do not fit.
    fn quota(&mut self) -> Option<u64> {
        let small = self.from.chance(20);
        small.then(|| self.from.one_of(&[60_000, 30_000, 15_000]))
    }

    fn rudeness(&mut self) -> Rudeness {
        let lag = if self.from.chance(25) {
            self.from.one_of(&[100, 30, 10, 3])
        } else {
            0
        };
        if self.calm || self.from.chance(30) {
            return Rudeness {
                lag,
                ..Rudeness::default()
            };
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
            break_reads: rate(300),
            stale_reads: 0,
            duplicate_news: rate(40),
            lag,
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
        assert_eq!(faults.len(), 25, "{faults:?}");
        assert!(faults.contains(&FaultKind::CutFromStore));
        assert_eq!(acts.len(), 17, "{acts:?}");
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
