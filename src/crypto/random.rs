//! The generator: ChaCha20, wiped when dropped.

use std::fmt;
use std::ops::{Deref, DerefMut};

use rand_core::SeedableRng;

/// ChaCha20 as a generator of random numbers, from a seed of 32 bytes: a session's, which decides its scalars, orders, pads
/// and noise, and those of a stage, a batch or a block, whose seeds it draws.
///
/// It is the [`chacha20`] crate's, which overwrites key, counter and buffered output when it is dropped. It lies on the
/// heap, so that moving it, from a session's stage to the next say, leaves no copy behind; it prints as
/// `ChaCha20Rng(…)` and cannot be cloned. Words, bytes and positions are those of that crate's type, to which it derefs.
pub struct ChaCha20Rng(Box<chacha20::ChaCha20Rng>);

impl SeedableRng for ChaCha20Rng {
    type Seed = [u8; 32];

    fn from_seed(seed: Self::Seed) -> Self {
        Self(Box::new(chacha20::ChaCha20Rng::from_seed(seed)))
    }
}

// rand_core makes a generator of whatever derefs to one.
impl Deref for ChaCha20Rng {
    type Target = chacha20::ChaCha20Rng;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ChaCha20Rng {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for ChaCha20Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaCha20Rng(…)")
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// RFC 8439, appendix A.1, test vectors 1 and 2: blocks 0 and 1 of the key 0. Counter and nonce share their 128 bits
    /// with the original's in another way, which a nonce of 0 and a small counter do not show.
    const BLOCKS_OF_ZERO: [u8; 128] = [
        0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28, 0xbd, 0xd2,
        0x19, 0xb8, 0xa0, 0x8d, 0xed, 0x1a, 0xa8, 0x36, 0xef, 0xcc, 0x8b, 0x77, 0x0d, 0xc7, 0xda, 0x41, 0x59, 0x7c,
        0x51, 0x57, 0x48, 0x8d, 0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37, 0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18,
        0xa1, 0x1c, 0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86, 0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
        0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d, 0xcb, 0x0f, 0x29, 0xa0, 0x48, 0xe3, 0x65, 0x69, 0x12, 0xc6,
        0x53, 0x3e, 0x32, 0xee, 0x7a, 0xed, 0x29, 0xb7, 0x21, 0x76, 0x9c, 0xe6, 0x4e, 0x43, 0xd5, 0x71, 0x33, 0xb0,
        0x74, 0xd8, 0x39, 0xd5, 0x31, 0xed, 0x1f, 0x28, 0x51, 0x0a, 0xfb, 0x45, 0xac, 0xe1, 0x0a, 0x1f, 0x4b, 0x79,
        0x4d, 0x6f,
    ];

    #[test]
    fn blocks_are_those_of_rfc_8439_from_every_word_on() {
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        for word in 0..32 {
            rng.set_word_pos(word as u128);
            let mut bytes = vec![0; 128 - 4 * word];
            rng.fill_bytes(&mut bytes);
            assert_eq!(bytes, BLOCKS_OF_ZERO[4 * word..], "from word {word} on");
        }
    }

    #[test]
    fn it_is_wiped_by_the_crate_that_makes_it_and_shows_nothing() {
        // Fails to compile where that crate's feature is not on.
        fn wiped<T: ZeroizeOnDrop>(_: &T) {}
        let rng = ChaCha20Rng::seed_from_u64(5);
        wiped(&*rng);
        assert_eq!(format!("{rng:?}"), "ChaCha20Rng(…)");
    }
}
