//! The numbers that both ends of a run know before its first message.

use super::super::{domain::Bound, error::Misuse, share::WordWidth};
use crate::mpc::Binding;

/// Rows of one extension block: the width of an AES block in bits, and of the matrix that is
/// transposed.
pub(super) const BLOCK_ROWS: usize = 128;
/// κ: bits of Δ, number of base OTs, columns of the matrices V and W.
pub(super) const COLUMNS: usize = 128;

/// Most rows of a run: 2³⁰, at which either side holds 16 GiB. The arguments hold far beyond (the
/// pads' bound is about 2^(2·35 − 128) there); the limit is memory.
pub const ROWS_MAX: usize = 1 << 30;
/// Most words per row: 4,096, so that a payload row (at most 64 KiB) fits a chunk of any permitted
/// size.
pub const WORDS_MAX: usize = 4096;
/// Bytes of a streamed message by default: 256 KiB, far under the 4 MiB that gRPC takes.
pub const CHUNK_BYTES: usize = 1 << 18;
/// Least bytes of a streamed message: one row of [`WORDS_MAX`] wide words.
pub const CHUNK_BYTES_MIN: usize = 1 << 16;
/// Most bytes of a streamed message.
pub const CHUNK_BYTES_MAX: usize = 1 << 21;

/// SoftSpoken's k: the extension's field has 2^k elements. Larger k sends less and computes more.
///
/// | k | corrections, bytes per row | AES blocks per row (corrections only) |
/// |---|---|---|
/// | 1 | 16 | 2 |
/// | 2 | 8 | 2 |
/// | 4 | 4 | 4 |
/// | 8 | 2 | 32 |
///
/// The default is 4: against k = 2 it saves 4 bytes per row (32 ns on a gigabit link) and costs no
/// time, as it hashes and moves half the corrections for the two AES blocks that it computes more.
/// 8 costs some 30 ns more than 4 to save 2 bytes, so it pays on links slower than about half a
/// gigabit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum FieldBits {
    /// k = 1: the original IKNP shape, without trees.
    One = 1,
    /// k = 2.
    Two = 2,
    /// k = 4, the default.
    #[default]
    Four = 4,
    /// k = 8.
    Eight = 8,
}

impl TryFrom<u8> for FieldBits {
    type Error = Misuse;

    fn try_from(bits: u8) -> Result<Self, Misuse> {
        match bits {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            found => Err(Misuse::FieldBits { found }),
        }
    }
}

impl FieldBits {
    /// k.
    pub const fn bits(self) -> usize {
        self as usize
    }

    /// Leaves of a tree, q = 2^k.
    pub(super) const fn leaves(self) -> usize {
        1 << self.bits()
    }

    /// Trees, n_C = κ/k: the length of the repetition code.
    pub(super) const fn trees(self) -> usize {
        COLUMNS / self.bits()
    }

    /// Bytes of one block's corrections: 16 per tree.
    pub(super) const fn correction_bytes(self) -> usize {
        self.trees() * BLOCK_ROWS / 8
    }
}

/// Shape of a run. Public; both ends must hold equal ones, which the [`Binding`] makes the checks
/// enforce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    field_bits: FieldBits,
    rows: usize,
    words: Vec<WordWidth>,
    chunk_bytes: usize,
}

impl Parameters {
    /// A run over `rows` rows with one word per aggregate (all words ride on one OT per row). No
    /// words: a run that ends with random OTs.
    ///
    /// # Errors
    /// [`Misuse::RowsMax`], [`Misuse::WordsMax`].
    pub fn new(field_bits: FieldBits, rows: usize, words: Vec<WordWidth>) -> Result<Self, Misuse> {
        if rows > ROWS_MAX {
            return Err(Misuse::RowsMax { found: rows, max: ROWS_MAX });
        }
        if words.len() > WORDS_MAX {
            return Err(Misuse::WordsMax { found: words.len(), max: WORDS_MAX });
        }
        Ok(Self { field_bits, rows, words, chunk_bytes: CHUNK_BYTES })
    }

    /// The same with streamed messages of at most `bytes`.
    ///
    /// # Errors
    /// [`Misuse::ChunkBytes`] outside [`CHUNK_BYTES_MIN`] to [`CHUNK_BYTES_MAX`].
    pub fn with_chunk_bytes(mut self, bytes: usize) -> Result<Self, Misuse> {
        if !(CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&bytes) {
            return Err(Misuse::ChunkBytes { found: bytes, min: CHUNK_BYTES_MIN, max: CHUNK_BYTES_MAX });
        }
        self.chunk_bytes = bytes;
        Ok(self)
    }

