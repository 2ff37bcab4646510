//! Finding tasks by a query: to list them, to name them, or to count them; page by page, in the order of their ids.
//!
//! Ids begin with the time at which their tasks were accepted, and never change, so a page goes on behind an id: a task
//! that is there all the time is on one page exactly, whatever it or others do meanwhile. What lives, and what waits for a
//! person, is found in the view; only a query that can mean completed or cancelled tasks looks into the store. Whatever
//! is asked, one request does a bounded amount of work; a page that found nothing yet says where to go on.

mod facts;
mod live;
mod stored;
mod tally;

use serde::{Deserialize, Serialize};

use self::live::Look;
use self::stored::Windows;
use super::decide::is_live;
use super::errand::{Errand, Next, Read};
use super::request::Reply;
use super::show::Found;
use super::shown::TaskView;
use crate::filter::{Filter, Reach};
use crate::ids::TaskId;
use crate::keyspace::Key;
use crate::store::{Call, OPS_MAX, Query};
use crate::task_state::TaskState;
use crate::time::Now;
use crate::view::ClusterView;

/// The most tasks in one answer to [`super::Request::List`].
pub const LIST_MAX: u32 = 100;

/// The most ids in one answer to [`super::Request::Find`].
pub const FIND_MAX: u32 = 1_000;

/// How many tasks of the view one page looks at.
const LOOKS_MAX: usize = 20_000;

/// How many times one page reads from the store.
const READS_MAX: u32 = 20;

/// The same when tasks are counted, which is worth more patience.
const COUNT_READS_MAX: u32 = 60;

/// How many tasks are read by their keys at a time: each has a record, an outcome and a run.
const TASKS_MAX: usize = OPS_MAX / 3;

/// Which tasks come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Those that were accepted first.
    #[default]
    Oldest,
    /// Those that were accepted last.
    Newest,
}

/// What a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// So many tasks at most.
    Tasks(u32),
    /// So many ids at most.
    Ids(u32),
    /// Their number.
    Count,
}

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quest<'a> {
    pub(super) filter: &'a Filter,
    pub(super) order: Order,
    pub(super) want: Want,
}

impl Quest<'_> {
    fn reads_max(&self) -> u32 {
        match self.want {
            Want::Tasks(_) | Want::Ids(_) => READS_MAX,
            Want::Count => COUNT_READS_MAX,
        }
    }
}

/// How far a search is.
#[derive(Debug, Default)]
pub(super) struct Search {
    stage: Stage,
    tasks: Vec<TaskView>,
    ids: Vec<TaskId>,
    count: u64,
    /// Everything up to this id, in the search's order, was looked at.
    position: Option<TaskId>,
    /// Where it began.
    after: Option<TaskId>,
    looks: usize,
    reads: u32,
    windows: Windows,
    /// What is out, to be asked again when it fails.
    asked: Option<Query>,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was done yet.
    #[default]
    Begin,
    /// The view comes to where the store is now.
    CatchUp,
    /// Such tasks are being read; behind them, the search has come so far.
    Candidates { ids: Vec<TaskId>, to: Reached },
    /// A part of the store is being read.
    Windows,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Up to this id.
    Position(TaskId),
    /// There is nothing behind.
    End,
}

impl Search {
    fn room(&self, quest: &Quest<'_>) -> usize {
        let room = |limit: u32, most: u32, found: usize| {
            let limit = usize::try_from(limit.clamp(1, most)).expect("a small number");
            limit.saturating_sub(found)
        };
        match quest.want {
            Want::Tasks(limit) => room(limit, LIST_MAX, self.tasks.len()),
            Want::Ids(limit) => room(limit, FIND_MAX, self.ids.len()),
            Want::Count => usize::MAX,
        }
    }

    fn take_id(&mut self, id: TaskId, want: Want) {
        self.count += 1;
        if let Want::Ids(_) = want {
            self.ids.push(id);
        }
    }

    fn take_task(&mut self, task: TaskView, want: Want) {
        self.take_id(task.id, want);
        if let Want::Tasks(_) = want {
            self.tasks.push(task);
        }
    }

    /// Whether this page has done its share.
    fn is_spent(&self, quest: &Quest<'_>) -> bool {
        let worked = self.looks >= LOOKS_MAX || self.reads >= quest.reads_max();
        worked && self.position != self.after
    }

    fn ask(&mut self, query: Query) -> Next {
        self.reads += 1;
        self.asked = Some(query.clone());
        Next::Ask(Call::Read(query))
    }

    fn reply(&mut self, quest: &Quest<'_>, reached: Reached) -> Next {
        let next = match reached {
            Reached::Position(id) => Some(id),
            Reached::End => None,
        };
        Next::Reply(match quest.want {
            Want::Tasks(_) => Reply::Tasks {
                tasks: std::mem::take(&mut self.tasks),
                next,
            },
            Want::Ids(_) => Reply::Found {
                ids: std::mem::take(&mut self.ids),
                next,
            },
            Want::Count => Reply::Count {
                count: self.count,
                exact: next.is_none(),
            },
        })
    }
}

