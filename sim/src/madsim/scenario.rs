//! A whole run, decided before it starts: who takes part, what clients do, and what goes wrong when.

use std::time::Duration;

use windlass_core::gateway::{Due, IdempotencyKey, TaskSpec};
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::rng::Rng;
use windlass_core::time::Millis;

use super::fault::{Fault, Kind};

/// Names a process: the schedulers first, then the workers.
pub type NodeIx = usize;

/// Something, and when it happens, from the start on.
#[derive(Debug, Clone)]
pub struct Timed<T> {
    /// When.
    pub at: Duration,
    /// What.
    pub what: T,
}

/// What clients do.
#[derive(Debug, Clone)]
pub enum Act {
    /// Submit tasks through a scheduler. A client without patience goes away after that long.
    Submit {
        /// Through which.
        via: NodeIx,
        /// What.
        specs: Vec<TaskSpec>,
        /// How long the client stays, if not until it is answered.
        patience: Option<Duration>,
    },
    /// Cancel an acknowledged task.
    Cancel {
        /// Through which.
        via: NodeIx,
        /// Which, counted from the first one and around.
        nth: usize,
    },
    /// Run an acknowledged task again.
    Rerun {
        /// Through which.
        via: NodeIx,
        /// Which, counted from the first one and around.
        nth: usize,
    },
    /// Wait for the end of an acknowledged task.
    Wait {
        /// Through which.
        via: NodeIx,
        /// Which, counted from the first one and around.
        nth: usize,
        /// How long the store's side waits.
        wait: Duration,
    },
    /// Pause a queue, or let it go on.
    Pause {
        /// Through which.
        via: NodeIx,
        /// Whether it stands still.
        paused: bool,
    },
}

/// A run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it was drawn from.
    pub seed: u64,
    /// How many scheduler processes there are.
    pub schedulers: usize,
    /// The slots of each worker.
    pub workers: Vec<u32>,
    /// The time to live of every node's lease.
    pub ttl: Duration,
    /// How long a port waits for an answer before it calls a call's fate unknown.
    pub answer_max: Duration,
    /// A port whose watch has a gap says so, instead of reading everything again by itself.
    pub tells_gaps: bool,
    /// Nodes are told their load again and again. Without that, an idle node is woken by nothing but its deadlines.
    pub measures_load: bool,
    /// The longest time that a message takes on a healthy network.
    pub latency_max: Duration,
    /// What clients do, in order of time.
    pub workload: Vec<Timed<Act>>,
    /// What goes wrong, in order of time.
    pub faults: Vec<Timed<Fault>>,
    /// When everything is healed.
    pub healed_at: Duration,
    /// The nodes that stay down for good from then on. At least one of each kind does not.
    pub lost: Vec<NodeIx>,
}

impl Scenario {
    /// The run of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut topology = rng.fork("topology");
        let schedulers = 1 + below(&mut topology, 3);
        let workers: Vec<u32> = (0..1 + topology.below(6))
            .map(|_| 1 + u32::try_from(topology.below(5)).expect("below 5"))
            .collect();
        let ttl = Duration::from_secs(*pick(&mut topology, &[2, 3, 3, 5]));
        let answer_max = Duration::from_millis(*pick(&mut topology, &[700, 1_500, 3_000]));
        let latency_max = Duration::from_micros(*pick(&mut topology, &[1_000, 5_000, 40_000]));
        let tells_gaps = topology.below(2) == 0;
        let measures_load = topology.below(3) == 0;
        let healed_at = Duration::from_secs(15 + topology.below(60));
        let nodes = schedulers + workers.len();
        Self {
            seed,
            schedulers,
            ttl,
            answer_max,
            tells_gaps,
            measures_load,
            latency_max,
            workload: workload(&mut rng.fork("workload"), schedulers, healed_at),
            faults: faults(&mut rng.fork("faults"), nodes, ttl, healed_at),
            healed_at,
            lost: lost(&mut rng.fork("lost"), schedulers, nodes),
            workers,
        }
    }

    /// How many processes there are, without the store.
    pub fn nodes(&self) -> usize {
        self.schedulers + self.workers.len()
    }
}

fn below(rng: &mut Rng, end: usize) -> usize {
    let end = u64::try_from(end).expect("a small number");
    usize::try_from(rng.below(end)).expect("below a small number")
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[below(rng, from.len())]
}

fn millis(rng: &mut Rng, end: u64) -> Duration {
    Duration::from_millis(rng.below(end))
}

fn workload(rng: &mut Rng, schedulers: usize, until: Duration) -> Vec<Timed<Act>> {
    let gap = *pick(rng, &[100, 400, 1_500]);
    let mut acts = Vec::new();
    let mut at = millis(rng, 3_000);
    while at < until {
        let via = below(rng, schedulers);
        let nth = below(rng, 1_000);
        let what = match rng.below(16) {
            0 | 1 => Act::Cancel { via, nth },
            2 => Act::Rerun { via, nth },
            3 | 4 => Act::Wait {
                via,
                nth,
                wait: millis(rng, 8_000),
            },
            5 => Act::Pause {
                via,
                paused: rng.below(2) == 0,
            },
            _ => Act::Submit {
                via,
                specs: (0..1 + rng.below(6)).map(|_| spec(rng)).collect(),
                patience: (rng.below(6) == 0).then(|| millis(rng, 40)),
            },
        };
        acts.push(Timed { at, what });
        at += millis(rng, 2 * gap);
    }
    acts
}

