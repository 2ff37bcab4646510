//! A cell's scheduler, as far as the plan concerns it: dispatches and releases under the mark of a queue that its cell
//! serves, and takes the claims of workers that are silent, wherever their queue is.

use std::collections::VecDeque;

use windlass_core::ids::{NodeId, QueueName, Registration};
use windlass_core::keyspace::{Meaning, Place, Range};
use windlass_core::machine::Machine;
use windlass_core::record::EntryRecord;
use windlass_core::rng::Rng;
use windlass_core::steps::Recipient;
use windlass_core::store::{Found, Step};
use windlass_core::time::{Mono, Now, Wall};
use windlass_core::view::{Delayed, Waiting};

use super::actor::{Desk, Effect, Input, Store, rest, snapshot};
use super::bug::{Bug, Planted};
use super::record::{CellId, MarkRecord, watched};
use super::rows::{self, Held};
use super::snapshot::{Dated, Snapshot, decode};

/// How many steps it takes on one reading, at most.
const STEPS_MAX: usize = 6;
/// How many claims a worker is given, at most.
const CLAIMS_MAX: usize = 2;

#[derive(Debug)]
pub(super) struct Scheduler {
    cell: CellId,
    desk: Desk,
    rng: Rng,
    next: Mono,
    /// What it wants to do, on a reading that grows old meanwhile.
    plan: VecDeque<Step>,
    /// In hundredths, how often it takes a claim to be its silent worker's.
    impatience: u64,
    bugs: Planted,
}

impl Scheduler {
    pub(super) fn new(cell: CellId, rng: Rng, now: Mono, impatience: u64, bugs: Planted) -> Self {
        Self {
            cell,
            desk: Desk::default(),
            rng,
            next: now,
            plan: VecDeque::new(),
            impatience,
            bugs,
        }
    }

    fn make_plan(&mut self, wall: Wall, view: &Snapshot) {
        let mut room = self.room(view);
        for (key, found) in view.all() {
            if self.plan.len() >= STEPS_MAX {
                return;
            }
            let meaning = Meaning::of(key);
            let step = if let Meaning::Entry(queue, place) = meaning {
                self.dispatch(&queue, place, found, view, &mut room, wall)
            } else if let Meaning::Delayed(due, task) = meaning
                && due <= wall
            {
                let delayed = Delayed {
                    since: found.modified,
                    record: Box::new(decode(found)),
                };
                let mark = self.mark(&delayed.record.queue, view);
                mark.map(|mark| rows::release(due, task, &delayed, mark.since))
            } else if let Meaning::Claim(worker, place) = meaning
                && self.rng.below(100) < self.impatience
            {
                Some(held(worker, place, found).take(wall))
            } else {
                None
            };
            self.plan.extend(step);
        }
    }

    /// The mark of a queue that is served here.
    fn mark(&self, queue: &QueueName, view: &Snapshot) -> Option<Dated<MarkRecord>> {
        view.mark(queue)
            .filter(|mark| mark.record.serves() || self.bugs.has(Bug::DispatchUnguarded))
    }

    fn dispatch(
        &mut self,
        queue: &QueueName,
        place: Place,
        found: &Found,
        view: &Snapshot,
        room: &mut Vec<(Recipient, usize)>,
        wall: Wall,
    ) -> Option<Step> {
        let mark = self.mark(queue, view)?;
        room.retain(|(_, free)| *free > 0);
        if room.is_empty() {
            return None;
        }
        let at = usize::try_from(self.rng.below(room.len() as u64)).expect("an index");
        let (to, free) = &mut room[at];
        *free -= 1;
        let entry: EntryRecord = decode(found);
        let waiting = Waiting {
            since: found.modified,
            carry: entry.carry,
        };
        let step = rows::dispatch(queue, place, &waiting, to, &mark, wall, self.bugs);
        Some(step)
    }

    /// Who takes how much more.
    fn room(&self, view: &Snapshot) -> Vec<(Recipient, usize)> {
        let offers = view.all().filter_map(|(key, found)| {
            let Meaning::Offer(worker) = Meaning::of(key) else {
                return None;
            };
            Some((worker, found.created))
        });
        let free = offers.map(|(worker, offer)| {
            let claims = Range::claims_of(&worker);
            let free = CLAIMS_MAX.saturating_sub(view.range(&claims).count());
            let recipient = Recipient {
                worker,
                registration: Registration(offer),
                offer,
            };
            (recipient, free)
        });
        free.collect()
    }

    fn proceed(&mut self, now: Now, out: &mut Vec<Effect>) {
        match self.plan.pop_front() {
            Some(step) => self.desk.commit(Store::Cell(self.cell), step, out),
            None => self.next = rest(&mut self.rng, now, 30),
        }
    }
}

/// The claim in what was found.
pub(super) fn held(worker: NodeId, place: Place, found: &Found) -> Held {
    Held {
        worker,
        place,
        created: found.created,
        since: found.modified,
        record: decode(found),
    }
}

impl Machine for Scheduler {
    type Input = Input;
    type Effect = Effect;
    type Timer = ();

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Answered { op, answer } => {
                if self.desk.takes(op) {
                    if let Some(view) = snapshot(answer) {
                        self.make_plan(now.wall, &view);
                    }
                    self.proceed(now, out);
                }
            }
            Input::Elapsed | Input::Asked(_) => {}
        }
        if self.desk.is_free() && self.next <= now.mono {
            self.desk.read_range(Store::Cell(self.cell), watched(), out);
        }
    }

    fn deadline(&self) -> Option<(Mono, ())> {
        self.desk.is_free().then_some((self.next, ()))
    }
}
