//! Transport: moves the batches of a [`Session`](crate::psi::Session) between two parties, within one
//! process ([`local`]) or over Arrow Flight ([`Peer`], [`PeerServer`]).
//!
//! | Job | May import | Must not touch |
//! |---|---|---|
//! | move frames, deadlines, size limits, TLS, fault to status | psi, arrow, arrow-flight, tonic, tokio, rustls; the bridges to rayon and to threads that may wait are `offload`, for `sql` too | budget decisions, SQL types, group elements |
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
//! A request names its party in the metadata `psi-party`. With TLS ([`tls`]) the certificate says who asks, and the
//! metadata, where present, has to agree; without, on loopback alone, the metadata is believed. Whom the
//! [`TableSource`] does not know is refused at every method, in the same words whatever it asked for.
//! `grpc.health.v1.Health` on the same port tells anybody SERVING, or NOT_SERVING once the server stops.
//!
//! Whoever runs SQL as this party ([`Analysts`]) comes by the same port and is no peer: a service in front
//! ([`PeerServer::serve_behind`]) takes the other calls, and those of the peer protocol refuse an analyst as they
//! refuse a stranger.
//!
//! # What is seen
//! | who | sees |
//! |---|---|
//! | an observer of the network | addresses, times, the sizes of TLS records both ways, so phases and the (padded) counts that their sizes follow from; that HTTP/2 is spoken (ALPN); no certificate, no name of a party, table or host |
//! | who connects, with any certificate or none | this party's certificate, and so its key and the names in it; its name, in refusals; whether it is serving; that its own certificate is not known here, or no longer valid |
//! | a peer | the shares that are listed for it; what the session's own table says |
//!
//! # Limits
//! 4 MiB per message, 3 MiB and 65,536 rows per batch that this side sends, 64 KiB per Arrow header, four
//! encoded frames per direction between a session and the network, four more that have come and are being
//! computed, HTTP/2 windows of 4 MiB a stream. See [`Deadlines`] and [`ServerLimits`] for the rest. Nothing a peer sends is decoded without validation.
//!
//! What a slow or silent client can hold, and for how long: before TLS, and until a known peer has called, a
//! connection (10 s, 30 s), which gives way to new ones when there are many; with a call that sends no first
//! message, a stream (10 s); with a hello that does not come to its end, or an answer that is not read, one of its
//! few sessions (60 s, the idle deadline); at the pace of one message per idle deadline, the same (1 h).

mod channel;
mod deadlines;
mod driver;
mod flight;
pub mod local;
mod observer;
mod offer;
pub(crate) mod offload;
mod source;
pub mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use channel::{BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost, Received, Room};
pub use deadlines::Deadlines;
pub use driver::drive;
pub use flight::{
    Analyst, Analysts, Connection, Denied, FlightChannel, Incoming, Line, Peer, PeerFlight, PeerServer, ServerLimits,
    Wire,
};
pub use observer::{Observer, PhaseReport};
pub use source::{PeerIdentity, SessionEnded, SharedTable, TableSource};
pub use wire::{Frame, VERSION_PATH};