/// Each run has only some kinds of faults, and some of them often.
fn faults(rng: &mut Rng, nodes: usize, ttl: Duration, until: Duration) -> Vec<Timed<Fault>> {
    let mut menu = Vec::new();
    for kind in Kind::ALL {
        let weight = [0, 0, 1, 1, 4][below(rng, 5)];
        menu.extend(std::iter::repeat_n(kind, weight));
    }
    let gap = *pick(rng, &[700, 2_000, 6_000]);
    let mut faults = Vec::new();
    let mut at = millis(rng, 5_000);
    while at < until && !menu.is_empty() {
        let kind = *pick(rng, &menu);
        let node = below(rng, nodes);
        let what = Fault::draw(kind, rng, node, ttl);
        faults.push(Timed { at, what });
        at += millis(rng, 2 * gap);
    }
    faults
}

fn lost(rng: &mut Rng, schedulers: usize, nodes: usize) -> Vec<NodeIx> {
    if rng.below(3) > 0 {
        return Vec::new();
    }
    let kept = [
        below(rng, schedulers),
        schedulers + below(rng, nodes - schedulers),
    ];
    (0..nodes)
        .filter(|node| !kept.contains(node))
        .filter(|_| rng.below(2) == 0)
        .collect()
}

/// A task that somebody might submit.
fn spec(rng: &mut Rng) -> TaskSpec {
    let (kind, payload) = match rng.below(8) {
        0 => ("fail", "{\"times\":1}".to_owned()),
        1 => ("fail", "{\"times\":9}".to_owned()),
        2 => ("sleep", "{\"ms\":300}".to_owned()),
        3 => ("sleep", format!("{{\"ms\":{}}}", 2_000 + rng.below(5_000))),
        4 => ("stubborn", format!("{{\"ms\":{}}}", rng.below(4_000))),
        5 => ("echo", "[1,2]".to_owned()),
        _ => ("noop", "null".to_owned()),
    };
    let key = (rng.below(5) == 0).then(|| {
        let name = rng.below(12);
        IdempotencyKey {
            key_hash: format!("key{name}").into(),
            body_hash: format!("body{}", name % 3).into(),
        }
    });
    let due = match rng.below(5) {
        0 => Due::In(Millis::new(1 + rng.below(4_000))),
        _ => Due::Now,
    };
    let timeout = *pick(rng, &[2, 60, 60, 60]);
    simple_spec(kind, payload, below(rng, QUEUES.len()), |spec| {
        spec.priority =
            Priority::new(u8::try_from(rng.below(10)).expect("a digit")).expect("a digit");
        spec.retries_max = u32::try_from(rng.below(3)).expect("below 3");
        spec.timeout = Millis::from_secs(timeout);
        spec.due = due;
        spec.key = key;
    })
}

/// The queues of every run.
pub const QUEUES: [&str; 3] = ["a", "b", "c"];

/// A task of a stock type.
pub fn simple_spec(
    kind: &str,
    payload: String,
    queue: usize,
    adjust: impl FnOnce(&mut TaskSpec),
) -> TaskSpec {
    let mut spec = TaskSpec {
        kind: kind.parse().expect("a stock type is legal"),
        queue: QUEUES[queue].parse().expect("a letter is a queue's name"),
        priority: Priority::new(5).expect("a digit"),
        name: None,
        payload: Json::parse(payload).expect("a payload spelled here"),
        metadata: Default::default(),
        retries_max: 2,
        retry: RetryPolicy {
            kind: Backoff::Fixed,
            delay: Millis::new(500),
            ..RetryPolicy::default()
        },
        timeout: Millis::from_secs(60),
        due: Due::Now,
        key: None,
    };
    adjust(&mut spec);
    spec
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_scenario_and_another_seed_another_one() {
        let text = |seed| format!("{:?}", Scenario::draw(seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn a_few_hundred_seeds_draw_every_kind_of_fault_and_keep_a_core() {
        let mut kinds = BTreeSet::new();
        for seed in 0..300 {
            let scenario = Scenario::draw(seed);
            kinds.extend(scenario.faults.iter().map(|it| it.what.kind()));
            let kept = |nodes: std::ops::Range<usize>| {
                nodes.into_iter().any(|node| !scenario.lost.contains(&node))
            };
            assert!(kept(0..scenario.schedulers), "{scenario:?}");
            assert!(kept(scenario.schedulers..scenario.nodes()), "{scenario:?}");
            assert!(
                scenario.faults.is_sorted_by_key(|it| it.at)
                    && scenario.workload.is_sorted_by_key(|it| it.at)
            );
        }
        assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    }
}
