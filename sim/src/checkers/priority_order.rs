//! S12: a scheduler gives out no task of a queue and type while one that goes before it has waited longer than the
//! staleness bound; and it gives out nothing of a queue that has been paused for that long.
//!
//! Within the bound the scheduler may not know: its view is behind, or the other task may be in a transaction that is
//! under way. With one scheduler the bound is what a transaction and the news of it take. Of several, each tries its own
//! tasks first, and steps in for others only where there has been room for a second: among them a task is overlooked
//! only when the very worker that got the other one has had room for longer than the bound. Every fault, and every node that comes, goes or stops, suspends the rule until twice a lease's
//! time and the bound have passed since its end: placement is best effort, the guards are not (S3, S6).
//!
//! Queues and types are compared each by itself: which worker takes which of several is in no fact.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::ids::{NodeId, QueueName, TaskId, TaskType};
use windlass_core::keyspace::{Place, Role};
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::{claim_of, is_foreign};
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Other, Spot, TaskStep};
use crate::fact::Fact;

/// How long a task may be overlooked when there is one scheduler.
const ALONE: Duration = Duration::from_secs(1);
/// How long when there are several.
const AMONG_OTHERS: Duration = Duration::from_secs(5);
/// How much later a task may be given out that was sent at the same time as one behind it: transactions overtake each
/// other on their way.
const OVERTAKEN: Duration = Duration::from_millis(100);
/// How many earlier tasks are looked at.
const LOOK_AT: usize = 16;

/// Remembers what waits, in order, and since when.
#[derive(Debug)]
pub(super) struct PriorityOrder {
    ttl: Duration,
    roster: Roster,
    waiting: BTreeMap<(QueueName, TaskType), BTreeMap<Place, Mono>>,
    workers: BTreeMap<NodeId, Room>,
    /// Since when a queue is paused, or is not.
    paused: BTreeMap<QueueName, (bool, Mono)>,
    calm_since: Mono,
    /// Tasks that were overlooked, until when they may still come, and by which.
    suspects: Vec<(TaskId, Mono, TaskId, String)>,
}

/// How full a worker is.
#[derive(Debug, Default)]
struct Room {
    slots: u64,
    claims: u64,
    offers: bool,
    /// Since when it has offered a slot that was free; `None` while it does not.
    since: Option<Mono>,
}

impl Room {
    fn changed(&mut self, at: Mono) {
        let has_room = self.offers && self.claims < self.slots;
        self.since = has_room.then(|| self.since.unwrap_or(at));
    }
}

