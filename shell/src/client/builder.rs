//! What a client is told.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::transport::{Options, ServerUrl, Transport};
use super::{Client, ClientError, ErrorKind};

/// Where the server is unless anybody says otherwise.
const SERVER_DEFAULT: &str = "http://127.0.0.1:7070";

/// What a client will be.
#[derive(Default)]
pub struct ClientBuilder {
    servers: Vec<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

impl ClientBuilder {
    /// What the environment says, in the words of the command line; see [`Client::from_env`].
    pub fn from_env() -> Result<Self, ClientError> {
        let read = |name: &str| match std::env::var(name) {
            Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error @ std::env::VarError::NotUnicode(_)) => {
                Err(refuse(format!("{name}: {error}")))
            }
        };
        let mut builder = Self::default();
        if let Some(servers) = read("WINDLASS_SERVER")? {
            builder = builder.servers(servers.split(','));
        }
        builder.token_file = read("WINDLASS_TOKEN_FILE")?.map(PathBuf::from);
        if builder.token_file.is_none() {
            builder.token = read("WINDLASS_TOKEN")?;
        }
        builder.ca = read("WINDLASS_SERVER_CA")?.map(PathBuf::from);
        builder.identity = match (read("WINDLASS_SERVER_CERT")?, read("WINDLASS_SERVER_KEY")?) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let told = "WINDLASS_SERVER_CERT and WINDLASS_SERVER_KEY go together";
                return Err(refuse(told.to_owned()));
            }
        };
        Ok(builder)
    }

    /// The servers to ask, the first of them first: `http://127.0.0.1:7070` unless given.
    #[must_use]
    pub fn servers<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.servers.extend(urls.into_iter().map(Into::into));
        self
    }

    /// What the servers know this program by.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// A file that holds the token.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// A PEM file with the certificates that sign the servers'; those that the system trusts unless given.
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// PEM files with the certificate that this program shows to servers, and its key: for servers that want one.
    #[must_use]
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((cert.into(), key.into()));
        self
    }

    /// The client. Files are read now, and nothing is sent yet.
    pub fn build(self) -> Result<Client, ClientError> {
        let named: Vec<ServerUrl> = self
            .servers
            .iter()
            .map(|url| {
                url.parse()
                    .map_err(|error| refuse(format!("{url}: {error}")))
            })
            .collect::<Result<_, _>>()?;
        let servers = if named.is_empty() {
            vec![SERVER_DEFAULT.parse().map_err(refuse)?]
        } else {
            named
        };
        let token = match (self.token, self.token_file) {
            (Some(_), Some(_)) => {
                return Err(refuse(
                    "a token and a token file exclude each other".to_owned(),
                ));
            }
            (None, Some(path)) => Some(token_in(&path)?),
            (token, None) => token,
        };
        let ca = self.ca.as_deref().map(contents).transpose()?;
        let identity = match self.identity {
            Some((cert, key)) => Some([contents(&cert)?, b"\n".to_vec(), contents(&key)?].concat()),
            None => None,
        };
        let options = Options {
            token,
            ca,
            identity,
        };
        Ok(Client(Arc::new(Transport::new(&servers, options)?)))
    }
}

fn token_in(path: &Path) -> Result<String, ClientError> {
    let text = String::from_utf8(contents(path)?)
        .map_err(|_| refuse(format!("{} is not a text", path.display())))?;
    match text.trim() {
        "" => Err(refuse(format!("{} holds no token", path.display()))),
        token => Ok(token.to_owned()),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path).map_err(|error| refuse(format!("cannot read {}: {error}", path.display())))
}

fn refuse(told: String) -> ClientError {
    ClientError::new(ErrorKind::Input, told)
}

impl fmt::Debug for ClientBuilder {
    /// The token reaches no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("servers", &self.servers)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}
