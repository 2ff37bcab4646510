//! `windlass token`: makes tokens. It asks no server: a token is a random text, and the server has its hash.

use std::fs::OpenOptions;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use serde_json::json;

use super::exit::{CliError, Exit};
use super::output::{self, Output};
use crate::api::{Role, Tokens, check_name, new_token};

/// Make tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: it is shown this once, and a server that has the line in its --tokens file lets it in
    New {
        /// Whose it is; appears in logs and in the audit log
        name: String,
        /// What it allows
        #[arg(long, value_enum)]
        role: Role,
        /// When it ends: after this span (90d), or at this time (2030-01-31T00:00:00Z); never unless given
        #[arg(long, value_name = "WHEN")]
        expires: Option<String>,
        /// Append the line to this file; a server that runs takes it up by itself
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Does it.
pub(super) fn run(command: TokenCommand, output: Output) -> anyhow::Result<ExitCode> {
    let TokenCommand::New {
        name,
        role,
        expires,
        file,
    } = command;
    let usage = |why: String| CliError::new(Exit::Usage, why);
    check_name(&name).map_err(usage)?;
    let expires = expires
        .map(|text| expiry(&text, SystemTime::now()))
        .transpose()
        .map_err(|why| usage(format!("--expires: {why}")))?;
    let (token, hash) = new_token(crate::host::random());
    let mut line = format!("{name} {role} {hash}");
    if let Some(expires) = expires {
        line.push_str(&format!(" {expires}"));
    }
    if let Some(path) = &file {
        append(path, &line)?;
    }
    let made = json!({
        "token": token,
        "name": name,
        "role": role,
        "expires": expires.map(|it| it.to_string()),
        "line": line,
    });
    match &file {
        Some(path) => output::note(&format!("added {name} ({role}) to {}", path.display())),
        None => output::note(&format!("the line for a server's --tokens file:\n{line}")),
    }
    output.text(&made.to_string(), |made| {
        format!("{}\n", made["token"].as_str().unwrap_or_default())
    })?;
    Ok(Exit::Done.into())
}

/// The end of a token that is made at `now`, in whole seconds.
fn expiry(text: &str, now: SystemTime) -> Result<Timestamp, String> {
    let wanted = "must be a span such as 90d or a time such as 2030-01-31T00:00:00Z";
    let at = match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => return Err("must be longer than nothing".to_owned()),
        Ok(span) => now
            .checked_add(span)
            .and_then(|at| Timestamp::try_from(at).ok())
            .ok_or("is too far away")?,
        Err(_) => text.parse().map_err(|_| wanted)?,
    };
    if Timestamp::try_from(now).is_ok_and(|now| at <= now) {
        return Err("lies in the past".to_owned());
    }
    Timestamp::from_second(at.as_second()).map_err(|error| error.to_string())
}

/// Appends `line` to the file, which becomes one that a server takes, or stays as it is.
fn append(path: &Path, line: &str) -> anyhow::Result<()> {
    let context = || format!("cannot append to {}", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .with_context(context)?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(context)?;
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let added = format!("{gap}{line}\n");
    Tokens::parse(&format!("{text}{added}"))
        .map_err(|why| CliError::new(Exit::Usage, format!("{}: {why}", path.display())))?;
    file.seek(SeekFrom::End(0)).with_context(context)?;
    file.write_all(added.as_bytes()).with_context(context)?;
    file.sync_all().with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_span_or_a_time_that_lies_ahead() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
        let spelled = |text: &str| expiry(text, now).map(|at| at.to_string());
        assert_eq!(spelled("1d"), Ok("2023-11-15T22:13:20Z".to_owned()));
        assert_eq!(
            spelled("2030-01-31T01:00:00+01:00"),
            Ok("2030-01-31T00:00:00Z".to_owned())
        );
        for bad in ["", "0s", "soon", "-1d", "2020-01-01T00:00:00Z", "99999999y"] {
            assert!(spelled(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_is_appended_only_to_a_file_that_stays_sound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let line = |name: &str, byte: u8| format!("{name} read {}", new_token([byte; 32]).1);
        append(&path, &line("a", 1)).unwrap();
        std::fs::write(&path, line("a", 1)).unwrap();
        append(&path, &line("b", 2)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n{}\n", line("a", 1), line("b", 2)));
        assert!(append(&path, &line("b", 3)).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