impl PriorityOrder {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            roster: Roster::default(),
            waiting: BTreeMap::new(),
            workers: BTreeMap::new(),
            paused: BTreeMap::new(),
            calm_since: Mono::ZERO,
            suspects: Vec::new(),
        }
    }

    fn is_alone(&self) -> bool {
        let all = self.roster.iter();
        let schedulers = all.filter(|(_, it)| it.role == Role::Scheduler && it.up);
        schedulers.count() < 2
    }

    /// Since when the task could have been placed where the other one was.
    fn had_room(&self, worker: &NodeId, alone: bool) -> Option<Mono> {
        let since = self.workers.get(worker).and_then(|room| room.since);
        if alone { Some(Mono::ZERO) } else { since }
    }

    /// What went before, and had waited longer than the bound.
    fn overlooked(
        &self,
        at: Mono,
        bound: Duration,
        (queue, kind, place): (&QueueName, &TaskType, &Place),
    ) -> Option<(TaskId, Mono)> {
        let class = self.waiting.get(&(queue.clone(), kind.clone()))?;
        let earlier = class.range(..place).take(LOOK_AT);
        let mut old = earlier.filter(|(_, since)| since.after(bound) < at);
        old.next().map(|(place, since)| (place.task, *since))
    }

    /// Reports whoever did not come in time.
    fn convict(&mut self, at: Mono, found: &mut Findings) {
        let late = self.suspects.iter().filter(|(_, until, ..)| *until < at);
        for (_, until, task, why) in late {
            let what = format!("{task} was {why}");
            found.add(self, *until, None, Some(*task), what);
        }
        self.suspects.retain(|(_, until, ..)| *until >= at);
    }

    fn judge(&self, at: Mono, step: &TaskStep) -> Option<(Option<TaskId>, String)> {
        // From an entry, or at once.
        let ([Spot::Entry { .. }] | [], [Spot::Claim(claim)]) =
            (&step.before.spots[..], &step.after.spots[..])
        else {
            return None;
        };
        let (queue, place, kind) = (&claim.queue, &claim.place, &claim.kind);
        let alone = self.is_alone();
        let bound = if alone { ALONE } else { AMONG_OTHERS };
        let calm = self.calm_since.max(self.roster.all_hurt_until());
        if calm.after(self.ttl * 2 + bound) > at {
            return None;
        }
        let paused = self.paused.get(queue).copied();
        if let Some((true, since)) = paused.filter(|(_, since)| since.after(bound) < at) {
            let nanos = at.since(since).as_millis();
            let why = format!("given out of {queue}, paused for {nanos} ms");
            return Some((None, why));
        }
        // While the queue was paused, everything waited.
        let resumed = paused.map_or(Mono::ZERO, |(_, since)| since);
        let (other, since) = self.overlooked(at, bound, (queue, kind, place))?;
        let room = self.had_room(&claim.worker, alone)?;
        (resumed.max(room).after(bound) < at).then(|| {
            let waited = at.since(since).as_millis();
            let why = format!("given out before {other}, which had waited {waited} ms");
            (Some(other), why)
        })
    }

    /// The task does not wait any more where it waited.
    fn leave(&mut self, step: &TaskStep) {
        for spot in &step.before.spots {
            if let Spot::Entry {
                queue, place, kind, ..
            } = spot
                && let Some(class) = self.waiting.get_mut(&(queue.clone(), kind.clone()))
            {
                class.remove(place);
            }
        }
    }

    fn note(&mut self, at: Mono, step: &TaskStep) {
        for spot in &step.after.spots {
            if let Spot::Entry {
                queue, place, kind, ..
            } = spot
            {
                let class = (queue.clone(), kind.clone());
                self.waiting.entry(class).or_default().insert(*place, at);
            }
        }
        let (before, after) = (claim_of(&step.before), claim_of(&step.after));
        if before.map(|it| it.fence) == after.map(|it| it.fence) {
            return;
        }
        if let Some(room) = before.and_then(|it| self.workers.get_mut(&it.worker)) {
            room.claims = room.claims.saturating_sub(1);
            room.changed(at);
        }
        if let Some(claim) = after {
            let room = self.workers.entry(claim.worker.clone()).or_default();
            room.claims += 1;
            room.changed(at);
        }
    }

    fn other(&mut self, at: Mono, other: &Other) {
        if let Other::Queue { queue, settings } = other {
            let paused = settings.is_some_and(|(paused, _)| paused);
            self.paused.insert(queue.clone(), (paused, at));
        }
        if let Other::Offer { id, life } = other {
            let room = self.workers.entry(id.clone()).or_default();
            room.offers = life.is_some();
            room.changed(at);
        }
    }
}

impl Checker for PriorityOrder {
    fn rule(&self) -> Rule {
        Rule::S12
    }

