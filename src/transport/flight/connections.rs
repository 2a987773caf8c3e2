//! The open connections of a server: how many, whose, and which makes room for another.
//!
//! A connection belongs to nobody until a known peer has called on it. At the limit, a new connection takes the
//! place of the oldest that is still nobody's; only where known peers hold all of them is the new one closed. So
//! somebody without a certificate, who opens connections and leaves them, keeps nobody out: to do that he would
//! have to open a whole table of new ones within the moments that an honest handshake takes. A known peer holds
//! a bounded number, so that no peer keeps out another; so does an analyst of this party's own, and all analysts
//! together hold at most half of the table, so that they keep out no peer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::psi::Error;

/// All open connections of a server.
pub(super) struct Connections {
    open: Mutex<Open>,
    own: String,
    most: usize,
    most_per_peer: usize,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// By age.
    connections: BTreeMap<u64, Entry>,
}

struct Entry {
    from: SocketAddr,
    owner: Option<Owner>,
    close: oneshot::Sender<()>,
}

/// Whose a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Another party's.
    Peer(String),
    /// That of somebody who runs SQL as this party.
    Analyst(String),
}

impl Owner {
    fn name(&self) -> &str {
        let (Owner::Peer(name) | Owner::Analyst(name)) = self;
        name
    }
}

/// One connection's place; given back when dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    number: u64,
    claimed: AtomicBool,
}

impl Connections {
    pub(super) fn new(own: &str, most: usize, most_per_peer: usize) -> Arc<Self> {
        Arc::new(Connections { open: Mutex::default(), own: own.to_owned(), most: most.max(1), most_per_peer })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it holds the lock; were it to, the map would still be whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, and what tells it to close; `None` where known peers hold all.
    pub(super) fn admit(self: &Arc<Self>, from: SocketAddr) -> Option<(Arc<Slot>, oneshot::Receiver<()>)> {
        let mut open = self.open();
        if open.connections.len() >= self.most {
            let oldest = open.connections.iter().find(|(_, entry)| entry.owner.is_none()).map(|(number, _)| *number);
            let Some(evicted) = oldest.and_then(|number| open.connections.remove(&number)) else {
                tracing::warn!(%from, "closed a new connection: known peers hold all {} that may be open", self.most);
                return None;
            };
            tracing::warn!(from = %evicted.from, "closed a connection that no known peer has used, for a new one: {} may be open", self.most);
            // Where it is gone already, its place is free too.
            let _ = evicted.close.send(());
        }
        let number = open.next;
        open.next += 1;
        let (close, closing) = oneshot::channel();
        open.connections.insert(number, Entry { from, owner: None, close });
        drop(open);
        let slot = Slot { connections: Arc::clone(self), number, claimed: AtomicBool::new(false) };
        Some((Arc::new(slot), closing))
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.open().connections.len()
    }
}

impl Slot {
    /// Somebody who is known calls on it: from now on it is theirs.
    pub(super) fn claim(&self, owner: Owner) -> Result<(), Error> {
        let all = &self.connections;
        let mut open = all.open();
        let of = |wanted: &dyn Fn(&Owner) -> bool| {
            open.connections.values().filter(|entry| entry.owner.as_ref().is_some_and(wanted)).count()
        };
        let held = of(&|other| *other == owner);
        let analysts = of(&|other| matches!(other, Owner::Analyst(_)));
        let Some(entry) = open.connections.get_mut(&self.number) else {
            return Err(Error::Environment(format!("{} closes this connection", all.own)));
        };
        if entry.owner.as_ref() == Some(&owner) {
            return Ok(());
        }
        if held >= all.most_per_peer {
            return Err(Error::Environment(format!(
                "{} holds {held} connections with {} already, as many as it may; try again later",
                owner.name(),
                all.own
            )));
        }
        // One connection is not two people's: whoever comes by another's takes nothing away from it.
        if matches!(owner, Owner::Analyst(_)) && entry.owner.is_none() && analysts >= all.most.div_ceil(2) {
            return Err(Error::Environment(format!(
                "analysts hold {analysts} of the {} connections that {} may have, as many as they may; try again later",
                all.most, all.own
            )));
        }
        entry.owner = Some(owner);
        self.claimed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Its number, which no other connection of the server has had or will have.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether somebody who is known has called on it.
    pub(super) fn claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.open().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Owner {
        Owner::Peer(name.to_owned())
    }

    fn analyst(name: &str) -> Owner {
        Owner::Analyst(name.to_owned())
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn at_the_limit_the_oldest_unclaimed_connection_makes_room_and_a_claimed_one_never() {
        let connections = Connections::new("advertiser", 3, 8);
        let (first, mut first_closes) = connections.admit(from(1)).unwrap();
        let (_second, mut second_closes) = connections.admit(from(2)).unwrap();
        let (third, mut third_closes) = connections.admit(from(3)).unwrap();
        first.claim(peer("publisher")).unwrap();
        let (fourth, _fourth_closes) = connections.admit(from(4)).unwrap();
        assert!(
            second_closes.try_recv().is_ok() && first_closes.try_recv().is_err() && third_closes.try_recv().is_err()
        );
        third.claim(peer("publisher")).unwrap();
        fourth.claim(peer("other")).unwrap();
        assert!(connections.admit(from(5)).is_none());
        assert_eq!(connections.count(), 3);
        drop(fourth);
        assert!(connections.admit(from(5)).is_some());
    }

    #[test]
    fn one_peer_holds_a_bounded_number_and_an_evicted_connection_cannot_be_claimed() {
        let connections = Connections::new("advertiser", 3, 1);
        let (one, _closes) = connections.admit(from(1)).unwrap();
        one.claim(peer("publisher")).unwrap();
        one.claim(peer("publisher")).unwrap();
        let (two, _closes_too) = connections.admit(from(2)).unwrap();
        let words = two.claim(peer("publisher")).unwrap_err().to_string();
        assert!(words.contains("holds 1 connections") && !two.claimed(), "{words}");
        two.claim(peer("other")).unwrap();
        let (three, _closes_three) = connections.admit(from(3)).unwrap();
        let (_four, _closes_four) = connections.admit(from(4)).unwrap();
        assert!(three.claim(peer("third")).is_err());
    }
    #[test]
    fn analysts_together_hold_half_of_the_table_so_that_peers_find_room() {
        let connections = Connections::new("advertiser", 4, 8);
        let open: Vec<_> = (1..=4).map(|port| connections.admit(from(port)).unwrap()).collect();
        open[0].0.claim(analyst("ana")).unwrap();
        open[1].0.claim(analyst("ben")).unwrap();
        open[1].0.claim(analyst("ben")).unwrap();
        let words = open[2].0.claim(analyst("ana")).unwrap_err().to_string();
        assert!(words.contains("analysts hold 2 of the 4") && !open[2].0.claimed(), "{words}");
        open[2].0.claim(peer("publisher")).unwrap();
        // A peer of an analyst's name is somebody else.
        open[3].0.claim(peer("ana")).unwrap();
    }
}
