//! The view of a scheduler process: everything from `/config/` to `/queues/`, decoded and indexed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{RangeBounds, RangeInclusive};
use std::sync::Arc;

use super::counts::{DelayedCount, DelayedCounts};
use super::known::{Known, is_apart};
use super::news::News;
use super::spot::Spot;
use crate::ids::{LockName, NodeId, Priority, QueueName, Registration, Revision, TaskId, TaskType};
use crate::keyspace::{Key, Meaning, Place, Role};
use crate::lock::Waiters;
use crate::planted::planted;
use crate::record::{
    Carry, ClaimRecord, DeadRecord, DecodeError, DelayedRecord, EntryRecord, LockRecord,
    NodeConfig, NodeRecord, OfferRecord, QueueConfig, Record, TaskRecord,
};
use crate::store::{Change, Found, Item};
use crate::time::{Mono, Wall};

/// A waiting task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its entry's modification revision.
    pub since: Revision,
    /// What its next attempt starts with.
    pub carry: Carry,
}

/// A task that was given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its claim's creation revision.
    pub created: Revision,
    /// Its claim's modification revision.
    pub since: Revision,
    /// When this process first saw it.
    pub seen: Mono,
    /// When this process first saw its stop flag.
    pub flagged: Option<Mono>,
    /// Its claim. Of its task it carries what stands nowhere else.
    pub record: Box<ClaimRecord>,
}

/// A task that waits for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    /// Its key's modification revision.
    pub since: Revision,
    /// Its record.
    pub record: Box<DelayedRecord>,
}

/// A task whose attempts are spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its key's modification revision.
    pub since: Revision,
    /// Its record.
    pub record: Box<DeadRecord>,
}

/// A live node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which life it is.
    pub registration: Registration,
    /// What it last reported.
    pub record: NodeRecord,
}

/// What a worker takes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The offer's creation revision.
    pub created: Revision,
    /// The offer.
    pub record: Arc<OfferRecord>,
}

/// Everything that a scheduler process decides on.
#[derive(Debug, Default)]
pub struct ClusterView {
    /// Waiting tasks, by queue.
    pub entries: BTreeMap<QueueName, BTreeMap<Place, Waiting>>,
    /// Claims, by worker.
    pub claims: BTreeMap<NodeId, BTreeMap<Place, Claimed>>,
    /// Tasks that are not due, by time.
    pub delayed: BTreeMap<(Wall, TaskId), Delayed>,
    /// Tasks whose attempts are spent, by queue.
    pub dead: BTreeMap<QueueName, BTreeMap<TaskId, Dead>>,
    /// Live workers.
    pub workers: BTreeMap<NodeId, Node>,
    /// Live schedulers.
    pub schedulers: BTreeMap<NodeId, Node>,
    /// Live nodes whose records are not known.
    pub(super) strangers: BTreeMap<(Role, NodeId), Registration>,
    /// What workers take.
    pub offers: BTreeMap<NodeId, Offer>,
    /// Settings of queues, with their modification revision.
    pub queue_configs: BTreeMap<QueueName, (Revision, QueueConfig)>,
    /// Orders to nodes, with their modification revision.
    pub node_configs: BTreeMap<NodeId, (Revision, NodeConfig)>,
    /// Waiters of users' locks.
    pub locks: BTreeMap<LockName, Waiters>,
    /// Waiters of the janitor's lock.
    pub janitors: Waiters,
    pub(super) spots: BTreeMap<TaskId, Spot>,
    /// Tasks of which a claim holds the only copy.
    pub(super) only_claimed: BTreeSet<TaskId>,
    kinds: BTreeSet<TaskType>,
    pub(super) running: BTreeMap<QueueName, u64>,
    pub(super) waiting: DelayedCounts,
    foreign: u64,
    pub(super) known: Known,
    now: Mono,
}

