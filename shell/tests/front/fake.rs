//! A gateway that answers from memory, and says what it was told to say for some types of task.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request as HttpRequest, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use windlass::api::{self, Door, Front, Limits};
use windlass::gateway::Gateway;
use windlass_core::balance::Strategy;
use windlass_core::filter::Filter;
use windlass_core::gateway::{
    LockToken, NodeView, Order, QueueView, Reply, Request, RequestId, StatsView, Submitted,
    TaskSpec, TaskState, TaskView, TimingsView,
};
use windlass_core::ids::{Fence, LeaseId, NodeId, QueueName, Revision, TaskId};
use windlass_core::keyspace::Role;
use windlass_core::record::Totals;
use windlass_core::rng::Rng;
use windlass_core::room::{Level, Room};
use windlass_core::store::{Refusal, Usage};
use windlass_core::time::{Millis, Wall};

use super::changes::Changes;
use super::shown::{end, view};

/// What the fake knows.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) tasks: BTreeMap<TaskId, TaskView>,
    pub(crate) specs: Vec<TaskSpec>,
    keys: BTreeMap<Arc<str>, (TaskId, Arc<str>)>,
    queues: BTreeMap<QueueName, (Strategy, bool)>,
    lock: Option<(LockToken, Fence)>,
    fences: u64,
    pub(crate) renewals: u64,
    pub(crate) not_ready: bool,
    pub(crate) ready: Option<String>,
    drained: bool,
    pub(crate) changes: Changes,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Memory>>);

impl Fake {
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap()
    }

    /// The API in front of this gateway.
    pub(crate) fn router(&self) -> Router {
        self.router_within(Limits::default())
    }

    pub(crate) fn router_within(&self, limits: Limits) -> Router {
        self.router_behind(Front::new(Door::open()), limits)
    }

    pub(crate) fn router_behind(&self, front: Front, limits: Limits) -> Router {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let gateway = Gateway::new(move |id: RequestId, request: Request| {
            sender.send((id, request)).unwrap();
        });
        let (fake, answering) = (self.clone(), gateway.clone());
        tokio::spawn(async move {
            while let Some((id, request)) = receiver.recv().await {
                let mut memory = fake.memory();
                if let Request::Changes { after, .. } = request {
                    memory.changes.ask(id, after, &answering);
                } else if let Some(reply) = memory.answer(request) {
                    answering.reply(id, reply);
                }
            }
        });
        let fake = self.clone();
        let ready = move || fake.memory().ready.clone().map_or(Ok(()), Err);
        api::router(gateway, limits, Arc::new(ready), front)
    }

    /// The API on a port of this machine.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = self.router();
        tokio::spawn(api::serve(
            listener,
            router,
            Limits::default(),
            std::future::pending(),
        ));
        address
    }
}

impl Memory {
    fn answer(&mut self, request: Request) -> Option<Reply> {
        if self.not_ready {
            return Some(Reply::NotReady);
        }
        Some(match request {
            Request::Submit(specs) => {
                if specs.iter().any(|spec| spec.kind.as_str() == "silent") {
                    return None;
                }
                Reply::Submitted(specs.into_iter().map(|spec| self.accept(spec)).collect())
            }
            Request::Get { task, wait } => self.get(task, wait.is_some()),
            Request::List {
                filter,
                order,
                limit,
                after,
            } => {
                let (tasks, next) = self.found(&filter, order, limit, after);
                Reply::Tasks { tasks, next }
            }
            Request::Find {
                filter,
                order,
                limit,
                after,
            } => {
                let (tasks, next) = self.found(&filter, order, limit, after);
                let ids = tasks.iter().map(|task| task.id).collect();
                Reply::Found { ids, next }
            }
            Request::Count(filter) => self.count(&filter),
            Request::Why(task) => self.why(task),
            Request::Cancel(task) => {
                self.change(task, TaskState::Cancelled, |state| !state.has_ended())
            }
            Request::Rerun(task) => self.change(task, TaskState::Pending, |state| {
                matches!(state, TaskState::Failed | TaskState::Cancelled)
            }),
            Request::Stats => Reply::Stats(Box::new(self.stats())),
            Request::Queues => {
                Reply::Queues(self.queues.keys().map(|name| self.queue(name)).collect())
            }
            Request::Nodes => Reply::Nodes(vec![self.node()]),
            Request::Changes { .. } => return None,
            Request::Timings => Reply::Timings(Box::new(TimingsView {
                queues: vec![],
                slots: 4,
                slots_used: 1,
            })),
            Request::ConfigureQueue {
                queue,
                strategy,
                paused,
            } => self.configure(&queue, strategy, paused),
            Request::Drain(node) if node.as_str() == "w1" => {
                self.drained = true;
                Reply::Nodes(vec![self.node()])
            }
            Request::Drain(_) => Reply::NotFound,
            Request::LockTake { ttl, .. } => self.take_lock(ttl),
            Request::LockRenew { token, .. } => self.renew_lock(token),
            Request::LockRelease { token, .. } => self.release_lock(&token),
            Request::Remote(_) => Reply::NotReady,
        })
    }

