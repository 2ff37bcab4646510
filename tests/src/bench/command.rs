//! Programs that print one JSON object.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Runs a program to its end, and reads what it printed. What else it says is heard.
///
/// # Errors
/// When it fails, or prints no JSON.
pub(super) fn json(command: &mut Command) -> anyhow::Result<Value> {
    // Whoever measures may have set up clients for other clusters.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WINDLASS_") {
            command.env_remove(name);
        }
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{command:?} cannot be run"))?;
    let status = output.status;
    ensure!(status.success(), "{command:?} ended with {status}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} printed no JSON"))
}

/// A JSON file.
///
/// # Errors
/// When there is none.
pub(super) fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("no {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("no JSON in {}", path.display()))
}

/// The number that a JSON object has at `path`, names with dots between.
///
/// # Errors
/// When it has none.
pub(super) fn number(value: &Value, path: &str) -> anyhow::Result<f64> {
    let found = path.split('.').fold(value, |value, name| &value[name]);
    found
        .as_f64()
        .with_context(|| format!("no number is told as {path}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_by_their_path_and_nothing_else_is_taken_for_one() {
        let value = json!({"a": {"b": 2.5}, "c": "7", "n": null});
        assert_eq!(number(&value, "a.b").unwrap(), 2.5);
        for path in ["a", "a.c", "c", "n", "x.y"] {
            assert!(number(&value, path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_program_that_fails_or_prints_something_else_is_an_error() {
        let shell = |script: &str| json(Command::new("sh").args(["-c", script]));
        assert_eq!(shell("echo '{\"a\": 1}'").unwrap(), json!({"a": 1}));
        assert!(shell("echo '{}'; exit 3").is_err());
        assert!(shell("echo none").is_err());
        assert!(json(&mut Command::new("no-such-program")).is_err());
    }
}
