//! Signatures by the TLS keys over messages of this protocol, such as receipts.
//!
//! What is signed is `CONTEXT ‖ length of the message (8 bytes, big-endian) ‖ message`; what is written is the
//! TLS number of the signature scheme (2 bytes, big-endian) ‖ the signature.
//!
//! One key signs in two protocols, so no text may be one of both. TLS 1.3 signs 64 times 0x20, then its context
//! string, a zero byte and a transcript hash (RFC 8446, 4.4.3); ours begins with another byte. TLS 1.2, which is
//! not spoken here but might be elsewhere with the same key, signs 64 bytes of randomness first, 32 of them
//! chosen by the other side (RFC 5246, 7.4.3): our 64 are fixed, so the 32 random bytes of the signer would have
//! to hit them. Certificates and requests for them are DER sequences, which begin with 0x30. The length is
//! signed so that a later version may add fields without a text of one being read as one of the other.

use rustls::SignatureScheme;
use rustls::sign::SigningKey;

use crate::psi::Error;

use super::certificate::Certificate;
use super::provider;

/// 64 bytes, none of which is a space where TLS 1.3 has them all.
const CONTEXT: &[u8; 64] = b"datafusion-psi/1:signature-by-a-tls-key-over-a-message-of-psi/1\0";

/// The schemes of TLS 1.3, each fixed to its curve and hash; in the order of choice where a key has several.
const SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// The longest signature that is looked at: RSA of 8192 bits.
const SIGNATURE_BYTES_MAX: usize = 2 + 1024;

fn signed_text(message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(CONTEXT.len() + 8 + message.len());
    text.extend_from_slice(CONTEXT);
    text.extend_from_slice(&(message.len() as u64).to_be_bytes());
    text.extend_from_slice(message);
    text
}

pub(super) fn sign(key: &dyn SigningKey, message: &[u8]) -> Result<Vec<u8>, Error> {
    let signer =
        key.choose_scheme(&SCHEMES).ok_or_else(|| Error::internal("the TLS key has no signature scheme of TLS 1.3"))?;
    let mut written = u16::from(signer.scheme()).to_be_bytes().to_vec();
    written.extend(signer.sign(&signed_text(message)).map_err(Error::internal)?);
    Ok(written)
}

pub(super) fn verify_by(certificate: &Certificate, message: &[u8], signature: &[u8]) -> Result<(), Error> {
    let wrong = || Error::Refused("the signature is not by the certificate's key over this message".to_owned());
    if signature.len() > SIGNATURE_BYTES_MAX {
        return Err(wrong());
    }
    let (scheme, signature) = signature.split_first_chunk::<2>().ok_or_else(wrong)?;
    let scheme = SCHEMES.into_iter().find(|known| u16::from(*known).to_be_bytes() == *scheme).ok_or_else(wrong)?;
    let algorithms = provider().signature_verification_algorithms.mapping;
    // The first of a scheme's is the one that TLS 1.3 allows.
    let (_, algorithms) = algorithms.iter().find(|(mapped, _)| *mapped == scheme).ok_or_else(wrong)?;
    let algorithm = algorithms.first().ok_or_else(wrong)?;
    if algorithm.public_key_alg_id().as_ref() != certificate.algorithm {
        return Err(wrong());
    }
    algorithm.verify_signature(&certificate.key, &signed_text(message), signature).map_err(|_| wrong())
}

/// Checks a signature of [`Credentials::sign`](super::Credentials::sign) against the signer's certificate (DER),
/// whose validity does not count: a receipt outlives it.
///
/// # Errors
/// [`Error::Caller`] for bytes that are no certificate; [`Error::Refused`] for a signature that is not by its key
/// over this message.
pub fn verify(certificate: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
    verify_by(&Certificate::read(certificate)?, message, signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tls::files;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, std::sync::Arc<dyn SigningKey>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().to_vec(), provider().key_provider.load_private_key(key).unwrap())
    }

    #[test]
    fn keys_of_each_kind_sign_and_only_what_they_signed_verifies() {
        let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519].map(pair);
        for (at, (certificate, key)) in kinds.iter().enumerate() {
            let signed = sign(key.as_ref(), b"message").unwrap();
            verify(certificate, b"message", &signed).unwrap();
            let refused =
                |message: &[u8], signed: &[u8]| matches!(verify(certificate, message, signed), Err(Error::Refused(_)));
            assert!(refused(b"massage", &signed) && refused(b"", &signed) && refused(b"message", b""));
            for bit in 0..signed.len() * 8 {
                let mut changed = signed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(refused(b"message", &changed), "bit {bit} of kind {at}");
            }
            assert!(refused(b"message", &[signed.as_slice(), &[0; 2000]].concat()));
            for (other, _) in kinds.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, kind)| kind) {
                assert!(verify(other, b"message", &signed).is_err());
            }
        }
    }

    #[test]
    fn a_signature_of_the_tls_handshake_is_none_of_ours_and_ours_none_of_its() {
        let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
        let mut handshake = vec![0x20; 64];
        handshake.extend(b"TLS 1.3, client CertificateVerify\0");
        handshake.extend([7; 32]);
        let signer = key.choose_scheme(&SCHEMES).unwrap();
        let mut forged = u16::from(signer.scheme()).to_be_bytes().to_vec();
        forged.extend(signer.sign(&handshake).unwrap());
        for message in [&handshake[..], &handshake[64..], b""] {
            assert!(verify(&certificate, message, &forged).is_err());
        }
        // Whatever the message: the texts differ in their first byte.
        assert_ne!(signed_text(&handshake)[0], handshake[0]);
        assert!(CONTEXT.iter().all(|byte| *byte != 0x20 && *byte != 0x30));
        assert!(matches!(verify(b"no certificate", b"", &forged), Err(Error::Caller(_))));
    }

    #[test]
    fn a_receipt_outlives_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let from = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let made = crate::transport::tls::make_for("x", from, from + chrono::TimeDelta::days(1)).unwrap();
        let (certificate, key) = made.write(folder.path(), "x").unwrap();
        let signed = crate::transport::tls::Credentials::load(&certificate, &key).unwrap().sign(b"m").unwrap();
        verify(&files::certificates(&certificate).unwrap()[0], b"m", &signed).unwrap();
    }
}
