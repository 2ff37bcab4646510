//! What it holds of an attempt, and what a handler's end means.

use super::*;

impl Held {
    pub(super) fn late_at(&self) -> Option<Mono> {
        Some(self.started?.after(self.start.timeout.into()))
    }

    pub(super) fn is_late(&self, now: Mono) -> bool {
        let late = self.late_at().is_some_and(|at| at <= now);
        late && self.run.is_some() && self.stopping.is_none()
    }

    pub(super) fn start(&self, run: OpId) -> Start {
        let start = &self.start;
        Start {
            run,
            task: start.task,
            kind: start.kind.clone(),
            queue: start.queue.clone(),
            priority: start.priority,
            name: start.name.clone(),
            payload: start.payload.clone(),
            metadata: start.metadata.clone(),
            created_at: start.created_at,
            attempt: start.attempt,
            fence: start.fence,
            timeout: start.timeout,
        }
    }
}

/// What a handler's last word means.
pub(super) fn judge(event: RunEvent, stopping: Option<StopReason>) -> RemoteEnd {
    let failed = |error: &str| RemoteEnd::Failed {
        error: error.into(),
        verdict: windlass_core::retry::Verdict::Retry,
    };
    match (event, stopping) {
        (RunEvent::Completed(result), _) => RemoteEnd::Completed(result),
        (_, Some(StopReason::TimeOut)) => RemoteEnd::TimedOut,
        (_, Some(StopReason::Fenced | StopReason::Shutdown)) => RemoteEnd::HandedBack,
        (_, Some(StopReason::Cancel)) => failed("it was cancelled"),
        (RunEvent::Failed(error), None) => RemoteEnd::Failed {
            error: error.message,
            verdict: error.verdict,
        },
        (
            RunEvent::Stopped
            | RunEvent::Progress(_)
            | RunEvent::Lock { .. }
            | RunEvent::Unlock { .. },
            None,
        ) => failed("the handler stopped without a result"),
    }
}
