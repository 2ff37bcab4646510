//! S3: at each revision a task has at most one claim, and at each instant at most one handler that is not fenced runs it.
//!
//! A handler is fenced once its worker's session is over by the worker's own clock, once it was ordered to stop, once its
//! process is down. By then its worker's lease may end, and not before: when a lease ends, no handler of the life that
//! it stood for runs on, but on a worker that is frozen, or woke up only after its session's end; and where a clock is
//! wrong within the margin, it was ordered to stop. A handler is fenced, too, once its claim was taken though its worker
//! lives, as the backstop against silent workers does; a worker that hears of it late may even start it after that, unless
//! what it has not heard is older than it takes to notice that its news lag behind what it writes itself.
//!
//! No fault suspends the first part. The second is suspended for a worker whose lease was ended early (`ExpireLease`,
//! `ExpireAll`), until its process ends, and for one whose clock ran wrong by more than the margin (`Drift`), until two of its sessions later:
//! nothing could tell them in time. Two processes under one id (`Double`) suspend nothing: the second waits for the end of the first
//! one's lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::ids::{Fence, LeaseId, NodeId, OpId, Registration, Revision, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::rows::claim_of;
use super::{Checker, Findings, Rule, Terms};
use crate::book::{Other, Revised, Spot, TaskStep};
use crate::fact::{Fact, NodeIx};

/// Remembers which handlers run, and which workers live by the store.
#[derive(Debug)]
pub(super) struct OneOwner {
    ttl: Duration,
    roster: Roster,
    /// The registration that each worker's key stands for.
    alive: BTreeMap<NodeId, Registration>,
    /// The life of a worker that each lease stands for.
    leases: BTreeMap<LeaseId, (NodeId, Registration)>,
    /// The life of a worker that each claim is for.
    claims: BTreeMap<Fence, Registration>,
    /// Claims that were taken though their worker lived.
    taken: BTreeSet<Fence>,
    /// When somebody wrote to each claim since it was made.
    edits: BTreeMap<Fence, Vec<(Revision, Mono)>>,
    running: BTreeMap<TaskId, Vec<Running>>,
    by_node: BTreeMap<NodeIx, BTreeMap<OpId, TaskId>>,
    /// Until when a node was frozen last; `None` while it is.
    asleep: BTreeMap<NodeIx, Option<Mono>>,
}

#[derive(Debug)]
struct Running {
    node: NodeIx,
    run: OpId,
    fence: Fence,
    /// For which life of the worker.
    registration: Option<Registration>,
    /// A stop was ordered, or its claim was taken though its worker lived.
    stopped: bool,
}

impl OneOwner {
    pub(super) fn new(terms: &Terms) -> Self {
        Self {
            ttl: Duration::from_millis(terms.ttl_ms),
            roster: Roster::default(),
            alive: BTreeMap::new(),
            leases: BTreeMap::new(),
            claims: BTreeMap::new(),
            taken: BTreeSet::new(),
            edits: BTreeMap::new(),
            running: BTreeMap::new(),
            by_node: BTreeMap::new(),
            asleep: BTreeMap::new(),
        }
    }

    fn revise(&mut self, at: Mono, revised: &Revised, found: &mut Findings) {
        for other in &revised.others {
            if let Other::Node {
                role: Role::Worker,
                id,
                life,
            } = other
            {
                if let Some((life, lease)) = life.and_then(|life| Some((life, life.lease?))) {
                    let of = (id.clone(), Registration(life.created));
                    self.leases.insert(lease, of);
                }
                match life {
                    Some(life) => self.alive.insert(id.clone(), Registration(life.created)),
                    None => self.alive.remove(id),
                };
            }
        }
        for step in &revised.steps {
            self.step(at, revised.at, step, found);
        }
    }

