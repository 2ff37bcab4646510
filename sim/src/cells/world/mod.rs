//! The run itself: one clock, the stores, those who take part, and what breaks between them.

mod fate;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use windlass_core::ids::{OpId, TaskId};
use windlass_core::kv::{ClientId, Effect as KvEffect, Input as KvInput, Kv, Log};
use windlass_core::machine::Machine;
use windlass_core::rng::Rng;
use windlass_core::store::{Answer, Call, Txn, Write};
use windlass_core::time::{Mono, Now, Wall};

use super::actor::{Effect, Fact, Input, Request, Store};
use super::bug::Planted;
use super::cast::{self, Actor, Part, Seed};
use super::check::Checker;
use super::plan::{Plan, What};
use crate::clock::EPOCH_MS;

struct Seat {
    part: Part,
    /// Counts its lives: answers to a former one are not for this.
    life: u64,
    actor: Option<Actor>,
    /// The questions that are open.
    open: BTreeMap<OpId, Call>,
}

#[derive(Debug)]
enum Event {
    /// A call reaches its store.
    Land {
        seat: usize,
        life: u64,
        store: Store,
        op: OpId,
        call: Call,
        is_heard: bool,
    },
    /// An answer reaches its asker.
    Hear {
        seat: usize,
        life: u64,
        op: OpId,
        answer: Answer,
    },
    /// Nobody will know any more.
    GiveUp {
        seat: usize,
        life: u64,
        op: OpId,
    },
    Wake {
        seat: usize,
        life: u64,
    },
    Ask(usize),
    Crash {
        seat: usize,
        down: Duration,
    },
    Return {
        seat: usize,
    },
}

/// What a thousand runs must have counted.
pub const COUNTED: &[&str] = &[
    "accepted",
    "cancelled",
    "crash",
    "cut",
    "doubled",
    "given up",
    "late",
    "lost",
    "map",
    "mover crash",
    "shown",
    "unheard",
];

/// How often each thing happened.
pub(super) type Counts = BTreeMap<&'static str, u64>;

pub(super) struct World {
    pub(super) plan: Plan,
    bugs: Planted,
    rng: Rng,
    now: Mono,
    stores: BTreeMap<Store, Kv>,
    seats: Vec<Seat>,
    queue: BinaryHeap<Reverse<(Mono, u64)>>,
    events: BTreeMap<u64, Event>,
    serial: u64,
    /// Nothing breaks any more.
    is_healed: bool,
    mover_calls: u64,
    acked: Vec<TaskId>,
    number: u32,
    pub(super) open_requests: u64,
    pub(super) checker: Checker,
    pub(super) counts: Counts,
    pub(super) handled: u64,
    pub(super) hash: u64,
    pub(super) lines: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(plan: Plan, bugs: Planted, is_told: bool) -> Self {
        let mut rng = Rng::new(plan.seed).fork("world");
        let mut world = Self {
            bugs,
            now: Mono::ZERO,
            stores: cast::stores(&plan),
            seats: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            serial: 0,
            is_healed: false,
            mover_calls: 0,
            acked: Vec::new(),
            number: 0,
            open_requests: 0,
            checker: Checker::new(plan.retention_ms),
            counts: Counts::new(),
            handled: 0,
            hash: 0,
            lines: is_told.then(Vec::new),
            rng: rng.fork("chance"),
            plan,
        };
        world.fill_seats();
        for at in 0..world.plan.asks.len() {
            let millis = world.plan.asks[at].at_ms;
            world.push(
                Mono::ZERO.after(Duration::from_millis(millis)),
                Event::Ask(at),
            );
        }
        for crash in world.plan.crashes.clone() {
            let seat = usize::try_from(crash.who).unwrap_or(0) % world.seats.len();
            let at = Mono::ZERO.after(Duration::from_millis(crash.at_ms));
            let down = Duration::from_millis(crash.down_ms);
            world.push(at, Event::Crash { seat, down });
        }
        world
    }

    fn fill_seats(&mut self) {
        for part in cast::parts(&self.plan) {
            self.seats.push(Seat {
                part,
                life: 0,
                actor: None,
                open: BTreeMap::new(),
            });
            self.seat_anew(self.seats.len() - 1);
        }
    }

