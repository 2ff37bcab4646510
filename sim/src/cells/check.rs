//! Checks what must be true of all cells together. It is told every change of every store, at its revision, and every answer that a
//! client got.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::ids::{QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, Meaning};
use windlass_core::kv::Edit;
use windlass_core::record::{OutcomeRecord, Record, TaskRecord, UniqueRecord};
use windlass_core::store::Value;
use windlass_core::time::Mono;

use super::actor::{Fact, Sight};
use super::held::{Copy, Life};
use super::record::{BasedClaim, CellId, MarkRecord, Stand, marked};
pub use super::rule::{Rule, Violation};
use crate::clock::EPOCH_MS;

/// All rules, and what they remember.
#[derive(Debug, Default)]
pub(super) struct Checker {
    copies: BTreeMap<(TaskId, CellId), Copy>,
    lives: BTreeMap<TaskId, Life>,
    marks: BTreeMap<(QueueName, CellId), MarkRecord>,
    uniques: BTreeMap<(String, CellId), TaskId>,
    /// What was answered for a queue's key.
    keys: BTreeMap<(QueueName, u8), TaskId>,
    numbers: BTreeMap<String, TaskId>,
    /// The last fence of each queue, and the cell that gave it.
    fences: BTreeMap<QueueName, (u64, CellId)>,
    /// What has ended is kept for so long.
    retention_ms: u64,
    now: Mono,
    pub(super) violations: Vec<Violation>,
}

impl Checker {
    /// Checkers of a run in which what has ended is kept for so long.
    pub(super) fn new(retention_ms: u64) -> Self {
        Self {
            retention_ms,
            ..Self::default()
        }
    }

    fn broken(&mut self, rule: Rule, what: String) {
        let at_ms = self.now.as_nanos() / 1_000_000;
        self.violations.push(Violation { rule, at_ms, what });
    }

    /// A cell changed.
    pub(super) fn on_change(&mut self, now: Mono, cell: CellId, edits: &[Edit]) {
        self.now = now;
        let mut touched: BTreeMap<TaskId, Copy> = BTreeMap::new();
        for edit in edits {
            if let Some(queue) = marked(edit.key()) {
                self.on_mark(queue, cell, edit);
                continue;
            }
            let Some(task) = self.task_of(edit, cell) else {
                continue;
            };
            let copy = self.copies.entry((task, cell)).or_default();
            touched.entry(task).or_insert_with(|| copy.clone());
            copy.apply(edit);
            self.on_unique(task, cell, edit);
        }
        for (task, before) in touched {
            self.on_task(task, cell, &before);
        }
    }

    /// Whose change this is.
    fn task_of(&self, edit: &Edit, cell: CellId) -> Option<TaskId> {
        match Meaning::of(edit.key()) {
            Meaning::Entry(_, place) | Meaning::Claim(_, place) => Some(place.task),
            Meaning::Delayed(_, task) | Meaning::Task(task) | Meaning::Outcome(task) => Some(task),
            Meaning::Unique => match edit {
                Edit::Put { entry, .. } => UniqueRecord::decode(&entry.found.value)
                    .ok()
                    .map(|record| record.task),
                Edit::Delete { key } => self.uniques.get(&(key.to_string(), cell)).copied(),
            },
            Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::Dead(..)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Run(_)
            | Meaning::Foreign => None,
        }
    }

    fn on_mark(&mut self, queue: QueueName, cell: CellId, edit: &Edit) {
        let key = (queue.clone(), cell);
        let before = match edit {
            Edit::Put { entry, .. } => {
                let mark = MarkRecord::decode(&entry.found.value);
                let mark = mark.expect("only this simulation writes marks");
                self.marks.insert(key, mark)
            }
            Edit::Delete { .. } => self.marks.remove(&key),
        };
        let after = self.marks.get(&(queue.clone(), cell)).copied();
        if let (Some(before), Some(after)) = (before, after)
            && before.epoch > after.epoch
        {
            let what = format!("the mark of {queue} in {cell} went back: {before:?}, {after:?}");
            self.broken(Rule::OneServes, what);
        }
        let serving: Vec<_> = self
            .marks
            .iter()
            .filter(|((of, _), mark)| *of == queue && mark.serves())
            .map(|((_, cell), _)| cell.to_string())
            .collect();
        if serving.len() > 1 {
            let what = format!("{queue} is served by {}", serving.join(" and "));
            self.broken(Rule::OneServes, what);
        }
    }

