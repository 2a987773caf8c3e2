//! From correlated rows to pads, and from pads to additive shares.
//!
//! The hash is TMMO (Guo, Katz, Wang, Yu, "Efficient and Secure Multiparty Computation from
//! Fixed-Key Block Ciphers", IEEE S&P 2020, eprint 2019/074, section 7.4): H(x, τ) = π(π(x) ⊕ τ) ⊕
//! π(x), tweakable circular correlation robust for an ideal permutation π, up to about q²/2¹²⁸ for
//! q calls. π is AES-128 under a key that is hashed from the run's binding: public, but another
//! permutation for every run, so that work against one run does not help against another. Tweaks
//! must not repeat with the same input: τ holds the use, the pad's block index and the row. (Rows
//! may be chosen by a malicious Receiver, even equal: the endemic base OT allows it. The row in τ
//! is why that is harmless.)
//!
//! Each row's pad is the byte stream H(x, (use, 0, row)) ‖ H(x, (use, 1, row)) ‖ …; word w takes
//! the bytes at its own offset in the payload row. One call of π per row, and one more per 16 bytes
//! of payload.
//!
//! *Shares.* With x_0 = q, x_1 = q ⊕ Δ the Sender knows both pads r_0, r_1 and sends d = r_0 − r_1 + v;
//! the Receiver knows r_b from t = q ⊕ bΔ and computes r_b + b·d = r_0 + b·v, the Sender keeps the
//! negative of r_0. All mod 2⁶⁴ or 2¹²⁸. d is masked by r_(1−b), which the Receiver does not know: it
//! tells nothing about v but what its share tells, and that is uniform to it up to the r_b it may
//! choose.

use std::ops::Range;

use aes::{
    Aes128Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use rayon::prelude::*;
use zeroize::Zeroize;

use super::{
    super::{
        domain::{Bound, Label},
        share::WordWidth,
    },
    parameters::{BLOCK_ROWS, Parameters},
};

/// Rows of a batch: that of the widest AES unit.
const BATCH: usize = 64;
/// Rows that one task takes, at least: enough to make its start negligible.
const TASK_ROWS: usize = 32 * BATCH;

/// What pads are for: part of the tweak.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Use {
    /// Masks of payload words.
    Payload = 1,
    /// The random OT itself, for functions to come.
    RandomOt = 2,
}

