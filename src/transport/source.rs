//! What a server serves: the seam behind which policy, SQL engine and files stay.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::psi::{Error, Offer, Session, ShareTerms};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The party's name. A claim of its own where the connection proves nothing.
    pub name: String,
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

    /// What that peer may see: only what is shared with it.
    async fn shares(&self, peer: &PeerIdentity) -> Result<Vec<SharedTable>, Error>;

    /// Checks an offer, charges it, prepares the table. The offer's `requester` is the peer's name, its
    /// `responder` the server's, its `session` fresh. The session starts in [`Phase::Hello`](crate::psi::Phase::Hello);
    /// of the offer's direction it is told the end alone.
    async fn answer(&self, peer: &PeerIdentity, offer: Offer) -> Result<Self::Answer, Error>;

    /// How a session that [`answer`](Self::answer) began has ended: with its session, or with the error.
    async fn ended(&self, peer: &PeerIdentity, outcome: Result<Self::Answer, &Error>) {
        let _ = (peer, outcome);
    }
}
