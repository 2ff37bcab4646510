//! Namespaces of the run's own: network, mounts and processes. Whatever becomes of the run, the kernel takes everything
//! away with its first process: no interface, rule, mount or process outlives it, and no name can clash.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

/// Says in the environment that the process is inside.
const INSIDE: &str = "CHAOS_INSIDE";
/// What a run needs beside etcd.
const TOOLS: [(&str, &str); 4] = [
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
];

/// Whether the machine lets chaos make its namespaces, cut networks and slow links in them; else why not.
///
/// # Errors
/// When it does not, with what it said.
pub fn possible() -> anyhow::Result<()> {
    for (tool, package) in TOOLS {
        if !on_path(tool) {
            bail!("there is no `{tool}`; install {package}");
        }
    }
    let attempt = "PATH=$PATH:/usr/sbin:/sbin; mount -t tmpfs tmpfs /run && mkdir /run/netns \
        && ip netns add a && ip link add b type bridge && ip link add c type veth peer name d \
        && nft add table inet e && tc qdisc add dev c root tbf rate 1mbit burst 32kbit latency 400ms";
    run(unshare().args(["sh", "-c", attempt]))
}

/// Runs the command that follows with a network and processes of its own, and ends it with the caller.
pub fn apart() -> Command {
    let mut unshare = unshare();
    unshare.env_remove(INSIDE);
    unshare
}

/// Whether [`apart`] works here; else why not.
///
/// # Errors
/// When it does not, with what it said.
pub fn apart_possible() -> anyhow::Result<()> {
    for tool in ["unshare", "ip"] {
        if !on_path(tool) {
            bail!("there is no `{tool}`");
        }
    }
    let attempt = "PATH=$PATH:/usr/sbin:/sbin; ip link set lo up";
    run(apart().args(["sh", "-c", attempt]))
}

/// Moves the process into namespaces of its own, by running itself again there with the same arguments. Returns inside.
///
/// # Errors
/// When the machine does not let it, with what is missing.
pub fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return furnish();
    }
    for (tool, package) in TOOLS {
        if !on_path(tool) {
            bail!("chaos cannot run here: there is no `{tool}`; install {package}");
        }
    }
    let own = std::env::current_exe().context("a program knows where it is")?;
    // The shell is the first process of the namespace: it takes in orphans, and passes the exit code on.
    let error = unshare()
        .args(["sh", "-c", r#""$0" "$@"; exit $?"#])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("chaos cannot run here: `unshare` does not start")
}

/// What runs the command that follows in namespaces of its own.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    unshare
}

/// Names of network namespaces live below `/run`: an own one keeps them apart from the machine's.
fn furnish() -> anyhow::Result<()> {
    let why = "chaos cannot run here: it needs to make namespaces (root, or user namespaces)";
    run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"])).context(why)?;
    std::fs::create_dir_all("/run/netns").context(why)
}

fn on_path(tool: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&folders).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(|it| Path::new(it).to_owned()));
    folders.iter().any(|folder| folder.join(tool).is_file())
}

/// Runs a command that is to succeed.
///
/// # Errors
/// When it does not, with what it said.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", said.trim());
    }
    Ok(())
}