    /// Begins a new life.
    fn seat_anew(&mut self, seat: usize) {
        let rng = self.rng.fork("actor");
        let it = &self.seats[seat];
        let seed = Seed {
            part: it.part,
            name: format!("n{seat}-{}", it.life),
            now: self.now,
            is_healed: self.is_healed,
            bugs: self.bugs,
        };
        let actor = seed.grow(&self.plan, rng);
        self.seats[seat].actor = Some(actor);
        self.wake(seat);
    }

    fn push(&mut self, at: Mono, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
    }

    fn wake(&mut self, seat: usize) {
        let soon = Mono::from_nanos(self.now.as_nanos() + 1);
        let it = &self.seats[seat];
        let Some((at, ())) = it.actor.as_ref().and_then(|actor| actor.deadline()) else {
            return;
        };
        let life = it.life;
        self.push(at.max(soon), Event::Wake { seat, life });
    }

    fn clock(&self) -> Now {
        let millis = EPOCH_MS + self.now.as_nanos() / 1_000_000;
        Now {
            mono: self.now,
            wall: Wall::from_millis(millis),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Lets things happen until this time.
    pub(super) fn run_until(&mut self, until: Mono) {
        while let Some(Reverse((at, serial))) = self.queue.peek().copied() {
            if at > until || !self.checker.violations.is_empty() {
                break;
            }
            self.queue.pop();
            let event = self.events.remove(&serial).expect("it was queued");
            self.now = at;
            self.handled += 1;
            self.on_event(event);
        }
        self.now = self.now.max(until);
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Land {
                seat,
                life,
                store,
                op,
                call,
                is_heard,
            } => self.on_land(seat, life, store, op, call, is_heard),
            Event::Hear {
                seat,
                life,
                op,
                answer,
            } => {
                if self.seats[seat].life == life && self.seats[seat].open.remove(&op).is_some() {
                    self.give(seat, Input::Answered { op, answer });
                }
            }
            Event::GiveUp { seat, life, op } => {
                if self.seats[seat].life != life {
                    return;
                }
                let call = self.seats[seat].open.remove(&op);
                if let Some(answer) = call.and_then(|call| call.lost()) {
                    self.give(seat, Input::Answered { op, answer });
                }
            }
            Event::Wake { seat, life } => {
                let it = &self.seats[seat];
                let deadline = it.actor.as_ref().and_then(|actor| actor.deadline());
                let is_due = deadline.is_some_and(|(at, ())| at <= self.now);
                if it.life == life && is_due {
                    self.give(seat, Input::Elapsed);
                }
            }
            Event::Ask(at) => self.on_ask(at),
            Event::Crash { seat, down } => {
                if !self.is_healed {
                    self.count("crash");
                    self.crash(seat, down);
                }
            }
            Event::Return { seat } => {
                if self.seats[seat].actor.is_none() {
                    self.seat_anew(seat);
                }
            }
        }
    }

    fn crash(&mut self, seat: usize, down: Duration) {
        self.note(|| format!("crash of {seat}"));
        let it = &mut self.seats[seat];
        it.life += 1;
        it.actor = None;
        it.open.clear();
        self.push(self.now.after(down), Event::Return { seat });
    }

    fn on_ask(&mut self, at: usize) {
        let ask = self.plan.asks[at].clone();
        let named = |back: usize| {
            let at = self.acked.len().checked_sub(1 + back)?;
            Some(self.acked[at])
        };
        let request = match ask.what {
            What::Submit {
                queue,
                key,
                delay_ms,
            } => Some(self.submission(queue, key, delay_ms)),
            What::Cancel { back } => named(back).map(|id| Request::Cancel { id }),
            What::Get { back } => named(back).map(|id| Request::Get { id }),
            What::Move { queue, to } => Some(Request::Move {
                queue: self.plan.queues[queue].clone(),
                to,
            }),
        };
        if let Some(request) = request {
            self.ask(usize::from(ask.gateway), request);
        }
    }

    fn submission(&mut self, queue: usize, key: Option<u8>, delay_ms: Option<u64>) -> Request {
        self.number += 1;
        Request::Submit {
            number: self.number,
            queue: self.plan.queues[queue].clone(),
            key,
            delay_ms,
        }
    }

    /// Somebody asks a gateway for something.
    pub(super) fn ask(&mut self, gateway: usize, request: Request) {
        self.note(|| format!("{request:?} to {gateway}"));
        self.give(gateway, Input::Asked(request));
    }

    /// A task for this queue, through this gateway.
    pub(super) fn submit(&mut self, gateway: usize, queue: usize) {
        let request = self.submission(queue, None, None);
        self.open_requests += 1;
        self.ask(gateway, request);
    }

    fn give(&mut self, seat: usize, input: Input) {
        let now = self.clock();
        let Some(actor) = &mut self.seats[seat].actor else {
            return;
        };
        let mut out = Vec::new();
        actor.handle(now, input, &mut out);
        for effect in out {
            match effect {
                Effect::Ask { store, op, call } => self.on_call(seat, store, op, call),
                Effect::Told(fact) => self.on_fact(&fact),
            }
        }
        if self.seats[seat].actor.is_some() {
            self.wake(seat);
        }
    }

    fn on_fact(&mut self, fact: &Fact) {
        self.note(|| format!("{fact:?}"));
        if let Fact::Accepted { id, .. } = fact {
            self.acked.push(*id);
            self.open_requests = self.open_requests.saturating_sub(1);
        }
        let what = match fact {
            Fact::Accepted { .. } => "accepted",
            Fact::Cancelled { .. } => "cancelled",
            Fact::Shown { .. } => "shown",
            Fact::GivenUp => "given up",
        };
        self.count(what);
        self.checker.on_fact(self.now, fact);
    }

    fn on_land(
        &mut self,
        seat: usize,
        life: u64,
        store: Store,
        op: OpId,
        call: Call,
        is_heard: bool,
    ) {
        let now = self.clock();
        if let Some(lines) = &mut self.lines
            && let Call::Commit(txn) = &call
        {
            let part = self.seats[seat].part;
            lines.push(tell(self.now, seat, part, store, txn));
        }
        let kv = self.stores.get_mut(&store).expect("every store is there");
        let mut out = Vec::new();
        let client = ClientId(seat as u64);
        kv.handle(now, KvInput::Call { client, op, call }, &mut out);
        for effect in out {
            match effect {
                KvEffect::Applied(Log::Changed { at, edits }) => {
                    self.mix(at.0 ^ (seat as u64) << 32);
                    self.note(|| format!("  committed at {at}"));
                    if let Store::Cell(cell) = store {
                        self.checker.on_change(self.now, cell, &edits);
                    } else {
                        self.count("map");
                    }
                }
                KvEffect::Applied(_) => {}
                KvEffect::Answer { answer, .. } if is_heard && !self.is_cut(seat, store) => {
                    let back = self.now.after(self.span());
                    self.push(
                        back,
                        Event::Hear {
                            seat,
                            life,
                            op,
                            answer,
                        },
                    );
                }
                KvEffect::Answer { .. } => {}
            }
        }
    }

    fn mix(&mut self, number: u64) {
        let mixed = self.hash.rotate_left(7) ^ number ^ self.now.as_nanos();
        self.hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let micros = self.now.as_nanos() / 1_000;
            lines.push(format!("{micros:>9} {}", line()));
        }
    }

