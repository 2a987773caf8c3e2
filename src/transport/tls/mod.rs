//! Certificates: who a peer is, told by the connection itself. A peer *is* a certificate that this party has
//! pinned (its exact bytes, in a file that `[[peer]]` names); who issued it means nothing, so a self-signed one
//! does. TLS 1.3 alone (rustls, ring); no resumption, no tickets, no early data, no server name on the wire.
//!
//! | who checks | what | when | and says |
//! |---|---|---|---|
//! | requester | possession of the key, validity, pin | in the handshake | both fingerprints, or the date |
//! | responder | possession of the key | in the handshake | a TLS alert |
//! | responder | that there is a certificate, pin, validity | at each call | in words, as a refusal of the policy |
//!
//! The responder lets any client finish the handshake, so that one without a known certificate can be told in
//! words; until a known peer has called, it answers health checks and refusals and nothing else.
//!
//! # Rotation
//! Several certificates of one peer are valid at once, and files are read again when they change, so: the peer
//! appends the new certificate to the file of the old one; this party replaces its certificate and key; the peer
//! takes the old one out of its file. No process restarts, and running sessions go on. A file that cannot be used keeps its last good content in force and is logged, once.
//! Certificate and key cannot be replaced in one step: between the two they do not fit, and the old pair stays.
//!
//! # Analysts
//! Those who run SQL as this party show a certificate of another list, pinned in the same way, or a bearer token. Of a
//! token the party keeps the SHA-256 alone ([`Tokens`]): it has 256 random bits, so nothing is gained by a slower hash.
//!
//! # Secrets
//! A key file that others can read is refused. Its bytes are wiped after reading; the parsed key lives inside
//! ring, which does not wipe it. Nothing here shows a key in `Debug`.

mod certificate;
mod credentials;
mod files;
mod make;
mod pins;
mod reload;
mod signature;
mod tokens;
mod verifiers;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

use crate::psi::{Error, Signer, Verifier, Witness};

pub use certificate::fingerprint;
pub use credentials::Credentials;
pub use make::{Made, make, make_for, write};
pub use pins::{PeerKeys, Pins};
pub use signature::verify;
pub(in crate::transport) use tokens::Whose;
pub use tokens::{Token, Tokens};
pub(super) use verifiers::distrust;

impl Signer for Credentials {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Credentials::sign(self, message)
    }
}

impl Verifier for PeerKeys {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        PeerKeys::verify(self, message, signature).map(|_| ())
    }
}

/// Who signs and verifies the receipts of sessions with a peer: the keys that the connections rest on.
pub fn witness(own: Arc<Credentials>, pins: &Arc<Pins>, peer: &str) -> Witness {
    Witness { own, peer: Arc::new(pins.keys(peer)) }
}

/// The one certificate of a file, in DER.
///
/// # Errors
/// [`Error::Caller`] for a file that cannot be read, or holds none or several.
pub fn read_certificate(path: &Path) -> Result<Vec<u8>, Error> {
    match files::certificates(path)?.as_slice() {
        [only] => Ok(only.to_vec()),
        several => {
            Err(Error::Caller(format!("{} holds {} certificates where one is due", path.display(), several.len())))
        }
    }
}

/// The one application protocol.
pub(super) const ALPN: &[u8] = b"h2";

/// Primitives by ring; the process's default provider is neither read nor set.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    &PROVIDER
}
