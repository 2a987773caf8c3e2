//! The requester's way to a peer: a connection, with TLS or without, and words for what goes wrong on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use chrono::Utc;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel as Connection, Endpoint};

use crate::psi::Error;

use super::super::tls::{ALPN, Credentials, Pins, distrust};
use super::super::wire::sanitise;
use super::address::Address;
use super::incoming::NOT_TLS;

/// How a peer is reached.
pub(super) enum Security {
    /// Without TLS, on this machine.
    Plain {
        /// Whether the other end has answered in TLS.
        misdirected: Arc<AtomicBool>,
    },
    /// With this party's certificate, to a server that shows the peer's.
    Tls { own: Arc<Credentials>, pins: Arc<Pins> },
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Security::Plain { .. } => f.write_str("Plain"),
            Security::Tls { own, .. } => f.debug_tuple("Tls").field(own).finish(),
        }
    }
}

impl Security {
    pub(super) fn plain() -> Self {
        Security::Plain { misdirected: Arc::default() }
    }

    /// Connects; of what is not the network's fault, the error says so.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
        peer: &str,
        address: &Address,
    ) -> Result<Result<Connection, tonic::transport::Error>, Error> {
        let target = (address.host.clone(), address.port);
        match self {
            Security::Plain { misdirected } => {
                misdirected.store(false, Ordering::Relaxed);
                let misdirected = Arc::clone(misdirected);
                let connector = tower::service_fn(move |_| {
                    let (target, misdirected) = (target.clone(), Arc::clone(&misdirected));
                    async move {
                        let socket = reach(target).await?;
                        Ok::<_, io::Error>(TokioIo::new(Plain { socket, misdirected: Some(misdirected) }))
                    }
                });
                Ok(endpoint.connect_with_connector(connector).await)
            }
            Security::Tls { own, pins } => {
                let config = client(peer, own, pins).await?;
                let name = ServerName::try_from("peer.invalid").map_err(Error::internal)?;
                let said = format!("{peer} ({})", address.text);
                let connector = tower::service_fn(move |_| {
                    let (target, config, name, said) =
                        (target.clone(), Arc::clone(&config), name.clone(), said.clone());
                    async move {
                        let socket = reach(target).await?;
                        let stream = TlsConnector::from(config).connect(name, socket).await;
                        let stream = stream.map_err(|error| io::Error::other(unconnected(&error, &said)))?;
                        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                            let error = format!("{said} speaks TLS and not HTTP/2: another service listens there");
                            return Err(io::Error::other(Error::Incompatible(error)));
                        }
                        Ok::<_, io::Error>(TokioIo::new(stream))
                    }
                });
                Ok(endpoint.connect_with_connector(connector).await)
            }
        }
    }

    /// Whether what went wrong on a plain connection is that the other end speaks TLS.
    pub(super) fn misdirected(&self) -> bool {
        matches!(self, Security::Plain { misdirected } if misdirected.load(Ordering::Relaxed))
    }
}

async fn reach(target: (String, u16)) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(target).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Reads certificates and key, where they have changed.
async fn client(peer: &str, own: &Arc<Credentials>, pins: &Arc<Pins>) -> Result<Arc<ClientConfig>, Error> {
    let (peer, own, pins) = (peer.to_owned(), Arc::clone(own), Arc::clone(pins));
    let reading = tokio::task::spawn_blocking(move || {
        // The peer would refuse it, in fewer words.
        own.valid(Utc::now())?;
        own.client(&peer, &pins).map(Arc::new)
    });
    reading.await.map_err(Error::internal)?
}

/// The error behind a TLS handshake that failed, `said` being the peer and its address.
fn unconnected(error: &io::Error, said: &str) -> Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "it closed the connection; its server may have as many as it may, or speak no TLS".to_owned()
            }
            _ => sanitise(&error.to_string()),
        };
        return Error::Environment(format!("the TLS handshake with {said} broke off: {why}"));
    };
    if let Some(distrust) = distrust(tls) {
        return distrust;
    }
    match tls {
        rustls::Error::InvalidMessage(_) => Error::Incompatible(format!(
            "{said} does not answer in TLS: its server runs without, or another service listens there"
        )),
        rustls::Error::PeerIncompatible(_) => {
            Error::Incompatible(format!("{said} does not speak TLS 1.3: {}", sanitise(&tls.to_string())))
        }
        rustls::Error::AlertReceived(alert) => {
            Error::Incompatible(format!("{said} refused the TLS handshake: {}", sanitise(&format!("{alert:?}"))))
        }
        rustls::Error::InvalidCertificate(_) => Error::Refused(format!(
            "{said} did not prove that it holds the key of its certificate: {}",
            sanitise(&tls.to_string())
        )),
        _ => Error::Incompatible(format!("the TLS handshake with {said} failed: {}", sanitise(&tls.to_string()))),
    }
}

/// The error of this party's own that a failed connection carries, if it does.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(told) = carried.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Some(told.clone());
        }
        next = error.source();
    }
    None
}

/// A plain connection, which notices an answer in TLS.
struct Plain {
    socket: TcpStream,
    /// Set at a TLS alert where HTTP/2 was due; `None` once the first bytes have been looked at.
    misdirected: Option<Arc<AtomicBool>>,
}

impl AsyncRead for Plain {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if let Some(first) = buffer.filled().get(before..).filter(|new| !new.is_empty())
            && let Some(misdirected) = self.misdirected.take()
            // An HTTP/2 server begins with the length of its settings, which is not that much.
            && first.starts_with(&NOT_TLS[..2])
        {
            misdirected.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
