//! What has changed since a revision: the last changes of the view, for those who follow it.
//!
//! Nothing is kept while nobody asks. Where a task is now is read from the view when somebody asks; what is kept of a
//! change is which task it was, and of a task that is gone what only its last place told.

mod changes;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use self::changes::Changes;
use super::Own;
use super::errand::Next;
use super::request::Reply;
use super::shown::{ChangedStatus, ChangesView};
use crate::ids::{NodeId, QueueName, Revision, TaskId, TaskType};
use crate::planted::planted;
use crate::task_state::TaskState;
use crate::time::Mono;
use crate::view::{ClusterView, News, Spot};

/// The most changes that are kept: twelve megabytes, and the names in them. At the highest rate that is nearly half a
/// second, which is longer than somebody who keeps up waits between two questions.
pub const JOURNAL_MAX: usize = 1 << 17;

/// How long changes are kept after the last question.
pub const JOURNAL_IDLE: Duration = Duration::from_secs(60);

/// The most tasks in one answer to [`super::Request::Changes`]; the rest is counted.
pub const CHANGES_MAX: usize = 500;

/// The most queues in one answer to [`super::Request::Changes`]; the rest is counted.
pub const CHANGED_QUEUES_MAX: usize = 100;

/// The changes that are kept, if somebody asks for them.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// How far the view is.
    reached: Revision,
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    asked: Mono,
    /// Every change after this revision is kept.
    from: Revision,
    records: VecDeque<Record>,
    /// Something came since the view was last told to have reached a revision.
    is_new: bool,
}

#[derive(Debug)]
struct Record {
    /// The change is of this revision or of an earlier one that the view took together with it.
    at: Revision,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A task came to a place, or its place was written again.
    Task(TaskId, QueueName),
    /// A task has no place any more.
    Gone(TaskId, Last),
    /// A task has a place, and nobody can read what is there.
    Unread(TaskId),
    /// A queue's settings.
    Queue(QueueName),
    /// A node came, went, or takes something else.
    Nodes,
}

/// What the last place of a task told.
#[derive(Debug)]
struct Last {
    queue: QueueName,
    kind: TaskType,
    worker: Option<NodeId>,
    /// How it has ended if it is not dead.
    status: ChangedStatus,
}

impl Journal {
    /// Somebody asks: from now on changes are kept, for a while.
    pub(super) fn on_asked(&mut self, now: Mono) {
        let from = self.reached;
        let kept = self.kept.get_or_insert_with(|| Kept {
            asked: now,
            from,
            records: VecDeque::new(),
            is_new: false,
        });
        kept.asked = now;
    }

    /// The view was read anew at `at`: what has changed in between is not known.
    pub(super) fn restart(&mut self, at: Revision) {
        self.reached = at;
        let kept = self.kept.as_mut();
        if let Some(kept) = kept.filter(|_| !planted!("P-changes-gap-hidden")) {
            kept.from = at;
            kept.records.clear();
        }
    }

    /// The view has taken all changes up to `at`. Says whether there is something that was not there before.
    pub(super) fn on_view_at(&mut self, now: Mono, at: Revision) -> bool {
        self.reached = at;
        let idle = |kept: &mut Kept| now.since(kept.asked) > JOURNAL_IDLE;
        if self.kept.as_mut().is_some_and(idle) {
            self.kept = None;
        }
        self.kept
            .as_mut()
            .is_some_and(|kept| std::mem::take(&mut kept.is_new))
    }

    /// Takes a piece of news that came with the changes up to `at`. The view has taken all of them.
    pub(super) fn on_news(&mut self, at: Revision, news: &News, view: &ClusterView) {
        let Some(kept) = &mut self.kept else {
            return;
        };
        let Some(what) = what_of(news, view) else {
            return;
        };
        if kept.records.len() == JOURNAL_MAX
            && let Some(forgotten) = kept.records.pop_front()
        {
            kept.from = forgotten.at;
        }
        kept.records.push_back(Record { at, what });
        kept.is_new = true;
    }

