//! The whole product in one process, from submission to recorded completion, with handlers that do nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::{Reply, Request, Submitted, TaskSpec};
use windlass_core::ids::TaskId;
use windlass_core::store::Refusal;

use super::asker::revision;
use super::intervals::Looker;
use super::latency::Latency;
use super::{Measured, Plan, Specs, cpu_us, ratio};
use crate::clock::SystemClock;
use crate::executor::{ExecutorOptions, Handlers};
use crate::gateway::Gateway;
use crate::host::{self, Store, peak_memory_bytes};
use crate::node::{self, SchedulerNode, WorkerNode, WorkerStatus};

/// How long a request may take.
const ASK_MAX: Duration = Duration::from_secs(60);

/// When what the store had no room for is submitted again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long nothing may be completed before the measurement is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Measures `plan` on `store`, which is called `name` in the result.
pub async fn run(
    store: &Store,
    name: String,
    plan: &Plan,
    clock: SystemClock,
) -> anyhow::Result<Measured> {
    let latency = Arc::new(Latency::new(plan.rate));
    let mut config = ServerConfig::new(host::fresh_id(), node::VERSION.into());
    config.retention = plan.retention.unwrap_or(config.retention);
    let scheduler = SchedulerNode::start(store, config, clock.clone());
    let workers: Vec<WorkerNode> = (0..plan.workers)
        .map(|_| start_worker(store, plan, &latency, &clock))
        .collect();
    let statuses: Vec<Arc<WorkerStatus>> = workers.iter().map(WorkerNode::status).collect();
    let ready = scheduler.readiness();
    let up_by = Instant::now() + Duration::from_secs(30);
    while !(ready() && statuses.iter().all(|it| it.is_ready())) {
        if Instant::now() > up_by {
            bail!("the nodes do not come up");
        }
        sleep(Duration::from_millis(10)).await;
    }
    let revision_before = revision(store).await?;
    let (began, cpu_before) = (Instant::now(), cpu_us());
    let submitting = submit(scheduler.gateway(), plan.clone(), Arc::clone(&latency));
    let completing = complete(&statuses, plan.tasks);
    let looker = Looker {
        gateway: scheduler.gateway(),
        statuses: statuses.clone(),
        latency: Arc::clone(&latency),
    };
    let work = async { tokio::try_join!(submitting, completing) };
    let intervals = looker.beside(work, began, plan.interval).await?;
    let seconds = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let cpu = (cpu_us() - cpu_before) as f64;
    let transactions = revision(store).await?.0.saturating_sub(revision_before.0);
    Ok(Measured {
        what: "run",
        store: name,
        tasks: plan.tasks,
        refused: latency.refusals(),
        ends_unknown: latency.lost(),
        seconds,
        tasks_per_second: ratio(plan.tasks, seconds),
        submit_to_ack_ms: latency.to_ack(),
        submit_to_start_ms: latency.to_start(),
        submit_to_end_ms: latency.to_end(),
        store_transactions_per_task: ratio(transactions, ratio(plan.tasks, 1.0)),
        cpu_us_per_task: cpu / ratio(plan.tasks, 1.0),
        peak_rss_bytes: peak_memory_bytes(),
        intervals,
    })
}

fn start_worker(
    store: &Store,
    plan: &Plan,
    latency: &Arc<Latency>,
    clock: &SystemClock,
) -> WorkerNode {
    let mut config = WorkerConfig::new(host::fresh_id(), Vec::new(), node::VERSION.into());
    config.slots = plan.slots;
    let latency = Arc::clone(latency);
    let hook: node::StartHook = Arc::new(move |start| latency.started(start.task));
    WorkerNode::start_with_hook(
        store,
        config,
        Handlers::new(),
        ExecutorOptions::default(),
        clock.clone(),
        Some(hook),
    )
}

async fn submit(gateway: Gateway, plan: Plan, latency: Arc<Latency>) -> anyhow::Result<()> {
    match plan.rate {
        Some(rate) => submit_at(gateway, &plan, rate, latency).await,
        None => submit_all(gateway, &plan, latency).await,
    }
}

/// As fast as they are taken, with a bounded number of requests under way.
async fn submit_all(gateway: Gateway, plan: &Plan, latency: Arc<Latency>) -> anyhow::Result<()> {
    let specs = Specs::new(plan);
    let (mut next, in_flight) = (0, usize::try_from(plan.submitters.max(1))?);
    let mut under_way = JoinSet::new();
    while next < plan.tasks || !under_way.is_empty() {
        while next < plan.tasks && under_way.len() < in_flight {
            let end = plan.tasks.min(next + u64::from(plan.batch.max(1)));
            let batch = (next..end).map(|n| specs.nth(n)).collect();
            next = end;
            let (gateway, latency) = (gateway.clone(), Arc::clone(&latency));
            let due = Instant::now();
            under_way.spawn(async move { ask(&gateway, batch, due, &latency).await });
        }
        if let Some(done) = under_way.join_next().await {
            done.context("a submitter died")??;
        }
    }
    Ok(())
}

