//! The command line in front of a server that stands in for the real one.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::stand_in::StandIn;

/// A server, and the program that is told of it.
pub(crate) struct Rig {
    pub(crate) server: StandIn,
    pub(crate) address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = StandIn::default();
        let address = runtime.block_on(server.listen());
        Self {
            server,
            address,
            _runtime: runtime,
        }
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = program(line);
        command.env("WINDLASS_SERVER", format!("http://{}", self.address));
        command
    }

    /// What the command, which ends with `code`, prints.
    pub(crate) fn prints(&self, code: i32, line: &str) -> String {
        printed(code, line, &self.command(line).output().unwrap())
    }

    pub(crate) fn prints_given(&self, code: i32, line: &str, input: &str) -> String {
        let mut child = self
            .command(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        printed(code, line, &child.wait_with_output().unwrap())
    }

    pub(crate) fn json(&self, code: i32, line: &str) -> Value {
        serde_json::from_str(&self.prints(code, &format!("{line} -o json"))).unwrap()
    }

    /// What the command, which ends with `code`, says on stderr.
    pub(crate) fn says(&self, code: i32, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        printed(code, line, &output);
        told(&output)
    }

    /// Submits a task of each of these types; their ids.
    pub(crate) fn submit(&self, kinds: &[&str]) -> Vec<String> {
        let submit = |kind: &&str| {
            self.prints(0, &format!("task submit {kind} -q"))
                .trim()
                .to_owned()
        };
        kinds.iter().map(submit).collect()
    }
}

/// The program with the words of `line`, in an environment without anything that it reads.
pub(crate) fn program(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    command
        .args(shell_words::split(line).unwrap())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WINDLASS_") {
            command.env_remove(name);
        }
    }
    for name in ["NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn printed(code: i32, line: &str, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code), "{line}: {}", told(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}
