//! What a worker takes in and gives out.

use serde::{Deserialize, Serialize};

use super::locks::LockRefusal;
use super::run::{RunEvent, Start};
use crate::ids::{Fence, LockAsk, OpId};
use crate::machine::Elapsed;
use crate::machine::Exit;
use crate::record::StopReason;
use crate::store::{Answer, StoreCall};
use crate::time::Mono;

/// What can happen to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Nothing but time.
    Elapsed,
    /// The store said something.
    Store {
        /// The call that it belongs to.
        op: OpId,
        /// What it said.
        answer: Answer,
    },
    /// A handler said something.
    Run {
        /// The execution that it belongs to.
        run: OpId,
        /// What it said.
        event: RunEvent,
    },
    /// The machine was measured.
    Load {
        /// Its busy share, in thousandths.
        cpu_permille: u16,
        /// The process's memory, in bytes.
        memory_bytes: u64,
    },
    /// Finish, hand back what is not started, and leave.
    Drain,
}

impl From<Elapsed> for Input {
    fn from(_: Elapsed) -> Self {
        Self::Elapsed
    }
}

/// What a worker wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Ask the store.
    Store(StoreCall),
    /// Start a handler.
    Start(Box<Start>),
    /// Stop a handler; it answers with an event that ends it.
    Stop {
        /// Which execution.
        run: OpId,
        /// Why.
        reason: StopReason,
    },
    /// A handler holds the lock that it asked for, until it gives it back or ends, and no longer than the session lasts.
    Locked {
        /// Which execution.
        run: OpId,
        /// Which of its questions.
        ask: LockAsk,
        /// Larger than that of every earlier holder.
        fence: Fence,
    },
    /// A handler does not get the lock that it asked for.
    LockRefused {
        /// Which execution.
        run: OpId,
        /// Which of its questions.
        ask: LockAsk,
        /// Why.
        why: LockRefusal,
    },
    /// Every handler must be dead by then, even if this process does not run.
    Fence {
        /// The session's end.
        at: Mono,
    },
    /// End the process.
    Exit(Exit),
}

impl From<StoreCall> for Effect {
    fn from(call: StoreCall) -> Self {
        Self::Store(call)
    }
}

/// Why a worker must be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The session ends, or its lease is to be renewed.
    Session,
    /// A lane waits for an answer or for a repetition.
    Lanes,
    /// The registration waits.
    Registering,
    /// A watch is to be asked for.
    Feed,
    /// There is something to send or to start.
    Flush,
    /// Ends have gathered for long enough.
    Gather,
    /// The node's key is to be written again.
    Beat,
    /// A read of tasks is overdue.
    Fetch(OpId),
    /// A handler has run long enough.
    TimeOut(OpId),
    /// A claim has waited long enough for its slot.
    Waiting,
    /// The drain's grace is over, or the store has not answered since, or the lease's end was not confirmed.
    Patience,
    /// The margin for handlers that do not stop is over.
    Wedged,
}
