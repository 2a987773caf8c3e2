//! Limits on what a peer may announce, and on what a session may hold.

use crate::dp::Clip;
use crate::mpc::WordWidth;

use super::{Error, PeerMisbehaved, Question, WORDS_PER_ROW_MAX, WordTerms};

/// Limits of one session. Every number that a peer announces is held against them before anything is sized by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most entries of one table, without dummies. Default 10,000,000: some 1.2 GB for both tables of one
    /// identifier. At most 2^30.
    pub persons_max: u64,
    /// The most dummies per column, of all parts together. Default 1,000,000, far above what any budget that means
    /// something asks for.
    pub dummies_max: u64,
    /// How many times the dummies that this side's own policy asks for a requester may ask for: dummies are work for
    /// both sides. Default 4; up to 65,536 dummies are always granted.
    pub dummies_factor_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { persons_max: 10_000_000, dummies_max: 1_000_000, dummies_factor_max: 4 }
    }
}

/// Above these a row's number would not fit the 32 bits in which it is kept.
const PERSONS_CAP: u64 = 1 << 30;
const DUMMIES_CAP: u64 = 1 << 24;

/// Each takes 16 bytes of memory on either side while the words are summed.
const TRANSFERS_MAX: u64 = u32::MAX as u64;

/// So many dummies cost seconds, as a table of so many persons would, which a peer may bring as well: not worth a refusal. A
/// party that pads its length and allows itself many questions asks for some ten thousands, also of a share whose own
/// policy wants few or none.
const DUMMIES_GRANTED: u64 = 1 << 16;

impl Limits {
    /// Holds what the peer announces in its `message` against the limits: before any work is done for it. `persons` are those
    /// of all parts, `dummies` those of one of the question's `parts`.
    ///
    /// # Errors
    /// [`PeerMisbehaved::Hello`] with the field that is over its limit.
    pub fn check_peer(&self, message: &'static str, persons: u64, dummies: u64, parts: usize) -> Result<(), Error> {
        let limit = |field: &str, found: u64, max: u64| {
            if found <= max {
                return Ok(());
            }
            let reason = format!("{found} is over this side's limit of {max}");
            Err(Error::from(PeerMisbehaved::Hello { message, field: field.to_owned(), reason }))
        };
        limit("persons", persons, self.persons_max.min(PERSONS_CAP))?;
        limit("dummies", of_all_parts(dummies, parts), self.dummies_max.min(DUMMIES_CAP))
    }

    /// Holds the dummies that a requester asks for against the `own` number of the responder's policy. To be called
    /// before the charge, which is by the larger of the two; the session calls it again.
    ///
    /// # Errors
    /// [`Error::Refused`], in words for the requester: without the own number, which follows from the table's length and is
    /// told to nobody who has not paid.
    pub fn check_dummies(&self, offered: u64, own: u64) -> Result<(), Error> {
        let most = own.saturating_mul(self.dummies_factor_max).max(DUMMIES_GRANTED);
        if offered <= most {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "the requester's own budget for sizes asks for {offered} dummies per column, more than this responder adds \
             for this share: ask by a larger epsilon or with fewer queries in [ask.budget], or let the owner raise \
             dummies_factor_max in [limits]"
        )))
    }

    /// Holds what this side brings against the limits: the persons of all parts, and the dummies of each of the question's
    /// `parts`.
    ///
    /// # Errors
    /// [`Error::Caller`]: the table is too large for a session.
    pub fn check_own(&self, persons: u64, dummies: u64, parts: usize) -> Result<(), Error> {
        let limit = |what: &str, found: u64, max: u64| {
            if found <= max {
                return Ok(());
            }
            Err(Error::Caller(format!("this table needs {found} {what}, this side's limit is {max}")))
        };
        limit("entries", persons, self.persons_max.min(PERSONS_CAP))?;
        limit("dummies per column", of_all_parts(dummies, parts), self.dummies_max.min(DUMMIES_CAP))
    }

    /// Holds the dummies of all the question's `parts`, each of which has `dummies` per column, against what this responder
    /// adds at most: before anything is charged.
    ///
    /// # Errors
    /// [`Error::Refused`], in words for the requester.
    pub fn check_groups(&self, dummies: u64, parts: usize) -> Result<(), Error> {
        if of_all_parts(dummies, parts) <= self.dummies_max.min(DUMMIES_CAP) {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "each of {parts} groups of the requester's own has dummies of its own, together more than this responder adds: ask \
             with fewer groups, or let the owner raise dummies_max in [limits]"
        )))
    }

    /// Holds the oblivious transfers of the responder's words, one per part and row of its table on the wire (dummies
    /// included), against what can be numbered: by shape alone, before anything is charged.
    ///
    /// # Errors
    /// [`Error::Refused`], in words for the requester.
    pub fn check_transfers(&self, responder_rows: u64, parts: usize) -> Result<(), Error> {
        let transfers = responder_rows.saturating_mul(parts as u64);
        if transfers <= TRANSFERS_MAX {
            return Ok(());
        }
        Err(Error::Refused(format!(
            "{parts} groups of the requester's own could take more than the {TRANSFERS_MAX} oblivious transfers that are \
             possible: ask with fewer groups"
        )))
    }
}

