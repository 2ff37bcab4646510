//! Steps of a scheduler process: each batch belongs to one of its parts.

use super::janitor;
use crate::gateway;
use crate::ids::Revision;
use crate::lanes::Settled;
use crate::record::Totals;
use crate::scheduler;

/// What a step of this process's does.
#[derive(Debug)]
pub(super) enum Job {
    Gateway(gateway::Job),
    Scheduler(scheduler::Job),
    Janitor(janitor::Job),
    Beat,
}

impl Job {
    pub(super) fn totals(&self) -> Totals {
        match self {
            Self::Gateway(job) => job.totals(),
            Self::Scheduler(job) => job.totals(),
            Self::Janitor(job) => job.totals(),
            Self::Beat => Totals::default(),
        }
    }
}

/// A settled batch, as the part that sent it knows it.
pub(super) enum Sorted {
    Gateway(Settled<gateway::Job>),
    Scheduler(Settled<scheduler::Job>),
    /// The revision of the janitor's writes, and how many bytes of tasks were to go with them.
    Janitor(Option<Revision>, u64),
    Beat(Beat),
    Nothing,
}

/// What became of a node's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    Applied,
    /// Not applied, though the node's life may go on.
    Missed,
    /// The node's key is not the one that it registered.
    Deposed,
}

/// Whose a settled batch is. A lane carries the steps of one part only, so the first one tells.
pub(super) fn sort(settled: Settled<Job>) -> Sorted {
    let first = match &settled {
        Settled::Committed { metas, .. } | Settled::Refused { metas, .. } => metas.first(),
        Settled::Conflict { lost, spared, .. } => {
            lost.first().map(|it| &it.meta).or_else(|| spared.first())
        }
    };
    match first {
        None => Sorted::Nothing,
        Some(Job::Gateway(_)) => Sorted::Gateway(settled.map(Job::gateway)),
        Some(Job::Scheduler(_)) => Sorted::Scheduler(settled.map(Job::scheduler)),
        Some(Job::Janitor(_)) => {
            let at = match &settled {
                Settled::Committed { at, .. } => Some(*at),
                Settled::Conflict { .. } | Settled::Refused { .. } => None,
            };
            Sorted::Janitor(at, purged(settled))
        }
        Some(Job::Beat) => Sorted::Beat(match settled {
            Settled::Committed { .. } => Beat::Applied,
            Settled::Conflict { lost, .. } if !lost.is_empty() => Beat::Deposed,
            Settled::Conflict { .. } | Settled::Refused { .. } => Beat::Missed,
        }),
    }
}

/// The bytes of the tasks that a batch of the janitor's removes.
fn purged(settled: Settled<Job>) -> u64 {
    let metas = match settled {
        Settled::Committed { metas, .. } | Settled::Refused { metas, .. } => metas,
        Settled::Conflict { lost, spared, .. } => {
            let lost = lost.into_iter().map(|it| it.meta);
            lost.chain(spared).collect()
        }
    };
    let bytes = metas.iter().map(|job| match job {
        Job::Janitor(job) => job.bytes(),
        Job::Gateway(_) | Job::Scheduler(_) | Job::Beat => 0,
    });
    bytes.sum()
}

impl Job {
    fn gateway(self) -> gateway::Job {
        let Self::Gateway(job) = self else {
            unreachable!("a batch belongs to one part")
        };
        job
    }

    fn scheduler(self) -> scheduler::Job {
        let Self::Scheduler(job) = self else {
            unreachable!("a batch belongs to one part")
        };
        job
    }
}
