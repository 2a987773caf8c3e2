//! Fillers of an announced length: the policy says how they spread, this samples them.

use super::Ratio;
use super::exact::{Bits, Source, laplace};
use num_bigint::BigUint;
use rand_core::CryptoRng;

/// How many fillers are added to a table whose length is announced: `bound` + X, where X follows the discrete
/// Laplace law P(X = x) ∝ exp(−ε₀·|x|) truncated to −`bound` ..= `bound` by rejection. So 0 ..= 2·`bound`.
///
/// Announced so, a length that one person changes by at most 1 is (ε₀, δ₀)-differentially private, δ₀ the
/// probability of one end: on outcomes that both lengths can yield, |x| differs by at most 1, so probabilities differ by
/// a factor within e^±ε₀; what only one can yield is its end. `bound` is to be chosen for δ₀.
///
/// Exact ([`Noise::sample`](super::Noise::sample) says how). An `epsilon` of 0 is the uniform law. The expected number
/// of rounds is about 1 / P(|X| ≤ `bound`) of the untruncated law: a law much flatter than its bounds is slow.
pub fn pad_fillers(epsilon: &Ratio, bound: u64, rng: &mut impl CryptoRng) -> u64 {
    let mut source = Bits(rng);
    if epsilon.is_zero() {
        let Ok(drawn) = source.below(&((BigUint::from(bound) << 1_u8) + 1_u8));
        return u64::try_from(drawn).unwrap_or(u64::MAX);
    }
    loop {
        // Of scale 1/ε₀.
        let Ok(drawn) = laplace(&mut source, epsilon.denominator(), epsilon.numerator());
        match u64::try_from(drawn.magnitude) {
            Ok(magnitude) if magnitude <= bound && drawn.negative => return bound - magnitude,
            Ok(magnitude) if magnitude <= bound => return bound.saturating_add(magnitude),
            _ => {}
        }
    }
}
