//! What happens in a run, drawn before it starts: who takes part, what is asked, and what breaks.

use serde::Serialize;

use windlass_core::ids::QueueName;
use windlass_core::rng::Rng;

use super::record::CellId;

/// How many cells a run has at most.
const CELLS_MAX: u64 = 4;

/// How far apart the bursts of a busy run are.
const BURST_MS: u64 = 250;

/// A run's data.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Feeds everything that is not drawn here.
    pub seed: u64,
    /// How many cells.
    pub cells: u8,
    /// How many revisions each cell is older than the others.
    pub ages: Vec<u32>,
    /// The queues.
    pub queues: Vec<QueueName>,
    /// How many bits of an id name its queue: few, so that queues share tags.
    pub tag_bits: u32,
    /// How many gateways, each of which writes to every cell.
    pub gateways: u8,
    /// How many movers.
    pub movers: u8,
    /// How many schedulers in each cell.
    pub schedulers: u8,
    /// How many workers in each cell.
    pub workers: u8,
    /// How long attempts run at most, in milliseconds.
    pub run_ms_max: u64,
    /// How often, in hundredths, a scheduler takes a claim that it sees from its worker.
    pub impatience: u64,
    /// How long ended tasks are kept, in milliseconds.
    pub retention_ms: u64,
    /// How long things break, and clients ask, in milliseconds.
    pub until_ms: u64,
    /// What is asked, in order of time.
    pub asks: Vec<Ask>,
    /// How bad the network is.
    pub network: Network,
    /// When who cannot reach a store.
    pub cuts: Vec<Cut>,
    /// When who crashes.
    pub crashes: Vec<Crash>,
    /// How often, in hundredths, a mover crashes at a call: before it, or with its answer under way.
    pub mover_crashes: u64,
    /// Crash the mover at its call of this number, for stories told without chance.
    pub ambush: Option<Ambush>,
}

/// Something is asked.
#[derive(Debug, Clone, Serialize)]
pub struct Ask {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// Which gateway.
    pub gateway: u8,
    /// What.
    pub what: What,
}

/// What is asked. Tasks are named by their submissions.
#[derive(Debug, Clone, Serialize)]
pub enum What {
    /// Accept a task.
    Submit {
        /// Where it is to wait.
        queue: usize,
        /// An idempotency key.
        key: Option<u8>,
        /// Not to start for so long, in milliseconds.
        delay_ms: Option<u64>,
    },
    /// Cancel one that was accepted, if any was.
    Cancel {
        /// Which, counted from the last.
        back: usize,
    },
    /// Show one that was accepted, if any was.
    Get {
        /// Which, counted from the last.
        back: usize,
    },
    /// Move a queue.
    Move {
        /// Which.
        queue: usize,
        /// Where to.
        to: CellId,
    },
}

/// What calls suffer, in hundredths of them.
#[derive(Debug, Clone, Serialize)]
pub struct Network {
    /// How long one way takes at most, in microseconds.
    pub latency_us_max: u64,
    /// Never arrives.
    pub lost: u64,
    /// Arrives long after its deadline.
    pub late: u64,
    /// Arrives twice.
    pub doubled: u64,
    /// Is answered in vain.
    pub unheard: u64,
}

/// Nobody, or one, reaches a store.
#[derive(Debug, Clone, Serialize)]
pub struct Cut {
    /// From when, in milliseconds.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// The store: a cell, or the directory for `None`.
    pub cell: Option<CellId>,
    /// Who, by a lot; everybody for `None`.
    pub who: Option<u64>,
}

/// Somebody forgets everything.
#[derive(Debug, Clone, Serialize)]
pub struct Crash {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// Who, by a lot.
    pub who: u64,
    /// For how long, in milliseconds.
    pub down_ms: u64,
}

/// The mover crashes at one of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ambush {
    /// Which call, of all movers, from 0.
    pub call: u64,
    /// How.
    pub kind: AmbushKind,
}

/// How a mover crashes at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AmbushKind {
    /// Before it is sent.
    Before,
    /// With the answer under way.
    After,
    /// With the call under way, which lands after the mover is back.
    Late,
}

impl Plan {
    /// The plan of a seed: one in four is a busy one.
    pub fn of_seed(seed: u64) -> Self {
        if seed % 4 == 3 {
            Self::busy(seed)
        } else {
            Self::swarm(seed)
        }
    }

    /// Any number of everything, and any faults.
    fn swarm(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("cells");
        let cells = u8::try_from(2 + rng.below(CELLS_MAX - 1)).expect("few");
        let queues: Vec<QueueName> = (0..=rng.below(4))
            .map(|n| format!("q{n}").parse().expect("a legal name"))
            .collect();
        let gateways = u8::try_from(1 + rng.below(3)).expect("few");
        let until_ms = 800 + rng.below(2_200);
        let asks = asks(&mut rng, cells, queues.len(), gateways, until_ms);
        let network = Network {
            latency_us_max: 500 + rng.below(15_000),
            lost: sometimes(&mut rng, 12),
            late: sometimes(&mut rng, 8),
            doubled: sometimes(&mut rng, 15),
            unheard: sometimes(&mut rng, 15),
        };
        Self {
            seed,
            cells,
            ages: (0..cells)
                .map(|_| u32::try_from(sometimes(&mut rng, 600)).expect("few"))
                .collect(),
            queues,
            tag_bits: if rng.below(2) == 0 { 1 } else { 16 },
            gateways,
            movers: u8::try_from(1 + rng.below(3)).expect("few"),
            schedulers: u8::try_from(1 + rng.below(2)).expect("few"),
            workers: u8::try_from(1 + rng.below(2)).expect("few"),
            run_ms_max: 20 + rng.below(300),
            impatience: sometimes(&mut rng, 20),
            retention_ms: if rng.below(2) == 0 {
                100 + rng.below(400)
            } else {
                60_000
            },
            until_ms,
            asks,
            network,
            cuts: cuts(&mut rng, cells, until_ms),
            crashes: (0..sometimes(&mut rng, 6))
                .map(|_| Crash {
                    at_ms: rng.below(until_ms),
                    who: rng.draw() >> 32,
                    down_ms: rng.below(300),
                })
                .collect(),
            mover_crashes: sometimes(&mut rng, 25),
            ambush: None,
        }
    }

