//! Where it was measured, and what.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use crate::{binary, etcd};

/// What must be known of a machine to compare figures of two.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// What they are.
    pub processor: String,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The version of etcd.
    pub etcd: String,
    /// The version of the database below the embedded store.
    pub embedded: String,
    /// The commit that was measured; a plus behind it tells that files had been changed.
    pub commit: String,
    /// The version of the compiler.
    pub rustc: String,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// When it does not tell something.
    pub fn this() -> anyhow::Result<Self> {
        let root = binary::repository();
        let lock = read(root.join("Cargo.lock"))?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: field(&read("/proc/cpuinfo")?, "model name")
                .unwrap_or_else(|| "unknown".to_owned()),
            memory_bytes: memory(&read("/proc/meminfo")?).context("no memory is told")?,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            // Without it some rows cannot be measured, and say so.
            etcd: version_of_etcd().unwrap_or_else(|error| format!("unknown: {error:#}")),
            embedded: locked(&lock, "redb").context("no redb is locked")?,
            commit: commit(root),
            rustc: said(Command::new("rustc").arg("--version").current_dir(root))?,
        })
    }
}

fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The share of all cores' time that somebody used while this waited for so long.
///
/// # Errors
/// When the kernel does not tell.
pub fn busy_share(lasts: Duration) -> anyhow::Result<f64> {
    let before = read("/proc/stat")?;
    std::thread::sleep(lasts);
    let after = read("/proc/stat")?;
    let [before, after] = [before, after].map(|it| ticks(&it));
    let [before, after] = [before, after].map(|it| it.context("no processor's time is told"));
    Ok(share(before?, after?))
}

/// The ticks of all cores in which they had something to do, and all ticks.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let all = stat.lines().next()?.strip_prefix("cpu ")?;
    // User, nice, system, idle, waiting for disks, and more; guests' time is in the user's already.
    let all: Vec<u64> = all
        .split_whitespace()
        .take(8)
        .map(|it| it.parse().ok())
        .collect::<Option<_>>()?;
    let idle = all.get(3)? + all.get(4)?;
    let total = all.iter().sum::<u64>();
    Some([total - idle, total])
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn share(before: [u64; 2], after: [u64; 2]) -> f64 {
    let [busy, total] = [0, 1].map(|it| after[it].saturating_sub(before[it]) as f64);
    // Too short a look sees no tick.
    busy / total.max(1.0)
}

/// What a program says on one line.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().context("a program cannot be run")?;
    anyhow::ensure!(output.status.success(), "{command:?} fails");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn version_of_etcd() -> anyhow::Result<String> {
    let line = said(Command::new(etcd::binary()).arg("--version"))?;
    Ok(line.trim_start_matches("etcd Version: ").to_owned())
}

/// What was measured may come without its history, in an archive.
fn commit(root: &Path) -> String {
    let git = |args: &[&str]| said(Command::new("git").args(args).current_dir(root));
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    match (git(&["rev-parse", "HEAD"]), changed) {
        (Ok(hash), Ok(changed)) if changed.is_empty() => hash,
        (Ok(hash), _) => format!("{hash}+"),
        (Err(_), _) => "unknown".to_owned(),
    }
}

/// The first field of this name, as `/proc` writes them.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory(text: &str) -> Option<u64> {
    let total = field(text, "MemTotal")?;
    let kib: u64 = total.strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1_024)
}

/// The version of a package, by the lock file.
fn locked(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(format!("{package} {}", version.strip_suffix('"')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_and_the_lock_file_write_is_read() {
        let text = "processor\t: 0\nmodel name\t: Some: Chip\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Some: Chip"));
        assert_eq!(memory("MemTotal:       24588 kB\n"), Some(24_588 * 1_024));
        let lock = "[[package]]\nname = \"redb\"\nversion = \"4.5.0\"\n";
        assert_eq!(locked(lock, "redb").as_deref(), Some("redb 4.5.0"));
        assert_eq!(locked(lock, "other"), None);
    }

    #[test]
    fn the_share_of_the_ticks_in_which_somebody_worked_is_told() {
        let stat = |user, idle| format!("cpu  {user} 0 10 {idle} 5 0 0 0 0 0\ncpu0 1 2 3\n");
        let [before, after] = [stat(100, 1_000), stat(130, 1_070)].map(|it| ticks(&it).unwrap());
        assert_eq!((before, after), ([110, 1_115], [140, 1_215]));
        assert_eq!(share(before, after), 0.3);
        assert_eq!(share(before, before), 0.0);
        assert_eq!(ticks("cpu0 1 2 3 4 5"), None);
    }

    #[test]
    fn this_machine_tells_what_it_is() {
        let machine = Machine::this().unwrap();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20);
        assert!(machine.etcd.starts_with(|it: char| it.is_ascii_digit()));
        assert!(!machine.commit.is_empty() && !machine.kernel.is_empty());
    }
}
