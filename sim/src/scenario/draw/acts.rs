//! What users do.

use windlass_core::balance::Strategy;
use windlass_core::gateway::TaskState;
use windlass_core::ids::Priority;
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::Millis;

use super::super::{ADVICE, Act, Move, QUEUES, TaskPlan, Timed, Wish};
use super::Draw;
use crate::nemesis::Fault;

/// How many different acts there are to choose from.
const ACTS: u64 = 15;

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
        let mut acts: Vec<Timed<Act>> = Vec::new();
        for _ in 0..count {
            let kind = self.from.one_of(&kinds);
            let at = match acts.last().map(|act| act.at) {
                _ if burst => Millis::new(storm.get() + self.from.below(300)),
                // Whoever asks about a task mostly does so when something goes on.
                Some(last) if kind > 0 && self.from.chance(50) => {
                    Millis::new(last.get() + self.from.below(100))
                }
                Some(_) | None => self.moment(),
            };
            let what = self.act(kind);
            let twin = self.twin(&what).map(|what| Timed { at, what });
            acts.push(Timed { at, what });
            acts.extend(twin);
        }
        let end = self.safety.get() - 1;
        acts.iter_mut()
            .for_each(|act| act.at = Millis::new(act.at.get().min(end)));
        acts.sort_by_key(|act| act.at);
        acts
    }

    /// What two users ask at the same time, each through a scheduler process of their own.
    fn twin(&mut self, act: &Act) -> Option<Act> {
        if !self.from.chance(40) {
            return None;
        }
        let mut twin = act.clone();
        let other = self.server();
        match &mut twin {
            Act::Cancel { server, .. } | Act::Rerun { server, .. } => *server = other,
            // One chooses, the other pauses or resumes.
            Act::Configure {
                server,
                strategy,
                paused,
                ..
            } => {
                *server = other;
                if paused.take().is_some() {
                    *strategy = self.strategy();
                } else {
                    *strategy = None;
                    *paused = Some(self.from.chance(60));
                }
            }
            // What a node that leaves hands back may be cancelled just then.
            Act::Drain { .. } => twin = self.sweep(),
            Act::Submit { .. }
            | Act::Repeat { .. }
            | Act::Vanish { .. }
            | Act::Get { .. }
            | Act::List { .. }
            | Act::Stats { .. }
            | Act::Follow { .. }
            | Act::Ambush { .. }
            | Act::Sweep { .. }
            | Act::Order { .. }
            | Act::LockTake { .. }
            | Act::LockRenew { .. }
            | Act::LockRelease { .. } => return None,
        }
        Some(twin)
    }

    fn sweep(&mut self) -> Act {
        Act::Sweep {
            server: self.server(),
            wish: self.from.one_of(&[Wish::Cancel, Wish::Cancel, Wish::Rerun]),
        }
    }

    /// What users do about troubles: they clean up while they last, or just when others take over.
    pub(super) fn acts_around(&mut self, faults: &[Timed<Fault>]) -> Vec<Timed<Act>> {
        let mut acts = Vec::new();
        let end = self.safety.get() - 1;
        for fault in faults {
            if self.from.chance(12) {
                let later = self.from.one_of(&[0, self.ttl.get()]) + self.from.below(600);
                let at = Millis::new((fault.at.get() + later).min(end));
                let what = self.sweep();
                acts.push(Timed { at, what });
            }
        }
        acts
    }

    fn ambush(&mut self) -> Act {
        let step = self
            .from
            .one_of(&[Move::Waits, Move::Claimed, Move::Delayed, Move::Ended]);
        let wish = match step {
            Move::Ended => self.from.one_of(&[Wish::Rerun, Wish::Rerun, Wish::Get]),
            Move::Waits | Move::Claimed | Move::Delayed => {
                self.from.one_of(&[Wish::Cancel, Wish::Cancel, Wish::Get])
            }
        };
        let after = self.from.one_of(&[1, 1, 4, 30, 600, 3_000]);
        Act::Ambush {
            step,
            skip: self.from.below(8) as u32,
            after: Millis::new(self.from.below(after)),
            wish,
            server: self.server(),
            also: self.from.chance(50).then(|| self.server()),
        }
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
            11 if nth.is_multiple_of(4) => Act::Stats { server },
            11 => Act::Follow {
                server,
                wait: (!nth.is_multiple_of(5)).then_some(Millis::from_secs(2)),
            },
            12 => Act::Vanish { nth },
            13 => self.ambush(),
            14 => self.sweep(),
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
        let mut tasks: Vec<TaskPlan> = (0..count).map(|_| self.task()).collect();
        // A storm of tasks that all run at the same time: much is held when something breaks.
        if count >= 40 && self.from.chance(40) {
            let ms = self.span().get();
            for task in &mut tasks {
                task.kind = "sleep".to_owned();
                task.payload = Json::parse(format!("{{\"ms\":{ms}}}")).expect("it is JSON");
            }
        }
        tasks
    }

    pub(super) fn task(&mut self) -> TaskPlan {
        let (kind, payload) = self.kind();
        TaskPlan {
            kind: kind.to_owned(),
            payload: Json::parse(payload).expect("what is written here is JSON"),
            queue: self.queue(),
            priority: Priority::new(self.from.below(10) as u8).expect("a digit"),
            retries_max: self.from.below(4) as u32,
            backoff: Millis::new(self.from.one_of(&[500, 50, 2_000])),
            retry: self.retry(),
            timeout: Millis::from_secs(self.from.one_of(&[20, 20, 2, 5, 1])),
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

    fn retry(&mut self) -> Option<RetryPolicy> {
        self.from.chance(50).then(|| RetryPolicy {
            kind: self
                .from
                .one_of(&[Backoff::Exponential, Backoff::Linear, Backoff::Fixed]),
            delay: Millis::new(self.from.one_of(&[500, 50, 2_000])),
            cap: Millis::new(self.from.one_of(&[5 * 60_000, 600, 1_500])),
            jitter: self.from.chance(40),
            elapsed_max: self.from.chance(10).then_some(Millis::from_secs(3)),
        })
    }

    /// How long a handler goes on that was told to stop: mostly about a lease's time, sometimes beyond all patience.
    fn deafness(&mut self) -> u64 {
        if self.from.chance(40) {
            6_000 + self.from.below(40_000)
        } else {
            self.span().get()
        }
    }

    /// Mostly short, so that many hold and wait within a run; some around the length of a session.
    fn locker(&mut self) -> String {
        let ms = if self.from.chance(25) {
            self.span().get()
        } else {
            self.from.below(400)
        };
        let wait = self.from.one_of(&[0, 0, 5, 1_500]);
        let early = self.from.one_of(&[0, 0, 20, 2_000]);
        let deaf = if self.rough && self.from.chance(20) {
            self.deafness()
        } else {
            0
        };
        format!(
            "{{\"lock\":{},\"ms\":{ms},\"wait_ms\":{wait},\"early_ms\":{early},\"deaf_ms\":{deaf}}}",
            self.from.below(3)
        )
    }

    fn kind(&mut self) -> (&'static str, String) {
        let ms = self.span().get();
        if self.rough && self.from.chance(25) {
            return match self.from.below(4) {
                0 => ("hang", "null".to_owned()),
                1 => (
                    "deaf",
                    format!(
                        "{{\"ms\":{ms},\"deaf_ms\":{},\"fails\":{}}}",
                        self.deafness(),
                        self.from.below(2)
                    ),
                ),
                2 => (
                    "exit",
                    format!(
                        "{{\"ms\":{},\"times\":{}}}",
                        self.from.below(500),
                        1 + self.from.below(2)
                    ),
                ),
                _ => ("lie", format!("{{\"ms\":{}}}", self.from.below(3_000))),
            };
        }
        if self.locking && self.from.chance(50) {
            return ("locker", self.locker());
        }
        match self.from.below(10) {
            0 => ("fail", "{\"times\":1}".to_owned()),
            1 if self.from.chance(25) => ("fail", "{\"times\":9,\"for_good\":1}".to_owned()),
            1 if self.advised && self.from.chance(50) => {
                let again = 1 + self.from.below(1_500);
                ("fail", format!("{{\"times\":9,\"{ADVICE}\":{again}}}"))
            }
            1 => ("fail", "{\"times\":9}".to_owned()),
            5 => ("chatty", format!("{{\"ms\":{ms}}}")),
            2 => ("sleep", format!("{{\"ms\":{}}}", self.from.below(400))),
            3 => ("sleep", format!("{{\"ms\":{ms}}}")),
            4 => ("echo", "[1,2]".to_owned()),
            _ => ("noop", "null".to_owned()),
        }
    }
}
