//! The only place that spells keys. The order of keys is the order of the queue.

mod spelling;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::spelling::Spelling;
use crate::ids::{LockName, NodeId, Priority, QueueName, TaskId};
use crate::time::Wall;

/// A key of the store, without the deployment's prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Arc<str>);

impl Key {
    /// A key as the store gave it.
    pub fn from_store(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The task's own record. A small task that was placed by its submission has none before it leaves its claim alive, and
    /// none at all if its first attempt ends it: see [`crate::record::ClaimRecord::only_copy`].
    pub fn task(id: TaskId) -> Self {
        Spelling::new("/tasks/").task(id).key()
    }

    /// How the task ended.
    pub fn outcome(id: TaskId) -> Self {
        Spelling::new("/tasks/").task(id).text("/outcome").key()
    }

    /// How often an operator ran the task again.
    pub fn run(id: TaskId) -> Self {
        Spelling::new("/tasks/").task(id).text("/run").key()
    }

    /// A waiting task.
    pub fn entry(queue: &QueueName, place: Place) -> Self {
        Spelling::new("/queues/")
            .text(queue.as_str())
            .text("/")
            .place(place)
            .key()
    }

    /// One attempt of a task, given to `worker`.
    pub fn claim(worker: &NodeId, place: Place) -> Self {
        Spelling::new("/queues/@")
            .text(worker.as_str())
            .text("/")
            .place(place)
            .key()
    }

    /// A task that is not due before `due`.
    pub fn delayed(due: Wall, task: TaskId) -> Self {
        Spelling::new("/delayed/")
            .millis(due)
            .text("_")
            .task(task)
            .key()
    }

    /// A task whose attempts are spent.
    pub fn dead(queue: &QueueName, task: TaskId) -> Self {
        Spelling::new("/dead/")
            .text(queue.as_str())
            .text("/")
            .task(task)
            .key()
    }

    /// A queue's settings.
    pub fn queue_config(queue: &QueueName) -> Self {
        Self(format!("/config/queues/{queue}").into())
    }

    /// Orders to a node.
    pub fn node_config(node: &NodeId) -> Self {
        Self(format!("/config/nodes/{node}").into())
    }

    /// A node's own key: its life.
    pub fn node(role: Role, node: &NodeId) -> Self {
        Self(format!("/nodes/{role}/{node}").into())
    }

    /// What a worker takes now.
    pub fn offer(worker: &NodeId) -> Self {
        Spelling::new("/offers/").text(worker.as_str()).key()
    }

    /// A lane of a process.
    pub fn lane(node: &NodeId, lane: LaneName) -> Self {
        Self(format!("/stats/{node}/{lane}").into())
    }

    /// The totals of nodes that are gone. No node can have this name.
    pub fn folded_totals() -> Self {
        Self("/stats/@folded/totals".into())
    }

    /// One waiter of a lock of users.
    pub fn lock_waiter(lock: &LockName, waiter: &NodeId) -> Self {
        Self(format!("/locks/{lock}/{waiter}").into())
    }

    /// One waiter of the janitor's lock. No lock of users can have this name.
    pub fn janitor_waiter(waiter: &NodeId) -> Self {
        Self(format!("/locks/@janitor/{waiter}").into())
    }

    /// The record behind an idempotency key, by the hash of that key.
    pub fn unique(hash: &str) -> Self {
        Self(format!("/unique/{hash}").into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves the API and places tasks.
    Scheduler,
    /// Runs tasks.
    Worker,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "scheduler" => Some(Self::Scheduler),
            "worker" => Some(Self::Worker),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
        })
    }
}

/// The name of a lane within its process: a letter for the part that owns it, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneName {
    /// `g` gateway, `s` scheduler, `w` worker.
    pub part: char,
    /// Counts from 0.
    pub index: u8,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.part, self.index)
    }
}

/// Where a task stands in a queue: by priority, then time, then id. The same suffix names its entry and its claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The most urgent first.
    pub priority: Priority,
    /// When the task was submitted, due, or run again.
    pub timestamp: Wall,
    /// Decides between equals.
    pub task: TaskId,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("priority_")?;
        let (priority, rest) = rest.split_at_checked(1)?;
        let priority = priority.parse().ok()?;
        let (timestamp, task) = parse_timed(rest.strip_prefix('_')?)?;
        Some(Self {
            priority,
            timestamp,
            task,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "priority_{}_{:013}_{}",
            self.priority,
            self.timestamp.as_millis(),
            self.task
        )
    }
}

