//! The responder's end: a Flight server over a listener that its caller has bound.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::psi::Error;

use super::super::deadlines::Deadlines;
use super::super::source::TableSource;
use super::super::wire::MESSAGE_BYTES_MAX;
use super::registry::Registry;
use super::service::PeerFlight;
use super::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES};

/// Streams that one connection may have open: a session uses two at a time.
const STREAMS_MAX: u32 = 64;

/// The most bytes of a request's headers.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// What a server allows its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Sessions that run at the same time; more are asked to try again later.
    pub sessions_max: usize,
    /// Names of ended sessions that are remembered, so that none is used twice; then the oldest is forgotten.
    pub remembered_max: usize,
    /// How long to wait for a peer.
    pub deadlines: Deadlines,
    /// How long a stopping server waits until sessions and connections have closed.
    pub drain: Duration,
}

impl Default for ServerLimits {
    /// 16 sessions, 65,536 names, the default deadlines, 5 s to drain.
    fn default() -> Self {
        ServerLimits {
            sessions_max: 16,
            remembered_max: 65_536,
            deadlines: Deadlines::default(),
            drain: Duration::from_secs(5),
        }
    }
}

/// A party's server of the peer protocol.
pub struct PeerServer<S: ?Sized> {
    flight: PeerFlight<S>,
}

impl<S: TableSource + ?Sized> PeerServer<S> {
    /// A server of the party `own`, which answers from `source`.
    pub fn new(own: &str, source: Arc<S>, limits: ServerLimits) -> Self {
        let registry = Registry::new(own, limits.sessions_max, limits.remembered_max);
        PeerServer { flight: PeerFlight { own: own.into(), source, limits, registry } }
    }

    /// The service alone, for a server that also offers others on its port.
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
    /// [`Error::Environment`] where the listener fails.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let PeerServer { flight } = self;
        let registry = Arc::clone(&flight.registry);
        // Also when this future is dropped: no session outlives its server.
        let _stop = StopOnDrop(Arc::clone(&registry));
        let drain = flight.limits.drain;
        let service = FlightServiceServer::new(flight)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (stopped, stopping) = oneshot::channel();
        let stop = {
            let registry = Arc::clone(&registry);
            async move {
                shutdown.await;
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
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop);
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
