//! The consistency check: all trees were corrected to one and the same vector of choices.
//!
//! SoftSpokenOT, section 4 (subspace VOLE, malicious), with the universal hash that is easiest to
//! reason about: a uniformly random binary matrix. For the repetition code and k bits per tree this
//! is the whole argument.
//!
//! *Protocol.* After all corrections the Sender draws a challenge, both expand it (AES in counter
//! mode) to R = [R' | I]: R' is random, 64 × (128·blocks), and I takes the first 64 rows of the
//! extra block, whose choices are random. The Receiver answers ũ = R·u and Ṽ = R·V; the Sender
//! checks R·W = Ṽ ⊕ ũ ⊗ Δ, column by column.
//!
//! *Nothing leaks to the Sender:* ũ is hidden by the extra block's choices, a one-time pad, for
//! whatever challenge; so a Sender that chooses its challenge badly gains nothing, and no coin toss
//! is needed. Ṽ is then determined by ũ, W and Δ.
//!
//! *What the Receiver can get away with.* The trees are consistent ([`super::pprf`]), so w =
//! v_(jk+b) ⊕ Δ_(jk+b)·u_j with vectors u_j that the corrections have fixed before the challenge.
//! Let e_j = R·u_j ⊕ ũ. The check of tree j reads (claimed ⊕ true Ṽ)_(jk+b) = Δ_(jk+b)·e_j for all
//! k bits b. If e_j ≠ 0, that holds for at most one value of Δ_j: the Receiver has guessed k bits,
//! and passed with probability 2^−k. Among the trees with e_j = 0 all u_j are equal, except with
//! probability C(128/k, 2)·2⁻⁶⁴: two different u_j, u_j' have R·(u_j ⊕ u_j') = 0 with probability
//! 2⁻⁶⁴ (rows of R are independent; where they differ in the extra block only, I decides; its last
//! 64 rows are used by nobody). So, but for 2⁻⁵¹ (k = 1; 2⁻⁵⁵ for k = 4), a Receiver that passes
//! has one vector of choices on all trees but e of them, of whose Δ it has guessed k·e bits at a
//! chance of 2^(−k·e): guessing Δ outright is as good. The customary statistical level is 2⁻⁴⁰. The
//! randomness of R is AES's; a difference that falsifies the bound by more than AES's advantage is
//! a distinguisher, as the differences are fixed before the seed is drawn.
//!
//! *Why interactive:* with the challenge from a hash of the transcript a Receiver could try
//! corrections offline until an inconsistent one passes; 2⁵¹ tries are in reach of a determined
//! one, so R would need 128 rows and every correction a pass through SHA. The interactive challenge
//! costs 16 bytes, in a message that the Sender owes anyway before its payload, hence one round
//! trip per run.
//!
//! *In transit.* R's seed is the challenge together with a hash of all messages before it, as each
//! side saw them. That adds nothing against a Receiver that lies, who hashes its lie; but it makes
//! any bit that changed on the way abort, where the check alone lets a flipped correction of tree j
//! pass if Δ_j = 0 (and then it has no effect).
//!
//! *Departures:* the paper hashes over the big field by polynomials; without carry-less
//! multiplication (an unsafe intrinsic) the matrix is faster: four rows' sums are tabulated and one
//! lookup serves four bits of R. Indices come from R, which is public; the tables' contents are
//! secret. The paper's reference code compresses to 40 bits, this one to 64.

