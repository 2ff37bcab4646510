//! Duties that need one holder at a time: removing what has ended long ago, forgetting history, folding the totals of
//! nodes that are gone. Every write is guarded by the fence of the lock `@janitor`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::ended::by_task;
use crate::config::ServerConfig;
use crate::ids::{Fence, LeaseId, NodeId, OpId, OpIds, Revision, TaskId};
use crate::keyspace::{Key, Meaning, Range, Role};
use crate::planted::{planted, unless_planted};
use crate::record::{LaneRecord, LockRecord, NodeConfig, Record, Totals, Version};
use crate::rng::Rng;
use crate::store::{Batch, Call, Guard, Item, Query, ReadAnswer, Step, StoreCall, Write};
use crate::time::{Millis, Mono, Now, Wall};
use crate::view::ClusterView;

/// How often the janitor looks what there is to do, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a read may take before another is made.
const READ_MAX: Duration = Duration::from_secs(10);

/// How many keys are looked at in one go.
const PAGE: u32 = 500;

/// The most lanes that are looked at in one go.
const LANES_MAX: u32 = 10_000;

/// How often the view's revision is noted, to know which history is old enough.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);

/// What a step of the janitor's does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Queues for the lock.
    Queue,
    /// Removes ended tasks.
    Purge { tasks: u64 },
    /// Adds dead nodes' totals to the folded ones.
    Fold,
    /// Forgets the orders to a node that is gone: they were for that life.
    Forget,
}

impl Job {
    pub(super) fn totals(&self) -> Totals {
        match self {
            Self::Purge { tasks } => Totals {
                purged: *tasks,
                ..Totals::default()
            },
            Self::Queue | Self::Fold | Self::Forget => Totals::default(),
        }
    }
}

/// The janitor part of a scheduler process.
#[derive(Debug)]
pub(super) struct Janitor {
    me: NodeId,
    retention: Millis,
    history_min: Option<Duration>,
    queued: bool,
    /// A step is in a transaction.
    sent: bool,
    /// Everything was looked at; nothing is read before.
    rest_until: Mono,
    reading: Option<(OpId, Reading, Mono)>,
    /// Where the next look at the tasks begins.
    cursor: Option<Key>,
    /// Steps that wait for the lane.
    steps: VecDeque<(Job, Step)>,
    look_at: Option<Mono>,
    fold_every: Duration,
    fold_at: Mono,
    samples: VecDeque<(Mono, Revision)>,
    compacted: Revision,
    read: Option<(Reading, Revision, Vec<Item>, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Tasks,
    Lanes,
}

impl Janitor {
    pub(super) fn new(config: &ServerConfig, mut rng: Rng) -> Self {
        let first_look = Duration::from_millis(1 + rng.below(1_000));
        Self {
            me: config.id.clone(),
            retention: config.retention,
            history_min: config.history_min,
            queued: false,
            sent: false,
            rest_until: Mono::ZERO,
            reading: None,
            cursor: None,
            steps: VecDeque::new(),
            look_at: Some(Mono::ZERO.after(first_look)),
            fold_every: config.fold_every,
            fold_at: Mono::ZERO,
            samples: VecDeque::new(),
            compacted: Revision(0),
            read: None,
        }
    }

    /// The fence, while this process holds the lock as far as its view tells.
    fn fence(&self, view: &ClusterView) -> Option<Fence> {
        view.janitors.fence_of(&self.me)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.look_at
    }

    /// Says whether it is time to look.
    pub(super) fn on_time(&mut self, now: Mono) -> bool {
        let due = self.look_at.is_some_and(|at| at <= now);
        if due {
            self.look_at = Some(now.after(LOOK_EVERY));
            self.queued &= self.sent;
            if self.reading.is_some_and(|(_, _, until)| until <= now) {
                self.reading = None;
            }
        }
        due
    }

    /// Notes how far the view is.
    pub(super) fn on_view_at(&mut self, now: Mono, at: Revision) {
        let fresh = self
            .samples
            .back()
            .is_some_and(|(noted, _)| now.since(*noted) < SAMPLE_EVERY);
        let Some(kept) = self.history_min.filter(|_| !fresh) else {
            return;
        };
        self.samples.push_back((now, at));
        // Of those that are old enough, only the newest says anything.
        while self
            .samples
            .get(1)
            .is_some_and(|(noted, _)| now.since(*noted) >= kept)
        {
            self.samples.pop_front();
        }
    }

    /// Takes what it asked for, or hands it on when it is another's.
    pub(super) fn on_read(&mut self, now: Now, op: OpId, answer: ReadAnswer) -> Option<ReadAnswer> {
        let Some((_, what, _)) = self.reading.filter(|(own, ..)| *own == op) else {
            return Some(answer);
        };
        self.reading = None;
        if let ReadAnswer::Items { at, items, more } = answer {
            self.read = Some((what, at, items, more));
            self.look_at = Some(now.mono.after(Duration::from_nanos(1)));
        }
        None
    }

