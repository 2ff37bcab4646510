//! Recording: how ended attempts become transactions, and what their fates teach.

use super::held::{End, Failed, Phase};
use super::locks::Id;
use super::{Effect, Exit, PART, Timer, Worker};
use crate::ids::{Fence, NodeId, Revision};
use crate::keyspace::{Place, Role};
use crate::lanes::{STEPS_MOSTLY, Settled};
use crate::planted::{loosened, planted};
use crate::record::{
    AttemptEnd, AttemptNote, Carry, ClaimRecord, Outcome, Record, StopReason, Totals,
};
use crate::retry::{Decision, Failure};
use crate::steps::{self, Ending};
use crate::store::{Batch, Disproved, Found, Step};
use crate::time::{Millis, Now};

/// What a step of a worker's transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Records the end of an attempt.
    End {
        place: Place,
        fence: Fence,
        end: End,
        totals: Totals,
    },
    /// Shows what a handler reported.
    Progress { place: Place, fence: Fence },
    /// Writes the node's key.
    Beat,
    /// Writes the offer.
    Offer,
    /// Removes the offer.
    Withdraw,
    /// Counts what happened outside of transactions.
    Owed(Totals),
    /// Makes a handler's key in the line of a lock.
    GetInLine(Id),
    /// Removes it.
    LeaveLine(Id),
}

impl Job {
    fn totals(&self) -> Totals {
        match self {
            Self::End { totals, .. } | Self::Owed(totals) => *totals,
            Self::Progress { .. }
            | Self::Beat
            | Self::Offer
            | Self::Withdraw
            | Self::GetInLine(_)
            | Self::LeaveLine(_) => Totals::default(),
        }
    }
}

impl Worker {
    /// Sends what waits, as long as lanes are free.
    pub(super) fn record(&mut self, now: Now, out: &mut Vec<Effect>) {
        // Without a session nothing is written: whether the claims are still ours is for the next session, or for
        // the schedulers, to say.
        if self.session.lease().is_none() || self.registration().is_none() {
            return;
        }
        self.timers.disarm(Timer::Gather);
        while let Some(lane) = self.lanes.idle(PART) {
            let gathers_until = self.lanes.gathers_until(PART, now.mono);
            if let Some(until) = gathers_until.filter(|_| self.claims.ended.len() < STEPS_MOSTLY) {
                return self.timers.arm(now.mono, Timer::Gather, until);
            }
            let batch = self.next_batch(now);
            if batch.is_empty() {
                return;
            }
            let mut delta = Totals::default();
            for job in batch.metas() {
                delta.add(&job.totals());
            }
            self.lanes
                .send(now.mono, lane, batch, &delta, &mut self.ops, out);
        }
    }

    fn next_batch(&mut self, now: Now) -> Batch<Job> {
        let mut batch = Batch::default();
        self.adjust_offer(&mut batch);
        self.add_ends(now, &mut batch);
        self.add_locks(&mut batch);
        self.add_progress(&mut batch);
        if self.beat_due {
            self.add_beat(&mut batch);
        }
        if self.owed != Totals::default() && (!batch.is_empty() || self.duty.is_leaving()) {
            let owed = std::mem::take(&mut self.owed);
            batch
                .push(Job::Owed(owed), Step::default())
                .expect("a step without guards and writes always fits");
        }
        batch
    }

    fn add_beat(&mut self, batch: &mut Batch<Job>) {
        let (Some(registration), Some(lease)) = (self.registration(), self.session.lease()) else {
            return;
        };
        self.node.load = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        self.node.view = self.claims_feed.at().unwrap_or(self.node.view);
        let step = steps::beat(
            Role::Worker,
            &self.config.id,
            registration,
            lease,
            &self.node,
        );
        if batch.push(Job::Beat, step).is_ok() {
            self.beat_due = false;
        }
    }

    fn add_ends(&mut self, now: Now, batch: &mut Batch<Job>) {
        while let Some(place) = self.claims.ended.first().copied() {
            let held = self
                .claims
                .get(place)
                .expect("the index of ended claims holds held ones");
            let Phase::Ended(end) = &held.phase else {
                unreachable!("the index of ended claims holds nothing else")
            };
            let (end, fence) = (end.clone(), held.fence);
            let (mut step, totals) = self.step_of(now, place, &end);
            // The attempt's end and the release of its locks are one thing.
            step.writes.extend(self.locks.removals(place, fence));
            let job = Job::End {
                place,
                fence,
                end,
                totals,
            };
            if let Err(refused) = batch.push(job, step) {
                assert!(
                    !batch.is_empty() || matches!(refused.meta, Job::End { .. }),
                    "only ends are pushed here"
                );
                if batch.is_empty() {
                    self.fail_oversized(place, now);
                    continue;
                }
                return;
            }
            self.claims.set(place, Phase::Recording);
        }
    }

    /// A result that no transaction can hold is a failure of its handler.
    fn fail_oversized(&mut self, place: Place, now: Now) {
        let outcome = Outcome::Failed("the result is too large to be stored".into());
        let ending = Ending {
            outcome,
            started_at: None,
            ended_at: now.wall,
        };
        self.claims.set(place, Phase::Ended(End::Final(ending)));
    }

