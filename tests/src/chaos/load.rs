//! Clients: they submit, cancel, run again and ask while everything around them breaks, and remember what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use windlass_sim::core::gateway::{
    Due, IdempotencyKey, Reply, Request, RequestId, Submitted, TaskSpec, TaskState,
};
use windlass_sim::core::ids::{Priority, QueueName, TaskId};
use windlass_sim::core::record::Json;
use windlass_sim::core::retry::RetryPolicy;
use windlass_sim::core::rng::Rng;
use windlass_sim::core::store::Refusal;
use windlass_sim::core::time::Millis;
use windlass_sim::fact::{Fact, NodeIx};

use super::cluster::KINDS;
use super::handler::Work;
use super::journal::Journal;

/// How many clients submit at the same time.
const CLIENTS: u64 = 8;
/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// For how long a client goes on with a task that has a key.
const PERSIST: Duration = Duration::from_secs(40);
const QUEUES: [&str; 3] = ["default", "mail", "reports"];

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every acknowledged task.
    pub acknowledged: Vec<TaskId>,
    /// How long acknowledged submissions took, with all that was tried for them.
    pub latencies: Vec<Duration>,
    /// What else was asked and how it went: the question with its status, 0 for no answer.
    pub statuses: BTreeMap<(&'static str, u16), u64>,
    /// What must not have happened.
    pub violations: Vec<String>,
}

/// All clients.
#[derive(Debug)]
pub struct Load {
    servers: Vec<(NodeIx, String)>,
    journal: Arc<Journal>,
    seen: Mutex<Seen>,
    over: AtomicBool,
    keys: AtomicU64,
    /// Tasks a second.
    rate: u64,
}

/// One task to be submitted.
struct Draft {
    body: Value,
    spec: TaskSpec,
}

impl Load {
    /// Clients of these schedulers, who submit so many tasks a second.
    pub fn new(servers: Vec<(NodeIx, String)>, journal: &Arc<Journal>, rate: u64) -> Self {
        Self {
            servers,
            journal: Arc::clone(journal),
            seen: Mutex::default(),
            over: AtomicBool::new(false),
            keys: AtomicU64::new(0),
            rate,
        }
    }

    /// Works until [`Load::stop`].
    pub fn run(&self, rng: &mut Rng) {
        std::thread::scope(|scope| {
            for n in 0..CLIENTS {
                let rng = rng.fork(&format!("client-{n}"));
                scope.spawn(move || self.submit_on(rng));
            }
            let rng = rng.fork("operator");
            scope.spawn(move || self.operate(rng));
        });
    }

    /// The healed cluster takes new work at every scheduler.
    ///
    /// # Errors
    /// When it does not.
    pub fn serve(&self, count: usize) -> anyhow::Result<()> {
        let (http, mut rng) = (http(), Rng::new(1));
        for n in 0..count {
            let draft = self.draft(&mut rng, false);
            let (node, server) = &self.servers[n % self.servers.len()];
            let begun = Instant::now();
            let fates = self.try_submit(&http, (*node, server), &[draft]);
            let fates = fates.with_context(|| format!("{server} takes no new task"))?;
            self.learn(&fates, begun, &mut None);
        }
        Ok(())
    }

    /// No client begins anything new.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// What clients saw.
    pub fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn submit_on(&self, mut rng: Rng) {
        let http = http();
        let mut next = Instant::now();
        while !self.is_over() {
            let count = self.submit(&http, &mut rng);
            let millis = count * CLIENTS * 1_000 / self.rate.max(1);
            next += Duration::from_millis(rng.below(millis * 2 + 1));
            // Whoever was held up does not make up for it.
            next = next.max(Instant::now());
            nap(next, || self.is_over());
        }
    }

