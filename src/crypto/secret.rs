//! The secret scalar: wiped, redacted, never zero.

use std::fmt;

use curve25519_dalek::scalar::Scalar;
use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A non-zero scalar modulo ℓ, the order of ristretto255: one party's secret for one column of one session.
///
/// It lives on the heap, so that moving it leaves no copy behind, is wiped when dropped, prints as `SecretScalar(…)`
/// and cannot be cloned.
#[derive(ZeroizeOnDrop)]
pub struct SecretScalar(Box<Scalar>);

impl SecretScalar {
    /// A uniformly random non-zero scalar.
    ///
    /// 512 random bits are reduced modulo ℓ, so the distance from uniform is below 2^-259; zero, which has never
    /// been drawn, is drawn again.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        loop {
            let mut wide = Zeroizing::new([0; 64]);
            rng.fill_bytes(&mut wide[..]);
            let scalar = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide));
            if *scalar != Scalar::ZERO {
                return Self(Box::new(*scalar));
            }
        }
    }

    /// `self` / `divisor` modulo ℓ: what turns an element that `divisor` blinded into one that `self` blinds
    /// (α_k/α₁ in the later columns of the waterfall).
    pub fn quotient(&self, divisor: &Self) -> Self {
        // Non-zero, because both are non-zero modulo a prime.
        let inverse = Zeroizing::new(divisor.0.invert());
        Self(Box::new(*self.0 * *inverse))
    }

    /// `self` / 2 modulo ℓ, for encodings that double (see the room's doc, "Speed").
    pub(super) fn half(&self) -> Zeroizing<Scalar> {
        Zeroizing::new(self.0.div_by_2())
    }

    /// The scalar itself, for products that stay in this room.
    pub(super) fn scalar(&self) -> &Scalar {
        &self.0
    }

    /// The scalar itself, for the oracles in tests.
    #[cfg(test)]
    pub(super) fn reveal(&self) -> Scalar {
        *self.0
    }

    /// A given scalar, for the kernels' self-test and for edges in tests.
    pub(super) fn of(scalar: Scalar) -> Self {
        assert_ne!(scalar, Scalar::ZERO);
        Self(Box::new(scalar))
    }
}

impl Zeroize for SecretScalar {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretScalar(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rand_core::{SeedableRng, TryCryptoRng, TryRng};

    use super::super::random::ChaCha20Rng;
    use super::*;

    /// Zeros for the first `left` calls, then ones.
    struct ZerosFirst(usize);

    impl TryRng for ZerosFirst {
        type Error = Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            unreachable!("only bytes are drawn")
        }
        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            unreachable!("only bytes are drawn")
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(u8::from(self.0 == 0));
            self.0 = self.0.saturating_sub(1);
            Ok(())
        }
    }
    impl TryCryptoRng for ZerosFirst {}

    #[test]
    fn zero_is_drawn_again() {
        let scalar = SecretScalar::random(&mut ZerosFirst(2));
        assert_eq!(scalar.reveal(), Scalar::from_bytes_mod_order_wide(&[1; 64]));
    }

    #[test]
    fn a_quotient_times_its_divisor_is_the_dividend() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..20 {
            let (a, b) = (SecretScalar::random(&mut rng), SecretScalar::random(&mut rng));
            assert_eq!(a.quotient(&b).reveal() * b.reveal(), a.reveal());
            assert_eq!(a.quotient(&a).reveal(), Scalar::ONE);
        }
    }

    #[test]
    fn two_halves_are_the_whole_for_even_and_odd_scalars() {
        for scalar in [Scalar::ONE, Scalar::from(2u8), -Scalar::ONE, Scalar::from(u64::MAX)] {
            let half = *SecretScalar::of(scalar).half();
            assert_eq!(half + half, scalar);
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let scalar = SecretScalar::of(Scalar::from(1_234_567u32));
        assert_eq!(format!("{scalar:?}"), "SecretScalar(…)");
    }
}
