//! `windlass api`: any call of the HTTP API, with the servers and the credentials of every other command.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use reqwest::Method;

use super::exit::Exit;
use super::output::{Format, Output, one_line};
use super::reason::ReasonArgs;
use super::servers::{Call, Client};
use super::submit;

/// The method of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMethod(Method);

impl FromStr for CallMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "GET" => Ok(Self(Method::GET)),
            "POST" => Ok(Self(Method::POST)),
            "PUT" => Ok(Self(Method::PUT)),
            "DELETE" => Ok(Self(Method::DELETE)),
            _ => Err("is GET, POST, PUT or DELETE".to_owned()),
        }
    }
}

/// A path of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPath(String);

impl FromStr for CallPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = |it: char| it.is_ascii_graphic() && it != '#';
        if text.is_empty() || !text.chars().all(is_plain) {
            return Err("is a path such as tasks?limit=1 or /readyz, with anything unusual in it percent-encoded".to_owned());
        }
        Ok(Self(if text.starts_with('/') {
            text.to_owned()
        } else {
            format!("/api/v1/{text}")
        }))
    }
}

/// What is asked.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// GET, POST, PUT or DELETE
    pub method: CallMethod,
    /// The path; without a slash at its start it is below /api/v1/
    pub path: CallPath,
    /// The body: JSON, or @ and a file that holds it, or - for stdin
    #[arg(
        short = 'd',
        long,
        value_name = "JSON|@FILE|-",
        allow_hyphen_values = true
    )]
    pub data: Option<String>,
    /// Why; for the audit log.
    #[command(flatten)]
    pub reason: ReasonArgs,
}

/// Asks, and prints the answer as it came.
pub(super) async fn run(
    args: &ApiArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut call = Call::new(args.method.0.clone(), &*args.path.0);
    if let Some(given) = &args.data {
        call = call.body(submit::document_of("--data", given)?.get().to_owned());
    }
    let answer = client.ask(&args.reason.on(call)).await?;
    match output.format() {
        Format::Jsonl => output.document(&one_line(&answer))?,
        Format::Json | Format::Table | Format::Wide | Format::Name if answer.is_empty() => {}
        Format::Json | Format::Table | Format::Wide | Format::Name => output.document(&answer)?,
    }
    Ok(Exit::Done.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_whole_or_below_that_of_the_api() {
        let path = |text: &str| text.parse::<CallPath>().map(|path| path.0);
        assert_eq!(
            path("tasks?limit=1"),
            Ok("/api/v1/tasks?limit=1".to_owned())
        );
        assert_eq!(path("/readyz"), Ok("/readyz".to_owned()));
        for wrong in ["", "a b", "a#b", "é", "a\n"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
