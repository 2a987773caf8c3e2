//! Sessions over Arrow Flight. What depends on TLS has one place each: [`address`] (which schemes connect),
//! [`identity`] (who the peer is), [`connect`] and [`incoming`] (the two ends of a connection).

mod address;
mod analysts;
mod authorization;
mod client;
mod connect;
mod connections;
mod exchange;
mod identity;
mod incoming;
mod registry;
mod responding;
mod server;
mod service;
mod shares;

pub use analysts::{Analyst, Analysts, Denied};
pub use client::{FlightChannel, Peer};
pub use incoming::{Connection, Incoming, Line, Wire};
pub use server::{PeerServer, ServerLimits};
pub use service::PeerFlight;

/// HTTP/2 flow control: a stream may have so many unread bytes under way (three full batches) …
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// … and a connection so many.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A silent connection is probed so often …
const KEEP_ALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);
/// … and given up after so long without an answer.
const KEEP_ALIVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);
