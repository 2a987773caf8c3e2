//! One open ledger: transactions, and the time that never runs back.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Clock;
use super::clock::{millis, time};
use super::error::{Trouble, place};
use super::instance::Instance;

/// A clock that is further behind than this is worth a warning.
const BEHIND_MILLIS_MAX: i64 = 60_000;

/// A step of a write, for tests that stop there.
#[cfg(test)]
pub(super) type Watch = Box<dyn FnMut(Step) + Send>;

/// Where a charge is, or another write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It was computed from what the ledger said, and nobody else waits for it.
    Composed,
    /// It has the lock.
    Begun,
    /// Its rows are written.
    Written,
    /// They are on the disk.
    Committed,
}

/// The file, and what goes with it.
pub(super) struct Ledger {
    pub(super) path: Option<PathBuf>,
    connection: Mutex<Connection>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) identity: [u8; 32],
    pub(super) instance: Mutex<Instance>,
    #[cfg(test)]
    pub(super) watch: Mutex<Option<Watch>>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Whole after every operation: a transaction that a panic leaves is rolled back.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    pub(super) fn new(connection: Connection, path: Option<PathBuf>, clock: Arc<dyn Clock>) -> Result<Self, Trouble> {
        let identity = connection.query_row("SELECT identity FROM ledger", [], |row| row.get(0))?;
        Ok(Ledger {
            instance: Mutex::new(Instance::new(path.clone())),
            path,
            connection: Mutex::new(connection),
            clock,
            identity,
            #[cfg(test)]
            watch: Mutex::new(None),
        })
    }

    /// The file, as messages name it.
    pub(super) fn place(&self) -> String {
        place(&self.path)
    }

    /// One consistent look.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut connection = locked(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let found = look(&transaction)?;
        transaction.commit()?;
        Ok(found)
    }

    /// One change, alone among all processes from its first look on, and on the disk when this returns. On an error
    /// nothing is changed.
    pub(super) fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut connection = locked(&self.connection);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.step(Step::Begun);
        let changed = change(&transaction)?;
        self.step(Step::Written);
        transaction.commit()?;
        self.step(Step::Committed);
        Ok(changed)
    }

    /// The clock's time, or that of the newest event where the clock is behind it.
    pub(super) fn now(&self, connection: &Connection) -> Result<DateTime<Utc>, Trouble> {
        let latest: Option<i64> =
            connection.query_row("SELECT (SELECT at_ms FROM audit ORDER BY id DESC LIMIT 1)", [], |row| row.get(0))?;
        let now = millis(self.clock.now());
        let latest = latest.unwrap_or(now);
        if latest.saturating_sub(now) > BEHIND_MILLIS_MAX {
            tracing::warn!(
                "the clock is {} s behind the ledger's newest event: no budget renews before it has caught up",
                (latest - now) / 1000
            );
        }
        Ok(time(now.max(latest)))
    }

    #[cfg(test)]
    pub(super) fn step(&self, step: Step) {
        if let Some(watch) = locked(&self.watch).as_mut() {
            watch(step);
        }
    }

    #[cfg(not(test))]
    pub(super) fn step(&self, _: Step) {}

    #[cfg(test)]
    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        locked(&self.connection)
    }
}