impl ClusterView {
    /// Where a task is; `None` when it has ended or was never accepted.
    pub fn spot(&self, task: TaskId) -> Option<&Spot> {
        self.spots.get(&task)
    }

    /// The task, if it has no record of its own and its claim tells it.
    pub fn only_copy(&self, task: TaskId) -> Option<TaskRecord> {
        let Spot::Claim(worker, rank) = self.spot(task)? else {
            return None;
        };
        let place = rank.of(task);
        self.claim(worker, place)?.record.only_copy(place.priority)
    }

    /// The tasks among these that have no record of their own, in order.
    pub fn only_claimed(&self, ids: RangeInclusive<TaskId>) -> impl Iterator<Item = TaskId> {
        self.only_claimed.range(ids).copied()
    }

    /// The claim of a task that a worker has.
    pub fn claim(&self, worker: &NodeId, place: Place) -> Option<&Claimed> {
        self.claims.get(worker)?.get(&place)
    }

    /// The entry of a waiting task.
    pub fn entry(&self, queue: &QueueName, place: Place) -> Option<&Waiting> {
        self.entries.get(queue)?.get(&place)
    }

    /// How many tasks of a queue workers have.
    pub fn running(&self, queue: &QueueName) -> u64 {
        self.running.get(queue).copied().unwrap_or(0)
    }

    /// The queues of whose tasks workers have some.
    pub fn running_queues(&self) -> impl Iterator<Item = &QueueName> {
        self.running.keys()
    }

    /// How many tasks of a queue wait for their time.
    pub fn delayed_of(&self, queue: &QueueName) -> DelayedCount {
        self.waiting.of(queue)
    }

    /// How many tasks of all queues wait for their time.
    pub fn delayed_in_all(&self) -> DelayedCount {
        self.waiting.total()
    }

    /// The queues whose tasks wait for their time.
    pub fn delayed_queues(&self) -> impl Iterator<Item = &QueueName> {
        self.waiting.queues()
    }

    /// All tasks that live, and those whose attempts are spent, by id: with ids between these.
    pub fn spots(
        &self,
        ids: impl RangeBounds<TaskId>,
    ) -> impl DoubleEndedIterator<Item = (TaskId, &Spot)> {
        self.spots.range(ids).map(|(id, spot)| (*id, spot))
    }

    /// How many tasks live, or have spent their attempts.
    pub fn spots_len(&self) -> usize {
        self.spots.len()
    }

    /// How many records were skipped because a later version wrote them, or nobody could read them.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// What it holds, in sum.
    pub fn known(&mut self) -> &mut Known {
        &mut self.known
    }

    /// The settings of a queue.
    pub fn config(&self, queue: &QueueName) -> QueueConfig {
        self.queue_configs
            .get(queue)
            .map(|(_, config)| config.clone())
            .unwrap_or_default()
    }

    /// Takes a part of a full read.
    pub fn fill(&mut self, now: Mono, items: Vec<Item>, news: &mut Vec<News>) {
        self.now = now;
        for item in items {
            self.put(item, news);
        }
    }

    /// Takes changes, in order.
    pub fn apply(&mut self, now: Mono, changes: Vec<Change>, news: &mut Vec<News>) {
        self.now = now;
        let before = self.foreign;
        for change in changes {
            let at = change.at();
            match change {
                Change::Put(item) => self.put(item, news),
                Change::Delete { key, .. } => self.delete(&key, news),
            }
            self.known.passed(at);
            if planted!("M-36") && self.foreign > before {
                return;
            }
        }
    }

    fn put(&mut self, item: Item, news: &mut Vec<News>) {
        let meaning = Meaning::of(&item.key);
        let apart = is_apart(&meaning);
        if self
            .put_known(&item.key, meaning, &item.found, news)
            .is_err()
        {
            self.foreign += 1;
            // What was known under this key does not hold any more.
            self.delete(&item.key, news);
            self.known.put_unread(&item.key, item.found.modified);
            let meaning = Meaning::of(&item.key);
            news.extend(News::unread(&meaning));
            self.note_stranger(meaning, &item.found);
        } else if apart {
            self.known.put_apart(&item.key, item.found.modified);
        }
    }

