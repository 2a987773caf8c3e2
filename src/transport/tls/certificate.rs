//! What a certificate says of itself: its validity and its public key.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode};

use crate::psi::Error;

/// SHA-256 of a certificate's DER encoding, 64 hex digits: what `openssl x509 -fingerprint -sha256` prints,
/// without its colons and in lower case.
pub fn fingerprint(der: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(der) {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// A certificate that could be read.
pub(crate) struct Certificate {
    der: Arc<[u8]>,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
    /// Names in DER, to tell a chain.
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// The contents of the key's AlgorithmIdentifier, as signature algorithms are told apart.
    pub(super) algorithm: Vec<u8>,
    /// The key itself, without the bit string's header.
    pub(super) key: Vec<u8>,
}

impl Certificate {
    /// Reads a DER encoding.
    pub(crate) fn read(der: &[u8]) -> Result<Certificate, Error> {
        let unreadable = |what: &str| Error::Caller(format!("a certificate (sha256:{}) {what}", fingerprint(der)));
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|error| unreadable(&format!("that is not a readable X.509 certificate: {error}")))?;
        let parsed = parsed.tbs_certificate();
        let time = |time: &x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs())
                .ok()
                .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
                .ok_or_else(|| unreadable("whose validity is no date"))
        };
        let key = parsed.subject_public_key_info();
        let algorithm = key.algorithm.to_der().map_err(|_| unreadable("whose key's kind cannot be read"))?;
        let algorithm =
            AnyRef::from_der(&algorithm).map_err(|_| unreadable("whose key's kind cannot be read"))?.value().to_vec();
        let bits = key.subject_public_key.as_bytes().ok_or_else(|| unreadable("whose key is not whole bytes"))?;
        Ok(Certificate {
            der: der.into(),
            not_before: time(&parsed.validity().not_before)?,
            not_after: time(&parsed.validity().not_after)?,
            subject: parsed.subject().to_der().map_err(|_| unreadable("whose names cannot be read"))?,
            issuer: parsed.issuer().to_der().map_err(|_| unreadable("whose names cannot be read"))?,
            algorithm,
            key: bits.to_vec(),
        })
    }

    /// Its DER encoding.
    pub(crate) fn der(&self) -> &Arc<[u8]> {
        &self.der
    }

    /// Whether this one, which is not self-signed, names that one as its issuer.
    pub(super) fn issued_by(&self, other: &Certificate) -> bool {
        self.issuer != self.subject && self.issuer == other.subject
    }

    /// Its last second.
    pub(crate) fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// Whether it is valid now; both ends of the period belong to it (RFC 5280, 4.1.2.5). The words are the
    /// second half of a sentence that begins with whose certificate it is.
    pub(crate) fn valid(&self, now: DateTime<Utc>) -> Result<(), String> {
        let date = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
        if now > self.not_after {
            return Err(format!(
                "expired on {} (sha256:{}): its owner has to make a new one, for the other side to pin",
                date(self.not_after),
                fingerprint(&self.der)
            ));
        }
        if now < self.not_before {
            return Err(format!(
                "is not valid before {} (sha256:{}): it is too early for it, or a clock is wrong; the one here says {}",
                date(self.not_before),
                fingerprint(&self.der),
                date(now)
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::transport::tls::make_for;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let (from, to) =
            (DateTime::from_timestamp(1_700_000_000, 0).unwrap(), DateTime::from_timestamp(1_700_086_400, 0).unwrap());
        let made = make_for("publisher", from, to).unwrap();
        let der = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        let certificate = Certificate::read(&der).unwrap();
        let second = TimeDelta::seconds(1);
        assert_eq!(certificate.valid(from), Ok(()));
        assert_eq!(certificate.valid(to), Ok(()));
        let early = certificate.valid(from - second).unwrap_err();
        assert!(early.contains("not valid before 2023-11-14 22:13:20 UTC") && early.contains("22:13:19"), "{early}");
        let late = certificate.valid(to + second).unwrap_err();
        assert!(late.contains("expired on 2023-11-15 22:13:20 UTC") && late.contains(&fingerprint(&der)), "{late}");
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused_with_their_fingerprint() {
        for bytes in [&b""[..], b"hello", &[0x30, 0x82, 0xff, 0xff]] {
            let error = Certificate::read(bytes).err().unwrap().to_string();
            assert!(error.contains(&fingerprint(bytes)), "{error}");
        }
        assert_eq!(fingerprint(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
