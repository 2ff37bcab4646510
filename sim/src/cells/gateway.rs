//! A gateway, as far as the plan concerns it: one request at a time, on a map and on readings that may be old.

use std::collections::{BTreeMap, VecDeque};

use windlass_core::ids::{NodeId, QueueName, Revision, TaskId};
use windlass_core::machine::Machine;
use windlass_core::record::{LaneRecord, Record};
use windlass_core::rng::Rng;
use windlass_core::store::{Answer, Step, TxnOutcome};
use windlass_core::time::{Mono, Now};

use super::actor::{Desk, Effect, Fact, Input, Request, Sight, Store, rest, snapshot};
use super::bug::{Bug, Planted};
use super::record::{CellId, Epoch, MarkRecord, Tags};
use super::request::{Errand, Submission};
use super::route::{Atlas, Route};
use super::rows::{self, LaneAt, lane_key};
use super::search::{Search, Sighting, Standing, Turn};
use super::snapshot::{Dated, Snapshot};

/// How often, in hundredths, a new task is given to a worker at once, if one is idle.
const AT_ONCE: u64 = 30;
/// How often a request begins anew before its client is told that it came to no end.
const TRIES_MAX: u32 = 40;

#[derive(Debug)]
enum Job {
    Submit(Submission),
    Find(Errand),
    Move { queue: QueueName, to: CellId },
}

/// What the open question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Map,
    Look(CellId),
    LookBack(CellId, Epoch),
    /// The answer decides nothing: what it did is read again.
    Write,
    Send(CellId),
    /// What became of what was sent?
    Doubt(CellId),
    /// Makes sure that what was sent can land no more.
    Bump(CellId),
    Cancel,
}

#[derive(Debug)]
pub(super) struct Gateway {
    me: NodeId,
    cells: u8,
    tags: Tags,
    desk: Desk,
    rng: Rng,
    next: Mono,
    atlas: Atlas,
    lanes: BTreeMap<CellId, LaneAt>,
    waiting: VecDeque<Request>,
    job: Option<Job>,
    stage: Stage,
    tries: u32,
    bugs: Planted,
}

impl Gateway {
    pub(super) fn new(
        me: NodeId,
        cells: u8,
        tags: Tags,
        rng: Rng,
        now: Mono,
        bugs: Planted,
    ) -> Self {
        Self {
            me,
            cells,
            tags,
            desk: Desk::default(),
            rng,
            next: now,
            atlas: Atlas::default(),
            lanes: BTreeMap::new(),
            waiting: VecDeque::new(),
            job: None,
            stage: Stage::Map,
            tries: 0,
            bugs,
        }
    }

    fn begin(&mut self, now: Now, request: Request) {
        self.tries = 0;
        self.job = Some(match request {
            Request::Submit {
                number,
                queue,
                key,
                delay_ms,
            } => {
                if key.is_some() {
                    self.atlas.forget_all();
                }
                let (tags, rng) = (self.tags, &mut self.rng);
                Job::Submit(Submission::new(
                    (number, key),
                    queue,
                    delay_ms,
                    now,
                    tags,
                    rng,
                ))
            }
            Request::Cancel { id } => Job::Find(Errand::new(id, now, true)),
            Request::Get { id } => Job::Find(Errand::new(id, now, false)),
            Request::Move { queue, to } => Job::Move { queue, to },
        });
    }

    /// Does the next thing for the request in hand.
    fn advance(&mut self, now: Now, out: &mut Vec<Effect>) {
        match &self.job {
            None => {}
            Some(Job::Submit(it)) => {
                let queue = it.task.queue.clone();
                let is_named = self.atlas.knows(&queue);
                if !is_named && self.stage != Stage::Map {
                    return self.ask_map(out);
                }
                let route = self.atlas.route(&queue, it.key.is_some(), it.asked);
                self.follow(now, &queue, route, out);
            }
            Some(Job::Find(errand)) => {
                let candidates = self.atlas.candidates(errand.id, self.tags);
                let search = Search::new(errand.id, candidates, self.bugs);
                let (id, is_mapped) = (errand.id, errand.is_mapped);
                match search {
                    Some((search, cell)) => {
                        if let Some(Job::Find(errand)) = &mut self.job {
                            errand.search = Some(search);
                        }
                        self.look(Stage::Look(cell), cell, out);
                    }
                    None if is_mapped => self.on_absent(id, out),
                    None => self.ask_map(out),
                }
            }
            Some(Job::Move { .. }) => self.ask_map(out),
        }
    }

