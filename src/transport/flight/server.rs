//! The responder's end: a Flight server over a listener that its caller has bound.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use chrono::Utc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::psi::Error;

use super::super::deadlines::Deadlines;
use super::super::source::TableSource;
use super::super::tls::{Credentials, Pins};
use super::super::wire::MESSAGE_BYTES_MAX;
use super::incoming::Incoming;
use super::registry::Registry;
use super::service::PeerFlight;
use super::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES};

/// Streams that one connection may have open: a session uses two at a time.
const STREAMS_MAX: u32 = 64;

/// The most bytes of a request's headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// The most bytes of a health check: a service's name.
const PROBE_BYTES_MAX: usize = 1024;

/// What a server allows its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections that are open at the same time. At the limit a new one takes the place of the oldest on which
    /// no known peer has called; where there is none, it is closed.
    pub connections_max: usize,
    /// Of these, so many of one peer: a session uses one, and the list of shares one for a moment.
    pub connections_per_peer_max: usize,
    /// Sessions that run at the same time; more are asked to try again later.
    pub sessions_max: usize,
    /// Of these, so many of one peer.
    pub sessions_per_peer_max: usize,
    /// Names of ended sessions that are remembered, so that none is used twice; then the oldest is forgotten.
    pub remembered_max: usize,
    /// Until a new connection has done its TLS handshake (without TLS: has sent its first byte), and until a call
    /// has sent its first message.
    pub handshake: Duration,
    /// Until a known peer has called on a new connection. Health checks don't count: a prober reconnects.
    pub unclaimed: Duration,
    /// How long to wait for a peer.
    pub deadlines: Deadlines,
    /// How long a stopping server waits until sessions and connections have closed.
    pub drain: Duration,
}

impl Default for ServerLimits {
    /// 64 connections, 16 of one peer; 16 sessions, 2 with one peer; 65,536 names; 10 s for a handshake, 30 s for a
    /// first call; the default deadlines; 5 s to drain.
    fn default() -> Self {
        ServerLimits {
            connections_max: 64,
            connections_per_peer_max: 16,
            sessions_max: 16,
            sessions_per_peer_max: 2,
            remembered_max: 65_536,
            handshake: Duration::from_secs(10),
            unclaimed: Duration::from_secs(30),
            deadlines: Deadlines::default(),
            drain: Duration::from_secs(5),
        }
    }
}

/// A party's server of the peer protocol.
pub struct PeerServer<S: ?Sized> {
    flight: PeerFlight<S>,
    credentials: Option<Arc<Credentials>>,
}

impl<S: TableSource + ?Sized> PeerServer<S> {
    /// A server of the party `own`, which answers from `source`: without TLS, so on this machine alone.
    pub fn new(own: &str, source: Arc<S>, limits: ServerLimits) -> Self {
        let registry = Registry::new(own, &limits);
        let flight = PeerFlight { own: own.into(), source, limits, registry, pins: None };
        PeerServer { flight, credentials: None }
    }

    /// With TLS: this party's certificate, and those that its peers are known by.
    #[must_use]
    pub fn with_tls(mut self, credentials: Arc<Credentials>, pins: Arc<Pins>) -> Self {
        self.flight.pins = Some(pins);
        self.credentials = Some(credentials);
        self
    }

    /// The connections of a bound listener, within this server's limits.
    ///
    /// # Errors
    /// [`Error::Caller`] for a server without TLS that others than this machine could reach.
    pub fn incoming(&self, listener: TcpListener) -> Result<Incoming, Error> {
        let flight = &self.flight;
        if let Some(credentials) = &self.credentials {
            if let Err(error) = credentials.valid(Utc::now()) {
                tracing::error!("no peer will accept this server: {error}");
            }
        } else {
            let at = listener.local_addr().map_err(|error| Error::Environment(error.to_string()))?;
            if !at.ip().is_loopback() {
                return Err(Error::Caller(format!(
                    "{} may not listen at {at} without TLS: give it a certificate and a key, or listen at 127.0.0.1",
                    flight.own
                )));
            }
        }
        Ok(Incoming::start(listener, &flight.own, self.credentials.clone(), &flight.limits))
    }

    /// The service alone, for a server that also offers others on its port; it has to be served over the
    /// connections of [`incoming`](Self::incoming).
    pub fn flight_service(&self) -> PeerFlight<S> {
        self.flight.clone()
    }

    /// Ends all sessions, on both sides and in words, and begins none any more: for a server that mounts
    /// [`flight_service`](Self::flight_service) itself.
    pub fn stop(&self) {
        self.flight.registry.stop();
    }

    /// Serves until `shutdown`; then running sessions fail, on both sides and in words, and it returns.
    ///
    /// # Errors
    /// [`Error::Caller`] for a server without TLS that others than this machine could reach;
    /// [`Error::Environment`] where the server fails.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        self.serve_behind(listener, shutdown, |peers| peers).await
    }

    /// [`serve`](Self::serve), behind another Flight service, which answers some calls itself and hands the peer
    /// protocol's to the service that it is given.
    ///
    /// # Errors
    /// As there.
    pub async fn serve_behind<F: FlightService>(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
        front: impl FnOnce(PeerFlight<S>) -> F,
    ) -> Result<(), Error> {
        let incoming = self.incoming(listener)?;
        let flight = self.flight;
        let registry = Arc::clone(&flight.registry);
        // Also when this future is dropped: no session outlives its server.
        let _stop = StopOnDrop(Arc::clone(&registry));
        let drain = flight.limits.drain;
        let service = FlightServiceServer::new(front(flight))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // The whole server's health, for anybody: no service's name is known, so none can be asked for.
        let health = HealthReporter::new();
        let probed = HealthServer::new(HealthService::from_health_reporter(health.clone()))
            .max_decoding_message_size(PROBE_BYTES_MAX);
        let (stopped, stopping) = oneshot::channel();
        let stop = {
            let registry = Arc::clone(&registry);
            async move {
                shutdown.await;
                health.set_service_status("", ServingStatus::NotServing).await;
                registry.stop();
                // Their last words are on their way before connections stop taking exchanges.
                let _ = timeout(drain, registry.idle()).await;
                let _ = stopped.send(());
            }
        };
        let serving = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .add_service(service)
            .add_service(probed)
            .serve_with_incoming_shutdown(incoming, stop);
        let drained = async {
            match stopping.await {
                Ok(()) => tokio::time::sleep(drain).await,
                // The server ended before it was stopped; its own result counts.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = serving => served.map_err(|error| Error::Environment(format!("the server stopped: {error}"))),
            () = drained => Ok(()),
        }
    }
}

struct StopOnDrop(Arc<Registry>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
