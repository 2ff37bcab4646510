//! The program under test, built if need be.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The `windlass` that was built beside the running test.
///
/// # Panics
/// When it cannot be built.
pub(crate) fn windlass() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let folder = profile_folder();
        let binary = folder.join("windlass");
        let built = folder.join("windlass-tests.built");
        // Tests are processes of their own, and must not build the same at the same time.
        let lock = File::create(folder.join("windlass-tests.lock")).expect("a lock can be made");
        lock.lock().expect("a lock can be waited for");
        let newest = newest_source();
        let is_fresh = binary.is_file() && [&binary, &built].into_iter().any(|it| age(it) > newest);
        if !is_fresh {
            let profile = match folder.file_name().and_then(|name| name.to_str()) {
                Some("debug") => "dev",
                Some(name) => name,
                None => panic!("{} names no profile", folder.display()),
            };
            build("windlass", profile, target_folder(&folder));
            File::create(&built).expect("what was built can be noted");
        }
        binary
    })
}

/// `target/debug`, or wherever the running program was built: tests lie in `deps` there.
fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it is");
    let folder = program.parent().expect("a program lies in a folder");
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder).to_owned(),
        Some(_) | None => folder.to_owned(),
    }
}

fn target_folder(profile: &Path) -> &Path {
    profile
        .parent()
        .expect("a profile's folder lies in the target folder")
}

/// The simulator as it is run for many seeds, built if need be: its own profile makes it fast.
///
/// # Panics
/// When it cannot be built.
pub(crate) fn simulator() -> PathBuf {
    let (profile, folder) = ("sim", profile_folder());
    let target = target_folder(&folder);
    build("windlass-sim", profile, target);
    target.join(profile).join("windlass-sim")
}

fn build(package: &str, profile: &str, target: &Path) {
    let status = Command::new(cargo())
        .args(["build", "--locked", "--package", package])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(repository())
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "{package} cannot be built");
}

/// The cargo that runs this, or else the one on the `PATH`.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn newest_source() -> Option<SystemTime> {
    let root = repository();
    let folders = ["core/src", "shell/src"].map(|it| newest_below(&root.join(it)));
    let files = [
        "Cargo.lock",
        "Cargo.toml",
        "core/Cargo.toml",
        "shell/Cargo.toml",
    ];
    folders
        .into_iter()
        .chain(files.map(|it| age(&root.join(it))))
        .max()
        .flatten()
}

fn newest_below(folder: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(folder).expect("the sources lie in the repository");
    let ages = entries.map(|entry| {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            newest_below(&path)
        } else {
            age(&path)
        }
    });
    ages.max().flatten()
}

fn age(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|it| it.modified()).ok()
}

/// The folder of all sources.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in the repository")
}
