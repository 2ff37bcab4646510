//! Sending: what the parts have ready goes into the lanes that are free, and a process that leaves ends its lease.

use super::{Effect, GATEWAY, JANITOR, Job, SCHEDULER, Server, Timer};
use crate::keyspace::Role;
use crate::lanes::LaneIx;
use crate::machine::Exit;
use crate::planted::planted;
use crate::record::Totals;
use crate::room;
use crate::scheduler::AtOnce;
use crate::steps;
use crate::store::{Batch, Call, StoreCall};

impl Server {
    pub(super) fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.registration().is_none() || self.exited {
            return;
        }
        let now = self.now;
        self.gateway.advance(
            now,
            &self.view,
            &self.scheduler,
            &mut self.feed,
            &mut self.ops,
            out,
        );
        // What waits goes first: only then may a new task have a slot at once.
        while self.can_schedule() {
            let batch = self.scheduler.plan(now, &self.view, Job::Scheduler);
            let Some(lane) = self.lanes.idle(SCHEDULER).filter(|_| !batch.is_empty()) else {
                break;
            };
            self.send(lane, batch, out);
        }
        let may_place = self.is_ready();
        self.timers.disarm(Timer::Gather);
        while let Some(lane) = self.lanes.idle(GATEWAY) {
            let gathers_until = self.lanes.gathers_until(GATEWAY, now.mono);
            if let Some(until) = gathers_until.filter(|_| !self.gateway.fills_a_batch()) {
                self.timers.arm(now.mono, Timer::Gather, until);
                break;
            }
            // While the store is busy with what waits, what would have to wait as well gets one lane: a backlog that does
            // not grow is soon gone, and then nothing has to wait, which costs the store a third less.
            let may_wait = (self.lanes.is_quiet_in(SCHEDULER) || self.lanes.is_quiet_in(GATEWAY))
                && !planted!("P-what-must-wait-held-back");
            let scheduler = may_place.then_some(&mut self.scheduler);
            let mut at_once = AtOnce::new(now, scheduler, &self.view, may_wait);
            let batch = self.gateway.next_batch(&mut at_once, Job::Gateway);
            if batch.is_empty() {
                break;
            }
            let is_full_now = self
                .gauge
                .on_sent(room::cost(batch.txn().bytes(), batch.len()));
            self.send(lane, batch, out);
            if is_full_now {
                self.gateway.on_room(self.room());
                self.flush_soon();
            }
        }
        self.flush_janitor(out);
        self.leave_when_done(out);
    }

    pub(super) fn flush_janitor(&mut self, out: &mut Vec<Effect>) {
        let (Some(lease), Some(registration)) = (self.session.lease(), self.registration()) else {
            return;
        };
        if !self.leaving && self.feed.at().is_some() {
            self.janitor
                .advance(self.now, &self.view, &mut self.ops, out);
        }
        let Some(lane) = self.lanes.idle(JANITOR) else {
            return;
        };
        let mut batch = Batch::default();
        if self.beat_due {
            self.node.load = u32::try_from(self.gateway.pending()).unwrap_or(u32::MAX);
            self.node.view = self.feed.at().unwrap_or(self.node.view);
            let step = steps::beat(
                Role::Scheduler,
                &self.config.id,
                registration,
                lease,
                &self.node,
            );
            batch
                .push(Job::Beat, step)
                .expect("a node's key fits an empty transaction");
            self.beat_due = false;
        } else if !self.leaving && self.feed.at().is_some() {
            self.janitor.plan(&self.view, lease, &mut batch);
        }
        if !batch.is_empty() {
            self.send(lane, batch, out);
        }
    }

    pub(super) fn send(&mut self, lane: LaneIx, batch: Batch<Job>, out: &mut Vec<Effect>) {
        let mut delta = Totals::default();
        for job in batch.metas() {
            delta.add(&job.totals());
        }
        self.lanes
            .send(self.now.mono, lane, batch, &delta, &mut self.ops, out);
    }

    pub(super) fn leave_when_done(&mut self, out: &mut Vec<Effect>) {
        if !self.leaving
            || self.revocation.is_some()
            || !self.lanes.is_quiet()
            || self.gateway.pending() > 0
        {
            return;
        }
        let Some(lease) = self.session.lease_if_any() else {
            return self.exit(Exit::Drained, out);
        };
        let op = self.ops.fresh();
        self.revocation = Some(op);
        out.push(
            StoreCall {
                op,
                call: Call::Revoke { lease },
            }
            .into(),
        );
    }

    pub(super) fn on_drain(&mut self, out: &mut Vec<Effect>) {
        if !self.leaving {
            self.leaving = true;
            self.gateway.stop_waiting(out);
            let now = self.now.mono;
            self.timers
                .arm(now, Timer::Patience, now.after(self.config.request_max));
            self.flush_soon();
        }
    }
}