    fn step_of(&mut self, now: Now, place: Place, end: &End) -> (Step, Totals) {
        let held = self.claims.get(place).expect("only held claims end");
        let (worker, mut totals) = (&self.config.id, Totals::default());
        let cancelled =
            held.record.stop == Some(StopReason::Cancel) && !planted!("P-cancel-flag-lost");
        let step = match end {
            End::HandBack if cancelled => {
                totals.cancelled = 1;
                let ending = Ending {
                    outcome: Outcome::Cancelled,
                    started_at: None,
                    ended_at: now.wall,
                };
                steps::end(worker, place, held.fence, &held.record, ending)
            }
            End::HandBack => {
                totals.handed_back = 1;
                let mut step = steps::hand_back(worker, place, held.since, &held.record);
                if planted!("M-35") && self.duty.is_leaving() {
                    step.writes.truncate(1);
                }
                if planted!("P-alive-for-unchanged-hand-back") {
                    step = loosened(step, held.fence.0);
                }
                step
            }
            End::Final(ending) => {
                match ending.outcome {
                    Outcome::Completed(_) => totals.completed = 1,
                    Outcome::Failed(_) => totals.failed = 1,
                    Outcome::Cancelled => totals.cancelled = 1,
                }
                steps::end(worker, place, held.fence, &held.record, ending.clone())
            }
            End::Failure(failed) => return self.step_of_failure(now, place, failed),
        };
        (step, totals)
    }

    fn step_of_failure(&mut self, now: Now, place: Place, failed: &Failed) -> (Step, Totals) {
        let held = self.claims.get(place).expect("only held claims end");
        let (worker, mut totals) = (&self.config.id, Totals::default());
        let mut record = (*held.record).clone();
        if record.stop == Some(StopReason::Cancel) && !planted!("P-cancel-flag-lost") {
            totals.cancelled = 1;
            let ending = Ending {
                outcome: Outcome::Cancelled,
                started_at: Some(failed.started_at),
                ended_at: failed.ended_at,
            };
            return (
                steps::end(worker, place, held.fence, &record, ending),
                totals,
            );
        }
        let retries = record.carry.retries;
        let note = note_of(worker, &record.carry, failed);
        record.carry.note(note);
        // The age of a run that an operator ordered is not known here; only its retries limit it.
        let age = if record.carry.run == 0 {
            now.wall.since(failed.task.created_at)
        } else {
            Millis::ZERO
        };
        let failure = Failure {
            retries,
            retries_max: failed.task.retries_max,
            age,
            verdict: failed.verdict,
        };
        let step = match failed.task.retry.decide(&failure, &mut self.retry_rng) {
            Decision::RetryAfter(wait) => {
                totals.retried = 1;
                record.carry.retries += u32::from(!planted!("P-retries-not-counted"));
                let (carry, due) = (record.carry.clone(), now.wall.after(wait));
                let (since, fence) = (held.since, held.fence);
                let mut step = steps::retry(worker, place, since, &record, carry, due);
                if planted!("P-alive-for-unchanged-retry") {
                    step = loosened(step, fence.0);
                }
                if planted!("M-03")
                    && let Some(held) = self.claims.get_mut(place)
                {
                    held.record.carry.retries += 1;
                }
                step
            }
            Decision::GiveUp(_) => {
                totals.failed = 1;
                let error = failed
                    .error
                    .clone()
                    .unwrap_or_else(|| "it ran longer than its time-out".into());
                let ending = Ending {
                    outcome: Outcome::Failed(error),
                    started_at: Some(failed.started_at),
                    ended_at: failed.ended_at,
                };
                steps::end(worker, place, held.fence, &record, ending)
            }
        };
        (step, totals)
    }

    fn add_progress(&mut self, batch: &mut Batch<Job>) {
        while let Some(place) = self.claims.progressed.pop_first() {
            let worker = self.config.id.clone();
            let Some(held) = self.claims.get_mut(place) else {
                continue;
            };
            let Some(json) = held
                .progress
                .take()
                .filter(|_| matches!(held.phase, Phase::Running(_)))
            else {
                continue;
            };
            held.record.progress = Some(json);
            let job = Job::Progress {
                place,
                fence: held.fence,
            };
            let mut step = steps::progress(&worker, place, held.since, &held.record);
            if planted!("P-alive-for-unchanged-progress") {
                step = loosened(step, held.fence.0);
            }
            if batch.push(job, step).is_err() {
                held.progress = held.record.progress.clone();
                if !batch.is_empty() {
                    self.claims.progressed.insert(place);
                }
                return;
            }
        }
    }

