//! What nodes that are gone leave behind: the totals of their lanes, and orders to them.

use crate::ids::{NodeId, Revision};
use crate::keyspace::{Key, Meaning, Role};
use crate::planted::{planted, unless_planted};
use crate::record::{LaneRecord, NodeConfig, Record};
use crate::store::{Guard, Item, Step, Write};
use crate::view::ClusterView;

/// The most guards that a fold has before it takes another lane: there must be room for the guards that both of a node's
/// possible keys are absent, and for the folded record.
const GUARDS_MAX: usize = 90;

/// Removes the first orders whose node is gone, or has another life than the one that they are for.
pub(super) fn forget_orders(lock: Guard, view: &ClusterView) -> Option<Step> {
    let gone = |(node, (_, config)): &(&NodeId, &(Revision, NodeConfig))| {
        let worker = view.worker_life(node);
        !planted!("P-drain-order-outlives")
            && worker.is_none_or(|it| config.life.is_some_and(|life| life != it))
            && !view.has_scheduler(node)
    };
    let (node, (since, config)) = view.node_configs.iter().find(gone)?;
    let key = Key::node_config(node);
    let own = Key::node(Role::Worker, node);
    let gone = match config.life {
        Some(life) => Guard::Gone {
            key: own,
            since: life.0,
        },
        None => Guard::Absent(own),
    };
    let same = Guard::Unchanged {
        key: key.clone(),
        since: *since,
    };
    let guards = vec![
        lock,
        unless_planted!("P-forget-orders-unguarded", gone),
        unless_planted!("P-forget-orders-unguarded", same),
    ];
    Some(Step::new(guards, vec![Write::Delete { key }]))
}

/// Adds the totals of nodes that are gone to the folded ones: of as many of the lanes that were read as fit.
pub(super) fn fold(me: &NodeId, lock: Guard, lanes: &[Item], view: &ClusterView) -> Option<Step> {
    let live = view.live_nodes();
    let folded = lanes
        .iter()
        .find(|item| Meaning::of(&item.key) == Meaning::FoldedTotals);
    let mut record = folded
        .and_then(|item| LaneRecord::decode(&item.found.value).ok())
        .unwrap_or_default();
    let mut step = Step::new(vec![lock], Vec::new());
    for item in lanes {
        let Meaning::Lane(node) = Meaning::of(&item.key) else {
            continue;
        };
        let Ok(lane) = LaneRecord::decode(&item.found.value) else {
            continue;
        };
        if node == *me || live.contains(&node) || step.guards.len() > GUARDS_MAX {
            continue;
        }
        for role in [Role::Scheduler, Role::Worker] {
            let absent = Guard::Absent(Key::node(role, &node));
            let absent = unless_planted!("P-fold-node-unguarded", absent);
            if !step.guards.contains(&absent) {
                step.guards.push(absent);
            }
        }
        let own = Guard::Unchanged {
            key: item.key.clone(),
            since: item.found.modified,
        };
        step.guards
            .push(unless_planted!("P-fold-lane-unguarded", own));
        step.writes.push(Write::Delete {
            key: item.key.clone(),
        });
        record.totals.add(&lane.totals);
    }
    if step.writes.is_empty() {
        return None;
    }
    let key = Key::folded_totals();
    step.guards.push(match folded {
        Some(item) => Guard::Unchanged {
            key: key.clone(),
            since: item.found.modified,
        },
        None => Guard::Absent(key.clone()),
    });
    record.number += 1;
    step.writes.push(Write::Put {
        key,
        value: record.encode(),
        lease: None,
    });
    Some(step)
}
