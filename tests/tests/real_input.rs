//! The main job on real input: every file is hashed by a task, and every result is what `sha256sum` itself says.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;
use windlass_tests::client::{Client, text};
use windlass_tests::etcd::Etcd;
use windlass_tests::process::Process;
use windlass_tests::{size, within};

/// Reads the payload on stdin, and says the hash as JSON.
const HASH: &str = r#"path=$(sed -n 's/.*"path":"\([^"]*\)".*/\1/p')
sum=$(sha256sum "$path") || exit 1
printf '"%.64s"\n' "$sum"
"#;

/// The files to hash, and the handler that does.
struct Job {
    folder: TempDir,
    files: Vec<String>,
}

impl Job {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hash.sh"), HASH).unwrap();
        let tree = std::env::var("WINDLASS_TEST_TREE").unwrap_or_else(|_| "/usr".to_owned());
        let count = size("WINDLASS_TEST_FILES", 500);
        let mut files = Vec::new();
        collect(Path::new(&tree), count, &mut files);
        assert_eq!(files.len(), count, "files below {tree}");
        Self { folder, files }
    }

    fn handler(&self) -> String {
        let script = self.folder.path().join("hash.sh");
        format!("sha256=sh {}", script.display())
    }

    /// A file with a task in each line.
    fn lines(&self) -> PathBuf {
        let mut lines = String::new();
        for (n, path) in self.files.iter().enumerate() {
            let task = json!({"type": "sha256", "priority": n % 10, "payload": {"path": path}});
            writeln!(lines, "{task}").unwrap();
        }
        let file = self.folder.path().join("tasks.jsonl");
        std::fs::write(&file, lines).unwrap();
        file
    }

    fn expected(&self) -> BTreeMap<String, String> {
        let mut sums = BTreeMap::new();
        for files in self.files.chunks(500) {
            let output = Command::new("sha256sum").args(files).output().unwrap();
            assert!(output.status.success());
            for line in String::from_utf8(output.stdout).unwrap().lines() {
                let (sum, path) = line.split_once("  ").unwrap();
                sums.insert(path.to_owned(), sum.to_owned());
            }
        }
        sums
    }

    /// Submits all, waits for all, and compares all. Tells which workers took part.
    fn is_done_by(&self, client: &Client) -> BTreeSet<String> {
        let begun = Instant::now();
        let count = self.files.len() as u64;
        let lines = self.lines();
        let submitted = client.done(&["task", "submit", "--from", lines.to_str().unwrap()]);
        assert_eq!(submitted, json!({"accepted": count, "failed": 0}));
        let patience = 30 * windlass_tests::PATIENCE;
        within(patience, "all tasks end", || {
            (client.count("completed") + client.count("failed") >= count).then_some(())
        });
        let took = begun.elapsed();
        let tasks = client.tasks("");
        let unfinished = tasks.iter().find(|it| it["status"] != "completed");
        assert_eq!(unfinished, None);
        assert_eq!(tasks.len() as u64, count);
        let sum = |task: &Value| (text(&task["payload"]["path"]), text(&task["result"]));
        let sums: BTreeMap<String, String> = tasks.iter().map(sum).collect();
        assert!(
            sums == self.expected(),
            "the results differ from sha256sum's"
        );
        let stats = client.get("/api/v1/stats");
        assert_eq!(
            (&stats["tasks"]["total"], &stats["tasks"]["completed"]),
            (&json!(count), &json!(count)),
            "{stats}"
        );
        windlass_tests::tell(&format!(
            "{count} files hashed in {took:?}: all as sha256sum says"
        ));
        tasks.iter().map(|it| text(&it["worker_id"])).collect()
    }
}

/// Adds files below `folder` in the order of their names, until there are `count`.
fn collect(folder: &Path, count: usize, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(about) = path.symlink_metadata() else {
            continue;
        };
        let plain = |it: char| it.is_ascii_alphanumeric() || "/._+-".contains(it);
        let name = path.to_str().filter(|it| it.chars().all(plain));
        if about.is_dir() {
            collect(&path, count, files);
        } else if let Some(name) = name.filter(|_| about.is_file()) {
            files.extend(std::fs::File::open(&path).map(|_| name.to_owned()));
        }
        if files.len() >= count {
            return;
        }
    }
}

#[test]
fn files_are_hashed_on_one_machine_without_etcd() {
    let job = Job::new();
    let handler = job.handler();
    let mut dev = Process::dev(&["--workers", "3", "--slots", "4", "--handler", &handler]);
    let client = Client::of([&mut dev]);
    job.is_done_by(&client);
}

#[test]
fn files_are_hashed_by_three_workers_and_two_schedulers_on_etcd() {
    let job = Job::new();
    let etcd = Etcd::start();
    let mut schedulers = ["s1", "s2"].map(|id| Process::scheduler(&etcd, id, &[]));
    let handler = job.handler();
    let mut workers = [("w1", "1"), ("w2", "2"), ("w4", "4")].map(|(id, weight)| {
        let args = ["--slots", "4", "--weight", weight, "--handler", &handler];
        Process::worker(&etcd, id, &args)
    });
    let client = Client::of(&mut schedulers);
    workers.iter_mut().for_each(Process::takes_tasks);
    client.done(&["queue", "set", "default", "--strategy", "weighted"]);
    let took_part = job.is_done_by(&client);
    assert_eq!(took_part.len(), 3, "{took_part:?}");
}
