//! A party as one that asks: its policy, its books, and the peers that it can reach.
//!
//! Everything that a private query needs beside its plan is in one [`Asker`], and nothing is global: two
//! sessions of one process can be two parties.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::catalog::{PeerCatalog, PeerSchema, SharedTable};
use super::keys::Keys;
use crate::policy::{Balance, Budgets, Party, UnnamedPeer};
use crate::psi::{Error, Requester, Session, ShareTerms, Witness};
use crate::transport::{self, Deadlines, Observer};

/// The way to one peer.
#[async_trait]
pub trait PeerLink: fmt::Debug + Send + Sync + 'static {
    /// The peer's name in this party's policy.
    fn name(&self) -> &str;

    /// What the peer shares with this party, as it says now.
    async fn shares(&self) -> Result<Vec<transport::SharedTable>, Error>;

    /// Runs a session with the peer to its end. Dropping the future ends it on both sides.
    async fn run(
        &self,
        session: Requester,
        deadlines: &Deadlines,
        observer: Arc<dyn Observer>,
    ) -> Result<Requester, Error>;
}

#[async_trait]
impl PeerLink for transport::Peer {
    fn name(&self) -> &str {
        self.name()
    }

    async fn shares(&self) -> Result<Vec<transport::SharedTable>, Error> {
        self.shares().await
    }

    async fn run(
        &self,
        session: Requester,
        deadlines: &Deadlines,
        observer: Arc<dyn Observer>,
    ) -> Result<Requester, Error> {
        let mut channel = self.channel(session.id()).await?;
        transport::drive(session, &mut channel, deadlines, observer).await
    }
}

/// Shares by peer, as they were listed last.
type Listed = Arc<Mutex<BTreeMap<String, Vec<ShareTerms>>>>;

/// A party that asks.
pub struct Asker {
    party: Arc<Party>,
    budgets: Budgets,
    keys: Keys,
    peers: BTreeMap<String, Arc<dyn PeerLink>>,
    /// What each peer listed last.
    listed: Listed,
    /// Each peer as a schema: one for all sessions of this party, so that what a peer has listed is known in all.
    schemas: Vec<Arc<PeerSchema>>,
    /// Entries that a peer's table had when it was last asked, by peer and table: for estimates.
    lengths: Mutex<HashMap<(String, String), u64>>,
    /// This party as one that asks a peer which an analyst has named, by that peer's name.
    unnamed: Mutex<BTreeMap<String, Arc<Asker>>>,
    observer: Arc<dyn Observer>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker")
            .field("party", &self.party.name)
            .field("peers", &self.peers.keys())
            .finish_non_exhaustive()
    }
}

impl Asker {
    /// The party of that policy, with every peer that the policy names at the address that it gives.
    /// `budgets` are the books that its server uses too. Nothing connects yet.
    ///
    /// # Errors
    /// [`Error::Caller`] for an address that cannot be one, or a certificate that cannot be read.
    pub fn new(party: Arc<Party>, budgets: Budgets) -> Result<Self, Error> {
        let deadlines = deadlines(&party);
        let keys = Keys::of(&party)?;
        let mut links: Vec<Arc<dyn PeerLink>> = Vec::with_capacity(party.peers.len());
        for peer in &party.peers {
            links.push(Arc::new(keys.link(&party, peer, deadlines)?));
        }
        Ok(Asker::with_links(party, budgets, keys, links))
    }

    /// The party of that policy, with these ways to its peers.
    pub fn with_links(party: Arc<Party>, budgets: Budgets, keys: Keys, links: Vec<Arc<dyn PeerLink>>) -> Self {
        let listed = Listed::default();
        let peers: BTreeMap<_, _> = links.into_iter().map(|link| (link.name().to_owned(), link)).collect();
        let schema = |link: &Arc<dyn PeerLink>| {
            let peer = LinkedPeer { link: Arc::clone(link), listed: Arc::clone(&listed) };
            Arc::new(PeerSchema::new(Arc::new(peer)))
        };
        Asker {
            party,
            budgets,
            keys,
            schemas: peers.values().map(schema).collect(),
            listed,
            peers,
            lengths: Mutex::default(),
            unnamed: Mutex::default(),
            observer: Arc::new(()),
        }
    }

    /// The same, with somebody who watches every run: a progress bar, a log. `SET psi.progress = false` spares it
    /// the runs of a session.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The policy.
    pub fn party(&self) -> &Arc<Party> {
        &self.party
    }

    /// The books.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// This party as the one that asks that peer: itself, or what [`unnamed`](Self::unnamed) has made of it.
    pub(super) fn who_asks(self: &Arc<Self>, peer: &str) -> Arc<Asker> {
        self.unnamed_peers().get(peer).map_or_else(|| Arc::clone(self), Arc::clone)
    }

