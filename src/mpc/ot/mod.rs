//! Correlated oblivious transfer by SoftSpoken extension (Roy, CRYPTO 2022, eprint 2022/192), as
//! pure rounds.
//!
//! ```text
//!   Sender (values v, Δ)                                 Receiver (choice bits b)
//!     start ─────────────── BaseChoices ──────────────────▶ reply
//!     reply ◀────────────── BaseReply ─────────────────────   (base OTs, trees, their proofs)
//!     accept ◀───────────── Corrections, in chunks ─────────  corrections …
//!     challenge ─────────── Challenge ────────────────────▶ answer
//!     verify ◀───────────── Check ─────────────────────────
//!     pay … ─────────────── Payload, in chunks ───────────▶ accept
//!     finish: −Σ r_0                                        finish: Σ (r_0 + b·v)
//! ```
//!
//! | Step | Source | Argument |
//! |---|---|---|
//! | 128 base OTs | Masny–Rindal, CCS 2019 | doc of `base` |
//! | trees and their proof | SoftSpokenOT, figures 13, 14 | doc of `pprf` |
//! | VOLE over the field of 2^k elements, repetition code | SoftSpokenOT, section 3 | doc of `vole` |
//! | consistency check, interactive | SoftSpokenOT, section 4; our hash | doc of `check` |
//! | pads, payload | Guo et al., S&P 2020 (TMMO) | doc of `pads` |
//!
//! κ = 128, statistical level 2⁻⁵¹ or better. Each run has fresh base OTs and a fresh Δ, thus an
//! abort tells nothing of use, and each error consumes the state that met it.
//!
//! # Cost
//! Per row: 16/k bytes of corrections and the words' bytes of payload (k = 4 and one word of 64
//! bits: 12 bytes; with k = 2: 16 bytes), on top of one extra block of 128 OTs and at most 29 KiB
//! per run. Memory: 16 bytes per row on either side, and one bit per row at the Receiver. Bulk work
//! runs in rayon's current pool, chunk by chunk.
//!
//! # Secrets
//! Δ, seeds, rows, choices and shares are zeroized on drop and have no `Debug`. No branch and no
//! index depends on them. AES is the `aes` crate's, constant-time with and without hardware.

mod base;
mod check;
mod messages;
mod pads;
mod parameters;
mod pprf;
mod receiver;
mod sender;
mod transpose;
mod vole;

#[cfg(test)]
mod ideal;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod vectors;

pub use messages::{BaseChoices, BaseReply, Challenge, Check, Corrections, Message, Payload};
pub use pads::Values;
pub use parameters::{CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, FieldBits, Parameters, ROWS_MAX, WORDS_MAX};
pub use receiver::{Choices, RandomChosen, Receiver, ReceiverChallenged, ReceiverExtending, ReceiverPaid};
pub use sender::{RandomPairs, Sender, SenderChallenging, SenderExtending, SenderPaying};
