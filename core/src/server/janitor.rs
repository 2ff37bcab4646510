//! Duties that need one holder at a time: removing what has ended long ago, forgetting history, folding the totals of
//! nodes that are gone. Every write is guarded by the fence of the lock `@janitor`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::ended::{Group, Run, behind, by_task};
use super::history::History;
use super::pressure::Pressure;
use super::window::{Reading, Window};
use crate::config::ServerConfig;
use crate::ids::{Fence, LeaseId, NodeId, OpId, OpIds, Revision};
use crate::keyspace::{Key, Meaning, Range, Role};
use crate::planted::{planted, unless_planted};
use crate::record::{LaneRecord, LockRecord, NodeConfig, Record, Totals, Version};
use crate::rng::Rng;
use crate::room::{KEPT_MIN, Level};
use crate::store::{Batch, Call, Guard, Item, Query, ReadAnswer, Step, StoreCall, Usage, Write};
use crate::time::{Millis, Mono, Now, Wall};
use crate::view::ClusterView;

/// How often the janitor looks what there is to do, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a read may take before another is made.
const READ_MAX: Duration = Duration::from_secs(10);

/// What a step of the janitor's does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    /// Queues for the lock.
    Queue,
    /// Removes ended tasks, and with them so many bytes.
    Purge { tasks: u64, bytes: u64 },
    /// Adds dead nodes' totals to the folded ones.
    Fold,
    /// Forgets the orders to a node that is gone: they were for that life.
    Forget,
}

impl Job {
    pub(super) fn totals(&self) -> Totals {
        match self {
            Self::Purge { tasks, .. } => Totals {
                purged: *tasks,
                ..Totals::default()
            },
            Self::Queue | Self::Fold | Self::Forget => Totals::default(),
        }
    }

    /// The bytes of the tasks that it removes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Purge { bytes, .. } => *bytes,
            Self::Queue | Self::Fold | Self::Forget => 0,
        }
    }
}

/// The janitor part of a scheduler process.
#[derive(Debug)]
pub(super) struct Janitor {
    me: NodeId,
    retention: Millis,
    history: History,
    pressure: Pressure,
    queued: bool,
    /// A step is in a transaction.
    sent: bool,
    /// Everything was looked at; nothing is read before.
    rest_until: Mono,
    reading: Option<(OpId, Reading, Mono)>,
    /// Where the next look at the tasks begins.
    cursor: Option<Key>,
    window: Window,
    /// Steps that wait for the lane.
    steps: VecDeque<(Job, Step)>,
    look_at: Option<Mono>,
    fold_every: Duration,
    fold_at: Mono,
    read: Option<(Reading, Revision, Vec<Item>, bool)>,
}

impl Janitor {
    pub(super) fn new(config: &ServerConfig, mut rng: Rng) -> Self {
        let first_look = Duration::from_millis(1 + rng.below(1_000));
        Self {
            me: config.id.clone(),
            retention: config.retention,
            history: History::new(config.history_min),
            pressure: Pressure::default(),
            queued: false,
            sent: false,
            rest_until: Mono::ZERO,
            reading: None,
            cursor: None,
            window: Window::default(),
            steps: VecDeque::new(),
            look_at: Some(Mono::ZERO.after(first_look)),
            fold_every: config.fold_every,
            fold_at: Mono::ZERO,
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
        self.history.on_view_at(now, at);
    }

    /// The store has told how full it is.
    pub(super) fn on_usage(&mut self, asked: Mono, level: Level, usage: &Usage) {
        let cuts_history = self.history.is_cut();
        self.pressure.on_usage(asked, level, usage, cuts_history);
    }

    /// The store has forgotten some history, or has not.
    pub(super) fn on_compacted(&mut self, now: Mono, op: OpId, is_done: bool) {
        if let Some(at) = self.history.on_answer(op, is_done) {
            self.pressure.on_forgotten(now, at);
        }
    }

    /// How long the ended tasks that were removed last for want of room had been kept.
    pub(super) fn kept(&self) -> Option<Millis> {
        self.pressure.kept()
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
            self.pressure.forget_plans();
            self.read = None;
            return;
        };
        if let Some((what, at, items, more)) = self.read.take() {
            match what {
                Reading::Tasks | Reading::Early => {
                    self.on_tasks(now, fence, what, at, &items, more);
                }
                Reading::Lanes => self.on_lanes(fence, &items, view),
            }
        }
        let level = self.pressure.level();
        self.history.advance(now.mono, level, view, ops, out);
        // What is in a transaction would be read as if it were still to be done.
        let busy = self.reading.is_some() || self.sent || !self.steps.is_empty();
        let rests = now.mono < self.rest_until && !self.pressure.is_on();
        if busy || rests {
            return;
        }
        if let Some(step) = self.forget_orders(fence, view) {
            self.steps.push_back((Job::Forget, step));
            return;
        }
        let (what, range) = if self.fold_at <= now.mono {
            self.fold_at = now.mono.after(self.fold_every);
            (Reading::Lanes, Range::all_lanes())
        } else if self.pressure.is_on() {
            (Reading::Early, self.next_early(now.wall))
        } else if let Some(range) = self.next_tasks(now.wall) {
            (Reading::Tasks, range)
        } else {
            self.rest_until = now.mono.after(LOOK_EVERY);
            return;
        };
        let limit = if planted!("M-30") {
            u32::MAX
        } else {
            what.page()
        };
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
        let range = behind(self.cursor.as_ref(), wall, self.retention);
        if range.is_none() {
            self.cursor = None;
        }
        range.map(|range| self.window.cut(self.cursor.as_ref(), range))
    }