    fn get(&mut self, task: TaskId, waits: bool) -> Reply {
        let Some(view) = self.tasks.get_mut(&task) else {
            return Reply::NotFound;
        };
        // A task whose end is waited for ends, unless it never does.
        if waits && !view.state.has_ended() && view.kind.as_str() != "endless" {
            end(view);
        }
        Reply::Task(Box::new(view.clone()))
    }

    fn count(&self, filter: &Filter) -> Reply {
        let (tasks, _) = self.found(filter, Order::Oldest, u32::MAX, None);
        Reply::Count {
            count: tasks.len() as u64,
            exact: true,
        }
    }

    fn configure(
        &mut self,
        queue: &QueueName,
        strategy: Option<Strategy>,
        paused: Option<bool>,
    ) -> Reply {
        let settings = self.queues.entry(queue.clone()).or_default();
        settings.0 = strategy.unwrap_or(settings.0);
        settings.1 = paused.unwrap_or(settings.1);
        Reply::Queues(vec![self.queue(queue)])
    }

    fn accept(&mut self, spec: TaskSpec) -> Submitted {
        let id = TaskId::new(
            &mut Rng::new(self.specs.len() as u64),
            Wall::from_millis(1_700_000_000_000),
        );
        self.specs.push(spec.clone());
        match spec.kind.as_str() {
            "busy" => return Submitted::Refused(Refusal::Busy),
            "no_room" => return Submitted::Refused(Refusal::NoRoom),
            "too_large" => return Submitted::Refused(Refusal::TooLarge),
            "lost" => return Submitted::Unknown { id },
            _ => {}
        }
        if let Some(key) = &spec.key {
            if let Some((first, body)) = self.keys.get(&key.key_hash) {
                return if *body == key.body_hash {
                    Submitted::Repeated { id: *first }
                } else {
                    Submitted::KeyTaken { id: *first }
                };
            }
            self.keys
                .insert(key.key_hash.clone(), (id, key.body_hash.clone()));
        }
        let view = view(id, spec);
        let state = view.state;
        self.tasks.insert(id, view);
        Submitted::Accepted { id, state }
    }

    fn change(&mut self, task: TaskId, to: TaskState, legal: impl Fn(TaskState) -> bool) -> Reply {
        match self.tasks.get_mut(&task) {
            Some(view) if legal(view.state) => {
                view.state = to;
                Reply::Task(Box::new(view.clone()))
            }
            Some(view) => forbidden(&format!("the task is {}", view.state)),
            None => Reply::NotFound,
        }
    }

    fn stats(&self) -> StatsView {
        let count = |state| {
            self.tasks
                .values()
                .filter(|view| view.state == state)
                .count() as u64
        };
        StatsView {
            totals: Totals {
                accepted: self.tasks.len() as u64,
                completed: count(TaskState::Completed),
                cancelled: count(TaskState::Cancelled),
                refused_stale: 2,
                ..Totals::default()
            },
            scheduled: count(TaskState::Scheduled),
            pending: count(TaskState::Pending),
            running: 0,
            retrying: 0,
            dead: 0,
            schedulers: 1,
            workers: 1,
            slots: 4,
            foreign: 0,
            drift_repaired: 0,
            room: Room {
                level: Level::Tight,
                usage: Some(Usage {
                    used: 600,
                    size: 700,
                    quota: Some(1_000),
                    full: false,
                }),
                kept: Some(Millis::from_secs(90)),
            },
        }
    }

