//! What the plan adds to the keys and records of `windlass_core`: where a queue is, and where claims get their fences from.
//! They belong to `keyspace` and `record` once the plan is more than that.

use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_core::ids::{Fence, QueueName, Revision, TaskId};
use windlass_core::keyspace::{Key, Range};
use windlass_core::record::{ClaimRecord, Record, Version};
use windlass_core::rng::Rng;
use windlass_core::time::Wall;

use crate::hash_seed;

/// One store, with the schedulers and workers that live on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub u8);

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

/// Counts the moves of a queue; its first cell has it at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

impl Epoch {
    /// That of a queue that was never moved.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The directory's word on a queue: a hint for those who look for it, and the order of its moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRecord {
    #[doc(hidden)]
    pub v: Version,
    /// The cell that has it; while it moves, the one that it leaves.
    pub cell: CellId,
    /// The epoch of the last move that was ordered.
    pub epoch: Epoch,
    /// Where it moves to; `None` when it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<CellId>,
}
impl Record for MapRecord {}

/// A cell's own word on a queue, in the cell's own store: what is done for the queue there guards it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRecord {
    #[doc(hidden)]
    pub v: Version,
    /// The move that made it.
    pub epoch: Epoch,
    /// What is added to the creation revisions of claims to make fences of them.
    pub base: u64,
    /// Whether the queue is here.
    pub stand: Stand,
}
impl Record for MarkRecord {}

/// Whether a queue is in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// All of it.
    Here,
    /// It is served here, and `from` may still hold parts of it.
    Arriving {
        /// The cell that it left.
        from: CellId,
    },
    /// It is served elsewhere. What is still here is frozen, but for the attempts that run.
    Away {
        /// The cell that it went to.
        to: CellId,
    },
}

impl MarkRecord {
    /// Whether the cell takes submissions of the queue, and dispatches.
    pub fn serves(&self) -> bool {
        match self.stand {
            Stand::Here | Stand::Arriving { .. } => true,
            Stand::Away { .. } => false,
        }
    }

    /// The fence of a claim that was created here under this mark.
    pub fn fence(&self, created: Revision) -> Fence {
        Fence(Revision(self.base + created.0))
    }
}

/// A claim, and what makes its creation revision a fence. (The plan puts `base` into the claim's own record.)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasedClaim {
    #[doc(hidden)]
    pub v: Version,
    /// The mark's base at the dispatch.
    pub base: u64,
    /// The claim as it is today.
    pub claim: ClaimRecord,
}
impl Record for BasedClaim {}

const MARKS: &str = "/cells/";
const MAP: &str = "/map/";

/// The cell's mark of a queue. Before `Range::cluster()`, so that one watch covers both.
pub fn mark_key(queue: &QueueName) -> Key {
    Key::from_store(format!("{MARKS}{queue}"))
}

/// The directory's record of a queue.
pub fn map_key(queue: &QueueName) -> Key {
    Key::from_store(format!("{MAP}{queue}"))
}

/// The queue whose mark this is.
pub fn marked(key: &Key) -> Option<QueueName> {
    key.as_str().strip_prefix(MARKS)?.parse().ok()
}

/// The queue whose place in the directory this is.
pub fn mapped(key: &Key) -> Option<QueueName> {
    key.as_str().strip_prefix(MAP)?.parse().ok()
}

/// The marks, and all that a scheduler decides on.
pub fn watched() -> Range {
    Range::new(Key::from_store(MARKS), Range::cluster().to)
}

/// Every key.
pub fn everything() -> Range {
    Range::new(Key::from_store("/"), Key::from_store("0"))
}

/// The lowest bits of a task's id name its queue, which never changes, while its cell does: whoever has an id and the map
/// knows which few queues it can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tags {
    /// How many bits. Two queues may share a tag.
    pub bits: u32,
}

impl Tags {
    /// The tag of a queue.
    pub fn of_queue(self, queue: &QueueName) -> u16 {
        let hash = hash_seed(queue.as_str().as_bytes());
        u16::try_from(hash & self.mask()).expect("a tag has at most 16 bits")
    }

    /// The tag in an id.
    pub fn of_task(self, id: TaskId) -> u16 {
        let low = id.as_u128() & u128::from(self.mask());
        u16::try_from(low).expect("a tag has at most 16 bits")
    }

    /// A new id for a task of this queue.
    pub fn task(self, queue: &QueueName, rng: &mut Rng, wall: Wall) -> TaskId {
        let random = TaskId::new(rng, wall).as_u128() & !u128::from(self.mask());
        TaskId::from_u128(random | u128::from(self.of_queue(queue)))
    }

    fn mask(self) -> u64 {
        assert!(self.bits <= 16, "58 bits of an id are left to chance");
        (1 << self.bits) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_what_schedulers_watch_are_one_range_without_tasks_and_lanes() {
        let queue: QueueName = "q".parse().unwrap();
        let range = watched();
        assert!(range.contains(&mark_key(&queue)) && range.contains(&map_key(&queue)));
        assert!(range.contains(&Key::queue_config(&queue)));
        let id = TaskId::floor_of(Wall::from_millis(1));
        assert!(!range.contains(&Key::task(id)) && everything().contains(&Key::task(id)));
    }

    #[test]
    fn marks_and_maps_tell_their_queue() {
        let queue: QueueName = "a.b".parse().unwrap();
        assert_eq!(marked(&mark_key(&queue)), Some(queue.clone()));
        assert_eq!(mapped(&map_key(&queue)), Some(queue.clone()));
        assert_eq!(marked(&map_key(&queue)), None);
    }

    #[test]
    fn an_id_tells_its_queues_tag_and_keeps_its_time_and_version() {
        let mut rng = Rng::new(1);
        for (name, bits) in [("mail", 16), ("billing", 16), ("mail", 2), ("x", 0)] {
            let (queue, tags) = (name.parse().unwrap(), Tags { bits });
            let id = tags.task(&queue, &mut rng, Wall::from_millis(77));
            assert_eq!(tags.of_task(id), tags.of_queue(&queue));
            assert_eq!(id.created_at(), Wall::from_millis(77));
            assert_eq!(&id.to_string()[14..15], "7");
        }
    }

    #[test]
    fn a_mark_is_small_and_reads_back() {
        let mark = MarkRecord {
            v: Version,
            epoch: Epoch(2),
            base: 900,
            stand: Stand::Arriving { from: CellId(1) },
        };
        let spelled = br#"{"v":1,"epoch":2,"base":900,"stand":{"arriving":{"from":1}}}"#;
        assert_eq!(mark.encode().as_bytes(), spelled);
        assert_eq!(MarkRecord::decode(&mark.encode()), Ok(mark));
        assert_eq!(mark.fence(Revision(5)), Fence(Revision(905)));
    }
}