fn parse_timed(text: &str) -> Option<(Wall, TaskId)> {
    let (millis, rest) = text.split_at_checked(13)?;
    if !millis.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((
        Wall::from_millis(millis.parse().ok()?),
        rest.strip_prefix('_')?.parse().ok()?,
    ))
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// `/config/queues/{queue}`
    QueueConfig(QueueName),
    /// `/config/nodes/{node_id}`
    NodeConfig(NodeId),
    /// `/dead/{queue}/{task_id}`
    Dead(QueueName, TaskId),
    /// `/delayed/{due_ms}_{task_id}`
    Delayed(Wall, TaskId),
    /// `/locks/{lock_key}/{waiter}`
    LockWaiter(LockName, NodeId),
    /// `/locks/@janitor/{waiter}`
    JanitorWaiter(NodeId),
    /// `/nodes/{role}/{node_id}`
    Node(Role, NodeId),
    /// `/offers/{worker_id}`
    Offer(NodeId),
    /// `/queues/{queue}/…`
    Entry(QueueName, Place),
    /// `/queues/@{worker_id}/…`
    Claim(NodeId, Place),
    /// `/stats/{node_id}/{lane}`
    Lane(NodeId),
    /// `/stats/@folded/totals`
    FoldedTotals,
    /// `/tasks/{task_id}`
    Task(TaskId),
    /// `/tasks/{task_id}/outcome`
    Outcome(TaskId),
    /// `/tasks/{task_id}/run`
    Run(TaskId),
    /// `/unique/{hash}`
    Unique,
    /// Nothing of ours, or of a version to come.
    Foreign,
}

impl Meaning {
    /// Reads a key. Every text has a meaning; what is not ours is [`Meaning::Foreign`].
    pub fn of(key: &Key) -> Self {
        Self::parse(key.as_str()).unwrap_or(Self::Foreign)
    }

    fn parse(key: &str) -> Option<Self> {
        let (kind, rest) = part(key.strip_prefix('/')?);
        let (first, rest) = part(rest?);
        let (second, rest) = rest.map(part).unzip();
        if rest.flatten().is_some() {
            return None;
        }
        Some(match (kind, second) {
            ("queues", Some(place)) => match first.strip_prefix('@') {
                Some(worker) => Self::Claim(worker.parse().ok()?, Place::parse(place)?),
                None => Self::Entry(first.parse().ok()?, Place::parse(place)?),
            },
            ("tasks", None) => Self::Task(first.parse().ok()?),
            ("tasks", Some("outcome")) => Self::Outcome(first.parse().ok()?),
            ("tasks", Some("run")) => Self::Run(first.parse().ok()?),
            ("delayed", None) => {
                let (due, task) = parse_timed(first)?;
                Self::Delayed(due, task)
            }
            ("dead", Some(task)) => Self::Dead(first.parse().ok()?, task.parse().ok()?),
            ("nodes", Some(node)) => Self::Node(Role::parse(first)?, node.parse().ok()?),
            ("offers", None) => Self::Offer(first.parse().ok()?),
            ("config", Some(name)) => match first {
                "queues" => Self::QueueConfig(name.parse().ok()?),
                "nodes" => Self::NodeConfig(name.parse().ok()?),
                _ => return None,
            },
            ("locks", Some(waiter)) => match first {
                "@janitor" => Self::JanitorWaiter(waiter.parse().ok()?),
                lock => Self::LockWaiter(lock.parse().ok()?, waiter.parse().ok()?),
            },
            ("stats", Some(lane)) => match (first, lane) {
                ("@folded", "totals") => Self::FoldedTotals,
                (node, _) => Self::Lane(node.parse().ok()?),
            },
            ("unique", None) => Self::Unique,
            _ => return None,
        })
    }
}

/// Text up to a slash, and what follows it, if there is one. Keys are short: a search made for long texts is slower.
fn part(text: &str) -> (&str, Option<&str>) {
    match text.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&text[..slash], Some(&text[slash + 1..])),
        None => (text, None),
    }
}

/// All keys from `from` up to, but not including, `to`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// The first key.
    pub from: Key,
    /// The first key behind the range.
    pub to: Key,
}

impl Range {
    /// The keys from `from` up to, but not including, `to`.
    pub fn new(from: Key, to: Key) -> Self {
        Self { from, to }
    }

    fn of_folder(folder: String) -> Self {
        assert!(
            folder.ends_with('/'),
            "a folder ends with a slash, so that no neighbour shares its prefix"
        );
        let end = format!("{}0", &folder[..folder.len() - 1]);
        Self {
            from: Key(folder.into()),
            to: Key(end.into()),
        }
    }

    /// `/config/` … `/queues/`: everything that a scheduler process decides on, contiguous, so that one watch covers it.
    pub fn cluster() -> Self {
        Self {
            from: Key("/config/".into()),
            to: Key("/queues0".into()),
        }
    }

    /// The claims of one worker.
    pub fn claims_of(worker: &NodeId) -> Self {
        Self::of_folder(format!("/queues/@{worker}/"))
    }

    /// Everybody who holds or waits for a lock of users.
    pub fn waiters_of(lock: &LockName) -> Self {
        Self::of_folder(format!("/locks/{lock}/"))
    }

    /// The lanes of one node.
    pub fn lanes_of(node: &NodeId) -> Self {
        Self::of_folder(format!("/stats/{node}/"))
    }