/// One by one at a steady rate, whether or not the earlier ones were answered.
async fn submit_at(
    gateway: Gateway,
    plan: &Plan,
    rate: f64,
    latency: Arc<Latency>,
) -> anyhow::Result<()> {
    let specs = Specs::new(plan);
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate.max(0.001)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for n in 0..plan.tasks {
        let due = ticks.tick().await.into_std();
        let (gateway, latency, spec) = (gateway.clone(), Arc::clone(&latency), specs.nth(n));
        under_way.spawn(async move { ask(&gateway, vec![spec], due, &latency).await });
        // What has been answered is not kept: a soak submits millions.
        while let Some(done) = under_way.try_join_next() {
            done.context("a submitter died")??;
        }
    }
    while let Some(done) = under_way.join_next().await {
        done.context("a submitter died")??;
    }
    Ok(())
}

/// Waits as a client does until a task has ended, and counts those whose end nobody tells.
async fn follow(gateway: Gateway, task: TaskId, latency: Arc<Latency>) {
    let acknowledged = Instant::now();
    let wait = Some(ASK_MAX);
    let reply = gateway.ask(Request::Get { task, wait }, ASK_MAX * 2).await;
    if let Reply::Task(shown) = reply
        && shown.state.has_ended()
    {
        latency.ended(acknowledged.elapsed());
    } else {
        latency.lost_sight();
    }
}

/// Submits, again and again while the store has no room.
async fn ask(
    gateway: &Gateway,
    specs: Vec<TaskSpec>,
    due: Instant,
    latency: &Arc<Latency>,
) -> anyhow::Result<()> {
    let mut left = specs;
    while !left.is_empty() {
        let fates = match gateway.ask(Request::Submit(left.clone()), ASK_MAX).await {
            Reply::Submitted(fates) => fates,
            // As a client that hears 503: the store has no room, or has not answered for so long that the session ended.
            Reply::Refused(Refusal::NoRoom) | Reply::NotReady => {
                vec![Submitted::Refused(Refusal::NoRoom); left.len()]
            }
            Reply::Task(_)
            | Reply::Tasks { .. }
            | Reply::Found { .. }
            | Reply::Count { .. }
            | Reply::Why(_)
            | Reply::Stats(_)
            | Reply::Queues(_)
            | Reply::Nodes(_)
            | Reply::Changes(_)
            | Reply::Missed { .. }
            | Reply::Timings(_)
            | Reply::Lock { .. }
            | Reply::Remote(_)
            | Reply::Done
            | Reply::NotFound
            | Reply::Forbidden { .. }
            | Reply::Refused(_)
            | Reply::TimedOut => bail!("a submission was not taken"),
        };
        let mut refused = Vec::new();
        for (fate, spec) in fates.into_iter().zip(left) {
            match fate {
                Submitted::Accepted { id, .. } => {
                    latency.acknowledged(id);
                    if latency.awaits_end(id) {
                        // A submission makes room for the next one when it is answered, not when its tasks have ended.
                        tokio::spawn(follow(gateway.clone(), id, Arc::clone(latency)));
                    }
                }
                Submitted::Refused(Refusal::NoRoom) => refused.push(spec),
                Submitted::Repeated { .. }
                | Submitted::KeyTaken { .. }
                | Submitted::Refused(_)
                | Submitted::Unknown { .. } => bail!("a task was not accepted: {fate:?}"),
            }
        }
        left = refused;
        if !left.is_empty() {
            latency.refused(left.len());
            sleep(AGAIN_AFTER).await;
        }
    }
    latency.taken(due.elapsed());
    Ok(())
}

/// Waits until the workers' own totals, which commit with what they count, say that all is done.
async fn complete(statuses: &[Arc<WorkerStatus>], tasks: u64) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let done: u64 = statuses.iter().map(|it| it.completed()).sum();
        if done >= tasks {
            return Ok(());
        }
        if done > last {
            (last, since) = (done, Instant::now());
        }
        if since.elapsed() > STALLED {
            bail!("{done} of {tasks} tasks were completed, and then none for {STALLED:?}");
        }
        sleep(Duration::from_millis(2)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway that gives this reply to everybody.
    fn replies(reply: fn() -> Reply) -> Gateway {
        let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let gateway = Gateway::new(move |id, _| {
            // The test may be over.
            let _ = sender.send(id);
        });
        let answering = gateway.clone();
        tokio::spawn(async move {
            while let Some(id) = asked.recv().await {
                answering.reply(id, reply());
            }
        });
        gateway
    }

    #[tokio::test]
    async fn a_task_whose_end_nobody_tells_is_counted_as_one_that_could_not_be_followed() {
        let task: TaskId = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        for reply in [|| Reply::NotFound, || Reply::NotReady] {
            let latency = Arc::new(Latency::new(Some(1.0)));
            follow(replies(reply), task, Arc::clone(&latency)).await;
            assert_eq!((latency.lost(), latency.to_end()), (1, None));
        }
    }
}
