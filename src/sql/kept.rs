//! The prepared tables that are kept for the next question.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::ahead::TableAhead;
use super::scan::RowOrder;
use super::tables::TableVersion;
use crate::psi::normalise::Normaliser;
use crate::psi::prepare::PreparedTable;

/// Prepared tables that are kept: a party's few most asked (peer, table, identifiers). Each holds its table's identifiers
/// and 4 bytes per row in memory, and what was blinded of it ahead.
const PREPARED_MAX: usize = 8;
/// Of these, so many for one peer.
const PREPARED_PER_PEER_MAX: usize = 4;

/// What persons depend on, and nothing else: two queries that agree in it share them, whatever they filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreparedKey {
    /// Kept for each peer by itself: how fast one is answered must not tell what another has asked.
    pub(super) peer: String,
    pub(super) table: String,
    pub(super) version: TableVersion,
    pub(super) identifiers: Vec<(Vec<String>, Normaliser)>,
}

/// A table's persons.
pub(super) struct Prepared {
    pub(super) table: PreparedTable,
    pub(super) unnormalised: u64,
    /// The columns that it was prepared from, and their rows' order: the rows of a later query must come in the same.
    pub(super) columns: Vec<String>,
    pub(super) order: RowOrder,
    /// Its identifiers, blinded for the next session.
    pub(super) ahead: Arc<TableAhead>,
}

/// A prepared table, or one that is being prepared: who asks for it meanwhile waits for the same.
pub(super) type Place = Arc<OnceCell<Arc<Prepared>>>;

/// The prepared tables that are kept, the latest asked first.
#[derive(Default)]
pub(super) struct KeptTables(Mutex<Vec<(PreparedKey, Place)>>);

impl KeptTables {
    /// The place of a prepared table among the few that are kept, moved to the front.
    pub(super) fn place(&self, key: &PreparedKey) -> Place {
        // Whole after every single operation.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match kept.iter().position(|(known, _)| known == key) {
            Some(index) => kept.remove(index).1,
            None => Arc::default(),
        };
        kept.insert(0, (key.clone(), Arc::clone(&place)));
        // Older versions of the table will not be asked for again.
        kept.retain(|(known, _)| known.table != key.table || known.version == key.version);
        let mut of_peer = 0;
        kept.retain(|(known, _)| {
            of_peer += usize::from(known.peer == key.peer);
            known.peer != key.peer || of_peer <= PREPARED_PER_PEER_MAX
        });
        kept.truncate(PREPARED_MAX);
        place
    }
}
