//! What is built with the simulated executor, and what without.

use std::process::Command;

use crate::assert_none;
use crate::source;

/// Sources of randomness that madsim does not tame: only madsim itself may draw from them.
const UNTAMED: [(&str, &str); 2] = [("getrandom", "v0.2."), ("rand", "v0.8.")];

/// What cannot live on a simulated executor.
const FOREIGN: [&str; 10] = [
    "axum",
    "etcd-client",
    "hyper",
    "mio",
    "redb",
    "reqwest",
    "rustix",
    "signal-hook-registry",
    "socket2",
    "tonic",
];

/// Every package below `of`, each with all its packages below it, as `cargo tree` tells them: depth, name, version.
fn tree(of: &[&str], flags: &str) -> Vec<(usize, String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--no-dedupe", "--prefix", "depth"])
        .args(["--edges", "normal,no-proc-macro", "--manifest-path"])
        .arg(source::root().join("Cargo.toml"))
        .args(of)
        .env("RUSTFLAGS", flags)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs, and speaks UTF-8");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(text: &str) -> Vec<(usize, String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let digits = line.find(|it: char| !it.is_ascii_digit()).expect("a name");
            let mut rest = line[digits..].split(' ');
            let mut next = || rest.next().expect("a name and a version").to_owned();
            let depth = line[..digits].parse().expect("a depth");
            (depth, next(), next())
        })
        .collect()
}

fn untamed(tree: &[(usize, String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut above: Vec<&str> = Vec::new();
    for (depth, name, version) in tree {
        above.truncate(*depth);
        let is_untamed =
            |(other, start): &(&str, &str)| name == other && version.starts_with(start);
        if UNTAMED.iter().any(is_untamed) && !above.contains(&"madsim") {
            found.push(format!("{name} {version} is brought in by {above:?}"));
        }
        above.push(name);
    }
    found
}

fn foreign(tree: &[(usize, String, String)], names: &[&str]) -> Vec<String> {
    let is_foreign = |it: &&(usize, String, String)| names.contains(&&*it.1);
    let found = tree.iter().filter(is_foreign);
    found
        .map(|(_, name, version)| format!("{name} {version}"))
        .collect()
}

#[test]
fn on_the_simulated_executor_only_madsim_draws_from_untamed_randomness() {
    let tree = tree(&["--package", "windlass-sim"], "--cfg madsim");
    let madsim = tree.iter().filter(|(_, name, _)| name == "madsim").count();
    assert!(madsim > 0, "the switch does not switch: {tree:?}");
    assert_none(&untamed(&tree));
    assert_none(&foreign(&tree, &FOREIGN));
}

#[test]
fn nothing_that_is_shipped_or_tested_otherwise_brings_in_the_simulated_executor() {
    let tree = tree(&["--workspace"], "");
    assert!(tree.len() > 100, "the workspace is somewhere else");
    assert_none(&foreign(&tree, &["madsim", "madsim-tokio", "bincode"]));
}

#[test]
fn untamed_randomness_and_foreign_packages_are_found() {
    let tree = parse(concat!(
        "0windlass-sim v0.1.0 (/x)\n1madsim v0.2.34\n2rand v0.8.8\n3getrandom v0.2.17\n",
        "1other v1.0.0\n2getrandom v0.2.17\n2getrandom v0.3.4\n1mio v1.0.0\n"
    ));
    let found = untamed(&tree);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("other"), "{found:?}");
    assert_eq!(foreign(&tree, &FOREIGN), ["mio v1.0.0"]);
}
