//! Clients: they ask gateways by the shell's own handle, and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use windlass_core::gateway::{Reply, Request, Submitted, TaskSpec, TaskState, TaskView};
use windlass_core::ids::TaskId;

use super::report::Violation;
use super::scenario::{Act, NodeIx, QUEUES, Timed, simple_spec};
use super::world::{World, elapsed, lock};

/// How long a gateway may take for a request that waits for nothing.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// All clients of a run.
#[derive(Debug)]
pub(super) struct Clients {
    world: Arc<World>,
    told: Mutex<Told>,
}

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// Tasks that were accepted, in the order of the answers.
    accepted: Vec<TaskId>,
    /// Tasks that were to run again, perhaps: their ends are not final.
    rerun: BTreeSet<TaskId>,
    /// How tasks had ended.
    ended: BTreeMap<TaskId, TaskState>,
}

impl Clients {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            told: Mutex::default(),
        })
    }

    /// Does everything that was planned, each act in a task of its own.
    pub(super) async fn work(self: Arc<Self>, plan: Vec<Timed<Act>>) {
        for Timed { at, what } in plan {
            sleep(at.saturating_sub(elapsed())).await;
            tokio::spawn(Arc::clone(&self).act(what));
        }
    }

    async fn act(self: Arc<Self>, act: Act) {
        match act {
            Act::Submit {
                via,
                specs,
                patience,
            } => {
                let asking = self.submit(via, specs);
                match patience {
                    // Whoever goes away is told nothing.
                    Some(patience) => drop(timeout(patience, asking).await),
                    None => drop(asking.await),
                }
            }
            Act::Cancel { via, nth } => {
                if let Some(task) = self.nth(nth) {
                    self.ask(via, Request::Cancel(task)).await;
                }
            }
            Act::Rerun { via, nth } => {
                if let Some(task) = self.nth(nth) {
                    lock(&self.told).rerun.insert(task);
                    self.ask(via, Request::Rerun(task)).await;
                }
            }
            Act::Wait { via, nth, wait } => {
                if let Some(task) = self.nth(nth) {
                    let wait = Some(wait);
                    self.ask(via, Request::Get { task, wait }).await;
                }
            }
            Act::Pause { via, paused } => self.pause(via, paused).await,
        }
    }

    fn nth(&self, nth: usize) -> Option<TaskId> {
        let told = lock(&self.told);
        let count = told.accepted.len();
        (count > 0).then(|| told.accepted[nth % count])
    }

    /// Asks a scheduler, and remembers what is worth it.
    async fn ask(&self, via: NodeIx, request: Request) -> Reply {
        let Some(gateway) = self.world.gateway(via) else {
            return Reply::NotReady;
        };
        self.world.note(format_args!("client > {via} {request:?}"));
        let time_out = request.patience(REQUEST_MAX) + Duration::from_secs(2);
        let reply = gateway.ask(request, time_out).await;
        self.world.note(format_args!("client < {via} {reply:?}"));
        if let Reply::Task(view) = &reply {
            self.saw(view);
        }
        reply
    }

    fn saw(&self, view: &TaskView) {
        let mut told = lock(&self.told);
        if view.state.has_ended() && !told.rerun.contains(&view.id) {
            let earlier = told.ended.insert(view.id, view.state);
            if earlier.is_some_and(|earlier| earlier != view.state) {
                let text = format!("{} was {earlier:?}, then {:?}", view.id, view.state);
                self.world.blame(Violation::ToldWrong(text));
            }
        }
    }

    /// Submits, and says which tasks were accepted.
    async fn submit(&self, via: NodeIx, specs: Vec<TaskSpec>) -> Vec<TaskId> {
        let Reply::Submitted(fates) = self.ask(via, Request::Submit(specs)).await else {
            return Vec::new();
        };
        let accepted: Vec<_> = fates.iter().filter_map(accepted).collect();
        lock(&self.told).accepted.extend(&accepted);
        accepted
    }

    /// Pauses the first queue, or lets it go on.
    pub(super) async fn pause(&self, via: NodeIx, paused: bool) {
        let request = Request::ConfigureQueue {
            queue: QUEUES[0].parse().expect("a letter is a queue's name"),
            strategy: None,
            paused: Some(paused),
        };
        self.ask(via, request).await;
    }

    /// Submits new work through a scheduler as soon as it takes some, and waits until it is done.
    pub(super) async fn new_work(&self, via: NodeIx, within: Duration) -> Result<(), String> {
        let work = ["noop", "echo", "sleep"];
        let specs = work.map(|kind| simple_spec(kind, "{\"ms\":20}".to_owned(), 1, |_| {}));
        let until = elapsed() + within;
        let accepted = loop {
            let accepted = self.submit(via, specs.clone().into()).await;
            if accepted.len() == work.len() {
                break accepted;
            }
            if elapsed() > until {
                return Err(format!("scheduler {via} accepted {accepted:?} only"));
            }
            sleep(Duration::from_millis(100)).await;
        };
        for task in accepted {
            let wait = Some(within);
            let reply = self.ask(via, Request::Get { task, wait }).await;
            let is_done = matches!(&reply, Reply::Task(view) if view.state == TaskState::Completed);
            if !is_done {
                return Err(format!("scheduler {via} said {reply:?}"));
            }
        }
        Ok(())
    }

    /// Compares what clients were told with how every task has ended.
    pub(super) fn judge(&self, ended: &BTreeMap<TaskId, TaskState>) {
        let told = lock(&self.told);
        for task in told.accepted.iter().filter(|it| !ended.contains_key(it)) {
            let text = format!("{task} was acknowledged and is gone");
            self.world.blame(Violation::Forgotten(text));
        }
        for (task, state) in &told.ended {
            let now = ended.get(task);
            if !told.rerun.contains(task) && now != Some(state) {
                let text = format!("{task} was told to be {state}, and is {now:?}");
                self.world.blame(Violation::ToldWrong(text));
            }
        }
    }
}

fn accepted(fate: &Submitted) -> Option<TaskId> {
    match fate {
        Submitted::Accepted { id, .. } | Submitted::Repeated { id } => Some(*id),
        Submitted::KeyTaken { .. } | Submitted::Refused(_) | Submitted::Unknown { .. } => None,
    }
}
