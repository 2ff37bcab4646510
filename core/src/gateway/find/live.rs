//! Tasks of the view that a query may mean: those that live, and those whose attempts are spent.

use std::ops::Bound;

use super::{Order, Reached, facts};
use crate::filter::{Facts, Filter, Reach};
use crate::ids::{NodeId, QueueName, TaskId};
use crate::task_state::TaskState;
use crate::time::Wall;
use crate::view::{ClusterView, Spot};

/// Up to so many tasks are looked at one by one and put in order; of more, all are walked through in the order of ids.
const GATHERED_MAX: usize = 5_000;

/// How many times longer a judgement takes than passing a task over by its place.
pub(super) const JUDGED: usize = 3;

/// Where to look, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) order: Order,
    /// Only behind this id.
    pub(super) behind: Option<TaskId>,
    /// How many tasks are wanted.
    pub(super) most: usize,
    /// How much may be looked at.
    pub(super) looks: usize,
}

/// A task that may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) id: TaskId,
    /// Only the store can tell whether it is.
    pub(super) is_doubtful: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) found: Vec<Candidate>,
    pub(super) reached: Reached,
    /// How much was looked at.
    pub(super) looks: usize,
}

impl Looked {
    /// Leaves all but the first `most` for later.
    pub(super) fn cut(&mut self, most: usize) {
        if self.found.len() > most {
            self.found.truncate(most);
            let last = self.found.last();
            self.reached = last.map_or(self.reached, |it| Reached::Position(it.id));
        }
    }
}

impl Look {
    /// The first tasks in order that `filter` may mean.
    pub(super) fn at(
        self,
        filter: &Filter,
        reach: &Reach,
        now: Wall,
        view: &ClusterView,
    ) -> Looked {
        if is_few(reach, view) {
            self.gather(filter, reach, now, view)
        } else {
            self.walk(filter, reach, now, view)
        }
    }

    fn is_behind(&self, id: TaskId) -> bool {
        self.behind.is_none_or(|behind| match self.order {
            Order::Oldest => id > behind,
            Order::Newest => id < behind,
        })
    }

    fn gather(self, filter: &Filter, reach: &Reach, now: Wall, view: &ClusterView) -> Looked {
        let (mut found, mut looks) = (Vec::new(), 0);
        each(reach, view, |task| {
            looks += 1;
            if reach.has(task.id) && self.is_behind(task.id) {
                found.extend(candidate(filter, &task, now));
            }
            true
        });
        found.sort();
        found.dedup_by_key(|it| it.id);
        if self.order == Order::Newest {
            found.reverse();
        }
        let reached = Reached::End;
        let mut looked = Looked {
            found,
            reached,
            looks,
        };
        looked.cut(self.most);
        looked
    }

    fn walk(self, filter: &Filter, reach: &Reach, now: Wall, view: &ClusterView) -> Looked {
        let mut looked = Looked {
            found: Vec::new(),
            reached: Reached::End,
            looks: 0,
        };
        let Some(ids) = self.ids(reach) else {
            return looked;
        };
        let places = Places::of(reach);
        let mut spots = view.spots(ids);
        loop {
            let next = match self.order {
                Order::Oldest => spots.next(),
                Order::Newest => spots.next_back(),
            };
            let Some((id, spot)) = next else {
                looked.reached = Reached::End;
                return looked;
            };
            looked.looks += 1;
            looked.reached = Reached::Position(id);
            if places.has(spot) {
                looked.looks += JUDGED - 1;
                let task = facts::of_spot(id, spot, view);
                looked
                    .found
                    .extend(task.and_then(|task| candidate(filter, &task, now)));
            }
            if looked.looks >= self.looks || looked.found.len() >= self.most {
                return looked;
            }
        }
    }

    /// The ids that are left; `None` when there are none.
    fn ids(&self, reach: &Reach) -> Option<(Bound<TaskId>, Bound<TaskId>)> {
        let (mut first, mut last) = (reach.first, reach.last);
        match (self.order, self.behind.map(TaskId::as_u128)) {
            (Order::Oldest, Some(behind)) => first = first.max(behind.checked_add(1)?),
            (Order::Newest, Some(behind)) => last = last.min(behind.checked_sub(1)?),
            (Order::Oldest | Order::Newest, None) => {}
        }
        let bound = |id| Bound::Included(TaskId::from_u128(id));
        (first <= last).then(|| (bound(first), bound(last)))
    }
}