    /// Submits one task, or some at once; says how many.
    fn submit(&self, http: &reqwest::blocking::Client, rng: &mut Rng) -> u64 {
        let many = rng.below(5) == 0;
        let count = if many { 2 + rng.below(19) } else { 1 };
        let keyed = !many && rng.below(3) == 0;
        let drafts: Vec<Draft> = (0..count).map(|_| self.draft(rng, keyed)).collect();
        let first = usize::try_from(rng.below(2)).unwrap_or_default();
        let begun = Instant::now();
        let mut known: Option<TaskId> = None;
        for attempt in 0.. {
            let (node, server) = &self.servers[(first + attempt) % self.servers.len()];
            let fates = self.try_submit(http, (*node, server), &drafts);
            if let Some(fates) = fates {
                self.learn(&fates, begun, &mut known);
                break;
            }
            // Whether a task without a key was accepted is not known, and asking again would make another.
            if !keyed || begun.elapsed() > PERSIST || self.is_over() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100 + rng.below(200)));
        }
        count
    }

    /// One question; nothing when the fate of the tasks is not known.
    fn try_submit(
        &self,
        http: &reqwest::blocking::Client,
        (node, server): (NodeIx, &str),
        drafts: &[Draft],
    ) -> Option<Vec<Submitted>> {
        let id = self.journal.request();
        let specs = drafts.iter().map(|it| it.spec.clone()).collect();
        self.asked(id, node, Request::Submit(specs));
        let body = match drafts {
            [one] => one.body.clone(),
            many => many.iter().map(|it| it.body.clone()).collect(),
        };
        let url = format!("{server}/api/v1/tasks");
        let (status, answer) = ask("submit", http.post(url).json(&body), &self.seen);
        let fates: Option<Vec<Submitted>> = match (status, answer["tasks"].as_array()) {
            // Also when the fate of some is not known: each item says so.
            (201 | 504, Some(items)) => items.iter().map(fate).collect(),
            (201, None) => fate(&answer).map(|it| vec![it]),
            (200, None) => id_of(&answer["id"]).map(|id| vec![Submitted::Repeated { id }]),
            _ => None,
        };
        let fates = fates?;
        self.journal.note(&Fact::Answered {
            id,
            node,
            reply: Box::new(Reply::Submitted(fates.clone())),
        });
        Some(fates)
    }

    fn asked(&self, id: RequestId, node: NodeIx, request: Request) {
        self.journal.note(&Fact::Asked {
            id,
            node,
            request: Box::new(request),
        });
    }

    fn learn(&self, fates: &[Submitted], begun: Instant, known: &mut Option<TaskId>) {
        let mut seen = self.seen();
        for fate in fates {
            if let Submitted::Accepted { id, .. } | Submitted::Repeated { id } = fate {
                seen.acknowledged.push(*id);
                seen.latencies.push(begun.elapsed());
                if known.replace(*id).is_some_and(|before| before == *id) {
                    seen.violations
                        .push(format!("{id} was acknowledged twice in one answer"));
                }
            }
        }
    }

    fn draft(&self, rng: &mut Rng, keyed: bool) -> Draft {
        let queue = QUEUES[index(rng, QUEUES.len())];
        let kind = KINDS[index(rng, KINDS.len())];
        let priority = rng.below(10);
        let work = work(rng);
        let retries = match work.fails {
            0 => rng.below(4),
            fails => u64::from(fails) + rng.below(2),
        };
        // Some fail for good.
        let retries = if rng.below(30) == 0 { 0 } else { retries };
        let timeout = if work.ms > 10_000 { 1_500 } else { 20_000 };
        let mut body = json!({
            "type": kind,
            "queue": queue,
            "priority": priority,
            "payload": work,
            "max_retries": retries,
            "timeout": format!("{timeout}ms"),
            "retry": {"kind": "fixed", "delay": "700ms", "jitter": rng.below(2) == 0},
        });
        let is_delayed = rng.below(8) == 0;
        let delay = 300 + rng.below(5_000);
        if is_delayed {
            body["delay"] = format!("{delay}ms").into();
        }
        let key = keyed.then(|| {
            let number = self.keys.fetch_add(1, Ordering::Relaxed);
            let key = format!("key-{number}");
            body["key"] = key.clone().into();
            IdempotencyKey {
                key_hash: hex(&Sha256::digest(key.as_bytes())).into(),
                // Known only to the gateway: the judge takes it from the store.
                body_hash: "".into(),
            }
        });
        let spec = TaskSpec {
            kind: kind.parse().expect("a type's name"),
            queue: queue.parse::<QueueName>().expect("a queue's name"),
            priority: Priority::new(u8::try_from(priority).unwrap_or(9)).expect("a priority"),
            name: None,
            payload: Json::null(),
            metadata: BTreeMap::new(),
            retries_max: u32::try_from(retries).unwrap_or(u32::MAX),
            retry: RetryPolicy::default(),
            timeout: Millis::new(timeout),
            due: if is_delayed {
                Due::In(Millis::new(delay))
            } else {
                Due::Now
            },
            key,
        };
        Draft { body, spec }
    }

    /// Cancels, runs again, asks.
    fn operate(&self, mut rng: Rng) {
        let http = http();
        while !self.is_over() {
            let next = Instant::now() + Duration::from_millis(rng.below(400));
            let some = {
                let seen = self.seen();
                let recent = seen.acknowledged.len().min(300);
                let from = seen.acknowledged.len() - recent;
                (recent > 0).then(|| seen.acknowledged[from + index(&mut rng, recent)])
            };
            let (node, server) = &self.servers[index(&mut rng, self.servers.len())];
            if let Some(task) = some {
                match rng.below(4) {
                    0 | 1 => self.get(&http, (*node, server), task),
                    2 => {
                        let url = format!("{server}/api/v1/tasks/{task}/cancel");
                        ask("cancel", http.post(url), &self.seen);
                    }
                    _ => self.rerun(&http, server, &mut rng),
                }
            }
            nap(next, || self.is_over());
        }
    }

    fn get(&self, http: &reqwest::blocking::Client, (node, server): (NodeIx, &str), task: TaskId) {
        let id = self.journal.request();
        self.asked(id, node, Request::Get { task, wait: None });
        let url = format!("{server}/api/v1/tasks/{task}");
        let (status, _) = ask("get", http.get(url), &self.seen);
        if status == 404 {
            self.journal.note(&Fact::Answered {
                id,
                node,
                reply: Box::new(Reply::NotFound),
            });
        }
    }

    fn rerun(&self, http: &reqwest::blocking::Client, server: &str, rng: &mut Rng) {
        let url = format!("{server}/api/v1/tasks?state=failed&limit=20");
        let (_, page) = ask("list", http.get(url), &self.seen);
        let failed = page["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        if failed.is_empty() {
            return;
        }
        if let Some(id) = failed[index(rng, failed.len())]["id"].as_str() {
            let url = format!("{server}/api/v1/tasks/{id}/rerun");
            ask("rerun", http.post(url), &self.seen);
        }
    }
}

