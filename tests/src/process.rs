//! The program under test as processes that can be killed, stopped and asked to leave.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::{binary, eventually};

/// How much of its log a process shows when its test fails.
const LOG_LINES_MAX: usize = 60;

/// One process of Windlass. Killed when it is dropped; shows its log when its test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    args: Vec<String>,
    folder: TempDir,
    child: Child,
}

impl Process {
    /// A scheduler on `etcd` with its API on a free port.
    pub fn scheduler(etcd: &Etcd, id: &str, more: &[&str]) -> Self {
        let args = ["scheduler", "--etcd", etcd.endpoint(), "--id", id];
        Self::start(
            id,
            &[&args[..], &["--listen", "127.0.0.1:0"][..], more].concat(),
        )
    }

    /// A worker on `etcd`.
    pub fn worker(etcd: &Etcd, id: &str, more: &[&str]) -> Self {
        let args = ["worker", "--etcd", etcd.endpoint(), "--id", id];
        Self::start(id, &[&args[..], more].concat())
    }

    /// Everything in one process, with its API on a free port.
    pub fn dev(more: &[&str]) -> Self {
        let args = ["dev", "--listen", "127.0.0.1:0"];
        Self::start("dev", &[&args[..], more].concat())
    }

    /// The program with these arguments.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        Self {
            child: spawn(&folder, &args),
            name: name.to_owned(),
            args,
            folder,
        }
    }

    /// Kills it, if it still runs, and starts it again with the same arguments, and with a log of its own.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.folder, &self.args);
    }

    /// What it is called, here and in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number among all processes of the machine.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with `SIGKILL`, and waits for its end.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to leave, with `SIGTERM`.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it with `SIGSTOP`, and waits until all of it stands still.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        waitpid(Some(self.pid()), WaitOptions::UNTRACED)
            .expect("one's own child can be waited for");
    }

    /// Lets it go on after [`Process::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("one's own child can be signalled");
    }

    fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a child has a process id")
    }

    /// Waits until it ends by itself: its exit code, or the negative number of the signal that ended it.
    pub fn ended(&mut self) -> i32 {
        let what = format!("{} ends", self.name);
        let status = eventually(&what, || self.status());
        status
            .code()
            .or_else(|| status.signal().map(|it| -it))
            .expect("a process ends by exit or signal")
    }

    /// Whether it still runs, be it stopped.
    pub fn runs(&mut self) -> bool {
        self.status().is_none()
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for")
    }

    /// Where its API is, as a URL; waits until it is served.
    ///
    /// # Panics
    /// When it serves none.
    pub fn url(&mut self) -> String {
        let line = self.logs("serves the API");
        let from = line.find("127.0.0.1:").expect("the line tells the address");
        let address = line[from..].split(|it: char| it.is_whitespace()).next();
        let address: SocketAddr = address
            .and_then(|it| it.parse().ok())
            .expect("an address and port");
        format!("http://{address}")
    }

    /// Waits until it takes tasks.
    pub fn takes_tasks(&mut self) {
        self.logs("takes tasks");
    }

    /// Waits for a line of its log that contains `text`.
    ///
    /// # Panics
    /// When it ends before.
    pub fn logs(&mut self, text: &str) -> String {
        let what = format!("{} logs {text:?}", self.name);
        eventually(&what, || {
            // Looked at first, so that the last lines of a process that has ended are not missed.
            let runs = self.runs();
            let line = self.log_line(text);
            assert!(runs || line.is_some(), "{} ended before: {what}", self.name);
            line
        })
    }

    /// A line of its log that contains `text`, if there is one by now.
    pub fn log_line(&self, text: &str) -> Option<String> {
        self.log_lines(text).into_iter().next()
    }

    /// All lines of its log that contain `text`, by now.
    pub fn log_lines(&self, text: &str) -> Vec<String> {
        let log = self.log();
        // The last line may still be in the making.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole
            .lines()
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
            let name = &self.name;
            #[allow(clippy::print_stderr, reason = "the test has failed: people read this")]
            {
                eprintln!("--- the log of {name}:\n{}\n", tail.join("\n"));
            }
        }
    }
}

fn spawn(folder: &TempDir, args: &[String]) -> Child {
    let log = File::create(folder.path().join("log")).expect("the log can be written");
    let mut command = Command::new(binary::windlass());
    // What this shell's user has set up for real clusters is not for tests.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WINDLASS_") {
            command.env_remove(name);
        }
    }
    if args.first().is_some_and(|it| it == "dev") {
        command.env("WINDLASS_DATA_DIR", folder.path().join("data"));
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be copied"))
        .stderr(log)
        .spawn()
        .expect("the program under test can be run")
}
