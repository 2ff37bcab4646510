//! What a process uses of the machine, as Linux tells.

use std::fs;
use std::time::Duration;

/// Memory that the process has in use, in bytes; zero when it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:") * 1_024
}

/// The most that it ever had.
pub fn peak_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:") * 1_024
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix(name));
    let kib = line.and_then(|it| it.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default()
}

/// The processors' time that it has used; nothing when it is gone.
pub fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_micros(ticks * 1_000_000 / per_second))
}

/// User's and system's ticks of a line of `/proc`.
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name, which may hold spaces, in parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_program_with_an_odd_name_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 9 0 0";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn this_process_uses_memory_and_another_that_is_gone_none() {
        let own = std::process::id();
        assert!(resident_bytes(own) > 1 << 20);
        assert!(peak_bytes(own) >= resident_bytes(own) / 2);
        assert!(processor_time(own).is_some());
        assert_eq!(resident_bytes(u32::MAX), 0);
        assert_eq!(processor_time(u32::MAX), None);
    }
}