    /// k.
    pub fn field_bits(&self) -> FieldBits {
        self.field_bits
    }

    /// Rows, one OT each.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One width per word.
    pub fn words(&self) -> &[WordWidth] {
        &self.words
    }

    /// Bytes of one payload row: the words' bytes in order, without gaps.
    pub fn payload_row_bytes(&self) -> usize {
        self.words.iter().map(|width| width.bytes()).sum()
    }

    /// Blocks of 128 rows, the last one filled up with random choices. One more follows for the
    /// check.
    pub(super) fn blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK_ROWS)
    }

    /// Rows of all `Corrections` messages together: blocks of 128 OTs, and the check's own.
    pub fn correction_blocks(&self) -> usize {
        self.blocks() + 1
    }

    /// Blocks of a full `Corrections` chunk.
    pub fn correction_chunk_blocks(&self) -> usize {
        round(self.chunk_bytes / self.field_bits.correction_bytes())
    }

    /// `Corrections` messages of a run.
    pub fn correction_chunks(&self) -> usize {
        (self.blocks() + 1).div_ceil(self.correction_chunk_blocks())
    }

    /// Rows of a full `Payload` chunk. Meaningless without words.
    pub fn payload_chunk_rows(&self) -> usize {
        round(self.chunk_bytes / self.payload_row_bytes().max(1))
    }

    /// `Payload` messages of a run.
    pub fn payload_chunks(&self) -> usize {
        if self.words.is_empty() { 0 } else { self.rows.div_ceil(self.payload_chunk_rows()) }
    }

    pub(super) fn bind(&self, binding: Binding<'_>) -> Bound {
        let mut bytes = vec![self.field_bits as u8];
        bytes.extend_from_slice(&(self.rows as u64).to_le_bytes());
        bytes.extend_from_slice(&(self.chunk_bytes as u64).to_le_bytes());
        bytes.extend(self.words.iter().map(|width| width.bytes() as u8));
        Bound::new(binding, &bytes)
    }
}

/// Down to a multiple of 64, the batch of the kernels, where that leaves anything.
fn round(count: usize) -> usize {
    if count >= 64 { count / 64 * 64 } else { count.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_at_the_edge_and_refuse_one_past_it() {
        assert!(Parameters::new(FieldBits::Two, ROWS_MAX, vec![]).is_ok());
        assert_eq!(
            Parameters::new(FieldBits::Two, ROWS_MAX + 1, vec![]),
            Err(Misuse::RowsMax { found: ROWS_MAX + 1, max: ROWS_MAX })
        );
        assert!(Parameters::new(FieldBits::Two, 1, vec![WordWidth::Bits128; WORDS_MAX]).is_ok());
        assert!(Parameters::new(FieldBits::Two, 1, vec![WordWidth::Bits64; WORDS_MAX + 1]).is_err());
        let one = Parameters::new(FieldBits::Two, 1, vec![]).unwrap();
        for (bytes, fine) in [
            (CHUNK_BYTES_MIN, true),
            (CHUNK_BYTES_MIN - 1, false),
            (CHUNK_BYTES_MAX, true),
            (CHUNK_BYTES_MAX + 1, false),
        ] {
            assert_eq!(one.clone().with_chunk_bytes(bytes).is_ok(), fine, "{bytes}");
        }
        for bits in 0..=u8::MAX {
            assert_eq!(FieldBits::try_from(bits).is_ok(), [1, 2, 4, 8].contains(&bits));
        }
    }

    #[test]
    fn no_chunk_exceeds_its_bytes_for_any_shape() {
        for k in [1, 2, 4, 8] {
            let field_bits = FieldBits::try_from(k).unwrap();
            for words in [1, 2, 3, 100, WORDS_MAX] {
                for bytes in [CHUNK_BYTES_MIN, CHUNK_BYTES, CHUNK_BYTES_MAX] {
                    let parameters = Parameters::new(field_bits, 1 << 20, vec![WordWidth::Bits128; words])
                        .unwrap()
                        .with_chunk_bytes(bytes)
                        .unwrap();
                    let corrections = parameters.correction_chunk_blocks() * field_bits.correction_bytes();
                    let payload = parameters.payload_chunk_rows() * parameters.payload_row_bytes();
                    assert!((1..=bytes).contains(&corrections), "{corrections}");
                    assert!((1..=bytes).contains(&payload), "{payload}");
                }
            }
        }
    }
}