    fn on_unique(&mut self, task: TaskId, cell: CellId, edit: &Edit) {
        if !matches!(Meaning::of(edit.key()), Meaning::Unique) {
            return;
        }
        let key = edit.key().to_string();
        if matches!(edit, Edit::Delete { .. }) {
            self.uniques.remove(&(key, cell));
            return;
        }
        let others: Vec<_> = self
            .uniques
            .iter()
            .filter(|((other, _), other_task)| *other == key && **other_task != task)
            .map(|((_, cell), other)| format!("{other} in {cell}"))
            .collect();
        if !others.is_empty() {
            let what = format!("{key} is {task} in {cell} and {}", others.join(", "));
            self.broken(Rule::KeysUnique, what);
        }
        self.uniques.insert((key, cell), task);
    }

    fn serves(&self, queue: &QueueName, cell: CellId) -> bool {
        let mark = self.marks.get(&(queue.clone(), cell));
        mark.is_some_and(MarkRecord::serves)
    }

    /// The cell in which the task is a mere remainder, while its queue goes from there to `cell`.
    fn leaving_for(&self, queue: &QueueName, cell: CellId) -> Option<CellId> {
        let mark = self.marks.get(&(queue.clone(), cell))?;
        let Stand::Arriving { from } = mark.stand else {
            return None;
        };
        let left = self.marks.get(&(queue.clone(), from))?;
        let is_its = left.stand == Stand::Away { to: cell } && left.epoch == mark.epoch;
        is_its.then_some(from)
    }

    fn others(&self, task: TaskId, cell: CellId) -> Vec<CellId> {
        let all = (task, CellId(0))..=(task, CellId(u8::MAX));
        let copies = self.copies.range(all);
        let others = copies.filter(|((_, at), copy)| *at != cell && copy.record.is_some());
        others.map(|((_, at), _)| *at).collect()
    }

    /// One revision changed what a cell has of a task.
    fn on_task(&mut self, task: TaskId, cell: CellId, before: &Copy) {
        let after = self.copies.get(&(task, cell)).cloned().unwrap_or_default();
        if before.record.is_none() && after.record.is_some() {
            self.on_arrival(task, cell, &after);
        }
        self.on_shape(task, cell, &after);
        let others = self.others(task, cell);
        let queue = self.lives.get(&task).and_then(|life| life.queue.clone());
        if let Some(queue) = &queue
            && before.record.is_some()
            && after.record.is_some()
            && !others.is_empty()
            && self.leaving_for(queue, cell).is_none()
        {
            let what = format!("{task} changed in {cell}, while {} had it", list(&others));
            self.broken(Rule::OnePlace, what);
        }
        for (key, (created, value)) in &after.places {
            if before.places.get(key).is_none_or(|old| old.0 != *created) {
                self.on_place(task, cell, key, *created, value, queue.as_ref());
            }
        }
        if let Some(outcome) = &after.outcome
            && before.outcome.is_none()
        {
            self.on_outcome(task, cell, outcome, before.record.is_none());
        }
        if before.record.is_some() && after.record.is_none() {
            self.on_departure(task, cell, before, &others);
        }
    }

    /// A cell has a task that it had not.
    fn on_arrival(&mut self, task: TaskId, cell: CellId, copy: &Copy) {
        let record = copy.record.as_ref().map(TaskRecord::decode);
        let record = record.and_then(Result::ok);
        let record = record.expect("only this simulation writes tasks");
        let (queue, others) = (record.queue.clone(), self.others(task, cell));
        if !self.serves(&queue, cell) {
            let what = format!("{cell} took {task} of {queue}, which it does not serve");
            self.broken(Rule::OneServes, what);
        }
        if let [other] = others[..] {
            let is_moved = self.leaving_for(&queue, cell) == Some(other);
            let there = self.copies.get(&(task, other));
            let is_equal = there.is_some_and(|there| there.equals(copy));
            if !is_moved || !is_equal {
                let what = format!("{cell} took {task} as it was not in {other}");
                self.broken(Rule::OnePlace, what);
            }
        } else if !others.is_empty() {
            let what = format!("{cell} took {task}, which {} had", list(&others));
            self.broken(Rule::OnePlace, what);
        } else if let Some(life) = self.lives.get(&task)
            && life.queue.is_some()
        {
            let what = format!("{task} came to be in {cell} a second time");
            self.broken(Rule::OneOutcome, what);
        } else {
            let now = self.now;
            let life = self.lives.entry(task).or_default();
            (life.queue, life.accepted) = (Some(queue), now);
            life.has_key = record.unique.is_some();
            let number = record.name.as_deref().unwrap_or_default().to_owned();
            if let Some(first) = self.numbers.insert(number.clone(), task) {
                let what = format!("submission {number} became {first} and {task}");
                self.broken(Rule::AcceptedOnce, what);
            }
        }
    }

