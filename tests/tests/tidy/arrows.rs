//! The arrows between packages, and inside the core.

use std::process::Command;

use serde_json::Value;

use crate::source::{self, Source};
use crate::{assert_none, in_rust};

/// Which package may depend on which, and by which condition on the target.
const ARROWS: &[(&str, &str, Option<&str>)] = &[
    ("windlass", "windlass-core", None),
    ("windlass-sim", "windlass-core", None),
    ("windlass-sim", "windlass", Some("cfg(madsim)")),
    ("windlass-fuzz", "windlass-sim", None),
    ("windlass-tests", "windlass", None),
    ("windlass-tests", "windlass-sim", None),
];

fn foreign_arrows(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let list = |value: &Value| value.as_array().cloned().expect("a list");
    for package in list(&metadata["packages"]) {
        for dependency in list(&package["dependencies"]) {
            if dependency["path"].is_null() {
                continue;
            }
            let from = package["name"].as_str().expect("a name");
            let to = dependency["name"].as_str().expect("a name");
            let target = dependency["target"].as_str();
            // What is allowed on every target is allowed on one.
            let is_drawn = |(a, b, cfg): &(&str, &str, Option<&str>)| {
                (*a, *b) == (from, to) && (cfg.is_none() || *cfg == target)
            };
            if !ARROWS.iter().any(is_drawn) {
                found.push(format!("{from} must not depend on {to} ({target:?})"));
            }
        }
    }
    found
}

#[test]
fn packages_depend_on_each_other_only_as_designed() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(source::root().join("Cargo.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(metadata["packages"].as_array().unwrap().len(), 5);
    assert_none(&foreign_arrows(&metadata));
}

#[test]
fn a_foreign_arrow_is_found() {
    let package = |name: &str, to: &str, target: Value| {
        let dependency = serde_json::json!({ "name": to, "path": "/x", "target": target });
        let crates_io = serde_json::json!({ "name": "serde", "path": null, "target": null });
        serde_json::json!({ "packages": [{ "name": name, "dependencies": [crates_io, dependency] }] })
    };
    let only_madsim = Value::from("cfg(madsim)");
    for (from, to, target, count) in [
        ("windlass-core", "windlass", Value::Null, 1),
        ("windlass-sim", "windlass", Value::Null, 1),
        ("windlass-sim", "windlass", Value::from("cfg(unix)"), 1),
        ("windlass-sim", "windlass", only_madsim.clone(), 0),
        ("windlass-sim", "windlass-core", only_madsim, 0),
        ("windlass", "windlass-core", Value::Null, 0),
    ] {
        let found = foreign_arrows(&package(from, to, target));
        assert_eq!(found.len(), count, "{from} -> {to}: {found:?}");
    }
}

// The arrows inside the core.

/// The machines of the core: each is one folder, or several that make it up together.
const MACHINES: [&[&str]; 2] = [&["server", "gateway", "scheduler"], &["worker"]];

fn uses_of_machines(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("core/src/") else {
        return Vec::new();
    };
    let own = inside.split(['/', '.']).next().unwrap_or(inside);
    let others = MACHINES.into_iter().filter(|parts| !parts.contains(&own));
    let used = |part: &&&str| source.code.contains(&format!("crate::{part}"));
    let foreign = others.flatten().filter(used);
    let tell = |part| format!("{}: uses the machine `{part}`", source.path);
    foreign.map(tell).collect()
}

#[test]
fn nothing_in_the_core_depends_on_a_machine() {
    assert_none(&in_rust(uses_of_machines));
}

#[test]
fn a_use_of_a_machine_is_found() {
    let text = "use crate::worker::Start;";
    let count = |path| uses_of_machines(&Source::new(path, text)).len();
    assert_eq!(count("core/src/balance/pool.rs"), 1);
    assert_eq!(count("core/src/gateway/submit.rs"), 1);
    assert_eq!(count("core/src/server/mod.rs"), 1);
    assert_eq!(count("core/src/worker/run.rs"), 0);
    assert_eq!(count("shell/src/api/mod.rs"), 0);
}