    /// Asks for what its duties need next, and turns what was read into steps.
    pub(super) fn advance<E: From<StoreCall>>(
        &mut self,
        now: Now,
        view: &ClusterView,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        let Some(fence) = self.fence(view) else {
            self.steps.retain(|(job, _)| *job == Job::Queue);
            self.read = None;
            return;
        };
        if let Some((what, at, items, more)) = self.read.take() {
            match what {
                Reading::Tasks => self.on_tasks(now, fence, at, &items, more),
                Reading::Lanes => self.on_lanes(fence, &items, view),
            }
        }
        self.compact(now.mono, view, ops, out);
        // What is in a transaction would be read as if it were still to be done.
        let busy = self.reading.is_some() || self.sent || !self.steps.is_empty();
        if busy || now.mono < self.rest_until {
            return;
        }
        if let Some(step) = self.forget_orders(fence, view) {
            self.steps.push_back((Job::Forget, step));
            return;
        }
        let (what, range, limit) = if self.fold_at <= now.mono {
            self.fold_at = now.mono.after(self.fold_every);
            (Reading::Lanes, Range::all_lanes(), LANES_MAX)
        } else if let Some(range) = self.next_tasks(now.wall) {
            (Reading::Tasks, range, PAGE)
        } else {
            self.rest_until = now.mono.after(LOOK_EVERY);
            return;
        };
        let limit = if planted!("M-30") { u32::MAX } else { limit };
        let op = ops.fresh();
        self.reading = Some((op, what, now.mono.after(READ_MAX)));
        out.push(
            StoreCall {
                op,
                call: Call::Read(Query::Range { range, limit }),
            }
            .into(),
        );
    }

    /// The first orders whose node is gone, or has another life than the one that they are for.
    fn forget_orders(&self, fence: Fence, view: &ClusterView) -> Option<Step> {
        let gone = |(node, (_, config)): &(&NodeId, &(Revision, NodeConfig))| {
            let worker = view.worker_life(node);
            !planted!("P-drain-order-outlives")
                && worker.is_none_or(|it| config.life.is_some_and(|life| life != it))
                && !view.has_scheduler(node)
        };
        let (node, (since, config)) = view.node_configs.iter().find(gone)?;
        let key = Key::node_config(node);
        let own = Key::node(Role::Worker, node);
        let gone = match config.life {
            Some(life) => Guard::Gone {
                key: own,
                since: life.0,
            },
            None => Guard::Absent(own),
        };
        let same = Guard::Unchanged {
            key: key.clone(),
            since: *since,
        };
        let guards = vec![
            self.lock_guard(fence),
            unless_planted!("P-forget-orders-unguarded", gone),
            unless_planted!("P-forget-orders-unguarded", same),
        ];
        Some(Step::new(guards, vec![Write::Delete { key }]))
    }

    /// The tasks to look at: from the cursor up to those that are too young to have been kept long enough.
    fn next_tasks(&mut self, wall: Wall) -> Option<Range> {
        let oldest_kept = TaskId::floor_of(Wall::from_millis(
            wall.as_millis().saturating_sub(self.retention.get()),
        ));
        let all = Range::new(Range::tasks().from, Key::task(oldest_kept));
        let range = match &self.cursor {
            Some(key) => all.behind(key),
            None => all,
        };
        if range.from < range.to {
            return Some(range);
        }
        self.cursor = None;
        None
    }

    fn on_tasks(&mut self, now: Now, fence: Fence, at: Revision, items: &[Item], more: bool) {
        let groups = by_task(items);
        let whole = if more && groups.len() > 1 {
            groups.len() - 1
        } else {
            groups.len()
        };
        self.cursor = groups[..whole]
            .last()
            .and_then(|group| group.items.last())
            .map(|item| item.key.clone())
            .filter(|_| more);
        if self.cursor.is_none() {
            self.rest_until = now.mono.after(LOOK_EVERY);
        }
        let mut run: Option<(TaskId, TaskId, u64)> = None;
        for group in &groups[..whole] {
            match group.ended_before(now.wall, self.retention) {
                Some(None) => {
                    run = Some(match run {
                        Some((first, _, tasks)) => (first, group.id, tasks + 1),
                        None => (group.id, group.id, 1),
                    });
                    continue;
                }
                Some(Some(unique)) => {
                    let step = group.purge(self.lock_guard(fence), unique);
                    self.steps.push_back((Job::Purge { tasks: 1 }, step));
                }
                None => {}
            }
            self.purge_run(fence, at, run.take());
        }
        self.purge_run(fence, at, run.take());
    }

