//! What may go wrong: faults as data, and how each is done to a world.

mod clock;
mod network;
mod process;
mod store;

use serde::{Deserialize, Serialize};
use windlass_core::time::Millis;

pub(crate) use self::network::REPAIR_MAX;
pub(crate) use self::store::Outage;
use crate::fact::NodeIx;
use crate::world::World;

/// The directions of a cut, as a node sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Nothing reaches the store.
    ToStore,
    /// Nothing comes back: calls take effect, and their answers are lost.
    FromStore,
    /// Neither.
    Both,
}

impl Way {
    /// What kind of fault a cut of these directions is.
    pub(crate) fn kind(self) -> FaultKind {
        match self {
            Self::ToStore => FaultKind::CutToStore,
            Self::FromStore => FaultKind::CutFromStore,
            Self::Both => FaultKind::CutBoth,
        }
    }
}

/// Something that is broken on purpose, at a planned time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A process ends at once, with everything volatile, and is started again later.
    Crash {
        /// Which.
        node: NodeIx,
        /// How long it is down.
        down_for: Millis,
    },
    /// A process stops, and runs on with everything that it believed.
    Pause {
        /// Which.
        node: NodeIx,
        /// How long.
        lasts: Millis,
    },
    /// A second process starts under the id of one that runs.
    Double {
        /// Whose id it takes.
        node: NodeIx,
    },
    /// A node's connection to the store is cut.
    Cut {
        /// Whose.
        node: NodeIx,
        /// Which directions.
        way: Way,
        /// How long.
        lasts: Millis,
    },
    /// The next calls of a node take effect, and their answers are lost.
    LoseAnswers {
        /// Whose.
        node: NodeIx,
        /// How many.
        count: u8,
    },
    /// A node's calls arrive after it gave them up.
    ArriveLate {
        /// Whose.
        node: NodeIx,
        /// How much later.
        by: Millis,
        /// How long this goes on.
        lasts: Millis,
    },
    /// A node's calls take longer than others', and are not given up: what they were decided on is older when they arrive,
    /// and their answers tell of the past.
    Slow {
        /// Whose.
        node: NodeIx,
        /// On the way to the store, on the way back, or both.
        way: Way,
        /// How much longer each way, at most.
        by: Millis,
        /// How long this goes on.
        lasts: Millis,
    },
    /// A node's news are late.
    DelayWatch {
        /// Whose.
        node: NodeIx,
        /// How late.
        by: Millis,
        /// How long this goes on.
        lasts: Millis,
    },
    /// A node's watches say nothing, and then that they are lost.
    MuteWatch {
        /// Whose.
        node: NodeIx,
        /// How long.
        lasts: Millis,
    },
    /// An event that a node's watch should tell next is never told, and nothing shows that it is missing.
    LoseEvent {
        /// Whose.
        node: NodeIx,
        /// The next delete, or else the next put.
        delete: bool,
        /// The next one in the line of a lock.
        #[serde(default)]
        of_lock: bool,
    },
    /// Every watch is lost, for one node or for all.
    BreakWatches {
        /// Whose; everybody's if nobody is named.
        node: Option<NodeIx>,
    },
    /// History is compacted: watches whose news are still under way are lost.
    Compact,
    /// Another member leads: answers under way are lost, and every lease gets its full time again and more.
    MoveLeader,
    /// The store serves nobody. Its clock stands still, and leases begin anew when it is back.
    StoreDown {
        /// How long.
        lasts: Millis,
    },
    /// The store takes no writes but deletes; some writes take effect all the same.
    NoSpace {
        /// How long.
        lasts: Millis,
    },
    /// The store refuses some transactions because it has too much to do.
    Busy {
        /// How long.
        lasts: Millis,
    },
    /// A node's lease ends too early.
    ExpireLease {
        /// Whose.
        node: NodeIx,
    },
    /// Every lease ends at once.
    ExpireAll,
    /// A node's wall clock jumps.
    JumpWall {
        /// Whose.
        node: NodeIx,
        /// By how much.
        by_ms: i64,
    },
    /// A node's clocks run too fast or too slow.
    Drift {
        /// Whose.
        node: NodeIx,
        /// By how many millionths.
        ppm: i32,
        /// How long.
        lasts: Millis,
    },
    /// A part of the cluster is upgraded: records of the next version appear among ours, and some that nobody can read.
    Upgrade {
        /// A node of ours whose record is written anew by the next version, if any.
        #[serde(default)]
        node: Option<NodeIx>,
        /// How long they stay.
        lasts: Millis,
    },
}

