//! The chain of one peer's events: how a row is hashed, added and checked.
//!
//! hash = the first 32 bytes of SHA-512(domain, padded to 32 bytes ‖ hash before ‖ number of fields ‖ fields), each
//! field as a byte for its type and, but for null and whole numbers, its length before its bytes; numbers are 8
//! bytes, little-endian. So no two rows have the same input. Before the first event stands the same hash
//! over the ledger's random identity and the peer's name.
//!
//! Every row holds 16 random bytes, or its hash would be a test for guesses: the peer, which is told the
//! hash, knows most of the rest, and a number of persons that padding hides from it has few possible values.

use std::collections::BTreeMap;

use rusqlite::types::{Type, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params, params_from_iter};
use sha2::{Digest, Sha512};

use super::ChainLink;
use super::error::Trouble;
use crate::psi;

const EVENT_DOMAIN: &[u8] = b"datafusion-psi/1/audit";
const BEGIN_DOMAIN: &[u8] = b"datafusion-psi/1/audit-begin";

/// The hashed columns of `audit`, in this order.
pub(super) const COLUMNS: [&str; 28] = [
    "id",
    "peer",
    "seq",
    "event",
    "at_ms",
    "session",
    "direction",
    "population",
    "question",
    "terms",
    "persons_own",
    "persons_peer",
    "persons_larger",
    "tau",
    "tau_booked",
    "columns",
    "outputs",
    "padding",
    "sizes",
    "dummies",
    "outcome",
    "millis",
    "bytes_out",
    "bytes_in",
    "receipt",
    "receipt_own",
    "receipt_peer",
    "salt",
];

/// How far a peer's chain has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// The peer.
    pub peer: String,
    /// Its newest link: as many events as its number says.
    pub head: ChainLink,
}

/// Bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Trouble> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Trouble::Said(psi::Error::Environment(format!("the operating system gives no random numbers: {error}")))
    })?;
    Ok(bytes)
}

/// The first 32 bytes of SHA-512 over a domain and fields, each behind its length.
pub(super) fn digest(domain: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    let mut hash = begun(domain);
    for field in fields {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    first_half(hash)
}

fn begun(domain: &[u8]) -> Sha512 {
    let mut padded = [0; 32];
    padded[..domain.len()].copy_from_slice(domain);
    Sha512::new_with_prefix(padded)
}

fn first_half(hash: Sha512) -> [u8; 32] {
    let mut half = [0; 32];
    half.copy_from_slice(&hash.finalize()[..32]);
    half
}

/// What stands before a peer's first event.
pub(super) fn begin(identity: &[u8; 32], peer: &str) -> ChainLink {
    ChainLink { seq: 0, hash: digest(BEGIN_DOMAIN, &[identity, peer.as_bytes()]) }
}

/// The hash of an event's values, in the order of [`COLUMNS`].
fn link<'a>(before: &[u8; 32], values: impl ExactSizeIterator<Item = ValueRef<'a>>) -> [u8; 32] {
    let mut hash = begun(EVENT_DOMAIN);
    hash.update(before);
    hash.update((values.len() as u64).to_le_bytes());
    for value in values {
        match value {
            ValueRef::Null => hash.update([0]),
            ValueRef::Integer(number) => {
                hash.update([1]);
                hash.update(number.to_le_bytes());
            }
            ValueRef::Real(number) => {
                hash.update([2]);
                hash.update(number.to_bits().to_le_bytes());
            }
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                hash.update([if value.data_type() == Type::Text { 3 } else { 4 }]);
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            }
        }
    }
    first_half(hash)
}