    fn name(&self) -> &'static str {
        "priority_order"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        match fact {
            Fact::Stored(revised) => {
                self.convict(at, found);
                let steps = &revised.steps;
                self.suspects
                    .retain(|(other, ..)| steps.iter().all(|step| step.task != *other));
                for other in &revised.others {
                    self.other(at, other);
                }
                // What is given out together is not given out before each other.
                for step in &revised.steps {
                    self.leave(step);
                }
                for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
                    match self.judge(at, step) {
                        Some((Some(other), why)) => {
                            let until = at.after(OVERTAKEN);
                            self.suspects.push((other, until, step.task, why));
                        }
                        Some((None, why)) => {
                            let what = format!("{} was {why}", step.task);
                            found.add(self, at, None, Some(step.task), what);
                        }
                        None => {}
                    }
                }
                for step in &revised.steps {
                    self.note(at, step);
                }
            }
            Fact::Booted { .. } | Fact::Down { .. } | Fact::Draining { .. } => {
                self.calm_since = at;
                self.roster.observe(at, fact);
                if let Fact::Booted { id, slots, .. } = fact {
                    let room = self.workers.entry(id.clone()).or_default();
                    room.slots = u64::from(*slots);
                    room.changed(at);
                }
            }
            Fact::Frozen { .. } | Fact::Thawed { .. } | Fact::Fault { .. } => {
                self.roster.observe(at, fact);
            }
            Fact::Leased { .. }
            | Fact::LeaseEnded { .. }
            | Fact::SessionUntil { .. }
            | Fact::Started { .. }
            | Fact::StopOrdered { .. }
            | Fact::HandlerEnded { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Handled { .. }
            | Fact::Sent { .. }
            | Fact::Read { .. }
            | Fact::Decided { .. }
            | Fact::Viewed { .. }
            | Fact::Room { .. }
            | Fact::Repaired { .. }
            | Fact::AskedAgain { .. }
            | Fact::Phase(_) => {}
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        self.convict(at.after(OVERTAKEN * 2), found);
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::balance::Strategy;

    use super::super::testing::{GATEWAY, History, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    fn history() -> History {
        let mut h = History::of(PriorityOrder::new(&TERMS));
        h.boot(0, Role::Scheduler, "s1", 0);
        h.pass(10_000);
        h
    }

    fn pause(h: &mut History, paused: bool) {
        let queue = "q".parse().unwrap();
        let settings = Some((paused, Strategy::LeastLoad));
        h.others.push(Other::Queue { queue, settings });
        h.store(GATEWAY, vec![]);
    }

    #[test]
    fn the_first_goes_first_and_news_take_their_time() {
        let mut h = history();
        let first = h.submit(None);
        h.pass(1);
        let second = h.submit(None);
        h.pass(900);
        h.dispatch(second, "w1");
        h.pass(900);
        h.dispatch(first, "w1");
        h.assert_clean();
    }

    #[test]
    fn transactions_may_overtake_each_other_and_not_for_long() {
        for (later, clean) in [(100, true), (101, false)] {
            let mut h = history();
            let first = h.submit(None);
            h.pass(1);
            let second = h.submit(None);
            h.pass(5_000);
            h.dispatch(second, "w1");
            h.pass(later);
            h.dispatch(first, "w1");
            h.finish();
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("given out before");
            }
        }
    }

    #[test]
    fn a_task_that_is_overlooked_is_found_unless_a_fault_hid_it() {
        for (fault, clean) in [(None, false), (Some(FaultKind::DelayWatch), true)] {
            let mut h = history();
            h.submit(None);
            h.pass(1);
            let second = h.submit(None);
            if let Some(kind) = fault {
                h.fault(kind, Some(0), 100);
            }
            h.pass(1_001);
            h.dispatch(second, "w1");
            if clean {
                h.assert_clean();
            } else {
                h.finish();
                h.assert_tripped("given out before");
            }
        }
    }

    #[test]
    fn what_one_revision_gives_out_overlooks_nothing_of_it() {
        let mut h = history();
        let tasks = [h.submit(None), h.submit(None)];
        h.pass(5_000);
        let steps = tasks.map(|task| {
            let before = h.state(task);
            let after = crate::book::TaskState {
                spots: vec![h.claim(task, "w1")],
                ..before.clone()
            };
            TaskStep {
                task,
                before,
                after,
            }
        });
        h.store(super::super::testing::SCHEDULER, steps.to_vec());
        h.assert_clean();
    }

    #[test]
    fn several_schedulers_overlook_nothing_that_there_is_room_for() {
        for (offered, clean) in [(false, true), (true, false)] {
            let mut h = history();
            h.boot(1, Role::Scheduler, "s2", 0);
            h.boot(2, Role::Worker, "w1", 2);
            let offer = Other::Offer {
                id: "w1".parse().unwrap(),
                life: offered.then(|| h.life(Some(1))),
            };
            h.store_bare(vec![], vec![offer]);
            h.pass(20_000);
            h.submit(None);
            h.pass(1);
            let second = h.submit(None);
            let third = h.submit(None);
            h.pass(4_900);
            h.dispatch(second, "w1");
            h.assert_clean();
            h.pass(200);
            h.dispatch(third, "w1");
            if clean {
                h.assert_clean();
            } else {
                h.finish();
                h.assert_tripped("given out before");
            }
        }
    }

    #[test]
    fn a_paused_queue_gives_out_nothing_and_a_resumed_one_begins_anew() {
        let mut h = history();
        let task = h.submit(None);
        pause(&mut h, true);
        h.pass(1_001);
        h.dispatch(task, "w1");
        h.assert_tripped("paused for 1001 ms");
        let mut h = history();
        h.submit(None);
        h.pass(1);
        let second = h.submit(None);
        pause(&mut h, true);
        h.pass(5_000);
        pause(&mut h, false);
        h.pass(900);
        h.dispatch(second, "w1");
        h.assert_clean();
    }
}