/// What a task has its handler do: most are short, some fail, some hang.
fn work(rng: &mut Rng) -> Work {
    let ms = match rng.below(100) {
        0..70 => 5 + rng.below(100),
        70..94 => 100 + rng.below(600),
        94..99 => 1_000 + rng.below(3_000),
        _ => 60_000,
    };
    let fails = match rng.below(10) {
        0 => 1 + u32::from(rng.below(3) == 0),
        _ => 0,
    };
    Work { ms, fails }
}

fn index(rng: &mut Rng, len: usize) -> usize {
    let end = u64::try_from(len).unwrap_or(u64::MAX);
    usize::try_from(rng.below(end)).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// Sleeps until then, or until it is over.
fn nap(until: Instant, is_over: impl Fn() -> bool) {
    while Instant::now() < until && !is_over() {
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_millis(200)));
    }
}

pub(crate) fn http() -> reqwest::blocking::Client {
    crate::client::http()
        .timeout(ANSWER_MAX)
        .connect_timeout(Duration::from_secs(1))
        .build()
        .expect("an HTTP client can be made")
}

/// The status and the body; 0 when there is no answer.
fn ask(
    what: &'static str,
    request: reqwest::blocking::RequestBuilder,
    seen: &Mutex<Seen>,
) -> (u16, Value) {
    let answer = request.send().ok().and_then(|answer| {
        let status = answer.status().as_u16();
        Some((status, answer.json::<Value>().ok()?))
    });
    let (status, body) = answer.unwrap_or_default();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    *seen.statuses.entry((what, status)).or_default() += 1;
    (status, body)
}

/// What an answer says of one task.
fn fate(item: &Value) -> Option<Submitted> {
    match (id_of(&item["id"]), item["status"].as_str()) {
        (Some(id), Some(state)) => {
            let state: TaskState = state.parse().ok()?;
            Some(Submitted::Accepted { id, state })
        }
        (Some(_), None) => None,
        (None, _) if item["error"].is_null() => None,
        (None, _) => Some(match id_of(&item["error"]["ids"][0]) {
            Some(id) => Submitted::Unknown { id },
            None => Submitted::Refused(Refusal::TooLarge),
        }),
    }
}

fn id_of(value: &Value) -> Option<TaskId> {
    value.as_str()?.parse().ok()
}
