//! What can go wrong with the ledger's file, in the words of those who have to mend it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::dp::BudgetRefusal;
use crate::psi::{self, PeerMisbehaved};

/// Why something was not read or written.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file, the disk, another process.
    Sql(rusqlite::Error),
    /// The file is not what this party wrote.
    Damaged(String),
    /// The budget does not allow it.
    Refused(BudgetRefusal),
    /// Already in the words of a session.
    Said(psi::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Sql(error)
    }
}

impl From<BudgetRefusal> for Trouble {
    fn from(refusal: BudgetRefusal) -> Self {
        Trouble::Refused(refusal)
    }
}

impl From<psi::Error> for Trouble {
    fn from(error: psi::Error) -> Self {
        Trouble::Said(error)
    }
}

impl Trouble {
    /// As a session's error. `place` is the ledger's file, in words.
    pub(super) fn told(self, place: &str) -> psi::Error {
        match self {
            Trouble::Sql(error) if is_damage(&error) => damaged(place, &error.to_string()),
            Trouble::Sql(error) => psi::Error::Environment(format!("the ledger {place}: {}", words(&error))),
            Trouble::Damaged(what) => damaged(place, &what),
            Trouble::Refused(refusal) => budget_refused(refusal),
            Trouble::Said(error) => error,
        }
    }

    /// As the error of a running session, which the peer may come to hear: without the name of a file, which goes to
    /// this party's log.
    pub(super) fn in_session(self, place: &str) -> psi::Error {
        let short = match &self {
            Trouble::Sql(error) if is_damage(error) => "it is damaged",
            Trouble::Sql(error) => trouble_of(error),
            Trouble::Damaged(_) => "it is damaged",
            Trouble::Refused(_) | Trouble::Said(_) => return self.told(place),
        };
        let short = format!("the ledger cannot be used: {short}; the log of the party whose it is says more");
        tracing::error!("{}", self.told(place));
        psi::Error::Environment(short)
    }

    /// As the refusal of a charge.
    pub(super) fn refused(self, place: &str) -> BudgetRefusal {
        match self {
            Trouble::Refused(refusal) => refusal,
            other => BudgetRefusal::NotRecorded(other.in_session(place).to_string()),
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(code, _) => matches!(code.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase),
        // Values of a type that this program never writes.
        E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) => true,
        E::QueryReturnedNoRows => true,
        _ => false,
    }
}

/// What is wrong, in a few words that name nothing of this machine.
fn trouble_of(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "its disk is full",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "it cannot be written",
        Some(ErrorCode::CannotOpen) => "it cannot be opened",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another process kept it locked for too long",
        _ => "reading or writing it failed",
    }
}

fn words(error: &rusqlite::Error) -> String {
    let code = error.sqlite_error_code();
    match code {
        Some(ErrorCode::DiskFull) => "the disk is full: make room on it".to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "it cannot be written: check the permissions of the file and of its folder, and whether the disk is read-only"
                .to_owned()
        }
        Some(ErrorCode::CannotOpen) => {
            "it cannot be opened: check the permissions of the file and of its folder".to_owned()
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process kept it locked for too long: try again, and see which process holds it".to_owned()
        }
        Some(ErrorCode::SystemIoFailure) => format!("the disk reports an error: {error}"),
        _ => error.to_string(),
    }
}

/// The file cannot be trusted any more.
fn damaged(place: &str, what: &str) -> psi::Error {
    psi::Error::Environment(format!(
        "the ledger {place} is damaged: {what}; nothing is asked or answered without it. Restore the newest copy of it; \
         a new one would forget what was spent, and the peers notice either"
    ))
}

/// There is no ledger.
pub(super) fn missing(path: &Path, config: &Path) -> psi::Error {
    psi::Error::Environment(format!(
        "there is no ledger at {}: nothing is asked or answered without the record of what was spent. Restore it from a copy; \
         or, if this party is new, create one by `datafusion-psi ledger --create --config {}`",
        path.display(),
        config.display()
    ))
}

/// A file or folder of the ledger that could not be made or read.
pub(super) fn file_trouble(path: &Path, error: &std::io::Error) -> psi::Error {
    psi::Error::Environment(format!("the ledger {}: {error}", path.display()))
}

/// How a message names the ledger.
pub(super) fn place(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string())
}

/// A refusal of the books as the session's error, whoever's fault it is.
pub fn budget_refused(refusal: BudgetRefusal) -> psi::Error {
    refused_with_more(refusal, None)
}

/// The same, with the lines of the policy that would allow more, where whoever reads it may know them.
pub(super) fn refused_with_more(refusal: BudgetRefusal, more: Option<&str>) -> psi::Error {
    let renewal = |renews: Option<String>| match (renews, more) {
        (Some(when), None) => format!("and it renews on {when}"),
        (Some(when), Some(more)) => format!("and it renews on {when}; {more}"),
        (None, None) => "and it does not renew: its owner would have to allow more in party.toml".to_owned(),
        (None, Some(more)) => format!("and it does not renew; {more}"),
    };
    match refusal {
        BudgetRefusal::Exhausted { peer, population, queries_max, renews } => psi::Error::Refused(format!(
            "the budget for peer '{peer}' and population '{population}' is used up, {queries_max} of {queries_max} queries, {}",
            renewal(renews)
        )),
        BudgetRefusal::Composed { peer, population, delta, delta_max, renews } => psi::Error::Refused(format!(
            "the budget for peer '{peer}' and population '{population}' cannot pay for this query: it would bring delta to {delta:.2e}, \
             above {delta_max:.2e}, {}",
            renewal(renews)
        )),
        BudgetRefusal::Replayed { session } => psi::Error::Peer(PeerMisbehaved::Replayed(session)),
        BudgetRefusal::NotRecorded(_) => psi::Error::Environment(refusal.to_string()),
        BudgetRefusal::ChangedTerms { .. } => match more {
            Some(more) => psi::Error::Refused(format!("{refusal}; {more}")),
            None => psi::Error::Refused(refusal.to_string()),
        },
        _ => psi::Error::Refused(refusal.to_string()),
    }
}
