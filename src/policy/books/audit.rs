//! What happened, for good: the audit's events, how a session's end is recorded, and how both are read.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::clock::{millis, time};
use super::error::Trouble;
use super::ledger::{Ledger, locked};
use super::{Budgets, ChainState, Direction, chain};
use crate::psi::{self, SessionId, SignedReceipt};

/// The longest outcome that is recorded, in characters: a peer's words are among them.
const OUTCOME_CHARS_MAX: usize = 1000;
/// The outcome of a session that nobody ended.
const CRASHED: &str = "crashed: the process that ran it stopped without a word";

/// What an audit row records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A session was charged: from here on it costs, whatever becomes of it.
    Charged,
    /// Its charge was taken back, since nothing had left.
    Refunded,
    /// It came to its end, good or bad.
    Ended,
    /// The operator accepted a question.
    Approved,
    /// The operator took that back.
    Withdrawn,
    /// The operator accepted a peer's new ledger.
    Forgiven,
}

impl Event {
    /// Every event, for tables and tests that must be complete.
    pub const ALL: [Event; 6] =
        [Event::Charged, Event::Refunded, Event::Ended, Event::Approved, Event::Withdrawn, Event::Forgiven];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Event::Charged => "charged",
            Event::Refunded => "refunded",
            Event::Ended => "ended",
            Event::Approved => "approved",
            Event::Withdrawn => "withdrawn",
            Event::Forgiven => "forgiven",
        }
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a session is about, as the audit records it with the charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The session. It is charged at most once, ever.
    pub session: SessionId,
    /// The question's canonical text.
    pub question: String,
    /// The share's terms that it is answered by.
    pub terms: String,
    /// The entries that this side announces.
    pub persons_own: u64,
    /// The entries that the peer announces; `None` where they are not known yet.
    pub persons_peer: Option<u64>,
}

/// How a session ended, as the audit records it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The noisy sizes that this side saw, column by column, as far as it came.
    pub sizes: Vec<u64>,
    /// Dummies per column and party; 0 where they were never agreed.
    pub dummies: u64,
    /// The error's fault and text, where it failed.
    pub outcome: Result<(), String>,
    /// How long it took.
    pub seconds: f64,
    /// Bytes sent, and bytes received.
    pub bytes: (u64, u64),
    /// The receipt that both parties signed.
    pub receipt: Option<SignedReceipt>,
}

/// One event. What an event does not have is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// The event's number in the whole ledger, from 1.
    pub id: u64,
    /// The peer.
    pub peer: String,
    /// The event's number in the peer's chain, from 1.
    pub seq: u64,
    /// What happened.
    pub event: Event,
    /// When, by the clock or the event before, whichever is later.
    pub at: DateTime<Utc>,
    /// The session.
    pub session: Option<SessionId>,
    /// Who asked.
    pub direction: Option<Direction>,
    /// The people in question.
    pub population: Option<String>,
    /// The question's canonical text.
    pub question: Option<String>,
    /// The terms that it is, or would be, answered by.
    pub terms: Option<String>,
    /// The entries that this side announced.
    pub persons_own: Option<u64>,
    /// The entries that the peer announced.
    pub persons_peer: Option<u64>,
    /// The charge's dummies per column and party.
    pub tau: Option<u64>,
    /// What they were booked at: at most as many.
    pub tau_booked: Option<u64>,
    /// The charge's noisy sizes.
    pub columns: Option<u64>,
    /// What the query used of the output budget.
    pub outputs: Option<String>,
    /// What the query used for its announced length: epsilon and delta, or `none`.
    pub padding: Option<String>,
    /// The noisy sizes that this side saw.
    pub sizes: Option<Vec<u64>>,
    /// Dummies per column and party, as agreed.
    pub dummies: Option<u64>,
    /// `released`, `failed: …`, or `crashed: …`; of other events a remark.
    pub outcome: Option<String>,
    /// How long the session took.
    pub seconds: Option<f64>,
    /// Bytes sent.
    pub bytes_out: Option<u64>,
    /// Bytes received.
    pub bytes_in: Option<u64>,
    /// The signed receipt.
    pub receipt: Option<SignedReceipt>,
    /// The row's link in the peer's chain.
    pub hash: [u8; 32],
}

