//! What is to be done next to bring a queue from one cell to another? The mover remembers nothing: the answer follows from
//! the directory and the two cells, so that it may crash anywhere, and any number of movers may be at work.
//!
//! 1. *close*: the source's mark says `away`. From this revision on nobody submits, dispatches, releases, cancels or
//!    purges there: what waits is frozen. Attempts that run may end, be tried again or come back.
//! 2. *open*: the target's mark says `arriving`, with a base above every fence that the source can have given.
//! 3. *copy*, then *remove*: tasks, most urgent first, with all that belongs to them.
//! 4. *finish*: the source holds no task of the queue, and never will; the target's mark says `here`.
//! 5. *settle*: the directory says so, too.

use windlass_core::ids::{QueueName, Revision};
use windlass_core::machine::Machine;
use windlass_core::record::Version;
use windlass_core::rng::Rng;
use windlass_core::store::{Answer, Failed, Step, TxnOutcome, Write};
use windlass_core::time::{Mono, Now};

use super::actor::{Desk, Effect, Input, Store, rest, snapshot};
use super::bug::{Bug, Planted};
use super::parcel::{self, Parcel};
use super::record::{CellId, Epoch, MapRecord, MarkRecord, Stand, mark_key};
use super::rows;
use super::snapshot::{Dated, Snapshot};

/// How many tasks travel in one transaction. (As many as fit, in the product.)
const BATCH_MAX: usize = 4;

/// The next step of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// What was read does not go together: it was read at different times.
    Again,
    /// Attempts still run in the source.
    Wait,
    /// A step of the move itself, in this store.
    Write(Store, Step),
    /// Bring these over, then remove them.
    Copy(Load),
    /// These are in the target already.
    Remove(Load),
}

/// Tasks on their way, and the marks under which they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Load {
    queue: QueueName,
    from: CellId,
    to: CellId,
    away: Revision,
    arriving: Revision,
    parcels: Vec<Parcel>,
}

impl Load {
    fn copy(&self, bugs: Planted) -> Step {
        let parcels = self.parcels.iter().map(|it| it.copy(bugs));
        let mut step = merged(parcels);
        if !bugs.has(Bug::CopyUnderAnyMark) {
            let mark = mark_key(&self.queue);
            step.guards.push(rows::unchanged(mark, self.arriving));
        }
        step
    }

    fn remove(&self) -> Step {
        let mut step = merged(self.parcels.iter().map(Parcel::remove));
        let mark = mark_key(&self.queue);
        step.guards.push(rows::unchanged(mark, self.away));
        step
    }

    /// Those of which the store said that the target has them.
    fn found_there(mut self, step: &Step, failed: &[Failed]) -> Self {
        let failed = failed.iter();
        let keys: Vec<_> = failed
            .filter_map(|it| step.guards.get(usize::from(it.guard.0)))
            .map(|guard| guard.key().clone())
            .collect();
        let is_closed = keys.contains(&mark_key(&self.queue));
        self.parcels
            .retain(|parcel| !is_closed && keys.contains(&parcel.key()));
        self
    }
}

fn merged(steps: impl Iterator<Item = Step>) -> Step {
    let mut all = Step::default();
    for step in steps {
        all.guards.extend(step.guards);
        all.writes.extend(step.writes);
    }
    all
}

/// The next step of the move of a queue, of which the directory says `map`.
pub(super) fn next(
    queue: &QueueName,
    map: &Dated<MapRecord>,
    source: &Snapshot,
    target: &Snapshot,
    bugs: Planted,
) -> Next {
    let Some(to) = map.record.to else {
        return Next::Again;
    };
    let (from, epoch) = (map.record.cell, map.record.epoch);
    let (left, reached) = (source.mark(queue), target.mark(queue));
    let in_source = left.as_ref().map_or(Epoch(0), |mark| mark.record.epoch);
    let in_target = reached.as_ref().map_or(Epoch(0), |mark| mark.record.epoch);
    if in_source > epoch || in_target > epoch {
        return Next::Again;
    }
    let has_arrived = reached
        .as_ref()
        .is_some_and(|mark| mark.record.epoch == epoch && mark.record.stand == Stand::Here);
    if has_arrived {
        return match left {
            Some(away) if bugs.has(Bug::MarkForgotten) => {
                Next::Write(Store::Cell(from), forget(queue, away.since))
            }
            Some(_) | None => Next::Write(Store::Directory, rows::settle(queue, map, to)),
        };
    }
    let is_early = bugs.has(Bug::SourceNotClosed) && in_target < epoch;
    if in_source < epoch && !is_early {
        let close = close(queue, left.as_ref(), map, source, bugs);
        return close.map_or(Next::Again, |step| Next::Write(Store::Cell(from), step));
    }
    match (&left, reached) {
        (_, reached) if in_target < epoch => {
            let mark = MarkRecord {
                v: Version,
                epoch,
                base: base_of(left.as_ref(), target, bugs),
                stand: Stand::Arriving { from },
            };
            let open = rows::remark(queue, reached.map(|mark| mark.since), &mark);
            Next::Write(Store::Cell(to), open)
        }
        (Some(away), Some(reached)) => {
            carry(queue, (from, away), (to, &reached), source, target, bugs)
        }
        (None, _) | (_, None) => Next::Again,
    }
}