/// One column of values, one per row of a chunk, as its word's width says.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// For [`WordWidth::Bits64`].
    Bits64(&'a [i64]),
    /// For [`WordWidth::Bits128`].
    Bits128(&'a [i128]),
}

impl Values<'_> {
    /// The word width that these values fit.
    pub fn width(&self) -> WordWidth {
        match self {
            Self::Bits64(_) => WordWidth::Bits64,
            Self::Bits128(_) => WordWidth::Bits128,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bits64(values) => values.len(),
            Self::Bits128(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value as a word of its ring.
    #[inline(always)]
    fn word(&self, row: usize) -> u128 {
        match self {
            Self::Bits64(values) => values[row] as u64 as u128,
            Self::Bits128(values) => values[row] as u128,
        }
    }
}

/// A word's place in the payload row and in the pad, in halves of a block.
#[derive(Clone, Copy)]
struct Word {
    width: WordWidth,
    half: usize,
}

/// π with the layout of a row.
pub(super) struct Pads {
    cipher: Aes128Enc,
    words: Vec<Word>,
    row_bytes: usize,
}

/// Pads of a batch: block by block, then row by row. Zeroized on drop.
struct Batch {
    /// π(x).
    inner: [aes::Block; BATCH],
    blocks: Vec<[aes::Block; BATCH]>,
}

impl Batch {
    fn new(blocks: usize) -> Self {
        Self { inner: [aes::Block::default(); BATCH], blocks: vec![[aes::Block::default(); BATCH]; blocks] }
    }

    /// The word of a row, not reduced beyond its width.
    #[inline(always)]
    fn word(&self, word: Word, row: usize) -> u128 {
        let half = |index: usize| {
            let halves: &[[u8; 8]] = self.blocks[index / 2][row].as_chunks().0;
            u64::from_le_bytes(halves[index % 2]) as u128
        };
        match word.width {
            WordWidth::Bits64 => half(word.half),
            WordWidth::Bits128 => half(word.half) | half(word.half + 1) << 64,
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let blocks = self.inner.iter_mut().chain(self.blocks.as_flattened_mut());
        blocks.for_each(|block| block.0.zeroize());
    }
}

impl Pads {
    pub(super) fn new(bound: &Bound, parameters: &Parameters) -> Self {
        let key = bound.hash_block(Label::PadKey, &[]);
        let mut half = 0;
        let words = parameters
            .words()
            .iter()
            .map(|width| {
                let word = Word { width: *width, half };
                half += width.bytes() / 8;
                word
            })
            .collect();
        Self { cipher: Aes128Enc::new(&key.to_le_bytes().into()), words, row_bytes: parameters.payload_row_bytes() }
    }

    /// Pads of up to 64 rows x ⊕ `offset`; `first_row` is the first one's index in the run.
    fn fill(&self, usage: Use, first_row: usize, rows: &[u128], offset: u128, batch: &mut Batch) {
        let Batch { inner, blocks } = batch;
        // A short batch keeps what was there behind it: the widest AES unit takes 64 blocks or is
        // slow.
        for (block, row) in inner.iter_mut().zip(rows) {
            *block = (row ^ offset).to_le_bytes().into();
        }
        self.cipher.encrypt_blocks(inner);
        for (index, outer) in blocks.iter_mut().enumerate() {
            let tweak = (usage as u128) << 120 | (index as u128) << 64;
            for (row, (outer, inner)) in outer.iter_mut().zip(inner.iter()).enumerate() {
                *outer = (u128::from_le_bytes(inner.0) ^ (tweak | (first_row + row) as u128)).to_le_bytes().into();
            }
            self.cipher.encrypt_blocks(outer);
            for (outer, inner) in outer.iter_mut().zip(inner.iter()) {
                *outer = (u128::from_le_bytes(outer.0) ^ u128::from_le_bytes(inner.0)).to_le_bytes().into();
            }
        }
    }

    /// The Sender's payload rows and its shares of their words. `rows` are q, one per row of the
    /// chunk.
    pub(super) fn pay(
        &self,
        first_row: usize,
        rows: &[u128],
        delta: u128,
        values: &[Values<'_>],
        payload: &mut [u8],
    ) -> Vec<u128> {
        let pad_blocks = self.row_bytes.div_ceil(16);
        (rows.par_chunks(TASK_ROWS), payload.par_chunks_mut(TASK_ROWS * self.row_bytes))
            .into_par_iter()
            .enumerate()
            .map(|(task, (rows, payload))| {
                let mut shares = vec![0u128; self.words.len()];
                let (mut zero, mut one) = (Batch::new(pad_blocks), Batch::new(pad_blocks));
                let batches = rows.chunks(BATCH).zip(payload.chunks_mut(BATCH * self.row_bytes));
                for (index, (rows, payload)) in batches.enumerate() {
                    let start = task * TASK_ROWS + index * BATCH;
                    self.fill(Use::Payload, first_row + start, rows, 0, &mut zero);
                    self.fill(Use::Payload, first_row + start, rows, delta, &mut one);
                    for ((word, values), share) in self.words.iter().zip(values).zip(&mut shares) {
                        let place = 8 * word.half;
                        for (row, payload) in payload.chunks_exact_mut(self.row_bytes).enumerate() {
                            let mask = zero.word(*word, row);
                            let masked = mask.wrapping_sub(one.word(*word, row)).wrapping_add(values.word(start + row));
                            *share = share.wrapping_sub(mask);
                            let bytes = word.width.bytes();
                            payload[place..place + bytes].copy_from_slice(&masked.to_le_bytes()[..bytes]);
                        }
                    }
                }
                shares
            })
            .reduce(|| vec![0; self.words.len()], add)
    }

    /// The Receiver's shares of a chunk's words. `rows` are t, `choice` gives a row of the chunk
    /// its bit.
    pub(super) fn collect(&self, first_row: usize, rows: &[u128], choices: &[u128], payload: &[u8]) -> Vec<u128> {
        let pad_blocks = self.row_bytes.div_ceil(16);
        (rows.par_chunks(TASK_ROWS), payload.par_chunks(TASK_ROWS * self.row_bytes))
            .into_par_iter()
            .enumerate()
            .map(|(task, (rows, payload))| {
                let mut shares = vec![0u128; self.words.len()];
                let mut chosen = Batch::new(pad_blocks);
                let batches = rows.chunks(BATCH).zip(payload.chunks(BATCH * self.row_bytes));
                for (index, (rows, payload)) in batches.enumerate() {
                    let start = first_row + task * TASK_ROWS + index * BATCH;
                    self.fill(Use::Payload, start, rows, 0, &mut chosen);
                    for (word, share) in self.words.iter().zip(&mut shares) {
                        let place = 8 * word.half;
                        for (row, payload) in payload.chunks_exact(self.row_bytes).enumerate() {
                            let bytes = word.width.bytes();
                            let mut masked = [0; 16];
                            masked[..bytes].copy_from_slice(&payload[place..place + bytes]);
                            // All ones where the row was chosen: no branch on it.
                            let taken = u128::from_le_bytes(masked) & choice(choices, start + row).wrapping_neg();
                            *share = share.wrapping_add(chosen.word(*word, row)).wrapping_add(taken);
                        }
                    }
                }
                shares
            })
            .reduce(|| vec![0; self.words.len()], add)
    }

    /// One block per row for `range`: the random OT's output at x ⊕ `offset`.
    pub(super) fn random(&self, range: Range<usize>, rows: &[u128], offset: u128) -> Vec<u128> {
        let mut outputs = vec![0; range.len()];
        outputs.par_chunks_mut(BATCH).zip(rows[range.clone()].par_chunks(BATCH)).enumerate().for_each(
            |(index, (outputs, rows))| {
                let mut batch = Batch::new(1);
                self.fill(Use::RandomOt, range.start + index * BATCH, rows, offset, &mut batch);
                for (output, block) in outputs.iter_mut().zip(&batch.blocks[0]) {
                    *output = u128::from_le_bytes(block.0);
                }
            },
        );
        outputs
    }
}

/// The choice bit of a row, 0 or 1.
#[inline(always)]
fn choice(choices: &[u128], row: usize) -> u128 {
    choices[row / BLOCK_ROWS] >> (row % BLOCK_ROWS) & 1
}

fn add(mut a: Vec<u128>, mut b: Vec<u128>) -> Vec<u128> {
    a.iter_mut().zip(&b).for_each(|(a, b)| *a = a.wrapping_add(*b));
    b.zeroize();
    a
}
