//! Readers of single values on the command line.

use std::time::Duration;

use windlass_core::ids::TaskType;

/// A span such as `30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("a duration such as 30s: {error}"))
}

/// A span that is not empty.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        span => Ok(span),
    }
}

/// A number of bytes such as `262144`, `256KiB` or `1MiB`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1024,
        "M" | "MiB" => 1024 * 1024,
        "G" | "GiB" => 1024 * 1024 * 1024,
        _ => return Err("a number of bytes, such as 256KiB or 1MiB".to_owned()),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "a number of bytes, such as 256KiB or 1MiB".to_owned())
}

/// A number of bytes that a store's quota may be.
pub(super) fn quota(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("must be more than nothing".to_owned()),
        size => u64::try_from(size).map_err(|error| error.to_string()),
    }
}

/// A number of bytes that a payload limit may be.
pub(super) fn payload_max(text: &str) -> Result<usize, String> {
    let most = crate::api::PAYLOAD_MAX_HARD;
    match bytes(text)? {
        size if (1..=most).contains(&size) => Ok(size),
        _ => Err(format!("from 1 to {most} bytes")),
    }
}

/// `TYPE=COMMAND`, left as it is: the worker splits the command into words.
pub(super) fn handler(text: &str) -> Result<String, String> {
    let (kind, command) = text
        .split_once('=')
        .ok_or("a handler is spelled TYPE=COMMAND")?;
    kind.parse::<TaskType>()
        .map_err(|error| error.to_string())?;
    if command.trim().is_empty() {
        return Err("a handler needs a command behind TYPE=".to_owned());
    }
    Ok(text.to_owned())
}

/// `NAME=VALUE`
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is spelled NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A text that says something.
pub(super) fn filled(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("must not be empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
