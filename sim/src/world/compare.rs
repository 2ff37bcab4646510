//! Is what a scheduler believes what the store holds, when both are at the same revision?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::iter::once;

use windlass_core::ids::Revision;
use windlass_core::keyspace::{Key, Meaning, Range, Role};
use windlass_core::kv::Kv;
use windlass_core::store::Change;
use windlass_core::time::Mono;
use windlass_core::view::ClusterView;

use super::{NodeIx, World};
use crate::fact::Fact;

/// One of this many chances is taken.
const SAMPLED: u64 = 16;

impl World {
    /// Sometimes compares a node's view with the store, if both are at the same revision.
    pub(super) fn compare_view(&mut self, node: NodeIx) {
        self.look_back(node);
        if self.is_recorded() && self.server(node).is_some() && self.network.below(SAMPLED) == 0 {
            let at = self.kv.revision();
            if self.server(node).and_then(|it| it.view_at()) == Some(at) {
                let mut truth = std::mem::take(&mut self.truth);
                truth.catch_up(&self.kv);
                self.compare_with(node, &truth.view);
                self.truth = truth;
            }
        }
    }

    /// What a process once knew it may not know, while it reads anew; what it knows may not be older.
    fn look_back(&mut self, node: NodeIx) {
        let Some(at) = self.server(node).and_then(|it| it.view_at()) else {
            return;
        };
        let reached = std::mem::replace(&mut self.nodes[node].reached, at);
        if at < reached {
            let difference = Some(format!("it went back from revision {reached}"));
            self.tell(|| Fact::Viewed {
                node,
                at,
                difference,
            });
        }
    }

    /// Whether a scheduler's view has reached the store's revision.
    pub fn is_up_to_date(&self, node: NodeIx) -> bool {
        self.server(node).and_then(|it| it.view_at()) == Some(self.kv.revision())
    }

    /// Compares a node's view with the whole store, if both are at the same revision. Says whether they were.
    pub fn compare_view_now(&mut self, node: NodeIx) -> bool {
        let mut truth = Truth::default();
        let at = self.kv.revision();
        let same = self.server(node).and_then(|it| it.view_at()) == Some(at);
        if same {
            truth.read(&self.kv);
            self.compare_with(node, &truth.view);
        }
        same
    }

    fn compare_with(&mut self, node: NodeIx, truth: &ClusterView) {
        let at = self.kv.revision();
        let server = self.server(node).expect("whoever has a view is up");
        let difference = difference(server.view(), truth);
        self.tell(|| Fact::Viewed {
            node,
            at,
            difference,
        });
    }
}

/// What somebody knows who has just read the whole store. It is kept, so that only what was written since need be decoded.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The store's changes that it has taken; `None` when it has read nothing.
    at: Option<Revision>,
    view: ClusterView,
}

impl Truth {
    /// Reads the whole store.
    fn read(&mut self, kv: &Kv) {
        let items = kv
            .entries(&Range::cluster())
            .map(|(key, entry)| entry.item(key))
            .collect();
        self.view = ClusterView::default();
        self.view.fill(Mono::ZERO, items, &mut Vec::new());
        self.at = Some(kv.revision());
    }

    /// Reads what was written since the last time; everything, when the store has forgotten what that was.
    fn catch_up(&mut self, kv: &Kv) {
        let known = self
            .at
            .and_then(|at| kv.changes_since(&Range::cluster(), at).ok());
        let Some(changes) = known else {
            return self.read(kv);
        };
        let keys: BTreeSet<&Key> = changes.iter().map(Change::key).collect();
        let mut items = Vec::new();
        for key in keys {
            // A view's own way to forget is what is being judged: here it is done by hand.
            self.forget(Meaning::of(key));
            items.extend(kv.entry(key).map(|entry| entry.item(key)));
        }
        self.view.fill(Mono::ZERO, items, &mut Vec::new());
        self.at = Some(kv.revision());
    }

    fn forget(&mut self, meaning: Meaning) {
        let view = &mut self.view;
        match meaning {
            Meaning::Entry(queue, place) => forget_inner(&mut view.entries, &queue, &place),
            Meaning::Claim(worker, place) => forget_inner(&mut view.claims, &worker, &place),
            Meaning::Dead(queue, task) => forget_inner(&mut view.dead, &queue, &task),
            Meaning::Delayed(due, task) => drop(view.delayed.remove(&(due, task))),
            Meaning::Node(Role::Worker, id) => drop(view.workers.remove(&id)),
            Meaning::Node(Role::Scheduler, id) => drop(view.schedulers.remove(&id)),
            Meaning::Offer(worker) => drop(view.offers.remove(&worker)),
            Meaning::QueueConfig(queue) => drop(view.queue_configs.remove(&queue)),
            Meaning::NodeConfig(node) => drop(view.node_configs.remove(&node)),
            Meaning::LockWaiter(lock, waiter) => {
                if let Some(waiters) = view.locks.get_mut(&lock) {
                    waiters.remove(&waiter);
                    if waiters.is_empty() {
                        view.locks.remove(&lock);
                    }
                }
            }
            Meaning::JanitorWaiter(waiter) => view.janitors.remove(&waiter),
            Meaning::Lane(_)
            | Meaning::FoldedTotals
            | Meaning::Task(_)
            | Meaning::Outcome(_)
            | Meaning::Run(_)
            | Meaning::Unique
            | Meaning::Foreign => {}
        }
    }
}

