//! The command as a user runs it.

use std::process::{Command, Stdio};

#[test]
fn who_reads_no_further_changes_no_verdict() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_windlass-sim"))
        .args(["run", "--seeds", "0..2", "-j", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Long before the first line: nothing is printed until the seeds were run.
    drop(run.stdout.take());
    let output = run.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.as_str()), (Some(0), ""));
}
