//! Lanes, as far as rows need them.

use windlass_core::ids::Revision;
use windlass_core::keyspace::{Key, LaneName};
use windlass_core::record::{LaneRecord, Record};
use windlass_core::store::{Guard, Step, Write};

use crate::bench::worker;

/// A writer's lane: what it guards and writes with every step.
pub(crate) struct Lane {
    key: Key,
    since: Option<Revision>,
    number: u64,
}

impl Lane {
    pub(crate) fn new(n: u8) -> Self {
        let name = LaneName {
            part: 'w',
            index: 0,
        };
        Self {
            key: Key::lane(&worker(n), name),
            since: None,
            number: 0,
        }
    }

    /// The step, as this lane sends it.
    pub(crate) fn seal(&mut self, mut step: Step) -> Step {
        self.number += 1;
        let key = self.key.clone();
        step.guards.push(match self.since {
            Some(since) => Guard::Unchanged {
                key: key.clone(),
                since,
            },
            None => Guard::Absent(key.clone()),
        });
        let record = LaneRecord {
            number: self.number,
            ..LaneRecord::default()
        };
        step.writes.push(Write::Put {
            key,
            value: record.encode(),
            lease: None,
        });
        step
    }

    pub(crate) fn moved(&mut self, at: Revision) {
        self.since = Some(at);
    }
}
