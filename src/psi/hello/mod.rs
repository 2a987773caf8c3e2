//! The hello: *offer* (requester), *answer* (responder), and the transcript hash over both.
//!
//! Each is one batch of rows (name: Utf8, value: Utf8), names in a fixed order, lists by repetition, so
//! that any Arrow implementation in any language can write and read one, and so that *every* parameter
//! of a session is bound: the transcript hash covers all pairs, length-prefixed, of both messages.
//! The requester's `confirm` carries the hash, the responder's echoes it, both compare; from it follow
//! the common dummies and the OT tweaks, and it is compared again at the release. A field that a
//! network changes on the way therefore ends the session before the first element leaves.

mod answer;
mod chain;
mod fields;
mod offer;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub(crate) use chain::chain_flaw;
pub use chain::{CHAIN_LINKS_MAX, ChainLink};
pub use fields::hello_schema;
pub(crate) use fields::{Fields, Pairs, one_spelling};
pub use offer::Offer;

use sha2::{Digest, Sha512};

use crate::crypto::Domain;
use crate::dp::Noise;

/// The version of the protocol that this crate speaks. Another version is refused, never guessed at.
pub const VERSION: &str = "datafusion-psi/3";

/// The most distinct aggregates of one query: eight bytes a row each.
pub const AGGREGATES_MAX: usize = 64;

/// The most parts of one query, the requester's own groups: each has dummies of its own, and an oblivious transfer per
/// row of the responder's table.
pub const PARTS_MAX: usize = 1000;

/// The most labels of one column that answers are grouped by.
pub const LABELS_MAX: usize = 1024;

/// The most words that ride on one oblivious transfer: the responder's aggregates times the labels. A row of so many
/// words of 128 bits has 16 KiB.
pub const WORDS_PER_ROW_MAX: usize = 1024;

/// One aggregate's word: the clip bounds, scaled to integers (a total of one person is in `min..=max` units of
/// 10^-`decimals`), and the noise of its release in the same units.
///
/// Text form: `MIN MAX DECIMALS NOISE`, the noise as [`Noise`] prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordTerms {
    /// The least total of one person.
    pub min: i128,
    /// The greatest total of one person.
    pub max: i128,
    /// Decimals of the fixed point; 0 for counts and integers.
    pub decimals: u8,
    /// What the responder adds to the released word.
    pub noise: Noise,
}

impl std::fmt::Display for WordTerms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} {}", self.min, self.max, self.decimals, self.noise)
    }
}

/// Whether both sides sign what was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// No signatures.
    None,
    /// Both sign with the key of their pinned X.509 certificate.
    X509,
}

impl Receipts {
    /// The wire's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Receipts::None => "none",
            Receipts::X509 => "x509",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Receipts::None, Receipts::X509].into_iter().find(|receipts| receipts.name() == name)
    }
}

/// The 32 bytes that both sides derive from the whole hello: SHA-512 over a domain and every pair of
/// the offer, then of the answer, each text preceded by its length and each message by its number of
/// pairs (so that no two hellos have the same input), cut to 256 bits.
pub(crate) fn transcript_hash(offer: &Offer, answer: &Answer) -> [u8; 32] {
    let mut hash = Sha512::new();
    hash.update(Domain::Transcript.bytes());
    for pairs in [offer.pairs(), answer.pairs()] {
        hash.update((pairs.len() as u64).to_le_bytes());
        for (name, value) in pairs {
            for text in [name, value.as_str()] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(&hash.finalize()[..32]);
    digest
}

fn ot_width(text: &str) -> Option<u8> {
    one_spelling(text).filter(|width| matches!(width, 1 | 2 | 4 | 8))
}
