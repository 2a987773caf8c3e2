//! What a server serves: the seam behind which policy, SQL engine and files stay.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::psi::{Error, Offer, Session, SessionId, ShareTerms};

/// Who asks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The party's name: with TLS, the one that this party's configuration gives to the certificate; without, on
    /// one machine, a claim of the peer's own.
    pub name: String,
    /// With TLS, the certificate (DER) whose key the peer has proven to hold, and which is pinned for that name.
    pub certificate: Option<Arc<[u8]>>,
}

impl std::fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let certificate = self.certificate.as_deref().map(super::tls::fingerprint);
        f.debug_struct("PeerIdentity").field("name", &self.name).field("certificate", &certificate).finish()
    }
}

/// A table as its owner publishes it: columns and terms, no rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedTable {
    /// The columns that identifiers, aggregates and filters name.
    pub schema: SchemaRef,
    /// What the share allows and costs.
    pub terms: ShareTerms,
}

/// Answers peers; given to a server. An implementation checks every policy itself: the transport knows none.
#[async_trait]
pub trait TableSource: Send + Sync + 'static {
    /// The responder's half of a session.
    type Answer: Session;

    /// Whether this party has anything to do with that peer. Asked at every call, before it costs anything more (a
    /// session's place, a look at the disk): it must be quick.
    fn knows(&self, peer: &PeerIdentity) -> bool;

    /// What that peer may see: only what is shared with it.
    async fn shares(&self, peer: &PeerIdentity) -> Result<Vec<SharedTable>, Error>;

    /// Checks an offer, charges it, prepares the table. The offer's `requester` is the peer's name, its
    /// `responder` the server's, its `session` fresh. The session starts in [`Phase::Hello`](crate::psi::Phase::Hello);
    /// of the offer's direction it is told the end alone.
    async fn answer(&self, peer: &PeerIdentity, offer: Offer) -> Result<Self::Answer, Error>;

    /// How a session that [`answer`](Self::answer) began has ended.
    async fn ended(&self, peer: &PeerIdentity, ended: SessionEnded<'_, Self::Answer>) {
        let _ = (peer, ended);
    }
}

/// The end of a session that was answered.
#[derive(Debug)]
pub struct SessionEnded<'a, A> {
    /// The session's name.
    pub id: SessionId,
    /// The session, or the error that ended it.
    pub outcome: Result<A, &'a Error>,
    /// The noisy sizes that it has shown this side, also where it failed later.
    pub sizes: Vec<u64>,
    /// How long it took, from its first exchange.
    pub seconds: f64,
    /// Bytes from requester to responder, of the phases that were closed.
    pub bytes_up: u64,
    /// Bytes from responder to requester.
    pub bytes_down: u64,
}