    /// What has changed after `after`; `None` when that is not known.
    fn since(&self, after: Revision, view: &ClusterView) -> Option<ChangesView> {
        let kept = self.kept.as_ref().filter(|kept| after >= kept.from)?;
        let first = kept.records.partition_point(|record| record.at <= after);
        let mut changes = Changes::default();
        // The newest first: they are the ones that are shown.
        for record in kept.records.range(first..).rev() {
            changes.add(&record.what, view);
        }
        Some(changes.finish(self.reached))
    }
}

/// What is worth keeping of a piece of news. A task that has only moved is told by the news of where it came to.
fn what_of(news: &News, view: &ClusterView) -> Option<What> {
    match news {
        News::EntryCame(queue, place) | News::ClaimCame(_, place, queue, _) => {
            Some(What::Task(place.task, queue.clone()))
        }
        News::ClaimChanged(worker, place) => {
            let claimed = view.claim(worker, *place)?;
            Some(What::Task(place.task, claimed.record.queue.clone()))
        }
        News::DelayedCame(due, task) => {
            let delayed = view.delayed.get(&(*due, *task))?;
            Some(What::Task(*task, delayed.record.queue.clone()))
        }
        News::EntryWent(queue, place, kind) => {
            let last = || Last::waiting(queue, kind);
            is_gone(place.task, view).then(|| What::Gone(place.task, last()))
        }
        News::DelayedWent(_, task, record) => {
            let last = || Last::waiting(&record.queue, &record.carry.kind);
            is_gone(*task, view).then(|| What::Gone(*task, last()))
        }
        News::ClaimWent(worker, place, claimed) => is_gone(place.task, view).then(|| {
            let last = Last {
                queue: claimed.record.queue.clone(),
                kind: claimed.record.carry.kind.clone(),
                worker: Some(worker.clone()),
                // Whoever fails for good is dead. After a stop was ordered it may have been quicker, or not.
                status: match claimed.record.stop {
                    None => ChangedStatus::State(TaskState::Completed),
                    Some(_) => ChangedStatus::Ended,
                },
            };
            What::Gone(place.task, last)
        }),
        News::Unread(task) => Some(What::Unread(*task)),
        News::QueueConfigured(queue) => Some(What::Queue(queue.clone())),
        News::WorkerCame(..)
        | News::WorkerWent(..)
        | News::OfferChanged(_)
        | News::SchedulersChanged
        | News::NodeConfigured(_) => Some(What::Nodes),
        // Told by other news, or by nothing that is shown.
        News::PlaceLost(_) | News::WorkerBeat(_) | News::LocksChanged => None,
    }
}

fn is_gone(task: TaskId, view: &ClusterView) -> bool {
    match view.spot(task) {
        Some(Spot::Dead(_)) | None => true,
        Some(Spot::Entry(..) | Spot::Claim(..) | Spot::Delayed(_)) => false,
    }
}

impl Last {
    /// Nothing but a cancellation ends a task that waits.
    fn waiting(queue: &QueueName, kind: &TaskType) -> Self {
        Self {
            queue: queue.clone(),
            kind: kind.clone(),
            worker: None,
            status: ChangedStatus::State(TaskState::Cancelled),
        }
    }
}

/// Answers a question for what has changed after `after`, once there is something or nobody waits for more.
pub(super) fn next(after: Option<Revision>, wait: bool, view: &ClusterView, own: &Own) -> Next {
    let journal = &own.journal;
    let reached = journal.reached;
    let Some(after) = after else {
        return Next::Reply(Reply::Changes(Box::new(ChangesView::none(reached))));
    };
    let Some(changes) = journal.since(after, view) else {
        return Next::Reply(Reply::Missed { at: reached });
    };
    if wait && (changes.is_empty() || after > reached) {
        return Next::AwaitChanges;
    }
    if after > reached {
        // Of another store, or of a gateway that is far ahead.
        return Next::Reply(Reply::Missed { at: reached });
    }
    Next::Reply(Reply::Changes(Box::new(changes)))
}
