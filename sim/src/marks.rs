//! Remarkable things that must happen sometimes: a simulator in which they never do proves little.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_core::gateway::{Reply, Submitted};
use windlass_core::machine::Exit;
use windlass_core::record::StopReason;
use windlass_core::room::Level;
use windlass_core::store::Refusal;

use crate::book::{Ending, Spot, TaskStep};
use crate::fact::{Decision, Fact};

/// Something remarkable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is told where it is noticed")]
pub enum Mark {
    Dispatched,
    Placed,
    HandedBack,
    Lost,
    Retried,
    Released,
    Completed,
    Failed,
    Cancelled,
    CancelledRunning,
    Rerun,
    Purged,
    Conflict,
    Repeated,
    KeyTaken,
    Followed,
    Missed,
    LockTaken,
    LockHeld,
    LockGivenUp,
    SessionFenced,
    TimedOut,
    Drained,
    Deposed,
    Usurped,
    Wedged,
    Unheard,
    StartedAgain,
    Tight,
    NoRoom,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::Dispatched,
        Self::Placed,
        Self::HandedBack,
        Self::Lost,
        Self::Retried,
        Self::Released,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::CancelledRunning,
        Self::Rerun,
        Self::Purged,
        Self::Conflict,
        Self::Repeated,
        Self::KeyTaken,
        Self::Followed,
        Self::Missed,
        Self::LockTaken,
        Self::LockHeld,
        Self::LockGivenUp,
        Self::SessionFenced,
        Self::TimedOut,
        Self::Drained,
        Self::Deposed,
        Self::Usurped,
        Self::Wedged,
        Self::Unheard,
        Self::StartedAgain,
        Self::Tight,
        Self::NoRoom,
    ];

    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatched => "dispatched",
            Self::Placed => "placed",
            Self::HandedBack => "handed_back",
            Self::Lost => "lost",
            Self::Retried => "retried",
            Self::Released => "released",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::CancelledRunning => "cancelled_running",
            Self::Rerun => "rerun",
            Self::Purged => "purged",
            Self::Conflict => "conflict",
            Self::Repeated => "repeated",
            Self::KeyTaken => "key_taken",
            Self::Followed => "followed",
            Self::Missed => "missed",
            Self::LockTaken => "lock_taken",
            Self::LockHeld => "lock_held",
            Self::LockGivenUp => "lock_given_up",
            Self::SessionFenced => "session_fenced",
            Self::TimedOut => "timed_out",
            Self::Drained => "drained",
            Self::Deposed => "deposed",
            Self::Usurped => "usurped",
            Self::Wedged => "wedged",
            Self::Unheard => "unheard",
            Self::StartedAgain => "started_again",
            Self::Tight => "tight",
            Self::NoRoom => "no_room",
        }
    }
}

/// Counts remarkable things.
#[derive(Debug, Default)]
pub struct Marks {
    /// How often each happened.
    pub counts: BTreeMap<Mark, u64>,
}

impl Marks {
    fn add(&mut self, mark: Mark) {
        *self.counts.entry(mark).or_default() += 1;
    }

    /// Takes note of a fact.
    pub fn observe(&mut self, fact: &Fact) {
        match fact {
            Fact::Stored(revised) => revised.steps.iter().for_each(|step| self.step(step)),
            Fact::Decided {
                how: Decision::Conflict,
                ..
            } => self.add(Mark::Conflict),
            Fact::Answered { reply, .. } => self.reply(reply),
            Fact::Locked { .. } => self.add(Mark::LockHeld),
            Fact::Unlocked { .. } => self.add(Mark::LockGivenUp),
            Fact::StopOrdered { reason, .. } => match reason {
                StopReason::Fenced => self.add(Mark::SessionFenced),
                StopReason::TimeOut => self.add(Mark::TimedOut),
                StopReason::Cancel | StopReason::Shutdown => {}
            },
            Fact::Down {
                exit: Some(exit), ..
            } => self.add(match exit {
                Exit::Drained => Mark::Drained,
                Exit::Deposed => Mark::Deposed,
                Exit::Usurped => Mark::Usurped,
                Exit::HandlerWedged => Mark::Wedged,
                Exit::Unheard => Mark::Unheard,
            }),
            Fact::Room {
                level: Level::Tight,
                ..
            } => self.add(Mark::Tight),
            Fact::Started { attempt, .. } if attempt.0 > 1 => self.add(Mark::StartedAgain),
            Fact::Decided { .. }
            | Fact::Down { exit: None, .. }
            | Fact::Started { .. }
            | Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::Booted { .. }
            | Fact::Frozen { .. }
            | Fact::Thawed { .. }
            | Fact::Draining { .. }
            | Fact::SessionUntil { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Asked { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Fault { .. }
            | Fact::Phase(_) => {}
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Submitted(fates) => {
                for fate in fates {
                    match fate {
                        Submitted::Repeated { .. } => self.add(Mark::Repeated),
                        Submitted::KeyTaken { .. } => self.add(Mark::KeyTaken),
                        Submitted::Accepted { .. }
                        | Submitted::Refused(_)
                        | Submitted::Unknown { .. } => {}
                    }
                }
            }
            Reply::Changes(changes) if !changes.tasks.is_empty() => self.add(Mark::Followed),
            Reply::Missed { .. } => self.add(Mark::Missed),
            Reply::Lock { .. } => self.add(Mark::LockTaken),
            Reply::Refused(Refusal::NoRoom) => self.add(Mark::NoRoom),
            Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Remote(_)
            | Reply::Changes(_)
            | Reply::Timings(_)
            | Reply::Done
            | Reply::NotFound
            | Reply::Forbidden { .. }
            | Reply::Refused(
                Refusal::Busy
                | Refusal::LeaseGone
                | Refusal::TooLarge
                | Refusal::Denied
                | Refusal::Invalid,
            )
            | Reply::NotReady
            | Reply::TimedOut => {}
        }
    }

    fn step(&mut self, step: &TaskStep) {
        let (before, after) = (&step.before, &step.after);
        let was_claimed = matches!(before.spots[..], [Spot::Claim(_)]);
        match (&before.spots[..], &after.spots[..]) {
            ([Spot::Entry { .. }], [Spot::Claim(_)]) => self.add(Mark::Dispatched),
            ([], [Spot::Claim(_)]) => self.add(Mark::Placed),
            ([Spot::Claim(one)], [Spot::Entry { count, .. }])
                if one.count.losses == count.losses =>
            {
                self.add(Mark::HandedBack)
            }
            ([Spot::Claim(_)], [Spot::Entry { .. }]) => self.add(Mark::Lost),
            ([Spot::Claim(_)], [Spot::Delayed { .. }]) => self.add(Mark::Retried),
            ([Spot::Delayed { .. }], [Spot::Entry { .. }]) => self.add(Mark::Released),
            _ => {}
        }
        match (&before.end, &after.end) {
            (None, Some(end)) => self.add(match end.how {
                Ending::Completed => Mark::Completed,
                Ending::Failed => Mark::Failed,
                Ending::Cancelled if was_claimed => Mark::CancelledRunning,
                Ending::Cancelled => Mark::Cancelled,
            }),
            (Some(_), None) if after.record.is_some() => self.add(Mark::Rerun),
            (Some(_), None) => self.add(Mark::Purged),
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}