fn candidate(filter: &Filter, task: &Facts<'_>, now: Wall) -> Option<Candidate> {
    let verdict = filter.judge(task, now);
    (verdict != Some(false)).then_some(Candidate {
        id: task.id,
        is_doubtful: verdict.is_none(),
    })
}

fn has_queue(reach: &Reach, queue: &QueueName) -> bool {
    let queues = reach.queues.as_ref();
    queues.is_none_or(|queues| queues.contains(queue))
}

fn has_worker(reach: &Reach, worker: &NodeId) -> bool {
    let workers = reach.workers.as_ref();
    workers.is_none_or(|workers| workers.contains(worker))
}

const DELAYED: [TaskState; 2] = [TaskState::Scheduled, TaskState::Retrying];

/// Where in the view tasks can be meant.
#[derive(Debug)]
struct Places<'a> {
    reach: &'a Reach,
    pending: bool,
    running: bool,
    delayed: bool,
    failed: bool,
}

impl<'a> Places<'a> {
    fn of(reach: &'a Reach) -> Self {
        Self {
            pending: reach.states.contains(&TaskState::Pending),
            running: reach.states.contains(&TaskState::Running),
            delayed: reach.has_any(&DELAYED),
            failed: reach.states.contains(&TaskState::Failed),
            reach,
        }
    }

    fn has(&self, spot: &Spot) -> bool {
        match spot {
            Spot::Entry(queue, _) => self.pending && has_queue(self.reach, queue),
            Spot::Claim(worker, _) => self.running && has_worker(self.reach, worker),
            Spot::Delayed(_) => self.delayed,
            Spot::Dead(queue) => self.failed && has_queue(self.reach, queue),
        }
    }
}

/// Whether so few tasks can be meant that all of them are looked at at once.
pub(super) fn is_few(reach: &Reach, view: &ClusterView) -> bool {
    size(reach, view) <= GATHERED_MAX
}

/// How many tasks of the view lie where tasks can be meant.
fn size(reach: &Reach, view: &ClusterView) -> usize {
    let mut size = 0;
    if reach.states.contains(&TaskState::Pending) {
        let queues = view.entries.iter().filter(|it| has_queue(reach, it.0));
        size += queues.map(|it| it.1.len()).sum::<usize>();
    }
    if reach.states.contains(&TaskState::Running) {
        let workers = view.claims.iter().filter(|it| has_worker(reach, it.0));
        size += workers.map(|it| it.1.len()).sum::<usize>();
    }
    if reach.has_any(&DELAYED) {
        size += view.delayed.len();
    }
    if reach.states.contains(&TaskState::Failed) {
        let queues = view.dead.iter().filter(|it| has_queue(reach, it.0));
        size += queues.map(|it| it.1.len()).sum::<usize>();
    }
    size
}

/// Shows each of these tasks to `look`, in no order, until it says that it has seen enough. Says whether it saw all.
pub(super) fn each<'a>(
    reach: &Reach,
    view: &'a ClusterView,
    mut look: impl FnMut(Facts<'a>) -> bool,
) -> bool {
    let has = |state: &TaskState| reach.states.contains(state);
    let entries = view.entries.iter().filter(|_| has(&TaskState::Pending));
    for (queue, entries) in entries.filter(|it| has_queue(reach, it.0)) {
        let mut tasks = entries.iter().map(|it| facts::of_entry(queue, it.0, it.1));
        if !tasks.all(&mut look) {
            return false;
        }
    }
    let claims = view.claims.iter().filter(|_| has(&TaskState::Running));
    for (worker, claims) in claims.filter(|it| has_worker(reach, it.0)) {
        let mut tasks = claims.iter().map(|it| facts::of_claim(worker, it.0, it.1));
        if !tasks.all(&mut look) {
            return false;
        }
    }
    if reach.has_any(&DELAYED) {
        let mut tasks = view
            .delayed
            .iter()
            .map(|((_, id), delayed)| facts::of_delayed(*id, delayed));
        if !tasks.all(&mut look) {
            return false;
        }
    }
    let dead = view.dead.iter().filter(|_| has(&TaskState::Failed));
    for (queue, dead) in dead.filter(|it| has_queue(reach, it.0)) {
        let mut tasks = dead.iter().map(|it| facts::of_dead(queue, *it.0, it.1));
        if !tasks.all(&mut look) {
            return false;
        }
    }
    true
}
