//! Certificates for tests: an authority, and a certificate that it has signed for whoever runs on this machine.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// The files of an authority and of one certificate.
#[derive(Debug)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// A certificate for 127.0.0.1.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them, and writes them into `folder`.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn make(folder: &Path) -> Self {
        let new_key = || KeyPair::generate().expect("a key can be made");
        let mut authority = CertificateParams::new([]).expect("no name is a good name");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority =
            CertifiedIssuer::self_signed(authority, new_key()).expect("it can be signed");
        let own = new_key();
        let cert = CertificateParams::new(["127.0.0.1".to_owned()])
            .and_then(|it| it.signed_by(&own, &authority))
            .expect("it can be signed");
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).expect("the folder can be written to");
            path
        };
        Self {
            ca: write("ca.pem", authority.pem()),
            cert: write("cert.pem", cert.pem()),
            key: write("key.pem", own.serialize_pem()),
        }
    }

    /// Authority, certificate and key, as arguments want them.
    ///
    /// # Panics
    /// When the folder's name is no text.
    pub fn paths(&self) -> [&str; 3] {
        [&self.ca, &self.cert, &self.key].map(|path| path.to_str().expect("folders are text"))
    }
}
