//! Domain separation: every string under which this crate hashes or derives something, in one place.

use sha2::{Digest, Sha512};

/// The version of the protocol on the wire. It is part of every [`Domain`], so that two versions never derive the
/// same element, tweak or hash.
pub const PROTOCOL_VERSION: u32 = 3;

/// Width of a domain in bytes. Fixed, so that no domain is another's prefix whatever follows it.
const DOMAIN_BYTES: usize = 32;

/// Bytes in front of an identifier: domain, column tag (1), length (8).
const IDENTIFIER_PREFIX_BYTES: usize = DOMAIN_BYTES + 1 + 8;

/// Bytes of a dummy's whole hash input: domain, seed, column tag (1), part (4), index (8).
const DUMMY_BYTES: usize = DOMAIN_BYTES + SEED_BYTES + 1 + 4 + 8;

/// Bytes of the transcript's digest that seeds the dummies: 256 bits keep their full collision resistance of 128.
const SEED_BYTES: usize = 32;

/// Longest identifier, in bytes, that SHA-512 takes in a single block of 128 bytes, beside the prefix and the 17
/// bytes that SHA-512 pads at least: e-mail addresses, phone numbers and hashes in hexadecimal all fit.
pub const ONE_BLOCK_IDENTIFIER_BYTES: usize = 128 - 17 - IDENTIFIER_PREFIX_BYTES;

// A dummy must take one block as well, or its time would tell it from an identifier.
const _: () = assert!(DUMMY_BYTES + 17 <= 128);

/// What a hash is for. The bytes of a domain open the hash's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Domain {
    /// An identifier, hashed to the group.
    Identifier,
    /// A common dummy identifier, hashed to the group.
    Dummy,
    /// The digest of the transcript from which the dummies of a session follow.
    DummySeed,
    /// The transcript of a session's hello.
    Transcript,
}

impl Domain {
    /// All domains, for the test that no two are the same.
    pub const ALL: [Self; 4] = [Self::Identifier, Self::Dummy, Self::DummySeed, Self::Transcript];

    /// The domain's 32 bytes: an ASCII name that holds the protocol's version, padded with zeros.
    pub const fn bytes(self) -> &'static [u8; DOMAIN_BYTES] {
        // The version is spelt out in each, so that a search for a string finds it; a test compares it with
        // `PROTOCOL_VERSION`.
        match self {
            Self::Identifier => b"datafusion-psi/3/identifier\0\0\0\0\0",
            Self::Dummy => b"datafusion-psi/3/dummy\0\0\0\0\0\0\0\0\0\0",
            Self::DummySeed => b"datafusion-psi/3/dummy-seed\0\0\0\0\0",
            Self::Transcript => b"datafusion-psi/3/transcript\0\0\0\0\0",
        }
    }
}

/// How the rows of one identifier column are hashed to the group, in one session.
///
/// - identifier: SHA-512([`Domain::Identifier`] ‖ column ‖ length as 8 bytes, little-endian ‖ identifier). The
///   domain holds no session salt: two sessions blind the same elements, with other scalars.
/// - dummy: SHA-512([`Domain::Dummy`] ‖ seed ‖ column ‖ part as 4 bytes, little-endian ‖ index as 8 bytes,
///   little-endian), seed being the first 32 bytes of SHA-512([`Domain::DummySeed`] ‖ the transcript hash). Both
///   parties derive the same dummies, and nobody knows them before the transcript is agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashDomain {
    column: u8,
    seed: [u8; SEED_BYTES],
}

impl HashDomain {
    /// The domain of the column at position `column` (from 0) in the match order, in the session that
    /// `transcript_hash` names. The transcript hash moves dummies only.
    pub fn new(column: u8, transcript_hash: &[u8]) -> Self {
        let digest = Sha512::new().chain_update(Domain::DummySeed.bytes()).chain_update(transcript_hash).finalize();
        let mut seed = [0; SEED_BYTES];
        seed.copy_from_slice(&digest[..SEED_BYTES]);
        Self { column, seed }
    }

