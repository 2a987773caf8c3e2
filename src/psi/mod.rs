//! Private set intersection over several identifiers, with differentially private sizes, and sums over what matched.
//!
//! This room holds the two parties' sessions as machines that take batches and give batches ([`Session`]): no I/O,
//! no clock, no async. The protocol is DPCA-PSI with the changes that `docs/design.md` argues for.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | psi | sessions for both roles, messages, leakage table | mpc, dp, crypto | tokio, tonic, datafusion, clock; it emits outputs and never calls out, but to what it was handed for that ([`ChainCheck`], [`Spill`]) |
//!
//! # Messages
//! Each phase is one exchange with one Arrow schema per direction; batches have [`FRAME_ROWS`] rows (the oblivious
//! transfer's have its own fixed sizes), the last one fewer. α, β are the requester's and the responder's scalars, H
//! hashes to the group, n are counts on the wire, dummies included, K the identifier columns, t the tag length.
//!
//! ```text
//! phase            requester → responder (up)            responder → requester (down)
//! hello            offer: (name, value) rows             answer: (name, value) rows
//! confirm          transcript: 32 B, 1 row               the same
//! columns          α₁·H(id): K × 32 B, n_A rows          β₁·H(id): K × 32 B, n_B rows
//! tags             tags of α₁β₁·H(B's id₁), sorted: t B  of each, the part that it matched, or 0: 1 or 2 B
//! elements-k       tags of α_kβ₁·H(B's id_k), unmatched  ρ·α₁·H(A's id_k), unmatched rows, permuted,
//!                  rows, permuted: t B                   each with a random ρ of its own: 32 B
//! replies-k        (α_k/α₁)·those elements: 32 B         of each tag, the part that it matched, or 0: 1 or 2 B
//! ot-choices …     the responder's values: one correlated oblivious transfer per part and row of its table
//! ot-payload       (room mpc), of a word per aggregate and label; only where it owns some
//! own-choices-r …  the requester's values, round r = 1, 2, …: one per row of its table and bit of the
//! own-payload-r    value, the bits being its choices; only where it owns some
//! release          transcript, signature: 1 row          transcript, noisy share, signature: a row per cell and aggregate
//! ```
//! `elements-k` and `replies-k` run once for each k in 2..=K. Both directions of a phase run at once; the next phase
//! opens when both have ended.
//!
//! # Parts, labels, cells
//! A question may be grouped by a column of the responder's with public *labels* ([`Question::group_by`]), and by values of
//! the requester's own, which cut its table into *parts* ([`Question::own_groups`]). Every pair of a part and a label is a
//! *cell* of the answer, with a sum per aggregate. The requester's wire table is its parts one after the other, each shuffled on
//! its own and with dummies of its own; the responder's is one, with the dummies of all parts. A match has the part of the
//! requester's row; labels enter as words of a row. Without groups there is one part, one label, one cell. A word's own
//! filter ([`AskedWord::when`]) decides which of a person's rows count for it, and nothing that travels.
//!
//! # What each side learns
//! | side | learns | bounded by |
//! |---|---|---|
//! | responder | the [`Question`]; the number of the requester's parts, and of the entries in each (padded by the requester's choice), but no value that it groups by; its terms for sizes; how many entries its books have about the responder (by the chain heads); per column and part, the noisy number of matches, and which positions of the requester's part, *shuffled*, they are | common dummies ([`crate::dp`]), padding, the requester's budget |
//! | requester | the number of the responder's entries (the prepared table's length, whatever the filter, unless the share says otherwise); per column and part, the noisy number of matches and their positions in the responder's *shuffled* table; the noisy aggregates of each cell, its own values' too (exact ones where the share's terms say `exact`); that a minimum was not reached, which follows from the noisy sizes; how many entries the responder's books have about it | common dummies, clip bounds, output noise, the responder's budget |
//! | the network | counts and timings; without TLS (loopback only) also the messages | TLS, fixed batches |
//! | who is shown a receipt | the hello and the noisy sizes: question, terms, counts; no result | whom the parties show it to |
//!
//! Who must be honest: both parties follow the protocol (semi-honest), with every cheap check against one that does
//! not. *Against a peer that deviates, the clip bounds and the output noise on values that the responder owns hold, and
//! sums of values that the requester owns stay within the share's range by construction; the noise on sizes, and the
//! unlinkability of one's own rows, rest on both sides following the protocol.* A requester that plants marked elements to link its own rows learns one answer per row all the same; a
//! responder that does can link them (both in the doc of `matching`). The checks are: canonical encodings other than the
//! identity, no element twice in a message's column, exact counts and batch sizes, no tag twice, the transcript hash at
//! confirm and release, the answer's terms against the published ones, the dummies asked for against a multiple of one's
//! own, the oblivious transfer's consistency check, the requester's signature before a share leaves, sums within what
//! clip bounds and noise can make. With parts, a requester that deviates may also claim one row of the responder's in several of
//! them, and has its clipped and noised values once in each (`aggregation`).
//!
//! Why the positions say nothing: each party permutes its table with fresh randomness before anything leaves
//! ([`Entries`] become a wire table). The responder sees the tags of its own rows as a set (sorted in column 1, in
//! the requester's secret order in later columns), the requester never sees tags of its own.
//!
//! # Output noise
//! The responder adds the whole noise of each aggregate, drawn afresh for every cell, to its additive share before the share
//! leaves, the requester adds none: what it drew itself it could subtract. The requester's view of a release is then a function of the noisy
//! sum alone, and whatever is done with it later (the wrap modulo 2^64 or 2^128, the check of bounds, an average of
//! two words) is post-processing. Sizes are a release of their own, with noise and budget of their own, and
//! `minimum_matched` looks at them and never at a sum. `release.rs` has the argument at length.
//!
//! # Receipts and chains
//! Where both sides have keys, each signs a [`Receipt`]: the hello, its transcript hash, the noisy sizes, the charges,
//! the outcome, as one canonical text that both build for themselves. The hello carries the newest heads of each side's
//! books about the other ([`ChainLink`]): this room binds them and hands them to whose business they are
//! ([`ChainCheck`], [`Offer::chain`]).
//!
//! # Limits
//! 1 to [`COLUMNS_MAX`] identifier columns; [`Limits`] for entries, dummies, and transfers; [`AGGREGATES_MAX`] aggregates;
//! [`PARTS_MAX`] parts; [`LABELS_MAX`] labels, and [`WORDS_PER_ROW_MAX`] for the responder's aggregates times labels; 1 to
//! [`CHAIN_LINKS_MAX`] chain heads; signatures of up to [`SIGNATURE_BYTES_MAX`] bytes. Memory:
//! [`Footprint`]; columns that it has no room for may lie in files ([`Spill`]). A responder may bring its rows blinded already
//! ([`BlindedAhead`]).