fn forget_inner<K: Ord, L: Ord, V>(map: &mut BTreeMap<K, BTreeMap<L, V>>, outer: &K, inner: &L) {
    if let Some(map) = map.get_mut(outer) {
        map.remove(inner);
    }
}

/// The first thing in which two views differ, but for when something was seen.
fn difference(view: &ClusterView, truth: &ClusterView) -> Option<String> {
    differs("entries", flat(&view.entries), flat(&truth.entries))
        .or_else(|| differs("claims", claims(view), claims(truth)))
        .or_else(|| differs("dead", flat(&view.dead), flat(&truth.dead)))
        .or_else(|| differs("delayed", view.delayed.iter(), truth.delayed.iter()))
        .or_else(|| differs("workers", view.workers.iter(), truth.workers.iter()))
        .or_else(|| {
            differs(
                "schedulers",
                view.schedulers.iter(),
                truth.schedulers.iter(),
            )
        })
        .or_else(|| differs("offers", view.offers.iter(), truth.offers.iter()))
        .or_else(|| {
            let (known, true_ones) = (view.queue_configs.iter(), truth.queue_configs.iter());
            differs("queue settings", known, true_ones)
        })
        .or_else(|| {
            differs(
                "orders",
                view.node_configs.iter(),
                truth.node_configs.iter(),
            )
        })
        .or_else(|| differs("locks", view.locks.iter(), truth.locks.iter()))
        .or_else(|| differs("janitors", once(&view.janitors), once(&truth.janitors)))
}

fn flat<K, L, V>(map: &BTreeMap<K, BTreeMap<L, V>>) -> impl Iterator<Item = (&K, &L, &V)> + Clone {
    map.iter()
        .flat_map(|(outer, map)| map.iter().map(move |(inner, it)| (outer, inner, it)))
}

fn claims(view: &ClusterView) -> impl Iterator<Item = impl PartialEq + Debug> + Clone {
    flat(&view.claims).map(|(worker, place, it)| (worker, place, it.created, it.since, &it.record))
}

fn differs<T: PartialEq + Debug>(
    what: &str,
    known: impl Iterator<Item = T> + Clone,
    true_ones: impl Iterator<Item = T> + Clone,
) -> Option<String> {
    if known.clone().eq(true_ones.clone()) {
        return None;
    }
    let (known, true_ones): (Vec<T>, Vec<T>) = (known.collect(), true_ones.collect());
    Some(format!("{what}: believed {known:?}, true {true_ones:?}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windlass_core::gateway::Request;

    use super::*;
    use crate::network::Rudeness;
    use crate::scenario::Scenario;

    #[test]
    fn a_truth_that_caught_up_is_the_one_that_is_read() {
        let scenario = Scenario::of_seed(3);
        let mut world = World::new(3, Rudeness::default());
        let server = world.add_server("s1", |_| {});
        let worker = world.add_worker("w1", |config| config.slots = 2);
        let (mut caught_up, mut steps) = (Truth::default(), 0);
        for act in &scenario.acts {
            if let crate::scenario::Act::Submit { tasks, .. } = &act.what {
                world.request(server, crate::clients::submit(tasks));
            }
            world.run_for(Duration::from_millis(300));
            if steps == 20 {
                world.crash(worker);
            }
            steps += 1;
            caught_up.catch_up(&world.kv);
            let mut read = Truth::default();
            read.read(&world.kv);
            assert_eq!(difference(&caught_up.view, &read.view), None);
        }
        let drain = Request::Drain(world.id_of(worker).clone());
        world.request(server, drain);
        world.run_for(Duration::from_secs(30));
        let stale = difference(&caught_up.view, &{
            let mut read = Truth::default();
            read.read(&world.kv);
            read.view
        });
        assert!(stale.is_some(), "the store moved on");
        caught_up.catch_up(&world.kv);
        let mut read = Truth::default();
        read.read(&world.kv);
        assert_eq!(difference(&caught_up.view, &read.view), None);
    }
}
