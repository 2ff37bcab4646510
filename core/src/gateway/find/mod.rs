//! Finding tasks by a query: to list them, to name them, or to count them; page by page, in the order of their ids.
//!
//! Ids begin with the time at which their tasks were accepted, and never change, so a page goes on behind an id: a task
//! that is there all the time is on one page exactly, whatever it or others do meanwhile. What lives, and what waits for a
//! person, is found in the view; only a query that can mean completed or cancelled tasks looks into the store. Whatever
//! is asked, one request does a bounded amount of work; a page that found nothing yet says where to go on.

mod count;
mod facts;
mod live;
mod part;
mod stored;
mod tally;

use serde::{Deserialize, Serialize};

use self::live::Look;
use self::stored::Windows;
use super::decide::{self, is_live};
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

/// How much of the view is looked at in one go: everything else that the process does waits meanwhile. A task that is
/// passed over by its place counts once, one that is judged [`live::JUDGED`] times, about as it takes.
const GO_LOOKS_MAX: usize = 60_000;

/// How much of the view one page looks at, go by go, until it is full.
const LOOKS_MAX: usize = 1_200_000;

/// The same when tasks are counted: as many as a view can hold.
const COUNT_LOOKS_MAX: usize = 30_000_000;

/// When more than one in so many looks finds a task that would have to be read by its keys, it is cheaper to read all
/// that the store has there.
const DOUBTFUL_PART: usize = 30;

/// How many times one page reads from the store. Many reads find nothing, where little was accepted in a long time.
const READS_MAX: u32 = 100;

/// The same when tasks are counted, which is worth more patience.
const COUNT_READS_MAX: u32 = 300;

/// How many tasks are read by their keys at a time: each has a record, an outcome and a run.
const TASKS_MAX: usize = OPS_MAX / 3;

/// Of these states only the store knows tasks.
const ENDED: [TaskState; 2] = [TaskState::Completed, TaskState::Cancelled];

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

impl Order {
    /// What comes right before this id; nothing when it is the first of all.
    fn before(self, id: TaskId) -> Option<TaskId> {
        let id = id.as_u128();
        let before = match self {
            Self::Oldest => id.checked_sub(1),
            Self::Newest => id.checked_add(1),
        };
        before.map(TaskId::from_u128)
    }
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

    fn looks_max(&self) -> usize {
        match self.want {
            Want::Tasks(_) | Want::Ids(_) => LOOKS_MAX,
            Want::Count => COUNT_LOOKS_MAX,
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
    counted: Counted,
}

/// What a count has done with already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Counted {
    #[default]
    Nothing,
    /// What has ended.
    Ended,
    /// What has not.
    Living,
}

impl Counted {
    /// Leaves of `reach` what is still to be counted.
    fn narrow(self, reach: &mut Reach) {
        reach.states.retain(|state| match self {
            Self::Nothing => true,
            Self::Ended => !ENDED.contains(state),
            Self::Living => ENDED.contains(state),
        });
    }
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was done yet.
    #[default]
    Begin,
    /// The view comes to where the store is now.
    CatchUp,
    /// What was counted as it was done is being read.
    Totals,
    /// Others are served before the view is looked at further.
    Breath,
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
        let worked = self.looks >= quest.looks_max() || self.reads >= quest.reads_max();
        worked && self.position != self.after
    }

    fn ask(&mut self, query: Query) -> Next {
        self.reads += 1;
        self.asked = Some(query.clone());
        Next::Ask(Call::Read(query))
    }

