//! The guardian's process: starts commands, waits for them, and kills them.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use windlass_core::ids::OpId;

use super::processes::{self, Reaped};
use super::wire::{End, Order, PIPES, Parcel, Report, Socket};
use super::{EXEC_WORD, FENCED_GRACE, RUN_VAR};

/// How long after the end of a command its strays are looked for: that costs a look at every process of the machine.
const SWEEP_GAP: Duration = Duration::from_millis(100);

/// The same once the worker is gone: nothing else is left to do.
const SWEEP_GAP_CLOSING: Duration = Duration::from_millis(5);

/// Looking for strays takes at most one part in so many of the guardian's time.
const SWEEP_SHARE: u32 = 20;

/// A guardian whose worker is gone gives up after this: what survives SIGKILL for so long waits for its disk.
const CLOSING_MAX: Duration = Duration::from_secs(30);

/// A command that runs.
struct Run {
    /// Its process and group.
    leader: Pid,
    /// It was told to stop.
    stopped: bool,
    /// When it is killed, if it was told to stop and has not been killed yet.
    kill_at: Option<Instant>,
}

struct Keeper {
    /// The arguments that make this program a guardian.
    args: Vec<OsString>,
    runs: BTreeMap<OpId, Run>,
    outbox: VecDeque<Parcel>,
    /// When the worker's session ends.
    until: Option<Instant>,
    /// When to look for strays.
    sweep_at: Option<Instant>,
    /// Not before this: looking has its price.
    sweep_earliest: Instant,
    /// When to give up; the worker is gone.
    closing: Option<Instant>,
    /// No child is left.
    childless: bool,
}

/// Serves the worker at the other end of stdin until that is gone and every command with it.
pub(super) fn main() -> Result<(), String> {
    let _ = rustix::thread::set_name(c"wl-guardian");
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("cannot adopt what commands leave behind: {error}"))?;
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| format!("no worker: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let socket = Socket::new(socket).map_err(|error| format!("no worker: {error}"))?;
        let keeper = Keeper {
            args: std::env::args_os().skip(1).collect(),
            runs: BTreeMap::new(),
            outbox: VecDeque::new(),
            until: None,
            sweep_at: None,
            sweep_earliest: Instant::now(),
            closing: None,
            childless: true,
        };
        keeper
            .serve(socket)
            .await
            .map_err(|error| format!("cannot go on: {error}"))
    })
}

impl Keeper {
    async fn serve(mut self, socket: Socket) -> std::io::Result<()> {
        // Who wants the worker to end, tells the worker: signals to the whole unit must not kill commands that it lets
        // finish. To be listened for is enough to be ignored.
        let ignored = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        let _ignored = ignored.map(signal);
        let mut children = signal(SignalKind::child())?;
        let mut buffer = Vec::new();
        loop {
            if self
                .closing
                .is_some_and(|at| self.childless || at <= Instant::now())
            {
                return Ok(());
            }
            let wake = self.wake();
            tokio::select! { biased;
                _ = children.recv() => self.reap(),
                () = sleep_until(wake) => self.on_time(),
                sent = send(&socket, self.outbox.front()), if !self.outbox.is_empty() => {
                    self.outbox.pop_front();
                    if sent.is_err() {
                        self.on_worker_gone();
                    }
                }
                received = socket.receive(&mut buffer), if self.closing.is_none() => match received {
                    Ok(Some((order, pipes))) => self.on_order(order, pipes),
                    Ok(None) | Err(_) => self.on_worker_gone(),
                },
            }
        }
    }

    fn wake(&self) -> Option<Instant> {
        let kills = self.runs.values().filter_map(|run| run.kill_at);
        let fence = self
            .until
            .filter(|_| self.runs.values().any(|run| !run.stopped));
        kills
            .chain(fence)
            .chain(self.sweep_at)
            .chain(self.closing)
            .min()
    }

    fn on_order(&mut self, order: Order, pipes: Vec<OwnedFd>) {
        match order {
            Order::Spawn { run, words, env } => self.spawn(run, &words, env, pipes),
            Order::Stop { run, grace_ms } => {
                self.reap();
                self.stop(run, Duration::from_millis(grace_ms));
            }
            Order::Renew { until } => {
                let left = until.saturating_sub(processes::machine_nanos());
                self.until = Some(Instant::now() + Duration::from_nanos(left));
            }
        }
    }

    fn on_worker_gone(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Instant::now() + CLOSING_MAX);
            self.outbox.clear();
            self.reap();
            self.stop_all();
            self.sweep();
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.until.is_some_and(|until| until <= now) {
            self.reap();
            self.stop_all();
        }
        for run in self.runs.values_mut() {
            if run.kill_at.is_some_and(|at| at <= now) {
                run.kill_at = None;
                processes::signal_group(run.leader, Signal::KILL);
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep();
        }
    }

