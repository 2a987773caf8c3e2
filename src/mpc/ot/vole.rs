//! From leaves to rows: the small-field VOLE of SoftSpokenOT (section 3, figure 7) with the
//! repetition code, in the shape that the OT extension needs.
//!
//! Every leaf seed s_x is expanded to one bit per OT, r_x, by AES in counter mode (counter: index
//! of the block of 128 OTs). Tree j gives
//! - the Receiver, who has all leaves, u_j = ⊕_x r_x and, for each bit b of x, v_(jk+b) = ⊕_(x with
//!   bit b) r_x;
//! - the Sender, who lacks x = Δ_j, w_(jk+b) = ⊕_(x: bit b of x ⊕ Δ_j) r_x, where the missing leaf
//!   has coefficient 0.
//!
//! As bit b of x ⊕ Δ_j is bit b of x, flipped where Δ has a bit, w = v ⊕ Δ_(jk+b)·u_j. The Receiver
//! sends c_j = u_j ⊕ u, u its choices (that is the code: all trees are corrected to the same u),
//! the Sender adds Δ_(jk+b)·c_j, and row i of the transposed matrices fulfils q_i = t_i ⊕ u_i·Δ.

use aes::{
    Aes128Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use rayon::prelude::*;
use zeroize::Zeroize;

use super::{
    parameters::{BLOCK_ROWS, COLUMNS, FieldBits},
    transpose::transpose,
};

/// Blocks that are expanded at a time: the batch of the widest AES unit (64 blocks with VAES on 512
/// bits).
pub(super) const PIECE_BLOCKS: usize = 64;
/// Pieces that one task takes, at least: its buffers are made and zeroized once.
const TASK_PIECES: usize = 2;
/// Leaves folded in registers at a time.
const GROUP_LEAVES: usize = 16;
/// Lanes of a column: not a power of two, so that the 128 lanes of one block do not fall into a few
/// sets of the cache.
const COLUMN_STRIDE: usize = PIECE_BLOCKS + 4;

/// 128 bits of one column, as halves, low one first.
type Lane = [u64; 2];
/// One vector of a piece.
type Segment = [Lane; PIECE_BLOCKS];
/// The same, spaced.
type Column = [Lane; COLUMN_STRIDE];
/// Keystream of one leaf for a piece.
type Stream = [aes::Block; PIECE_BLOCKS];

/// The expanded keys of one side's leaves.
pub(super) struct Leaves {
    field_bits: FieldBits,
    /// 0 where all leaves are known, 1 where leaf 0 is missing.
    first: usize,
    /// Tree by tree; zeroized on drop.
    ciphers: Vec<Aes128Enc>,
}

/// Buffers of one worker.
struct Scratch {
    streams: Box<[Stream; GROUP_LEAVES]>,
    /// u of the tree at hand.
    sum: Box<Segment>,
    /// All columns of the piece, of which the last lanes are never used.
    columns: Vec<Column>,
}

impl Scratch {
    fn new() -> Self {
        Self {
            streams: Box::new([[aes::Block::default(); PIECE_BLOCKS]; GROUP_LEAVES]),
            sum: Box::new([[0; 2]; PIECE_BLOCKS]),
            columns: vec![[[0; 2]; COLUMN_STRIDE]; COLUMNS],
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.streams.as_flattened_mut().iter_mut().for_each(|block| block.0.zeroize());
        self.sum.as_flattened_mut().zeroize();
        self.columns.as_flattened_mut().as_flattened_mut().zeroize();
    }
}

impl Leaves {
    /// The Receiver's: all 2^k leaves of every tree.
    pub(super) fn all(field_bits: FieldBits, seeds: &[u128]) -> Self {
        Self { field_bits, first: 0, ciphers: schedule(seeds) }
    }

    /// The Sender's: leaves 1.. of every tree, numbered by x ⊕ Δ_j.
    pub(super) fn punctured(field_bits: FieldBits, seeds: &[u128]) -> Self {
        Self { field_bits, first: 1, ciphers: schedule(seeds) }
    }

    /// The Receiver's step. `choices` has a block's bits per block from `first_block` on; `rows`
    /// takes 128 rows t_i per block, `corrections` the blocks' rows of the message.
    pub(super) fn correct(&self, first_block: usize, choices: &[u128], rows: &mut [u128], corrections: &mut [u8]) {
        let width = self.field_bits.correction_bytes();
        (
            choices.par_chunks(PIECE_BLOCKS),
            rows.par_chunks_mut(PIECE_BLOCKS * BLOCK_ROWS),
            corrections.par_chunks_mut(PIECE_BLOCKS * width),
        )
            .into_par_iter()
            .enumerate()
            .with_min_len(TASK_PIECES)
            .for_each_init(Scratch::new, |scratch, (piece, (choices, rows, corrections))| {
                let first_block = first_block + piece * PIECE_BLOCKS;
                for tree in 0..self.field_bits.trees() {
                    self.expand(tree, first_block, scratch);
                    for ((row, choice), sum) in corrections.chunks_exact_mut(width).zip(choices).zip(&scratch.sum[..]) {
                        let correction = join(*sum) ^ choice;
                        row[16 * tree..16 * tree + 16].copy_from_slice(&correction.to_le_bytes());
                    }
                }
                for (block, rows) in rows.chunks_exact_mut(BLOCK_ROWS).enumerate() {
                    turn(rows, |column| scratch.columns[column][block]);
                }
            });
    }

    /// The Sender's step: `rows` takes 128 rows q_i per block of `corrections`.
    pub(super) fn apply(&self, first_block: usize, delta: u128, corrections: &[u8], rows: &mut [u128]) {
        let width = self.field_bits.correction_bytes();
        let shift = self.field_bits.bits().trailing_zeros();
        (corrections.par_chunks(PIECE_BLOCKS * width), rows.par_chunks_mut(PIECE_BLOCKS * BLOCK_ROWS))
            .into_par_iter()
            .enumerate()
            .with_min_len(TASK_PIECES)
            .for_each_init(Scratch::new, |scratch, (piece, (corrections, rows))| {
                let first_block = first_block + piece * PIECE_BLOCKS;
                for tree in 0..self.field_bits.trees() {
                    self.expand(tree, first_block, scratch);
                }
                for (block, (row, rows)) in
                    corrections.chunks_exact(width).zip(rows.chunks_exact_mut(BLOCK_ROWS)).enumerate()
                {
                    let row: &[[u8; 8]] = row.as_chunks().0;
                    turn(rows, |column| {
                        let tree = column >> shift;
                        // All ones where Δ has a bit: no branch on it.
                        let mask = ((delta >> column) as u64 & 1).wrapping_neg();
                        let own = scratch.columns[column][block];
                        [
                            own[0] ^ u64::from_le_bytes(row[2 * tree]) & mask,
                            own[1] ^ u64::from_le_bytes(row[2 * tree + 1]) & mask,
                        ]
                    });
                }
            });
    }

    /// Expands one tree's leaves over a piece: u into `sum`, v or w into the tree's `columns`.
    fn expand(&self, tree: usize, first_block: usize, scratch: &mut Scratch) {
        let leaves = self.field_bits.leaves();
        let known = leaves - self.first;
        let ciphers = &self.ciphers[tree * known..(tree + 1) * known];
        let k = self.field_bits.bits();
        let Scratch { streams, sum, columns } = scratch;
        let digits = &mut columns[tree * k..(tree + 1) * k];
        for group in 0..leaves.div_ceil(GROUP_LEAVES) {
            for leaf in 0..leaves.min(GROUP_LEAVES) {
                match (group * GROUP_LEAVES + leaf).checked_sub(self.first) {
                    Some(index) => keystream(&ciphers[index], first_block, &mut streams[leaf]),
                    None => streams[leaf].fill(aes::Block::default()),
                }
            }
            match self.field_bits {
                FieldBits::One => fold::<1, 2>(streams, group, sum, digits),
                FieldBits::Two => fold::<2, 4>(streams, group, sum, digits),
                FieldBits::Four | FieldBits::Eight => fold::<4, 16>(streams, group, sum, digits),
            }
        }
    }
}

fn schedule(seeds: &[u128]) -> Vec<Aes128Enc> {
    seeds.iter().map(|seed| Aes128Enc::new(&seed.to_le_bytes().into())).collect()
}

#[inline]
fn keystream(cipher: &Aes128Enc, first_block: usize, stream: &mut Stream) {
    for (offset, block) in stream.iter_mut().enumerate() {
        *block = ((first_block + offset) as u128).to_le_bytes().into();
    }
    cipher.encrypt_blocks(stream);
}

/// Adds a group of `LEAVES` = 2^`BITS` leaves: their sum to u, the sums by bit of the leaf's index
/// to the digits. Bits above come from the group's index, which is public; group 0 begins the sums.
/// 2·(`LEAVES` − 1) XORs rather than (`BITS`/2 + 1)·`LEAVES`.
fn fold<const BITS: usize, const LEAVES: usize>(
    streams: &[Stream; GROUP_LEAVES],
    group: usize,
    sum: &mut Segment,
    digits: &mut [Column],
) {
    if group == 0 {
        sum.fill([0; 2]);
        digits.iter_mut().for_each(|digit| digit.fill([0; 2]));
    }
    let (low, high) = digits.split_at_mut(BITS);
    for block in 0..PIECE_BLOCKS {
        let mut node = [[0; 2]; LEAVES];
        for (node, stream) in node.iter_mut().zip(streams) {
            *node = split(&stream[block]);
        }
        for (bit, digit) in low.iter_mut().enumerate() {
            for pair in 0..LEAVES >> (bit + 1) {
                let odd = node[2 * pair + 1];
                xor(&mut digit[block], odd);
                node[pair] = node[2 * pair];
                xor(&mut node[pair], odd);
            }
        }
        xor(&mut sum[block], node[0]);
        for (bit, digit) in high.iter_mut().enumerate() {
            if group >> bit & 1 == 1 {
                xor(&mut digit[block], node[0]);
            }
        }
    }
}

/// Transposes one block's columns into its 128 rows.
#[inline]
fn turn(rows: &mut [u128], column: impl Fn(usize) -> Lane) {
    let mut matrix: [Lane; 128] = std::array::from_fn(column);
    transpose(&mut matrix);
    for (row, lane) in rows.iter_mut().zip(&matrix) {
        *row = join(*lane);
    }
}

#[inline(always)]
fn xor(a: &mut Lane, b: Lane) {
    a[0] ^= b[0];
    a[1] ^= b[1];
}

#[inline(always)]
fn join(lane: Lane) -> u128 {
    lane[0] as u128 | (lane[1] as u128) << 64
}

#[inline(always)]
fn split(block: &aes::Block) -> Lane {
    let halves: &[[u8; 8]] = block.as_chunks().0;
    [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])]
}
