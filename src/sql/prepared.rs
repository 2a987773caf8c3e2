//! Prepared tables that are kept between questions, within the memory that the policy allows.
//!
//! Each has what it holds set aside in the engine's pool, beside the sessions' own. Where something finds no room there,
//! what was blinded ahead ([`ahead`](super::ahead)) goes first, then tables that nobody is asking about at the moment: the asking peer's own, longest unasked first, then the
//! others'. So one peer hears of another's questions, by a slow answer, only where the memory does not suffice for both.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::error::Result as EngineResult;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use tokio::sync::OnceCell;

use super::ahead::{Ahead, TableAhead};
use super::scan::RowOrder;
use super::tables::TableVersion;
use crate::psi::normalise::Normaliser;
use crate::psi::prepare::PreparedTable;

/// So many are kept for one peer.
const PREPARED_PER_PEER_MAX: usize = 4;

/// What persons depend on, and nothing else: two questions that agree in it share them, whatever they filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreparedKey {
    /// Kept for each peer by itself: how fast one is answered must not tell what another has asked.
    pub(super) peer: String,
    pub(super) table: String,
    pub(super) version: TableVersion,
    pub(super) identifiers: Vec<(Vec<String>, Normaliser)>,
}

/// A table's persons, and the room that they have in the pool until this is dropped.
pub(super) struct Prepared {
    pub(super) table: PreparedTable,
    pub(super) unnormalised: u64,
    /// The columns that it was prepared from, and their rows' order: the rows of a later query must come in the same.
    pub(super) columns: Vec<String>,
    pub(super) order: RowOrder,
    /// As large as the table.
    pub(super) memory: MemoryReservation,
    /// Its identifiers, blinded for the next session.
    pub(super) ahead: Arc<TableAhead>,
}

/// A prepared table, or one that is being prepared: who asks for it meanwhile waits for the same.
pub(super) type Place = Arc<OnceCell<Arc<Prepared>>>;

/// The prepared tables that are kept, the latest asked first.
pub(super) struct PreparedTables {
    pool: Arc<dyn MemoryPool>,
    kept: Mutex<Vec<(PreparedKey, Place)>>,
    /// What is blinded of them for the next sessions.
    pub(super) ahead: Ahead,
}

impl PreparedTables {
    /// None yet; in at most `ahead_mb` MB of the pool they are blinded ahead.
    pub(super) fn new(pool: &Arc<dyn MemoryPool>, ahead_mb: u64) -> Self {
        PreparedTables { pool: Arc::clone(pool), kept: Mutex::default(), ahead: Ahead::new(ahead_mb, pool) }
    }

    /// The place of a prepared table among those that are kept, moved to the front.
    pub(super) fn place(&self, key: &PreparedKey) -> Place {
        let mut kept = self.kept();
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
        place
    }

    /// Room for what is read of a table, none of it yet.
    pub(super) fn reading(self: &Arc<Self>, table: &str, peer: &str) -> Arc<Room> {
        let held = MemoryConsumer::new(format!("table '{table}'")).register(&self.pool);
        Arc::new(Room { tables: Arc::clone(self), peer: peer.to_owned(), held })
    }

    /// Makes room for `more` bytes of what `peer` asks for: by giving up what was blinded ahead, else by dropping the prepared
    /// table that would be missed the least. Whether that is worth another try.
    pub(super) fn make_room(&self, peer: &str, more: usize) -> bool {
        let mut kept = self.kept();
        let unused = |(_, place): &(PreparedKey, Place)| {
            // Whoever is about to use it holds the place or the table; places are handed out under this lock.
            Arc::strong_count(place) == 1 && place.get().is_some_and(|prepared| Arc::strong_count(prepared) == 1)
        };
        if let MemoryLimit::Finite(limit) = self.pool.memory_limit() {
            let sizes = kept.iter().filter(|entry| unused(entry)).filter_map(|(_, place)| place.get());
            let droppable = self.ahead.bytes() + sizes.map(|prepared| prepared.memory.size()).sum::<usize>();
            // What does not fit anyway must not cost the others theirs.
            if more > limit.saturating_sub(self.pool.reserved()).saturating_add(droppable) {
                return false;
            }
        }
        if self.ahead.give_up() {
            return true;
        }
        let own = kept.iter().rposition(|entry| entry.0.peer == peer && unused(entry));
        let Some(index) = own.or_else(|| kept.iter().rposition(unused)) else { return false };
        let (key, dropped) = kept.remove(index);
        drop(dropped);
        tracing::info!(table = key.table, peer = key.peer, "a prepared table has made room");
        true
    }

    /// Bytes of all that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.kept().iter().filter_map(|(_, place)| place.get()).map(|prepared| prepared.memory.size()).sum()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(PreparedKey, Place)>> {
        // Whole after every single operation.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PreparedTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTables").finish_non_exhaustive()
    }
}

/// Room in the pool for what one peer's question reads of a table, given back when it is dropped.
pub(super) struct Room {
    tables: Arc<PreparedTables>,
    peer: String,
    held: MemoryReservation,
}