    /// A task has one place or one end, and its key if it was given one.
    fn on_shape(&mut self, task: TaskId, cell: CellId, copy: &Copy) {
        let count = copy.places.len() + usize::from(copy.outcome.is_some());
        let expected = usize::from(copy.record.is_some());
        if count != expected {
            let what = format!(
                "{task} has {count} places in {cell}: {:?}",
                copy.places.keys()
            );
            self.broken(Rule::OnePlace, what);
        }
        let has_key = self.lives.get(&task).is_some_and(|life| life.has_key);
        if has_key && copy.is_unique != copy.record.is_some() {
            let what = format!("{task} and its idempotency key were parted in {cell}");
            self.broken(Rule::KeysUnique, what);
        }
    }

    /// A cell has a task at a place where it was not.
    fn on_place(
        &mut self,
        task: TaskId,
        cell: CellId,
        key: &Key,
        created: Revision,
        value: &Value,
        queue: Option<&QueueName>,
    ) {
        let life = self.lives.entry(task).or_default();
        if let Some((at, _)) = &life.ended {
            let ended = at.as_nanos() / 1_000_000;
            let what = format!("{task} had ended at {ended} ms, and is at {key} in {cell}");
            return self.broken(Rule::OneOutcome, what);
        }
        if !matches!(Meaning::of(key), Meaning::Claim(..)) {
            return;
        }
        let claim = BasedClaim::decode(value).expect("only this simulation writes claims");
        let fence = claim.base + created.0;
        let (last, is_cancelled) = (life.fence, life.is_cancelled);
        life.fence = life.fence.max(fence);
        if fence <= last {
            let what = format!("{task} was claimed in {cell} with fence {fence} after {last}");
            self.broken(Rule::FencesGrow, what);
        }
        if let Some(queue) = queue {
            self.on_fence(queue, cell, fence);
        }
        if is_cancelled {
            let what = format!("{task} was cancelled, and is given to a worker of {cell}");
            self.broken(Rule::StaysCancelled, what);
        }
        if queue.is_some_and(|queue| !self.serves(queue, cell)) {
            let what = format!("{cell} dispatched {task}, whose queue it does not serve");
            self.broken(Rule::OneServes, what);
        }
    }

    /// Handlers of a queue may share what remembers the largest fence: those of its next cell are larger, whatever the task.
    fn on_fence(&mut self, queue: &QueueName, cell: CellId, fence: u64) {
        let before = self.fences.insert(queue.clone(), (fence, cell));
        let Some((last, giver)) = before else {
            return;
        };
        if fence < last || fence == last && giver != cell {
            let what = format!("{queue} had fence {last} in {giver}, and has {fence} in {cell}");
            self.broken(Rule::FencesGrow, what);
        }
    }

    fn on_outcome(&mut self, task: TaskId, cell: CellId, outcome: &Value, is_copy: bool) {
        let now = self.now;
        let life = self.lives.entry(task).or_default();
        match &life.ended {
            Some((_, first)) if first == outcome && is_copy => {}
            Some(_) => {
                let what = format!("a second end of {task} was recorded, in {cell}");
                self.broken(Rule::OneOutcome, what);
            }
            None => {
                life.ended = Some((now, outcome.clone()));
                let record = OutcomeRecord::decode(outcome).ok();
                let fence = record.and_then(|record| record.fence);
                let last = life.fence;
                if let Some(fence) = fence
                    && fence.0.0 != last
                {
                    let what = format!("{task} ended in {cell} by {fence}, the last is {last}");
                    self.broken(Rule::FencesGrow, what);
                }
            }
        }
    }

