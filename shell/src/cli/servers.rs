//! The servers that a command asks, with errors that have an exit code.

use serde::de::DeserializeOwned;

use super::exit::{CliError, Exit};
pub(super) use crate::client::transport::{Call, Problem};
use crate::client::transport::{Options, Transport};
use crate::client::{ClientError, ErrorKind, ServerUrl};

/// What to do about a server that is not there.
const HINT: &str =
    "\n  hint: start one with `windlass dev`, or name it by --server or WINDLASS_SERVER";

/// Asks servers for a command.
#[derive(Debug)]
pub(super) struct Client(Transport);

impl Client {
    /// A client of `servers`, the first of which is asked first.
    pub(super) fn new(servers: &[ServerUrl]) -> anyhow::Result<Self> {
        let transport = Transport::new(servers, Options::default()).map_err(CliError::from)?;
        Ok(Self(transport))
    }

    /// The body of the answer, which is a success.
    pub(super) async fn ask(&self, call: &Call) -> Result<String, CliError> {
        Ok(self.0.ask(call).await?)
    }

    /// The answer, which is a success, as soon as its head is there.
    pub(super) async fn open(&self, call: &Call) -> Result<reqwest::Response, CliError> {
        Ok(self.0.open(call).await?)
    }
}

/// The answer `text` of a server, taken apart.
pub(super) fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, CliError> {
    serde_json::from_str(text).map_err(|error| {
        let told = format!("the server answered nonsense: {error}");
        CliError::new(Exit::Failed, told)
    })
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let nobody = error.kind() == ErrorKind::Unreachable && error.is_undone();
        let hint = if nobody { HINT } else { "" };
        let told = Self::new(exit_of(error.kind()), format!("{error}{hint}"));
        if error.is_undone() {
            told.undone()
        } else {
            told
        }
    }
}

/// The exit code of a command whose server failed it so.
pub(super) fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::Input => Exit::Usage,
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Unreachable | ErrorKind::Unavailable => Exit::Unreachable,
        ErrorKind::TimedOut => Exit::TimedOut,
        ErrorKind::Failed => Exit::Failed,
    }
}
