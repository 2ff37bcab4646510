//! What a change of the store means to those who decide.

use crate::ids::{NodeId, QueueName, Registration, TaskId, TaskType};
use crate::keyspace::Place;
use crate::time::Wall;

/// Something that changed in a cluster's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A task waits, or its entry was written again.
    EntryCame(QueueName, Place),
    /// An entry is gone; it was of this type.
    EntryWent(QueueName, Place, TaskType),
    /// An attempt was given to a worker.
    ClaimCame(NodeId, Place),
    /// A claim was written again.
    ClaimChanged(NodeId, Place),
    /// A claim is gone.
    ClaimWent(NodeId, Place),
    /// A task waits for its time.
    DelayedCame(Wall, TaskId),
    /// It does not any more.
    DelayedWent(Wall, TaskId),
    /// A task ended, as far as its places tell: it has none any more.
    PlaceLost(TaskId),
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
    /// The waiters of a lock changed.
    LocksChanged,
}
