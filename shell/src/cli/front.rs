//! Who may reach what a daemon serves, on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tracing::warn;

use super::exit::{CliError, Exit};
use crate::api::{Audit, Door, Front, Keys, Tls, TlsFiles};

/// Who may reach the HTTP port.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Who may reach the HTTP port")]
pub struct DoorArgs {
    /// The tokens of which callers must show one, a line each; `windlass token new` makes them. Read again when it changes
    #[arg(long, env = "WINDLASS_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Ask nobody for a token, not even other machines: whoever reaches the port may do everything
    #[arg(long, conflicts_with = "tokens")]
    pub insecure_no_auth: bool,
    /// The certificate chain to serve HTTPS with. Read again when it changes
    #[arg(
        long,
        env = "WINDLASS_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(
        long,
        env = "WINDLASS_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Callers must show a certificate that one of these has signed, besides their token
    #[arg(
        long,
        env = "WINDLASS_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_client_ca: Option<PathBuf>,
}

impl DoorArgs {
    /// The door to what is served at `listen`, and the TLS in front of it. Refuses to serve strangers by mistake.
    pub(super) fn open(&self, listen: SocketAddr) -> Result<(Door, Option<Tls>), CliError> {
        let usage = |why: String| CliError::new(Exit::Usage, why);
        let local = listen.ip().to_canonical().is_loopback();
        let door = match &self.tokens {
            Some(path) => Door::locked(Keys::watch(path.clone()).map_err(usage)?),
            None if self.insecure_no_auth => {
                if !local {
                    warn!(
                        "NOBODY IS ASKED FOR A TOKEN: whoever reaches {listen} may do everything"
                    );
                }
                Door::open()
            }
            None if local => Door::local(),
            None => {
                return Err(usage(format!(
                    "{listen} can be reached from other machines, and nobody would be asked for a token. Choose:\n  \
                     --tokens FILE         callers show a token; make one with `windlass token new NAME --role ROLE --file FILE`\n  \
                     --listen 127.0.0.1:{}  only this machine, as behind a proxy of its own\n  \
                     --insecure-no-auth    whoever reaches the port may do everything",
                    listen.port()
                )));
            }
        };
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let tls = files
            .map(|(cert, key)| {
                Tls::watch(TlsFiles {
                    cert,
                    key,
                    client_ca: self.tls_client_ca.clone(),
                })
            })
            .transpose()
            .map_err(usage)?;
        if tls.is_none() && self.tokens.is_some() && !local {
            warn!(
                "tokens are sent to {listen} unencrypted: give it --tls-cert and --tls-key, or a proxy that has them"
            );
        }
        Ok((door, tls))
    }
}

/// Who may reach the HTTP API, how often, and where it is noted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Who may reach the HTTP port")]
pub struct FrontArgs {
    /// Who is let in.
    #[command(flatten)]
    pub door: DoorArgs,
    /// Requests a second that each token may make, or each address without tokens; more get 429. No limit unless given
    #[arg(long, env = "WINDLASS_RATE_MAX", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate_max: Option<u32>,
    /// Connections from one other address at the same time
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections_per_address: u32,
    /// Append what somebody changed of others' tasks, queues and nodes to this file, one JSON object a line
    #[arg(long, env = "WINDLASS_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
}

impl FrontArgs {
    /// What stands before the API at `listen`.
    pub(super) fn open(&self, listen: SocketAddr) -> Result<(Front, Option<Tls>), CliError> {
        let (door, tls) = self.door.open(listen)?;
        let audit = match &self.audit_log {
            None => Audit::default(),
            Some(path) => Audit::to_file(path).map_err(|error| {
                let why = format!("--audit-log {}: {error}", path.display());
                CliError::new(Exit::Usage, why)
            })?,
        };
        let front = Front::new(door).with_audit(audit);
        Ok((front.with_rate_max(self.rate_max), tls))
    }

    /// Connections from one other address at the same time.
    pub(super) fn source_connections_max(&self) -> usize {
        usize::try_from(self.connections_per_address).unwrap_or(usize::MAX)
    }
}
