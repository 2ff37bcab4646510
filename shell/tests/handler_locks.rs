//! Handlers of two workers that take locks, on the embedded store.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else comes fails the test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Barrier, Mutex};
use windlass::clock::SystemClock;
use windlass::executor::{Context, ExecutorOptions, Handlers, LockError, TaskError};
use windlass::host::Store;
use windlass::node::{SchedulerNode, WorkerNode};
use windlass::store::embedded::EmbeddedStore;
use windlass_core::config::{ServerConfig, WorkerConfig};
use windlass_core::gateway::{Due, Reply, Request, Submitted, TaskSpec, TaskState};
use windlass_core::ids::{Fence, Priority, TaskId};
use windlass_core::record::Json;
use windlass_core::retry::RetryPolicy;
use windlass_core::time::Millis;
use windlass_core::worker::LOCKS_MAX;

/// Nothing takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A scheduler and two workers with the same handlers.
struct Cluster {
    scheduler: SchedulerNode,
    workers: Vec<WorkerNode>,
    // Without it there is no store: its clients do not keep it open.
    _store: Store,
    _folder: TempDir,
}

impl Cluster {
    /// `handlers` makes the same ones each time.
    fn start(handlers: impl Fn() -> Handlers) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = SystemClock::start();
        let embedded = EmbeddedStore::open(folder.path(), clock.clone()).unwrap();
        let store = Store::Embedded(Arc::new(embedded));
        let config = ServerConfig::new("s1".parse().unwrap(), "test".into());
        let scheduler = SchedulerNode::start(&store, config, clock.clone());
        let worker = |id: &str| {
            let mut config = WorkerConfig::new(id.parse().unwrap(), Vec::new(), "test".into());
            config.slots = 4;
            let options = ExecutorOptions::default();
            WorkerNode::start(&store, config, handlers(), options, clock.clone())
        };
        let workers = vec![worker("w1"), worker("w2")];
        Self {
            workers,
            scheduler,
            _store: store,
            _folder: folder,
        }
    }

    fn of<F, Fut>(handler: F) -> Self
    where
        F: Fn(Value, Context) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        Self::start(|| {
            let mut handlers = Handlers::new();
            handlers.add("run", handler.clone()).unwrap();
            handlers
        })
    }

    async fn submit(&self, payloads: &[Value]) -> Vec<TaskId> {
        let gateway = self.scheduler.gateway();
        let specs: Vec<TaskSpec> = payloads.iter().map(spec).collect();
        loop {
            match gateway.ask(Request::Submit(specs.clone()), PATIENCE).await {
                Reply::Submitted(fates) => {
                    let id = |fate| match fate {
                        Submitted::Accepted { id, .. } => id,
                        other => panic!("{other:?}"),
                    };
                    return fates.into_iter().map(id).collect();
                }
                Reply::NotReady => tokio::time::sleep(Duration::from_millis(10)).await,
                other => panic!("{other:?}"),
            }
        }
    }

    /// How a task has ended.
    async fn end_of(&self, task: TaskId) -> (TaskState, Value) {
        let wait = Some(PATIENCE);
        let request = Request::Get { task, wait };
        match self.scheduler.gateway().ask(request, PATIENCE).await {
            Reply::Task(shown) => {
                let result = shown.result.as_ref().map(|it| it.to().unwrap());
                (shown.state, result.unwrap_or_default())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The results of tasks that all complete.
    async fn results(&self, payloads: &[Value]) -> Vec<Value> {
        let mut results = Vec::new();
        for task in self.submit(payloads).await {
            let (state, result) = self.end_of(task).await;
            assert_eq!(state, TaskState::Completed);
            results.push(result);
        }
        assert_eq!(self.workers.len(), 2);
        results
    }
}

fn spec(payload: &Value) -> TaskSpec {
    let fast = RetryPolicy {
        delay: Millis::new(1),
        ..RetryPolicy::default()
    };
    TaskSpec {
        kind: "run".parse().unwrap(),
        queue: "default".parse().unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::parse(payload.to_string()).unwrap(),
        metadata: Default::default(),
        retries_max: 3,
        retry: fast,
        timeout: Millis::from_secs(60),
        due: Due::Now,
        key: None,
    }
}

fn numbers(count: usize) -> Vec<Value> {
    (0..count).map(Value::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_handler_of_all_workers_holds_a_lock_and_its_fence_is_the_largest() {
    let inside = Arc::new(AtomicU32::new(0));
    let seen: Arc<Mutex<Vec<Fence>>> = Arc::default();
    let told = Arc::clone(&seen);
    let cluster = Cluster::of(move |_, ctx| {
        let (inside, told) = (Arc::clone(&inside), Arc::clone(&told));
        async move {
            let guard = ctx.lock("l").await?;
            assert_eq!(guard.name().as_str(), "l");
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
            told.lock().await.push(guard.fence());
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
            Ok(Value::Null)
        }
    });
    cluster.results(&numbers(40)).await;
    let fences = seen.lock().await;
    assert_eq!(fences.len(), 40, "no attempt failed");
    assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_or_fails_frees_its_lock() {
    let attempts = Arc::new(AtomicU32::new(0));
    let cluster = Cluster::of(move |kept, ctx| {
        let nth = attempts.fetch_add(1, Ordering::SeqCst);
        async move {
            let guard = ctx.lock("l").await?;
            let _held = if kept == Value::Bool(true) {
                guard.until_end();
                None
            } else {
                Some(guard)
            };
            match nth {
                0 => panic!("with the lock held"),
                1 => Err(TaskError::retry("with the lock held")),
                _ => Ok(Value::Null),
            }
        }
    });
    for kept in [false, true, false] {
        cluster.results(&[Value::Bool(kept)]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_kept_to_the_end_is_free_once_the_outcome_is_there() {
    let inside = Arc::new(AtomicU32::new(0));
    let cluster = Cluster::of(move |_, ctx| {
        let inside = Arc::clone(&inside);
        async move {
            let guard = ctx.lock("l").await?;
            guard.until_end();
            let before = inside.fetch_add(1, Ordering::SeqCst);
            Ok(Value::from(before))
        }
    });
    let mut order = cluster.results(&numbers(10)).await;
    order.sort_by_key(|it| it.as_u64());
    assert_eq!(order, numbers(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_leaves_the_line_and_may_ask_again() {
    let both = Arc::new(Barrier::new(2));
    let cluster = Cluster::of(move |first, ctx| {
        let both = Arc::clone(&both);
        async move {
            if first == 0 {
                let guard = ctx.lock("l").await?;
                both.wait().await;
                both.wait().await;
                drop(guard);
                return Ok(Value::Null);
            }
            both.wait().await;
            for _ in 0..20 {
                let soon = Duration::from_millis(2);
                let wait = tokio::time::timeout(soon, ctx.lock("l")).await;
                assert!(wait.is_err(), "somebody else holds it");
            }
            both.wait().await;
            let guard = ctx.lock("l").await?;
            Ok(Value::from(guard.fence().0.0))
        }
    });
    let fences = cluster.results(&numbers(2)).await;
    assert!(fences[1].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_granted_is_refused_at_once() {
    let cluster = Cluster::of(|_, ctx| async move {
        let name = ctx.lock("no name").await.unwrap_err();
        assert!(matches!(name, LockError::Name(..)), "{name}");
        let mut held = Vec::new();
        for n in 0..LOCKS_MAX {
            held.push(ctx.lock(&format!("l{n}")).await?);
        }
        let twice = ctx.lock("l0").await.unwrap_err();
        assert!(matches!(twice, LockError::Twice(_)), "{twice}");
        let many = ctx.lock("other").await.unwrap_err();
        assert!(matches!(many, LockError::TooMany(_)), "{many}");
        // What was given back can be had again, and room for another is there.
        drop(held.swap_remove(0));
        held.push(ctx.lock("other").await?);
        Ok(Value::Null)
    });
    cluster.results(&numbers(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_handler_stops_waiting_and_a_cancelled_holder_frees_the_lock() {
    let cluster = Cluster::of(|_, ctx| async move {
        let refused = match ctx.lock("l").await {
            Ok(_guard) => {
                ctx.cancelled().await;
                return Err(TaskError::retry("cancelled while it held the lock"));
            }
            Err(refused) => refused,
        };
        assert!(matches!(refused, LockError::Stopped(_)), "{refused}");
        Err(refused.into())
    });
    let tasks = cluster.submit(&numbers(3)).await;
    for task in tasks {
        let asked = Request::Cancel(task);
        cluster.scheduler.gateway().ask(asked, PATIENCE).await;
        assert_eq!(cluster.end_of(task).await.0, TaskState::Cancelled);
    }
}