    fn step(&mut self, at: Mono, rev: Revision, step: &TaskStep, found: &mut Findings) {
        let task = step.task;
        let claims = step.after.spots.iter();
        let claims = claims.filter(|spot| matches!(spot, Spot::Claim(_))).count();
        if claims > 1 {
            let what = format!("{task} has {claims} claims at revision {rev}");
            found.add(self, at, None, Some(task), what);
        }
        if let Some(claim) = claim_of(&step.after) {
            self.claims.insert(claim.fence, claim.registration);
        }
        let Some(claim) = claim_of(&step.before) else {
            return;
        };
        self.edits.entry(claim.fence).or_default().push((rev, at));
        let taken = claim_of(&step.after).is_none_or(|it| it.fence != claim.fence);
        if taken && self.alive.get(&claim.worker) == Some(&claim.registration) {
            self.taken.insert(claim.fence);
            let own = self.running.get_mut(&task).into_iter().flatten();
            for running in own.filter(|it| it.fence == claim.fence) {
                running.stopped = true;
            }
        }
    }

    /// Whether a worker whose view is that far may still trust it, for all that was written to the claim since.
    fn may_not_know(&self, at: Mono, fence: Fence, view: Option<Revision>) -> bool {
        let edits = self.edits.get(&fence).into_iter().flatten();
        let unseen = edits
            .filter(|(rev, _)| Some(*rev) > view)
            .map(|(_, at)| *at);
        // It writes every sixth of its time to live, and trusts its news while they are half of one behind.
        let lag_max = self.ttl * 2 / 3 + Duration::from_secs(1);
        unseen.min().is_some_and(|first| at <= first.after(lag_max))
    }

    /// Whether a handler is surely fenced, or cannot be judged.
    fn is_fenced(&self, at: Mono, running: &Running) -> bool {
        let Some(worker) = self.roster.get(running.node) else {
            return true;
        };
        let drifted = worker
            .drifts_until
            .is_some_and(|until| at < until.after(self.ttl * 2));
        running.stopped
            || !worker.up
            || worker.cast_out
            || drifted
            || worker.session_until.is_some_and(|until| until <= at)
    }

    /// Looks whether two handlers run a task.
    fn judge(&self, at: Mono, task: TaskId, found: &mut Findings) {
        let all = self.running.get(&task).map_or(&[][..], Vec::as_slice);
        if all.len() < 2 {
            return;
        }
        let unfenced: Vec<&Running> = all.iter().filter(|it| !self.is_fenced(at, it)).collect();
        if let [first, .., last] = unfenced[..] {
            let what = format!(
                "{task} runs on node {} under fence {} and on node {} under fence {}",
                first.node, first.fence, last.node, last.fence
            );
            found.add(self, at, Some(last.node), Some(task), what);
        }
    }

    /// Whether a handler runs on though it should not, now that its worker's lease has ended.
    fn outlasts(&self, at: Mono, running: &Running) -> bool {
        let Some(worker) = self.roster.get(running.node) else {
            return false;
        };
        let drifted = worker
            .drifts_until
            .is_some_and(|until| at < until.after(self.ttl * 2));
        if !worker.up || worker.cast_out || drifted {
            return false;
        }
        let ended = worker.session_until.unwrap_or(Mono::ZERO);
        let slept = self.asleep.get(&running.node);
        if slept.is_some_and(|until| until.is_none_or(|until| until >= ended)) {
            return ended > at;
        }
        ended > at || !running.stopped || !worker.skewed
    }

    /// A worker's lease is over: its handlers are fenced by then.
    fn lease_ends(&mut self, at: Mono, lease: LeaseId, found: &mut Findings) {
        let Some((id, registration)) = self.leases.remove(&lease) else {
            return;
        };
        let nodes = self.roster.iter().filter(|(_, member)| member.id == id);
        let runs = nodes.filter_map(|(node, _)| Some((node, self.by_node.get(&node)?)));
        let tasks: Vec<(NodeIx, TaskId)> = runs
            .flat_map(|(node, runs)| runs.values().map(move |task| (node, *task)))
            .collect();
        for (node, task) in tasks {
            let own = self.running.get(&task).into_iter().flatten();
            let mut of_it = own.filter(|it| it.registration == Some(registration));
            if of_it.any(|it| it.node == node && self.outlasts(at, it)) {
                let what = format!("{task} runs on node {node}, whose lease has ended");
                found.add(self, at, Some(node), Some(task), what);
            }
        }
    }

