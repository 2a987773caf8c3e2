//! Tags: their length, their order, and finding one among many.

use rayon::prelude::*;

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
    bytes.iter().fold(0, |number, byte| number << 8 | Tag::from(*byte))
}

/// The tag's bytes again.
pub(super) fn tag_suffix(tag: Tag, tag_bytes: usize) -> impl Iterator<Item = u8> {
    tag.to_be_bytes().into_iter().skip(size_of::<Tag>() - tag_bytes)
}

/// Tags with the row or place that each belongs to, ascending by tag.
pub(super) struct SortedTags(Vec<(Tag, u32)>);

impl SortedTags {
    /// `None` where a tag occurs twice.
    pub(super) fn new(mut tags: Vec<(Tag, u32)>) -> Option<Self> {
        tags.par_sort_unstable();
        let repeated = tags.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (!repeated).then_some(Self(tags))
    }

    pub(super) fn as_slice(&self) -> &[(Tag, u32)] {
        &self.0
    }

    /// Looks for tags in ascending order, in one pass over both.
    pub(super) fn cursor(self) -> Cursor {
        Cursor { tags: self, passed: 0 }
    }
}

/// Where a search in ascending order has come to.
pub(super) struct Cursor {
    tags: SortedTags,
    passed: usize,
}

impl Cursor {
    /// The row of `tag`, which is not below any that was looked for before.
    pub(super) fn find(&mut self, tag: Tag) -> Option<u32> {
        let tags = &self.tags.0;
        while tags.get(self.passed).is_some_and(|(own, _)| *own < tag) {
            self.passed += 1;
        }
        tags.get(self.passed).filter(|(own, _)| *own == tag).map(|(_, row)| *row)
    }
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
        assert_eq!(tag_suffix(tag_number(&low), 4).collect::<Vec<_>>(), low);
    }

    #[test]
    fn a_cursor_finds_what_is_there_and_a_repeated_tag_makes_no_set() {
        let mut cursor = SortedTags::new(vec![(9, 0), (2, 1), (5, 2)]).unwrap().cursor();
        let found: Vec<_> = [0, 2, 3, 5, 5, 9, 10].into_iter().map(|tag| cursor.find(tag)).collect();
        assert_eq!(found, [None, Some(1), None, Some(2), Some(2), Some(0), None]);
        assert!(SortedTags::new(vec![(3, 0), (2, 1), (3, 2)]).is_none());
        assert!(SortedTags::new(Vec::new()).is_some());
    }
}
