//! What the TLS handshake checks of the other side's certificate.

use std::sync::Arc;

use chrono::DateTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};

use crate::psi::Error;

use super::pins::Pins;
use super::provider;

/// Possession of the key: the handshake so far, signed (RFC 8446, 4.4.3), by the provider's algorithms.
fn possessed(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = &provider().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

/// TLS 1.2 is not offered, so this is never reached.
fn no_tls12() -> rustls::Error {
    PeerIncompatible::ServerDoesNotSupportTls12Or13.into()
}

/// At the requester: the server holds the key of a certificate that is pinned for the one peer that was called,
/// and valid.
pub(super) struct PinnedServer {
    peer: String,
    pins: Arc<Pins>,
}

impl PinnedServer {
    pub(super) fn new(peer: &str, pins: Arc<Pins>) -> Self {
        PinnedServer { peer: peer.to_owned(), pins }
    }
}

impl std::fmt::Debug for PinnedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinnedServer").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let now = i64::try_from(now.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let now = now.ok_or(rustls::Error::FailedToGetCurrentTime)?;
        match self.pins.trust(&self.peer, end_entity, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possessed(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// What a [`PinnedServer`] said, found in the error that the handshake ended with.
pub(in crate::transport) fn distrust(error: &rustls::Error) -> Option<Error> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => {
            why.downcast_ref::<Error>().cloned()
        }
        _ => None,
    }
}

/// At the responder: whoever holds the key of the certificate that it shows, or shows none. Who that is is asked
/// at each call, where an answer in words is possible.
#[derive(Debug)]
pub(super) struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        possessed(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}