    /// A question whose answer nobody needs: until it comes, others are served.
    fn take_breath(&mut self) -> Next {
        self.stage = Stage::Breath;
        let query = Query::Keys(vec![Key::folded_totals()]);
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
    let mut reach = quest.filter.reach(now.wall);
    search.counted.narrow(&mut reach);
    if reach.states.is_empty() || reach.first > reach.last {
        return search.reply(quest, Reached::End);
    }
    let stage = std::mem::take(&mut search.stage);
    match (stage, read) {
        (Stage::Begin, _) => {
            (search.position, search.after) = (after, after);
            if reach.has_any(&ENDED) {
                if quest.want == Want::Count {
                    search.stage = Stage::Totals;
                    return search.ask(decide::lanes());
                }
                search.windows = Windows::begin(quest.order, after, now.wall);
                return next_stored(search, quest, &reach, None, now, view);
            }
            search.stage = Stage::CatchUp;
            search.ask(Query::Keys(vec![Key::folded_totals()]))
        }
        (Stage::Totals, Some(read)) => {
            count::begin(search, quest, &reach, &decide::sum(&read).0, now, view)
        }
        (Stage::CatchUp, _) if quest.want == Want::Count => {
            count::living(search, quest, &reach, now, view)
        }
        (Stage::Candidates { ids, to }, Some(read)) => {
            take_candidates(search, quest, &ids, &read, now, view);
            match to {
                Reached::End => end_live(search, quest, &reach, now, view),
                Reached::Position(id) => {
                    search.position = Some(id);
                    next_live(search, quest, &reach, now, view)
                }
            }
        }
        (Stage::Windows, read) => next_stored(search, quest, &reach, read, now, view),
        (Stage::CatchUp | Stage::Candidates { .. } | Stage::Breath | Stage::Totals, _) => {
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
    let room = search.room(quest);
    if let Some(id) = search
        .position
        .filter(|_| room == 0 || search.is_spent(quest))
    {
        return search.reply(quest, Reached::Position(id));
    }
    let mut look = Look {
        order: quest.order,
        behind: search.position,
        most: room,
        looks: GO_LOOKS_MAX,
    }
    .at(quest.filter, reach, now.wall, view);
    search.looks += look.looks;
    let doubtful = look.found.iter().filter(|it| it.is_doubtful).count();
    if doubtful > look.looks / DOUBTFUL_PART && !live::is_few(reach, view) {
        if quest.want == Want::Count {
            // What has ended lies among the rest: both are counted there, from the beginning.
            (search.count, search.position) = (0, None);
        } else if let Some(first) = look.found.first() {
            // Up to there, nothing is meant.
            search.position = quest.order.before(first.id);
        }
        return begin_stored(search, quest, reach, now, view);
    }
    if (doubtful > 0 || matches!(quest.want, Want::Tasks(_))) && !look.found.is_empty() {
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
        Reached::End => end_live(search, quest, reach, now, view),
        Reached::Position(id) => {
            search.position = Some(id);
            if search.room(quest) == 0 {
                return search.reply(quest, Reached::Position(id));
            }
            search.take_breath()
        }
    }
}

/// The view was looked through to its end.
fn end_live(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    now: Now,
    view: &ClusterView,
) -> Next {
    if quest.want == Want::Count && reach.has_any(&ENDED) {
        let mut ended = reach.clone();
        search.counted = Counted::Living;
        search.counted.narrow(&mut ended);
        search.position = None;
        return begin_stored(search, quest, &ended, now, view);
    }
    search.reply(quest, Reached::End)
}

/// Goes on in the store, behind where the search is.
fn begin_stored(
    search: &mut Search,
    quest: &Quest<'_>,
    reach: &Reach,
    now: Now,
    view: &ClusterView,
) -> Next {
    search.windows = Windows::begin(quest.order, search.position, now.wall);
    next_stored(search, quest, reach, None, now, view)
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
        let Some(found) = Found::of(*id, &read.items, view) else {
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
        search.windows.take(read, reach, view);
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
        let is_left = reach.states.contains(&shown.state);
        if is_left && quest.filter.judge(&shown.facts(), now.wall) == Some(true) {
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
    match search.windows.next(search.position, reach, now.wall, view) {
        Some(query) => search.ask(query),
        None => search.reply(quest, Reached::End),
    }
}
