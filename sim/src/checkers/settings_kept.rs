//! S8: what an operator was acknowledged stays so: no later write of a queue's settings takes back a part that nobody
//! asked to change then, and no order to drain is forgotten while the node that it is for lives, or left unheeded: at the
//! end no worker that could hear of its order offers to take tasks.
//!
//! No fault suspends it. A request without a certain reply may be applied at any later time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::balance::Strategy;
use windlass_core::gateway::{Reply, Request, RequestId};
use windlass_core::ids::{NodeId, QueueName, Registration};
use windlass_core::keyspace::Role;
use windlass_core::record::QueueConfig;
use windlass_core::time::Mono;

use super::roster::Roster;
use super::{Checker, Findings, Rule};
use crate::book::{Drain, Other};
use crate::fact::Fact;

/// How long a worker may take to hear of an order once nothing is in its way.
const HEEDED_AFTER: Duration = Duration::from_secs(5);

/// Remembers the settings, who wants to change them, and the orders to nodes that live.
#[derive(Debug, Default)]
pub(super) struct SettingsKept {
    /// `None` while they cannot be read.
    queues: BTreeMap<QueueName, Option<(bool, Strategy)>>,
    wishes: BTreeMap<RequestId, Wish>,
    alive: BTreeMap<NodeId, Registration>,
    orders: BTreeMap<NodeId, Drain>,
    offers: BTreeSet<NodeId>,
    roster: Roster,
}

#[derive(Debug)]
struct Wish {
    queue: QueueName,
    paused: Option<bool>,
    strategy: Option<Strategy>,
}

impl SettingsKept {
    fn settings(
        &mut self,
        at: Mono,
        queue: &QueueName,
        now: Option<(bool, Strategy)>,
        found: &mut Findings,
    ) {
        let default = QueueConfig::default();
        let before = self
            .queues
            .insert(queue.clone(), now)
            .unwrap_or(Some((default.paused, default.strategy)));
        let (Some(before), Some(now)) = (before, now) else {
            return;
        };
        let wishes = || self.wishes.values().filter(|wish| wish.queue == *queue);
        if before.0 != now.0 && !wishes().any(|wish| wish.paused == Some(now.0)) {
            let what = format!("nobody asked that queue {queue} be paused: {}", now.0);
            found.add(self, at, None, None, what);
        }
        if before.1 != now.1 && !wishes().any(|wish| wish.strategy == Some(now.1)) {
            let what = format!("nobody asked for {:?} in queue {queue}", now.1);
            found.add(self, at, None, None, what);
        }
    }

    fn orders(&mut self, at: Mono, node: &NodeId, now: Option<Drain>, found: &mut Findings) {
        let before = match now {
            Some(drain) => self.orders.insert(node.clone(), drain),
            None => self.orders.remove(node),
        };
        let binds = |drain: Option<Drain>| drain.is_some_and(|it| self.binds(node, it));
        if binds(before) && !binds(now) {
            let what = format!("the order to {node} was forgotten, and it lives");
            found.add(self, at, None, None, what);
        }
    }

    /// Whether the order is for the life that the node lives.
    fn binds(&self, node: &NodeId, drain: Drain) -> bool {
        let life = self.alive.get(node);
        life.is_some_and(|life| drain.life.is_none_or(|it| it == *life))
    }
}

impl Checker for SettingsKept {
    fn rule(&self) -> Rule {
        Rule::S8
    }

