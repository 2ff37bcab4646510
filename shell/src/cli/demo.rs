//! The demo: a small workload that shows what there is, and where to look afterwards.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use windlass_core::gateway::{Due, Reply, Request, Submitted, TaskSpec, TaskState};
use windlass_core::ids::{Priority, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::{Backoff, RetryPolicy};
use windlass_core::time::Millis;

use super::output::note;
use crate::gateway::Gateway;

/// How many tasks of each kind the demo submits.
const EACH: usize = 50;

/// How long one request may take.
const ASK_MAX: Duration = Duration::from_secs(90);

/// Submits the workload, waits for its end, and says what happened.
pub(super) async fn run(gateway: Gateway, address: SocketAddr) {
    let began = Instant::now();
    let Some(ids) = submit(&gateway).await else {
        return note("demo: the workload was not accepted; see the log");
    };
    note(&format!(
        "demo: {} tasks accepted: echo, sleep, retried failures, delayed, in four priorities",
        ids.len()
    ));
    let mut states = Vec::new();
    for id in &ids {
        states.push(end_of(&gateway, *id).await);
    }
    let count = |state| states.iter().filter(|it| **it == Some(state)).count();
    let (completed, failed) = (count(TaskState::Completed), count(TaskState::Failed));
    note(&format!(
        "demo: {completed} completed, {failed} failed, {} unfinished, in {:.1} s",
        states.len() - completed - failed,
        began.elapsed().as_secs_f64(),
    ));
    note(&format!("demo: look at  http://{address}/  in a browser"));
    note(&format!(
        "               curl http://{address}/api/v1/stats"
    ));
    note(&format!(
        "               windlass --server http://{address} task list --limit 5"
    ));
    note(&format!(
        "               windlass --server http://{address} task get {}",
        ids[0]
    ));
    note("demo: still serving; Ctrl-C ends it");
}

async fn submit(gateway: &Gateway) -> Option<Vec<TaskId>> {
    loop {
        let reply = gateway.ask(Request::Submit(workload()), ASK_MAX).await;
        if let Reply::Submitted(fates) = reply {
            return fates.into_iter().map(accepted).collect();
        }
        if reply != Reply::NotReady {
            tracing::warn!(?reply, "the demo's workload was not accepted");
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn accepted(fate: Submitted) -> Option<TaskId> {
    match fate {
        Submitted::Accepted { id, .. } => Some(id),
        Submitted::Repeated { .. }
        | Submitted::KeyTaken { .. }
        | Submitted::Refused(_)
        | Submitted::Unknown { .. } => None,
    }
}

async fn end_of(gateway: &Gateway, task: TaskId) -> Option<TaskState> {
    let wait = Some(Duration::from_secs(60));
    let reply = gateway.ask(Request::Get { task, wait }, ASK_MAX).await;
    if let Reply::Task(task) = reply {
        return Some(task.state);
    }
    tracing::warn!(?reply, %task, "the demo cannot tell how a task ended");
    None
}

fn workload() -> Vec<TaskSpec> {
    let retry = RetryPolicy {
        kind: Backoff::Fixed,
        delay: Millis::new(200),
        ..RetryPolicy::default()
    };
    let kinds = [
        ("echo", r#"{"hello":"world"}"#, Due::Now),
        ("sleep", r#"{"ms":20}"#, Due::Now),
        ("fail", r#"{"times":1}"#, Due::Now),
        ("noop", "null", Due::In(Millis::from_secs(1))),
    ];
    let priorities = [
        Priority::CRITICAL,
        Priority::HIGH,
        Priority::NORMAL,
        Priority::LOW,
    ];
    let mut specs = Vec::new();
    for round in 0..EACH {
        for (kind, payload, due) in kinds {
            specs.push(TaskSpec {
                kind: kind.parse().expect("a stock type is a name"),
                queue: "demo".parse().expect("a plain word is a name"),
                priority: priorities[round % priorities.len()],
                name: Some(format!("{kind} number {round}").into()),
                payload: Json::parse(payload.to_owned()).expect("the payloads above are JSON"),
                metadata: std::collections::BTreeMap::new(),
                retries_max: 3,
                retry,
                timeout: Millis::from_secs(30),
                due,
                key: None,
            });
        }
    }
    specs
}