/// The newest link of a peer's chain.
pub(super) fn head(connection: &Connection, identity: &[u8; 32], peer: &str) -> Result<ChainLink, Trouble> {
    let newest = connection
        .prepare("SELECT seq, hash FROM audit WHERE peer = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([peer], read_link)
        .optional()?;
    Ok(newest.unwrap_or_else(|| begin(identity, peer)))
}

/// A link from the columns `seq, hash`.
pub(super) fn read_link(row: &Row<'_>) -> rusqlite::Result<ChainLink> {
    Ok(ChainLink { seq: row.get::<_, i64>(0)? as u64, hash: row.get(1)? })
}

/// Adds an event to its peer's chain: `values` by column, those left out null.
pub(super) fn append(
    transaction: &Transaction<'_>,
    identity: &[u8; 32],
    peer: &str,
    mut values: BTreeMap<&'static str, Value>,
) -> Result<(), Trouble> {
    let before = head(transaction, identity, peer)?;
    let last: i64 = transaction.query_row(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0)",
        [],
        |row| row.get(0),
    )?;
    values.insert("id", (last + 1).into());
    values.insert("peer", peer.to_owned().into());
    values.insert("seq", (before.seq as i64 + 1).into());
    values.insert("salt", random::<16>()?.to_vec().into());
    let row: Vec<Value> = COLUMNS.iter().map(|column| values.remove(column).unwrap_or(Value::Null)).collect();
    debug_assert!(values.is_empty(), "no such column: {values:?}");
    let hash = link(&before.hash, row.iter().map(ValueRef::from));
    let marks = vec!["?"; COLUMNS.len() + 1].join(", ");
    transaction
        .prepare(&format!("INSERT INTO audit ({}, hash) VALUES ({marks})", COLUMNS.join(", ")))?
        .execute(params_from_iter(row.into_iter().chain([Value::Blob(hash.to_vec())])))?;
    Ok(())
}

/// Computes every chain anew and holds it against the stored hashes, and against the heads that peers were told.
pub(super) fn verify(connection: &Connection) -> Result<Vec<ChainState>, Trouble> {
    let identity: [u8; 32] = connection.query_row("SELECT identity FROM ledger", [], |row| row.get(0))?;
    let mut heads: BTreeMap<String, ChainLink> = BTreeMap::new();
    let mut statement =
        connection.prepare(&format!("SELECT {}, hash FROM audit ORDER BY peer, seq", COLUMNS.join(", ")))?;
    let mut rows = statement.query([])?;
    let mut found = 0i64;
    while let Some(row) = rows.next()? {
        let peer: String = row.get(1)?;
        let seq: i64 = row.get(2)?;
        let before = heads.get(&peer).copied().unwrap_or_else(|| begin(&identity, &peer));
        if seq as u64 != before.seq + 1 {
            let missing = before.seq + 1;
            return Err(Trouble::Damaged(format!("event {missing} of peer '{peer}' is missing from the audit")));
        }
        let values: Vec<ValueRef<'_>> = (0..COLUMNS.len()).map(|i| row.get_ref(i)).collect::<Result<_, _>>()?;
        let hash = link(&before.hash, values.into_iter());
        if hash != row.get::<_, [u8; 32]>(COLUMNS.len())? {
            let what = format!("event {seq} of peer '{peer}' was changed after it was written, or one before it");
            return Err(Trouble::Damaged(what));
        }
        heads.insert(peer, ChainLink { seq: seq as u64, hash });
        found += 1;
    }
    let written: i64 = connection.query_row(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0)",
        [],
        |row| row.get(0),
    )?;
    if written != found {
        return Err(Trouble::Damaged(format!("{written} events were written, and {found} are there")));
    }
    let mut told = connection.prepare("SELECT seq, hash, peer FROM told")?;
    let mut rows = told.query([])?;
    while let Some(row) = rows.next()? {
        let (link, peer): (ChainLink, String) = (read_link(row)?, row.get(2)?);
        let known = if link.seq == 0 {
            Some(begin(&identity, &peer).hash)
        } else {
            connection
                .prepare("SELECT hash FROM audit WHERE peer = ?1 AND seq = ?2")?
                .query_row(params![peer, link.seq as i64], |row| row.get(0))
                .optional()?
        };
        if known != Some(link.hash) {
            let what = format!("event {}, which peer '{peer}' was told of, is not in the audit", link.seq);
            return Err(Trouble::Damaged(what));
        }
    }
    Ok(heads.into_iter().map(|(peer, head)| ChainState { peer, head }).collect())
}
