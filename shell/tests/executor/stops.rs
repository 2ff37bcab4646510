//! Commands that are told to stop.

use std::path::Path;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use windlass::executor::{ExecutorOptions, Handlers};
use windlass_core::ids::OpId;
use windlass_core::record::{Json, StopReason};
use windlass_core::worker::RunEvent;

use crate::rig::{Rig, lives, pids_in, until, until_dead};
use crate::trials;

pub(crate) fn trials() -> Vec<Trial> {
    trials![
        a_stop_kills_the_group_with_its_grandchildren,
        a_stop_reaches_what_left_the_group,
        a_command_may_clean_up_within_its_grace,
        a_command_that_ignores_its_stop_is_killed,
        a_fenced_command_has_little_grace,
        what_a_command_started_ends_with_it,
        one_command_is_stopped_and_the_others_run_on,
        a_stop_right_after_the_start_is_heard,
    ]
}

fn rig(command: &str, grace: Duration) -> Rig {
    let mut handlers = Handlers::new();
    handlers.add_command("run", command).unwrap();
    let options = ExecutorOptions {
        grace,
        ..ExecutorOptions::default()
    };
    Rig::with(handlers, options)
}

/// A command that tells the process ids of itself and of what it starts, then waits.
pub(crate) fn telling(path: &Path, started: &str) -> String {
    let path = path.display();
    format!("sh -c 'echo $$ >> {path}; {started} wait; sleep 1000'")
}

pub(crate) fn child(path: &Path, how: &str) -> String {
    let path = path.display();
    format!("{how} sh -c \"echo \\$\\$ >> {path}; sleep 1000\" & ")
}

async fn stopped(rig: &mut Rig, run: OpId, reason: StopReason) {
    rig.executor.stop(run, reason);
    assert_eq!(rig.next().await, (run, RunEvent::Stopped));
}

async fn a_stop_kills_the_group_with_its_grandchildren() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let command = telling(&pids, &child(&pids, "").repeat(2));
    let mut rig = rig(&command, Duration::from_secs(2));
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 3).await;
    assert!(told.iter().all(|&pid| lives(pid)));
    stopped(&mut rig, run, StopReason::Cancel).await;
    until_dead(&told).await;
    rig.ends_silent().await;
}

async fn a_stop_reaches_what_left_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let hidden = child(&pids, "setsid") + &child(&pids, "env -i setsid");
    let mut rig = rig(&telling(&pids, &hidden), Duration::from_secs(2));
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 3).await;
    stopped(&mut rig, run, StopReason::Cancel).await;
    until_dead(&told).await;
}

async fn a_command_may_clean_up_within_its_grace() {
    let folder = tempfile::tempdir().unwrap();
    let (pids, done) = (folder.path().join("pids"), folder.path().join("done"));
    let cleanup = format!("trap \"touch {}; exit 0\" TERM;", done.display());
    let mut rig = rig(
        &telling(&pids, &(cleanup + "sleep 1000 &")),
        Duration::from_secs(50),
    );
    let run = rig.start("run", "null");
    pids_in(&pids, 1).await;
    until("the trap is set", || !signal_kills(&pids)).await;
    stopped(&mut rig, run, StopReason::TimeOut).await;
    assert!(done.exists());
}

/// Whether SIGTERM is neither caught nor ignored by the first process in the file.
fn signal_kills(pids: &Path) -> bool {
    let text = std::fs::read_to_string(pids).unwrap();
    let pid = text.lines().next().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    !["SigCgt:\t", "SigIgn:\t"].iter().any(|field| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field));
        u64::from_str_radix(mask.unwrap(), 16).unwrap() & (1 << 14) != 0
    })
}

async fn a_command_that_ignores_its_stop_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let stubborn = format!("trap \"\" TERM; {}", child(&pids, ""));
    let mut rig = rig(&telling(&pids, &stubborn), Duration::from_millis(300));
    let run = rig.start("run", "null");
    let told = pids_in(&pids, 2).await;
    let began = Instant::now();
    stopped(&mut rig, run, StopReason::Cancel).await;
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "it had its grace"
    );
    until_dead(&told).await;
}

async fn a_fenced_command_has_little_grace() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let mut rig = rig(
        &telling(&pids, "trap \"\" TERM;"),
        Duration::from_secs(1_000),
    );
    let run = rig.start("run", "null");
    pids_in(&pids, 1).await;
    until("the trap is set", || !signal_kills(&pids)).await;
    stopped(&mut rig, run, StopReason::Fenced).await;
}

async fn what_a_command_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let path = pids.display();
    let script = format!(
        "sh -c '{} {} until [ $(wc -l < {path}) = 2 ]; do sleep 0.01; done; echo 1'",
        child(&pids, ""),
        child(&pids, "setsid"),
    );
    std::fs::write(&pids, "").unwrap();
    let mut rig = rig(&script, Duration::from_secs(2));
    let other = rig.start("sleep", r#"{"ms":1000000}"#);
    let run = rig.start("run", "null");
    let (told, event) = rig.next().await;
    assert_eq!(
        (told, event),
        (
            run,
            RunEvent::Completed(Json::parse("1".to_owned()).unwrap())
        )
    );
    until_dead(&pids_in(&pids, 2).await).await;
    rig.executor.stop(other, StopReason::Cancel);
    assert_eq!(rig.next().await, (other, RunEvent::Stopped));
}

async fn one_command_is_stopped_and_the_others_run_on() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let command = telling(&pids, &child(&pids, "setsid"));
    let mut rig = rig(&command, Duration::from_secs(2));
    let first = rig.start("run", "null");
    let of_first = pids_in(&pids, 2).await;
    let second = rig.start("run", "null");
    let all = pids_in(&pids, 4).await;
    let of_second: Vec<_> = all
        .into_iter()
        .filter(|pid| !of_first.contains(pid))
        .collect();
    stopped(&mut rig, first, StopReason::Cancel).await;
    until_dead(&of_first).await;
    assert!(of_second.iter().all(|&pid| lives(pid)));
    stopped(&mut rig, second, StopReason::Cancel).await;
    until_dead(&of_second).await;
    rig.ends_silent().await;
}

async fn a_stop_right_after_the_start_is_heard() {
    let mut rig = rig("sleep 1000", Duration::from_secs(2));
    for _ in 0..20 {
        let run = rig.start("run", "null");
        stopped(&mut rig, run, StopReason::Cancel).await;
    }
    assert_eq!(rig.executor.live(), 0);
}
