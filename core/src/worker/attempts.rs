//! Attempts: reading the tasks of claims, starting them in the order of keys, and taking the handlers' last words.

use std::collections::BTreeMap;
use std::time::Duration;

use super::held::Phase;
use super::run::{RunEvent, Start};
use super::{Effect, FETCH_MAX, FETCHES_MAX, Timer, Worker};
use crate::ids::{Fence, OpId, Revision, TaskId};
use crate::keyspace::{Key, Meaning, Place};
use crate::planted::planted;
use crate::record::{Json, Record, TaskRecord};
use crate::store::{Call, OPS_MAX, Query, ReadAnswer, StoreCall};
use crate::time::Now;

impl Worker {
    pub(super) fn fetch(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.fetches.len() < FETCHES_MAX && !self.claims.fresh.is_empty() {
            let places: Vec<Place> = self.claims.fresh.iter().copied().take(OPS_MAX).collect();
            for place in &places {
                self.claims.set(*place, Phase::Fetching);
            }
            let op = self.ops.fresh();
            let keys = places.iter().map(|place| Key::task(place.task)).collect();
            out.push(
                StoreCall {
                    op,
                    call: Call::Read(Query::Keys(keys)),
                }
                .into(),
            );
            self.timers
                .arm(now.mono, Timer::Fetch(op), now.mono.after(FETCH_MAX));
            self.fetches.insert(op, places);
        }
    }

    pub(super) fn on_fetched(&mut self, now: Now, places: Vec<Place>, answer: ReadAnswer) {
        let items = match answer {
            ReadAnswer::Items { items, .. } => Some(items),
            ReadAnswer::Failed => None,
        };
        let mut found: BTreeMap<TaskId, TaskRecord> = BTreeMap::new();
        for item in items.iter().flatten() {
            if let (Meaning::Task(id), Ok(task)) = (
                Meaning::of(&item.key),
                TaskRecord::decode(&item.found.value),
            ) {
                found.insert(id, task);
            }
        }
        for place in places {
            if !self
                .claims
                .get(place)
                .is_some_and(|held| matches!(held.phase, Phase::Fetching))
            {
                continue;
            }
            let phase = match (items.is_some(), found.remove(&place.task)) {
                (_, Some(task)) => Phase::Ready(Box::new(task)),
                (true, None) => Phase::Unreadable,
                (false, None) => Phase::Fresh,
            };
            self.claims.set(place, phase);
        }
        self.flush_soon(now.mono);
    }

    /// Starts what is ready, in the order of keys, as long as there are slots.
    pub(super) fn start_ready(&mut self, now: Now, out: &mut Vec<Effect>) {
        let spare = usize::from(planted!("M-33"));
        while self.can_start() && self.runs.len() < self.config.slots as usize + spare {
            let Some(place) = self.claims.ready.first().copied() else {
                return;
            };
            let run = self.ops.fresh();
            let Some(Phase::Ready(task)) = self.claims.set(place, Phase::Running(run)) else {
                unreachable!("the index of ready claims holds nothing else")
            };
            let held = self.claims.get(place).expect("it was just set to run");
            assert!(
                held.record.stop.is_none(),
                "a stopped claim is never started"
            );
            let start = Start {
                run,
                task: place.task,
                kind: task.kind.clone(),
                queue: task.queue.clone(),
                priority: task.priority,
                name: task.name.clone(),
                payload: task.payload.clone(),
                metadata: task.metadata.clone(),
                created_at: task.created_at,
                attempt: held.record.carry.attempt(),
                fence: if planted!("M-26") {
                    Fence(Revision(now.wall.as_millis()))
                } else {
                    held.fence
                },
                timeout: task.timeout,
            };
            self.timers.arm(
                now.mono,
                Timer::TimeOut(run),
                now.mono
                    .after(Duration::from(task.timeout).max(Duration::from_nanos(1))),
            );
            self.runs.start(run, (place, held.fence), task, now.wall);
            out.push(Effect::Start(Box::new(start)));
        }
    }

    pub(super) fn on_run(&mut self, now: Now, run: OpId, event: RunEvent, out: &mut Vec<Effect>) {
        match event {
            RunEvent::Progress(json) => self.on_progress(now, run, json),
            RunEvent::Lock { ask, lock } => self.on_lock(now, run, ask, lock, out),
            RunEvent::Unlock { ask } => self.on_unlock(now, run, ask),
            RunEvent::Completed(_) | RunEvent::Failed(_) | RunEvent::Stopped => {
                self.on_ended(now, run, event);
            }
        }
    }

    fn on_ended(&mut self, now: Now, run: OpId, event: RunEvent) {
        let Some(ended) = self.runs.end(run) else {
            return;
        };
        self.timers.disarm(Timer::TimeOut(run));
        self.flush_soon(now.mono);
        let place = ended.place;
        self.locks.give_up_all(place, ended.fence);
        let ours = self
            .claims
            .get(place)
            .is_some_and(|held| matches!(held.phase, Phase::Running(own) if own == run || planted!("P-old-run-ends-new-claim")));
        if !ours {
            // Its claim was taken away while it ran: nobody waits for what it did.
            if matches!(event, RunEvent::Completed(_) | RunEvent::Failed(_)) {
                self.owed.refused_stale += 1;
            }
            return;
        }
        let end = ended.judge(event, now.wall);
        self.claims.set(place, Phase::Ended(end));
    }

    pub(super) fn on_progress(&mut self, now: Now, run: OpId, json: Json) {
        let Some(place) = self.runs.place(run) else {
            return;
        };
        if let Some(held) = self.claims.get_mut(place)
            && matches!(held.phase, Phase::Running(own) if own == run)
        {
            held.progress = Some(json);
            self.claims.progressed.insert(place);
            self.flush_soon(now.mono);
        }
    }
}
