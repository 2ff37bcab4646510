//! Tasks that have ended: which of them have been kept long enough, and how one is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::TaskId;
use crate::keyspace::{Key, Meaning, Range};
use crate::planted::{planted, unless_planted};
use crate::record::{Outcome, OutcomeRecord, Record, TaskRecord};
use crate::store::{Guard, Item, Step, Write};
use crate::time::{Millis, Wall};

/// What is stored about one task.
pub(super) struct Group<'a> {
    pub(super) id: TaskId,
    pub(super) items: Vec<&'a Item>,
}

/// Sorts what was read by task.
pub(super) fn by_task(items: &[Item]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<TaskId, Vec<&Item>> = BTreeMap::new();
    for item in items {
        match Meaning::of(&item.key) {
            Meaning::Task(id) | Meaning::Outcome(id) | Meaning::Run(id) => {
                groups.entry(id).or_default().push(item)
            }
            Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::Dead(..)
            | Meaning::Delayed(..)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Entry(..)
            | Meaning::Claim(..)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Unique
            | Meaning::Foreign => {}
        }
    }
    groups
        .into_iter()
        .map(|(id, items)| Group { id, items })
        .collect()
}

/// What becomes of a task.
pub(super) enum Standing {
    /// It has been kept long enough since its end; it has this idempotency key, if any.
    Goes {
        ended: Wall,
        unique: Option<Arc<str>>,
    },
    /// It has ended, and goes when it is older.
    GoesLater,
    /// It has not ended, or waits for a person, however long that takes.
    Stays,
}

/// What a store needs for a key besides the key and its value, about.
const KEY_BYTES: u64 = 64;

impl Group<'_> {
    fn item(&self, key: &Key) -> Option<&Item> {
        self.items.iter().find(|item| item.key == *key).copied()
    }

    /// Its last key.
    pub(super) fn end(&self) -> Option<Key> {
        self.items.last().map(|item| item.key.clone())
    }

    /// Whether it has been kept for `retention`, by the time of its *end*.
    pub(super) fn standing(&self, wall: Wall, retention: Millis) -> Standing {
        let value_of = |key: Key| self.item(&key).map(|item| &item.found.value);
        let Some(outcome) =
            value_of(Key::outcome(self.id)).and_then(|value| OutcomeRecord::decode(value).ok())
        else {
            return Standing::Stays;
        };
        let failed = matches!(outcome.outcome, Outcome::Failed(_));
        if failed && !planted!("P-purge-failed") {
            return Standing::Stays;
        }
        let old = |since| wall.since(since) >= retention && since < wall;
        // Most of what is looked at is too young, and needs no second look.
        let by_creation = planted!("P-purge-by-creation");
        let early = planted!("P-unique-freed-early");
        if !old(outcome.ended_at) && !by_creation && !early {
            return Standing::GoesLater;
        }
        let own = || TaskRecord::decode(value_of(Key::task(self.id))?).ok();
        let Some(task) = outcome.task.map(|it| *it).or_else(own) else {
            return Standing::Stays;
        };
        let since = if by_creation {
            task.created_at
        } else {
            outcome.ended_at
        };
        if old(since) || early && task.unique.is_some() {
            Standing::Goes {
                ended: outcome.ended_at,
                unique: task.unique,
            }
        } else {
            Standing::GoesLater
        }
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        let each = self.items.iter().map(|item| {
            let bytes = item.key.as_str().len() + item.found.value.as_bytes().len();
            bytes as u64 + KEY_BYTES
        });
        each.sum()
    }

    /// Removes it and frees its idempotency key.
    pub(super) fn purge(&self, lock: Guard, unique: Arc<str>) -> Step {
        let mut step = Step::new(vec![lock], Vec::new());
        for item in &self.items {
            let own = Guard::Unchanged {
                key: item.key.clone(),
                since: item.found.modified,
            };
            step.guards
                .push(unless_planted!("P-purge-task-unguarded", own));
            step.writes.push(Write::Delete {
                key: item.key.clone(),
            });
        }
        // The key was written with the task, and never since.
        if let Some(task) = self.item(&Key::task(self.id)).filter(|_| !planted!("M-15")) {
            let key = Key::unique(&unique);
            step.guards.push(Guard::Unchanged {
                key: key.clone(),
                since: task.found.modified,
            });
            step.writes.push(Write::Delete { key });
        }
        step
    }
}

/// Neighbours that go together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first: TaskId,
    pub(super) last: TaskId,
    pub(super) tasks: u64,
    pub(super) bytes: u64,
}

impl From<TaskId> for Run {
    fn from(first: TaskId) -> Self {
        Self {
            first,
            last: first,
            tasks: 0,
            bytes: 0,
        }
    }
}

/// The tasks behind `cursor` that were submitted at least `kept` ago; `None` when there can be none.
pub(super) fn behind(cursor: Option<&Key>, wall: Wall, kept: Millis) -> Option<Range> {
    let youngest = Wall::from_millis(wall.as_millis().saturating_sub(kept.get()));
    let all = Range::new(Range::tasks().from, Key::task(TaskId::floor_of(youngest)));
    let range = cursor.map_or_else(|| all.clone(), |key| all.behind(key));
    (range.from < range.to).then_some(range)
}
