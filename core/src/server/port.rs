//! What a scheduler process takes in and gives out.

use serde::{Deserialize, Serialize};

use crate::gateway::{Reply, Request, RequestId};
use crate::ids::OpId;
use crate::machine::Elapsed;
use crate::machine::Exit;
use crate::store::{Answer, StoreCall};

/// What can happen to a scheduler process.
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
    /// A client asks something.
    Request {
        /// Names the reply.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// The client does not wait any more.
    Forget {
        /// Its request.
        id: RequestId,
    },
    /// The machine was measured.
    Load {
        /// Its busy share, in thousandths.
        cpu_permille: u16,
        /// The process's memory, in bytes.
        memory_bytes: u64,
    },
    /// Finish what is under way, and leave.
    Drain,
}

impl From<Elapsed> for Input {
    fn from(_: Elapsed) -> Self {
        Self::Elapsed
    }
}

/// What a scheduler process wants done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Ask the store.
    Store(StoreCall),
    /// Answer a client.
    Reply {
        /// Its request.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// End the process.
    Exit(Exit),
}

impl From<StoreCall> for Effect {
    fn from(call: StoreCall) -> Self {
        Self::Store(call)
    }
}

/// Why a scheduler process must be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The session ends, or its lease is to be renewed.
    Session,
    /// A lane waits for an answer or for a repetition.
    Lanes,
    /// The registration waits.
    Registering,
    /// The watch is to be asked for.
    Feed,
    /// Something is due, overdue or to be stepped in for.
    Scheduler,
    /// A client's request is overdue.
    Gateway,
    /// A duty of the one janitor.
    Janitor,
    /// The store is to be asked how full it is.
    Gauge,
    /// The view is to be compared with the store.
    Reconcile,
    /// There is something to send.
    Flush,
    /// What clients want has gathered for long enough.
    Gather,
    /// The node's key is to be written again.
    Beat,
    /// Leaving takes too long.
    Patience,
}
