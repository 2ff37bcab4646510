//! What `windlass version` tells of the build: facts that are the same for everybody who builds the same commit with the
//! same compiler.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WINDLASS_GIT_SHA");
    tell("WINDLASS_BUILD_TARGET", std::env::var("TARGET").ok());
    let rustc = std::env::var("RUSTC").ok();
    tell(
        "WINDLASS_BUILD_RUSTC",
        rustc.and_then(|rustc| said(&rustc, &["--version"])),
    );
    tell("WINDLASS_BUILD_COMMIT", commit());
}

/// The commit, as whoever builds without a checkout names it, or else as the checkout does.
fn commit() -> Option<String> {
    if let Ok(given) = std::env::var("WINDLASS_GIT_SHA") {
        return Some(given).filter(|given| !given.is_empty());
    }
    // While something is worked on, each commit would build everything above this package anew, for nobody to read.
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    let head = said("git", &["rev-parse", "HEAD"])?;
    // The log of HEAD grows with each commit, and with each change to another one.
    if let Some(log) = said("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={log}");
    }
    Some(head)
}

fn tell(name: &str, value: Option<String>) {
    let value = value.unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env={name}={value}");
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let said = said.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
