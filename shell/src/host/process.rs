//! What this process takes of its computer, by `/proc`.

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Footprint {
    /// Time on processors, in seconds.
    pub cpu_seconds: f64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// When it started, in seconds since the Unix epoch.
    pub started_at: f64,
}

/// What this process takes now; `None` where `/proc` does not tell.
pub fn footprint() -> Option<Footprint> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = ticks(&stat)?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime "));
    let booted: f64 = booted?.trim().parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Footprint {
        cpu_seconds: seconds(ticks.busy, per_second),
        memory_bytes: super::load::memory_bytes(),
        // One of them is the one that is counted with.
        open_fds: std::fs::read_dir("/proc/self/fd")
            .map_or(0, |fds| u64::try_from(fds.count()).unwrap_or(u64::MAX))
            .saturating_sub(1),
        started_at: booted + seconds(ticks.started, per_second),
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    started: u64,
}

/// The name of the program stands in brackets and may contain anything, brackets too.
fn ticks(stat: &str) -> Option<Ticks> {
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // The third field of all is the first behind the name.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Ticks {
        busy: field(14)? + field(15)?,
        started: field(22)?,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody looks at the seventeenth digit"
)]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 31 11 0 0 20 0 1 0 900 1 1";
        let expected = Ticks {
            busy: 42,
            started: 900,
        };
        assert_eq!(ticks(stat), Some(expected));
        assert_eq!(ticks("7 (short) S 1"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let footprint = footprint().unwrap();
        assert!(footprint.memory_bytes > 0 && footprint.open_fds > 0);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - footprint.started_at;
        assert!((-1.0..3_600.0).contains(&age), "started {age} s ago");
    }
}
