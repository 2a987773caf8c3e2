//! The ledger's file: its tables, how it is made, and what is checked before it is trusted.
//!
//! `audit` is all there is to know about what was spent; `running` only says which of its sessions have not
//! ended, and no budget depends on it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::super::party::Party;
use super::clock::millis;
use super::error::{Trouble, file_trouble, missing};
use super::{Clock, chain};
use crate::psi;

/// `dpsl` in ASCII: says whose file it is.
pub(super) const APPLICATION_ID: i64 = 0x6470_736c;
/// The version of the tables below, and of the hash over their rows.
pub(super) const VERSION: i64 = 1;
/// How long one process waits for another's transaction.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// The file's name in the folder `state`.
const FILE: &str = "ledger.sqlite";

const TABLES: &str = "
CREATE TABLE ledger (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    party    TEXT NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 32),  -- random: the chains of no two ledgers are alike
    made_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    peer           TEXT NOT NULL,
    seq            INTEGER NOT NULL,  -- the event's number in the peer's chain, from 1
    event          TEXT NOT NULL CHECK (event IN ('charged', 'refunded', 'ended', 'approved', 'withdrawn', 'forgiven')),
    at_ms          INTEGER NOT NULL,
    session        BLOB CHECK (length(session) = 16),
    direction      TEXT CHECK (direction IN ('answering', 'asking')),
    population     TEXT,
    question       TEXT,
    terms          TEXT,
    persons_own    INTEGER,
    persons_peer   INTEGER,
    persons_larger INTEGER,           -- what the default delta was computed from
    tau            INTEGER,
    tau_booked     INTEGER,
    columns        INTEGER,
    outputs        TEXT,              -- what the query used of the output budget
    padding        TEXT,              -- what the query used for its announced length
    sizes          TEXT,
    dummies        INTEGER,
    outcome        TEXT,
    millis         INTEGER,
    bytes_out      INTEGER,
    bytes_in       INTEGER,
    receipt        TEXT,
    receipt_own    BLOB,
    receipt_peer   BLOB,
    salt           BLOB NOT NULL CHECK (length(salt) = 16),
    hash           BLOB NOT NULL CHECK (length(hash) = 32),
    UNIQUE (peer, seq),
    UNIQUE (session, event)
) STRICT;
-- All that a balance needs, so that it reads no row of the table: every charge adds up its account's history.
CREATE INDEX audit_accounts
    ON audit (peer, population, direction, at_ms, tau_booked, outputs, padding, columns, persons_larger, session)
    WHERE event = 'charged';
CREATE INDEX audit_refunds ON audit (session) WHERE event = 'refunded';
-- No protection against an attacker, who can drop them; against every mistake.
CREATE TRIGGER audit_changes BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are for ever'); END;
CREATE TRIGGER audit_deletes BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit rows are for ever'); END;

CREATE TABLE running (
    session  BLOB PRIMARY KEY CHECK (length(session) = 16),
    instance BLOB NOT NULL CHECK (length(instance) = 8),
    state    TEXT NOT NULL CHECK (state IN ('open', 'spent', 'refunded'))
) STRICT;

CREATE TABLE told (                   -- heads that a peer may have been told: the last confirmed one, and all since
    peer TEXT NOT NULL,
    seq  INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (peer, seq)
) STRICT;

CREATE TABLE kept (                   -- heads that peers told us of their own chains
    peer  TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    hash  BLOB NOT NULL CHECK (length(hash) = 32),
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (peer, seq)
) STRICT;

CREATE TABLE approvals (
    id          TEXT PRIMARY KEY,
    peer        TEXT NOT NULL,
    question    TEXT NOT NULL,
    terms       TEXT NOT NULL,
    digest      BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    asked_ms    INTEGER NOT NULL,
    approved_ms INTEGER
) STRICT;
";

/// Where a party's ledger is.
pub(super) fn path(party: &Party) -> PathBuf {
    party.state.join(FILE)
}

/// Sets a connection up. Rollback journal and `synchronous = EXTRA`: when COMMIT returns, the file, and the folder
/// from which the journal went, are on the disk, and the one file is the whole ledger. (With a write-ahead log a commit
/// is as durable, and one `fsync` instead of four, but it lives in a second file: whoever copies the first alone, or deletes
/// the second, loses the newest charges in silence, and that is the one thing that a ledger must not do. A query
/// takes seconds, a transaction some ten milliseconds.)
fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_MAX)?;
    let _: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
    connection.execute_batch(
        "PRAGMA synchronous = EXTRA; PRAGMA fullfsync = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )
}

