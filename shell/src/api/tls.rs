//! TLS in front of the API: certificates from files, read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, version};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use super::reload::Watched;

/// Where the certificates lie.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's chain, its own certificate first.
    pub cert: PathBuf,
    /// The key of its own certificate.
    pub key: PathBuf,
    /// Whoever connects must show a certificate that one of these has signed.
    pub client_ca: Option<PathBuf>,
}

impl TlsFiles {
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.cert.clone(), self.key.clone()];
        paths.extend(self.client_ca.clone());
        paths
    }

    fn read(&self) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| format!("{} holds no key: {error}", self.key.display()))?;
        let chain = certificates(&self.cert)?;
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let (cert, key) = (self.cert.display(), self.key.display());
            format!("{cert} and {key} do not go together: {error}")
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(found)
}

/// What a server shows of itself, as it is now.
#[derive(Debug, Clone)]
pub struct Tls {
    now: watch::Receiver<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads `files`, and again when they change and on SIGHUP. Each connection has what was there when it began; while
    /// what is there is wrong, as between the writing of two files, new ones have what was before. Must run within a
    /// runtime.
    pub fn watch(files: TlsFiles) -> Result<Self, String> {
        let watched = Watched::new(files.paths());
        let (sender, now) = watch::channel(files.read()?);
        tokio::spawn(async move {
            let changed = || match files.read() {
                Ok(config) => {
                    info!("the certificates were read again");
                    sender.send_replace(config);
                }
                Err(error) => error!(%error, "the certificates stay as they were"),
            };
            tokio::select! { biased;
                () = sender.closed() => {}
                () = watched.each_change(changed) => {}
            }
        });
        Ok(Self { now })
    }

    /// What a connection that begins now is met with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.now.borrow()))
    }
}
