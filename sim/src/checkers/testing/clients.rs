//! What clients ask in synthetic histories, and what they are told.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_core::gateway::{
    Due, LockToken, Reply, Request, Submitted, TaskSpec, TaskState as State, TaskView,
};
use windlass_core::ids::{Fence, LeaseId, Priority, Revision, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::{Millis, Wall};

use super::History;
use crate::book::{Life, Other};

/// The reply to a submission of one task.
pub(in crate::checkers) fn accepted(id: TaskId) -> Reply {
    let state = State::Pending;
    Reply::Submitted(vec![Submitted::Accepted { id, state }])
}

/// A task to submit.
pub(in crate::checkers) fn spec(key: Option<(&str, &str)>) -> TaskSpec {
    TaskSpec {
        kind: "noop".parse().unwrap(),
        queue: "q".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::null(),
        metadata: BTreeMap::new(),
        retries_max: 1,
        retry: RetryPolicy::default(),
        timeout: Millis::new(1_000),
        due: Due::Now,
        key: key.map(|(key, body)| windlass_core::gateway::IdempotencyKey {
            key_hash: key.into(),
            body_hash: body.into(),
        }),
    }
}

impl History {
    /// A waiter joins the line of the lock `l` on its own lease.
    pub(in crate::checkers) fn wait_in_line(&mut self, waiter: &str, lease: i64) -> Fence {
        let life = Some(self.life(Some(lease)));
        let fence = Fence(self.next_revision());
        self.waiter(waiter, life);
        fence
    }

    /// A waiter's key goes.
    pub(in crate::checkers) fn leave_line(&mut self, waiter: &str) {
        self.waiter(waiter, None);
    }

    /// A process queues for the janitor's lock under a lease, or leaves the line.
    pub(in crate::checkers) fn janitor(&mut self, waiter: &str, lease: Option<i64>) {
        let other = Other::Waiter {
            lock: None,
            waiter: waiter.parse().unwrap(),
            life: lease.map(|lease| self.life(Some(lease))),
        };
        self.store_bare(vec![], vec![other]);
    }

    fn waiter(&mut self, waiter: &str, life: Option<Life>) {
        let other = Other::Waiter {
            lock: Some("l".parse().unwrap()),
            waiter: waiter.parse().unwrap(),
            life,
        };
        self.store_bare(vec![], vec![other]);
    }
}

/// A client asks for the lock `l`.
pub(in crate::checkers) fn take_lock(h: &mut History, id: u64) {
    let request = Request::LockTake {
        lock: "l".parse().unwrap(),
        owner: None,
        ttl: Duration::from_secs(3),
        wait: Duration::from_secs(1),
    };
    h.ask(id, request);
}

/// The token of a waiter of the lock `l`.
pub(in crate::checkers) fn token(waiter: &str, lease: i64) -> LockToken {
    LockToken {
        waiter: waiter.parse().unwrap(),
        lease: LeaseId(lease),
    }
}

/// The reply that a waiter holds the lock `l`.
pub(in crate::checkers) fn granted(fence: Fence, waiter: &str, lease: i64) -> Reply {
    Reply::Lock {
        fence,
        token: token(waiter, lease),
        ttl: Duration::from_secs(3),
    }
}

/// A client asks for a task.
pub(in crate::checkers) fn get(task: TaskId) -> Request {
    Request::Get { task, wait: None }
}

/// The reply that shows a task.
pub(in crate::checkers) fn shown(
    id: TaskId,
    state: State,
    losses: u32,
    fence: Option<Fence>,
) -> Reply {
    Reply::Task(Box::new(TaskView {
        id,
        name: None,
        kind: "noop".parse().unwrap(),
        queue: "q".parse().unwrap(),
        state,
        priority: Priority::NORMAL,
        payload: Json::null(),
        metadata: BTreeMap::new(),
        created_at: Wall::default(),
        due_at: None,
        assigned_at: None,
        started_at: None,
        completed_at: None,
        worker: None,
        fence,
        retry_count: 0,
        losses,
        retries_max: 1,
        timeout: Millis::new(1_000),
        result: None,
        error: None,
        progress: None,
        run: 0,
        attempts: Vec::new(),
    }))
}

/// A task that the worker `w1` holds, in the life that its key began at revision 1.
pub(in crate::checkers) fn held_by_w1(h: &mut History) -> TaskId {
    let life = Life {
        created: Revision(1),
        lease: None,
    };
    h.node_key("w1", Some(life));
    let task = h.submit(None);
    h.dispatch(task, "w1");
    task
}
