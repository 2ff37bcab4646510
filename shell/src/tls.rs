//! The one provider of cryptography: ring, for all that speaks TLS in the process.

/// Names ring as the process's provider, unless an embedding program has named one. Libraries that are built without a
/// provider want one even to talk in the clear, so whoever makes such a client calls this first.
pub(crate) fn name_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may just have been faster, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
