//! L3: once healed, no claim waits for a slot of a worker that lives for longer than the scenario lets it wait, and five
//! seconds: it is handed back, so that others may run it.
//!
//! Judged from the phase of liveness on, of workers that no fault concerns. Time counts from the claim's creation, or from
//! when the healed nodes are on their feet, or from the end of the last fault of its worker, whichever is latest. A claim
//! whose worker's life or process has ended is an orphan, or will be, and not judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::ids::{Fence, NodeId, Registration, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::{claim_of, is_foreign, is_remote};
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Other, TaskStep};
use crate::fact::{Fact, Phase};
use crate::remote::{ANSWER_MAX, FETCH_WAIT};

/// How much longer than planned a claim may wait: what is to be handed back waits for a lane, and for a lost answer.
const SLACK: Duration = Duration::from_secs(5);

/// How much longer where a worker learns of its claims, and hands them back, by calls to gateways: a fetch and a report may
/// each wait for one that is frozen or cut off, until they are made at another.
const UNANSWERED: Duration = FETCH_WAIT
    .saturating_add(ANSWER_MAX)
    .saturating_add(ANSWER_MAX);

/// Remembers the claims that no handler was started for.
#[derive(Debug)]
pub(super) struct WaitsBounded {
    terms: Terms,
    roster: Roster,
    waiting: BTreeMap<(TaskId, Fence), (NodeId, Mono)>,
    /// The registered life of each worker.
    lives: BTreeMap<NodeId, Registration>,
    /// Lives whose process has ended. Until their keys go, schedulers that do not know it yet give them claims.
    ended: BTreeSet<(NodeId, Registration)>,
    healed: Option<Mono>,
}

impl WaitsBounded {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            terms: *terms,
            roster: Roster::default(),
            waiting: BTreeMap::new(),
            lives: BTreeMap::new(),
            ended: BTreeSet::new(),
            healed: None,
        }
    }

    fn registered(&mut self, worker: &NodeId, life: Option<Registration>) {
        match life {
            Some(life) => drop(self.lives.insert(worker.clone(), life)),
            None => {
                self.lives.remove(worker);
                self.waiting.retain(|_, (on, _)| on != worker);
            }
        }
    }

    fn step(&mut self, at: Mono, step: &TaskStep, found: &mut Findings) {
        let (before, after) = (claim_of(&step.before), claim_of(&step.after));
        if let Some(gone) = before.filter(|it| after.is_none_or(|now| now.fence != it.fence))
            && let Some((worker, since)) = self.waiting.remove(&(step.task, gone.fence))
        {
            self.judge(at, step.task, &worker, since, found);
        }
        let ended = |worker: &NodeId, life| self.ended.contains(&(worker.clone(), life));
        if let Some(new) = after.filter(|it| before.is_none_or(|old| old.fence != it.fence))
            && !ended(&new.worker, new.registration)
        {
            let claim = (new.worker.clone(), at);
            self.waiting.insert((step.task, new.fence), claim);
        }
    }

    fn judge(&self, at: Mono, task: TaskId, worker: &NodeId, since: Mono, found: &mut Findings) {
        let Some(healed) = self.healed else {
            return;
        };
        let named = self
            .roster
            .iter()
            .filter(|(_, member)| member.id == *worker && member.role == Role::Worker);
        let hurt = named.map(|(node, _)| self.roster.worker_hurt_until(node));
        let from = hurt.fold(since.max(self.terms.awake(healed)), Mono::max);
        let mut patience = Duration::from_millis(self.terms.claim_wait_max_ms) + SLACK;
        if is_remote(worker) {
            patience += UNANSWERED;
        }
        if from.after(patience) < at {
            let millis = at.since(from).as_millis();
            let what = format!("{task} waited for a slot of {worker} for {millis} ms");
            found.add(self, at, None, Some(task), what);
        }
    }
}

impl Checker for WaitsBounded {
    fn rule(&self) -> Rule {
        Rule::L3
    }

    fn name(&self) -> &'static str {
        "waits_bounded"
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        self.roster.observe(at, fact);
        if let Fact::Stored(revised) = fact {
            for other in &revised.others {
                if let Other::Node {
                    role: Role::Worker,
                    id,
                    life,
                } = other
                {
                    self.registered(id, life.map(|life| Registration(life.created)));
                }
            }
            for step in revised.steps.iter().filter(|step| !is_foreign(step)) {
                self.step(at, step, found);
            }
        }
        if let Fact::Down { node, .. } = fact
            && let Some(ended) = self.roster.get(*node)
        {
            self.waiting.retain(|_, (worker, _)| *worker != ended.id);
            let life = self.lives.get(&ended.id);
            self.ended
                .extend(life.map(|life| (ended.id.clone(), *life)));
        }
        if let Fact::Started { task, fence, .. } = fact {
            self.waiting.remove(&(*task, *fence));
        }
        if let Fact::Phase(Phase::Liveness) = fact {
            self.healed.get_or_insert(at);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        for ((task, _), (worker, since)) in &self.waiting {
            self.judge(at, *task, worker, *since, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, TERMS};
    use super::*;

    fn history() -> (History, TaskId) {
        let mut h = History::of(WaitsBounded::new(&TERMS));
        h.worker(1, "w1");
        h.fact(Fact::Phase(Phase::Liveness));
        h.pass(100_000);
        let task = h.submit(None);
        (h, task)
    }

    #[test]
    fn a_claim_that_starts_or_is_handed_back_in_time_is_not_found() {
        let (mut h, task) = history();
        let fence = h.dispatch(task, "w1");
        h.pass(10_000);
        h.hand_back(task);
        let again = h.dispatch(task, "w1");
        assert!(fence < again);
        h.pass(10_000);
        h.start(1, 1, task, again);
        h.pass(100_000);
        h.finish();
        h.assert_clean();
    }

    #[test]
    fn a_claim_that_waits_on_is_found() {
        let (mut h, task) = history();
        h.dispatch(task, "w1");
        h.pass(15_001);
        h.hand_back(task);
        h.assert_tripped("for 15001 ms");
        h.dispatch(task, "w1");
        h.pass(16_000);
        h.finish();
        h.assert_tripped("for 16000 ms");
    }

    #[test]
    fn what_the_next_process_finds_from_the_life_before_waits_for_no_slot() {
        let (mut h, task) = history();
        let life = h.life(None);
        h.node_key("w1", Some(life));
        h.down(1);
        h.dispatch_to_life(task, "w1", life);
        h.worker(1, "w1");
        h.pass(100_000);
        h.hand_back(task);
        h.assert_clean();
        let life = h.life(None);
        h.node_key("w1", Some(life));
        h.dispatch_to_life(task, "w1", life);
        h.pass(15_001);
        h.hand_back(task);
        h.assert_tripped("for 15001 ms");
    }

    #[test]
    fn whose_worker_is_gone_waits_for_no_slot() {
        for by_process in [true, false] {
            let (mut h, task) = history();
            h.dispatch(task, "w1");
            if by_process {
                h.down(1);
            } else {
                h.node_key("w1", None);
            }
            h.pass(100_000);
            h.finish();
            h.assert_clean();
        }
    }
}