    fn queue(&self, name: &QueueName) -> QueueView {
        let (strategy, paused) = self.queues[name];
        QueueView {
            name: name.clone(),
            strategy,
            paused,
            pending: 1,
            running: 2,
            delayed: 3,
            dead: 4,
            oldest: Some(Wall::from_millis(1_700_000_000_000)),
        }
    }

    fn node(&self) -> NodeView {
        NodeView {
            id: "w1".parse().unwrap(),
            role: Role::Worker,
            version: "0.1.0".into(),
            started_at: Wall::from_millis(1_700_000_000_000),
            slots: 4,
            total_run: Some(1_234),
            claims: 1,
            weight: 1,
            queues: vec![],
            types: vec!["echo".parse().unwrap()],
            labels: BTreeMap::new(),
            draining: self.drained,
            cpu_permille: 10,
            memory_bytes: 1,
        }
    }

    fn take_lock(&mut self, ttl: Duration) -> Reply {
        if self.lock.is_some() {
            return Reply::TimedOut;
        }
        self.fences += 41;
        let fence = Fence(Revision(self.fences));
        let waiter: NodeId = "waiter-1".parse().unwrap();
        let token = LockToken {
            waiter,
            lease: LeaseId(-7),
        };
        self.lock = Some((token.clone(), fence));
        Reply::Lock { fence, token, ttl }
    }

    fn renew_lock(&mut self, token: LockToken) -> Reply {
        match &self.lock {
            Some((held, fence)) if *held == token => {
                self.renewals += 1;
                Reply::Lock {
                    fence: *fence,
                    token,
                    ttl: Duration::from_secs(1),
                }
            }
            Some(_) | None => forbidden("the lock is not held any more"),
        }
    }

    fn release_lock(&mut self, token: &LockToken) -> Reply {
        if self.lock.as_ref().is_some_and(|(held, _)| held == token) {
            self.lock = None;
            Reply::Done
        } else {
            forbidden("the lock is not held any more")
        }
    }

    /// Takes the lock away from whoever holds it.
    pub(crate) fn break_lock(&mut self) {
        self.lock = None;
    }

    pub(crate) fn lock_is_held(&self) -> bool {
        self.lock.is_some()
    }
}

fn forbidden(because: &str) -> Reply {
    Reply::Forbidden {
        because: because.into(),
    }
}

#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) kind: String,
    pub(crate) retry_after: Option<String>,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer, which is an error with this status and in the one form of errors.
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        problem
    }

    /// The fields that the answer, a 400, complains of.
    pub(crate) fn bad_fields(&self) -> Vec<String> {
        let problem = self.problem(400);
        let errors = problem["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("{problem}"));
        assert!(errors.iter().all(|error| error["reason"].is_string()));
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) async fn send(router: &Router, request: HttpRequest<Body>) -> Answered {
    let response = router.clone().oneshot(request).await.unwrap();
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let (kind, retry_after) = (
        header("content-type").unwrap_or_default(),
        header("retry-after"),
    );
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    Answered {
        status,
        kind,
        retry_after,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

pub(crate) async fn call(
    router: &Router,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> Answered {
    let request = HttpRequest::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    send(router, request).await
}

pub(crate) async fn get(router: &Router, path: &str) -> Answered {
    call(router, "GET", path, Body::empty()).await
}

pub(crate) async fn post(router: &Router, path: &str, body: impl Into<Body>) -> Answered {
    call(router, "POST", path, body).await
}

/// The id of a task that is accepted now.
pub(crate) async fn submitted(router: &Router, body: &str) -> String {
    let answered = post(router, "/api/v1/tasks", body.to_owned()).await;
    assert_eq!(answered.status, StatusCode::CREATED, "{}", answered.text);
    answered.json()["id"].as_str().unwrap().to_owned()
}
