//! What a change of the store means to those who decide.

use super::cluster::Claimed;
use crate::ids::{NodeId, QueueName, Registration, TaskId, TaskType};
use crate::keyspace::{Meaning, Place};
use crate::record::DelayedRecord;
use crate::time::Wall;

/// Something that changed in a cluster's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A task waits, or its entry was written again.
    EntryCame(QueueName, Place),
    /// An entry is gone; it was of this type.
    EntryWent(QueueName, Place, TaskType),
    /// An attempt of a task of this queue was given to a worker, at this time.
    ClaimCame(NodeId, Place, QueueName, Wall),
    /// A claim was written again.
    ClaimChanged(NodeId, Place),
    /// A claim is gone; this is what it was.
    ClaimWent(NodeId, Place, Claimed),
    /// A task waits for its time.
    DelayedCame(Wall, TaskId),
    /// It does not any more; this is what it was.
    DelayedWent(Wall, TaskId, Box<DelayedRecord>),
    /// A task ended, as far as its places tell: it has none any more.
    PlaceLost(TaskId),
    /// What was written at a place of a task's cannot be read.
    Unread(TaskId),
    /// A worker lives, with this registration.
    WorkerCame(NodeId, Registration),
    /// A worker reported.
    WorkerBeat(NodeId),
    /// That life of a worker is over.
    WorkerWent(NodeId, Registration),
    /// What a worker takes has changed.
    OfferChanged(NodeId),
    /// A scheduler came or went.
    SchedulersChanged,
    /// A queue's settings changed.
    QueueConfigured(QueueName),
    /// The orders to a node changed.
    NodeConfigured(NodeId),
    /// The waiters of a lock changed.
    LocksChanged,
}

impl News {
    /// A key of this meaning was written, and nobody can read what is there.
    pub(super) fn unread(meaning: &Meaning) -> Option<Self> {
        match meaning {
            Meaning::Entry(_, place) | Meaning::Claim(_, place) => Some(Self::Unread(place.task)),
            Meaning::Delayed(_, task) | Meaning::Dead(_, task) => Some(Self::Unread(*task)),
            Meaning::QueueConfig(_)
            | Meaning::NodeConfig(_)
            | Meaning::LockWaiter(..)
            | Meaning::JanitorWaiter(_)
            | Meaning::Node(..)
            | Meaning::Offer(_)
            | Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Task(_)
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Unique
            | Meaning::Foreign => None,
        }
    }
}