use aes::{
    Aes128Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use super::{
    super::domain::{Bound, Label},
    parameters::BLOCK_ROWS,
};

/// Rows of R, m: the bits that a difference has to get past.
pub(super) const CHECK_ROWS: usize = 64;

/// Rows of the data that share a word of R.
const GROUP: usize = 32;
/// R's words for one block: per 32 data rows, a word for each of R's rows.
type Words = [[u32; CHECK_ROWS]; BLOCK_ROWS / GROUP];

/// Hash of the messages before the challenge, in order.
pub(super) struct Transcript {
    hash: Sha256,
}

impl Transcript {
    /// Bytes that one task hashes.
    const PIECE_BYTES: usize = 1 << 15;

    pub(super) fn new() -> Self {
        Self { hash: Sha256::new() }
    }

    /// Adds a message, as a tree of two levels, so that the bulk is hashed in parallel.
    pub(super) fn add(&mut self, message: &[u8]) {
        let pieces: Vec<[u8; 32]> =
            message.par_chunks(Self::PIECE_BYTES).map(|piece| Sha256::digest(piece).into()).collect();
        self.hash.update((message.len() as u64).to_le_bytes());
        self.hash.update(pieces.as_flattened());
    }

    fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

/// R, from the challenge.
pub(super) struct CheckMatrix {
    cipher: Aes128Enc,
}

impl CheckMatrix {
    pub(super) fn new(bound: &Bound, transcript: Transcript, challenge: &[u8; 16]) -> Self {
        let key = bound.hash_block(Label::CheckMatrix, &[challenge, &transcript.finish()]);
        Self { cipher: Aes128Enc::new(&key.to_le_bytes().into()) }
    }

    /// R's columns for one block: 64 AES blocks, read as little-endian words, those of the first 32
    /// data rows first.
    fn words(&self, block: usize) -> Words {
        let mut stream = [aes::Block::default(); CHECK_ROWS];
        for (index, counter) in stream.iter_mut().enumerate() {
            *counter = ((block * CHECK_ROWS + index) as u128).to_le_bytes().into();
        }
        self.cipher.encrypt_blocks(&mut stream);
        let mut words = [[0; CHECK_ROWS]; BLOCK_ROWS / GROUP];
        for (four, block) in words.as_flattened_mut().as_chunks_mut::<4>().0.iter_mut().zip(&stream) {
            let bytes: &[[u8; 4]] = block.as_chunks().0;
            for (word, bytes) in four.iter_mut().zip(bytes) {
                *word = u32::from_le_bytes(*bytes);
            }
        }
        words
    }

    /// R·M for a matrix with one row of 128 bits per OT: whole blocks, the extra one last.
    pub(super) fn compress(&self, rows: &[u128]) -> [u128; CHECK_ROWS] {
        let (rows, extra) = rows.split_at(rows.len() - BLOCK_ROWS);
        let mut sums = rows
            .par_chunks(64 * BLOCK_ROWS)
            .enumerate()
            .map(|(piece, rows)| {
                let mut sums = [0; CHECK_ROWS];
                for (block, rows) in rows.as_chunks::<BLOCK_ROWS>().0.iter().enumerate() {
                    self.add_block(64 * piece + block, rows, &mut sums);
                }
                sums
            })
            .reduce(|| [0; CHECK_ROWS], |a, b| std::array::from_fn(|row| a[row] ^ b[row]));
        for (sum, extra) in sums.iter_mut().zip(extra) {
            *sum ^= extra;
        }
        sums
    }

    fn add_block(&self, block: usize, rows: &[u128; BLOCK_ROWS], sums: &mut [u128; CHECK_ROWS]) {
        let mut tables = [[0u128; 16]; GROUP / 4];
        for (words, rows) in self.words(block).iter().zip(rows.as_chunks::<GROUP>().0) {
            for (table, four) in tables.iter_mut().zip(rows.as_chunks::<4>().0) {
                for (bit, row) in four.iter().enumerate() {
                    for low in 0..1 << bit {
                        table[low + (1 << bit)] = table[low] ^ row;
                    }
                }
            }
            for (sum, word) in sums.iter_mut().zip(words) {
                let mut total = *sum;
                for (digit, table) in tables.iter().enumerate() {
                    total ^= table[(word >> (4 * digit) & 15) as usize];
                }
                *sum = total;
            }
        }
        tables.as_flattened_mut().zeroize();
    }

    /// R·u for the choices, 128 bits per block, the extra block last; bit j for row j of R.
    pub(super) fn compress_bits(&self, choices: &[u128]) -> u64 {
        let (choices, extra) = choices.split_at(choices.len() - 1);
        let overlaps = choices
            .par_chunks(64)
            .enumerate()
            .map(|(piece, choices)| {
                let mut overlaps = [0; CHECK_ROWS];
                for (block, choices) in choices.iter().enumerate() {
                    for (group, words) in self.words(64 * piece + block).iter().enumerate() {
                        let choices = (choices >> (GROUP * group)) as u32;
                        for (overlap, word) in overlaps.iter_mut().zip(words) {
                            // Parities are taken once, at the end.
                            *overlap ^= word & choices;
                        }
                    }
                }
                overlaps
            })
            .reduce(|| [0; CHECK_ROWS], |a, b| std::array::from_fn(|row| a[row] ^ b[row]));
        let parities = overlaps
            .iter()
            .enumerate()
            .fold(0, |bits, (row, overlap)| bits | u64::from(overlap.count_ones() & 1) << row);
        parities ^ extra[0] as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use rand_core::Rng;

    fn random(seed: u8, count: usize) -> Vec<u128> {
        let mut rng = rng(seed);
        (0..count).map(|_| rng.next_u64() as u128 | (rng.next_u64() as u128) << 64).collect()
    }

    #[test]
    fn the_fast_products_are_those_of_the_written_out_matrix() {
        let bound = bound(&parameters(4, 0, &[]));
        for blocks in [0, 1, 2, 65] {
            let matrix = CheckMatrix::new(&bound, Transcript::new(), &[7; 16]);
            let rows = random(1, (blocks + 1) * BLOCK_ROWS);
            let choices = random(2, blocks + 1);
            let (mut sums, mut bits) = ([0; CHECK_ROWS], 0u64);
            for (j, sum) in sums.iter_mut().enumerate() {
                for (i, row) in rows.iter().enumerate() {
                    let (block, within) = (i / BLOCK_ROWS, i % BLOCK_ROWS);
                    let entry = if block < blocks {
                        matrix.words(block)[within / GROUP][j] >> (within % GROUP) & 1 == 1
                    } else {
                        within == j
                    };
                    if entry {
                        *sum ^= row;
                        bits ^= ((choices[block] >> within) as u64 & 1) << j;
                    }
                }
            }
            assert_eq!(matrix.compress(&rows), sums, "{blocks} blocks");
            assert_eq!(matrix.compress_bits(&choices), bits, "{blocks} blocks");
        }
    }

    #[test]
    fn another_challenge_or_transcript_is_another_matrix() {
        let bound = bound(&parameters(4, 0, &[]));
        let words = |messages: &[&[u8]]| {
            let mut transcript = Transcript::new();
            messages.iter().for_each(|message| transcript.add(message));
            CheckMatrix::new(&bound, transcript, &[7; 16]).words(0)
        };
        let long = vec![0; Transcript::PIECE_BYTES + 1];
        let all =
            [words(&[b"ab"]), words(&[b"a", b"b"]), words(&[]), words(&[b""]), words(&[&long]), words(&[&long[1..]])];
        for (index, words) in all.iter().enumerate() {
            assert!(!all[..index].contains(words), "{index}");
        }
        let first = CheckMatrix::new(&bound, Transcript::new(), &[7; 16]).words(0);
        assert_ne!(first, CheckMatrix::new(&bound, Transcript::new(), &[8; 16]).words(0));
        assert_ne!(first, CheckMatrix::new(&bound, Transcript::new(), &[7; 16]).words(1));
    }
}
