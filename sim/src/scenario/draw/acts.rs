//! What users do.

use windlass_core::balance::Strategy;
use windlass_core::gateway::TaskState;
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::time::Millis;

use super::super::{Act, QUEUES, TaskPlan, Timed};
use super::Draw;

/// How many different acts there are to choose from.
const ACTS: u64 = 13;

impl Draw<'_, '_> {
    pub(super) fn acts(&mut self) -> Vec<Timed<Act>> {
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
}