    fn ask_map(&mut self, out: &mut Vec<Effect>) {
        self.stage = Stage::Map;
        self.desk.read(Store::Directory, out);
    }

    fn look(&mut self, stage: Stage, cell: CellId, out: &mut Vec<Effect>) {
        self.stage = stage;
        self.desk.read(Store::Cell(cell), out);
    }

    fn write(&mut self, stage: Stage, store: Store, step: Step, out: &mut Vec<Effect>) {
        self.stage = stage;
        self.desk.commit(store, step, out);
    }

    fn follow(&mut self, now: Now, queue: &QueueName, route: Route, out: &mut Vec<Effect>) {
        match route {
            Route::Name => {
                let cell = self.rng.below(u64::from(self.cells));
                let cell = CellId(u8::try_from(cell).expect("a cell's number"));
                let step = rows::name_queue(queue, cell);
                self.write(Stage::Write, Store::Directory, step, out);
            }
            Route::Look(cell) => self.look(Stage::Look(cell), cell, out),
            Route::FirstMark(cell) => {
                self.atlas.forget(cell);
                let step = rows::first_mark(queue);
                self.write(Stage::Write, Store::Cell(cell), step, out);
            }
            Route::LookBack { from, epoch } if !self.bugs.has(Bug::SourceNotAsked) => {
                self.look(Stage::LookBack(from, epoch), from, out);
            }
            Route::LookBack { epoch, .. } => {
                if let Some(Job::Submit(it)) = &mut self.job {
                    it.asked = Some(epoch);
                }
                self.advance(now, out);
            }
            Route::Send { cell, mark } => self.send(now, cell, &mark, out),
            Route::Wait => {
                self.atlas.forget_all();
                self.again(now, 15, out);
            }
        }
    }

    fn send(&mut self, now: Now, cell: CellId, mark: &Dated<MarkRecord>, out: &mut Vec<Effect>) {
        let Some(Job::Submit(it)) = &self.job else {
            return;
        };
        let hash = it.task.unique.as_deref();
        if let Some(id) = hash.and_then(|hash| self.atlas.unique(cell, hash)) {
            return self.accepted(now, id, out);
        }
        let lane = self.lanes.entry(cell).or_default();
        let lane = rows::step_lane(&self.me, lane, 1);
        let is_at_once = it.task.due.is_none() && self.rng.below(100) < AT_ONCE;
        let to = self.atlas.idle(cell).filter(|_| is_at_once);
        let to = to.as_ref().map(|to| (to, now.wall));
        let step = rows::submit(it.id, &it.task, mark, to, lane, self.bugs);
        self.write(Stage::Send(cell), Store::Cell(cell), step, out);
    }

    fn accepted(&mut self, now: Now, id: TaskId, out: &mut Vec<Effect>) {
        if let Some(Job::Submit(it)) = self.job.take() {
            out.push(Effect::Told(Fact::Accepted {
                number: it.number,
                queue: it.task.queue,
                key: it.key,
                id,
            }));
        }
        self.next = now.mono;
    }

    /// The request begins anew, after a pause.
    fn again(&mut self, now: Now, millis: u64, out: &mut Vec<Effect>) {
        self.tries += 1;
        if self.tries > TRIES_MAX {
            self.job = None;
            out.push(Effect::Told(Fact::GivenUp));
        }
        self.stage = Stage::Write;
        self.next = rest(&mut self.rng, now, millis);
    }