fn of_all_parts(dummies: u64, parts: usize) -> u64 {
    dummies.saturating_mul(parts as u64)
}

/// The width in which `persons` totals within the bounds, and the noise but for its outermost 2^-64, cannot overflow;
/// refused where 128 bits could.
pub(crate) fn word_width(persons: u64, terms: &WordTerms) -> Result<WordWidth, Error> {
    let refused = |error: &dyn std::fmt::Display| {
        Error::Refused(format!("a sum with these clip bounds and this noise could overflow: {error}"))
    };
    let clip = Clip::new(terms.min, terms.max).map_err(|error| refused(&error))?;
    crate::dp::word_width(persons, clip, terms.noise.tail())
        .map(|width| match width {
            crate::dp::WordWidth::Bits64 => WordWidth::Bits64,
            crate::dp::WordWidth::Bits128 => WordWidth::Bits128,
        })
        .map_err(|error| refused(&error))
}

/// What the policy's check of a question has already refused, held again by both sessions: the shape of the words, `labels`
/// being 0 where the question is by no column, and of the transfers over `responder_rows` on the wire.
pub(crate) fn check_shape(
    limits: &Limits,
    question: &Question,
    labels: usize,
    responder_rows: u64,
    parts: usize,
) -> Result<(), Error> {
    let own = question.aggregates.iter().filter(|word| word.is_own()).count();
    let theirs = question.aggregates.len() - own;
    if labels > 0 && own > 0 {
        return Err(Error::Refused(
            "a value of the requester's own cannot be summed by labels of the responder's: the label stands at one end of a \
             pair, the value at the other"
                .to_owned(),
        ));
    }
    let words = theirs * labels.max(1);
    if words > WORDS_PER_ROW_MAX {
        return Err(Error::Refused(format!(
            "{theirs} aggregates by {labels} labels are {words} numbers of each person, and at most {WORDS_PER_ROW_MAX} are \
             possible: ask for fewer at once"
        )));
    }
    if theirs > 0 { limits.check_transfers(responder_rows, parts) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requester_may_ask_for_some_thousand_dummies_or_four_times_the_share_s_and_no_more() {
        let limits = Limits::default();
        for (offered, own) in [(65_536, 0), (65_536, 16), (65_540, 16_385), (80_000, 20_000), (u64::MAX, u64::MAX)] {
            assert_eq!(limits.check_dummies(offered, own), Ok(()), "{offered} for {own}");
        }
        for (offered, own) in [(65_537, 0), (65_537, 16), (65_541, 16_385), (80_001, 20_000)] {
            let Err(Error::Refused(text)) = limits.check_dummies(offered, own) else { panic!("{offered} for {own}") };
            assert!(text.contains(&offered.to_string()) && text.contains("dummies_factor_max"), "{text}");
        }
    }

    #[test]
    fn persons_dummies_of_all_parts_and_transfers_have_limits_at_and_past_them() {
        let limits = Limits { persons_max: 100, dummies_max: 60, dummies_factor_max: 4 };
        let own = |persons, dummies, parts| limits.check_own(persons, dummies, parts).is_ok();
        let peer = |persons, dummies, parts| limits.check_peer("offer", persons, dummies, parts).is_ok();
        for (persons, dummies, parts, fits) in [
            (100, 60, 1, true),
            (101, 0, 1, false),
            (0, 61, 1, false),
            (100, 20, 3, true),
            (0, 21, 3, false),
            (0, u64::MAX, 1000, false),
        ] {
            assert_eq!(
                (own(persons, dummies, parts), peer(persons, dummies, parts)),
                (fits, fits),
                "{dummies} {parts}"
            );
        }
        for (rows, parts, fits) in [
            (u64::from(u32::MAX), 1, true),
            (1 << 32, 1, false),
            (u64::from(u32::MAX) / 5, 5, true),
            (u64::from(u32::MAX) / 5 + 1, 5, false),
            (u64::MAX, 1000, false),
        ] {
            assert_eq!(limits.check_transfers(rows, parts).is_ok(), fits, "{rows} {parts}");
        }
    }

    #[test]
    fn the_tail_of_the_noise_widens_the_word_and_then_refuses_it() {
        let word = |noise: &str, max| WordTerms { min: 0, max, decimals: 0, noise: noise.parse().unwrap() };
        let half = 1i128 << 62;
        assert_eq!(word_width(1, &word("none", half)), Ok(WordWidth::Bits64));
        assert_eq!(word_width(1, &word("laplace 1/1", half)), Ok(WordWidth::Bits64));
        let wide = format!("laplace {half}/1");
        assert_eq!(word_width(1, &word(&wide, half)), Ok(WordWidth::Bits128));
        let last = (i128::MAX - 1) / 2;
        assert_eq!(word_width(2, &word("none", last)), Ok(WordWidth::Bits128));
        assert!(matches!(word_width(2, &word("laplace 1000/1", last)), Err(Error::Refused(_))));
    }
}
