//! What the gateway that answers from memory finds, counts and shows, and why it says that a task waits.

use std::collections::BTreeMap;

use windlass_core::filter::Filter;
use windlass_core::gateway::{
    Estimate, NodeView, Order, QueueView, Reply, StatsView, TaskState, TaskView, Why, WhyReason,
};
use windlass_core::ids::{QueueName, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::record::Totals;
use windlass_core::room::{Level, Room};
use windlass_core::store::Usage;
use windlass_core::time::{Millis, Wall};

use crate::fake::Memory;

impl Memory {
    pub(crate) fn found(
        &self,
        filter: &Filter,
        order: Order,
        limit: u32,
        after: Option<TaskId>,
    ) -> (Vec<TaskView>, Option<TaskId>) {
        let is_behind = |id: TaskId| {
            after.is_none_or(|after| match order {
                Order::Oldest => id > after,
                Order::Newest => id < after,
            })
        };
        let now = Wall::from_millis(1_700_000_000_000);
        let mut found: Vec<TaskView> = self
            .tasks
            .values()
            .filter(|view| filter.judge(&view.facts(), now) == Some(true) && is_behind(view.id))
            .cloned()
            .collect();
        if order == Order::Newest {
            found.reverse();
        }
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|view| view.id);
        (found, next)
    }

    pub(crate) fn why(&self, task: TaskId) -> Reply {
        match self.tasks.get(&task) {
            Some(view) => Reply::Why(Box::new(Why {
                id: task,
                state: view.state,
                reasons: vec![
                    WhyReason::QueuePaused,
                    WhyReason::NoFreeSlot {
                        slots: 4,
                        workers: [&"w1".parse().unwrap()].into_iter().collect(),
                    },
                    WhyReason::NotDue {
                        due_at: Wall::from_millis(0),
                        after_failure: true,
                    },
                ],
                ahead: Some(7),
                estimate: Some(Estimate {
                    start_at: Wall::from_millis(5_334),
                    wait: Millis::new(5_334),
                    departed: 90,
                    over: Millis::from_secs(60),
                }),
            })),
            None => Reply::NotFound,
        }
    }

    pub(crate) fn stats(&self) -> StatsView {
        let count = |state| {
            self.tasks
                .values()
                .filter(|view| view.state == state)
                .count() as u64
        };
        StatsView {
            totals: Totals {
                accepted: self.tasks.len() as u64,
                completed: count(TaskState::Completed),
                cancelled: count(TaskState::Cancelled),
                refused_stale: 2,
                ..Totals::default()
            },
            scheduled: count(TaskState::Scheduled),
            pending: count(TaskState::Pending),
            running: 0,
            retrying: 0,
            dead: 0,
            schedulers: 1,
            workers: 1,
            slots: 4,
            foreign: 0,
            drift_repaired: 0,
            room: Room {
                level: Level::Tight,
                usage: Some(Usage {
                    used: 600,
                    size: 700,
                    quota: Some(1_000),
                    full: false,
                }),
                kept: Some(Millis::from_secs(90)),
            },
        }
    }

    pub(crate) fn queue(&self, name: &QueueName) -> QueueView {
        let (strategy, paused) = self.queues[name];
        QueueView {
            name: name.clone(),
            strategy,
            paused,
            pending: 1,
            running: 2,
            delayed: 3,
            dead: 4,
            oldest: Some(Wall::from_millis(1_700_000_000_000)),
        }
    }

    pub(crate) fn node(&self) -> NodeView {
        NodeView {
            id: "w1".parse().unwrap(),
            role: Role::Worker,
            version: "0.1.0".into(),
            started_at: Wall::from_millis(1_700_000_000_000),
            slots: 4,
            total_run: Some(1_234),
            claims: 1,
            weight: 1,
            queues: vec![],
            types: vec!["echo".parse().unwrap()],
            labels: BTreeMap::new(),
            draining: self.drained,
            cpu_permille: 10,
            memory_bytes: 1,
        }
    }
}