    fn name(&self) -> &'static str {
        "settings_kept"
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
                    match life {
                        Some(life) => self.alive.insert(id.clone(), Registration(life.created)),
                        None => self.alive.remove(id),
                    };
                }
            }
            for other in &revised.others {
                if let Other::Queue { queue, settings } = other {
                    self.settings(at, queue, *settings, found);
                }
                if let Other::Offer { id, life } = other {
                    match life {
                        Some(_) => self.offers.insert(id.clone()),
                        None => self.offers.remove(id),
                    };
                }
                if let Other::Orders { node, drain } = other {
                    self.orders(at, node, *drain, found);
                }
            }
        }
        if let Fact::Asked { id, request, .. } = fact
            && let Request::ConfigureQueue {
                queue,
                strategy,
                paused,
            } = &**request
        {
            let wish = Wish {
                queue: queue.clone(),
                paused: *paused,
                strategy: *strategy,
            };
            self.wishes.insert(*id, wish);
        }
        if let Fact::Answered { id, reply, .. } = fact
            && !matches!(**reply, Reply::TimedOut)
        {
            self.wishes.remove(id);
        }
    }

    fn finish(&mut self, at: Mono, found: &mut Findings) {
        let unheeded = self.orders.iter().filter(|(node, drain)| {
            let mut named = self.roster.iter().filter(|(_, it)| it.id == **node);
            let whole = named.all(|(ix, _)| self.roster.hurt_until(ix).after(HEEDED_AFTER) <= at);
            whole && self.binds(node, **drain) && self.offers.contains(*node)
        });
        for (node, _) in unheeded {
            let what = format!("{node} was ordered to drain, and offers to take tasks");
            found.add(self, at, None, None, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::ids::Revision;

    use super::super::testing::History;
    use super::*;
    use crate::book::Life;

    fn history() -> History {
        History::of(SettingsKept::default())
    }

    fn ask(h: &mut History, id: u64, strategy: Option<Strategy>, paused: Option<bool>) {
        let queue = "q".parse().unwrap();
        h.ask(
            id,
            Request::ConfigureQueue {
                queue,
                strategy,
                paused,
            },
        );
    }

    fn set(h: &mut History, paused: bool, strategy: Strategy) {
        let queue = "q".parse().unwrap();
        let settings = Some((paused, strategy));
        h.store_bare(vec![], vec![Other::Queue { queue, settings }]);
    }

    fn order(h: &mut History, life: Option<u64>) {
        let life = life.map(|at| Registration(Revision(at)));
        let drain = life.map(|life| Drain { life: Some(life) });
        let node = "w1".parse().unwrap();
        h.store_bare(vec![], vec![Other::Orders { node, drain }]);
    }

    fn born(h: &mut History) -> u64 {
        let created = h.next_revision();
        let lease = None;
        h.node_key("w1", Some(Life { created, lease }));
        created.0
    }

    #[test]
    fn what_was_asked_for_may_change() {
        let mut h = history();
        ask(&mut h, 1, Some(Strategy::Random), None);
        ask(&mut h, 2, None, Some(true));
        set(&mut h, true, QueueConfig::default().strategy);
        h.answer(2, Reply::Done);
        set(&mut h, true, Strategy::Random);
        h.answer(1, Reply::Done);
        h.assert_clean();
    }

    #[test]
    fn a_change_that_is_lost_to_another_is_found() {
        let mut h = history();
        ask(&mut h, 1, Some(Strategy::Random), None);
        ask(&mut h, 2, None, Some(true));
        set(&mut h, true, QueueConfig::default().strategy);
        h.answer(2, Reply::Done);
        set(&mut h, false, Strategy::Random);
        h.assert_tripped("nobody asked that queue q be paused: false");
    }

    #[test]
    fn a_request_without_a_certain_reply_may_be_applied_later() {
        let mut h = history();
        ask(&mut h, 1, Some(Strategy::Random), None);
        h.answer(1, Reply::TimedOut);
        set(&mut h, false, Strategy::Random);
        h.assert_clean();
        set(&mut h, false, Strategy::Weighted);
        h.assert_tripped("nobody asked for Weighted");
    }

    #[test]
    fn an_order_that_is_not_heeded_is_found() {
        for heeded in [true, false] {
            let mut h = history();
            h.worker(1, "w1");
            let life = born(&mut h);
            let offer = h.life(None);
            h.offer("w1", Some(offer));
            order(&mut h, Some(life));
            if heeded {
                h.offer("w1", None);
            }
            h.pass(10_000);
            h.finish();
            if heeded {
                h.assert_clean();
            } else {
                h.assert_tripped("w1 was ordered to drain");
            }
        }
    }

    #[test]
    fn an_order_is_forgotten_only_after_the_life_that_it_is_for() {
        let mut h = history();
        let life = born(&mut h);
        order(&mut h, Some(life));
        h.node_key("w1", None);
        order(&mut h, None);
        let next = born(&mut h);
        order(&mut h, Some(life));
        order(&mut h, Some(next));
        h.assert_clean();
        order(&mut h, None);
        h.assert_tripped("the order to w1 was forgotten");
    }
}
