//! The commands of the guide, run as they stand there: each chapter from its first to its last block, as somebody would
//! who reads along. A block of `sh` is run and must succeed; `sh,server` and `sh,background` stay running, and what
//! follows a server waits until it serves.
//!
//! A chapter has a network and processes of its own, so it may name the default addresses, and leaves nothing behind.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use windlass_tests::chaos::cage;
use windlass_tests::{etcd, tell, windlass};

/// How long a chapter may take.
const SECONDS_MAX: u32 = 240;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn guide() -> PathBuf {
    repository().join("docs/guide/src")
}

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    line: usize,
    info: String,
    text: String,
}

/// The fenced blocks of a chapter.
fn blocks(chapter: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in chapter.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                open = Some(Block {
                    line: index + 1,
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => writeln!(block.text, "{line}").unwrap(),
            (None, None) => {}
        }
    }
    assert_eq!(open, None, "a block is not closed");
    blocks
}

/// What waits until the servers of a block serve.
fn readiness(block: &str) -> String {
    if block.trim_start().starts_with("etcd") {
        return "until etcdctl endpoint health >/dev/null 2>&1; do sleep 0.1; done".to_owned();
    }
    if block.contains("windlass worker") {
        return "until windlass node list -o json | grep -q '\"worker\"'; do sleep 0.1; done"
            .to_owned();
    }
    let mut words = block.split_whitespace();
    let listen = words
        .find(|word| *word == "--listen")
        .and_then(|_| words.next());
    let listen = listen.unwrap_or("127.0.0.1:7070");
    format!("until curl -fs http://{listen}/readyz >/dev/null; do sleep 0.1; done")
}

/// A chapter as one script.
fn script(name: &str, blocks: &[Block]) -> String {
    let mut script = "set -euo pipefail\nip link set lo up\n".to_owned();
    for Block { line, info, text } in blocks {
        let heading = format!("echo '=== {name}:{line}'");
        match info.as_str() {
            "sh" => writeln!(script, "{heading}\n{text}").unwrap(),
            "sh,server" | "sh,background" => {
                let log = format!("log-{line}");
                writeln!(script, "{heading}\n{{ {text} }} >{log} 2>&1 &").unwrap();
                if info == "sh,server" {
                    writeln!(script, "{}", readiness(text)).unwrap();
                }
            }
            _ => {}
        }
    }
    script
}

/// The folders that the chapters' commands are found in.
fn path() -> String {
    let folders =
        [windlass(), &etcd::tool("etcd")].map(|it| it.parent().unwrap().display().to_string());
    let inherited = std::env::var("PATH").unwrap_or_default();
    format!("{}:{inherited}:/usr/sbin:/sbin", folders.join(":"))
}

fn run(name: &str) {
    if let Err(why) = cage::apart_possible() {
        tell(&format!(
            "NOT RUN: the commands of {name} need a network of their own: {why}"
        ));
        return;
    }
    let chapter = fs::read_to_string(guide().join(name)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("chapter.sh");
    fs::write(&file, script(name, &blocks(&chapter))).unwrap();
    let output = cage::apart()
        .args(["timeout", &SECONDS_MAX.to_string(), "bash"])
        .arg(&file)
        .current_dir(folder.path())
        .env("PATH", path())
        .env("HOME", folder.path())
        .env_remove("WINDLASS_SERVER")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    let logs: String = logs(folder.path());
    assert!(
        output.status.success(),
        "{name}: {}\n{said}\n{complained}\n{logs}",
        output.status
    );
}

/// The ends of what the servers said.
fn logs(folder: &Path) -> String {
    let mut logs = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("log-") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(20).collect();
            let tail: Vec<&str> = lines.into_iter().rev().collect();
            writeln!(logs, "--- {name}\n{}", tail.join("\n")).unwrap();
        }
    }
    logs
}

/// One test for each chapter, and the list of all.
macro_rules! chapters {
    ($($test:ident => $file:literal,)*) => {
        $(#[test]
        fn $test() {
            run($file);
        })*
        const CHAPTERS: &[&str] = &[$($file),*];
    };
}

chapters! {
    what_the_first_five_minutes_say_works => "quickstart.md",
    what_is_said_of_submitting_works => "submitting.md",
    what_is_said_of_handlers_works => "handlers.md",
    what_is_said_of_finding_works => "finding.md",
    what_is_said_of_the_dashboard_works => "dashboard.md",
    what_is_said_of_workers_in_any_language_works => "protocol.md",
    what_is_said_of_operations_works => "operations.md",
    what_is_said_of_troubles_works => "troubleshooting.md",
    what_is_said_of_security_works => "security.md",
}

/// Chapters that hold no commands.
const SILENT: [&str; 5] = [
    "introduction.md",
    "concepts.md",
    "sdk.md",
    "scale.md",
    "cells.md",
];

#[test]
fn every_chapter_is_listed_and_every_one_with_commands_is_run() {
    let summary = fs::read_to_string(guide().join("SUMMARY.md")).unwrap();
    let mut listed: Vec<&str> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect();
    let mut files: Vec<String> = fs::read_dir(guide())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md") && name != "SUMMARY.md")
        .collect();
    let mut run: Vec<&str> = CHAPTERS.iter().copied().chain(SILENT).collect();
    listed.sort_unstable();
    files.sort_unstable();
    run.sort_unstable();
    assert_eq!(listed, files);
    assert_eq!(run, files);
}

#[test]
fn no_block_calls_itself_something_that_nobody_runs() {
    let known = [
        "sh",
        "sh,server",
        "sh,background",
        "text",
        "json",
        "rust",
        "sql",
        "toml",
        "dockerfile",
        "http",
    ];
    for entry in fs::read_dir(guide()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".md") {
            continue;
        }
        for block in blocks(&fs::read_to_string(&path).unwrap()) {
            assert!(
                known.contains(&block.info.as_str()),
                "{name}:{}: {}",
                block.line,
                block.info
            );
            let runs = block.info.starts_with("sh");
            assert!(
                !(runs && SILENT.contains(&name.as_str())),
                "{name}:{} is not run",
                block.line
            );
        }
    }
}

#[test]
fn links_between_chapters_lead_somewhere() {
    for entry in fs::read_dir(guide()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") {
                continue;
            }
            if target.starts_with("pictures/") {
                assert!(
                    guide().join(target).is_file(),
                    "{}: {target}",
                    path.display()
                );
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                guide().join(file)
            };
            let there = fs::read_to_string(&file);
            let there = there.unwrap_or_else(|_| panic!("{}: {target}", path.display()));
            let has = anchor.is_empty() || there.lines().any(|line| heading(line) == anchor);
            assert!(has, "{}: {target}", path.display());
        }
    }
}

/// The anchor of a heading.
fn heading(line: &str) -> String {
    let Some(text) = line.strip_prefix('#') else {
        return String::new();
    };
    let text = text.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[test]
fn a_command_that_fails_fails_its_chapter() {
    if cage::apart_possible().is_err() {
        tell("NOT RUN: the commands of the guide need a network of their own");
        return;
    }
    let block = |text: &str| Block {
        line: 1,
        info: "sh".to_owned(),
        text: text.to_owned(),
    };
    for (text, succeeds) in [
        ("true", true),
        ("false", false),
        ("false | true", false),
        ("x=$(false)", false),
    ] {
        let status = cage::apart()
            .args(["bash", "-c", &script("x", &[block(text)])])
            .env("PATH", path())
            .output()
            .unwrap()
            .status;
        assert_eq!(status.success(), succeeds, "{text}");
    }
}
