//! What a gateway has in hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::ids::{Priority, QueueName, TaskId};
use windlass_core::record::{Json, TaskRecord, Version};
use windlass_core::retry::RetryPolicy;
use windlass_core::rng::Rng;
use windlass_core::time::{Millis, Mono, Now};

use super::actor::{Fact, Sight};
use super::record::{Epoch, Tags};
use super::search::Search;

/// A submission under way.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) number: u32,
    pub(super) key: Option<u8>,
    pub(super) id: TaskId,
    pub(super) task: TaskRecord,
    /// The cell that the queue left under this epoch has not got the key.
    pub(super) asked: Option<Epoch>,
}

/// A request about one task.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) id: TaskId,
    pub(super) asked: Mono,
    pub(super) is_cancel: bool,
    /// The map was read for it.
    pub(super) is_mapped: bool,
    pub(super) search: Option<Search>,
}

impl Submission {
    /// A task as the client of this submission wants it.
    pub(super) fn new(
        (number, key): (u32, Option<u8>),
        queue: QueueName,
        delay_ms: Option<u64>,
        now: Now,
        tags: Tags,
        rng: &mut Rng,
    ) -> Self {
        let due = delay_ms.map(|millis| now.wall.after(Millis::new(millis)));
        // Keys are the queue's own: it may be in another cell than the queue that was given the same key.
        let unique = key.map(|key| Arc::from(format!("{queue}-{key}")));
        let kind = "noop".parse().expect("a legal name");
        let level = u8::try_from(number % 10).expect("a digit");
        let priority = Priority::new(level).unwrap_or_default();
        let id = tags.task(&queue, rng, now.wall);
        let task = TaskRecord {
            v: Version,
            kind,
            queue,
            priority,
            name: Some(number.to_string().into()),
            payload: Json::null(),
            metadata: BTreeMap::new(),
            created_at: now.wall,
            due,
            retries_max: 2,
            retry: RetryPolicy::default(),
            timeout: Millis::from_secs(300),
            unique,
        };
        Self {
            number,
            key,
            id,
            task,
            asked: None,
        }
    }
}

impl Errand {
    pub(super) fn new(id: TaskId, now: Now, is_cancel: bool) -> Self {
        Self {
            id,
            asked: now.mono,
            is_cancel,
            is_mapped: false,
            search: None,
        }
    }

    pub(super) fn shown(&self, id: TaskId, sight: Sight) -> Fact {
        if self.is_cancel {
            return Fact::GivenUp;
        }
        Fact::Shown {
            id,
            asked: self.asked,
            sight,
        }
    }
}