/// The mark that freezes the source. `None` when what was read of the source is older than the order.
fn close(
    queue: &QueueName,
    left: Option<&Dated<MarkRecord>>,
    map: &Dated<MapRecord>,
    source: &Snapshot,
    bugs: Planted,
) -> Option<Step> {
    let to = map.record.to?;
    let is_settled = match left {
        Some(mark) => {
            mark.record.stand == Stand::Here && mark.record.epoch.next() == map.record.epoch
        }
        // It was named, and nothing was ever submitted to it.
        None => map.record.epoch == Epoch::FIRST.next() || bugs.has(Bug::MarkForgotten),
    };
    if !is_settled {
        return None;
    }
    let mut base = left.map_or(0, |mark| mark.record.base);
    if bugs.has(Bug::BaseFromRead) {
        base += source.at.0;
    }
    let mark = MarkRecord {
        v: Version,
        epoch: map.record.epoch,
        base,
        stand: Stand::Away { to },
    };
    Some(rows::remark(queue, left.map(|mark| mark.since), &mark))
}

/// What makes every fence of the target larger than every one of the source. A dispatch in the source guarded the mark that
/// `left` was written over, so its claim was created before that. One in the target will guard the mark that is to be
/// written now, so its claim will be created after what was read of the target.
fn base_of(left: Option<&Dated<MarkRecord>>, target: &Snapshot, bugs: Planted) -> u64 {
    if bugs.has(Bug::BaseForgotten) {
        return 0;
    }
    let closed = left.map_or(0, |mark| {
        if bugs.has(Bug::BaseFromRead) {
            mark.record.base
        } else {
            mark.record.base + mark.since.0
        }
    });
    // No more than is needed, so that fences do not run away from revisions, however often a queue moves.
    closed.saturating_sub(target.at.0)
}

fn forget(queue: &QueueName, since: Revision) -> Step {
    let key = mark_key(queue);
    Step::new(
        vec![rows::unchanged(key.clone(), since)],
        vec![Write::Delete { key }],
    )
}

/// Both marks are written: what is left in the source comes over.
fn carry(
    queue: &QueueName,
    (from, away): (CellId, &Dated<MarkRecord>),
    (to, arriving): (CellId, &Dated<MarkRecord>),
    source: &Snapshot,
    target: &Snapshot,
    bugs: Planted,
) -> Next {
    let left = parcel::left_in(queue, source, bugs);
    let is_over = |parcel: &Parcel| {
        target.get(&parcel.key()).is_some() || bugs.has(Bug::EndedLeftOut) && parcel.has_ended
    };
    let (done, to_do): (Vec<Parcel>, Vec<Parcel>) = left.ready.into_iter().partition(is_over);
    let load = |parcels: Vec<Parcel>| Load {
        queue: queue.clone(),
        from,
        to,
        away: away.since,
        arriving: arriving.since,
        parcels: parcels.into_iter().take(BATCH_MAX).collect(),
    };
    if !done.is_empty() {
        return Next::Remove(load(done));
    }
    if !to_do.is_empty() {
        return Next::Copy(load(to_do));
    }
    if left.running > 0 && !bugs.has(Bug::FinishedWithClaims) {
        return Next::Wait;
    }
    let here = MarkRecord {
        stand: Stand::Here,
        ..arriving.record
    };
    let finish = rows::remark(queue, Some(arriving.since), &here);
    Next::Write(Store::Cell(to), finish)
}

/// What the answer that is waited for is about.
#[derive(Debug)]
enum Stage {
    Idle,
    Map,
    Source(QueueName, Dated<MapRecord>),
    Target(QueueName, Dated<MapRecord>, Box<Snapshot>),
    Copying(Load, Step),
    Writing,
}

/// Takes every step that it finds to be taken.
#[derive(Debug)]
pub(super) struct Mover {
    desk: Desk,
    rng: Rng,
    next: Mono,
    stage: Stage,
    bugs: Planted,
}

impl Mover {
    pub(super) fn new(rng: Rng, now: Mono, bugs: Planted) -> Self {
        Self {
            desk: Desk::default(),
            rng,
            next: now,
            stage: Stage::Idle,
            bugs,
        }
    }

