//! A running `windlass dev`, and its two ways in.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Answer, send, text};

/// No condition takes longer, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks until there is something, and gives up with `what` after [`PATIENCE`].
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "it took too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The binary, told nothing by the environment of the test.
pub(crate) fn windlass() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    for name in ["SERVER", "LISTEN", "DATA_DIR", "LOG_LEVEL", "LOG_FORMAT"] {
        command.env_remove(format!("WINDLASS_{name}"));
    }
    command
}

/// A process and what it said on stderr so far.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (copy, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(line) = line else { return };
                let mut log = copy.lock().unwrap();
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        until("the process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let from = log
                .char_indices()
                .rev()
                .nth(6_000)
                .map_or(0, |(index, _)| index);
            let _ = writeln!(std::io::stderr(), "--- its log:\n{}", &log[from..]);
        }
    }
}

/// `windlass dev`, ready.
pub(crate) struct Dev {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _dir: Option<TempDir>,
}

impl Dev {
    /// With an empty store that is gone afterwards.
    pub(crate) fn start(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dev = Self::start_in(dir.path(), options);
        Self {
            _dir: Some(dir),
            ..dev
        }
    }

    /// With the store in `dir`.
    pub(crate) fn start_in(dir: &Path, options: &[&str]) -> Self {
        Self::start_as(&mut windlass(), dir, options)
    }

    /// With the store in `dir`, started by `command`, which takes the binary's arguments.
    pub(crate) fn start_as(command: &mut Command, dir: &Path, options: &[&str]) -> Self {
        let mut process = Process::start(
            command
                .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(dir)
                .args(options),
        );
        let address = until("it says where it listens", || {
            let ended = process.child.try_wait().unwrap();
            assert_eq!(ended, None, "it runs");
            let log = process.log();
            let (_, behind) = log.split_once("http://")?;
            behind.split_whitespace().next()?.trim().parse().ok()
        });
        let dev = Self {
            process,
            address,
            _dir: None,
        };
        until("it is ready", || {
            let ready = dev.try_send("GET", "/readyz", None).ok()?;
            (ready.status == 200).then_some(())
        });
        dev
    }

    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> std::io::Result<Answer> {
        send(self.address, method, path, body)
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        self.try_send(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The JSON of a page that exists.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).json(200)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(&body.to_string()))
    }

    pub(crate) fn act(&self, path: &str) -> Answer {
        self.send("POST", path, None)
    }

    /// Submits one task, which is accepted, and returns its id.
    pub(crate) fn submit(&self, task: &Value) -> String {
        text(&self.post("/api/v1/tasks", task).json(201)["id"])
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tasks/{id}"))
    }

    /// The task once it has ended.
    pub(crate) fn ended(&self, id: &str) -> Value {
        self.get_until(&format!("/api/v1/tasks/{id}?wait=5s"), |task| {
            !task["completed_at"].is_null()
        })
    }

    /// The task once it is in `state`.
    pub(crate) fn in_state(&self, id: &str, state: &str) -> Value {
        self.get_until(&format!("/api/v1/tasks/{id}"), |task| {
            task["status"] == state
        })
    }

    /// The page once it is as wanted.
    pub(crate) fn get_until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            last = self.get(path);
            if wanted(&last) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{path} is still {last}")
    }

    /// Counts, without those that move by themselves.
    pub(crate) fn tasks(&self) -> Value {
        self.get("/api/v1/stats")["tasks"].clone()
    }

    /// Every task that the filter lets through, over as many pages as it takes.
    pub(crate) fn listed(&self, filter: &str, limit: u32) -> Vec<Value> {
        let (mut tasks, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/v1/tasks?limit={limit}{filter}{cursor}"));
            tasks.extend(page["tasks"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return tasks,
            }
        }
    }

    /// The only worker, once it has made its offer.
    pub(crate) fn worker(&self) -> Value {
        let offers = |node: &Value| node["role"] == "worker" && node["slots"] != 0;
        let list = |nodes: &Value| nodes["nodes"].as_array().unwrap().clone();
        let nodes = self.get_until("/api/v1/nodes", |nodes| list(nodes).iter().any(offers));
        list(&nodes).into_iter().find(offers).unwrap()
    }

    /// A client command to this server.
    pub(crate) fn command(&self) -> Command {
        let mut command = windlass();
        command.env("WINDLASS_SERVER", format!("http://{}", self.address));
        command
    }

    pub(crate) fn cli(&self, words: &[&str]) -> Said {
        said(self.command().args(words), b"")
    }

    /// What the command prints as JSON, when it succeeds.
    pub(crate) fn cli_json(&self, words: &[&str]) -> Value {
        let said = said(self.command().args(["-o", "json"]).args(words), b"");
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
        said.json()
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a command to its end.
pub(crate) fn said(command: &mut Command, input: &[u8]) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    std::thread::spawn(move || {
        // It need not read what it does not want.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
