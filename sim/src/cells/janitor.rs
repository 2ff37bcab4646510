//! A cell's janitor, as far as the plan concerns it: forgets what has ended, but nothing of a queue that moves.

use std::collections::VecDeque;

use windlass_core::keyspace::{Key, Meaning, Range};
use windlass_core::machine::Machine;
use windlass_core::record::OutcomeRecord;
use windlass_core::rng::Rng;
use windlass_core::store::{Step, Write};
use windlass_core::time::{Millis, Mono, Now, Wall};

use super::actor::{Desk, Effect, Input, Store, rest, snapshot};
use super::bug::{Bug, Planted};
use super::record::{CellId, Stand, mark_key};
use super::rows::unchanged;
use super::snapshot::{Snapshot, decode};

#[derive(Debug)]
pub(super) struct Janitor {
    cell: CellId,
    desk: Desk,
    rng: Rng,
    next: Mono,
    plan: VecDeque<Step>,
    retention: Millis,
    bugs: Planted,
}

impl Janitor {
    pub(super) fn new(cell: CellId, rng: Rng, now: Mono, retention: Millis, bugs: Planted) -> Self {
        Self {
            cell,
            desk: Desk::default(),
            rng,
            next: now,
            plan: VecDeque::new(),
            retention,
            bugs,
        }
    }

    fn make_plan(&mut self, wall: Wall, view: &Snapshot) {
        for (key, found) in view.range(&Range::tasks()) {
            let Meaning::Outcome(task) = Meaning::of(key) else {
                continue;
            };
            let outcome: OutcomeRecord = decode(found);
            let Some(record) = view.task(task) else {
                continue;
            };
            let is_dead = view.get(&Key::dead(&record.queue, task)).is_some();
            let is_old = wall.since(outcome.ended_at) >= self.retention;
            let Some(mark) = view.mark(&record.queue) else {
                continue;
            };
            let is_free = self.bugs.has(Bug::PurgeWhileMoving);
            if is_dead || !is_old || mark.record.stand != Stand::Here && !is_free {
                continue;
            }
            let mut guards = vec![unchanged(key.clone(), found.modified)];
            if !is_free {
                guards.push(unchanged(mark_key(&record.queue), mark.since));
            }
            let unique = record.unique.as_deref().map(Key::unique);
            let own = Some(Key::task(task)).filter(|own| view.get(own).is_some());
            let keys = [own, Some(key.clone()), unique];
            let writes = keys.into_iter().flatten().map(|key| Write::Delete { key });
            self.plan.push_back(Step::new(guards, writes.collect()));
        }
    }
}

impl Machine for Janitor {
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
                    match self.plan.pop_front() {
                        Some(step) => self.desk.commit(Store::Cell(self.cell), step, out),
                        None => self.next = rest(&mut self.rng, now, 150),
                    }
                }
            }
            Input::Elapsed | Input::Asked(_) => {}
        }
        if self.desk.is_free() && self.next <= now.mono {
            self.desk.read(Store::Cell(self.cell), out);
        }
    }

    fn deadline(&self) -> Option<(Mono, ())> {
        self.desk.is_free().then_some((self.next, ()))
    }
}