mod aggregation;
mod ahead;
mod error;
mod frame;
mod hello;
mod hex;
mod limits;
mod matching;
pub mod normalise;
mod phase;
pub mod prepare;
mod published;
mod question;
mod receipt;
mod release;
mod requester;
mod responder;
mod run;
mod session;
#[cfg(test)]
mod simulator;
mod spill;
mod table;
mod terms;
mod text;

pub use crate::crypto::ChaCha20Rng;
// What estimates before a run need of the curve: the rooms above have no other way to it.
pub use crate::crypto::{CurveMicros, curve_micros};
pub use ahead::{BlindedAhead, BlindingAhead};
pub use error::{Error, Fault, PeerMisbehaved};
pub use frame::FRAME_ROWS;
pub use hello::{
    AGGREGATES_MAX, Answer, CHAIN_LINKS_MAX, ChainLink, LABELS_MAX, Offer, PARTS_MAX, Receipts, VERSION,
    WORDS_PER_ROW_MAX, WordTerms, hello_schema,
};
pub(crate) use hex::encode as hex_of;
pub use limits::Limits;
pub use matching::{matching_bytes, tag_bytes};
pub use phase::{COLUMNS_MAX, Phase, UnknownPhase};
pub use question::{Aggregate, AskedWord, Question};
pub use receipt::{Receipt, SIGNATURE_BYTES_MAX, SignedReceipt, Signer, Verifier, Witness};
pub use requester::{Answered, ChainCheck, OfferTerms, Requester};
pub use responder::{AnswerTerms, Outcome, Responder};
pub use session::{Output, Progress, Role, Session};
pub use spill::{FindRoom, Footprint, SessionRows, Spill, SpillFile};
pub use table::{Entries, EntryPart};
pub use terms::{
    AggregateTerms, ClipTerms, FilteredRows, GroupTerms, IdentifierTerms, OutputsTerms, OwnValueTerms, SessionId,
    ShareTerms, SizesTerms,
};
pub(crate) use text::{escaped, is_column, one_line};