    fn spawn(
        &mut self,
        run: OpId,
        words: &[String],
        env: Vec<(String, String)>,
        pipes: Vec<OwnedFd>,
    ) {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            let end = End::NEVER_RAN;
            return self.report(&Report::Ended { run, end });
        }
        match self.exec(run, words, env, pipes) {
            Ok(leader) => {
                let group = leader.as_raw_nonzero().get();
                let started = Run {
                    leader,
                    stopped: false,
                    kill_at: None,
                };
                let earlier = self.runs.insert(run, started);
                assert!(earlier.is_none(), "no run is started twice");
                self.childless = false;
                self.report(&Report::Started { run, group });
            }
            Err(error) => {
                let reason = format!("cannot start a process: {error}");
                self.report(&Report::Refused { run, reason });
            }
        }
    }

    fn exec(
        &self,
        run: OpId,
        words: &[String],
        env: Vec<(String, String)>,
        pipes: Vec<OwnedFd>,
    ) -> std::io::Result<Pid> {
        // Fewer arrive when this process has no descriptors to spare.
        let [stdin, stdout, stderr] = <[OwnedFd; PIPES]>::try_from(pipes)
            .map_err(|_| std::io::Error::other("its pipes did not arrive"))?;
        let child = Command::new("/proc/self/exe")
            .args(&self.args)
            .arg(EXEC_WORD)
            .arg(std::process::id().to_string())
            .args(words)
            .envs(env)
            .env(RUN_VAR, run.0.to_string())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.ok_or_else(|| std::io::Error::other("no process id"))
    }

    fn stop(&mut self, run: OpId, grace: Duration) {
        let Some(run) = self.runs.get_mut(&run) else {
            return;
        };
        let at = Instant::now() + grace;
        if !run.stopped && !grace.is_zero() {
            processes::signal_group(run.leader, Signal::TERM);
        }
        if !run.stopped || run.kill_at.is_some_and(|earlier| at < earlier) {
            run.stopped = true;
            run.kill_at = Some(at);
        }
    }

    fn stop_all(&mut self) {
        let runs: Vec<_> = self.runs.keys().copied().collect();
        for run in runs {
            self.stop(run, FENCED_GRACE);
        }
    }

    /// Takes notice of every child that has ended.
    fn reap(&mut self) {
        for run in self.runs.values() {
            // Before it is waited for, while its id still cannot name another group.
            if processes::has_ended(run.leader) {
                processes::signal_group(run.leader, Signal::KILL);
            }
        }
        loop {
            match processes::reap() {
                Reaped::One(pid, (code, signal)) => {
                    let run = self.runs.iter().find(|(_, run)| run.leader == pid);
                    if let Some((&run, _)) = run {
                        self.on_ended(run, code, signal);
                    }
                    // Whatever it left behind has become a child of this process.
                    self.sweep_soon();
                }
                Reaped::AllLive => return,
                Reaped::NoneLeft => {
                    self.childless = true;
                    self.sweep_at = None;
                    return;
                }
            }
        }
    }

    fn on_ended(&mut self, run: OpId, code: Option<i32>, signal: Option<i32>) {
        let ended = self.runs.remove(&run).expect("it was just found");
        // It may have ended after the look at all leaders: ids are not given out anew so quickly.
        processes::signal_group(ended.leader, Signal::KILL);
        let end = End {
            code,
            signal,
            stopped: ended.stopped,
        };
        self.report(&Report::Ended { run, end });
    }

    /// Kills every child that belongs to no live run.
    fn sweep(&mut self) {
        let started = Instant::now();
        for child in processes::children() {
            if !self.belongs(child) {
                processes::kill(child.pid);
            }
        }
        self.sweep_at = None;
        self.sweep_earliest = Instant::now() + started.elapsed() * SWEEP_SHARE;
    }

    fn belongs(&self, child: processes::Child) -> bool {
        let leads = |run: &Run| run.leader.as_raw_nonzero().get() == child.group;
        if self.runs.values().any(leads) {
            return true;
        }
        match processes::run_of(child.pid) {
            Some(run) => self.runs.contains_key(&run),
            // It hides whose it is: it goes with the last run.
            None => !self.runs.is_empty(),
        }
    }

    /// Looks for strays soon. Each of them that dies brings this process here again.
    fn sweep_soon(&mut self) {
        let now = Instant::now();
        let at = if self.closing.is_some() {
            now + SWEEP_GAP_CLOSING
        } else {
            self.sweep_earliest.max(now + SWEEP_GAP)
        };
        self.sweep_at = Some(self.sweep_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn report(&mut self, report: &Report) {
        if self.closing.is_none() {
            self.outbox.push_back(Parcel::new(report, Vec::new()));
        }
    }
}

async fn send(socket: &Socket, parcel: Option<&Parcel>) -> std::io::Result<()> {
    match parcel {
        Some(parcel) => socket.send(parcel).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
