//! A column's identifiers as ranks: integers whose order is the identifiers' byte order.

use std::cmp::Ordering;

use arrow::array::{Array, LargeBinaryArray};
use rayon::prelude::*;

/// The rank of a row without an identifier in this column.
pub(super) const NO_RANK: u32 = u32::MAX;

/// Bytes of an identifier that travel with its sort key.
const PREFIX_BYTES: usize = 16;

/// An identifier column by ranks.
pub(super) struct RankedColumn {
    /// Per row, the rank of its identifier among the column's distinct ones, or [`NO_RANK`].
    pub(super) ranks: Vec<u32>,
    /// Per rank, a row that has this identifier.
    pub(super) row_of_rank: Vec<u32>,
}

/// A row's identifier for sorting: its first bytes after what all have in common, big-endian, so
/// that nearly all comparisons stay inside the key.
struct Key {
    prefix: [u64; 2],
    /// Length of the identifier behind the common start, `PREFIX_BYTES + 1` if it goes on behind
    /// the prefix: tells "a" from "a\0".
    length: u32,
    row: u32,
}

impl RankedColumn {
    /// Sorts the column's identifiers; no hash table, so no input is slow on purpose.
    ///
    /// The column has at most `ROWS_MAX` rows, as `prepare` checks.
    pub(super) fn new(column: &LargeBinaryArray) -> Self {
        let common = common_start(column);
        let mut keys: Vec<Key> = (0..column.len())
            .filter(|row| column.is_valid(*row))
            .map(|row| Key::new(column.value(row), common, row as u32))
            .collect();
        let compare = |left: &Key, right: &Key| left.compare(right, column, common);
        keys.par_sort_unstable_by(compare);

        let mut ranks = vec![NO_RANK; column.len()];
        let mut row_of_rank = Vec::new();
        let mut previous: Option<&Key> = None;
        for key in &keys {
            if previous.is_none_or(|previous| compare(previous, key).is_ne()) {
                row_of_rank.push(key.row);
            }
            ranks[key.row as usize] = (row_of_rank.len() - 1) as u32;
            previous = Some(key);
        }
        Self { ranks, row_of_rank }
    }

    /// The number of distinct identifiers.
    pub(super) fn identifiers(&self) -> usize {
        self.row_of_rank.len()
    }
}

impl Key {
    fn new(identifier: &[u8], common: usize, row: u32) -> Self {
        let rest = &identifier[common..];
        let mut prefix = [0u8; PREFIX_BYTES];
        let kept = rest.len().min(PREFIX_BYTES);
        prefix[..kept].copy_from_slice(&rest[..kept]);
        let prefix = u128::from_be_bytes(prefix);
        Self { prefix: [(prefix >> 64) as u64, prefix as u64], length: rest.len().min(PREFIX_BYTES + 1) as u32, row }
    }

    /// Byte order of the identifiers. Under equal prefixes, padded with zeros, a shorter one is
    /// the other's start and comes first.
    fn compare(&self, other: &Self, column: &LargeBinaryArray, common: usize) -> Ordering {
        let behind = common + PREFIX_BYTES;
        self.prefix.cmp(&other.prefix).then(self.length.cmp(&other.length)).then_with(|| {
            if self.length as usize <= PREFIX_BYTES {
                return Ordering::Equal;
            }
            let left = &column.value(self.row as usize)[behind..];
            let right = &column.value(other.row as usize)[behind..];
            left.cmp(right)
        })
    }
}

/// How many first bytes all identifiers of the column have in common.
fn common_start(column: &LargeBinaryArray) -> usize {
    let mut identifiers = column.iter().flatten();
    let Some(first) = identifiers.next() else {
        return 0;
    };
    let mut common = first.len();
    for identifier in identifiers {
        if !identifier.starts_with(&first[..common]) {
            let pairs = first[..common].iter().zip(identifier);
            common = pairs.take_while(|(left, right)| left == right).count();
        }
        if common == 0 {
            break;
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn check(rows: &[Option<Vec<u8>>]) {
        let column: LargeBinaryArray = rows.iter().map(Option::as_deref).collect();
        let ranked = RankedColumn::new(&column);
        let sorted: Vec<&Vec<u8>> = rows.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
        let expected: Vec<u32> = rows
            .iter()
            .map(|row| match row {
                Some(bytes) => sorted.binary_search(&bytes).unwrap() as u32,
                None => NO_RANK,
            })
            .collect();
        assert_eq!(ranked.ranks, expected);
        assert_eq!(ranked.identifiers(), sorted.len());
        for (rank, row) in ranked.row_of_rank.iter().enumerate() {
            assert_eq!(ranked.ranks[*row as usize], rank as u32);
        }
    }

    #[test]
    fn a_trailing_zero_byte_makes_another_identifier() {
        let zeros = |count: usize| Some(vec![0u8; count]);
        check(&[zeros(17), zeros(15), zeros(16), zeros(1), zeros(18), zeros(2), zeros(16)]);
        let after = |count: usize| Some([vec![b'a'; 20], vec![0u8; count]].concat());
        check(&[after(3), after(0), after(17), after(16), after(15), after(0)]);
    }

    #[test]
    fn columns_of_nulls_and_of_one_identifier_have_ranks() {
        check(&[]);
        check(&[None, None]);
        check(&[Some(b"same".to_vec()), None, Some(b"same".to_vec())]);
    }

    proptest! {
        #[test]
        fn ranks_are_positions_in_byte_order(
            common in proptest::collection::vec(any::<u8>(), 0..20),
            rows in proptest::collection::vec(
                proptest::option::weighted(
                    0.9,
                    proptest::collection::vec(proptest::sample::select(vec![0u8, 1, 255]), 0..24),
                ),
                0..60,
            ),
        ) {
            let rows: Vec<Option<Vec<u8>>> = rows
                .into_iter()
                .map(|row| row.map(|row| [common.clone(), row].concat()))
                .collect();
            check(&rows);
        }
    }
}
