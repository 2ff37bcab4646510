//! A process on a computer of the cluster, that can be killed, frozen and started again.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::net::Host;

/// How to start it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What people call it.
    pub name: String,
    /// Where it runs.
    pub host: Arc<Host>,
    /// What runs.
    pub program: PathBuf,
    /// With what.
    pub args: Vec<String>,
    /// What it finds in its environment, besides what everybody finds.
    pub env: Vec<(String, String)>,
    /// Where it writes, one life after the other.
    pub log: PathBuf,
}

/// One process, or the place of one that is down.
#[derive(Debug)]
pub struct Process {
    /// How to start it; may be changed between lives.
    pub spec: Spec,
    child: Option<Child>,
}

impl Process {
    /// Not started yet.
    pub fn new(spec: Spec) -> Self {
        Self { spec, child: None }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        assert!(self.child.is_none(), "{} runs already", self.spec.name);
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.spec.log)?;
        let mut command = self.spec.host.command(&self.spec.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WINDLASS_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(&self.spec.args)
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", self.spec.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Kills it, if it runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks it to leave.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it, and waits until all of it stands still. Says whether it does: it may have ended.
    pub fn freeze(&mut self) -> bool {
        self.signal(Signal::STOP);
        let stopped = self.pid().and_then(|pid| {
            let status = waitpid(Some(pid), WaitOptions::UNTRACED).ok().flatten();
            status.map(|(_, status)| status.stopped())
        });
        stopped.unwrap_or_default()
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(code(status))
    }

    /// Whether it was started and nobody has noticed its end.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.child.as_ref()?.id();
        i32::try_from(id).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The exit code, or the signal below zero.
fn code(status: ExitStatus) -> i32 {
    let code = status.code().or_else(|| status.signal().map(|it| -it));
    code.unwrap_or(-1)
}