    fn on_answer(&mut self, now: Now, answer: Answer, out: &mut Vec<Effect>) {
        match self.stage {
            Stage::Map => self.on_map(now, answer, out),
            Stage::Look(cell) => match snapshot(answer) {
                Some(view) => self.on_look(now, cell, view, out),
                None => self.again(now, 20, out),
            },
            Stage::LookBack(cell, epoch) => match snapshot(answer) {
                Some(view) => self.on_look_back(now, epoch, &view, out),
                None => {
                    self.atlas.forget(cell);
                    self.again(now, 20, out);
                }
            },
            Stage::Write => self.again(now, 2, out),
            Stage::Send(cell) => self.on_sent(now, cell, &answer, out),
            Stage::Doubt(cell) => match snapshot(answer) {
                Some(view) => self.on_doubt(now, cell, &view, out),
                None => self.look(Stage::Doubt(cell), cell, out),
            },
            Stage::Bump(cell) => self.look(Stage::Doubt(cell), cell, out),
            Stage::Cancel => match (&self.job, answer) {
                (Some(Job::Find(it)), Answer::Txn(TxnOutcome::Committed { .. })) => {
                    out.push(Effect::Told(Fact::Cancelled { id: it.id }));
                    self.job = None;
                }
                _ => self.again(now, 10, out),
            },
        }
    }

    fn on_map(&mut self, now: Now, answer: Answer, out: &mut Vec<Effect>) {
        let Some(directory) = snapshot(answer) else {
            return self.again(now, 20, out);
        };
        self.atlas.learn_map(&directory);
        match &mut self.job {
            Some(Job::Move { queue, to }) => {
                let (queue, to) = (queue.clone(), *to);
                self.job = None;
                let map = directory.map(&queue);
                if let Some(map) = map
                    && map.record.to.is_none()
                    && map.record.cell != to
                {
                    let step = rows::order(&queue, &map, to);
                    self.write(Stage::Write, Store::Directory, step, out);
                }
            }
            Some(Job::Find(errand)) => {
                errand.is_mapped = true;
                self.advance(now, out);
            }
            Some(Job::Submit(_)) | None => self.advance(now, out),
        }
    }

    fn on_look(&mut self, now: Now, cell: CellId, view: Snapshot, out: &mut Vec<Effect>) {
        let Some(Job::Find(errand)) = &mut self.job else {
            self.atlas.learn(cell, view);
            return self.advance(now, out);
        };
        let (id, is_mapped) = (errand.id, errand.is_mapped);
        let Some(search) = &mut errand.search else {
            return self.again(now, 1, out);
        };
        match search.on_look(view) {
            Turn::Look(cell) => self.look(Stage::Look(cell), cell, out),
            Turn::Absent if is_mapped => self.on_absent(id, out),
            Turn::Absent => self.ask_map(out),
            Turn::Found(sighting) => self.on_found(now, id, &sighting, out),
        }
    }

    fn on_absent(&mut self, id: TaskId, out: &mut Vec<Effect>) {
        if let Some(Job::Find(errand)) = self.job.take() {
            out.push(Effect::Told(errand.shown(id, Sight::Unknown)));
        }
    }

    fn on_found(&mut self, now: Now, id: TaskId, it: &Sighting, out: &mut Vec<Effect>) {
        let Some(Job::Find(errand)) = &self.job else {
            return;
        };
        let has_ended = matches!(it.standing, Standing::Ended);
        if !errand.is_cancel {
            let sight = if has_ended { Sight::Ended } else { Sight::Live };
            out.push(Effect::Told(errand.shown(id, sight)));
            self.job = None;
            return;
        }
        let step = match &it.standing {
            Standing::Ended => None,
            Standing::Claimed(held) if held.record.claim.stop.is_some() => None,
            Standing::Claimed(held) => Some(held.stop()),
            Standing::Waiting { key, since, carry } => {
                let Some(mark) = it.mark.or_else(|| self.mark_anyway()) else {
                    // Frozen: it can be cancelled once it has arrived.
                    return self.again(now, 30, out);
                };
                let at = (&it.queue, mark);
                let (key, wall) = (key.clone(), now.wall);
                Some(rows::cancel_waiting(
                    key, *since, id, carry, at, wall, self.bugs,
                ))
            }
        };
        match step {
            Some(step) => self.write(Stage::Cancel, Store::Cell(it.cell), step, out),
            None => {
                self.job = None;
                out.push(Effect::Told(Fact::Cancelled { id }));
            }
        }
    }

