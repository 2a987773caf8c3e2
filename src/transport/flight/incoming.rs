//! Connections to a server: accepted within limits, with TLS or without, each with its peer's certificate.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::super::tls::{Credentials, fingerprint};
use super::super::wire::sanitise;
use super::connections::{Connections, Slot};
use super::server::ServerLimits;

/// After a failure of the listener itself (no file descriptors left, say).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long a client that speaks another protocol has for taking note of it.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Accepted connections that wait for the HTTP/2 server to take them.
const READY_MAX: usize = 16;

/// What a plain server answers to a TLS handshake, for whoever looks at the bytes; no TLS record begins so.
const NO_TLS_HERE: &[u8] = b"this server speaks no TLS\n";

/// The first byte of a TLS handshake, and of a TLS alert.
const TLS_HANDSHAKE: u8 = 22;
const TLS_ALERT: u8 = 21;

/// What a TLS server answers to what is no TLS: the alert `unexpected_message`.
pub(super) const NOT_TLS: &[u8] = &[TLS_ALERT, 3, 3, 0, 2, 2, 10];

/// A stream of accepted connections, for tonic's `serve_with_incoming`: a server that mounts
/// [`PeerFlight`](super::PeerFlight) itself serves it over these alone, since the peer's certificate comes with
/// them. Dropped, it stops listening.
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
    _accepting: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

impl Incoming {
    pub(super) fn start(
        listener: TcpListener,
        own: &str,
        credentials: Option<Arc<Credentials>>,
        limits: &ServerLimits,
    ) -> Incoming {
        let connections = Connections::new(own, limits.connections_max, limits.connections_per_peer_max);
        let door = Arc::new(Door { credentials, handshake: limits.handshake, unclaimed: limits.unclaimed });
        let (queue, ready) = mpsc::channel(READY_MAX);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, connections, door, queue));
        Incoming { ready, _accepting: accepting }
    }
}

async fn accept(
    listener: TcpListener,
    connections: Arc<Connections>,
    door: Arc<Door>,
    queue: mpsc::Sender<Connection>,
) {
    // Those that have not finished their handshake; they end with this task.
    let mut entering = JoinSet::new();
    loop {
        while entering.try_join_next().is_some() {}
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // A full server closes at once: connections that waited in the system's queue would time out unexplained.
        let Some((slot, closing)) = connections.admit(from) else { continue };
        let (door, queue) = (Arc::clone(&door), queue.clone());
        entering.spawn(async move {
            if let Some(connection) = door.enter(socket, from, slot, closing).await {
                // Nobody takes it where the server has stopped.
                let _ = queue.send(connection).await;
            }
        });
    }
}

/// How connections begin.
struct Door {
    credentials: Option<Arc<Credentials>>,
    handshake: Duration,
    unclaimed: Duration,
}

/// Why one did not.
enum Turned {
    /// It went away without a word, as a port scanner or a health check of the TCP port does.
    Silent,
    Closed(String),
}

impl Door {
    async fn enter(
        &self,
        socket: TcpStream,
        from: SocketAddr,
        slot: Arc<Slot>,
        mut closing: oneshot::Receiver<()>,
    ) -> Option<Connection> {
        // From now on: the handshake counts, and its own bound is tighter.
        let unclaimed = Box::pin(sleep(self.unclaimed));
        let turned = tokio::select! {
            // Its place was given away; that was logged.
            _ = &mut closing => return None,
            began = timeout(self.handshake, self.begin(socket)) => match began {
                Ok(Ok((socket, certificate))) => {
                    let wire = Wire { from, certificate, slot };
                    return Some(Connection { socket, wire, closing, unclaimed, closed: false });
                }
                Ok(Err(turned)) => turned,
                Err(_) => Turned::Closed(format!("no handshake within {:?}", self.handshake)),
            },
        };
        match turned {
            Turned::Silent => tracing::debug!(%from, "a connection closed without a word"),
            Turned::Closed(why) => tracing::warn!(%from, "a connection was closed: {why}"),
        }
        None
    }