    /// The message whose SHA-512 is mapped to the group for `identifier`.
    pub(super) fn identifier<'a>(&self, identifier: &'a [u8]) -> Message<'a> {
        let mut message = Message::opening_with(Domain::Identifier, identifier);
        message.push(&[self.column]);
        message.push(&(identifier.len() as u64).to_le_bytes());
        message
    }

    /// The message whose SHA-512 is mapped to the group for the dummy `index` of `part`.
    pub(super) fn dummy(&self, part: u32, index: u64) -> Message<'static> {
        let mut message = Message::opening_with(Domain::Dummy, &[]);
        message.push(&self.seed);
        message.push(&[self.column]);
        message.push(&part.to_le_bytes());
        message.push(&index.to_le_bytes());
        message
    }
}

/// An input of SHA-512 in two pieces, so that an identifier need not be copied.
pub(super) struct Message<'a> {
    head: [u8; DUMMY_BYTES],
    head_bytes: usize,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn opening_with(domain: Domain, body: &'a [u8]) -> Self {
        let mut message = Self { head: [0; DUMMY_BYTES], head_bytes: 0, body };
        message.push(domain.bytes());
        message
    }

    fn push(&mut self, piece: &[u8]) {
        let end = self.head_bytes + piece.len();
        self.head[self.head_bytes..end].copy_from_slice(piece);
        self.head_bytes = end;
    }

    /// Domain, tags and lengths.
    pub(super) fn head(&self) -> &[u8] {
        &self.head[..self.head_bytes]
    }

    /// The identifier; empty for a dummy.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(message: &Message<'_>) -> Vec<u8> {
        [message.head(), message.body()].concat()
    }

    #[test]
    fn every_domain_names_the_version_and_no_two_are_equal() {
        let version = format!("datafusion-psi/{PROTOCOL_VERSION}/");
        for (i, domain) in Domain::ALL.iter().enumerate() {
            assert!(domain.bytes().starts_with(version.as_bytes()), "{domain:?}");
            for other in &Domain::ALL[..i] {
                assert_ne!(domain.bytes(), other.bytes());
            }
        }
    }

    #[test]
    fn an_identifier_is_domain_column_length_bytes() {
        let message = HashDomain::new(3, b"transcript").identifier(b"ada@example.org").head().to_vec();
        let mut expected = b"datafusion-psi/3/identifier\0\0\0\0\0".to_vec();
        expected.extend([3, 15, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message, expected);
    }

    #[test]
    fn a_dummy_is_domain_seed_column_part_index() {
        let message = whole(&HashDomain::new(2, b"transcript").dummy(0x0403_0201, 9));
        let seed = Sha512::digest([&b"datafusion-psi/3/dummy-seed\0\0\0\0\0"[..], b"transcript"].concat());
        let mut expected = b"datafusion-psi/3/dummy\0\0\0\0\0\0\0\0\0\0".to_vec();
        expected.extend(&seed[..32]);
        expected.extend([2, 1, 2, 3, 4, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(message, expected);
    }

    #[test]
    fn the_transcript_moves_dummies_and_leaves_identifiers_alone() {
        let (a, b) = (HashDomain::new(0, b"one"), HashDomain::new(0, b"two"));
        assert_eq!(whole(&a.identifier(b"x")), whole(&b.identifier(b"x")));
        assert_ne!(whole(&a.dummy(0, 0)), whole(&b.dummy(0, 0)));
    }

    #[test]
    fn column_part_and_index_each_give_another_dummy() {
        let dummy = |column, part, index| whole(&HashDomain::new(column, b"t").dummy(part, index));
        let all = [dummy(0, 0, 0), dummy(1, 0, 0), dummy(0, 1, 0), dummy(0, 0, 1)];
        for i in 0..all.len() {
            for j in 0..i {
                assert_ne!(all[i], all[j]);
            }
        }
    }

    #[test]
    fn the_longest_one_block_identifier_leaves_room_for_the_padding() {
        let domain = HashDomain::new(0, b"t");
        let identifier = [b'x'; ONE_BLOCK_IDENTIFIER_BYTES];
        assert_eq!(whole(&domain.identifier(&identifier)).len() + 17, 128);
    }
}
