//! News of the store: the view takes them, and every part of the process learns what they mean.

use super::Server;
use crate::gateway;
use crate::ids::{OpId, TaskId};
use crate::lanes::Settled;
use crate::store::ViewEvent;
use crate::view::{ClusterView, Fed};

impl Server {
    pub(super) fn on_view(&mut self, op: OpId, event: ViewEvent) {
        let now = self.now;
        let fed = self.feed.on_event(now.mono, op, event);
        let mut news = std::mem::take(&mut self.news);
        let restarted = match fed {
            Fed::Nothing | Fed::Lost => false,
            Fed::Restart(items) => {
                self.view = ClusterView::default();
                self.view.fill(now.mono, items, &mut news);
                true
            }
            Fed::More(items) => {
                self.view.fill(now.mono, items, &mut news);
                true
            }
            Fed::Changes(changes) => {
                self.view.apply(now.mono, changes, &mut news);
                false
            }
        };
        if restarted {
            if let Some(at) = self.feed.at() {
                self.scheduler.restart(now, &self.view);
                self.gateway.restart(at);
            }
        } else {
            let at = self.feed.at().unwrap_or_default();
            for item in &news {
                self.scheduler.on_news(now, item, &self.view);
                self.gateway.on_news(now, at, item, &self.view);
            }
        }
        news.clear();
        self.news = news;
        self.compare();
        if let Some(at) = self.feed.at() {
            self.scheduler.on_view_at(now, at, &self.view);
            self.gateway.on_view_at(now, at);
            self.janitor.on_view_at(now.mono, at);
        }
        self.flush_soon();
    }

    /// The scheduler keeps slots for the tasks that submissions placed: it learns what became of them.
    pub(super) fn tell_placed(&mut self, settled: &Settled<gateway::Job>) {
        let (now, reached, view) = (self.now, self.feed.at(), &self.view);
        match settled {
            Settled::Committed { at, metas } => {
                for task in metas.iter().filter_map(placed) {
                    self.scheduler.on_placed(now, *at, task, reached, view);
                }
            }
            Settled::Conflict { at, lost, spared } => {
                for disproved in lost {
                    let offer_gone = match &disproved.meta {
                        gateway::Job::Submit(it) => it.lost_its_worker(disproved),
                        gateway::Job::Errand { .. } => false,
                    };
                    if let Some(task) = placed(&disproved.meta) {
                        self.scheduler.on_unplaced(now, *at, task, offer_gone, view);
                    }
                    if offer_gone {
                        self.feed.want(now.mono, *at);
                    }
                }
                for task in spared.iter().filter_map(placed) {
                    self.scheduler.on_unplaced(now, *at, task, false, view);
                }
                if let Some(reached) = reached {
                    self.scheduler.on_view_at(now, reached, view);
                }
            }
            Settled::Refused { metas, .. } => {
                for task in metas.iter().filter_map(placed) {
                    let at = reached.unwrap_or_default();
                    self.scheduler.on_unplaced(now, at, task, false, view);
                }
            }
        }
    }

    /// Compares the view with the store, if it is known what the store holds.
    pub(super) fn compare(&mut self) {
        let before = self.reconcile.repaired();
        let known = self.view.known();
        self.reconcile.judge(self.now.mono, &mut self.feed, known);
        let repaired = self.reconcile.repaired();
        if repaired != before {
            self.gateway.on_drift(repaired);
        }
    }
}

/// The task that a submission placed, if it did.
fn placed(job: &gateway::Job) -> Option<TaskId> {
    match job {
        gateway::Job::Submit(submission) => submission.placed(),
        gateway::Job::Errand { .. } => None,
    }
}
