//! `windlass top` on a real terminal: one that tmux makes.

use std::process::Command;
use std::time::{Duration, Instant};

use super::rig::Rig;

/// A terminal of its own, with a shell in it.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(name: &str, command: &str) -> Self {
        let socket = format!("windlass-{name}-{}", std::process::id());
        let terminal = Self { socket };
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "110",
            "-y",
            "30",
            command,
        ]);
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let output = tmux
            .arg("-L")
            .arg(&self.socket)
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// The screen, once it holds `text`.
    fn shows(&self, text: &str) -> String {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < give_up, "never {text}:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How the terminal itself is set.
    fn flags(&self) -> String {
        self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"])
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn tmux_is_there() -> bool {
    let is_there = Command::new("tmux").arg("-V").output().is_ok();
    if !is_there {
        eprintln!(
            "NOT TESTED: there is no tmux, so nobody drives `windlass top` on a terminal here"
        );
    }
    is_there
}

/// A shell that runs `windlass top`, and then says how that ended and how the terminal is set.
fn top(rig: &Rig, name: &str) -> Terminal {
    let program = env!("CARGO_BIN_EXE_windlass");
    let line = format!(
        "{program} top --server http://{}; echo ended: $?; stty -a; exec sleep 1000",
        rig.address
    );
    Terminal::open(name, &line)
}

#[test]
fn a_person_walks_through_the_tabs_acts_and_gets_the_terminal_back() {
    if !tmux_is_there() {
        return;
    }
    let rig = Rig::start();
    let ids = rig.submit(&["echo", "mail"]);
    rig.prints(0, "queue set mails --strategy random");
    let terminal = top(&rig, "walk");
    terminal.shows("Busiest queues");
    terminal.shows("mails");
    assert_eq!(terminal.flags().trim(), "1 0");
    terminal.press(&["2", "p"]);
    terminal.shows("pause the queue mails? [y/N]");
    terminal.press(&["y"]);
    terminal.shows("done: pause the queue mails");
    terminal.press(&["3"]);
    terminal.shows("w1");
    terminal.press(&["4"]);
    terminal.shows(&ids[0]);
    // The newest task is the first one.
    terminal.press(&["c", "y"]);
    terminal.shows("cancelled");
    terminal.press(&["j", "w"]);
    terminal.shows("its queue is paused");
    terminal.press(&["Escape"]);
    terminal.press(&["/", "type:mail", "Enter"]);
    terminal.shows("filter: type:mail");
    terminal.press(&["?"]);
    terminal.shows("drain the chosen worker");
    terminal.press(&["q", "q"]);
    let screen = terminal.shows("ended: 0");
    assert!(!screen.contains("Keys"), "{screen}");
    terminal.shows("isig icanon iexten echo");
    assert_eq!(terminal.flags().trim(), "0 1");
}

#[test]
fn a_signal_gives_the_terminal_back() {
    if !tmux_is_there() {
        return;
    }
    let rig = Rig::start();
    let terminal = top(&rig, "signal");
    terminal.shows("Busiest queues");
    let pane = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let children = Command::new("ps")
        .args(["-o", "pid=,comm=", "--ppid", pane.trim()])
        .output()
        .unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let child = children
        .lines()
        .find(|line| line.contains("windlass"))
        .unwrap();
    let pid: i32 = child.split_whitespace().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    terminal.shows("ended: 143");
    terminal.shows("isig icanon iexten echo");
    assert_eq!(terminal.flags().trim(), "0 1");
}