    /// Every node's lanes, and the folded totals.
    pub fn all_lanes() -> Self {
        Self::of_folder("/stats/".to_owned())
    }

    /// Every task, outcome and run.
    pub fn tasks() -> Self {
        Self::of_folder("/tasks/".to_owned())
    }

    /// What belongs to one task: its record, outcome and run, and nothing else.
    pub fn of_task(id: TaskId) -> Self {
        Self {
            from: Key::task(id),
            to: Key(format!("/tasks/{id}0").into()),
        }
    }

    /// Exactly one key.
    pub fn of_key(key: &Key) -> Self {
        Self {
            from: key.clone(),
            to: Key(format!("{key}\0").into()),
        }
    }

    /// Whether `key` lies inside.
    pub fn contains(&self, key: &Key) -> bool {
        self.from <= *key && *key < self.to
    }

    /// What follows `key` in this range.
    #[must_use]
    pub fn behind(&self, key: &Key) -> Self {
        Self {
            from: Key(format!("{key}\0").into()),
            to: self.to.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (0_u8..=9, 0..=Wall::MAX.as_millis(), any::<u128>()).prop_map(|(priority, millis, id)| {
            Place {
                priority: Priority::new(priority).unwrap(),
                timestamp: Wall::from_millis(millis),
                task: uuid::Uuid::from_u128(id).to_string().parse().unwrap(),
            }
        })
    }

    fn queue() -> impl Strategy<Value = QueueName> {
        "[A-Za-z0-9._-]{1,128}".prop_map(|text| text.parse().unwrap())
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_the_order_of_the_queue(queue in queue(), a in place(), b in place()) {
            prop_assert_eq!(a.cmp(&b), Key::entry(&queue, a).cmp(&Key::entry(&queue, b)));
        }

        #[test]
        fn keys_read_back(queue in queue(), place in place()) {
            let worker: NodeId = queue.as_str().parse().unwrap();
            let cases = [
                (Key::entry(&queue, place), Meaning::Entry(queue.clone(), place)),
                (Key::claim(&worker, place), Meaning::Claim(worker.clone(), place)),
                (Key::delayed(place.timestamp, place.task), Meaning::Delayed(place.timestamp, place.task)),
                (Key::dead(&queue, place.task), Meaning::Dead(queue.clone(), place.task)),
                (Key::task(place.task), Meaning::Task(place.task)),
                (Key::outcome(place.task), Meaning::Outcome(place.task)),
                (Key::run(place.task), Meaning::Run(place.task)),
                (Key::node(Role::Worker, &worker), Meaning::Node(Role::Worker, worker.clone())),
                (Key::offer(&worker), Meaning::Offer(worker.clone())),
                (Key::queue_config(&queue), Meaning::QueueConfig(queue.clone())),
                (Key::node_config(&worker), Meaning::NodeConfig(worker.clone())),
                (Key::janitor_waiter(&worker), Meaning::JanitorWaiter(worker.clone())),
                (Key::lane(&worker, LaneName { part: 'w', index: 3 }), Meaning::Lane(worker.clone())),
            ];
            for (key, meaning) in cases {
                prop_assert_eq!(Meaning::of(&key), meaning);
            }
        }

        #[test]
        fn no_text_is_too_strange_to_have_a_meaning(text in "\\PC*") {
            let _ = Meaning::of(&Key::from_store(text));
        }

        #[test]
        fn an_entry_never_lies_in_another_queue(a in queue(), b in queue(), place in place()) {
            let inside = Range::of_folder(format!("/queues/{a}/")).contains(&Key::entry(&b, place));
            prop_assert_eq!(inside, a == b);
        }
    }

    #[test]
    fn the_cluster_range_holds_what_schedulers_decide_on_and_no_payloads() {
        let worker: NodeId = "w".parse().unwrap();
        let id = TaskId::floor_of(Wall::from_millis(1));
        let range = Range::cluster();
        assert!(
            range.contains(&Key::node_config(&worker))
                && range.contains(&Key::delayed(Wall::MAX, id))
        );
        assert!(
            range.contains(&Key::offer(&worker)) && range.contains(&Key::janitor_waiter(&worker))
        );
        assert!(!range.contains(&Key::task(id)) && !range.contains(&Key::folded_totals()));
    }

    #[test]
    fn near_misses_are_foreign() {
        for text in [
            "",
            "/",
            "/tasks",
            "/tasks/",
            "/queues/a/priority_5_1_x",
            "/queues/a/priority_55_0000000000001_x",
            "/queues/@/priority_5_0000000000001_00000000-0000-7000-8000-000000000000",
            "/delayed/0000000000001_00000000-0000-7000-8000-000000000000/x",
            "/delayed/+000000000001_00000000-0000-7000-8000-000000000000",
            "/nodes/king/a",
            "/config/x/y",
            "/tasks/00000000-0000-7000-8000-000000000000/other",
        ] {
            assert_eq!(
                Meaning::of(&Key::from_store(text)),
                Meaning::Foreign,
                "{text}"
            );
        }
    }
}