    /// A cell has not got a task any more.
    fn on_departure(&mut self, task: TaskId, cell: CellId, before: &Copy, others: &[CellId]) {
        if !others.is_empty() {
            return;
        }
        let now = self.now;
        let life = self.lives.entry(task).or_default();
        life.purged = Some(now);
        let ended = before.outcome.as_ref().map(OutcomeRecord::decode);
        let ended = ended.and_then(Result::ok).map(|it| it.ended_at.as_millis());
        let now_ms = EPOCH_MS + now.as_nanos() / 1_000_000;
        let age_ms = ended.map(|ended_ms| now_ms.saturating_sub(ended_ms));
        if before.outcome.is_none() {
            let what = format!("{task} was removed from {cell} and is nowhere");
            self.broken(Rule::Kept, what);
        } else if age_ms.is_none_or(|age| age < self.retention_ms) {
            let what = format!("the end of {task} was removed from {cell} after {age_ms:?} ms");
            self.broken(Rule::Kept, what);
        }
    }

    /// A client got an answer.
    pub(super) fn on_fact(&mut self, now: Mono, fact: &Fact) {
        self.now = now;
        match fact {
            Fact::Accepted { queue, key, id, .. } => self.on_accepted(queue, *key, *id),
            Fact::Cancelled { id } => {
                let life = self.lives.entry(*id).or_default();
                life.is_cancelled = true;
            }
            Fact::Shown { id, asked, sight } => self.on_shown(*id, *asked, *sight),
            Fact::GivenUp => {}
        }
    }

    fn on_accepted(&mut self, queue: &QueueName, key: Option<u8>, id: TaskId) {
        let is_known = self.lives.get(&id).is_some_and(|life| life.queue.is_some());
        if !is_known {
            self.broken(
                Rule::Kept,
                format!("{id} was acknowledged, and was never stored"),
            );
        }
        let Some(key) = key else {
            return;
        };
        let Some(first) = self.keys.insert((queue.clone(), key), id) else {
            return;
        };
        let purged = |id: TaskId| {
            self.lives
                .get(&id)
                .is_some_and(|life| life.purged.is_some())
        };
        if first != id && !purged(first) && !purged(id) {
            let what = format!("key {key} of {queue} was acknowledged as {first} and as {id}");
            self.broken(Rule::KeysUnique, what);
        }
    }

    fn on_shown(&mut self, id: TaskId, asked: Mono, sight: Sight) {
        let Some(life) = self.lives.get(&id) else {
            return;
        };
        let had_ended = life.ended.as_ref().is_some_and(|(at, _)| *at < asked);
        let is_wrong = match sight {
            Sight::Unknown => life.accepted < asked && life.purged.is_none(),
            Sight::Live => had_ended,
            Sight::Ended => life.ended.is_none(),
        };
        if is_wrong {
            let asked_ms = asked.as_nanos() / 1_000_000;
            let what = format!("asked at {asked_ms} ms, {id} was shown as {sight:?}");
            self.broken(Rule::ReadsTrue, what);
        }
    }

    /// The tasks that have no end, each with the cells that hold it.
    pub(super) fn unfinished(&self) -> Vec<(TaskId, Vec<CellId>)> {
        let open = self.lives.iter().filter(|(_, life)| life.ended.is_none());
        open.map(|(id, _)| (*id, self.others(*id, CellId(u8::MAX))))
            .collect()
    }

    /// The cells that hold anything of a queue.
    pub(super) fn holders(&self, queue: &QueueName) -> BTreeSet<CellId> {
        let is_its = |task: &TaskId| {
            let life = self.lives.get(task);
            life.is_some_and(|life| life.queue.as_ref() == Some(queue))
        };
        let held = self
            .copies
            .iter()
            .filter(|((task, _), copy)| copy.record.is_some() && is_its(task));
        held.map(|((_, cell), _)| *cell).collect()
    }

    /// How a queue is marked in each cell.
    pub(super) fn marks_of(&self, queue: &QueueName) -> Vec<(CellId, MarkRecord)> {
        let marks = self.marks.iter().filter(|((of, _), _)| of == queue);
        marks.map(|((_, cell), mark)| (*cell, *mark)).collect()
    }

    /// How many tasks were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.lives
            .values()
            .filter(|life| life.queue.is_some())
            .count() as u64
    }

    /// A rule that is judged from outside.
    pub(super) fn on_broken(&mut self, now: Mono, rule: Rule, what: String) {
        self.now = now;
        self.broken(rule, what);
    }
}

fn list(cells: &[CellId]) -> String {
    let all: Vec<_> = cells.iter().map(ToString::to_string).collect();
    all.join(", ")
}