    fn on_answer(&mut self, now: Now, answer: Answer, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {}
            Stage::Map => {
                let moving: Vec<_> = snapshot(answer)
                    .iter()
                    .flat_map(Snapshot::maps)
                    .filter(|(_, map)| map.record.to.is_some())
                    .collect();
                if moving.is_empty() {
                    return self.rest(now, 60);
                }
                let at = self.rng.below(moving.len() as u64);
                let (queue, map) = moving[usize::try_from(at).expect("an index")].clone();
                self.desk.read(Store::Cell(map.record.cell), out);
                self.stage = Stage::Source(queue, map);
            }
            Stage::Source(queue, map) => {
                let (Some(source), Some(to)) = (snapshot(answer), map.record.to) else {
                    return self.rest(now, 20);
                };
                self.desk.read(Store::Cell(to), out);
                self.stage = Stage::Target(queue, map, Box::new(source));
            }
            Stage::Target(queue, map, source) => {
                let Some(target) = snapshot(answer) else {
                    return self.rest(now, 20);
                };
                let next = next(&queue, &map, &source, &target, self.bugs);
                self.take(now, next, out);
            }
            Stage::Copying(load, step) => self.on_copied(now, load, &step, &answer, out),
            Stage::Writing => self.rest(now, 4),
        }
    }

    fn take(&mut self, now: Now, next: Next, out: &mut Vec<Effect>) {
        match next {
            Next::Again => self.rest(now, 10),
            Next::Wait => self.rest(now, 40),
            Next::Write(store, step) => {
                self.desk.commit(store, step, out);
                self.stage = Stage::Writing;
            }
            Next::Copy(load) if self.bugs.has(Bug::RemovedFirst) => {
                let (from, step) = (load.from, load.remove());
                self.desk.commit(Store::Cell(from), step.clone(), out);
                self.stage = Stage::Copying(load, step);
            }
            Next::Copy(load) => {
                let step = load.copy(self.bugs);
                self.desk.commit(Store::Cell(load.to), step.clone(), out);
                self.stage = Stage::Copying(load, step);
            }
            Next::Remove(load) => self.remove(&load, out),
        }
    }

    fn remove(&mut self, load: &Load, out: &mut Vec<Effect>) {
        self.desk.commit(Store::Cell(load.from), load.remove(), out);
        self.stage = Stage::Writing;
    }

    fn on_copied(
        &mut self,
        now: Now,
        load: Load,
        step: &Step,
        answer: &Answer,
        out: &mut Vec<Effect>,
    ) {
        let Answer::Txn(outcome) = answer else {
            return self.rest(now, 20);
        };
        match outcome {
            TxnOutcome::Committed { .. } if self.bugs.has(Bug::RemovedFirst) => {
                let copy = load.copy(self.bugs);
                self.desk.commit(Store::Cell(load.to), copy, out);
                self.stage = Stage::Writing;
            }
            TxnOutcome::Committed { .. } => self.remove(&load, out),
            TxnOutcome::Conflict { failed, .. } => {
                let there = load.found_there(step, failed);
                if there.parcels.is_empty() {
                    return self.rest(now, 20);
                }
                self.remove(&there, out);
            }
            TxnOutcome::Unknown if self.bugs.has(Bug::UnknownAsConflict) => self.remove(&load, out),
            // What is in the target is read again: nothing is removed on a guess.
            TxnOutcome::Unknown | TxnOutcome::Refused(_) => self.rest(now, 20),
        }
    }

    fn rest(&mut self, now: Now, millis: u64) {
        self.next = rest(&mut self.rng, now, millis);
    }
}

