//! Questions that wait for the operator's word, for shares with `approval = "required"`.
//!
//! What is approved is one exact text with one exact text of terms, for one peer: a changed bound, filter or
//! normaliser is another question. It holds until it is withdrawn, and pays for nothing: the budget still counts.

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::audit::{self, Event};
use super::clock::{millis, time};
use super::error::Trouble;
use super::ledger::Ledger;
use super::{Budgets, chain};
use crate::psi;

const DOMAIN: &[u8] = b"datafusion-psi/1/approval";
/// The most questions of one peer that wait at once: it may ask anything, and each is a row.
const WAITING_MAX: i64 = 64;
/// The characters of an id, beginning with so many.
const ID_CHARS: usize = 8;
/// Crockford's: no letter that looks like a digit.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A question that was held, or let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Its short name: lower-case letters and digits.
    pub id: String,
    /// The peer that asks.
    pub peer: String,
    /// The question's canonical text.
    pub question: String,
    /// The terms that it would be answered by.
    pub terms: String,
    /// When it was asked first.
    pub asked: DateTime<Utc>,
    /// When it was approved; `None`: it waits.
    pub approved: Option<DateTime<Utc>>,
}

/// What the operator has said to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a question that waits is not to be answered"]
pub enum Consent {
    /// Yes, to this exact text with these exact terms.
    Given,
    /// Nothing yet: it waits. [`Party::hold`](crate::policy::Party::hold) has the words for both sides.
    Waits {
        /// By this id.
        id: String,
    },
}

impl Budgets {
    /// Whether the operator has approved this exact question with these exact terms. One that was not asked before
    /// is kept for the operator to see.
    ///
    /// # Errors
    /// `Refused` where too many of the peer's questions wait. `Environment`: the ledger could not be read or written.
    pub fn approval(&self, peer: &str, question: &str, terms: &str) -> Result<Consent, psi::Error> {
        let ledger = self.ledger();
        let digest = chain::digest(DOMAIN, &[peer.as_bytes(), question.as_bytes(), terms.as_bytes()]);
        let known = self.worded(ledger.read(|look| find(look, &digest)))?;
        let known = match known {
            Some(known) => known,
            None => {
                let kept = ledger.write(|change| match find(change, &digest)? {
                    Some(known) => Ok(known),
                    None => keep(change, ledger, peer, question, terms, &digest),
                });
                self.worded(kept)?
            }
        };
        Ok(match known {
            (_, true) => Consent::Given,
            (id, false) => Consent::Waits { id },
        })
    }

    /// Lets the question of that id through from now on. The audit says so.
    ///
    /// # Errors
    /// `Caller` where there is none. `Environment`: the ledger could not be written.
    pub fn approve(&self, id: &str) -> Result<Approval, psi::Error> {
        let ledger = self.ledger();
        let done = ledger.write(|change| {
            let mut found = get(change, id)?;
            if found.approved.is_none() {
                let now = ledger.now(change)?;
                change.execute("UPDATE approvals SET approved_ms = ?2 WHERE id = ?1", params![id, millis(now)])?;
                record(change, ledger, &found, Event::Approved)?;
                found.approved = Some(now);
            }
            Ok(found)
        });
        self.worded(done)
    }

    /// Takes an approval back, or a waiting question away. Asked again, it waits again.
    ///
    /// # Errors
    /// `Caller` where there is none. `Environment`: the ledger could not be written.
    pub fn withdraw(&self, id: &str) -> Result<Approval, psi::Error> {
        let ledger = self.ledger();
        let done = ledger.write(|change| {
            let found = get(change, id)?;
            change.execute("DELETE FROM approvals WHERE id = ?1", [id])?;
            record(change, ledger, &found, Event::Withdrawn)?;
            Ok(found)
        });
        self.worded(done)
    }

