//! The servers that a command asks, with errors that have an exit code.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use super::exit::{CliError, Exit};
pub(super) use crate::client::transport::{Call, Problem};
use crate::client::transport::{Options, Transport};
use crate::client::{ClientError, ErrorKind, ServerUrl};

/// What to do about a server that is not there.
const HINT: &str =
    "\n  hint: start one with `windlass dev`, or name it by --server or WINDLASS_SERVER";

/// What to do about a server whose certificate is not trusted, or that does not trust ours.
const HINT_TLS: &str = "\n  hint: --server-ca names the authority of the server's certificate; --server-cert and --server-key what this side shows";
/// What to do about a server that speaks TLS.
const HINT_HTTPS: &str = "\n  hint: perhaps it speaks HTTPS: name it by https://";
/// What to do about a server that does not.
const HINT_HTTP: &str = "\n  hint: perhaps it speaks plain HTTP: name it by http://";
/// The environment variable that holds a token.
const TOKEN_VARIABLE: &str = "WINDLASS_TOKEN";

/// Where servers are, and how this side and they know each other.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Where clients find the servers; the next one is asked when one cannot be reached
    #[arg(
        long,
        global = true,
        env = "WINDLASS_SERVER",
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7070"
    )]
    pub server: Vec<ServerUrl>,
    /// The certificates that sign the servers'; those that this machine trusts unless given
    #[arg(long, global = true, env = "WINDLASS_SERVER_CA", value_name = "FILE")]
    pub server_ca: Option<PathBuf>,
    /// The certificate to show to servers that ask for one
    #[arg(
        long,
        global = true,
        env = "WINDLASS_SERVER_CERT",
        value_name = "FILE",
        requires = "server_key"
    )]
    pub server_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(
        long,
        global = true,
        env = "WINDLASS_SERVER_KEY",
        value_name = "FILE",
        requires = "server_cert"
    )]
    pub server_key: Option<PathBuf>,
    /// A file that holds the token to show to servers; without it WINDLASS_TOKEN is the token
    #[arg(long, global = true, env = "WINDLASS_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl ServerArgs {
    fn options(&self) -> Result<Options, CliError> {
        let identity = match (&self.server_cert, &self.server_key) {
            (Some(cert), Some(key)) => {
                let (cert, key) = (read("--server-cert", cert)?, read("--server-key", key)?);
                Some([cert, b"\n".to_vec(), key].concat())
            }
            (_, None) | (None, _) => None,
        };
        let ca = self.server_ca.as_deref();
        Ok(Options {
            token: self.token()?,
            ca: ca.map(|path| read("--server-ca", path)).transpose()?,
            identity,
        })
    }

    fn token(&self) -> Result<Option<String>, CliError> {
        let usage = |why: String| CliError::new(Exit::Usage, why);
        let Some(path) = &self.token_file else {
            return match std::env::var(TOKEN_VARIABLE) {
                Ok(token) => Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty())),
                Err(std::env::VarError::NotPresent) => Ok(None),
                Err(error) => Err(usage(format!("{TOKEN_VARIABLE}: {error}"))),
            };
        };
        let text = String::from_utf8(read("--token-file", path)?)
            .map_err(|_| usage(format!("--token-file {}: is not text", path.display())))?;
        match text.trim() {
            "" => Err(usage(format!("--token-file {}: is empty", path.display()))),
            token => Ok(Some(token.to_owned())),
        }
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path)
        .map_err(|error| CliError::new(Exit::Usage, format!("{flag} {}: {error}", path.display())))
}

/// Asks servers for a command.
#[derive(Debug)]
pub(super) struct Client(Transport);

impl Client {
    /// A client of the servers that are named, the first of which is asked first.
    pub(super) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let transport = Transport::new(&args.server, args.options()?).map_err(CliError::from)?;
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

/// What to do about an error of a server that was perhaps not reached at all.
fn hint(message: &str, nobody: bool) -> &'static str {
    if message.contains("invalid HTTP version") {
        HINT_HTTPS
    } else if message.contains("InvalidContentType") {
        HINT_HTTP
    } else if nobody && message.contains("certificate") {
        HINT_TLS
    } else if nobody {
        HINT
    } else {
        ""
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let nobody = error.kind() == ErrorKind::Unreachable && error.is_undone();
        let message = error.to_string();
        let hint = hint(&message, nobody);
        let told = Self::new(exit_of(error.kind()), message + hint);
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
