//! Submissions: from specifications to transactions, grouped, and each one's fate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Job;
use super::request::{Due, Reply, RequestId, Submitted, TaskSpec};
use crate::ids::{NodeId, TaskId};
use crate::keyspace::{Key, Place};
use crate::planted::planted;
use crate::record::{Record, TaskRecord, Totals, UniqueRecord, Version};
use crate::rng::Rng;
use crate::scheduler::AtOnce;
use crate::steps::{self, SUBMIT_OFFER_GUARD, submit_unique_guard};
use crate::store::{Batch, Disproved, Refusal, Step};
use crate::task_state::TaskState;
use crate::time::Now;

/// A task on its way into the store.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    request: RequestId,
    index: usize,
    id: TaskId,
    task: TaskRecord,
    /// The hash of the body, if the task has an idempotency key.
    body: Option<Arc<str>>,
    alone: bool,
    /// Whether its transaction gives it to a worker.
    placed: bool,
}

impl Submission {
    /// What it counts once it is committed.
    pub(crate) fn totals(&self) -> Totals {
        Totals {
            accepted: 1,
            dispatched: u64::from(self.placed),
            ..Totals::default()
        }
    }

    /// The task, if its transaction gives it to a worker.
    pub(crate) fn placed(&self) -> Option<TaskId> {
        self.placed.then_some(self.id)
    }

    /// Whether its transaction was refused because its worker takes nothing any more.
    pub(crate) fn lost_its_worker(&self, disproved: &Disproved<Job>) -> bool {
        self.placed && disproved.at(SUBMIT_OFFER_GUARD).is_some()
    }

    /// What it was accepted as: a task that is placed at once waits for nobody, but it waits for its worker.
    fn state(&self) -> TaskState {
        match self.task.due {
            Some(_) => TaskState::Scheduled,
            None => TaskState::Pending,
        }
    }

    /// Its step, and a slot that is kept for it if it is placed at once. Guards look at what was before a transaction: one
    /// that withdraws an offer gives nothing to its worker.
    fn step(
        &mut self,
        at_once: &mut AtOnce<'_>,
        withdraws: impl Fn(&NodeId) -> bool,
    ) -> Option<Step> {
        let place = Place {
            priority: self.task.priority,
            timestamp: self.task.created_at,
            task: self.id,
        };
        let to = match self.task.due {
            None => at_once.place(&self.task.queue, &self.task.kind, place),
            Some(_) => None,
        };
        let to = to.filter(|to| {
            let stands = !withdraws(&to.worker);
            if !stands {
                at_once.take_back(self.id);
            }
            stands
        });
        self.placed = to.is_some();
        if !self.placed && self.task.due.is_none() && !at_once.may_wait() {
            return None;
        }
        let to = to.as_ref().map(|to| (to, at_once.now().wall));
        Some(steps::submit(self.id, &self.task, self.body.clone(), to))
    }
}

/// All submissions that are under way.
#[derive(Debug)]
pub(super) struct Submissions {
    rng: Rng,
    queue: VecDeque<Arc<Submission>>,
    groups: BTreeMap<RequestId, Group>,
    replies: Vec<(RequestId, Reply)>,
}

#[derive(Debug)]
struct Group {
    ids: Vec<TaskId>,
    fates: Vec<Option<Submitted>>,
    missing: usize,
}