    /// Every question that was held, approved ones too, oldest first.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn approvals(&self) -> Result<Vec<Approval>, psi::Error> {
        self.worded(self.ledger().read(|look| {
            let mut statement = look.prepare("SELECT * FROM approvals ORDER BY asked_ms, id")?;
            let approvals = statement.query_map([], read)?.collect::<Result<_, _>>()?;
            Ok(approvals)
        }))
    }

    /// The questions that wait, oldest first.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn pending(&self) -> Result<Vec<Approval>, psi::Error> {
        let mut waiting = self.approvals()?;
        waiting.retain(|approval| approval.approved.is_none());
        Ok(waiting)
    }
}

/// The id, and whether it is approved.
fn find(connection: &Connection, digest: &[u8; 32]) -> Result<Option<(String, bool)>, Trouble> {
    let found = connection
        .prepare("SELECT id, approved_ms IS NOT NULL FROM approvals WHERE digest = ?1")?
        .query_row([digest], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found)
}

fn get(connection: &Connection, id: &str) -> Result<Approval, Trouble> {
    connection.query_row("SELECT * FROM approvals WHERE id = ?1", [id], read).optional()?.ok_or_else(|| {
        let shown = super::super::names::shown(id);
        psi::Error::Caller(format!(
            "no question waits or was approved as '{shown}'; `datafusion-psi approve --config party.toml` lists them"
        ))
        .into()
    })
}

fn keep(
    change: &Transaction<'_>,
    ledger: &Ledger,
    peer: &str,
    question: &str,
    terms: &str,
    digest: &[u8; 32],
) -> Result<(String, bool), Trouble> {
    let waiting: i64 =
        change.query_row("SELECT count(*) FROM approvals WHERE peer = ?1 AND approved_ms IS NULL", [peer], |row| {
            row.get(0)
        })?;
    if waiting >= WAITING_MAX {
        return Err(psi::Error::Refused(format!(
            "{waiting} questions of '{peer}' wait for approval already: ask again when the operator has decided on some"
        ))
        .into());
    }
    // A peer could choose its questions so that the first characters agree; the longer name then tells them apart.
    for chars in ID_CHARS..=51 {
        let id = id(digest, chars);
        let taken = change.query_row("SELECT 1 FROM approvals WHERE id = ?1", [&id], |_| Ok(())).optional()?;
        if taken.is_none() {
            change.execute(
                "INSERT INTO approvals (id, peer, question, terms, digest, asked_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![id, peer, question, terms, digest, millis(ledger.now(change)?)],
            )?;
            return Ok((id, false));
        }
    }
    Err(psi::Error::internal("two questions of one digest").into())
}

/// The digest's first `chars` groups of five bits.
fn id(digest: &[u8; 32], chars: usize) -> String {
    let bit = |i: usize| usize::from(digest[i / 8] >> (7 - i % 8) & 1);
    (0..chars).map(|c| char::from(DIGITS[(0..5).fold(0, |value, i| 2 * value + bit(5 * c + i))])).collect()
}

fn record(change: &Transaction<'_>, ledger: &Ledger, approval: &Approval, event: Event) -> Result<(), Trouble> {
    let values = [
        ("question", Value::from(approval.question.clone())),
        ("terms", approval.terms.clone().into()),
        ("outcome", approval.id.clone().into()),
    ];
    audit::append(change, ledger, &approval.peer, event, values)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Approval> {
    Ok(Approval {
        id: row.get("id")?,
        peer: row.get("peer")?,
        question: row.get("question")?,
        terms: row.get("terms")?,
        asked: time(row.get("asked_ms")?),
        approved: row.get::<_, Option<i64>>("approved_ms")?.map(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_printable_and_prefixes_of_each_other() {
        let mut digest = [0; 32];
        digest[..5].copy_from_slice(&[0xff, 0, 0x1f, 0, 0]);
        assert_eq!(id(&digest, 8), "zw01y000");
        assert!(id(&digest, 51).starts_with(&id(&digest, 8)));
    }
}
