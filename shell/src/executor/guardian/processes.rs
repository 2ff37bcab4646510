//! What the guardian knows of processes, and does to them.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use windlass_core::ids::OpId;

use super::{GUARDIAN_VAR, RUN_VAR};

/// How often a dead guardian's processes are looked for: each time finds only what was started during the one before.
const KILL_ROUNDS_MAX: usize = 20;

/// How long killed processes have to vanish.
const KILL_ROUND: Duration = Duration::from_millis(5);

/// A child of this process, dead or alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) pid: Pid,
    pub(super) group: i32,
}

/// All children of this process: those it started, and those it adopted. As long as they are not waited for, their ids
/// name nobody else.
pub(super) fn children() -> Vec<Child> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    everybody()
        .filter_map(|pid| {
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            let (parent, group) = lineage(&String::from_utf8_lossy(&stat))?;
            (parent == own).then_some(Child {
                pid: Pid::from_raw(pid)?,
                group,
            })
        })
        .collect()
}

/// The ids of all processes of the machine that can be seen.
fn everybody() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The parent and the group in a line of `/proc/PID/stat`. The name in it may contain anything, so it counts from its
/// last parenthesis.
fn lineage(stat: &str) -> Option<(i32, i32)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some((parent, group))
}

/// The run that a process was started for, if it was started with that knowledge.
pub(super) fn run_of(pid: Pid) -> Option<OpId> {
    let environment = environment(pid)?;
    let run = value_of(&environment, RUN_VAR)?;
    run.parse().ok().map(OpId)
}

/// Kills every process that was started with the knowledge that it belongs to this guardian. Blocks.
pub(super) fn kill_all_of(guardian: &str) {
    for _ in 0..KILL_ROUNDS_MAX {
        let mut found = false;
        for pid in everybody().filter_map(Pid::from_raw) {
            // From here on the descriptor names the process, whatever becomes of its id.
            let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            let environment = environment(pid).unwrap_or_default();
            if value_of(&environment, GUARDIAN_VAR) == Some(guardian) {
                found = true;
                // It fails when it has ended meanwhile.
                let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
            }
        }
        if !found {
            return;
        }
        std::thread::sleep(KILL_ROUND);
    }
}

fn environment(pid: Pid) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()
}

fn value_of<'a>(environment: &'a [u8], name: &str) -> Option<&'a str> {
    let mut entries = environment.split(|&byte| byte == 0);
    entries.find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        std::str::from_utf8(value).ok()
    })
}

/// How a child ended: exit code, or signal.
pub(super) type Status = (Option<i32>, Option<i32>);

/// Whether this child has ended. It stays to be waited for, so its id and group are still its own.
pub(super) fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(
        rustix::process::waitid(WaitId::Pid(pid), options),
        Ok(Some(_))
    )
}

/// The next child that has ended, whichever it is.
pub(super) fn reap() -> Reaped {
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            Reaped::One(pid, (status.exit_status(), status.terminating_signal()))
        }
        Ok(None) => Reaped::AllLive,
        Err(_) => Reaped::NoneLeft,
    }
}

/// What [`reap`] found.
#[derive(Debug)]
pub(super) enum Reaped {
    /// This child has ended, and is forgotten by the system.
    One(Pid, Status),
    /// There are children, and all of them live.
    AllLive,
    /// There are no children.
    NoneLeft,
}

/// Sends `signal` to every process of a group, and wakes those that were stopped, so that they hear it.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    // It fails when nobody is left in the group: then there is nothing to do.
    let _ = rustix::process::kill_process_group(group, signal);
    if signal != Signal::KILL {
        let _ = rustix::process::kill_process_group(group, Signal::CONT);
    }
}

/// Kills one child.
pub(super) fn kill(pid: Pid) {
    // It fails when the child runs with other rights: nothing more can be done then.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// The machine's monotonic clock, in nanoseconds: the same for every process.
pub(super) fn machine_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    secs.saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        assert_eq!(
            lineage("12 (a) S 9 (b) R 7 8 12 0 -1"),
            Some((7, 8)),
            "the last parenthesis counts"
        );
        assert_eq!(lineage("12 (sh) S 1 12 12 0"), Some((1, 12)));
        assert_eq!(lineage("12 (sh"), None);
        assert_eq!(lineage(""), None);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"A=1\0AB=2\0=3\0B\0C=\xff\0B=x=y\0";
        assert_eq!(value_of(environment, "A"), Some("1"));
        assert_eq!(value_of(environment, "AB"), Some("2"));
        assert_eq!(value_of(environment, "B"), Some("x=y"));
        assert_eq!(value_of(environment, "C"), None);
        assert_eq!(value_of(environment, "D"), None);
    }

    #[test]
    fn the_monotonic_clock_of_the_machine_goes_forward() {
        let before = machine_nanos();
        assert!(before > 0 && machine_nanos() >= before);
    }
}
