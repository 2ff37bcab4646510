//! Attempts that are run by a local command: the payload goes to its stdin, its stdout is the result.

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rustix::pipe::PipeFlags;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::{Receiver, Sender};
use windlass_core::record::{Json, StopReason};

use super::context::Context;
use super::failure::{ERROR_LEN_MAX, TaskError};
use super::guardian::{self, COMMAND_LEN_MAX, End, FENCED_GRACE, Link, Running};
use super::handlers::{RegisterError, Trouble};
use crate::trace;

/// How much is read from a pipe at once.
const READ_LEN: usize = 16 * 1_024;

/// How often the rest of stderr is read: more than a pipe holds, even one that was enlarged as far as it goes.
const DRAIN_READS_MAX: usize = 128;

/// A command, split into words as a shell does it, and run without one: nothing is expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine(Arc<[String]>);

impl FromStr for CommandLine {
    type Err = RegisterError;

    fn from_str(text: &str) -> Result<Self, RegisterError> {
        let refuse = |reason: &str| RegisterError::Command(text.to_owned(), reason.to_owned());
        let words = shell_words::split(text).map_err(|error| refuse(&error.to_string()))?;
        if words.first().is_none_or(String::is_empty) {
            return Err(refuse("it names no program"));
        }
        if text.contains('\0') {
            return Err(refuse("it contains a NUL"));
        }
        if text.len() > COMMAND_LEN_MAX {
            return Err(refuse("it is too long"));
        }
        Ok(Self(words.into()))
    }
}

/// Runs `command` for one attempt.
pub(super) async fn run(
    link: Link,
    command: CommandLine,
    payload: Json,
    ctx: Context,
    limit: usize,
    grace: Duration,
) -> Result<Json, Trouble> {
    let (stdin, mut output, running) = launch(&link, &command, &ctx, limit)
        .map_err(|error| TaskError::retry(format!("cannot make the command's pipes: {error}")))?;
    let fate = attend(running, stdin, &mut output, payload, &ctx, grace).await;
    output.drain();
    let end = match fate {
        Ok(end) => end,
        Err(reason) => return Err(TaskError::retry(reason).into()),
    };
    if output.overflowed() {
        let message = format!("the result has more than the {limit} bytes that are allowed");
        return Err(TaskError::fail(message).into());
    }
    output.into_result(end)
}