    pub(super) fn on_settled(&mut self, now: Now, settled: Settled<Job>, out: &mut Vec<Effect>) {
        match settled {
            Settled::Committed { at, metas } => {
                self.freshness.wrote(now.mono, at);
                for job in metas {
                    self.on_committed(now, at, job, out);
                }
            }
            Settled::Conflict { at, lost, spared } => {
                for job in lost {
                    self.on_disproved(now, at, job, out);
                }
                for job in spared {
                    self.again(None, job);
                }
                self.claims_feed.want(now.mono, at);
            }
            Settled::Refused { metas, .. } => {
                for job in metas {
                    self.again(None, job);
                }
                // Nothing is gained by asking again at once; the next beat tries.
                self.timers.disarm(Timer::Flush);
                self.timers
                    .arm(now.mono, Timer::Flush, now.mono.after(self.config.ttl / 12));
            }
        }
    }

    fn on_committed(&mut self, now: Now, at: Revision, job: Job, out: &mut Vec<Effect>) {
        match job {
            Job::End { place, fence, .. } => {
                self.locks.forget(place, fence);
                self.claims.bury(place, fence, at);
                if self
                    .claims
                    .get(place)
                    .is_some_and(|held| held.fence == fence)
                {
                    self.claims.remove(place);
                }
            }
            Job::Progress { place, fence } => {
                if let Some(held) = self
                    .claims
                    .get_mut(place)
                    .filter(|held| held.fence == fence)
                {
                    held.since = held.since.max(at);
                }
            }
            Job::Offer => self.duty.changed(Some(at)),
            Job::Withdraw => self.duty.changed(None),
            Job::GetInLine(id) => self.locks.came(now.mono, id, at, out),
            Job::LeaveLine(id) => self.locks.gone(id),
            Job::Beat | Job::Owed(_) => {}
        }
    }

    fn on_disproved(
        &mut self,
        now: Now,
        at: Revision,
        disproved: Disproved<Job>,
        out: &mut Vec<Effect>,
    ) {
        match &disproved.meta {
            Job::End { place, fence, .. } | Job::Progress { place, fence } => {
                let (place, fence) = (*place, *fence);
                match disproved.at(0).flatten() {
                    Some(found) if found.created == fence.0 => {
                        let found = found.clone();
                        let flagged = self.learn(place, fence, &found);
                        self.again(Some(at), disproved.meta);
                        if flagged {
                            self.on_stop_flag(now, place, out);
                        }
                    }
                    Some(_) | None => self.on_stale(at, disproved.meta),
                }
            }
            Job::Beat => self.exit(Exit::Deposed, out),
            Job::Owed(_) => self.again(Some(at), disproved.meta),
            Job::GetInLine(id) => self.locks.stale(*id, out),
            Job::LeaveLine(id) => self.locks.remove_again(*id),
            Job::Offer => self.duty.unchanged(),
            Job::Withdraw => self.duty.changed(None),
        }
    }

    /// Takes what a conflict found at a claim that is still held, which the news may tell later. Says whether it carries
    /// a stop flag that was not known.
    fn learn(&mut self, place: Place, fence: Fence, found: &Found) -> bool {
        let Some(held) = self.claims.get_mut(place).filter(|it| it.fence == fence) else {
            return false;
        };
        let stop = ClaimRecord::decode(&found.value)
            .ok()
            .and_then(|record| record.stop);
        held.learn(found.modified, stop)
    }

    /// The claim is gone: what the attempt did is refused, for good.
    fn on_stale(&mut self, at: Revision, job: Job) {
        if let Job::End {
            place, fence, end, ..
        } = job
        {
            if end != End::HandBack {
                self.owed.refused_stale += 1;
            }
            self.claims.bury(place, fence, at);
            if self
                .claims
                .get(place)
                .is_some_and(|held| held.fence == fence)
            {
                self.claims.remove(place);
            }
        }
    }

    /// The step was not applied, through no fault of its own, or must be decided again once the view has reached `at`.
    fn again(&mut self, at: Option<Revision>, job: Job) {
        match job {
            Job::End {
                place, fence, end, ..
            } => {
                if self
                    .claims
                    .get(place)
                    .is_some_and(|held| held.fence == fence)
                {
                    self.claims.set(place, Phase::Ended(end));
                    if let Some(at) = at.filter(|at| !self.claims_feed.has_reached(*at)) {
                        self.claims.ended.remove(&place);
                        self.parked.push((at, place));
                    }
                }
            }
            Job::Progress { place, .. } => {
                if let Some(held) = self.claims.get_mut(place)
                    && held.progress.is_none()
                {
                    held.progress = held.record.progress.clone();
                    self.claims.progressed.insert(place);
                }
            }
            Job::Beat => self.beat_due = true,
            Job::Offer | Job::Withdraw => self.duty.unchanged(),
            Job::Owed(totals) => self.owed.add(&totals),
            Job::GetInLine(id) => self.locks.make_again(id),
            Job::LeaveLine(id) => self.locks.remove_again(id),
        }
    }
}

/// What the task remembers of a failed attempt.
fn note_of(worker: &NodeId, carry: &Carry, failed: &Failed) -> AttemptNote {
    AttemptNote {
        attempt: carry.attempt(),
        worker: worker.clone(),
        started_at: Some(failed.started_at),
        ended_at: failed.ended_at,
        end: failed
            .error
            .clone()
            .map_or(AttemptEnd::TimedOut, AttemptEnd::Failed),
        fence: None,
    }
}
