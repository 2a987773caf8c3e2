//! Transport: moves the batches of a [`Session`](crate::psi::Session) between two parties, within one
//! process ([`local`]) or over Arrow Flight ([`Peer`], [`PeerServer`]).
//!
//! | Job | May import | Must not touch |
//! |---|---|---|
//! | move frames, deadlines, size limits, fault to status | psi, arrow, arrow-flight, tonic, tokio; the bridge to rayon is `compute` | budget decisions, SQL types, group elements |
//!
//! # Messages
//! A session is a series of exchanges (Flight `DoExchange`), one per phase, opened by the requester with the
//! descriptor path `["psi/1", SESSION, PHASE]` in its first message. Both directions of an exchange carry
//!
//! ```text
//! schema · batch* · end          each one FlightData; `end`: app_metadata "end", no header, no body
//! ```
//!
//! at the same time; the next exchange opens when both have ended. A direction that stops without `end` was
//! cut or cancelled. The responder gives up by the gRPC status, with the metadata `psi-fault`; the requester
//! by a message `abort`. One more exchange, `["psi/1", SESSION, "control"]`, which the requester may open
//! after the hello and which carries nothing but its `end` or `abort`, is open as long as the session, so
//! that each side notices at once when the other is gone, between two phases too.
//! Shares are listed by `ListFlights` (criteria `psi/1`) and `GetSchema` (path `["psi/1", "share", TABLE]`):
//! Arrow schemas whose metadata `psi.share` is the JSON of [`ShareTerms`](crate::psi::ShareTerms).
//! A request names its party in the metadata `psi-party`.
//!
//! # Limits
//! 4 MiB per message, 3 MiB and 65,536 rows per batch that this side sends, 64 KiB per Arrow header, four
//! encoded frames per direction between a session and the network, HTTP/2 windows of 4 MiB a stream. See
//! [`Deadlines`] and [`ServerLimits`] for the rest. Nothing a peer sends is decoded without validation.

mod channel;
mod compute;
mod deadlines;
mod driver;
mod flight;
pub mod local;
mod observer;
mod offer;
mod source;
pub mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use channel::{BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost, Received, Room};
pub use deadlines::Deadlines;
pub use driver::drive;
pub use flight::{Connection, FlightChannel, Incoming, Peer, PeerFlight, PeerServer, ServerLimits, Wire};
pub use observer::{Observer, PhaseReport};
pub use source::{PeerIdentity, SharedTable, TableSource};
pub use wire::Frame;
