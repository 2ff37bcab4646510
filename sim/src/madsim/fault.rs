//! What goes wrong, as data.

use std::time::Duration;

use windlass_core::rng::Rng;

use super::scenario::NodeIx;

/// The kinds of faults, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process dies and starts again.
    Kill,
    /// A process stands still, and goes on with everything that it believed.
    Pause,
    /// What a node sends does not reach the store.
    CutToStore,
    /// What the store sends does not reach a node.
    CutFromStore,
    /// Neither reaches the other.
    CutBoth,
    /// Messages are lost and sent again, and connections are refused.
    PacketLoss,
    /// Messages take long.
    Slow,
    /// The store's process dies and starts again with all it had kept.
    StoreRestart,
    /// The store stands still.
    StorePause,
    /// A call is applied, then its connection breaks.
    LostAnswer,
    /// Answers come late, perhaps after their askers gave up.
    LateAnswer,
    /// Watches live, and tell nothing.
    MuteWatch,
    /// All connections of a node break.
    Reset,
    /// A lease ends though its holder renewed it.
    EarlyExpiry,
    /// Another member of the store leads: leases are refreshed, and connections break.
    LeaderChange,
    /// The store forgets its history.
    Compaction,
    /// A node is told to leave, and starts again.
    Drain,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Kill,
        Self::Pause,
        Self::CutToStore,
        Self::CutFromStore,
        Self::CutBoth,
        Self::PacketLoss,
        Self::Slow,
        Self::StoreRestart,
        Self::StorePause,
        Self::LostAnswer,
        Self::LateAnswer,
        Self::MuteWatch,
        Self::Reset,
        Self::EarlyExpiry,
        Self::LeaderChange,
        Self::Compaction,
        Self::Drain,
    ];

    /// The word of reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::CutToStore => "cut_to_store",
            Self::CutFromStore => "cut_from_store",
            Self::CutBoth => "cut_both",
            Self::PacketLoss => "packet_loss",
            Self::Slow => "slow",
            Self::StoreRestart => "store_restart",
            Self::StorePause => "store_pause",
            Self::LostAnswer => "lost_answer",
            Self::LateAnswer => "late_answer",
            Self::MuteWatch => "mute_watch",
            Self::Reset => "reset",
            Self::EarlyExpiry => "early_expiry",
            Self::LeaderChange => "leader_change",
            Self::Compaction => "compaction",
            Self::Drain => "drain",
        }
    }
}

/// Which way messages do not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the node to the store.
    ToStore,
    /// From the store to the node.
    FromStore,
    /// Either.
    Both,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// See [`Kind::Kill`].
    Kill {
        /// Who.
        node: NodeIx,
        /// How long it stays down.
        down_for: Duration,
    },
    /// See [`Kind::Pause`].
    Pause {
        /// Who.
        node: NodeIx,
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::CutToStore`] and the two after it.
    Cut {
        /// Who.
        node: NodeIx,
        /// What does not pass.
        way: Way,
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::PacketLoss`].
    PacketLoss {
        /// How many of a thousand are lost.
        permille: u32,
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::Slow`].
    Slow {
        /// The longest time that a message takes.
        latency_max: Duration,
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::StoreRestart`].
    StoreRestart {
        /// How long it stays down.
        down_for: Duration,
    },
    /// See [`Kind::StorePause`].
    StorePause {
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::LostAnswer`].
    LoseAnswers {
        /// Whose.
        node: NodeIx,
        /// How many.
        count: u32,
    },
    /// See [`Kind::LateAnswer`].
    DelayAnswers {
        /// Whose.
        node: NodeIx,
        /// How many.
        count: u32,
        /// How much later they leave.
        by: Duration,
    },
    /// See [`Kind::MuteWatch`].
    MuteWatches {
        /// Whose.
        node: NodeIx,
        /// How long.
        lasts: Duration,
    },
    /// See [`Kind::Reset`].
    Reset {
        /// Whose.
        node: NodeIx,
    },
    /// See [`Kind::EarlyExpiry`].
    ExpireEarly {
        /// Whose.
        node: NodeIx,
    },
    /// See [`Kind::LeaderChange`].
    ChangeLeader,
    /// See [`Kind::Compaction`].
    Compact,
    /// See [`Kind::Drain`].
    Drain {
        /// Who.
        node: NodeIx,
    },
}

impl Fault {
    /// One of a kind. What lasts does so around the time to live of leases, or is short.
    pub fn draw(kind: Kind, rng: &mut Rng, node: NodeIx, ttl: Duration) -> Self {
        let share = [3_u32, 9, 11, 30][usize::try_from(rng.below(4)).expect("below 4")];
        let short = Duration::from_millis(rng.below(1_000));
        let lasts = if rng.below(4) == 0 {
            short
        } else {
            ttl * share / 10
        };
        let count = 1 + u32::try_from(rng.below(4)).expect("below 4");
        let cut = |way| Self::Cut { node, way, lasts };
        match kind {
            Kind::Kill => Self::Kill {
                node,
                down_for: lasts,
            },
            Kind::Pause => Self::Pause { node, lasts },
            Kind::CutToStore => cut(Way::ToStore),
            Kind::CutFromStore => cut(Way::FromStore),
            Kind::CutBoth => cut(Way::Both),
            Kind::PacketLoss => Self::PacketLoss {
                permille: 50 + u32::try_from(rng.below(500)).expect("below 500"),
                lasts,
            },
            Kind::Slow => Self::Slow {
                latency_max: Duration::from_millis(50 + rng.below(900)),
                lasts,
            },
            Kind::StoreRestart => Self::StoreRestart { down_for: lasts },
            Kind::StorePause => Self::StorePause { lasts },
            Kind::LostAnswer => Self::LoseAnswers { node, count },
            Kind::LateAnswer => Self::DelayAnswers {
                node,
                count,
                by: lasts,
            },
            Kind::MuteWatch => Self::MuteWatches { node, lasts },
            Kind::Reset => Self::Reset { node },
            Kind::EarlyExpiry => Self::ExpireEarly { node },
            Kind::LeaderChange => Self::ChangeLeader,
            Kind::Compaction => Self::Compact,
            Kind::Drain => Self::Drain { node },
        }
    }

    /// What it is counted as.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kill { .. } => Kind::Kill,
            Self::Pause { .. } => Kind::Pause,
            Self::Cut { way, .. } => match way {
                Way::ToStore => Kind::CutToStore,
                Way::FromStore => Kind::CutFromStore,
                Way::Both => Kind::CutBoth,
            },
            Self::PacketLoss { .. } => Kind::PacketLoss,
            Self::Slow { .. } => Kind::Slow,
            Self::StoreRestart { .. } => Kind::StoreRestart,
            Self::StorePause { .. } => Kind::StorePause,
            Self::LoseAnswers { .. } => Kind::LostAnswer,
            Self::DelayAnswers { .. } => Kind::LateAnswer,
            Self::MuteWatches { .. } => Kind::MuteWatch,
            Self::Reset { .. } => Kind::Reset,
            Self::ExpireEarly { .. } => Kind::EarlyExpiry,
            Self::ChangeLeader => Kind::LeaderChange,
            Self::Compact => Kind::Compaction,
            Self::Drain { .. } => Kind::Drain,
        }
    }
}
