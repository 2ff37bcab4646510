//! What the guardian knows of processes, and does to them.

use std::fs;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use windlass_core::ids::OpId;

use super::RUN_VAR;

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
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
            let (parent, group) = lineage(&String::from_utf8_lossy(&stat))?;
            (parent == own).then_some(Child {
                pid: Pid::from_raw(pid)?,
                group,
            })
        })
        .collect()
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
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    environment
        .split(|&byte| byte == 0)
        .find_map(|entry| {
            let entry = std::str::from_utf8(entry).ok()?;
            entry.strip_prefix(RUN_VAR)?.strip_prefix('=')?.parse().ok()
        })
        .map(OpId)
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
    fn the_monotonic_clock_of_the_machine_goes_forward() {
        let before = machine_nanos();
        assert!(before > 0 && machine_nanos() >= before);
    }
}