    /// Neighbours that have all ended go in one write, if nothing was written among them since they were read.
    fn purge_run(&mut self, fence: Fence, at: Revision, run: Option<(TaskId, TaskId, u64)>) {
        let Some((first, last, tasks)) = run else {
            return;
        };
        let range = Range::new(Range::of_task(first).from, Range::of_task(last).to);
        let quiet = Guard::Quiet {
            range: range.clone(),
            since: at,
        };
        let step = Step::new(
            vec![self.lock_guard(fence), unless_planted!("M-17", quiet)],
            vec![Write::DeleteRange { range }],
        );
        self.steps.push_back((Job::Purge { tasks }, step));
    }

    fn lock_guard(&self, fence: Fence) -> Guard {
        let held = Guard::Alive {
            key: Key::janitor_waiter(&self.me),
            since: fence.0,
        };
        unless_planted!("M-25", held)
    }

    fn on_lanes(&mut self, fence: Fence, items: &[Item], view: &ClusterView) {
        let live = view.live_nodes();
        let folded = items
            .iter()
            .find(|item| Meaning::of(&item.key) == Meaning::FoldedTotals);
        let mut record = folded
            .and_then(|item| LaneRecord::decode(&item.found.value).ok())
            .unwrap_or_default();
        let mut step = Step::new(vec![self.lock_guard(fence)], Vec::new());
        for item in items {
            let Meaning::Lane(node) = Meaning::of(&item.key) else {
                continue;
            };
            let Ok(lane) = LaneRecord::decode(&item.found.value) else {
                continue;
            };
            // Room for the guards that both of a node's possible keys are absent, and for the folded record.
            if node == self.me || live.contains(&node) || step.guards.len() > 90 {
                continue;
            }
            for role in [Role::Scheduler, Role::Worker] {
                let absent = Guard::Absent(Key::node(role, &node));
                let absent = unless_planted!("P-fold-node-unguarded", absent);
                if !step.guards.contains(&absent) {
                    step.guards.push(absent);
                }
            }
            let own = Guard::Unchanged {
                key: item.key.clone(),
                since: item.found.modified,
            };
            step.guards
                .push(unless_planted!("P-fold-lane-unguarded", own));
            step.writes.push(Write::Delete {
                key: item.key.clone(),
            });
            record.totals.add(&lane.totals);
        }
        if step.writes.is_empty() {
            return;
        }
        let key = Key::folded_totals();
        step.guards.push(match folded {
            Some(item) => Guard::Unchanged {
                key: key.clone(),
                since: item.found.modified,
            },
            None => Guard::Absent(key.clone()),
        });
        record.number += 1;
        step.writes.push(Write::Put {
            key,
            value: record.encode(),
            lease: None,
        });
        self.steps.push_back((Job::Fold, step));
    }

    /// Forgets history that every live node has passed and that is old enough for the slowest watcher.
    fn compact<E: From<StoreCall>>(
        &mut self,
        now: Mono,
        view: &ClusterView,
        ops: &mut OpIds,
        out: &mut Vec<E>,
    ) {
        let Some(kept) = self.history_min else { return };
        let mut old = None;
        while let Some((_, at)) = self
            .samples
            .front()
            .filter(|(noted, _)| now.since(*noted) >= kept)
        {
            old = Some(*at);
            self.samples.pop_front();
        }
        let lowest = view
            .workers
            .values()
            .chain(view.schedulers.values())
            .map(|node| node.record.view)
            .filter(|at| *at > Revision(0))
            .min();
        let Some(at) = old.map(|old| lowest.map_or(old, |lowest| old.min(lowest))) else {
            return;
        };
        if at > self.compacted {
            self.compacted = at;
            out.push(
                StoreCall {
                    op: ops.fresh(),
                    call: Call::Compact { at },
                }
                .into(),
            );
        }
    }

    /// Adds its next step to an empty batch.
    pub(super) fn plan(
        &mut self,
        view: &ClusterView,
        lease: LeaseId,
        batch: &mut Batch<super::Job>,
    ) {
        let in_line = view.janitors.rank(&self.me).is_some();
        self.queued &= !in_line;
        if !in_line && !self.queued {
            let key = Key::janitor_waiter(&self.me);
            let record = LockRecord {
                v: Version,
                owner: Some(Arc::from(self.me.as_str())),
            };
            let write = Write::Put {
                key: key.clone(),
                value: record.encode(),
                lease: Some(lease),
            };
            self.queued = true;
            let free = Guard::Absent(key);
            self.steps
                .push_back((Job::Queue, Step::new(vec![free], vec![write])));
        }
        if let Some((job, step)) = self.steps.pop_front() {
            self.sent = true;
            batch
                .push(super::Job::Janitor(job), step)
                .expect("a duty fits an empty transaction");
        }
    }

    /// What was not applied is found again by the next look.
    /// Takes the fate of its step. Whoever could not queue for the lock tries again at the next look, not at once: its
    /// view may be too old to show that it stands in line already.
    pub(super) fn on_settled(&mut self) {
        self.sent = false;
    }
}
