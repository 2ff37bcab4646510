//! A handler that writes down when each attempt starts and ends, and what must hold of what it wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use windlass_tests::client::text;

/// Appends a line before and after its work. A line is one write, so that lines of several processes never mix.
const WORK: &str = r#"note() {
    echo "$WINDLASS_TASK_ID $WINDLASS_FENCE $WINDLASS_ATTEMPT $1 ${EPOCHREALTIME/[.,]/} $2" >> "$3"
}
note start "$1" "$2"
sleep 0.05
note end "$1" "$2"
"#;

/// Nanoseconds since the Unix epoch.
pub(crate) type Nanos = u128;

pub(crate) fn now() -> Nanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_nanos()
}

/// How long after `at` the time `then`, in RFC 3339, was.
pub(crate) fn since(at: Nanos, then: &str) -> Duration {
    let then: jiff::Timestamp = then.parse().unwrap();
    let then = u128::try_from(then.as_nanosecond()).unwrap();
    // Recorded times are cut to milliseconds.
    Duration::from_nanos(u64::try_from(then.saturating_sub(at)).unwrap())
}

/// What the handlers of all workers wrote, in the order in which they did.
pub(crate) struct Ledger {
    folder: TempDir,
}

#[derive(Debug, Clone)]
struct Line {
    task: String,
    fence: u64,
    attempt: u32,
    is_start: bool,
    at: Nanos,
    worker: String,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("work.bash"), WORK).unwrap();
        let ledger = Self { folder };
        let mut options = OpenOptions::new();
        options.create_new(true).append(true);
        options.open(ledger.file()).unwrap();
        ledger
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger")
    }

    /// The handler of one worker, for tasks of the type `work`.
    pub(crate) fn handler(&self, worker: &str) -> String {
        let script = self.folder.path().join("work.bash");
        let (script, file) = (script.display(), self.file());
        format!("work=bash {script} {worker} {}", file.display())
    }

    fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.file()).unwrap();
        // The last line may still be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(parse).collect()
    }

    /// The attempts that a worker has started and not ended, by the task and the fence.
    pub(crate) fn unfinished(&self, worker: &str) -> BTreeMap<(String, u64), Nanos> {
        let mut unfinished = BTreeMap::new();
        for line in self.lines().into_iter().filter(|it| it.worker == worker) {
            let key = (line.task, line.fence);
            if line.is_start {
                unfinished.insert(key, line.at);
            } else {
                unfinished.remove(&key);
            }
        }
        unfinished
    }

    /// No attempt starts once a later one has started, and none starts twice.
    pub(crate) fn is_in_the_order_of_fences(&self) {
        let mut highest = BTreeMap::<String, Line>::new();
        for line in self.lines().into_iter().filter(|it| it.is_start) {
            if let Some(before) = highest.get(&line.task) {
                assert!(before.fence < line.fence, "{before:?}, then {line:?}");
                assert!(before.attempt <= line.attempt, "{before:?}, then {line:?}");
            }
            highest.insert(line.task.clone(), line);
        }
    }

    /// Each task was recorded for an attempt that ran to its end, on the worker that is named, and it was the last.
    pub(crate) fn agrees_with(&self, tasks: &[Value]) {
        let lines = self.lines();
        let ends: BTreeSet<(String, u64, String)> = lines
            .iter()
            .filter(|it| !it.is_start)
            .map(|it| (it.task.clone(), it.fence, it.worker.clone()))
            .collect();
        let mut last = BTreeMap::<&str, u64>::new();
        for line in &lines {
            let highest = last.entry(&line.task).or_default();
            *highest = line.fence.max(*highest);
        }
        for task in tasks {
            let id = text(&task["id"]);
            let fence = task["fence"].as_u64().unwrap();
            assert_eq!(last.get(id.as_str()), Some(&fence), "{task}");
            let recorded = (id, fence, text(&task["worker_id"]));
            assert!(ends.contains(&recorded), "{task}");
        }
        let starts = lines.iter().filter(|it| it.is_start).count();
        windlass_tests::tell(&format!("{starts} starts of {} tasks", tasks.len()));
    }

    /// How long after the loss of `worker` what it had started before was started again elsewhere.
    pub(crate) fn started_again(&self, worker: &str, lost: Nanos) -> Vec<Duration> {
        let lines = self.lines();
        let starts = || lines.iter().filter(|it| it.is_start);
        let before = starts().filter(|it| it.worker == worker && it.at <= lost);
        let again = before
            .filter_map(|it| starts().find(|next| next.task == it.task && next.fence > it.fence));
        again
            .map(|it| Duration::from_nanos(u64::try_from(it.at.saturating_sub(lost)).unwrap()))
            .collect()
    }
}

fn parse(line: &str) -> Line {
    let words: Vec<&str> = line.split(' ').collect();
    let [task, fence, attempt, what, micros, worker] = words[..] else {
        panic!("{line:?} is no line of the ledger");
    };
    Line {
        task: task.to_owned(),
        fence: fence.parse().unwrap(),
        attempt: attempt.parse().unwrap(),
        is_start: what == "start",
        at: micros.parse::<Nanos>().unwrap() * 1_000,
        worker: worker.to_owned(),
    }
}