/// The kinds of faults, for counting: what is planned, what the network does by itself, and what handlers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is told where it is done")]
pub enum FaultKind {
    Crash,
    Pause,
    Double,
    CutToStore,
    CutFromStore,
    CutBoth,
    LoseRequest,
    LoseAnswer,
    ArriveLate,
    SlowRequest,
    SlowAnswer,
    DuplicateRequest,
    DuplicateAnswer,
    DelayWatch,
    MuteWatch,
    LoseEvent,
    BreakWatch,
    BreakRead,
    StaleRead,
    DuplicateNews,
    LateNews,
    Compact,
    MoveLeader,
    StoreDown,
    NoSpace,
    Busy,
    ExpireLease,
    ExpireAll,
    JumpWall,
    Drift,
    SmallDrift,
    Upgrade,
    HandlerHangs,
    HandlerIgnoresStop,
    HandlerExits,
    HandlerLies,
    ClientRepeats,
    ClientVanishes,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 38] = [
        Self::Crash,
        Self::Pause,
        Self::Double,
        Self::CutToStore,
        Self::CutFromStore,
        Self::CutBoth,
        Self::LoseRequest,
        Self::LoseAnswer,
        Self::ArriveLate,
        Self::SlowRequest,
        Self::SlowAnswer,
        Self::DuplicateRequest,
        Self::DuplicateAnswer,
        Self::DelayWatch,
        Self::MuteWatch,
        Self::LoseEvent,
        Self::BreakWatch,
        Self::BreakRead,
        Self::StaleRead,
        Self::DuplicateNews,
        Self::LateNews,
        Self::Compact,
        Self::MoveLeader,
        Self::StoreDown,
        Self::NoSpace,
        Self::Busy,
        Self::ExpireLease,
        Self::ExpireAll,
        Self::JumpWall,
        Self::Drift,
        Self::SmallDrift,
        Self::Upgrade,
        Self::HandlerHangs,
        Self::HandlerIgnoresStop,
        Self::HandlerExits,
        Self::HandlerLies,
        Self::ClientRepeats,
        Self::ClientVanishes,
    ];

    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::Double => "double",
            Self::CutToStore => "cut_to_store",
            Self::CutFromStore => "cut_from_store",
            Self::CutBoth => "cut_both",
            Self::LoseRequest => "lose_request",
            Self::LoseAnswer => "lose_answer",
            Self::ArriveLate => "arrive_late",
            Self::SlowRequest => "slow_request",
            Self::SlowAnswer => "slow_answer",
            Self::DuplicateRequest => "duplicate_request",
            Self::DuplicateAnswer => "duplicate_answer",
            Self::DelayWatch => "delay_watch",
            Self::MuteWatch => "mute_watch",
            Self::LoseEvent => "lose_event",
            Self::BreakWatch => "break_watch",
            Self::BreakRead => "break_read",
            Self::StaleRead => "stale_read",
            Self::DuplicateNews => "duplicate_news",
            Self::LateNews => "late_news",
            Self::Compact => "compact",
            Self::MoveLeader => "move_leader",
            Self::StoreDown => "store_down",
            Self::NoSpace => "no_space",
            Self::Busy => "busy",
            Self::ExpireLease => "expire_lease",
            Self::ExpireAll => "expire_all",
            Self::JumpWall => "jump_wall",
            Self::Drift => "drift",
            Self::SmallDrift => "small_drift",
            Self::Upgrade => "upgrade",
            Self::HandlerHangs => "handler_hangs",
            Self::HandlerIgnoresStop => "handler_ignores_stop",
            Self::HandlerExits => "handler_exits",
            Self::HandlerLies => "handler_lies",
            Self::ClientRepeats => "client_repeats",
            Self::ClientVanishes => "client_vanishes",
        }
    }
}

/// The error of a clock's rate, in millionths, up to which sessions end before their leases: less than their margin, a
/// sixth of a lease's time.
const SMALL_DRIFT: u32 = 100_000;

/// What kind of fault a clock is that runs wrong by so many millionths.
fn drift_kind(ppm: i32) -> FaultKind {
    if ppm.unsigned_abs() <= SMALL_DRIFT {
        FaultKind::SmallDrift
    } else {
        FaultKind::Drift
    }
}