    /// This party as one that asks a peer which its policy does not name, on its policy's terms for such peers. The
    /// same books are opened once more: their file is what counts. Blocks on the disk.
    ///
    /// # Errors
    /// As [`Party::with_unnamed`]; `Environment` where books or certificate cannot be read.
    pub(super) fn unnamed(&self, peer: &UnnamedPeer) -> Result<Arc<Asker>, Error> {
        let party = Arc::new(self.party.with_unnamed(peer)?);
        let mut known = self.unnamed_peers();
        if let Some(before) = known.get(&peer.name)
            && before.party.peers == party.peers
        {
            return Ok(Arc::clone(before));
        }
        if known.contains_key(&peer.name) {
            return Err(Error::Caller(format!(
                "this session knows a peer '{}' with another address or certificate already, and its tables would be asked \
                 there: choose another psi.name for this one",
                peer.name
            )));
        }
        let budgets = self.budgets.of(&party)?;
        let asker = Arc::new(Asker::new(party, budgets)?.with_observer(Arc::clone(&self.observer)));
        known.insert(peer.name.clone(), Arc::clone(&asker));
        Ok(asker)
    }

    /// Every balance: of the policy's accounts, and of those with peers that analysts have named in this session.
    pub(super) fn balances(&self) -> Result<Vec<Balance>, Error> {
        let mut balances = self.budgets.balances()?;
        for asker in self.unnamed_peers().values() {
            balances.extend(asker.budgets.balances()?);
        }
        Ok(balances)
    }

    fn unnamed_peers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Asker>>> {
        // Whole after every single operation.
        self.unnamed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The catalog of one peer.
    pub(super) fn catalog(&self, peer: &str) -> Result<Arc<dyn PeerCatalog>, Error> {
        Ok(Arc::new(LinkedPeer { link: Arc::clone(self.link(peer)?), listed: Arc::clone(&self.listed) }))
    }

    /// Each peer as a schema, the same for every session.
    pub fn schemas(&self) -> Vec<Arc<PeerSchema>> {
        self.schemas.clone()
    }

    /// What every peer shares, by peer: the names of the tables, or why it cannot be said. For a check of the way there.
    pub async fn ask_all_for_shares(&self) -> Vec<(String, Result<Vec<String>, Error>)> {
        let mut answers = Vec::with_capacity(self.peers.len());
        for (name, link) in &self.peers {
            let shares = link.shares().await;
            let tables = shares.map(|shares| shares.into_iter().map(|shared| shared.terms.table).collect());
            answers.push((name.clone(), tables));
        }
        answers
    }

    /// Who signs the receipts of sessions with a peer.
    pub(super) fn witness(&self, peer: &str) -> Option<Witness> {
        self.keys.witness(&self.party, peer)
    }

    /// The certificates that a peer is known by, as SHA-256 in hexadecimal. Blocks on the disk.
    pub(super) fn fingerprints(&self, peer: &str) -> Vec<String> {
        self.keys.pins.fingerprints(peer)
    }

    /// What the peers share, as each listed it last in this session.
    pub(super) fn listed_shares(&self) -> Vec<(String, ShareTerms)> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.iter().flat_map(|(peer, shares)| shares.iter().map(|terms| (peer.clone(), terms.clone()))).collect()
    }

    /// The way to a peer.
    pub(super) fn link(&self, peer: &str) -> Result<&Arc<dyn PeerLink>, Error> {
        self.peers.get(peer).ok_or_else(|| {
            Error::Caller(format!(
                "'{}' knows no peer '{peer}': add a [[peer]] of that name to party.toml",
                self.party.name
            ))
        })
    }

    pub(super) fn observer(&self) -> &Arc<dyn Observer> {
        &self.observer
    }

    /// Waits of one session: what the analyst set, never longer than the policy's.
    pub(super) fn deadlines(&self, stall_seconds: u64, timeout_seconds: u64) -> Deadlines {
        let policy = deadlines(&self.party);
        Deadlines {
            idle: policy.idle.min(std::time::Duration::from_secs(stall_seconds.max(1))),
            session: policy.session.min(std::time::Duration::from_secs(timeout_seconds.max(1))),
            ..policy
        }
    }

    /// The length of a peer's table when it was last asked.
    pub(super) fn known_length(&self, peer: &str, table: &str) -> Option<u64> {
        self.lengths().get(&(peer.to_owned(), table.to_owned())).copied()
    }

    pub(super) fn keep_length(&self, peer: &str, table: &str, entries: u64) {
        self.lengths().insert((peer.to_owned(), table.to_owned()), entries);
    }

    fn lengths(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        // Whole after every single operation.
        self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waits that a party's policy sets, for asking and for answering.
pub(crate) fn deadlines(party: &Party) -> Deadlines {
    Deadlines {
        connect: party.limits.connect_max,
        idle: party.limits.stall_max,
        session: party.limits.session_max,
        ..Deadlines::default()
    }
}

/// A peer as planning sees it.
#[derive(Debug)]
struct LinkedPeer {
    link: Arc<dyn PeerLink>,
    listed: Listed,
}

#[async_trait]
impl PeerCatalog for LinkedPeer {
    fn name(&self) -> &str {
        self.link.name()
    }

    async fn share(&self, table: &str) -> Result<Option<Arc<SharedTable>>, Error> {
        let shares = self.link.shares().await?;
        let terms = shares.iter().map(|shared| shared.terms.clone()).collect();
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name().to_owned(), terms);
        let found = shares.into_iter().find(|shared| shared.terms.table == table);
        Ok(found.map(Arc::new))
    }

    fn known_tables(&self) -> Vec<String> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.get(self.name()).into_iter().flatten().map(|terms| terms.table.clone()).collect()
    }
}