/// A session's events together: one line for those who read the audit.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditSession {
    /// What was asked and charged.
    pub charged: AuditRow,
    /// Whether the charge was taken back.
    pub refunded: bool,
    /// How it ended; `None` while it runs, and after a crash until the next start.
    pub ended: Option<AuditRow>,
}

impl Budgets {
    /// Records how a charged session ended, once.
    ///
    /// # Errors
    /// `Internal`: the session was not charged here, or has ended. `Environment`: the ledger could not be written.
    pub fn ended(&self, session: SessionId, ended: &Ended) -> Result<(), psi::Error> {
        let ledger = self.ledger();
        let done = ledger.write(|change| {
            let running = change.execute("DELETE FROM running WHERE session = ?1", [session.0])?;
            if running == 0 {
                let why = "ended in the books without running there: it was not charged, or has ended before";
                return Err(psi::Error::internal(format_args!("session {session} {why}")).into());
            }
            let sizes: Vec<String> = ended.sizes.iter().map(u64::to_string).collect();
            let outcome = match &ended.outcome {
                Ok(()) => "released".to_owned(),
                Err(why) => format!("failed: {why}").chars().take(OUTCOME_CHARS_MAX).collect(),
            };
            let mut values = BTreeMap::from([
                ("sizes", Value::from(sizes.join(" "))),
                ("dummies", number(ended.dummies)),
                ("outcome", outcome.into()),
                // The cast saturates, and makes 0 of what is no number.
                ("millis", Value::from((ended.seconds * 1e3).round() as i64)),
                ("bytes_out", number(ended.bytes.0)),
                ("bytes_in", number(ended.bytes.1)),
            ]);
            if let Some(receipt) = &ended.receipt {
                values.insert("receipt", receipt.text.clone().into());
                values.insert("receipt_own", receipt.own_signature.clone().into());
                values.insert("receipt_peer", receipt.peer_signature.clone().into());
            }
            append_of_session(change, ledger, session, Event::Ended, values)
        });
        self.worded(done)
    }

    /// Every event, oldest first.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn audit(&self) -> Result<Vec<AuditRow>, psi::Error> {
        self.worded(self.ledger().read(|look| {
            let mut statement = look.prepare("SELECT * FROM audit ORDER BY id")?;
            let rows = statement.query_map([], read)?.collect::<Result<_, _>>()?;
            Ok(rows)
        }))
    }

    /// Every session, in the order of charges.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn sessions(&self) -> Result<Vec<AuditSession>, psi::Error> {
        let mut sessions: Vec<AuditSession> = Vec::new();
        let mut places = BTreeMap::new();
        for row in self.audit()? {
            let Some(session) = row.session else { continue };
            if row.event == Event::Charged {
                places.insert(session.0, sessions.len());
                sessions.push(AuditSession { charged: row, refunded: false, ended: None });
            } else if let Some(found) = places.get(&session.0).map(|place| &mut sessions[*place]) {
                match row.event {
                    Event::Refunded => found.refunded = true,
                    _ => found.ended = Some(row),
                }
            }
        }
        Ok(sessions)
    }

    /// The receipt of a session, if it has one.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn receipt(&self, session: SessionId) -> Result<Option<SignedReceipt>, psi::Error> {
        self.worded(self.ledger().read(|look| {
            let row = look
                .query_row("SELECT * FROM audit WHERE session = ?1 AND event = 'ended'", [session.0], read)
                .optional()?;
            Ok(row.and_then(|row| row.receipt))
        }))
    }

    /// Computes every chain of the audit anew, and holds it against the stored one and against what peers were told.
    ///
    /// # Errors
    /// `Environment`: a chain does not hold, with the peer and the event from which on it does not.
    pub fn verify_chains(&self) -> Result<Vec<ChainState>, psi::Error> {
        self.worded(self.ledger().read(chain::verify))
    }
}

