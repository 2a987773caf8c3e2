//! Limits on what a peer may announce, and on what a session may hold.

use crate::dp::Clip;
use crate::mpc::WordWidth;

use super::{Error, PeerMisbehaved, WordTerms};

/// Limits of one session. Every number that a peer announces is held against them before anything is sized by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries of one table, without dummies. Default 10,000,000: some 1.2 GB for both tables of one
    /// identifier. At most 2^30.
    pub persons_max: u64,
    /// The most dummies per column. Default 1,000,000, far above what any budget that means something asks for.
    pub dummies_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { persons_max: 10_000_000, dummies_max: 1_000_000 }
    }
}

/// Above these a row's number would not fit the 32 bits in which it is kept.
const PERSONS_CAP: u64 = 1 << 30;
const DUMMIES_CAP: u64 = 1 << 24;

impl Limits {
    /// Holds what the peer announces in its `message` against the limits: before any work is done for it.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Hello`] with the field that is over its limit.
    pub fn check_peer(&self, message: &'static str, persons: u64, dummies: u64) -> Result<(), Error> {
        let limit = |field: &str, found: u64, max: u64| {
            if found <= max {
                return Ok(());
            }
            let reason = format!("{found} is over this side's limit of {max}");
            Err(Error::from(PeerMisbehaved::Hello { message, field: field.to_owned(), reason }))
        };
        limit("persons", persons, self.persons_max.min(PERSONS_CAP))?;
        limit("dummies", dummies, self.dummies_max.min(DUMMIES_CAP))
    }

    /// Holds what this side brings against the limits.
    ///
    /// # Errors
    /// [`Error::Caller`]: the table is too large for a session.
    pub fn check_own(&self, persons: u64, dummies: u64) -> Result<(), Error> {
        let limit = |what: &str, found: u64, max: u64| {
            if found <= max {
                return Ok(());
            }
            Err(Error::Caller(format!("this table needs {found} {what}, this side's limit is {max}")))
        };
        limit("entries", persons, self.persons_max.min(PERSONS_CAP))?;
        limit("dummies per column", dummies, self.dummies_max.min(DUMMIES_CAP))
    }
}

/// The width in which `persons` totals within the bounds cannot overflow; refused where 128 bits could.
pub(crate) fn word_width(persons: u64, terms: &WordTerms) -> Result<WordWidth, Error> {
    let refused =
        |error: &dyn std::fmt::Display| Error::Refused(format!("a sum with these clip bounds could overflow: {error}"));
    let clip = Clip::new(terms.min, terms.max).map_err(|error| refused(&error))?;
    crate::dp::word_width(persons, clip, 0)
        .map(|width| match width {
            crate::dp::WordWidth::Bits64 => WordWidth::Bits64,
            crate::dp::WordWidth::Bits128 => WordWidth::Bits128,
        })
        .map_err(|error| refused(&error))
}