    fn mark_anyway(&self) -> Option<Revision> {
        let is_on = self.bugs.has(Bug::CancelUnguarded);
        is_on.then_some(Revision(0))
    }

    fn on_look_back(&mut self, now: Now, epoch: Epoch, view: &Snapshot, out: &mut Vec<Effect>) {
        let Some(Job::Submit(it)) = &mut self.job else {
            return;
        };
        // What was read after the target was opened: the source is closed, so no key can come to be there any more.
        let hash = it.task.unique.as_deref();
        match hash.and_then(|hash| view.unique(hash)) {
            Some(id) => self.accepted(now, id, out),
            None => {
                it.asked = Some(epoch);
                self.advance(now, out);
            }
        }
    }

    fn on_sent(&mut self, now: Now, cell: CellId, answer: &Answer, out: &mut Vec<Effect>) {
        let Some(Job::Submit(it)) = &self.job else {
            return;
        };
        let id = it.id;
        let Answer::Txn(outcome) = answer else {
            return self.again(now, 2, out);
        };
        match outcome {
            TxnOutcome::Committed { at } => {
                let lane = self.lanes.entry(cell).or_default();
                (lane.number, lane.since) = (lane.number + 1, Some(*at));
                self.accepted(now, id, out);
            }
            TxnOutcome::Unknown => self.look(Stage::Doubt(cell), cell, out),
            // Only this gateway writes its lane: a copy of what was sent was first.
            TxnOutcome::Conflict { failed, .. }
                if failed.iter().any(|it| it.guard == rows::SUBMIT_LANE_GUARD) =>
            {
                self.look(Stage::Doubt(cell), cell, out);
            }
            TxnOutcome::Conflict { .. } | TxnOutcome::Refused(_) => {
                self.atlas.forget(cell);
                self.again(now, 2, out);
            }
        }
    }

    /// The lane is the witness: what was sent wrote the number after the last known, what makes sure that it can land no
    /// more writes the one after that.
    fn on_doubt(&mut self, now: Now, cell: CellId, view: &Snapshot, out: &mut Vec<Effect>) {
        let lane = self.lanes.entry(cell).or_default();
        let found = view.get(&lane_key(&self.me));
        let number = found.map_or(0, |found| {
            LaneRecord::decode(&found.value).map_or(0, |record| record.number)
        });
        let passed = number - lane.number;
        if passed == 0 {
            let step = rows::step_lane(&self.me, lane, 2);
            return self.write(Stage::Bump(cell), Store::Cell(cell), step, out);
        }
        (lane.number, lane.since) = (number, found.map(|found| found.modified));
        self.atlas.forget(cell);
        let Some(Job::Submit(it)) = &mut self.job else {
            return;
        };
        if self.bugs.has(Bug::UnknownAsRefused) {
            it.id = self.tags.task(&it.task.queue, &mut self.rng, now.wall);
        } else if passed == 1 {
            let id = it.id;
            return self.accepted(now, id, out);
        }
        self.again(now, 2, out);
    }
}

impl Machine for Gateway {
    type Input = Input;
    type Effect = Effect;
    type Timer = ();

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Answered { op, answer } => {
                if self.desk.takes(op) {
                    self.on_answer(now, answer, out);
                }
            }
            Input::Asked(request) => self.waiting.push_back(request),
            Input::Elapsed => {}
        }
        // A request that ends at once makes room for the next.
        while self.desk.is_free() {
            if self.job.is_none() {
                let Some(request) = self.waiting.pop_front() else {
                    return;
                };
                self.next = now.mono;
                self.stage = Stage::Write;
                self.begin(now, request);
            }
            if self.next > now.mono {
                return;
            }
            self.advance(now, out);
        }
    }

    fn deadline(&self) -> Option<(Mono, ())> {
        let has_work = self.job.is_some() || !self.waiting.is_empty();
        (self.desk.is_free() && has_work).then_some((self.next, ()))
    }
}