impl Submissions {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            queue: VecDeque::new(),
            groups: BTreeMap::new(),
            replies: Vec::new(),
        }
    }

    /// How many tasks no transaction holds.
    pub(super) fn unsent(&self) -> usize {
        self.queue.len()
    }

    /// Whether the next one shares no transaction.
    pub(super) fn next_is_alone(&self) -> bool {
        self.queue.front().is_some_and(|it| it.alone)
    }

    pub(super) fn pending(&self) -> usize {
        self.groups.len() + self.replies.len()
    }

    /// Gives each task an id and a place in the next transactions. Answers at once when there is nothing to do.
    pub(super) fn add(
        &mut self,
        now: Now,
        request: RequestId,
        specs: Vec<TaskSpec>,
    ) -> Option<Reply> {
        if specs.is_empty() {
            return Some(Reply::Submitted(Vec::new()));
        }
        let mut ids = Vec::with_capacity(specs.len());
        for (index, spec) in specs.into_iter().enumerate() {
            let id = TaskId::new(&mut self.rng, now.wall);
            let body = spec.key.as_ref().map(|key| key.body_hash.clone());
            self.queue.push_back(Arc::new(Submission {
                request,
                index,
                id,
                task: record_of(spec, now),
                alone: body.is_some(),
                body,
                placed: false,
            }));
            ids.push(id);
        }
        let missing = ids.len();
        self.groups.insert(
            request,
            Group {
                fates: vec![None; missing],
                ids,
                missing,
            },
        );
        None
    }

    /// Refuses every task that no transaction under way holds: for certain, none of them is in the store.
    pub(super) fn refuse_unsent(&mut self) {
        for it in std::mem::take(&mut self.queue) {
            self.on_refused(&it, Refusal::NoRoom);
        }
    }

    pub(super) fn forget(&mut self, request: RequestId) {
        self.groups.remove(&request);
    }

    /// Adds what waits to a transaction, as far as it fits. What has a key never shares one.
    pub(super) fn fill<M>(
        &mut self,
        batch: &mut Batch<M>,
        at_once: &mut AtOnce<'_>,
        to_job: impl Fn(Arc<Submission>) -> M,
    ) {
        let alone = batch.is_empty();
        while batch.has_room()
            && let Some(mut next) = self.queue.pop_front()
        {
            if next.alone && !batch.is_empty() {
                self.queue.push_front(next);
                return;
            }
            let withdraws = |worker: &NodeId| !alone && batch.txn().writes_key(&Key::offer(worker));
            let Some(step) = Arc::make_mut(&mut next).step(at_once, withdraws) else {
                self.queue.push_front(next);
                return;
            };
            match batch.push(to_job(Arc::clone(&next)), step) {
                Ok(()) => {
                    if planted!("P-ack-before-commit") {
                        self.on_accepted(&next);
                    }
                    if next.alone {
                        return;
                    }
                }
                Err(_) => {
                    at_once.take_back(next.id);
                    if batch.is_empty() {
                        self.on_refused(&next, Refusal::TooLarge);
                        continue;
                    }
                    self.queue.push_front(next);
                    return;
                }
            }
        }
    }

    pub(super) fn again(&mut self, submission: Arc<Submission>) {
        self.queue.push_front(submission);
    }

    pub(super) fn again_alone(&mut self, mut submission: Arc<Submission>) {
        Arc::make_mut(&mut submission).alone = true;
        self.queue.push_front(submission);
    }

    pub(super) fn on_accepted(&mut self, it: &Submission) {
        let (id, state) = (it.id, it.state());
        if planted!("M-31")
            && let Some(group) = self.groups.get_mut(&it.request)
        {
            let unknown = group.fates.iter_mut().zip(&group.ids);
            for (fate, id) in unknown.filter(|(fate, _)| fate.is_none()) {
                *fate = Some(Submitted::Accepted { id: *id, state });
            }
            group.fates[it.index] = None;
            group.missing = 1;
        }
        self.settle(it, Submitted::Accepted { id, state });
    }

    pub(super) fn on_refused(&mut self, it: &Submission, reason: Refusal) {
        self.settle(it, Submitted::Refused(reason));
    }

    /// A guard failed: the idempotency key is taken, the worker takes nothing any more, or the id is taken, which nobody
    /// else can have drawn.
    pub(super) fn on_disproved(&mut self, it: &Arc<Submission>, disproved: &Disproved<Job>) {
        let holder = disproved
            .at(submit_unique_guard(it.placed))
            .filter(|_| it.body.is_some());
        let fate = match holder {
            None if it.lost_its_worker(disproved) => return self.again(Arc::clone(it)),
            None => Submitted::Refused(Refusal::Invalid),
            // It was freed meanwhile.
            Some(None) => return self.again(Arc::clone(it)),
            Some(Some(found)) => match UniqueRecord::decode(&found.value) {
                Ok(first) if Some(&first.body) == it.body.as_ref() => {
                    Submitted::Repeated { id: first.task }
                }
                Ok(first) => Submitted::KeyTaken { id: first.task },
                Err(_) => Submitted::Refused(Refusal::Invalid),
            },
        };
        self.settle(it, fate);
    }

    fn settle(&mut self, it: &Submission, fate: Submitted) {
        let Some(group) = self.groups.get_mut(&it.request) else {
            return;
        };
        if planted!("P-ack-before-commit") && group.fates[it.index].is_some() {
            return;
        }
        assert!(group.fates[it.index].is_none(), "a task is settled once");
        group.fates[it.index] = Some(fate);
        group.missing -= 1;
        if group.missing == 0 {
            let group = self
                .groups
                .remove(&it.request)
                .expect("it was there a line ago");
            self.replies.push((it.request, group.reply()));
        }
    }

    /// The replies that are complete.
    pub(super) fn take_replies(&mut self) -> Vec<(RequestId, Reply)> {
        std::mem::take(&mut self.replies)
    }

    /// Time is over: what is not settled is unknown. It goes on being tried.
    pub(super) fn time_out(&mut self, request: RequestId) -> Option<Reply> {
        self.groups.remove(&request).map(Group::reply)
    }

    /// Every request that is still waiting, with what is known.
    pub(super) fn close(&mut self) -> Vec<(RequestId, Reply)> {
        let mut replies = self.take_replies();
        replies.extend(
            std::mem::take(&mut self.groups)
                .into_iter()
                .map(|(id, group)| (id, group.reply())),
        );
        replies
    }
}

impl Group {
    fn reply(self) -> Reply {
        let fates = self
            .fates
            .into_iter()
            .zip(self.ids)
            .map(|(fate, id)| fate.unwrap_or(Submitted::Unknown { id }));
        Reply::Submitted(fates.collect())
    }
}

fn record_of(spec: TaskSpec, now: Now) -> TaskRecord {
    let due = match spec.due {
        Due::Now => None,
        Due::In(span) => Some(now.wall.after(span)),
        Due::At(wall) => Some(wall),
    };
    TaskRecord {
        v: Version,
        kind: spec.kind,
        queue: spec.queue,
        priority: spec.priority,
        name: spec.name,
        payload: spec.payload,
        metadata: spec.metadata,
        created_at: now.wall,
        due: due.filter(|due| *due > now.wall),
        retries_max: spec.retries_max,
        retry: spec.retry,
        timeout: spec.timeout,
        unique: spec.key.map(|key| key.key_hash),
    }
}