    /// Nothing breaks any more, and everybody is there, with nothing but what the stores hold.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        for seat in 0..self.seats.len() {
            let is_dull = matches!(self.seats[seat].part, Part::Scheduler(_) | Part::Worker(..));
            if is_dull || self.seats[seat].actor.is_none() {
                self.seats[seat].life += 1;
                self.seats[seat].open.clear();
                self.seat_anew(seat);
            }
        }
    }

    /// The time of the run.
    pub(super) fn now(&self) -> Mono {
        self.now
    }

    /// What a store holds.
    pub(super) fn store(&self, store: Store) -> &Kv {
        &self.stores[&store]
    }
}

fn tell(now: Mono, seat: usize, part: Part, store: Store, txn: &Txn) -> String {
    let writes: Vec<String> = txn
        .writes()
        .iter()
        .map(|write| match write {
            Write::Put { key, value, .. } => {
                let text = String::from_utf8_lossy(value.as_bytes());
                format!("+{key} {}", text.chars().take(60).collect::<String>())
            }
            Write::Delete { key } => format!("-{key}"),
            Write::DeleteRange { range } => format!("-{range:?}"),
        })
        .collect();
    let micros = now.as_nanos() / 1_000;
    let (guards, writes) = (txn.guards(), writes.join(" "));
    format!("{micros:>9} {seat} {part:?} to {store:?}: if {guards:?} {writes}")
}