    /// The tasks that may have to go, whatever the retention: from the oldest on, and at the end from the beginning.
    fn next_early(&mut self, wall: Wall) -> Range {
        let kept = self.retention.min(KEPT_MIN);
        let cursor = self.pressure.cursor.take();
        if let Some(range) = behind(cursor.as_ref(), wall, kept) {
            let cut = self.window.cut(cursor.as_ref(), range);
            self.pressure.cursor = cursor;
            return cut;
        }
        let all = behind(None, wall, kept).unwrap_or_else(Range::tasks);
        self.window.cut(None, all)
    }

    fn on_tasks(
        &mut self,
        now: Now,
        fence: Fence,
        what: Reading,
        at: Revision,
        items: &[Item],
        more: bool,
    ) {
        let groups = by_task(items);
        let whole = if more && groups.len() > 1 {
            groups.len() - 1
        } else {
            groups.len()
        };
        self.window.learn(items.len(), what.page(), more);
        let mut run: Option<Run> = None;
        let (mut last, mut stopped) = (None, false);
        for group in &groups[..whole] {
            if what == Reading::Early && !self.pressure.is_on() {
                stopped = true;
                break;
            }
            last = group.items.last().map(|item| item.key.clone());
            match self.goes(now.wall, what, group) {
                Some(None) => {
                    let run = run.get_or_insert_with(|| Run::from(group.id));
                    run.last = group.id;
                    run.tasks += 1;
                    run.bytes += group.bytes();
                    continue;
                }
                Some(Some(unique)) => {
                    let step = group.purge(self.lock_guard(fence), unique);
                    let (tasks, bytes) = (1, group.bytes());
                    self.steps.push_back((Job::Purge { tasks, bytes }, step));
                }
                None => {}
            }
            self.purge_run(fence, at, run.take());
        }
        self.purge_run(fence, at, run.take());
        let cursor = if more || stopped {
            last
        } else {
            self.window.end()
        };
        if what == Reading::Early {
            // At the end the same tasks are not looked at again at once: some of them will be old enough a little later.
            if cursor.is_none() {
                self.pressure.wait();
            }
            self.pressure.cursor = cursor;
            return;
        }
        if cursor.is_none() {
            self.rest_until = now.mono.after(LOOK_EVERY);
        }
        self.cursor = cursor;
    }

    /// Whether a task goes now; then also its idempotency key.
    fn goes(&mut self, wall: Wall, what: Reading, group: &Group<'_>) -> Option<Option<Arc<str>>> {
        let ended = match group.ended_before(wall, self.retention) {
            Some(ended) => ended,
            None if what == Reading::Early => {
                let ended = group.ended_before(wall, self.retention.min(KEPT_MIN))?;
                self.pressure.note_early(wall.since(ended.at));
                ended
            }
            None => return None,
        };
        self.pressure.plan(group.bytes());
        Some(ended.unique)
    }

    /// Neighbours that have all ended go in one write, if nothing was written among them since they were read.
    fn purge_run(&mut self, fence: Fence, at: Revision, run: Option<Run>) {
        let Some(run) = run else {
            return;
        };
        let range = Range::new(Range::of_task(run.first).from, Range::of_task(run.last).to);
        let quiet = Guard::Quiet {
            range: range.clone(),
            since: at,
        };
        let step = Step::new(
            vec![self.lock_guard(fence), unless_planted!("M-17", quiet)],
            vec![Write::DeleteRange { range }],
        );
        let (tasks, bytes) = (run.tasks, run.bytes);
        self.steps.push_back((Job::Purge { tasks, bytes }, step));
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

    /// Adds as many of its next steps to an empty batch as fit.
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
        while let Some((job, step)) = self.steps.pop_front() {
            if let Err(left) = batch.push(super::Job::Janitor(job.clone()), step) {
                assert!(!batch.is_empty(), "a duty fits an empty transaction");
                self.steps.push_front((job, left.step));
                break;
            }
            self.sent = true;
        }
    }

    /// What was not applied is found again by the next look.
    /// Takes the fate of its step. Whoever could not queue for the lock tries again at the next look, not at once: its
    /// view may be too old to show that it stands in line already.
    pub(super) fn on_settled(&mut self, now: Mono, at: Option<Revision>, bytes: u64) {
        self.sent = false;
        self.pressure.on_settled(now, at, bytes);
    }
}
