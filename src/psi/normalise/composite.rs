//! Several columns as one identifier.

use arrow::array::{Array, LargeBinaryArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};

use super::NormaliseError;

/// Bytes of a part's length, big-endian, before the part.
const LENGTH_BYTES: usize = 8;

/// One identifier per row out of several normalised columns: null where any part is null, else
/// each part behind its length (8 bytes, big-endian), in the order given. Two rows are equal
/// exactly where all their parts are. A single column is its own composite, without a length.
///
/// # Errors
/// [`NormaliseError::NoParts`] and [`NormaliseError::PartLength`].
pub fn combine(parts: &[LargeBinaryArray]) -> Result<LargeBinaryArray, NormaliseError> {
    let (first, others) = parts.split_first().ok_or(NormaliseError::NoParts)?;
    let expected = first.len();
    if let Some(index) = others.iter().position(|part| part.len() != expected) {
        return Err(NormaliseError::PartLength { part: index + 1, found: others[index].len(), expected });
    }
    if others.is_empty() {
        return Ok(first.clone());
    }

    let nulls = parts.iter().fold(None, |nulls, part| NullBuffer::union(nulls.as_ref(), part.nulls()));
    let mut values = Vec::new();
    let mut lengths = Vec::with_capacity(expected);
    for row in 0..expected {
        let before = values.len();
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            for part in parts {
                let part = part.value(row);
                let length: [u8; LENGTH_BYTES] = (part.len() as u64).to_be_bytes();
                values.extend_from_slice(&length);
                values.extend_from_slice(part);
            }
        }
        lengths.push(values.len() - before);
    }
    Ok(LargeBinaryArray::new(OffsetBuffer::from_lengths(lengths), Buffer::from_vec(values), nulls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(rows: &[Option<&[u8]>]) -> LargeBinaryArray {
        rows.iter().copied().collect()
    }

    #[test]
    fn where_one_part_ends_cannot_move() {
        let left = column(&[Some(b"ab"), Some(b"a"), Some(b"a")]);
        let right = column(&[Some(b"c"), Some(b"bc"), None]);
        let both = combine(&[left, right]).unwrap();
        assert_ne!(both.value(0), both.value(1));
        assert_eq!(both.value(1), b"\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x02bc");
        assert!(both.is_null(2));
    }

    #[test]
    fn one_column_is_its_own_composite() {
        let only = column(&[Some(b"a"), None]);
        assert_eq!(combine(std::slice::from_ref(&only)).unwrap(), only);
    }

    #[test]
    fn no_columns_or_columns_of_two_tables_are_refused() {
        assert_eq!(combine(&[]), Err(NormaliseError::NoParts));
        let error = combine(&[column(&[None]), column(&[None]), column(&[])]);
        let expected = NormaliseError::PartLength { part: 2, found: 0, expected: 1 };
        assert_eq!(error, Err(expected));
    }

    proptest! {
        #[test]
        fn composites_are_equal_exactly_where_all_parts_are(
            rows in proptest::collection::vec(
                proptest::array::uniform3(proptest::option::of(
                    proptest::collection::vec(0u8..3, 0..4),
                )),
                2..6,
            ),
        ) {
            let parts: Vec<LargeBinaryArray> = (0..3)
                .map(|part| rows.iter().map(|row| row[part].as_deref()).collect())
                .collect();
            let both = combine(&parts).unwrap();
            for (i, left) in rows.iter().enumerate() {
                prop_assert_eq!(both.is_null(i), left.iter().any(Option::is_none));
                for (j, right) in rows.iter().enumerate() {
                    if both.is_valid(i) && both.is_valid(j) {
                        prop_assert_eq!(both.value(i) == both.value(j), left == right);
                    }
                }
            }
        }
    }
}
