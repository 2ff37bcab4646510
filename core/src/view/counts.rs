//! How many tasks of each queue wait for their time: counted as they come and go, so that nobody has to look at all.

use std::collections::BTreeMap;

use crate::ids::QueueName;
use crate::record::DelayedRecord;

/// Tasks that wait for their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelayedCount {
    /// Delayed submissions.
    pub scheduled: u64,
    /// Back-offs after a failure.
    pub retrying: u64,
}

impl DelayedCount {
    /// Both.
    pub fn all(self) -> u64 {
        self.scheduled + self.retrying
    }

    fn of(&mut self, record: &DelayedRecord) -> &mut u64 {
        if record.carry.retries > 0 {
            &mut self.retrying
        } else {
            &mut self.scheduled
        }
    }
}

/// The counts of all queues.
#[derive(Debug, Default)]
pub(super) struct DelayedCounts {
    queues: BTreeMap<QueueName, DelayedCount>,
    total: DelayedCount,
}

impl DelayedCounts {
    pub(super) fn of(&self, queue: &QueueName) -> DelayedCount {
        self.queues.get(queue).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> DelayedCount {
        self.total
    }

    /// The queues that have any.
    pub(super) fn queues(&self) -> impl Iterator<Item = &QueueName> {
        self.queues.keys()
    }

    pub(super) fn count_in(&mut self, record: &DelayedRecord) {
        let count = self.queues.entry(record.queue.clone()).or_default();
        *count.of(record) += 1;
        *self.total.of(record) += 1;
    }

    pub(super) fn count_out(&mut self, record: &DelayedRecord) {
        let counted = "what waits for its time was counted when it came";
        let count = self.queues.get_mut(&record.queue).expect(counted);
        *count.of(record) -= 1;
        if count.all() == 0 {
            self.queues.remove(&record.queue);
        }
        *self.total.of(record) -= 1;
    }
}
