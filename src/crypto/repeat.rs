//! Whether a column holds one element twice.

use thiserror::Error;

use super::column::{ELEMENT_BYTES, ElementColumn};
use super::radix::TagRows;

/// Bytes of an encoding that are compared, from the second on. The first byte's lowest bit and the last byte's
/// highest are zero in every encoding and would say nothing.
const PREFIX: std::ops::Range<usize> = 1..13;

/// The peer's column holds one element twice. An honest peer's never does, as its identifiers are unique within a
/// column: end the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer's column holds the same element in rows {first} and {second}")]
pub struct RepeatedElement {
    /// The earlier row, from 0.
    pub first: u32,
    /// A later row with the same element.
    pub second: u32,
}

/// Looks for repeated elements in a column that arrives in chunks and need not be kept.
///
/// Per element it keeps 16 bytes: twelve of the encoding, as a tag, and the row's number; in the end it sorts them
/// ([`TagRows`]) and compares neighbours. A repeated element is always found, since equal elements have equal encodings. Two
/// different ones agree in these 96 bits with a probability of 2^-96, so an honest column of n elements, which are
/// pseudo-random to everyone, is refused with probability below n²/2^97: 2^-57 at 10^6 rows, 2^-50 at 10^7, less
/// than what matching by tags risks. A peer that searches for such a pair, at some 2^48 multiplications, refuses
/// itself; and no choice of elements makes a sort slow, as it could a hash table.
///
/// Where the column is evaluated as well, its tags tell the same for nothing: sorting them refuses one that is there twice
/// ([`TagRows::sort`]).
pub struct RepeatCheck {
    rows: TagRows,
}

impl RepeatCheck {
    /// A check of a column of some `rows` elements: the number is no limit, but time and memory are best
    /// [where it is about right](TagRows). Room is made as they arrive.
    pub fn with_capacity(rows: u32) -> Self {
        Self { rows: TagRows::new(8 * PREFIX.len() as u32, rows.into()) }
    }

    /// Takes the next chunk of the column.
    ///
    /// # Panics
    /// Where the column grows beyond 2^32 rows; the caller has bounded it before.
    pub fn absorb(&mut self, chunk: &ElementColumn) {
        let start = self.rows.len();
        let end = start + chunk.len();
        assert!(u32::try_from(end).is_ok(), "rows are counted in 32 bits");
        for (element, row) in chunk.elements().iter().zip(start..) {
            self.rows.push(prefix(element), row as u32);
        }
    }

    /// Whether no element was there twice; else the first repeated one by encoding, and its first two rows.
    pub fn finish(self) -> Result<(), RepeatedElement> {
        self.rows.sort().map(drop).map_err(|[first, second]| RepeatedElement { first, second })
    }
}

fn prefix(element: &[u8; ELEMENT_BYTES]) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    bytes[size_of::<u128>() - PREFIX.len()..].copy_from_slice(&element[PREFIX]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_core::{Rng, SeedableRng};

    use super::super::random::ChaCha20Rng;
    use super::*;

    fn check(chunks: &[&[[u8; 32]]]) -> Result<(), RepeatedElement> {
        let mut check = RepeatCheck::with_capacity(chunks.iter().map(|chunk| chunk.len() as u32).sum());
        for chunk in chunks {
            check.absorb(&ElementColumn::from(chunk.to_vec()));
        }
        check.finish()
    }

    fn random(rows: usize) -> Vec<[u8; 32]> {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        (0..rows)
            .map(|_| {
                let mut bytes = [0; 32];
                rng.fill_bytes(&mut bytes);
                bytes
            })
            .collect()
    }

    #[test]
    fn nothing_and_one_element_do_not_repeat() {
        assert_eq!(RepeatCheck::with_capacity(4).finish(), Ok(()));
        assert_eq!(check(&[&[[7; 32]]]), Ok(()));
    }

    #[test]
    fn a_repeat_in_another_chunk_is_found_with_both_rows() {
        let mut rows = random(3000);
        assert_eq!(check(&[&rows[..1000], &[], &rows[1000..]]), Ok(()));
        rows[2999] = rows[17];
        assert_eq!(
            check(&[&rows[..1000], &rows[1000..2000], &rows[2000..]]),
            Err(RepeatedElement { first: 17, second: 2999 })
        );
    }

    #[test]
    fn elements_that_agree_in_eleven_of_twelve_bytes_differ() {
        let rows = random(1);
        for byte in PREFIX {
            let mut other = rows[0];
            other[byte] ^= 1;
            assert_eq!(check(&[&[rows[0], other]]), Ok(()), "byte {byte}");
        }
    }

    proptest! {
        #[test]
        fn finds_a_repeat_exactly_where_there_is_one(
            draws in prop::collection::vec(0u8..60, 0..20),
            cut in 0usize..20,
        ) {
            let rows: Vec<[u8; 32]> = draws.iter().map(|&draw| [draw; 32]).collect();
            let cut = cut.min(rows.len());
            match check(&[&rows[..cut], &rows[cut..]]) {
                Ok(()) => {
                    let distinct: std::collections::HashSet<_> = rows.iter().collect();
                    prop_assert_eq!(distinct.len(), rows.len());
                }
                Err(RepeatedElement { first, second }) => {
                    prop_assert!(first < second);
                    prop_assert_eq!(rows[first as usize], rows[second as usize]);
                }
            }
        }
    }
}
