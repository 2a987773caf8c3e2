//! One-time pads over the group: elements that are sent to be evaluated, and look like nothing to the one who does it.

use std::fmt;
use std::ops::Range;

use curve25519_dalek::scalar::Scalar;
use rand_core::{CryptoRng, Rng, SeedableRng};
use zeroize::Zeroizing;

use super::random::ChaCha20Rng;

/// A non-zero scalar ρ of its own for every row: 32 bytes, however many rows.
///
/// The group has prime order, so for any element P other than the identity ρ·P is a uniformly random element other
/// than the identity, whatever P is and whoever chose it. One who sees ρ·P sees nothing of P: neither which of several
/// elements it is, nor that two of them are related. That holds for *one* element per row and pad; the second use of
/// a row's pad would show the two elements' relation.
///
/// Row r's scalar is the reduction of the r-th 64-byte block of ChaCha20 under a random key, so pads need not be kept
/// and come back in any order. Zero, of probability 2^-252, gives way to one.
pub struct Pads {
    seed: Zeroizing<[u8; 32]>,
}

/// Words of 32 bits that one row's scalar is made of.
const WORDS_PER_ROW: u128 = 16;

impl Pads {
    /// Fresh pads.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut seed[..]);
        Self { seed }
    }

    /// ρ of each of `rows`.
    pub(super) fn scalars(&self, rows: Range<usize>) -> Zeroizing<Vec<Scalar>> {
        let mut stream = ChaCha20Rng::from_seed(*self.seed);
        stream.set_word_pos(rows.start as u128 * WORDS_PER_ROW);
        let mut scalars = Zeroizing::new(Vec::with_capacity(rows.len()));
        let mut wide = Zeroizing::new([0; 64]);
        for _ in rows {
            stream.fill_bytes(&mut wide[..]);
            let scalar = Scalar::from_bytes_mod_order_wide(&wide);
            scalars.push(if scalar == Scalar::ZERO { Scalar::ONE } else { scalar });
        }
        scalars
    }

    /// 1/ρ of each of `rows`, by one inversion.
    pub(super) fn inverses(&self, rows: Range<usize>) -> Zeroizing<Vec<Scalar>> {
        let mut scalars = self.scalars(rows);
        // None of them is zero.
        Scalar::invert_batch_alloc(&mut scalars);
        scalars
    }
}

impl fmt::Debug for Pads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pads(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_scalar_is_the_same_wherever_the_range_begins() {
        let pads = Pads::random(&mut ChaCha20Rng::seed_from_u64(1));
        let all = pads.scalars(0..300);
        for start in [0, 1, 127, 128, 299] {
            assert_eq!(pads.scalars(start..300)[..], all[start..]);
        }
        let distinct: std::collections::HashSet<_> = all.iter().map(Scalar::to_bytes).collect();
        assert_eq!(distinct.len(), 300);
    }

    #[test]
    fn inverses_undo_their_scalars() {
        let pads = Pads::random(&mut ChaCha20Rng::seed_from_u64(2));
        for (scalar, inverse) in pads.scalars(5..40).iter().zip(pads.inverses(5..40).iter()) {
            assert_eq!(scalar * inverse, Scalar::ONE);
        }
        assert!(pads.inverses(7..7).is_empty());
    }

    #[test]
    fn two_pads_have_nothing_in_common_and_show_nothing() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let (one, other) = (Pads::random(&mut rng), Pads::random(&mut rng));
        assert!(one.scalars(0..20).iter().zip(other.scalars(0..20).iter()).all(|(a, b)| a != b));
        assert_eq!(format!("{one:?}"), "Pads(…)");
    }
}
