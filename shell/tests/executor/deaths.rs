//! Workers and guardians that are killed or frozen.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use windlass::executor::Handlers;
use windlass_core::retry::Verdict;
use windlass_core::worker::RunEvent;

use crate::rig::{Rig, lives, pids_in, until, until_dead};
use crate::stops::{child, telling};
use crate::trials;

/// The session of the worker to be frozen.
const SESSION: Duration = Duration::from_millis(1_500);

/// From the death, or the end of the session, to the death of the last command: the grace, and a busy machine.
const BOUND: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        a_killed_worker_leaves_no_command_running,
        a_killed_group_of_the_worker_leaves_no_command_running,
        a_frozen_worker_loses_its_commands_with_its_session,
        commands_of_a_worker_that_renews_run_on,
        a_session_that_is_over_starts_no_command_until_it_is_renewed,
        a_killed_guardian_takes_its_commands_along_and_is_replaced,
        a_guardian_ignores_what_ends_a_unit,
        a_program_that_is_no_guardian_fails_the_attempt,
    ]
}

/// This program as a worker: runs the command in its arguments, and renews its session until it is killed.
pub(crate) fn worker(args: impl Iterator<Item = OsString>) -> ExitCode {
    let commands: Vec<_> = args.map(|arg| arg.into_string().unwrap()).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut handlers = Handlers::new();
        for (at, command) in commands.iter().enumerate() {
            handlers.add_command(&format!("run{at}"), command).unwrap();
        }
        let mut rig = Rig::new(handlers);
        rig.executor.renew(SESSION);
        for at in 0..commands.len() {
            rig.start(&format!("run{at}"), "null");
        }
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            rig.executor.renew(SESSION);
        }
    })
}

/// A worker in a process of its own; killed when it is dropped.
struct Worker(Child);

impl Worker {
    fn start(commands: &[String]) -> Self {
        let worker = Command::new("/proc/self/exe")
            .arg("worker")
            .args(commands)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn();
        Self(worker.unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commands that start children in every way, one of them deaf to SIGTERM, and the file with their six process ids.
fn commands(folder: &Path) -> (Vec<String>, PathBuf) {
    let pids = folder.join("pids");
    let started = child(&pids, "") + &child(&pids, "setsid") + &child(&pids, "env -i setsid");
    let deaf = format!("trap \"\" TERM; {}", child(&pids, ""));
    (vec![telling(&pids, &started), telling(&pids, &deaf)], pids)
}

fn guardian_of(worker: i32) -> Option<i32> {
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (name_of(pid) == "wl-guardian" && parent_of(pid) == Some(worker)).then_some(pid)
    })
}

async fn dies_with(signal: fn(&Worker)) {
    let folder = tempfile::tempdir().unwrap();
    let (commands, pids) = commands(folder.path());
    let worker = Worker::start(&commands);
    let mut told = pids_in(&pids, 6).await;
    told.extend(guardian_of(worker.pid().as_raw_nonzero().get()));
    assert_eq!(told.len(), 7, "there is a guardian");
    let began = Instant::now();
    signal(&worker);
    until_dead(&told).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

async fn a_killed_worker_leaves_no_command_running() {
    dies_with(|worker| kill_process(worker.pid(), Signal::KILL).unwrap()).await;
}

async fn a_killed_group_of_the_worker_leaves_no_command_running() {
    dies_with(|worker| kill_process_group(worker.pid(), Signal::KILL).unwrap()).await;
}

async fn a_frozen_worker_loses_its_commands_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let (commands, pids) = commands(folder.path());
    let worker = Worker::start(&commands);
    let told = pids_in(&pids, 6).await;
    let began = Instant::now();
    kill_process(worker.pid(), Signal::STOP).unwrap();
    until_dead(&told).await;
    assert!(began.elapsed() < SESSION + BOUND, "{:?}", began.elapsed());
}

async fn commands_of_a_worker_that_renews_run_on() {
    let folder = tempfile::tempdir().unwrap();
    let (commands, pids) = commands(folder.path());
    let _worker = Worker::start(&commands);
    let told = pids_in(&pids, 6).await;
    let began = Instant::now();
    until("three sessions have passed", || {
        began.elapsed() > SESSION * 3
    })
    .await;
    assert!(told.iter().all(|&pid| lives(pid)));
}

async fn a_session_that_is_over_starts_no_command_until_it_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let mut rig = Rig::of_command(&telling(&pids, ""));
    rig.executor.renew(Duration::from_secs(1_000));
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 1).await;
    rig.executor.renew(Duration::ZERO);
    assert_eq!(rig.next().await, (run, RunEvent::Stopped));
    until_dead(&told).await;
    assert_eq!(rig.outcome("run", "null").await, RunEvent::Stopped);
    rig.executor.renew(Duration::from_secs(1_000));
    rig.start("run", "null");
    pids_in(&pids, 2).await;
}

async fn a_killed_guardian_takes_its_commands_along_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let mut handlers = Handlers::new();
    let command = telling(&pids, &(child(&pids, "") + &child(&pids, "setsid")));
    handlers.add_command("run", &command).unwrap();
    handlers.add_command("one", "echo 1").unwrap();
    let mut rig = Rig::new(handlers);
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 3).await;
    let is_guardian = |&pid: &i32| name_of(pid) == "wl-guardian";
    let guardian = told
        .iter()
        .filter_map(|&pid| parent_of(pid))
        .find(is_guardian);
    let guardian = guardian.expect("one of them is the command itself");
    kill_process(Pid::from_raw(guardian).unwrap(), Signal::KILL).unwrap();
    let (ended, event) = rig.next().await;
    assert_eq!(ended, run);
    assert!(matches!(&event, RunEvent::Failed(error) if error.verdict == Verdict::Retry));
    until_dead(&told).await;
    until_it_runs_again(&mut rig).await;
}

async fn until_it_runs_again(rig: &mut Rig) {
    let began = Instant::now();
    while !matches!(rig.outcome("one", "null").await, RunEvent::Completed(_)) {
        assert!(began.elapsed() < BOUND, "no other guardian");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn name_of(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim_end().to_owned()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

async fn a_guardian_ignores_what_ends_a_unit() {
    let folder = tempfile::tempdir().unwrap();
    let (go, pids) = (folder.path().join("go"), folder.path().join("pids"));
    let script = format!(
        "sh -c 'echo $$ > {}; until [ -e {} ]; do sleep 0.01; done; echo 1'",
        pids.display(),
        go.display(),
    );
    let mut rig = Rig::of_command(&script);
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 1).await;
    let guardian = parent_of(told[0]).and_then(Pid::from_raw).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        kill_process(guardian, signal).unwrap();
    }
    std::fs::write(&go, "").unwrap();
    let (ended, event) = rig.next().await;
    assert_eq!(ended, run);
    assert!(matches!(event, RunEvent::Completed(_)), "{event:?}");
}

async fn a_program_that_is_no_guardian_fails_the_attempt() {
    for program in ["/nonexistent/windlass", "/bin/true"] {
        let mut handlers = Handlers::new();
        handlers.add_command("run", "true").unwrap();
        let mut options = windlass::executor::ExecutorOptions::default();
        options.guardian.program = PathBuf::from(program);
        let mut rig = Rig::with(handlers, options);
        let error = rig.failure("run", "null").await;
        assert_eq!(error.verdict, Verdict::Retry);
        assert!(error.message.contains("guardian"), "{}", error.message);
    }
}
