//! How busy the machine is, and how large the process, by `/proc`.

use std::time::Duration;

use crate::node::Load;

/// How often it is measured.
const EVERY: Duration = Duration::from_secs(2);

/// Tells `report` again and again, until the task is dropped.
pub(crate) async fn measure(report: impl Fn(Load)) {
    let mut before = cpu_times().unwrap_or_default();
    loop {
        tokio::time::sleep(EVERY).await;
        let now = cpu_times().unwrap_or(before);
        report(Load {
            cpu_permille: busy_permille(before, now),
            memory_bytes: memory_bytes(),
        });
        before = now;
    }
}

/// The memory of this process, in bytes; zero where `/proc` does not tell.
pub(crate) fn memory_bytes() -> u64 {
    status_bytes("VmRSS:").unwrap_or(0)
}

/// The most memory that this process ever had, in bytes; zero where `/proc` does not tell.
pub fn peak_memory_bytes() -> u64 {
    status_bytes("VmHWM:").unwrap_or(0)
}

/// Busy and total time of all processors since the machine started, in its own ticks.
fn cpu_times() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<u64> = stat
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .map_while(|it| it.parse().ok())
        .collect();
    let total: u64 = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Some((total.checked_sub(idle)?, total))
}

fn busy_permille(before: (u64, u64), now: (u64, u64)) -> u16 {
    let total = now.1.saturating_sub(before.1);
    let busy = now.0.saturating_sub(before.0).min(total);
    u16::try_from((busy * 1_000).checked_div(total).unwrap_or(0)).unwrap_or(1_000)
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_busy_time_over_all_time() {
        assert_eq!(busy_permille((100, 1_000), (350, 2_000)), 250);
        assert_eq!(busy_permille((100, 1_000), (100, 1_000)), 0);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(peak_memory_bytes() > 0);
    }
}
