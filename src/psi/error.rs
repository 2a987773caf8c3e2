//! Errors of a session, split by whose fault they are.
//!
//! `transport` maps each [`Fault`] to one gRPC code and back, `sql` to one DataFusion error; both maps
//! are tested row by row. No variant carries an identifier, a value, an element, a tag or a position.

use std::fmt;

use super::Phase;

/// Whose fault an error is: what the reader should look at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer sent something that the protocol forbids.
    Peer,
    /// The peer speaks another version of the protocol, or other normalisers.
    Incompatible,
    /// A policy (this party's or the peer's) does not allow what was asked.
    Refused,
    /// The caller asked for something that cannot be: a bad query, a bad table, a bad setting.
    Caller,
    /// Network, disk, time: nobody's mistake; trying again may help.
    Environment,
    /// A bug on this side.
    Internal,
}

impl Fault {
    /// Every fault, for tables and tests that must be complete.
    pub const ALL: [Fault; 6] =
        [Fault::Peer, Fault::Incompatible, Fault::Refused, Fault::Caller, Fault::Environment, Fault::Internal];

    /// The word that stands for this fault on the wire and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Peer => "peer",
            Fault::Incompatible => "incompatible",
            Fault::Refused => "refused",
            Fault::Caller => "caller",
            Fault::Environment => "environment",
            Fault::Internal => "internal",
        }
    }

    /// The fault of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

/// What a peer did that the protocol forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerMisbehaved {
    /// A message has another schema than its phase prescribes.
    #[error("the message's schema is not that of phase {phase}: {reason}")]
    Schema {
        /// The phase.
        phase: Phase,
        /// What differs, by field names and types only.
        reason: String,
    },
    /// A batch has another number of rows than the fixed framing prescribes.
    #[error("a batch of phase {phase} has {found} rows where {expected} were due")]
    BatchRows {
        /// The phase.
        phase: Phase,
        /// Rows that this batch had to have.
        expected: u64,
        /// Rows that it had.
        found: u64,
    },
    /// The stream of a phase ended early.
    #[error("phase {phase} ended after {found} of {expected} announced rows")]
    Truncated {
        /// The phase.
        phase: Phase,
        /// Rows announced.
        expected: u64,
        /// Rows received.
        found: u64,
    },
    /// A batch arrived after the last one of its phase, or in a phase that has none.
    #[error("phase {phase} carries more than the {expected} announced rows")]
    TooMany {
        /// The phase.
        phase: Phase,
        /// Rows announced.
        expected: u64,
    },
    /// An encoding is not canonical, or is the identity.
    #[error("row {row} of phase {phase}, column {column}: {reason}")]
    Element {
        /// The phase.
        phase: Phase,
        /// The row on the wire, from 0.
        row: u64,
        /// The identifier column, from 1.
        column: u8,
        /// Which rule the encoding breaks.
        reason: &'static str,
    },
    /// The same element occurs twice in a column.
    #[error("phase {phase}, column {column}: the same element occurs twice")]
    RepeatedElement {
        /// The phase.
        phase: Phase,
        /// The identifier column, from 1.
        column: u8,
    },
    /// Tags that had to be strictly ascending are not.
    #[error("phase {phase}: tags are not strictly ascending at row {row}")]
    TagOrder {
        /// The phase.
        phase: Phase,
        /// The row on the wire, from 0.
        row: u64,
    },
    /// A field of the hello is missing, repeated, unknown, or has an impossible value.
    #[error("field '{field}' of the {message}: {reason}")]
    Hello {
        /// `offer` or `answer`.
        message: &'static str,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The two sides do not hold the same hello.
    #[error(
        "the peer's transcript hash differs from ours: the hello was changed on its way, or the peer derives it differently"
    )]
    Transcript,
    /// A message of the oblivious transfer fails its check.
    #[error("oblivious transfer, phase {phase}: {reason}")]
    ObliviousTransfer {
        /// The phase.
        phase: Phase,
        /// Which check failed.
        reason: String,
    },
    /// The peer reported a different number of matches, or shares of another shape.
    #[error("phase {phase}: {reason}")]
    Inconsistent {
        /// The phase.
        phase: Phase,
        /// What does not fit.
        reason: String,
    },
    /// The receipt's signature is missing, is not the peer's, or is not over the receipt that this side holds.
    #[error("the peer's signature of the receipt: {0}")]
    Signature(String),
    /// A session identifier was used before, or belongs to another peer.
    #[error("session {0} was used before")]
    Replayed(String),
    /// A phase was opened out of order.
    #[error("phase {found} was opened where {expected} was due")]
    PhaseOrder {
        /// The phase that was due, as text (`none` after the last).
        expected: String,
        /// The phase that was opened.
        found: String,
    },
    /// The peer did not send or accept anything for too long.
    #[error("nothing came in phase {phase} for {seconds} s")]
    Stalled {
        /// The phase.
        phase: Phase,
        /// How long we waited, in seconds.
        seconds: u64,
    },
    /// Bytes that are not an Arrow message, or break a size limit.
    #[error("phase {phase}: {reason}")]
    Malformed {
        /// The phase.
        phase: Phase,
        /// What is wrong.
        reason: String,
    },
}

/// An error of a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Peer(#[from] PeerMisbehaved),
    /// The two sides do not speak the same protocol or normalise differently.
    #[error("{0}")]
    Incompatible(String),
    /// A policy does not allow it. The text says whose policy, what, and what is allowed instead.
    #[error("{0}")]
    Refused(String),
    /// The caller asked for something impossible.
    #[error("{0}")]
    Caller(String),
    /// Network, disk or time.
    #[error("{0}")]
    Environment(String),
    /// A bug on this side.
    #[error("internal error of datafusion-psi: {0}; this is a bug, please report it")]
    Internal(String),
    /// What the peer reported as the reason for ending the session.
    #[error("{peer} ended the session ({}): {reason}", fault.name())]
    Reported {
        /// The peer's name in our configuration.
        peer: String,
        /// The fault as the peer sees it (`Fault::Peer` then means us).
        fault: Fault,
        /// The peer's words.
        reason: String,
    },
}

impl Error {
    /// Whose fault it is, seen from this side.
    pub fn fault(&self) -> Fault {
        match self {
            Error::Peer(_) => Fault::Peer,
            Error::Incompatible(_) => Fault::Incompatible,
            Error::Refused(_) => Fault::Refused,
            Error::Caller(_) => Fault::Caller,
            Error::Environment(_) => Fault::Environment,
            Error::Internal(_) => Fault::Internal,
            Error::Reported { fault, .. } => *fault,
        }
    }

    pub(crate) fn internal(reason: impl fmt::Display) -> Self {
        Error::Internal(reason.to_string())
    }
}