fn launch(
    link: &Link,
    command: &CommandLine,
    ctx: &Context,
    limit: usize,
) -> io::Result<(Sender, Output, Running)> {
    let (stdin, ours_in) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (ours_out, stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (ours_err, stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let ours_in = Sender::from_owned_fd(ours_in)?;
    let output = Output {
        stdout: Pipe::new(Receiver::from_owned_fd(ours_out)?),
        stderr: Pipe::new(Receiver::from_owned_fd(ours_err)?),
        limit,
    };
    let mut env = vec![
        ("WINDLASS_TASK_ID".to_owned(), ctx.task().to_string()),
        ("WINDLASS_FENCE".to_owned(), ctx.fence().to_string()),
        ("WINDLASS_ATTEMPT".to_owned(), ctx.attempt().to_string()),
    ];
    // Whoever submits may write anything there; only what is a trace reaches a command's environment.
    if let Some(trace) = ctx.trace_parent().filter(|it| trace::is_sound(it)) {
        env.push(("TRACEPARENT".to_owned(), trace.to_owned()));
    }
    let pipes = [stdin, stdout, stderr];
    let running = link.spawn(ctx.run(), command.0.to_vec(), env, pipes);
    Ok((ours_in, output, running))
}

/// Feeds the command, hears it, and stops it when that is ordered or it says too much, until it has ended.
async fn attend(
    mut running: Running,
    stdin: Sender,
    output: &mut Output,
    payload: Json,
    ctx: &Context,
    grace: Duration,
) -> Result<End, String> {
    let mut feeding = std::pin::pin!(feed(stdin, payload).fuse());
    let mut stopping = std::pin::pin!(ctx.cancelled().fuse());
    let mut killed = false;
    loop {
        tokio::select! { biased;
            fate = running.ended() => return fate,
            () = &mut stopping => running.stop(match ctx.reason() {
                Some(StopReason::Fenced) => grace.min(FENCED_GRACE),
                Some(StopReason::Cancel | StopReason::TimeOut | StopReason::Shutdown) | None => grace,
            }),
            () = output.hear() => if output.overflowed() && !killed {
                killed = true;
                running.stop(Duration::ZERO);
            },
            () = &mut feeding => {}
        }
    }
}

/// Writes the payload and closes the pipe. A command need not read it.
async fn feed(mut stdin: Sender, payload: Json) {
    let _ = stdin.write_all(payload.as_str().as_bytes()).await;
}

/// What a command says.
struct Output {
    stdout: Pipe,
    stderr: Pipe,
    limit: usize,
}

impl Output {
    /// Waits until the command says something, and keeps it. Can be dropped at any time without losing any.
    async fn hear(&mut self) {
        let pipe = tokio::select! { biased;
            () = self.stdout.readable(), if self.stdout.open => &mut self.stdout,
            () = self.stderr.readable(), if self.stderr.open => &mut self.stderr,
            else => return std::future::pending().await,
        };
        pipe.read();
        self.forget();
    }

    /// Keeps what was said and not heard yet, without waiting for whoever may still hold the pipes.
    fn drain(&mut self) {
        while !self.overflowed() && self.stdout.read_rest() {}
        for _ in 0..DRAIN_READS_MAX {
            if !self.stderr.read_rest() {
                break;
            }
            self.forget();
        }
        self.forget();
    }

    /// Keeps no more than is needed: what exceeds the limit of stdout by a byte, and the end of stderr.
    fn forget(&mut self) {
        self.stdout.said.truncate(self.limit + 1);
        let said = &mut self.stderr.said;
        if said.len() > 2 * ERROR_LEN_MAX {
            said.drain(..said.len() - ERROR_LEN_MAX);
        }
    }

    fn overflowed(&self) -> bool {
        self.stdout.said.len() > self.limit
    }

    fn into_result(self, end: End) -> Result<Json, Trouble> {
        if end.stopped {
            return Err(Trouble::Stopped);
        }
        if end.code == Some(0) {
            return Ok(json(self.stdout.said));
        }
        let said = String::from_utf8_lossy(&self.stderr.said);
        if let Some(reason) = guardian::is_exec_failure(end.code, &said) {
            return Err(TaskError::fail(reason.trim_end()).into());
        }
        let said = said.trim();
        let start = said.ceil_char_boundary(said.len().saturating_sub(ERROR_LEN_MAX));
        let message = match (&said[start..], end.code, end.signal) {
            ("", Some(code), _) => format!("the command exited with {code}"),
            ("", None, Some(signal)) => format!("the command was killed by signal {signal}"),
            ("", None, None) => "the command ended in an unknown way".to_owned(),
            (said, _, _) => said.to_owned(),
        };
        Err(TaskError::retry(message).into())
    }
}

/// What was said as JSON, if it is that, else as a string.
fn json(said: Vec<u8>) -> Json {
    let said = String::from_utf8(said)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Json::parse(said.clone()).unwrap_or_else(|_| Json::string(&said))
}

/// One pipe from a command.
struct Pipe {
    pipe: Receiver,
    said: Vec<u8>,
    open: bool,
}

impl Pipe {
    fn new(pipe: Receiver) -> Self {
        Self {
            pipe,
            said: Vec::new(),
            open: true,
        }
    }

    async fn readable(&self) {
        // An error is found again by reading.
        let _ = self.pipe.readable().await;
    }

    /// Keeps some of what can be read now.
    fn read(&mut self) {
        self.keep(|pipe, buffer| pipe.try_read(buffer));
    }

    /// Keeps some of what is in the pipe; false when that was all. Asks the system itself: that there is something
    /// left may not have got around in this process yet.
    fn read_rest(&mut self) -> bool {
        self.open && self.keep(|pipe, buffer| Ok(rustix::io::read(pipe, buffer)?))
    }

    fn keep(&mut self, read: impl FnOnce(&Receiver, &mut [u8]) -> io::Result<usize>) -> bool {
        let before = self.said.len();
        self.said.resize(before + READ_LEN, 0);
        let read = read(&self.pipe, &mut self.said[before..]);
        self.said.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.open = false,
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.open = false,
        }
        false
    }
}