    fn put_known(
        &mut self,
        key: &Key,
        meaning: Meaning,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        match meaning {
            Meaning::Entry(queue, place) => self.put_entry(key, queue, place, found, news)?,
            Meaning::Claim(worker, place) => self.put_claim(key, worker, place, found, news)?,
            Meaning::Delayed(due, task) => {
                let record = Box::new(DelayedRecord::decode(&found.value)?);
                let delayed = Delayed {
                    since: found.modified,
                    record,
                };
                self.waiting.count_in(&delayed.record);
                let before = self.delayed.insert((due, task), delayed);
                if let Some(before) = &before {
                    self.waiting.count_out(&before.record);
                }
                let before = before.map(|it| it.since);
                self.known.put(key, before, found.modified);
                self.spots.insert(task, Spot::Delayed(due));
                news.push(News::DelayedCame(due, task));
            }
            Meaning::Dead(queue, task) => self.put_dead(key, queue, task, found, news)?,
            Meaning::Node(role, id) => self.put_node(role, id, found, news)?,
            Meaning::Offer(worker) => {
                let record = Arc::new(OfferRecord::decode(&found.value)?);
                self.offers.insert(
                    worker.clone(),
                    Offer {
                        created: found.created,
                        record,
                    },
                );
                news.push(News::OfferChanged(worker));
            }
            Meaning::QueueConfig(queue) => {
                let config = QueueConfig::decode(&found.value)?;
                self.queue_configs
                    .insert(queue.clone(), (found.modified, config));
                news.push(News::QueueConfigured(queue));
            }
            Meaning::NodeConfig(node) => self.put_node_config(node, found, news)?,
            Meaning::LockWaiter(lock, waiter) => {
                LockRecord::decode(&found.value)?;
                self.locks
                    .entry(lock)
                    .or_default()
                    .set(waiter, found.created);
                news.push(News::LocksChanged);
            }
            Meaning::JanitorWaiter(waiter) => {
                self.janitors.set(waiter, found.created);
                news.push(News::LocksChanged);
            }
            // Not in the watched range.
            Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Task(_)
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Unique => {}
            Meaning::Foreign => self.foreign += 1,
        }
        Ok(())
    }

    fn put_dead(
        &mut self,
        key: &Key,
        queue: QueueName,
        task: TaskId,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        let record = Box::new(DeadRecord::decode(&found.value)?);
        let dead = Dead {
            since: found.modified,
            record,
        };
        let queued = self.dead.entry(queue.clone()).or_default();
        let before = queued.insert(task, dead).map(|it| it.since);
        self.known.put(key, before, found.modified);
        self.spots.insert(task, Spot::Dead(queue));
        news.push(News::PlaceLost(task));
        Ok(())
    }

    fn put_entry(
        &mut self,
        key: &Key,
        queue: QueueName,
        place: Place,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        let mut carry = EntryRecord::decode(&found.value)?.carry;
        carry.kind = self.intern(carry.kind);
        let queue = match self.entries.get_key_value(&queue) {
            Some((known, _)) => known.clone(),
            None => queue,
        };
        let waiting = Waiting {
            since: found.modified,
            carry,
        };
        let queued = self.entries.entry(queue.clone()).or_default();
        let before = queued.insert(place, waiting).map(|it| it.since);
        self.known.put(key, before, found.modified);
        self.spots
            .insert(place.task, Spot::Entry(queue.clone(), place.into()));
        news.push(News::EntryCame(queue, place));
        Ok(())
    }

    /// One copy of each type's name, however many tasks have it.
    fn intern(&mut self, kind: TaskType) -> TaskType {
        if let Some(known) = self.kinds.get(&kind) {
            return known.clone();
        }
        self.kinds.insert(kind.clone());
        kind
    }

