//! `windlass lock`: runs a command while a lock of the cluster is held, and kills it when the lock is lost.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use windlass_core::ids::LockName;

use super::exit::{CliError, Exit};
use super::output::{self, Output};
use super::servers::{Call, Client};
use super::values;

/// How long one request waits for the lock; longer waits are several requests.
const WAIT_STEP: Duration = Duration::from_secs(30);
/// How long after a failed renewal the next one is tried.
const RENEW_PAUSE: Duration = Duration::from_millis(500);

/// Run a command under a lock of the cluster.
#[derive(Debug, Subcommand)]
pub enum LockArgs {
    /// Take the lock, run the command, give the lock back; ends as the command ends
    Run {
        /// The lock's name
        key: LockName,
        /// How long the lock is held without news of this process
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::positive_duration)]
        ttl: Duration,
        /// Wait no longer than this for the lock [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = values::duration)]
        wait: Option<Duration>,
        /// The command and its words; it finds the lock's fence in WINDLASS_FENCE
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Deserialize)]
struct Held {
    fence: u64,
    token: String,
}

/// Takes the lock, runs the command, gives the lock back.
pub(super) async fn run(
    args: LockArgs,
    client: &Client,
    _output: Output,
) -> anyhow::Result<ExitCode> {
    let LockArgs::Run {
        key,
        ttl,
        wait,
        command,
    } = args;
    let lock = Lock {
        client,
        path: format!("/api/v1/locks/{key}"),
        name: key,
        ttl,
    };
    // Signals are caught before the lock is taken: from then on it is given back whatever comes.
    let mut signals = Signals::new()?;
    let held = tokio::select! { biased;
        (_, code) = signals.next() => return Ok(code),
        held = lock.take(wait) => held?,
    };
    let ended = guard(&lock, &held, &command, &mut signals).await;
    if let Err(error) = lock.release(&held).await {
        output::note(&format!(
            "the lock was not given back, and ends by itself: {error}"
        ));
    }
    ended
}

async fn guard(
    lock: &Lock<'_>,
    held: &Held,
    command: &[OsString],
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    // How long ago the lock was granted is not known here; from a renewal on, its end is.
    let sure_since = Instant::now();
    lock.renew(held).await?;
    let (program, args) = command.split_first().context("there is no command")?;
    let mut child = Command::new(program)
        .args(args)
        .env("WINDLASS_FENCE", held.fence.to_string())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let kill = |signal| {
        if let Some(group) = group {
            // The group may just have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    };
    let lost = lock.keep(held, sure_since);
    tokio::pin!(lost);
    loop {
        tokio::select! { biased;
            ended = child.wait() => return Ok(code_of(ended?)),
            error = &mut lost => {
                kill(Signal::KILL);
                reap(&mut child).await;
                return Err(error.into());
            }
            (signal, _) = signals.next() => kill(signal),
        }
    }
}

async fn reap(child: &mut Child) {
    if let Err(error) = child.wait().await {
        output::note(&format!("cannot tell how the command ended: {error}"));
    }
}

fn code_of(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

struct Lock<'a> {
    client: &'a Client,
    path: String,
    name: LockName,
    ttl: Duration,
}

fn not_renewed() -> CliError {
    let told = "the lock could not be renewed in time, the command was killed";
    CliError::new(Exit::Failed, told)
}

impl Lock<'_> {
    async fn take(&self, wait: Option<Duration>) -> anyhow::Result<Held> {
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        loop {
            let left = until.map_or(WAIT_STEP, |until| {
                until.saturating_duration_since(Instant::now())
            });
            let step = left.min(WAIT_STEP);
            let body = json!({
                "owner": format!("pid {}", std::process::id()),
                "ttl": format!("{}ms", self.ttl.as_millis()),
                "wait": format!("{}ms", step.as_millis()),
            });
            let call = Call::post(&*self.path).body(body.to_string()).waiting(step);
            match self.client.ask(&call).await {
                Ok(text) => return Ok(serde_json::from_str(&text)?),
                Err(error) if error.exit == Exit::TimedOut && (until.is_none() || left > step) => {}
                Err(error) if error.exit == Exit::TimedOut => {
                    let told = format!("the lock {} was not free in time", self.name);
                    return Err(CliError::new(Exit::TimedOut, told).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Keeps the lock; returns why it is lost, or must be taken for lost.
    async fn keep(&self, held: &Held, since: Instant) -> CliError {
        let mut sure_until = since + self.ttl;
        let mut next = since + self.ttl / 3;
        loop {
            tokio::time::sleep_until(next.min(sure_until)).await;
            let asked_at = Instant::now();
            let left = sure_until.saturating_duration_since(asked_at);
            // A server that is gone refuses at once, which comes before any time-out.
            if left.is_zero() {
                return not_renewed();
            }
            match tokio::time::timeout(left, self.renew(held)).await {
                Ok(Ok(())) => {
                    sure_until = asked_at + self.ttl;
                    next = asked_at + self.ttl / 3;
                }
                Ok(Err(error)) if matches!(error.exit, Exit::Refused | Exit::NotFound) => {
                    return CliError::new(
                        Exit::Failed,
                        format!("the lock is lost, the command was killed: {error}"),
                    );
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lock could not be renewed, it is tried again");
                    next = Instant::now() + RENEW_PAUSE;
                }
                Err(_) => return not_renewed(),
            }
        }
    }

    async fn renew(&self, held: &Held) -> Result<(), CliError> {
        let call =
            Call::new(Method::PUT, &*self.path).body(json!({"token": held.token}).to_string());
        self.client.ask(&call).await.map(drop)
    }

    async fn release(&self, held: &Held) -> Result<(), CliError> {
        let call =
            Call::new(Method::DELETE, &*self.path).body(json!({"token": held.token}).to_string());
        self.client.ask(&call).await.map(drop)
    }
}

/// What a terminal or a supervisor sends to end this process.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal, and the exit code of a process that it ends.
    async fn next(&mut self) -> (Signal, ExitCode) {
        let signal = tokio::select! { biased;
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        };
        let code = u8::try_from(128 + signal.as_raw()).unwrap_or(1);
        (signal, ExitCode::from(code))
    }
}
