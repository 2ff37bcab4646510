//! Tokens of sessions: which life of a worker it is, and a secret that only that worker and its gateway have seen.
//! Gateways keep its hash in the store.

use sha2::{Digest, Sha256};
use windlass_core::gateway::RemoteToken;
use windlass_core::ids::{NodeId, Registration, Revision};

use super::super::field;
use super::super::json::Object;
use super::super::problem::{Fault, Problem};
use crate::host;

/// The bytes of a secret: nobody guesses one.
const SECRET_LEN: usize = 32;

/// A new secret, in hex.
pub(super) fn secret() -> String {
    field::hex(&host::random::<SECRET_LEN>())
}

/// A token as its worker sees it: opaque.
pub(super) fn spell(registration: Registration, secret: &str) -> String {
    format!("{}-{secret}", registration.0)
}

/// The token in the field of that name, for this worker. Only what is no token at all is a fault: a wrong one is
/// answered like an old one.
pub(super) fn take(object: &mut Object<'_>, worker: NodeId) -> Result<RemoteToken, Problem> {
    let missing = || Problem::bad(vec![Fault::new("token", "is missing")]);
    let token = object.take("token", |raw| {
        read(&field::string(raw)?).ok_or_else(|| "is not a token that joining gave".to_owned())
    });
    let (registration, secret) = token.ok_or_else(missing)?;
    Ok(RemoteToken {
        worker,
        registration,
        secret_hash: field::hex(&Sha256::digest(secret.as_bytes())).into(),
    })
}

fn read(text: &str) -> Option<(Registration, String)> {
    let (revision, secret) = text.split_once('-')?;
    let revision = Revision(revision.parse().ok()?);
    let whole = field::unhex(secret).is_some_and(|bytes| bytes.len() == SECRET_LEN);
    whole.then(|| (Registration(revision), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_differ_and_have_their_length() {
        let (one, other) = (secret(), secret());
        assert_ne!(one, other);
        assert_eq!(one.len(), 2 * SECRET_LEN);
    }

    proptest! {
        #[test]
        fn tokens_read_back(revision in any::<u64>()) {
            let (life, secret) = (Registration(Revision(revision)), secret());
            prop_assert_eq!(read(&spell(life, &secret)), Some((life, secret)));
        }

        #[test]
        fn no_text_crashes_the_reader(text in any::<String>(), digits in "[0-9a-f-]{0,80}") {
            let _ = (read(&text), read(&digits));
        }
    }
}
