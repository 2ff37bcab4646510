//! News of the view, for those who wait for them.

use super::Gateway;
use crate::ids::Revision;
use crate::time::Now;
use crate::view::{ClusterView, News};

impl Gateway {
    /// The view was read anew at `at`: whoever waits for news looks again.
    pub(crate) fn restart(&mut self, at: Revision) {
        self.own.journal.restart(at);
        self.runnable
            .extend(std::mem::take(&mut self.awaiting_changes));
        let waiting = std::mem::take(&mut self.awaiting_end);
        self.runnable.extend(waiting.into_values().flatten());
        let waiting = std::mem::take(&mut self.awaiting_claims);
        self.runnable.extend(waiting.into_values().flatten());
        self.runnable.extend(&self.awaiting_locks);
    }

    /// Takes a piece of news that came with the changes up to `at`. The view has taken all of them.
    pub(crate) fn on_news(&mut self, now: Now, at: Revision, news: &News, view: &ClusterView) {
        self.own.journal.on_news(at, news, view);
        self.own.timings.on_news(now.mono, news);
        match news {
            News::PlaceLost(task) => {
                if let Some(waiting) = self.awaiting_end.remove(task) {
                    self.runnable.extend(waiting);
                }
            }
            News::LocksChanged => self.runnable.extend(&self.awaiting_locks),
            News::ClaimCame(worker, _, queue, _) => {
                self.own.departures.note(now.mono, queue);
                if let Some(waiting) = self.awaiting_claims.remove(worker) {
                    self.runnable.extend(waiting);
                }
            }
            News::ClaimChanged(worker, ..)
            | News::ClaimWent(worker, ..)
            | News::WorkerWent(worker, _)
            | News::NodeConfigured(worker) => {
                if let Some(waiting) = self.awaiting_claims.remove(worker) {
                    self.runnable.extend(waiting);
                }
            }
            News::EntryCame(..)
            | News::EntryWent(..)
            | News::DelayedCame(..)
            | News::DelayedWent(..)
            | News::WorkerCame(..)
            | News::WorkerBeat(_)
            | News::OfferChanged(_)
            | News::SchedulersChanged
            | News::Unread(_)
            | News::QueueConfigured(_) => {}
        }
    }

    /// The view has reached `at`.
    pub(crate) fn on_view_at(&mut self, now: Now, at: Revision) {
        if !self.awaiting_changes.is_empty() {
            self.own.journal.on_asked(now.mono);
        }
        if self.own.journal.on_view_at(now.mono, at) {
            self.runnable
                .extend(std::mem::take(&mut self.awaiting_changes));
        }
        while let Some((_, id)) = self
            .awaiting_view
            .first()
            .copied()
            .filter(|(wanted, _)| *wanted <= at)
        {
            self.awaiting_view.pop_first();
            if let Some(errand) = self.errands.get_mut(&id) {
                errand.awaits_view = None;
                self.runnable.insert(id);
            }
        }
    }
}
