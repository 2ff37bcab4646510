//! Tasks as the fake shows them.

use windlass_core::gateway::{Due, TaskSpec, TaskState, TaskView};
use windlass_core::ids::{Attempt, Fence, Revision, TaskId};
use windlass_core::record::{AttemptEnd, AttemptNote};
use windlass_core::time::Wall;

/// The task ends, as its type says.
pub(crate) fn end(view: &mut TaskView) {
    let now = Wall::from_millis(1_700_000_001_000);
    view.assigned_at = Some(now);
    view.started_at = Some(now);
    view.completed_at = Some(now);
    view.worker = Some("w1".parse().unwrap());
    view.fence = Some(Fence(Revision(12)));
    if view.kind.as_str() == "fail" {
        view.state = TaskState::Failed;
        view.error = Some("it broke".into());
        view.attempts = vec![AttemptNote {
            attempt: Attempt(1),
            worker: "w1".parse().unwrap(),
            started_at: None,
            ended_at: now,
            end: AttemptEnd::Failed("it broke".into()),
        }];
    } else {
        view.state = TaskState::Completed;
        view.result = Some(view.payload.clone());
    }
}

/// A task that was just accepted.
pub(crate) fn view(id: TaskId, spec: TaskSpec) -> TaskView {
    TaskView {
        id,
        name: spec.name,
        kind: spec.kind,
        queue: spec.queue,
        state: if spec.due == Due::Now {
            TaskState::Pending
        } else {
            TaskState::Scheduled
        },
        priority: spec.priority,
        payload: spec.payload,
        metadata: spec.metadata,
        created_at: Wall::from_millis(1_700_000_000_000),
        due_at: None,
        assigned_at: None,
        started_at: None,
        completed_at: None,
        worker: None,
        fence: None,
        retry_count: 0,
        losses: 0,
        retries_max: spec.retries_max,
        timeout: spec.timeout,
        result: None,
        error: None,
        progress: None,
        run: 0,
        attempts: vec![],
    }
}