/// Writes the tables of a new ledger.
pub(super) fn fill(connection: &mut Connection, party: &str, clock: &dyn Clock) -> Result<(), Trouble> {
    prepare(connection)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO ledger (id, party, identity, made_ms) VALUES (1, ?1, ?2, ?3)",
        params![party, chain::random::<32>()?, millis(clock.now())],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Makes a new, empty ledger, readable by its owner alone. It appears whole or not at all, and never in the
/// place of another one.
pub(super) fn create(party: &Party, clock: &dyn Clock) -> Result<(), psi::Error> {
    let path = path(party);
    let place = path.display().to_string();
    let exists = || {
        psi::Error::Caller(format!(
            "there is a ledger at {place} already: a new one would forget what was spent. If it is damaged, restore a copy; \
             if all that it says may be forgotten, move it away first"
        ))
    };
    let at = |error: &std::io::Error| file_trouble(&path, error);
    make_folder(&party.state).map_err(|error| at(&error))?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(exists());
    }
    let suffix = u64::from_le_bytes(chain::random::<8>().map_err(|trouble| trouble.told(&place))?);
    let draft = party.state.join(format!("{FILE}.new-{suffix:016x}"));
    let made = (|| {
        private(OpenOptions::new().write(true).create_new(true)).open(&draft).map_err(|error| at(&error))?;
        let mut connection = connect(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| error.told(&place))?;
        fill(&mut connection, &party.name, clock).map_err(|error| error.told(&place))?;
        drop(connection);
        // A link, where a rename would replace a ledger that appeared in the meantime.
        match fs::hard_link(&draft, &path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists()),
            // A file system without links.
            Err(_) if fs::symlink_metadata(&path).is_err() => fs::rename(&draft, &path).map_err(|error| at(&error)),
            Err(_) => Err(exists()),
        }?;
        sync_folder(&party.state).map_err(|error| at(&error))
    })();
    let _ = fs::remove_file(&draft);
    made
}

/// Opens a party's ledger and checks everything about it, but the age of the copy.
pub(super) fn open(party: &Party) -> Result<Connection, psi::Error> {
    let path = path(party);
    match fs::metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(&path, &party.file)),
        Err(error) => return Err(file_trouble(&path, &error)),
    }
    tighten(&path);
    let told = |trouble: Trouble| trouble.told(&path.display().to_string());
    let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(told)?;
    prepare(&connection).map_err(|error| told(error.into()))?;
    check(&connection, &party.name).map_err(told)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Trouble> {
    // Without CREATE: what is missing stays missing. Each connection stays behind one lock.
    Ok(Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

/// Whether the file is a whole ledger of this party, and every chain in it holds.
fn check(connection: &Connection, party: &str) -> Result<(), Trouble> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application != APPLICATION_ID {
        return Err(Trouble::Damaged("it is not a ledger of datafusion-psi".to_owned()));
    }
    if version != VERSION {
        return Err(psi::Error::Environment(format!(
            "the ledger is of version {version}, and this program writes version {VERSION}: use the program that wrote it"
        ))
        .into());
    }
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(Trouble::Damaged(found.replace('\n', " ")));
    }
    let owner: String = connection.query_row("SELECT party FROM ledger", [], |row| row.get(0))?;
    if owner != party {
        return Err(psi::Error::Caller(format!(
            "the ledger belongs to party '{owner}', and this is '{party}': give each party a folder `state` of its own"
        ))
        .into());
    }
    chain::verify(connection)?;
    Ok(())
}

/// Makes the folder, for its owner alone. One that was there is narrowed where nothing else is in it.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        if fs::read_dir(folder)?.next().is_none() {
            set_mode(folder, 0o700)?;
        }
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A file that nobody else reads.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Takes from others what a copy may have given them. Where that fails, opening for writing says so.
fn tighten(path: &Path) {
    #[cfg(unix)]
    if fs::metadata(path).is_ok_and(|found| std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o077 != 0)
    {
        tracing::warn!(path = %path.display(), "others could read the ledger; now only its owner can");
        if let Err(error) = set_mode(path, 0o600) {
            tracing::warn!(path = %path.display(), %error, "the ledger's permissions could not be narrowed");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    #[cfg(unix)]
    return fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    {
        let _ = (path, mode);
        Ok(())
    }
}

/// Puts a new name on the disk.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
