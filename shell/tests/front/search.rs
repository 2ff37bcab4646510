//! What the gateway that answers from memory finds, and why it says that a task waits.

use windlass_core::filter::Filter;
use windlass_core::gateway::{Estimate, Order, Reply, TaskView, Why, WhyReason};
use windlass_core::ids::TaskId;
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
}