    fn put_claim(
        &mut self,
        key: &Key,
        worker: NodeId,
        place: Place,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        let mut record = Box::new(ClaimRecord::decode(&found.value)?);
        // A task that has a record of its own is its worker's business.
        record.task = record.task.filter(|it| it.is_only_copy());
        if record.is_only_copy() {
            self.only_claimed.insert(place.task);
        } else {
            self.only_claimed.remove(&place.task);
        }
        self.spots
            .insert(place.task, Spot::Claim(worker.clone(), place.into()));
        let before = self
            .claims
            .get(&worker)
            .and_then(|claims| claims.get(&place));
        let counted = before.map(|it| it.record.queue.clone());
        let before = before.map(|it| (it.created, it.seen, it.flagged));
        let same = before.filter(|(created, ..)| *created == found.created);
        let flagged = record
            .stop
            .is_some()
            .then(|| same.and_then(|it| it.2).unwrap_or(self.now));
        let claimed = Claimed {
            created: found.created,
            since: found.modified,
            seen: same.map_or(self.now, |it| it.1),
            flagged,
            record,
        };
        if counted.as_ref() != Some(&claimed.record.queue) {
            if let Some(before) = counted {
                self.count_out(&before);
            }
            self.count_in(&claimed.record.queue);
        }
        let is_new = same.is_none();
        let (queue, assigned_at) = (claimed.record.queue.clone(), claimed.record.assigned_at);
        let held = self.claims.entry(worker.clone()).or_default();
        let before = held.insert(place, claimed);
        self.known
            .put(key, before.as_ref().map(|it| it.since), found.modified);
        if is_new {
            news.extend(before.map(|it| News::ClaimWent(worker.clone(), place, it)));
            news.push(News::ClaimCame(worker, place, queue, assigned_at));
        } else {
            news.push(News::ClaimChanged(worker, place));
        }
        Ok(())
    }

    fn put_node_config(
        &mut self,
        node: NodeId,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        let config = NodeConfig::decode(&found.value)?;
        self.node_configs
            .insert(node.clone(), (found.modified, config));
        news.push(News::NodeConfigured(node));
        Ok(())
    }

    fn count_in(&mut self, queue: &QueueName) {
        *self.running.entry(queue.clone()).or_default() += 1;
    }

    fn put_node(
        &mut self,
        role: Role,
        id: NodeId,
        found: &Found,
        news: &mut Vec<News>,
    ) -> Result<(), DecodeError> {
        let node = Node {
            registration: Registration(found.created),
            record: NodeRecord::decode(&found.value)?,
        };
        self.strangers.remove(&(role, id.clone()));
        let registration = node.registration;
        match role {
            Role::Scheduler => {
                if self.schedulers.insert(id, node).is_none() {
                    news.push(News::SchedulersChanged);
                }
            }
            Role::Worker => match self.workers.insert(id.clone(), node) {
                Some(before) if before.registration == registration => {
                    news.push(News::WorkerBeat(id))
                }
                Some(before) => {
                    news.push(News::WorkerWent(id.clone(), before.registration));
                    news.push(News::WorkerCame(id, registration));
                }
                None => news.push(News::WorkerCame(id, registration)),
            },
        }
        Ok(())
    }

    /// How urgent a task is, as far as its place tells.
    pub fn priority(&self, task: TaskId) -> Option<Priority> {
        match self.spot(task)? {
            Spot::Entry(_, rank) | Spot::Claim(_, rank) => Some(rank.priority()),
            Spot::Delayed(due) => self
                .delayed
                .get(&(*due, task))
                .map(|delayed| delayed.record.priority),
            Spot::Dead(queue) => self
                .dead
                .get(queue)?
                .get(&task)
                .map(|dead| dead.record.priority),
        }
    }
}