    async fn begin(&self, socket: TcpStream) -> Result<(Socket, Option<Arc<[u8]>>), Turned> {
        let _ = socket.set_nodelay(true);
        let mut first = [0];
        let is_tls = match socket.peek(&mut first).await {
            Ok(0) | Err(_) => return Err(Turned::Silent),
            Ok(_) => first[0] == TLS_HANDSHAKE,
        };
        match &self.credentials {
            None if is_tls => {
                turn_away(socket, NO_TLS_HERE).await;
                Err(Turned::Closed("it began with a TLS handshake, and this server has no TLS: its client's address for this party has to begin with grpc://".to_owned()))
            }
            None => Ok((Socket::Plain(socket), None)),
            Some(_) if !is_tls => {
                turn_away(socket, NOT_TLS).await;
                Err(Turned::Closed("it did not begin with a TLS handshake: its client's address for this party has to begin with grpc+tls://".to_owned()))
            }
            Some(credentials) => {
                let reading = Arc::clone(credentials);
                let config = tokio::task::spawn_blocking(move || reading.server()).await;
                let config = config.map_err(|error| Turned::Closed(error.to_string()))?;
                let stream = TlsAcceptor::from(config)
                    .accept(socket)
                    .await
                    .map_err(|error| Turned::Closed(unaccepted(&error, credentials)))?;
                let certificate =
                    stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|der| Arc::from(der.as_ref()));
                Ok((Socket::Tls(Box::new(stream)), certificate))
            }
        }
    }
}

/// Says a last word to who speaks another protocol. What it sends is read before and after, for a moment: a socket
/// that is closed over unread bytes takes the answer back.
async fn turn_away(mut socket: TcpStream, word: &[u8]) {
    let talk = async {
        let mut unread = [0; 4096];
        let _ = socket.read(&mut unread).await;
        let _ = socket.write_all(word).await;
        let _ = socket.shutdown().await;
        while socket.read(&mut unread).await.is_ok_and(|bytes| bytes > 0) {}
    };
    let _ = timeout(LAST_WORD, talk).await;
}

/// Why a TLS handshake failed, in words for this party's operator.
fn unaccepted(error: &io::Error, credentials: &Credentials) -> String {
    use rustls::AlertDescription as Alert;
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return format!("its TLS handshake broke off: {}", sanitise(&error.to_string()));
    };
    match error {
        rustls::Error::AlertReceived(
            Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnknownCA | Alert::CertificateExpired,
        ) => format!(
            "its client does not accept this party's certificate, sha256:{}: the client's own words say why; it has to have this one pinned",
            fingerprint(&credentials.certificate())
        ),
        rustls::Error::PeerIncompatible(_) => format!("its TLS handshake failed, TLS 1.3 is needed: {error}"),
        _ => format!("its TLS handshake failed: {error}"),
    }
}

/// What is known of the connection that a call comes by.
#[derive(Clone)]
pub struct Wire {
    pub(super) from: SocketAddr,
    /// The certificate whose key the other end has proven to hold, in DER; none without TLS, or where it showed
    /// none.
    pub(super) certificate: Option<Arc<[u8]>>,
    pub(super) slot: Arc<Slot>,
}

impl Wire {
    /// Where it comes from.
    pub fn from(&self) -> SocketAddr {
        self.from
    }

    /// What tells it from every other connection of its server, and whether it is still open.
    pub fn line(&self) -> Line {
        Line { number: self.slot.number(), slot: Arc::downgrade(&self.slot) }
    }
}

/// A connection, without keeping it.
#[derive(Clone)]
pub struct Line {
    number: u64,
    slot: Weak<Slot>,
}

impl Line {
    /// A number that no other connection of the server has had or will have.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the connection is still there.
    pub fn is_open(&self) -> bool {
        self.slot.strong_count() > 0
    }
}

/// An accepted connection, TLS handshake done.
///
/// It breaks where its place is needed (see the server's limits) or where no known peer calls on it in time.
pub struct Connection {
    socket: Socket,
    wire: Wire,
    closing: oneshot::Receiver<()>,
    unclaimed: Pin<Box<Sleep>>,
    closed: bool,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Wire;

    fn connect_info(&self) -> Wire {
        self.wire.clone()
    }
}

impl Connection {
    /// Whether it has to close. The HTTP/2 server always reads, so what wakes a read wakes this.
    fn poll_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.closed && self.closing.poll_unpin(context).is_ready() {
            self.closed = true;
        }
        // Polled on after it has fired, a timer stays ready.
        if !self.closed && !self.wire.slot.claimed() && self.unclaimed.as_mut().poll(context).is_ready() {
            tracing::info!(from = %self.wire.from, "closed a connection that nobody known has used in time");
            self.closed = true;
        }
        if self.closed { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_closed(context)?;
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Tls(socket) => Pin::new(socket.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(socket) => Pin::new(socket.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(socket) => Pin::new(socket.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(socket) => Pin::new(socket.as_mut()).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Socket::Tls(socket) => Pin::new(socket.as_mut()).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }
}
