//! An executor, and what it told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tokio::sync::mpsc;
use windlass::executor::{Executor, ExecutorOptions, Handlers};
use windlass_core::ids::{Attempt, Fence, OpId, Priority, QueueName, Revision, TaskId, TaskType};
use windlass_core::record::Json;
use windlass_core::rng::Rng;
use windlass_core::time::{Millis, Wall};
use windlass_core::worker::{HandlerError, RunEvent, Start};

/// No condition takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Trials of async functions, each on a runtime of its own.
#[macro_export]
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::rig::trial(concat!(module_path!(), "::", stringify!($name)), $name)),*]
    };
}

pub(crate) fn trial<F>(name: &str, test: fn() -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    let name = name.trim_start_matches("executor::");
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, test())
                .await
                .map_err(|_| "it took too long".into())
        })
    })
}

pub(crate) struct Rig {
    pub(crate) executor: Executor,
    events: mpsc::UnboundedReceiver<(OpId, RunEvent)>,
    last: u64,
}

impl Rig {
    pub(crate) fn new(handlers: Handlers) -> Self {
        Self::with(handlers, ExecutorOptions::default())
    }

    /// An executor of one command, for the type `run`.
    pub(crate) fn of_command(command: &str) -> Self {
        let mut handlers = Handlers::new();
        handlers.add_command("run", command).unwrap();
        Self::new(handlers)
    }

    pub(crate) fn with(handlers: Handlers, options: ExecutorOptions) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let tell = move |run, event| drop(sender.send((run, event)));
        Self {
            executor: Executor::new(handlers, tell, options),
            events,
            last: 0,
        }
    }

    pub(crate) fn start(&mut self, kind: &str, payload: &str) -> OpId {
        self.last += 1;
        let start = start(self.last, kind, payload);
        self.executor.start(start);
        OpId(self.last)
    }

    pub(crate) async fn next(&mut self) -> (OpId, RunEvent) {
        self.events.recv().await.expect("the executor lives")
    }

    /// The one event of a run that nothing else happens beside.
    pub(crate) async fn outcome(&mut self, kind: &str, payload: &str) -> RunEvent {
        let run = self.start(kind, payload);
        let (told, event) = self.next().await;
        assert_eq!(told, run);
        event
    }

    pub(crate) async fn result(&mut self, kind: &str, payload: &str) -> String {
        let event = self.outcome(kind, payload).await;
        let RunEvent::Completed(result) = event else {
            panic!("{event:?}");
        };
        result.as_str().to_owned()
    }

    pub(crate) async fn failure(&mut self, kind: &str, payload: &str) -> HandlerError {
        let event = self.outcome(kind, payload).await;
        let RunEvent::Failed(error) = event else {
            panic!("{event:?}");
        };
        error
    }

    /// Nothing was told that nobody asked for: the executor is done, and all its events have been taken.
    pub(crate) async fn ends_silent(mut self) {
        drop(self.executor);
        assert_eq!(self.events.recv().await, None);
    }
}

pub(crate) fn start(run: u64, kind: &str, payload: &str) -> Start {
    Start {
        run: OpId(run),
        task: TaskId::new(&mut Rng::new(run), Wall::from_millis(1)),
        kind: TaskType::new(kind).unwrap(),
        queue: QueueName::new("default").unwrap(),
        priority: Priority::NORMAL,
        name: None,
        payload: Json::parse(payload.to_owned()).unwrap(),
        metadata: BTreeMap::from([("colour".to_owned(), "blue".to_owned())]),
        created_at: Wall::from_millis(1),
        attempt: Attempt(2),
        fence: Fence(Revision(77)),
        timeout: Millis::from_secs(300),
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process does, or could do, anything. A zombie cannot.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        !state.is_some_and(|state| state.starts_with(['Z', 'X']))
    })
}

/// The `count` process ids in a file, once they are all there.
pub(crate) async fn pids_in(path: &Path, count: usize) -> Vec<i32> {
    let read = || -> Option<Vec<i32>> {
        let text = fs::read_to_string(path).ok()?;
        let whole = text.ends_with('\n');
        let pids: Vec<_> = text.lines().filter_map(|line| line.parse().ok()).collect();
        (whole && pids.len() == count).then_some(pids)
    };
    until("the commands tell their ids", || read().is_some()).await;
    read().expect("it was just there")
}

pub(crate) async fn until_dead(pids: &[i32]) {
    until("they are dead", || !pids.iter().any(|&pid| lives(pid))).await;
}