impl Room {
    /// So many bytes more.
    ///
    /// # Errors
    /// Where the pool has not so much left.
    pub(super) fn grow(&self, more: usize) -> EngineResult<()> {
        loop {
            match self.held.try_grow(more) {
                Err(_) if self.tables.make_room(&self.peer, more) => {}
                done => return done,
            }
        }
    }

    /// So many bytes in all. Not while anybody else grows it.
    ///
    /// # Errors
    /// Where the pool has not so much left.
    pub(super) fn resize(&self, bytes: usize) -> EngineResult<()> {
        match bytes.checked_sub(self.held.size()) {
            Some(more) => self.grow(more),
            None => self.held.try_resize(bytes),
        }
    }

    /// What is set aside, for somebody else to hold.
    pub(super) fn take(&self) -> MemoryReservation {
        self.held.split(self.held.size())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::LargeBinaryArray;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;
    use crate::psi::prepare::prepare;

    const BYTES: usize = 1000;

    fn key(peer: &str, table: &str) -> PreparedKey {
        let identifiers = vec![(vec!["email".to_owned()], "email/1".parse().unwrap())];
        PreparedKey { peer: peer.to_owned(), table: table.to_owned(), version: TableVersion::default(), identifiers }
    }

    fn tables(limit: usize) -> Arc<PreparedTables> {
        Arc::new(PreparedTables::new(&(Arc::new(GreedyMemoryPool::new(limit)) as Arc<dyn MemoryPool>), 0))
    }

    /// Prepares a table that takes `BYTES` and is kept; who asks has it as long as what comes back.
    fn ask(tables: &Arc<PreparedTables>, peer: &str, table: &str) -> Arc<Prepared> {
        let place = tables.place(&key(peer, table));
        if let Some(prepared) = place.get() {
            return Arc::clone(prepared);
        }
        let room = tables.reading(table, peer);
        room.grow(2 * BYTES).unwrap();
        room.resize(BYTES).unwrap();
        let persons = prepare(vec![LargeBinaryArray::from_iter_values([b"a"])]).unwrap();
        let (columns, order, memory) = (Vec::new(), RowOrder::default(), room.take());
        let ahead = Arc::new(TableAhead::new(table, persons.identifiers()));
        let prepared = Arc::new(Prepared { table: persons, unnormalised: 0, columns, order, memory, ahead });
        place.set(Arc::clone(&prepared)).unwrap_or_else(|_| panic!("prepared twice"));
        prepared
    }

    fn kept(tables: &PreparedTables) -> Vec<String> {
        tables.kept().iter().map(|(key, _)| format!("{}.{}", key.peer, key.table)).collect()
    }

    #[test]
    fn tables_are_kept_until_others_need_the_room_and_then_go_the_askers_own_first_longest_unasked_first() {
        let tables = tables(5 * BYTES);
        for (peer, table) in [("b", "y"), ("a", "y"), ("a", "x"), ("a", "y")] {
            ask(&tables, peer, table);
        }
        assert_eq!(kept(&tables), ["a.y", "a.x", "b.y"]);
        assert_eq!(tables.pool.reserved(), 3 * BYTES);
        // Needs twice its size for a moment.
        ask(&tables, "a", "z");
        assert_eq!(kept(&tables), ["a.z", "a.y", "a.x", "b.y"]);
        ask(&tables, "a", "w");
        assert_eq!(kept(&tables), ["a.w", "a.z", "a.y", "b.y"], "a.x was longest unasked of a's");
        ask(&tables, "c", "x");
        assert_eq!(kept(&tables), ["c.x", "a.w", "a.z", "a.y"], "c had none of its own");
        assert_eq!(tables.pool.reserved(), tables.bytes());
    }

    #[test]
    fn a_table_that_somebody_uses_or_prepares_stays() {
        let tables = tables(3 * BYTES);
        let used = ask(&tables, "a", "x");
        let preparing = tables.place(&key("a", "y"));
        assert!(!tables.make_room("a", 3 * BYTES));
        drop(preparing);
        assert!(!tables.make_room("a", 3 * BYTES), "never prepared, it holds nothing");
        drop(used);
        assert!(tables.make_room("a", 3 * BYTES));
        assert_eq!(tables.pool.reserved(), 0);
    }

    #[test]
    fn what_does_not_fit_anyway_costs_nobody_a_table() {
        let tables = tables(5 * BYTES);
        ask(&tables, "a", "x");
        ask(&tables, "b", "x");
        let room = tables.reading("large", "a");
        assert!(room.grow(5 * BYTES + 1).is_err());
        assert_eq!(kept(&tables), ["b.x", "a.x"]);
        room.grow(5 * BYTES).unwrap();
        assert_eq!((kept(&tables).len(), tables.pool.reserved()), (0, 5 * BYTES));
        drop(room);
        assert_eq!(tables.pool.reserved(), 0);
    }

    #[test]
    fn one_peer_keeps_four_whatever_others_ask() {
        let tables = tables(100 * BYTES);
        for table in ["1", "2", "3", "4", "5"] {
            ask(&tables, "a", table);
            ask(&tables, "b", table);
        }
        assert_eq!(kept(&tables), ["b.5", "a.5", "b.4", "a.4", "b.3", "a.3", "b.2", "a.2"]);
        assert_eq!(tables.pool.reserved(), 8 * BYTES);
    }
}
