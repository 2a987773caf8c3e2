//! Tags: their length, and their order as numbers.

use crate::crypto::TagRows;

/// A tag as a number, big-endian, so that numbers compare as the bytes do: 16 bytes hold every tag length that
/// tables of up to 2^31 rows have.
pub(super) type Tag = u128;

/// Tag length in bytes for tables of `own_rows` and `peer_rows` on the wire (dummies included) and K columns:
/// ⌈(49 + 2·bitlen(n_A + n_B) + bitlen(K)) / 8⌉.
///
/// Among n = n_A + n_B tags of b uniformly random bits two collide with a chance of at most n²/2 · 2^-b; over K
/// columns K times that. The lowest bit of an encoding is always 0 (RFC 9496, section 4.3.2: the encoded field
/// element is non-negative), so b = 8t − 1 ≥ 48 + 2·bitlen(n) + bitlen(K), and the chance of any collision in a
/// session, inside one table or between the two, stays below 2^-49.
pub fn tag_bytes(own_rows: u64, peer_rows: u64, columns: usize) -> u8 {
    let bit_length = |n: u64| u64::BITS - n.leading_zeros();
    let bits = 49 + 2 * bit_length(own_rows + peer_rows) + bit_length(columns as u64);
    bits.div_ceil(8) as u8
}

pub(super) fn tag_number(bytes: &[u8]) -> Tag {
    let word = |bytes: &[u8; 8]| Tag::from(u64::from_be_bytes(*bytes));
    match (bytes.first_chunk(), bytes.last_chunk()) {
        // Of 8 to 16 bytes: where the two words overlap, they agree.
        (Some(first), Some(last)) => word(first) << (8 * (bytes.len() - 8)) | word(last),
        _ => bytes.iter().fold(0, |number, byte| number << 8 | Tag::from(*byte)),
    }
}

/// The tags' bytes again, one after another.
pub(super) fn bytes_of(tags: impl Iterator<Item = Tag>, tag_bytes: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tags.size_hint().1.unwrap_or(0) * tag_bytes);
    tags.for_each(|tag| bytes.extend_from_slice(&tag.to_be_bytes()[size_of::<Tag>() - tag_bytes..]));
    bytes
}

/// Room for tags of some `rows` rows.
pub(super) fn tag_rows(tag_bytes: usize, rows: u64) -> TagRows {
    TagRows::new(8 * tag_bytes as u32, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_against_a_million_takes_tags_of_twelve_bytes() {
        assert_eq!(tag_bytes(1_000_000, 1_000_000, 1), 12);
        assert_eq!(tag_bytes(0, 0, 1), 7);
        assert_eq!(tag_bytes(1 << 31, 1 << 31, 8), 15);
    }

    #[test]
    fn numbers_order_tags_as_their_bytes_do() {
        let (low, high) = ([0, 255, 255, 1], [1, 0, 0, 0]);
        assert!(tag_number(&low) < tag_number(&high));
        assert_eq!(bytes_of([low, high].iter().map(|tag| tag_number(tag)), 4), [low, high].concat());
    }

    #[test]
    fn numbers_of_all_lengths_are_the_bytes() {
        let bytes: Vec<u8> = (200..216).collect();
        for length in 0..=bytes.len() {
            let tag = &bytes[..length];
            let number = tag.iter().fold(0, |number, byte| number * 256 + Tag::from(*byte));
            assert_eq!(tag_number(tag), number, "{length} bytes");
            assert_eq!(bytes_of([number, number].into_iter(), length), [tag, tag].concat());
        }
    }

    #[test]
    fn the_longest_tags_that_limits_allow_can_be_sorted() {
        // 2^30 persons and 2^24 dummies for each of eight columns, on either side.
        let most = (1 << 30) + 8 * (1 << 24);
        assert!(tag_rows(tag_bytes(most, most, 8).into(), 1).is_empty());
    }
}
