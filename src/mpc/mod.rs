//! Two-party sums: one oblivious transfer per row turns "I know which rows matched" and "I know the
//! values" into additive shares of the matched rows' sum, which neither side knows alone.
//!
//! | Room | Job | May import | Must not touch |
//! |---|---|---|---|
//! | mpc | OT and shares as pure rounds, ideal twin for tests | crypto | async, transport types, serde formats other than our codec |
//!
//! # What is here
//! - [`Sender`] and [`Receiver`]: correlated OT by SoftSpoken extension over base OTs on
//!   ristretto255, one struct per waiting point. Messages, order, arguments and limits are in the
//!   doc of `ot/mod.rs`, repeated on [`Parameters`] where a caller needs them.
//! - [`AdditiveShares`]: what both ends hold afterwards, one word per aggregate, mod 2⁶⁴ or 2¹²⁸.
//! - [`Binding`]: ties every hash of a run to the session's transcript, to who owns the values, and
//!   to an instance number, so that two runs of one query never share a tweak.
//!
//! # Leakage
//! | Who | sees | learns | under |
//! |---|---|---|---|
//! | Sender | base points, corrections, check | nothing about the choice bits | Diffie–Hellman (base OT, random oracle), AES as PRF (tree leaves) |
//! | Receiver | base points, challenge, payload | nothing about the values beyond its additive share | the same, and AES with a fixed key as ideal permutation (pads) |
//! | both | counts | rows, words and their widths, which both knew before | |
//!
//! A receiver that deviates can lie about its choice bits, which is the same as choosing others; a
//! sender that deviates can send wrong payloads, which is the same as other values. Everything else
//! aborts. Neither is a way to the other side's secret. But nothing bounds a sender's values: where
//! bounds must hold against their owner, the owner plays the Receiver, bit by bit (psi's
//! `aggregation`).
//!
//! # Limits
//! [`ROWS_MAX`] rows, [`WORDS_MAX`] words, [`CHUNK_BYTES_MAX`] bytes in a streamed message. Memory
//! per row: 16 bytes on either side, plus one bit of choice, whatever the number of words, from the
//! corrections to the end of the payload: who has more rows than memory runs several instances, one
//! after the other.

mod domain;
mod error;
mod ot;
mod share;

pub use domain::{Binding, ValueOwner};
pub use error::{Misuse, OtError, PeerMisbehaved};
pub use ot::{
    BaseChoices, BaseReply, CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Challenge, Check, Choices, Corrections,
    FieldBits, Message, Parameters, Payload, ROWS_MAX, RandomChosen, RandomPairs, Receiver, ReceiverChallenged,
    ReceiverExtending, ReceiverPaid, Sender, SenderChallenging, SenderExtending, SenderPaying, Values, WORDS_MAX,
};
pub use share::{AdditiveShares, WordWidth};
