//! A party's certificate and those of its peers, as its policy names them.

use std::sync::Arc;

use crate::policy::{Party, Peer};
use crate::psi::{Error, Witness};
use crate::transport::tls::{self, Credentials, Pins};
use crate::transport::{self, Deadlines};

/// The keys of one party: for connections, and for receipts.
#[derive(Debug, Clone)]
pub struct Keys {
    /// This party's own; `None`: it speaks plain text, on this machine alone.
    pub own: Option<Arc<Credentials>>,
    /// Its peers'.
    pub pins: Arc<Pins>,
}

impl Keys {
    /// Reads the files that the policy names. They are read again when they change.
    ///
    /// # Errors
    /// [`Error::Caller`] for a file that is missing, or holds something else, or a key that others can read.
    pub fn of(party: &Party) -> Result<Keys, Error> {
        let own = match &party.own_tls {
            Some(files) => Some(Credentials::load(&files.certificate, &files.key)?),
            None => None,
        };
        let pinned = party.peers.iter().filter(|peer| !peer.plaintext);
        let pins = Pins::load(pinned.map(|peer| (peer.name.clone(), peer.certificates.clone())))?;
        Ok(Keys { own, pins })
    }

    /// The way to a peer.
    ///
    /// # Errors
    /// [`Error::Caller`] for an address that cannot be one, or where this party has no certificate and the peer wants one.
    pub fn link(&self, party: &Party, peer: &Peer, deadlines: Deadlines) -> Result<transport::Peer, Error> {
        if peer.plaintext {
            return transport::Peer::new(&peer.name, &party.name, &peer.address, deadlines);
        }
        let own = self.own.as_ref().ok_or_else(|| no_certificate(party, peer))?;
        let (own, pins) = (Arc::clone(own), Arc::clone(&self.pins));
        transport::Peer::with_tls(&peer.name, &party.name, &peer.address, deadlines, own, pins)
    }

    /// Who signs and verifies the receipts of sessions with a peer; `None` for one that speaks plain text.
    pub(super) fn witness(&self, party: &Party, peer: &str) -> Option<Witness> {
        let plaintext = party.peer(peer).is_none_or(|peer| peer.plaintext);
        let own = self.own.as_ref().filter(|_| !plaintext)?;
        Some(tls::witness(Arc::clone(own), &self.pins, peer))
    }
}

fn no_certificate(party: &Party, peer: &Peer) -> Error {
    Error::Caller(format!(
        "'{}' cannot talk to '{}' at {}, which wants a certificate of both: add certificate = \"tls/{}.pem\" and key = \"tls/{}.key\" to [party] in {}",
        party.name,
        peer.name,
        peer.address,
        party.name,
        party.name,
        party.file.display()
    ))
}
