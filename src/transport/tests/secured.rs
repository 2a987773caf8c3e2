//! Two parties with certificates, and clients that do not keep to the rules.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_flight::flight_service_client::FlightServiceClient;
use chrono::{DateTime, TimeDelta, Utc};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::flight::{Served, ask_peer};
use super::local::patient;
use super::toy::{REQUESTER, RESPONDER, Toys, fresh_id, steps};
use crate::psi::Error;
use crate::transport::tls::{Credentials, Pins, make_for, write};
use crate::transport::{Deadlines, Peer, PeerServer, ServerLimits};

/// Files of certificates and keys, which live as long as it.
pub(super) struct Drawer(tempfile::TempDir);

/// A certificate's file, and its key's.
pub(super) type Files = (PathBuf, PathBuf);

impl Drawer {
    pub(super) fn new() -> Self {
        Drawer(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn pair(&self, name: &str) -> Files {
        write(self.path(), name).unwrap()
    }

    /// Valid over these days, counted from today.
    pub(super) fn valid(&self, name: &str, from_day: i64, to_day: i64) -> Files {
        let day = |days| DateTime::<Utc>::from_timestamp((Utc::now() + TimeDelta::days(days)).timestamp(), 0).unwrap();
        make_for(name, day(from_day), day(to_day)).unwrap().write(self.path(), name).unwrap()
    }
}

pub(super) fn load(files: &Files) -> Arc<Credentials> {
    Credentials::load(&files.0, &files.1).unwrap()
}

pub(super) fn pins(peers: &[(&str, &[&Files])]) -> Arc<Pins> {
    let paths = |files: &[&Files]| files.iter().map(|(certificate, _)| certificate.clone()).collect();
    Pins::load(peers.iter().map(|(name, files)| ((*name).to_owned(), paths(files)))).unwrap()
}

/// The responder, with TLS, and what its requester has.
pub(super) struct Pair {
    pub(super) drawer: Drawer,
    pub(super) served: Served,
    pub(super) requester: Files,
    pub(super) responder: Files,
}

pub(super) fn limits() -> ServerLimits {
    ServerLimits { deadlines: patient(), ..ServerLimits::default() }
}

impl Pair {
    pub(super) async fn start(limits: ServerLimits) -> Pair {
        let drawer = Drawer::new();
        let (requester, responder) = (drawer.pair(REQUESTER), drawer.pair(RESPONDER));
        let known = pins(&[(REQUESTER, &[&requester])]);
        let served = serve(&responder, known, limits).await;
        Pair { drawer, served, requester, responder }
    }

    pub(super) fn address(&self) -> String {
        address(self.served.at)
    }

    /// The honest requester.
    pub(super) fn peer(&self) -> Peer {
        peer(self.served.at, &self.requester, &self.responder)
    }

    pub(super) async fn asks(&self) -> Result<(), Error> {
        ask(&self.peer()).await
    }

    /// A client with this certificate, or none, that skips what its own side would check.
    pub(super) async fn dial(&self, own: Option<&Files>) -> FlightServiceClient<Channel> {
        let channel = channel(self.served.at, self.config(own)).await.unwrap();
        FlightServiceClient::new(channel)
    }

    pub(super) fn config(&self, own: Option<&Files>) -> ClientConfig {
        let pins = pins(&[(RESPONDER, &[&self.responder])]);
        let mut config = load(own.unwrap_or(&self.requester)).client(RESPONDER, &pins).unwrap();
        if own.is_none() {
            config.client_auth_cert_resolver = Arc::new(Shows(None));
        }
        config
    }
}

pub(super) async fn serve(own: &Files, known: Arc<Pins>, limits: ServerLimits) -> Served {
    let credentials = load(own);
    let with_tls = |server: PeerServer<Toys>| server.with_tls(credentials, known);
    Served::start_with(Toys::new(&steps(2)), limits, with_tls).await
}

pub(super) fn address(at: SocketAddr) -> String {
    format!("grpc+tls://{at}")
}

pub(super) fn peer(at: SocketAddr, own: &Files, theirs: &Files) -> Peer {
    let known = pins(&[(RESPONDER, &[theirs])]);
    Peer::with_tls(RESPONDER, REQUESTER, &address(at), patient(), load(own), known).unwrap()
}

pub(super) async fn ask(peer: &Peer) -> Result<(), Error> {
    ask_within(peer, patient()).await
}

pub(super) async fn ask_within(peer: &Peer, deadlines: Deadlines) -> Result<(), Error> {
    let asking = ask_peer(peer, fresh_id(), &steps(2), deadlines, None).await;
    asking.map(|_| ())
}

/// Shows this, whatever the server asks for.
#[derive(Debug)]
pub(super) struct Shows(pub(super) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

pub(super) async fn tls(at: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(at).await?;
    let name = ServerName::try_from("peer.invalid").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

pub(super) async fn channel(at: SocketAddr, config: ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let config = config.clone();
        async move { tls(at, config).await.map(TokioIo::new) }
    });
    Endpoint::from_shared(format!("http://{at}")).unwrap().connect_with_connector(connector).await
}
