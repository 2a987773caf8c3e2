//! This party's own certificate and key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use crate::psi::Error;

use super::certificate::{Certificate, fingerprint};
use super::pins::Pins;
use super::reload::Reloading;
use super::verifiers::{AnyClient, PinnedServer};
use super::{ALPN, files, provider, signature};

/// This party's certificate and key, as their files say: read again when they change.
///
/// Shows no key in `Debug`.
pub struct Credentials {
    files: Reloading<Loaded>,
}

/// One pair that fits.
struct Loaded {
    certificate: Certificate,
    certified: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fingerprint = fingerprint(self.files.last().certificate.der());
        f.debug_struct("Credentials").field("certificate", &fingerprint).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a PEM file with the certificate (and, where it has one, its chain, which peers don't look at) and
    /// one with its key, which only its owner may be able to read.
    ///
    /// An expired certificate is loaded, so that `check` and the log can say so; no peer accepts it.
    ///
    /// # Errors
    /// [`Error::Caller`]: which file, what is wrong with it, what to do.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Credentials>, Error> {
        let paths = vec![certificate.to_owned(), key.to_owned()];
        Ok(Arc::new(Credentials { files: Reloading::new(paths, read)? }))
    }

    /// The certificate in force, in DER.
    pub fn certificate(&self) -> Arc<[u8]> {
        Arc::clone(self.files.current().certificate.der())
    }

    /// The last second of the certificate in force.
    pub fn expires(&self) -> DateTime<Utc> {
        self.files.current().certificate.not_after()
    }

    /// Whether the certificate in force is valid now; the words begin with "this party's certificate".
    ///
    /// # Errors
    /// [`Error::Caller`] with the date and what to do.
    pub fn valid(&self, now: DateTime<Utc>) -> Result<(), Error> {
        let valid = self.files.current().certificate.valid(now);
        valid.map_err(|why| Error::Caller(format!("this party's certificate {why}")))
    }

    /// Signs `message` with the key in force; see [`verify`](super::verify) for what is signed.
    ///
    /// # Errors
    /// [`Error::Internal`] where the key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        signature::sign(self.files.current().certified.key.as_ref(), message)
    }

    /// How this party's server does its handshakes. Blocks on the disk.
    pub(in crate::transport) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.files.current().server)
    }

    /// How this party connects to `peer`. Blocks on the disk.
    pub(in crate::transport) fn client(&self, peer: &str, pins: &Arc<Pins>) -> Result<ClientConfig, Error> {
        let loaded = self.files.current();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::internal)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinnedServer::new(peer, Arc::clone(pins))))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&loaded.certified))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        // Whom it asks for is nobody's business on the way; a server has one certificate.
        config.enable_sni = false;
        Ok(config)
    }
}

fn read(paths: &[PathBuf]) -> Result<Loaded, Error> {
    let [certificate_path, key_path] = paths else {
        return Err(Error::internal("credentials are two files"));
    };
    let chain = files::certificates(certificate_path)?;
    let wrong = |path: &Path, what: String| Error::Caller(format!("{} {what}", path.display()));
    let first = chain.first().ok_or_else(|| Error::internal("a file of certificates holds none"))?;
    let certificate = Certificate::read(first).map_err(|error| wrong(certificate_path, format!("holds {error}")))?;
    let key = files::key(key_path)?;
    let certified = CertifiedKey::from_der(chain, key, provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(
            key_path,
            format!("is not the key of the certificate in {} (sha256:{})", certificate_path.display(), fingerprint(certificate.der())),
        ),
        rustls::Error::InvalidCertificate(_) => {
            wrong(certificate_path, "holds a certificate that TLS cannot use: it takes X.509 version 3".to_owned())
        }
        other => wrong(
            key_path,
            format!("holds a key that cannot be used: it takes ECDSA (P-256, P-384), Ed25519 or RSA from 2048 bits ({other})"),
        ),
    })?;
    let certified = Arc::new(certified);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .with_client_cert_verifier(Arc::new(AnyClient))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified))));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;
    Ok(Loaded { certificate, certified, server: Arc::new(server) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::tls::{make, write};

    fn words<T>(result: Result<T, Error>) -> String {
        result.err().expect("it is refused").to_string()
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, _) = write(folder.path(), "publisher").unwrap();
        let (_, key) = write(folder.path(), "advertiser").unwrap();
        let words = words(Credentials::load(&certificate, &key));
        assert!(words.contains("advertiser.key is not the key of") && words.contains("publisher.pem"), "{words}");
    }

    #[test]
    fn a_new_pair_is_taken_up_once_both_files_fit() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "publisher").unwrap();
        let credentials = Credentials::load(&certificate, &key).unwrap();
        let old = credentials.certificate();
        assert!(!format!("{credentials:?}").contains("PRIVATE"));
        let made = make("publisher").unwrap();
        std::fs::write(&certificate, &made.certificate).unwrap();
        assert_eq!(credentials.certificate(), old, "the old pair, while the new one is half there");
        std::fs::write(&key, made.key.as_bytes()).unwrap();
        assert_ne!(credentials.certificate(), old);
        assert!(credentials.valid(Utc::now()).is_ok());
        assert!(words(credentials.valid(credentials.expires() + chrono::TimeDelta::days(1))).contains("expired on"));
    }
}
