//! Duties that need one holder at a time: removing what has ended long ago, forgetting history, folding the totals of
//! nodes that are gone. Every write is guarded by the fence of the lock `@janitor`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::ended::{Group, Run, Standing, by_task};
use super::gone;
use super::history::History;
use super::pressure::Pressure;
use super::sweep::Sweep;
use crate::config::ServerConfig;
use crate::ids::{Fence, LeaseId, NodeId, OpId, OpIds, Revision};
use crate::keyspace::{Key, Range};
use crate::planted::{planted, unless_planted};
use crate::record::{LockRecord, Record, Totals, Version};
use crate::rng::Rng;
use crate::room::{KEPT_MIN, Level};
use crate::store::{Batch, Call, Guard, Item, Query, ReadAnswer, Step, StoreCall, Usage, Write};
use crate::time::{Millis, Mono, Now, Wall};
use crate::view::ClusterView;

/// How often the janitor looks what there is to do, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a read may take before another is made.
const READ_MAX: Duration = Duration::from_secs(10);

/// The most lanes that are looked at in one go.
const LANES_MAX: u32 = 10_000;

/// What the janitor reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Tasks that may have been kept long enough.
    Tasks,
    /// Tasks that may have to go before that.
    Early,
    /// The lanes of nodes that may be gone.
    Lanes,
}

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
    sweep: Sweep,
    /// The last look at the tasks was for want of room.
    was_early: bool,
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
            sweep: Sweep::default(),
            was_early: false,
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
        if let Some(at) = self.history.on_answer(now, op, is_done) {
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
                Reading::Lanes => {
                    let step = gone::fold(&self.me, self.lock_guard(fence), &items, view);
                    self.steps.extend(step.map(|step| (Job::Fold, step)));
                }
            }
        }
        let level = self.pressure.level();
        self.history.advance(now.mono, level, view, ops, out);
        let rests = now.mono < self.rest_until && !self.pressure.is_on();
        if self.reading.is_some() || !self.steps.is_empty() || rests {
            return;
        }
        if !self.sent
            && let Some(step) = gone::forget_orders(self.lock_guard(fence), view)
        {
            self.steps.push_back((Job::Forget, step));
            return;
        }
        let Some((what, range)) = self.next(now) else {
            return;
        };
        let limit = if planted!("M-30") {
            u32::MAX
        } else if what == Reading::Lanes {
            LANES_MAX
        } else {
            self.sweep.page()
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

    /// What is read next, if anything is.
    fn next(&mut self, now: Now) -> Option<(Reading, Range)> {
        if self.fold_at <= now.mono && !self.sent {
            self.fold_at = now.mono.after(self.fold_every);
            Some((Reading::Lanes, Range::all_lanes()))
        } else {
            self.next_tasks(now)
        }
    }

    fn next_tasks(&mut self, now: Now) -> Option<(Reading, Range)> {
        let early = self.pressure.is_on();
        if early && !self.was_early {
            // The oldest go first.
            self.sweep.restart();
        }
        // What is in a transaction would be found as if it were still to be done.
        if self.sent && !self.sweep.is_under_way() {
            return None;
        }
        self.was_early = early;
        let what = if early {
            Reading::Early
        } else {
            Reading::Tasks
        };
        let Some(range) = self.sweep.next(now, self.kept_in(what)) else {
            self.end_look(now.mono);
            return None;
        };
        Some((what, range))
    }

    /// How long ended tasks are kept.
    fn kept_in(&self, what: Reading) -> Millis {
        match what {
            Reading::Tasks | Reading::Lanes => self.retention,
            Reading::Early => self.retention.min(KEPT_MIN),
        }
    }

    /// The same tasks are not looked at again at once: some of them will be old enough a little later.
    fn end_look(&mut self, now: Mono) {
        self.rest_until = now.after(LOOK_EVERY);
        if self.was_early {
            self.pressure.wait();
        }
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
        self.sweep.learn(items.len(), more);
        let mut run: Option<Run> = None;
        let (mut last, mut stopped) = (None, false);
        for group in &groups[..whole] {
            if what == Reading::Early && !self.pressure.is_on() {
                stopped = true;
                break;
            }
            match self.goes(now.wall, what, group) {
                Standing::Goes { unique: None, .. } => {
                    let run = run.get_or_insert_with(|| Run::from(group.id));
                    run.last = group.id;
                    run.tasks += 1;
                    run.bytes += group.bytes();
                    last = group.end();
                    continue;
                }
                Standing::Goes {
                    unique: Some(unique),
                    ..
                } => {
                    let step = group.purge(self.lock_guard(fence), unique);
                    let (tasks, bytes) = (1, group.bytes());
                    self.steps.push_back((Job::Purge { tasks, bytes }, step));
                }
                Standing::GoesLater => self.sweep.stays(last.as_ref()),
                Standing::Stays => {}
            }
            last = group.end();
            self.purge_run(fence, at, run.take());
        }
        self.purge_run(fence, at, run.take());
        if self.sweep.passed(last, !more && !stopped) {
            self.end_look(now.mono);
        }
    }

    /// Whether a task goes now.
    fn goes(&mut self, wall: Wall, what: Reading, group: &Group<'_>) -> Standing {
        let standing = group.standing(wall, self.kept_in(what));
        if let Standing::Goes { ended, .. } = standing {
            if what == Reading::Early && wall.since(ended) < self.retention {
                self.pressure.note_early(wall.since(ended));
            }
            self.pressure.plan(group.bytes());
        }
        standing
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

    /// Takes the fate of its step: what was not applied is found again by a later look. Whoever could not queue for the lock
    /// tries again at the next look, not at once: its view may be too old to show that it stands in line already.
    pub(super) fn on_settled(&mut self, now: Mono, at: Option<Revision>, bytes: u64) {
        self.sent = false;
        self.pressure.on_settled(now, at, bytes);
    }
}