    fn stop(&mut self, node: NodeIx, run: OpId) {
        let task = self.by_node.get(&node).and_then(|runs| runs.get(&run));
        let own = task.and_then(|task| self.running.get_mut(task));
        for running in own.into_iter().flatten() {
            running.stopped |= running.node == node && running.run == run;
        }
    }

    fn end(&mut self, node: NodeIx, run: OpId) {
        let Some(task) = self
            .by_node
            .get_mut(&node)
            .and_then(|runs| runs.remove(&run))
        else {
            return;
        };
        if let Some(all) = self.running.get_mut(&task) {
            all.retain(|it| it.node != node || it.run != run);
            if all.is_empty() {
                self.running.remove(&task);
            }
        }
    }

    /// A session that was over begins again: what runs under it is no longer fenced by its end.
    fn reopen(&mut self, at: Mono, node: NodeIx, found: &mut Findings) {
        let tasks: Vec<TaskId> = self
            .by_node
            .get(&node)
            .map(|runs| runs.values().copied().collect())
            .unwrap_or_default();
        for task in tasks {
            self.judge(at, task, found);
        }
    }
}

impl Checker for OneOwner {
    fn rule(&self) -> Rule {
        Rule::S3
    }

    fn name(&self) -> &'static str {
        "one_owner"
    }

    fn hears_traffic(&self) -> bool {
        true
    }

    fn observe(&mut self, at: Mono, fact: &Fact, found: &mut Findings) {
        match fact {
            Fact::Stored(revised) => self.revise(at, revised, found),
            Fact::Started {
                node,
                run,
                task,
                fence,
                view,
                ..
            } => {
                let running = Running {
                    node: *node,
                    run: *run,
                    fence: *fence,
                    registration: self.claims.get(fence).copied(),
                    stopped: self.taken.contains(fence) && self.may_not_know(at, *fence, *view),
                };
                self.running.entry(*task).or_default().push(running);
                self.by_node.entry(*node).or_default().insert(*run, *task);
                self.judge(at, *task, found);
            }
            Fact::StopOrdered { node, run, .. } => self.stop(*node, *run),
            Fact::HandlerEnded { node, run, .. } => self.end(*node, *run),
            Fact::SessionUntil { node, .. } => {
                let before = self.roster.get(*node).and_then(|it| it.session_until);
                self.roster.observe(at, fact);
                if before.is_some_and(|until| until <= at) {
                    self.reopen(at, *node, found);
                }
            }
            Fact::Down { node, .. } => {
                let runs = self.by_node.remove(node).unwrap_or_default();
                for (run, task) in runs {
                    self.by_node.entry(*node).or_default().insert(run, task);
                    self.end(*node, run);
                }
                self.roster.observe(at, fact);
            }
            Fact::Booted { .. } | Fact::Fault { .. } => self.roster.observe(at, fact),
            Fact::LeaseEnded { lease } => self.lease_ends(at, *lease, found),
            Fact::Frozen { node } => {
                self.asleep.insert(*node, None);
            }
            Fact::Thawed { node } => {
                self.asleep.insert(*node, Some(at));
            }
            Fact::Leased { .. }
            | Fact::Locked { .. }
            | Fact::Unlocked { .. }
            | Fact::Draining { .. }
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
}

#[cfg(test)]
mod tests {
    use super::super::testing::{History, SCHEDULER, TERMS};
    use super::*;
    use crate::nemesis::FaultKind;

    /// Two workers, and a task that runs on the first one and was given to the second.
    fn given_away() -> (History, TaskId, Fence) {
        let mut h = History::of(OneOwner::new(&TERMS));
        h.worker(0, "w1");
        h.worker(1, "w2");
        let task = h.submit(None);
        let first = h.dispatch(task, "w1");
        h.start(0, 1, task, first);
        h.lose(task);
        let second = h.dispatch(task, "w2");
        (h, task, second)
    }

    #[test]
    fn two_unfenced_handlers_are_two_owners() {
        let (mut h, task, second) = given_away();
        h.start(1, 1, task, second);
        h.assert_tripped("runs on node 0");
    }

    #[test]
    fn a_handler_whose_session_is_over_is_no_owner() {
        let (mut h, task, second) = given_away();
        h.pass(2_000);
        h.session(1, 3_000);
        h.pass(1_000);
        h.start(1, 1, task, second);
        h.assert_clean();
        h.session(0, 3_000);
        h.assert_tripped("runs on node 0");
    }

    #[test]
    fn a_handler_that_was_ordered_to_stop_or_whose_process_is_down_is_no_owner() {
        let (mut h, task, second) = given_away();
        h.order_stop(0, 1);
        h.start(1, 1, task, second);
        h.assert_clean();
        let (mut h, task, second) = given_away();
        h.down(0);
        h.start(1, 1, task, second);
        h.assert_clean();
    }

    #[test]
    fn a_worker_whose_lease_was_ended_early_is_not_judged() {
        let (mut h, task, second) = given_away();
        h.fault(FaultKind::ExpireLease, Some(0), 0);
        h.start(1, 1, task, second);
        h.assert_clean();
    }

    #[test]
    fn a_claim_that_was_taken_from_a_living_worker_fences_its_handler_even_if_it_starts_soon_after()
    {
        for late in [None, Some(0), Some(3_000), Some(3_001)] {
            let mut h = History::of(OneOwner::new(&TERMS));
            let life = Some(crate::book::Life {
                created: Revision(1),
                lease: None,
            });
            h.node_key("w1", life);
            h.worker(0, "w1");
            h.worker(1, "w2");
            let task = h.submit(None);
            let first = h.dispatch(task, "w1");
            if late.is_none() {
                h.start(0, 1, task, first);
            }
            h.lose(task);
            if let Some(millis) = late {
                h.pass(millis);
                h.session(0, 3_000);
                h.session(1, 3_000);
                h.start(0, 1, task, first);
            }
            let second = h.dispatch(task, "w2");
            h.start(1, 1, task, second);
            if late == Some(3_001) {
                h.assert_tripped("runs on node 0");
            } else {
                h.assert_clean();
            }
        }
    }

    #[test]
    fn a_session_that_outlasts_its_lease_is_found_unless_it_was_cut_short() {
        for (fault, clean) in [(None, false), (Some(FaultKind::ExpireLease), true)] {
            let mut h = History::of(OneOwner::new(&TERMS));
            let life = crate::book::Life {
                created: Revision(1),
                lease: Some(LeaseId(7)),
            };
            h.node_key("w1", Some(life));
            h.worker(0, "w1");
            let task = h.submit(None);
            let fence = h.dispatch(task, "w1");
            h.session(0, 3_000);
            h.start(0, 1, task, fence);
            h.pass(2_999);
            if let Some(kind) = fault {
                h.fault(kind, Some(0), 0);
            }
            h.fact(Fact::LeaseEnded { lease: LeaseId(7) });
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("whose lease has ended");
            }
        }
    }

    #[test]
    fn a_handler_that_runs_on_when_its_lease_ends_is_found_unless_its_worker_slept() {
        for (slept, clean) in [(false, false), (true, true)] {
            let mut h = History::of(OneOwner::new(&TERMS));
            let life = crate::book::Life {
                created: Revision(1),
                lease: Some(LeaseId(7)),
            };
            h.node_key("w1", Some(life));
            h.worker(0, "w1");
            let task = h.submit(None);
            let fence = h.dispatch(task, "w1");
            h.session(0, 2_500);
            h.start(0, 1, task, fence);
            if slept {
                h.fact(Fact::Frozen { node: 0 });
            }
            h.pass(3_000);
            h.fact(Fact::LeaseEnded { lease: LeaseId(7) });
            if clean {
                h.assert_clean();
            } else {
                h.assert_tripped("whose lease has ended");
            }
        }
    }

    #[test]
    fn a_task_with_two_claims_has_two_owners() {
        let mut h = History::of(OneOwner::new(&TERMS));
        let task = h.submit(None);
        let other = h.claim(task, "w2");
        h.dispatch(task, "w1");
        h.revise(SCHEDULER, task, |it| it.spots.push(other));
        h.assert_tripped("2 claims");
    }
}
