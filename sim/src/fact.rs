//! What happened in a run, as facts: all that checkers see. A recorded history of real processes can be told in the same
//! words.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{
    Attempt, Fence, LeaseId, LockAsk, LockName, NodeId, OpId, Revision, TaskId,
};
use windlass_core::keyspace::Role;
use windlass_core::machine::Exit;
use windlass_core::record::StopReason;
use windlass_core::room::Level;
use windlass_core::time::{Millis, Mono};

use crate::book::Revised;
use crate::nemesis::FaultKind;

/// Names a node of a run.
pub type NodeIx = usize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// The store made a revision.
    Stored(Revised),
    /// The store granted a lease.
    Leased {
        /// Its id.
        lease: LeaseId,
        /// Its time to live.
        ttl: Millis,
    },
    /// A lease has ended.
    LeaseEnded {
        /// Which.
        lease: LeaseId,
    },
    /// A process started.
    Booted {
        /// Which.
        node: NodeIx,
        /// What it does.
        role: Role,
        /// What it is called.
        id: NodeId,
        /// Handlers that it may run at the same time; none for a scheduler.
        slots: u32,
    },
    /// A process ended, with everything volatile.
    Down {
        /// Which.
        node: NodeIx,
        /// Why, when it ended by itself.
        exit: Option<Exit>,
    },
    /// A process stopped running, and keeps all that it believes.
    Frozen {
        /// Which.
        node: NodeIx,
    },
    /// A frozen process runs on.
    Thawed {
        /// Which.
        node: NodeIx,
    },
    /// A process was told to leave.
    Draining {
        /// Which.
        node: NodeIx,
    },
    /// A worker believes that its session lasts until then.
    SessionUntil {
        /// Which worker.
        node: NodeIx,
        /// The end, on the run's own clock.
        until: Mono,
        /// When its lease ends by what the store has granted; `None` when it has ended.
        lease_until: Option<Mono>,
    },
    /// A handler started.
    Started {
        /// Where.
        node: NodeIx,
        /// Names the execution within the process.
        run: OpId,
        /// Of which task.
        task: TaskId,
        /// Under which fence.
        fence: Fence,
        /// Which attempt the worker takes it for.
        attempt: Attempt,
        /// How far the worker knew its claims; `None` when its view had a gap.
        view: Option<Revision>,
        /// What the handler got, as [`crate::book::given::got`] spells it; `None` where nobody has recorded it.
        given: Option<u64>,
    },
    /// A worker ordered a handler to stop.
    StopOrdered {
        /// Where.
        node: NodeIx,
        /// Which execution.
        run: OpId,
        /// Why.
        reason: StopReason,
    },
    /// A handler ended.
    HandlerEnded {
        /// Where.
        node: NodeIx,
        /// Which execution.
        run: OpId,
        /// Of which task.
        task: TaskId,
        /// Under which fence.
        fence: Fence,
    },
    /// A handler was told that it holds a lock.
    Locked {
        /// Where.
        node: NodeIx,
        /// Which execution.
        run: OpId,
        /// Which of its questions.
        ask: LockAsk,
        /// Which lock.
        lock: LockName,
        /// Under which fence.
        fence: Fence,
    },
    /// A handler gave a lock back before its end, or waits for it no more.
    Unlocked {
        /// Where.
        node: NodeIx,
        /// Which execution.
        run: OpId,
        /// Which of its questions.
        ask: LockAsk,
    },
    /// A client asked something.
    Asked {
        /// Names the reply.
        id: RequestId,
        /// Whom.
        node: NodeIx,
        /// What.
        request: Box<Request>,
    },
    /// A client got a reply.
    Answered {
        /// To which request.
        id: RequestId,
        /// From whom.
        node: NodeIx,
        /// What.
        reply: Box<Reply>,
    },
    /// A process handled one input.
    Handled {
        /// Which process.
        node: NodeIx,
        /// How many effects it asked for.
        effects: usize,
    },
    /// A process sent a transaction.
    Sent {
        /// Which process.
        node: NodeIx,
        /// How many guards it has.
        guards: usize,
        /// How many writes.
        writes: usize,
        /// The bytes of its keys and values.
        bytes: usize,
    },
    /// A process asked for the keys of a range.
    Read {
        /// Which process.
        node: NodeIx,
        /// How many keys it takes at most.
        limit: u32,
    },
    /// The store decided on a transaction.
    Decided {
        /// Whose.
        node: NodeIx,
        /// How.
        how: Decision,
    },
    /// A scheduler's view was compared with the store at the same revision.
    Viewed {
        /// Whose.
        node: NodeIx,
        /// The revision that both had reached.
        at: Revision,
        /// What differs, if anything does.
        difference: Option<String>,
    },
    /// A scheduler process has learnt that the store has another level of room.
    Room {
        /// Which process.
        node: NodeIx,
        /// The level.
        level: Level,
    },
    /// A process found that what it knew was not what the store holds, and reads it anew.
    Repaired {
        /// Which process.
        node: NodeIx,
    },
    /// A process asks anew for a watch that it was told is lost.
    AskedAgain {
        /// Which process.
        node: NodeIx,
        /// How long it has waited since.
        waited: Duration,
    },
    /// Something was broken on purpose.
    Fault {
        /// What kind.
        kind: FaultKind,
        /// Where, unless everywhere.
        node: Option<NodeIx>,
        /// When its direct effect is over.
        until: Mono,
    },
    /// The run enters another phase.
    Phase(Phase),
}

impl Fact {
    /// Whether it comes with every input, call or renewal, or nearly: few rules are about these.
    pub const fn is_traffic(&self) -> bool {
        match self {
            Self::Handled { .. }
            | Self::Sent { .. }
            | Self::Decided { .. }
            | Self::SessionUntil { .. } => true,
            Self::Stored(_)
            | Self::Leased { .. }
            | Self::LeaseEnded { .. }
            | Self::Booted { .. }
            | Self::Down { .. }
            | Self::Frozen { .. }
            | Self::Thawed { .. }
            | Self::Draining { .. }
            | Self::Started { .. }
            | Self::StopOrdered { .. }
            | Self::HandlerEnded { .. }
            | Self::Locked { .. }
            | Self::Unlocked { .. }
            | Self::Asked { .. }
            | Self::Answered { .. }
            | Self::Read { .. }
            | Self::Viewed { .. }
            | Self::Room { .. }
            | Self::Repaired { .. }
            | Self::AskedAgain { .. }
            | Self::Fault { .. }
            | Self::Phase(_) => false,
        }
    }
}

/// What a store decided about a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// It was applied.
    Committed,
    /// Some guards did not hold.
    Conflict,
    /// It was refused.
    Refused,
    /// The store itself did not say.
    Unknown,
}

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Faults happen: nothing wrong may.
    Safety,
    /// A core is healed: everything must come to its end.
    Liveness,
    /// New work is served.
    Service,
    /// Everything has come to rest.
    Rest,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Service => "service",
            Self::Rest => "rest",
        })
    }
}