impl Machine for Mover {
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
            Input::Elapsed | Input::Asked(_) => {}
        }
        if self.desk.is_free() && self.next <= now.mono {
            self.desk.read(Store::Directory, out);
            self.stage = Stage::Map;
        }
    }

    fn deadline(&self) -> Option<(Mono, ())> {
        self.desk.is_free().then_some((self.next, ()))
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::keyspace::Key;
    use windlass_core::record::{Carry, EntryRecord, Json, Record, TaskRecord};
    use windlass_core::store::{Guard, Item};
    use windlass_core::time::{Millis, Wall};

    use super::*;
    use crate::cells::record::{Tags, map_key};

    fn queue() -> QueueName {
        "q".parse().unwrap()
    }

    fn item(key: Key, at: u64, record: &impl Record) -> Item {
        Item::new(key, Revision(at), Revision(at), record.encode())
    }

    fn mark(epoch: u32, base: u64, stand: Stand, at: u64) -> Item {
        let mark = MarkRecord {
            v: Version,
            epoch: Epoch(epoch),
            base,
            stand,
        };
        item(mark_key(&queue()), at, &mark)
    }

    fn cell(items: Vec<Item>) -> Snapshot {
        Snapshot::new(Revision(100), items)
    }

    /// From cell 0 to cell 1, as the move of this epoch.
    fn ordered(epoch: u32) -> Dated<MapRecord> {
        let map = MapRecord {
            v: Version,
            cell: CellId(0),
            epoch: Epoch(epoch),
            to: Some(CellId(1)),
        };
        let directory = cell(vec![item(map_key(&queue()), 9, &map)]);
        directory.map(&queue()).unwrap()
    }

    fn step(epoch: u32, source: &Snapshot, target: &Snapshot) -> Next {
        next(
            &queue(),
            &ordered(epoch),
            source,
            target,
            Planted::default(),
        )
    }

    fn waiting() -> Vec<Item> {
        let id = Tags { bits: 16 }.task(&queue(), &mut Rng::new(1), Wall::from_millis(5));
        let task = TaskRecord {
            v: Version,
            kind: "noop".parse().unwrap(),
            queue: queue(),
            priority: windlass_core::ids::Priority::NORMAL,
            name: None,
            payload: Json::null(),
            metadata: Default::default(),
            created_at: Wall::from_millis(5),
            due: None,
            retries_max: 0,
            retry: Default::default(),
            timeout: Millis::from_secs(1),
            unique: None,
        };
        let place = windlass_core::keyspace::Place {
            priority: task.priority,
            timestamp: task.created_at,
            task: id,
        };
        let carry: Carry = task.first_carry();
        let entry = EntryRecord { v: Version, carry };
        vec![
            item(Key::task(id), 30, &task),
            item(Key::entry(&queue(), place), 30, &entry),
        ]
    }

    const AWAY: Stand = Stand::Away { to: CellId(1) };
    const ARRIVING: Stand = Stand::Arriving { from: CellId(0) };

    #[test]
    fn the_source_is_closed_before_anything_else() {
        let source = cell(vec![mark(1, 0, Stand::Here, 40)]);
        let Next::Write(Store::Cell(CellId(0)), step) = step(2, &source, &cell(vec![])) else {
            panic!("nothing is written to the source");
        };
        let since = Revision(40);
        let key = mark_key(&queue());
        assert_eq!(step.guards, [Guard::Unchanged { key, since }]);
    }

    #[test]
    fn a_queue_that_was_never_used_is_closed_as_well() {
        let Next::Write(Store::Cell(CellId(0)), step) = step(2, &cell(vec![]), &cell(vec![]))
        else {
            panic!("nothing is written to the source");
        };
        assert_eq!(step.guards, [Guard::Absent(mark_key(&queue()))]);
    }

    #[test]
    fn the_target_gets_a_base_above_all_fences_of_the_source() {
        let source = cell(vec![mark(3, 500, AWAY, 70)]);
        let target = cell(vec![mark(2, 0, Stand::Away { to: CellId(0) }, 20)]);
        let Next::Write(Store::Cell(CellId(1)), step) = step(3, &source, &target) else {
            panic!("the target is not opened");
        };
        let Write::Put { value, .. } = &step.writes[0] else {
            panic!("no mark is written");
        };
        let mark = MarkRecord::decode(value).unwrap();
        // Its claims will be created after revision 100.
        assert_eq!((mark.base, mark.stand), (500 + 70 - 100, ARRIVING));
    }

    #[test]
    fn a_task_is_copied_and_then_removed_and_then_the_move_is_over() {
        let items = waiting();
        let with = |mark: Item, items: &[Item]| {
            let mut all = items.to_vec();
            all.push(mark);
            cell(all)
        };
        let (away, arriving) = (mark(2, 0, AWAY, 70), mark(2, 70, ARRIVING, 8));
        let full = with(away.clone(), &items);
        let copy = step(2, &full, &with(arriving.clone(), &[]));
        assert!(matches!(copy, Next::Copy(_)), "{copy:?}");
        let remove = step(2, &full, &with(arriving.clone(), &items));
        assert!(matches!(remove, Next::Remove(_)), "{remove:?}");
        let finish = step(2, &with(away.clone(), &[]), &with(arriving, &items));
        assert!(matches!(finish, Next::Write(Store::Cell(CellId(1)), _)));
        let settle = step(
            2,
            &cell(vec![away]),
            &with(mark(2, 70, Stand::Here, 9), &items),
        );
        assert!(matches!(settle, Next::Write(Store::Directory, _)));
    }

    #[test]
    fn what_was_read_before_a_later_move_decides_nothing() {
        let source = cell(vec![mark(4, 0, Stand::Here, 40)]);
        assert_eq!(step(2, &source, &cell(vec![])), Next::Again);
        let source = cell(vec![mark(1, 0, Stand::Here, 40)]);
        assert_eq!(step(4, &source, &cell(vec![])), Next::Again);
    }
}
