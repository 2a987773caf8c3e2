//! Private set intersection over several identifiers, with differentially private sizes, and sums over what matched.
//!
//! This room holds the two parties' sessions as machines that take batches and give batches ([`Session`]): no I/O,
//! no clock, no async. The protocol is DPCA-PSI with the changes that `docs/design.md` argues for.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | psi | sessions for both roles, messages, leakage table | mpc, dp, crypto | tokio, tonic, datafusion, clock; it emits outputs and never calls out |
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
//! tags             tag of α₁β₁·H(B's id₁), sorted: t B   tag of α₁β₁·H(A's id₁), sorted: t B
//! elements-k       α_k·(B's unmatched, permuted): 32 B   β_k·(A's unmatched, permuted): 32 B
//! replies-k        their tags, in the order received     the same
//! ot-choices …     the responder's values: one correlated oblivious transfer per row of its table
//! ot-payload       (room mpc); only where it owns some
//! own-choices-p …  the requester's values, part p = 1, 2, …: one per row of its table and bit of the
//! own-payload-p    value, the bits being its choices; only where it owns some
//! release          transcript: 32 B, 1 row               transcript, additive share: 32 + 16 B per aggregate
//! ```
//! `elements-k` and `replies-k` run once for each k in 2..=K. Both directions of a phase run at once; the next phase
//! opens when both have ended.
//!
//! # What each side learns
//! | side | learns | bounded by |
//! |---|---|---|
//! | responder | the [`Question`]; the number of the requester's entries (padded by the requester's choice); per column, the noisy number of matches, and which positions of the requester's *shuffled* table they are | common dummies ([`crate::dp`]), padding, its own budget |
//! | requester | the number of the responder's entries (the prepared table's length, whatever the filter, unless the share says otherwise); per column, the noisy number of matches and their positions in the responder's *shuffled* table; the aggregates, which are **exact in this version**; that a minimum was not reached | common dummies, clip bounds, the responder's budget |
//! | the network | counts and timings; in this version also the messages, as there is no TLS yet: loopback only | fixed batches |
//!
//! Who must be honest: both parties follow the protocol (semi-honest), with every cheap check against one that does
//! not. *Against a peer that deviates, the noise on sizes, the unlinkability of one's own rows, and sums of
//! requester-owned values rest on both sides following the protocol.* The checks are: canonical encodings other than the identity,
//! no element twice in a column, exact counts and batch sizes, strictly ascending tags, the transcript hash at
//! confirm and release, the oblivious transfer's consistency check, sums within what the clip bounds can make.
//!
//! Why the positions say nothing: each party permutes its table with fresh randomness before anything leaves
//! ([`Entries`] become a wire table), and the tags of a party's own rows come back as a set (sorted in column 1, in
//! the peer's secret order in later columns).
//!
//! # Limits
//! 1 to [`COLUMNS_MAX`] identifier columns; [`Limits`] for entries and dummies; [`AGGREGATES_MAX`] aggregates. Memory
//! per row of either table: 32 bytes of tag order, 1 of match, and 32 for each further column of the peer's, beside
//! the entries themselves and 16 for the oblivious transfer.

mod aggregation;
mod error;
mod frame;
mod hello;
mod hex;
mod limits;
mod matching;
pub mod normalise;
mod phase;
pub mod prepare;
mod requester;
mod responder;
mod run;
mod session;
#[cfg(test)]
mod simulator;
mod table;
mod terms;

pub use error::{Error, Fault, PeerMisbehaved};
pub use frame::FRAME_ROWS;
pub use hello::{AGGREGATES_MAX, Offer, VERSION, WordTerms, hello_schema};
pub use limits::Limits;
pub use phase::{COLUMNS_MAX, Phase, UnknownPhase};
pub use requester::{Answered, OfferTerms, Requester};
pub use responder::{AnswerTerms, Outcome, Responder};
pub use session::{Output, Progress, Role, Session};
pub use table::Entries;
pub use terms::{
    Aggregate, AggregateTerms, ClipTerms, FilteredRows, IdentifierTerms, OutputsTerms, OwnValueTerms, Question,
    SessionId, ShareTerms, SizesTerms,
};