    /// New cells and one queue, which goes to and fro with a backlog, over a network that does everything wrong.
    pub fn busy(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("busy cells");
        let (cells, until_ms) = (2 + u8::try_from(seed % 3).expect("few"), 2_000);
        let mut asks = asks(&mut rng, cells, 1, 2, until_ms);
        asks.extend(self::asks(&mut rng, cells, 1, 2, until_ms));
        for ask in &mut asks {
            if let What::Get { back } = ask.what
                && rng.below(2) == 0
            {
                ask.what = What::Cancel { back: back / 3 };
            }
            // All at once, and then nothing for a while.
            ask.at_ms = ask.at_ms / BURST_MS * BURST_MS + rng.below(40);
        }
        asks.sort_by_key(|ask| ask.at_ms);
        Self {
            seed,
            cells,
            ages: vec![0; usize::from(cells)],
            queues: vec!["q0".parse().expect("a legal name")],
            tag_bits: 16,
            gateways: 2,
            movers: 1 + u8::try_from(seed % 2).expect("few"),
            schedulers: 2,
            workers: 2,
            run_ms_max: 60,
            impatience: 15,
            retention_ms: 100 + rng.below(300),
            until_ms,
            asks,
            network: Network {
                latency_us_max: 12_000,
                lost: 4,
                late: 6,
                doubled: 12,
                unheard: 10,
            },
            cuts: Vec::new(),
            crashes: Vec::new(),
            mover_crashes: 8,
            ambush: None,
        }
    }

    /// One queue with six tasks of every kind, moved from one cell to the other and back, with nothing broken: the story
    /// that is told with a crash at every call.
    pub fn story(seed: u64) -> Self {
        let submit = |at_ms, key, delay_ms| Ask {
            at_ms,
            gateway: 0,
            what: What::Submit {
                queue: 0,
                key,
                delay_ms,
            },
        };
        let order = |at_ms, to| Ask {
            at_ms,
            gateway: 0,
            what: What::Move {
                queue: 0,
                to: CellId(to),
            },
        };
        let mut asks: Vec<Ask> = (0..6)
            .map(|n| submit(5 * n, (n == 2).then_some(1), (n == 3).then_some(400)))
            .collect();
        asks.extend([order(120, 0), order(130, 1), submit(200, Some(1), None)]);
        asks.extend([order(600, 0), order(610, 1), submit(700, None, None)]);
        Self {
            seed,
            cells: 2,
            ages: vec![300, 0],
            queues: vec!["q0".parse().expect("a legal name")],
            tag_bits: 16,
            gateways: 1,
            movers: 1,
            schedulers: 1,
            workers: 1,
            run_ms_max: 150,
            impatience: 10,
            retention_ms: 60_000,
            until_ms: 1_200,
            asks,
            network: Network {
                latency_us_max: 4_000,
                lost: 0,
                late: 0,
                doubled: 0,
                unheard: 0,
            },
            cuts: Vec::new(),
            crashes: Vec::new(),
            mover_crashes: 0,
            ambush: None,
        }
    }
}

/// Off in half of the runs, else up to `max`.
fn sometimes(rng: &mut Rng, max: u64) -> u64 {
    let is_on = rng.below(2) == 0;
    let rate = 1 + rng.below(max);
    if is_on { rate } else { 0 }
}

fn asks(rng: &mut Rng, cells: u8, queues: usize, gateways: u8, until_ms: u64) -> Vec<Ask> {
    let count = 15 + rng.below(60);
    let mut asks: Vec<Ask> = (0..count)
        .map(|_| Ask {
            at_ms: rng.below(until_ms),
            gateway: u8::try_from(rng.below(u64::from(gateways))).expect("few"),
            what: what(rng, cells, queues),
        })
        .collect();
    asks.sort_by_key(|ask| ask.at_ms);
    asks
}

fn what(rng: &mut Rng, cells: u8, queues: usize) -> What {
    let lot = rng.below(100);
    let queue = usize::try_from(rng.below(queues as u64)).expect("an index");
    let back = usize::try_from(rng.below(12)).expect("few");
    let key = u8::try_from(rng.below(4)).expect("few");
    let delay = rng.below(600);
    let to = CellId(u8::try_from(rng.below(u64::from(cells))).expect("few"));
    match lot {
        0..50 => What::Submit {
            queue,
            key: (lot < 15).then_some(key),
            delay_ms: lot.is_multiple_of(5).then_some(delay),
        },
        50..62 => What::Cancel { back },
        62..80 => What::Get { back },
        _ => What::Move { queue, to },
    }
}

fn cuts(rng: &mut Rng, cells: u8, until_ms: u64) -> Vec<Cut> {
    (0..sometimes(rng, 5))
        .map(|_| {
            let from_ms = rng.below(until_ms);
            let cell = rng.below(u64::from(cells) + 1);
            let who = rng.draw() >> 32;
            Cut {
                from_ms,
                until_ms: from_ms + rng.below(700),
                cell: cell
                    .checked_sub(1)
                    .map(|cell| CellId(u8::try_from(cell).expect("few"))),
                who: (rng.below(2) == 0).then_some(who),
            }
        })
        .collect()
}