/// Adds an event to a peer's chain, at the ledger's time.
pub(super) fn append(
    change: &Transaction<'_>,
    ledger: &Ledger,
    peer: &str,
    event: Event,
    values: impl IntoIterator<Item = (&'static str, Value)>,
) -> Result<(), Trouble> {
    let mut values: BTreeMap<_, _> = values.into_iter().collect();
    values.insert("event", event.name().to_owned().into());
    values.insert("at_ms", millis(ledger.now(change)?).into());
    chain::append(change, &ledger.identity, peer, values)
}

/// The same of a session that was charged: peer, direction and population are those of the charge.
pub(super) fn append_of_session(
    change: &Transaction<'_>,
    ledger: &Ledger,
    session: SessionId,
    event: Event,
    mut values: BTreeMap<&'static str, Value>,
) -> Result<(), Trouble> {
    let (peer, direction, population) = change.query_row(
        "SELECT peer, direction, population FROM audit WHERE session = ?1 AND event = 'charged'",
        [session.0],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, Value>(1)?, row.get::<_, Value>(2)?)),
    )?;
    values.insert("session", session.0.to_vec().into());
    values.insert("direction", direction);
    values.insert("population", population);
    append(change, ledger, &peer, event, values)
}

/// Ends the sessions of processes that are gone. What they cost stays.
pub(super) fn end_crashed(ledger: &Ledger) -> Result<(), Trouble> {
    ledger.write(|change| {
        let instance = locked(&ledger.instance);
        let mut statement = change.prepare("SELECT session, instance FROM running ORDER BY rowid")?;
        let running: Vec<([u8; 16], [u8; 8])> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let instances: HashSet<[u8; 8]> = running.iter().map(|(_, instance)| *instance).collect();
        instance.sweep(&instances);
        let gone: HashSet<_> = instances.into_iter().filter(|id| instance.is_gone(id)).collect();
        for (session, _) in running.iter().filter(|(_, instance)| gone.contains(instance)) {
            let values = BTreeMap::from([("outcome", Value::from(CRASHED.to_owned()))]);
            append_of_session(change, ledger, SessionId(*session), Event::Ended, values)?;
            change.execute("DELETE FROM running WHERE session = ?1", params![session])?;
            tracing::warn!(session = %SessionId(*session), "a session was cut off by a crash; it stays paid");
        }
        Ok(())
    })
}

/// A count as SQLite holds it. Real ones are far below 2^63.
pub(super) fn number(count: u64) -> Value {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn read(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let strange = |column: &str, value: String| {
        rusqlite::Error::FromSqlConversionFailure(
            row.as_ref().column_index(column).unwrap_or_default(),
            rusqlite::types::Type::Text,
            format!("'{value}' in column {column}").into(),
        )
    };
    let count = |column: &str| row.get::<_, Option<i64>>(column).map(|count| count.map(|count| count.max(0) as u64));
    let text = |column: &str| row.get::<_, Option<String>>(column);
    let event: String = row.get("event")?;
    let direction = text("direction")?;
    let sizes = text("sizes")?;
    let receipt = match (text("receipt")?, row.get("receipt_own")?, row.get("receipt_peer")?) {
        (Some(text), Some(own_signature), Some(peer_signature)) => {
            Some(SignedReceipt { text, own_signature, peer_signature })
        }
        _ => None,
    };
    Ok(AuditRow {
        id: count("id")?.unwrap_or_default(),
        peer: row.get("peer")?,
        seq: count("seq")?.unwrap_or_default(),
        event: Event::ALL.into_iter().find(|known| known.name() == event).ok_or_else(|| strange("event", event))?,
        at: time(row.get("at_ms")?),
        session: row.get::<_, Option<[u8; 16]>>("session")?.map(SessionId),
        direction: match direction {
            None => None,
            Some(name) => Some(Direction::from_name(&name).ok_or_else(|| strange("direction", name))?),
        },
        population: text("population")?,
        question: text("question")?,
        terms: text("terms")?,
        persons_own: count("persons_own")?,
        persons_peer: count("persons_peer")?,
        tau: count("tau")?,
        tau_booked: count("tau_booked")?,
        columns: count("columns")?,
        outputs: text("outputs")?,
        padding: text("padding")?,
        sizes: match sizes {
            None => None,
            Some(sizes) => {
                let read = sizes.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
                Some(read.map_err(|_| strange("sizes", sizes.clone()))?)
            }
        },
        dummies: count("dummies")?,
        outcome: text("outcome")?,
        seconds: count("millis")?.map(|millis| millis as f64 / 1e3),
        bytes_out: count("bytes_out")?,
        bytes_in: count("bytes_in")?,
        receipt,
        hash: row.get("hash")?,
    })
}