impl Fault {
    /// What kind it is.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Crash { .. } => FaultKind::Crash,
            Self::Pause { .. } => FaultKind::Pause,
            Self::Double { .. } => FaultKind::Double,
            Self::Cut { way, .. } => way.kind(),
            Self::LoseAnswers { .. } => FaultKind::LoseAnswer,
            Self::ArriveLate { .. } => FaultKind::ArriveLate,
            Self::Slow {
                way: Way::FromStore,
                ..
            } => FaultKind::SlowAnswer,
            Self::Slow { .. } => FaultKind::SlowRequest,
            Self::DelayWatch { .. } => FaultKind::DelayWatch,
            Self::MuteWatch { .. } => FaultKind::MuteWatch,
            Self::LoseEvent { .. } => FaultKind::LoseEvent,
            Self::BreakWatches { .. } => FaultKind::BreakWatch,
            Self::Compact => FaultKind::Compact,
            Self::MoveLeader => FaultKind::MoveLeader,
            Self::StoreDown { .. } => FaultKind::StoreDown,
            Self::NoSpace { .. } => FaultKind::NoSpace,
            Self::Busy { .. } => FaultKind::Busy,
            Self::ExpireLease { .. } => FaultKind::ExpireLease,
            Self::ExpireAll => FaultKind::ExpireAll,
            Self::JumpWall { .. } => FaultKind::JumpWall,
            Self::Drift { ppm, .. } => drift_kind(*ppm),
            Self::Upgrade { .. } => FaultKind::Upgrade,
        }
    }

    /// The node that it is done to, if to one.
    pub fn node(&self) -> Option<NodeIx> {
        match self {
            Self::Crash { node, .. }
            | Self::Pause { node, .. }
            | Self::Double { node }
            | Self::Cut { node, .. }
            | Self::LoseAnswers { node, .. }
            | Self::ArriveLate { node, .. }
            | Self::Slow { node, .. }
            | Self::DelayWatch { node, .. }
            | Self::MuteWatch { node, .. }
            | Self::LoseEvent { node, .. }
            | Self::ExpireLease { node }
            | Self::JumpWall { node, .. }
            | Self::Drift { node, .. } => Some(*node),
            Self::BreakWatches { node } | Self::Upgrade { node, .. } => *node,
            Self::Compact
            | Self::MoveLeader
            | Self::StoreDown { .. }
            | Self::NoSpace { .. }
            | Self::Busy { .. }
            | Self::ExpireAll => None,
        }
    }

    /// How long its direct effect lasts.
    pub fn lasts(&self) -> Millis {
        match self {
            Self::Crash {
                down_for: lasts, ..
            }
            | Self::Pause { lasts, .. }
            | Self::Cut { lasts, .. }
            | Self::ArriveLate { lasts, .. }
            | Self::Slow { lasts, .. }
            | Self::DelayWatch { lasts, .. }
            | Self::MuteWatch { lasts, .. }
            | Self::StoreDown { lasts }
            | Self::NoSpace { lasts }
            | Self::Busy { lasts }
            | Self::Drift { lasts, .. }
            | Self::Upgrade { lasts, .. } => *lasts,
            Self::Double { .. }
            | Self::LoseAnswers { .. }
            | Self::LoseEvent { .. }
            | Self::BreakWatches { .. }
            | Self::Compact
            | Self::MoveLeader
            | Self::ExpireLease { .. }
            | Self::ExpireAll
            | Self::JumpWall { .. } => Millis::ZERO,
        }
    }
}

impl World {
    /// Breaks something.
    pub fn break_it(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash { node, down_for } => self.break_process(*node, *down_for),
            Fault::Pause { node, lasts } => self.freeze(*node, *lasts),
            Fault::Double { node } => self.double(*node),
            Fault::Cut { node, way, lasts } => self.cut(*node, *way, *lasts),
            Fault::LoseAnswers { node, count } => self.lose_next_answers(*node, *count),
            Fault::ArriveLate { node, by, lasts } => self.arrive_late(*node, *by, *lasts),
            Fault::Slow {
                node,
                way,
                by,
                lasts,
            } => self.slow(*node, *way, *by, *lasts),
            Fault::DelayWatch { node, by, lasts } => self.delay_watch(*node, *by, *lasts),
            Fault::MuteWatch { node, lasts } => self.mute_watch(*node, *lasts),
            Fault::LoseEvent {
                node,
                delete,
                of_lock,
            } => self.lose_event(*node, *delete, *of_lock),
            Fault::BreakWatches { node } => self.break_watches(*node),
            Fault::Compact => self.compact(),
            Fault::MoveLeader => self.move_leader(),
            Fault::StoreDown { lasts } => self.store_down(*lasts),
            Fault::NoSpace { lasts } => self.no_space(*lasts),
            Fault::Busy { lasts } => self.busy(*lasts),
            Fault::ExpireLease { node } => self.expire_lease(*node),
            Fault::ExpireAll => self.expire_all(),
            Fault::JumpWall { node, by_ms } => self.jump_wall(*node, *by_ms),
            Fault::Drift { node, ppm, lasts } => self.begin_drift(*node, *ppm, *lasts),
            Fault::Upgrade { node, lasts } => self.upgrade(*node, *lasts),
        }
    }
}