/// What a search does next.
pub(super) fn next(
    errand: &mut Errand,
    quest: &Quest<'_>,
    after: Option<TaskId>,
    now: Now,
    view: &ClusterView,
) -> Next {
    let read = errand.read.take();
    let search = &mut errand.search;
    if read.is_none()
        && let Some(query) = search.asked.clone()
    {
        return Next::Ask(Call::Read(query));
    }
    search.asked = None;
    let reach = quest.filter.reach(now.wall);
    if reach.states.is_empty() || reach.first > reach.last {
        return search.reply(quest, Reached::End);
    }
    let stage = std::mem::take(&mut search.stage);
    match (stage, read) {
        (Stage::Begin, _) => {
            (search.position, search.after) = (after, after);
            if reach.has_any(&[TaskState::Completed, TaskState::Cancelled]) {
                search.windows = Windows::begin(quest.order, after, now.wall);
                return next_stored(search, quest, &reach, None, now, view);
            }
            search.stage = Stage::CatchUp;
            search.ask(Query::Keys(vec![Key::folded_totals()]))
        }
        (Stage::CatchUp, _) if quest.want == Want::Count => {
            match tally::count(quest.filter, &reach, now.wall, view) {
                Some((count, exact)) => Next::Reply(Reply::Count { count, exact }),
                None => next_live(search, quest, &reach, now, view),
            }
        }
        (Stage::Candidates { ids, to }, Some(read)) => {
            take_candidates(search, quest, &ids, &read, now, view);
            match to {
                Reached::End => search.reply(quest, Reached::End),
                Reached::Position(id) => {
                    search.position = Some(id);
                    next_live(search, quest, &reach, now, view)
                }
            }
        }
        (Stage::Windows, read) => next_stored(search, quest, &reach, read, now, view),
        (Stage::CatchUp | Stage::Candidates { .. }, _) => {
            next_live(search, quest, &reach, now, view)
        }
    }
}

fn keys_of(ids: &[TaskId]) -> Query {
    let keys = |id: &TaskId| [Key::task(*id), Key::outcome(*id), Key::run(*id)];
    Query::Keys(ids.iter().flat_map(keys).collect())
}

fn next_live(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    now: Now,
    view: &ClusterView,
) -> Next {
    loop {
        let room = search.room(quest);
        if let Some(id) = search
            .position
            .filter(|_| room == 0 || search.is_spent(quest))
        {
            return search.reply(quest, Reached::Position(id));
        }
        let looks = LOOKS_MAX.saturating_sub(search.looks).max(1);
        let mut look = Look {
            order: quest.order,
            behind: search.position,
            most: room.min(LOOKS_MAX),
            looks,
        }
        .at(quest.filter, reach, now.wall, view);
        search.looks += look.looks;
        let blind = look.found.iter().any(|it| it.is_doubtful);
        if (blind || matches!(quest.want, Want::Tasks(_))) && !look.found.is_empty() {
            look.cut(TASKS_MAX);
            let ids: Vec<TaskId> = look.found.iter().map(|it| it.id).collect();
            let query = keys_of(&ids);
            let to = look.reached;
            search.stage = Stage::Candidates { ids, to };
            return search.ask(query);
        }
        for it in &look.found {
            search.take_id(it.id, quest.want);
        }
        match look.reached {
            Reached::End => return search.reply(quest, Reached::End),
            Reached::Position(id) => search.position = Some(id),
        }
    }
}

/// Takes those of the candidates that still live, or still wait for a person, and are meant.
fn take_candidates(
    search: &mut Search,
    quest: &Quest<'_>,
    ids: &[TaskId],
    read: &Read,
    now: Now,
    view: &ClusterView,
) {
    for id in ids {
        let Some(found) = Found::of(*id, &read.items) else {
            continue;
        };
        if found.outcome.is_none() && !is_live(view.spot(*id)) {
            continue;
        }
        let shown = found.show(view);
        if quest.filter.judge(&shown.facts(), now.wall) == Some(true) {
            search.take_task(shown, quest.want);
        }
    }
}

fn next_stored(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    read: Option<Read>,
    now: Now,
    view: &ClusterView,
) -> Next {
    search.stage = Stage::Windows;
    if let Some(read) = read {
        search.windows.take(read, reach);
    }
    loop {
        let unsettled = |found: &Found| found.outcome.is_none() && !is_live(view.spot(found.id));
        let asked_again = search.windows.ask_again(TASKS_MAX, unsettled);
        if let Some(ids) = asked_again {
            return search.ask(keys_of(&ids));
        }
        let Some(found) = search.windows.pop() else {
            break;
        };
        search.position = Some(found.id);
        let shown = found.show(view);
        if quest.filter.judge(&shown.facts(), now.wall) == Some(true) {
            search.take_task(shown, quest.want);
            if search.room(quest) == 0 {
                return search.reply(quest, Reached::Position(found.id));
            }
        }
    }
    match search.windows.reached() {
        Some(Reached::End) => return search.reply(quest, Reached::End),
        Some(Reached::Position(id)) => search.position = Some(id),
        None => {}
    }
    if let Some(id) = search.position.filter(|_| search.is_spent(quest)) {
        return search.reply(quest, Reached::Position(id));
    }
    match search.windows.next(search.position, reach, now.wall) {
        Some(query) => search.ask(query),
        None => search.reply(quest, Reached::End),
    }
}
