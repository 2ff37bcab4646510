//! What leaves a cluster's view.

use std::collections::BTreeMap;

use super::cluster::ClusterView;
use super::known::is_apart;
use super::news::News;
use super::spot::Spot;
use crate::ids::{LockName, NodeId, QueueName, TaskId};
use crate::keyspace::{Key, Meaning, Place, Role};

impl ClusterView {
    pub(super) fn delete(&mut self, key: &Key, news: &mut Vec<News>) {
        let meaning = Meaning::of(key);
        if is_apart(&meaning) {
            self.known.remove_apart(key);
        }
        match meaning {
            Meaning::Entry(queue, place) => self.delete_entry(key, queue, place, news),
            Meaning::Claim(worker, place) => self.delete_claim(key, worker, place, news),
            Meaning::Delayed(due, task) => {
                let delayed = self.delayed.remove(&(due, task));
                self.known.remove(key, delayed.as_ref().map(|it| it.since));
                if let Some(delayed) = delayed {
                    self.waiting.count_out(&delayed.record);
                    self.leave(
                        task,
                        |spot| matches!(spot, Spot::Delayed(at) if *at == due),
                        news,
                    );
                    news.push(News::DelayedWent(due, task, delayed.record));
                }
            }
            Meaning::Dead(queue, task) => {
                let dead = remove_inner(&mut self.dead, &queue, &task);
                self.known.remove(key, dead.as_ref().map(|it| it.since));
                if dead.is_some() {
                    self.leave(
                        task,
                        |spot| matches!(spot, Spot::Dead(q) if *q == queue),
                        news,
                    );
                }
            }
            Meaning::Node(role, id) => self.delete_node(role, id, news),
            Meaning::Offer(worker) => {
                if self.offers.remove(&worker).is_some() {
                    news.push(News::OfferChanged(worker));
                }
            }
            Meaning::QueueConfig(queue) => {
                self.queue_configs.remove(&queue);
                news.push(News::QueueConfigured(queue));
            }
            Meaning::NodeConfig(node) => {
                self.node_configs.remove(&node);
                news.push(News::NodeConfigured(node));
            }
            Meaning::LockWaiter(lock, waiter) => {
                self.delete_waiter(&lock, &waiter);
                news.push(News::LocksChanged);
            }
            Meaning::JanitorWaiter(waiter) => {
                self.janitors.remove(&waiter);
                news.push(News::LocksChanged);
            }
            Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Task(_)
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Unique
            | Meaning::Foreign => {}
        }
    }

    fn delete_entry(&mut self, key: &Key, queue: QueueName, place: Place, news: &mut Vec<News>) {
        let entry = remove_inner(&mut self.entries, &queue, &place);
        self.known.remove(key, entry.as_ref().map(|it| it.since));
        if let Some(waiting) = entry {
            self.leave(
                place.task,
                |spot| matches!(spot, Spot::Entry(q, p) if *q == queue && *p == place.into()),
                news,
            );
            news.push(News::EntryWent(queue, place, waiting.carry.kind));
        }
    }

    fn delete_claim(&mut self, key: &Key, worker: NodeId, place: Place, news: &mut Vec<News>) {
        let claim = remove_inner(&mut self.claims, &worker, &place);
        self.known.remove(key, claim.as_ref().map(|it| it.since));
        if let Some(claimed) = claim {
            self.count_out(&claimed.record.queue);
            if claimed.record.is_only_copy() {
                self.only_claimed.remove(&place.task);
            }
            self.leave(
                place.task,
                |spot| matches!(spot, Spot::Claim(w, p) if *w == worker && *p == place.into()),
                news,
            );
            news.push(News::ClaimWent(worker, place, claimed));
        }
    }

    pub(super) fn delete_waiter(&mut self, lock: &LockName, waiter: &NodeId) {
        if let Some(waiters) = self.locks.get_mut(lock) {
            waiters.remove(waiter);
            if waiters.is_empty() {
                self.locks.remove(lock);
            }
        }
    }

    pub(super) fn delete_node(&mut self, role: Role, id: NodeId, news: &mut Vec<News>) {
        let stranger = self.strangers.remove(&(role, id.clone()));
        match role {
            Role::Scheduler => {
                if self.schedulers.remove(&id).is_some() {
                    news.push(News::SchedulersChanged);
                }
            }
            Role::Worker => {
                let known = self.workers.remove(&id).map(|node| node.registration);
                if let Some(registration) = known.or(stranger) {
                    news.push(News::WorkerWent(id, registration));
                }
            }
        }
    }

    pub(super) fn count_out(&mut self, queue: &QueueName) {
        let count = self
            .running
            .get_mut(queue)
            .expect("a claim was counted when it came");
        *count -= 1;
        if *count == 0 {
            self.running.remove(queue);
        }
    }

    /// The task is not there any more, unless a later write of the same revision has put it elsewhere.
    pub(super) fn leave(
        &mut self,
        task: TaskId,
        is_there: impl Fn(&Spot) -> bool,
        news: &mut Vec<News>,
    ) {
        if self.spots.get(&task).is_some_and(is_there) {
            self.spots.remove(&task);
            news.push(News::PlaceLost(task));
        }
    }
}

fn remove_inner<K: Ord, L: Ord, V>(
    outer: &mut BTreeMap<K, BTreeMap<L, V>>,
    key: &K,
    inner: &L,
) -> Option<V> {
    let map = outer.get_mut(key)?;
    let value = map.remove(inner);
    if map.is_empty() {
        outer.remove(key);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Priority, Registration, Revision};
    use crate::record::{Carry, ClaimRecord, Record, Version};
    use crate::store::{Change, Item};
    use crate::time::{Millis, Mono, Wall};

    fn claim(queue: &str) -> ClaimRecord {
        ClaimRecord {
            v: Version,
            carry: Carry {
                kind: "echo".parse().unwrap(),
                timeout: Millis::from_secs(1),
                retries: 0,
                losses: 0,
                run: 0,
                notes: vec![],
            },
            queue: queue.parse().unwrap(),
            registration: Registration(Revision(1)),
            assigned_at: Wall::from_millis(1),
            stop: None,
            progress: None,
            task: None,
        }
    }

    /// No step of ours does it, but what others write into the store must not end every scheduler process.
    #[test]
    fn a_claim_that_somebody_moves_to_another_queue_is_counted_there() {
        let place = Place {
            priority: Priority::NORMAL,
            timestamp: Wall::from_millis(1),
            task: TaskId::floor_of(Wall::from_millis(1)),
        };
        let key = Key::claim(&"w".parse().unwrap(), place);
        let (mut view, mut news) = (ClusterView::default(), Vec::new());
        for (at, queue) in [(5, "a"), (6, "b"), (7, "b")] {
            let value = claim(queue).encode();
            let item = Item::new(key.clone(), Revision(5), Revision(at), value);
            view.apply(Mono::ZERO, vec![Change::Put(item)], &mut news);
        }
        let counts = |view: &ClusterView| ["a", "b"].map(|it| view.running(&it.parse().unwrap()));
        assert_eq!(counts(&view), [0, 1]);
        let gone = Change::Delete {
            key,
            at: Revision(8),
        };
        view.apply(Mono::ZERO, vec![gone], &mut news);
        assert_eq!(counts(&view), [0, 0]);
    }
}
