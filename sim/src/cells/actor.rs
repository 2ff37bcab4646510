//! What all who take part have in common: one question at a time, and pauses.

use std::time::Duration;

use windlass_core::ids::{OpId, OpIds, QueueName, TaskId};
use windlass_core::keyspace::Range;
use windlass_core::rng::Rng;
use windlass_core::store::{Answer, Call, Query, ReadAnswer, Step};
use windlass_core::time::{Mono, Now};

use super::record::{CellId, everything};
use super::rows::txn;
use super::snapshot::Snapshot;

/// A store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Store {
    /// The map, and nothing else. (Any cell's store may be the directory: nothing relies on its being a store of its own.)
    Directory,
    /// A cell.
    Cell(CellId),
}

/// What a client wants. Submissions are numbered: what is asked of a task names the submission that made it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Request {
    /// Accept a task.
    Submit {
        /// Which submission.
        number: u32,
        /// Where it is to wait.
        queue: QueueName,
        /// An idempotency key.
        key: Option<u8>,
        /// Not to start for so long, in milliseconds.
        delay_ms: Option<u64>,
    },
    /// Cancel a task.
    Cancel {
        /// The task.
        id: TaskId,
    },
    /// Show a task.
    Get {
        /// The task.
        id: TaskId,
    },
    /// Move a queue.
    Move {
        /// Which.
        queue: QueueName,
        /// Where to.
        to: CellId,
    },
}

/// What can happen to somebody.
#[derive(Debug, Clone)]
pub(super) enum Input {
    Elapsed,
    Answered { op: OpId, answer: Answer },
    Asked(Request),
}

/// What somebody does.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Ask { store: Store, op: OpId, call: Call },
    Told(Fact),
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// Its task is accepted, or was, under this key.
    Accepted {
        number: u32,
        queue: QueueName,
        key: Option<u8>,
        id: TaskId,
    },
    /// Its cancel is in force.
    Cancelled { id: TaskId },
    /// How the task stood.
    Shown {
        id: TaskId,
        asked: Mono,
        sight: Sight,
    },
    /// The request came to no end, and the client was told so.
    GivenUp,
}

/// What was seen of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Unknown,
    Live,
    Ended,
}

/// At most one question at a time. The world answers each, if only by saying that nobody knows.
#[derive(Debug, Default)]
pub(super) struct Desk {
    ops: OpIds,
    open: Option<OpId>,
}

impl Desk {
    pub(super) fn is_free(&self) -> bool {
        self.open.is_none()
    }

    /// Whether the answer is to the open question, which is over then.
    pub(super) fn takes(&mut self, op: OpId) -> bool {
        let is_mine = self.open == Some(op);
        if is_mine {
            self.open = None;
        }
        is_mine
    }

    pub(super) fn read(&mut self, store: Store, out: &mut Vec<Effect>) {
        self.read_range(store, everything(), out);
    }

    pub(super) fn read_range(&mut self, store: Store, range: Range, out: &mut Vec<Effect>) {
        const LIMIT: u32 = 100_000;
        let query = Query::Range {
            range,
            limit: LIMIT,
        };
        self.ask(store, Call::Read(query), out);
    }

    pub(super) fn commit(&mut self, store: Store, step: Step, out: &mut Vec<Effect>) {
        self.ask(store, Call::Commit(txn(step)), out);
    }

    fn ask(&mut self, store: Store, call: Call, out: &mut Vec<Effect>) {
        assert!(self.is_free(), "one question at a time");
        let op = self.ops.fresh();
        self.open = Some(op);
        out.push(Effect::Ask { store, op, call });
    }
}

/// What was read, if it could be.
pub(super) fn snapshot(answer: Answer) -> Option<Snapshot> {
    let Answer::Read(ReadAnswer::Items { at, items, more }) = answer else {
        return None;
    };
    assert!(!more, "a read is larger than anything here");
    Some(Snapshot::new(at, items))
}

/// A pause of about so many milliseconds.
pub(super) fn rest(rng: &mut Rng, now: Now, millis: u64) -> Mono {
    let micros = 500 * millis + rng.below(1_000 * millis + 1) + 1;
    now.mono.after(Duration::from_micros(micros))
}
