//! The gateway's transactions: what goes into the next one, and what the fates of the last ones mean.

use std::fmt;

use super::{Gateway, Job, RequestId};
use crate::ids::Revision;
use crate::lanes::{STEPS_MOSTLY, Settled};
use crate::planted::planted;
use crate::scheduler::AtOnce;
use crate::store::Batch;
use crate::time::Now;
use crate::view::Feed;

impl Gateway {
    /// Whether there is enough for a transaction, or something that has one of its own.
    pub(crate) fn fills_a_batch(&self) -> bool {
        let gathered = self.steps.len() + self.submissions.unsent();
        gathered >= STEPS_MOSTLY || !self.lone_steps.is_empty() || self.submissions.next_is_alone()
    }

    /// The next transaction's steps. `to_job` wraps them for the lanes.
    pub(crate) fn next_batch<M: fmt::Debug>(
        &mut self,
        at_once: &mut AtOnce<'_>,
        to_job: impl Fn(Job) -> M,
    ) -> Batch<M> {
        let mut batch = Batch::default();
        if let Some((id, step, totals)) = self.lone_steps.pop_front() {
            let job = Job::Errand {
                id,
                step: step.clone(),
                totals,
            };
            batch
                .push(to_job(job), step)
                .expect("a step that was in a transaction, or is one key, fits an empty one");
            return batch;
        }
        while let Some((id, step, totals)) = self.steps.pop_front() {
            let job = Job::Errand {
                id,
                step: step.clone(),
                totals,
            };
            if batch.push(to_job(job), step.clone()).is_err() {
                self.steps.push_front((id, step, totals));
                return batch;
            }
        }
        self.submissions.fill(&mut batch, at_once, |submission| {
            to_job(Job::Submit(submission))
        });
        batch
    }

    /// Learns what became of a batch of its own.
    pub(crate) fn on_settled(&mut self, now: Now, settled: Settled<Job>, feed: &mut Feed) {
        match settled {
            Settled::Committed { at, metas } => {
                for job in metas {
                    match job {
                        Job::Submit(submission) => self.submissions.on_accepted(&submission),
                        Job::Errand { id, .. } => self.on_step(now, id, Some(true), at, feed),
                    }
                }
            }
            Settled::Conflict { at, lost, spared } => {
                for disproved in lost {
                    match &disproved.meta {
                        Job::Submit(submission) => {
                            self.submissions.on_disproved(submission, &disproved)
                        }
                        Job::Errand { id, .. } => self.on_step(now, *id, Some(false), at, feed),
                    }
                }
                for job in spared.into_iter().rev() {
                    match job {
                        Job::Submit(submission) if planted!("P-spared-reported-accepted") => {
                            self.submissions.on_accepted(&submission)
                        }
                        Job::Submit(submission) => self.submissions.again(submission),
                        Job::Errand { id, step, totals } => {
                            self.steps.push_front((id, step, totals))
                        }
                    }
                }
            }
            Settled::Refused { reason, metas } => {
                let alone = metas.len() == 1 || planted!("P-group-refused-whole");
                for job in metas {
                    match job {
                        Job::Submit(submission) if alone => {
                            self.submissions.on_refused(&submission, reason)
                        }
                        // One of them is at fault: each is tried alone.
                        Job::Submit(submission) => self.submissions.again_alone(submission),
                        // A worker's lease that has ended must not be the fault of those who shared its transaction.
                        Job::Errand { id, step, totals } if !alone => {
                            self.lone_steps.push_back((id, step, totals));
                        }
                        Job::Errand { id, .. } => {
                            if let Some(errand) = self.errands.get_mut(&id) {
                                errand.refused = Some(reason);
                            }
                            self.on_step(now, id, None, Revision(0), feed);
                        }
                    }
                }
            }
        }
    }

    /// An errand's step was applied, disproved, or refused (`None`).
    fn on_step(
        &mut self,
        now: Now,
        id: RequestId,
        applied: Option<bool>,
        at: Revision,
        feed: &mut Feed,
    ) {
        let Some(errand) = self.errands.get_mut(&id) else {
            return;
        };
        errand.committing = false;
        errand.read = None;
        errand.committed |= applied == Some(true);
        errand.disproved = applied == Some(false);
        if applied == Some(true) {
            errand.remote.at = at;
        }
        self.await_view(now, id, at, feed);
    }
}
