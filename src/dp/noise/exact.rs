//! Exact samplers over integers: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential
//! Privacy" (NeurIPS 2020, arXiv 2004.00010), section 5. No number here is a float.
//!
//! # Why they are exact
//!
//! All randomness comes through [`Source::below`], uniform on 0 ..= n − 1 by rejection of what is too large: the
//! bits that are kept are uniform, so every outcome below n is equally likely, and a rejection says nothing about
//! the next try. Every other step is integer arithmetic on what was drawn.
//!
//! *Bernoulli(exp(−γ)), γ ≤ 1* ([`bernoulli_exp`], algorithm 1). The loop passes step k with probability γ/k, so it
//! is left at a K with P(K > k) = γ^k/k!, and P(K odd) = Σ_k (P(K > 2k) − P(K > 2k + 1)) = Σ_j (−γ)^j/j! = exp(−γ).
//! For γ > 1, exp(−γ) = exp(−1)^⌊γ⌋·exp(−(γ − ⌊γ⌋)), by independent draws.
//!
//! *Discrete Laplace, P(y) ∝ exp(−|y|·s/t)* ([`laplace`], algorithm 2). U is uniform on 0 ..= t − 1 and kept with
//! probability exp(−U/t), V counts successes of Bernoulli(exp(−1)), so X = U + t·V has P(x) ∝ exp(−(U + t·V)/t) =
//! exp(−x/t): geometric. Y = ⌊X/s⌋ collects s consecutive x, each with the same factor: P(y) ∝ exp(−y·s/t). A
//! random sign gives y and −y the same probability; without the rejection of "−0", 0 would have it twice.
//!
//! *Discrete Gaussian, P(y) ∝ exp(−y²/2σ²)* ([`gaussian`], algorithm 3). Rejection from the discrete Laplace of scale
//! t = ⌊σ⌋ + 1: exp(−|y|/t)·exp(−(|y| − σ²/t)²/2σ²) = exp(−y²/2σ²)·exp(−σ²/2t²), the last factor free of y. ∎
//!
//! # What of the timing is not constant
//!
//! Rejections, the number of rounds and the lengths of integers: the time of a draw depends on the drawn noise (V
//! grows with |Y|, and about 1.5 rounds are run per draw) and on the public parameters. It depends on nothing
//! else: no data, no share of a sum, no identifier is an argument. Yet somebody who learned the noise from a clock
//! could take it off again; Jin, McMurtry, Rubinstein and Ohrimenko ("Are We There Yet? Timing and Floating-Point
//! Attacks on Differential Privacy Systems", IEEE S&P 2022, arXiv 2112.05307) do so against samplers like these,
//! where the answer's time *is* the draw's. Two things stand against it here, and the second is the caller's duty:
//! a draw takes microseconds, seen through a network and a session of curve arithmetic; and noise is drawn *before*
//! the exchange that shows it begins, so that no message waits for a draw that is the answer's. A constant-time
//! sampler of the same law does not exist (its support is infinite); a truncated one would cost δ.
//! Drawn numbers are not wiped from memory: `BigUint` offers no way to.

use num_bigint::BigUint;
use rand_core::CryptoRng;
use std::convert::Infallible;

/// Where uniform numbers come from: a generator, or (in tests) a walk through all branches.
pub(super) trait Source {
    /// Why a draw may end early. Never, for a generator.
    type Stop;

    /// Uniform in 0 ..= `bound` − 1. The bound is at least 1.
    fn below(&mut self, bound: &BigUint) -> Result<BigUint, Self::Stop>;

    /// True with probability `numerator` / `denominator` ≤ 1.
    fn bernoulli(&mut self, numerator: &BigUint, denominator: &BigUint) -> Result<bool, Self::Stop> {
        Ok(self.below(denominator)? < *numerator)
    }
}

/// Uniform numbers from a generator's bits.
pub(super) struct Bits<'a, R>(pub(super) &'a mut R);

impl<R: CryptoRng> Source for Bits<'_, R> {
    type Stop = Infallible;

    fn below(&mut self, bound: &BigUint) -> Result<BigUint, Infallible> {
        let last = bound - 1_u8;
        let bits = last.bits();
        if bits <= 64 {
            // The usual case, without an allocation per try.
            let last = last.iter_u64_digits().next().unwrap_or(0);
            let mask = u64::MAX.checked_shr(64 - bits as u32).unwrap_or(0);
            loop {
                let candidate = self.0.next_u64() & mask;
                if candidate <= last {
                    return Ok(candidate.into());
                }
            }
        }
        let mut bytes = vec![0; bits.div_ceil(8) as usize];
        let surplus = bytes.len() as u64 * 8 - bits;
        loop {
            self.0.fill_bytes(&mut bytes);
            if let Some(top) = bytes.last_mut() {
                *top &= u8::MAX >> surplus;
            }
            let candidate = BigUint::from_bytes_le(&bytes);
            if candidate <= last {
                return Ok(candidate);
            }
        }
    }
}

/// Algorithm 1: true with probability exp(−γ), γ = `numerator` / `denominator` ≥ 0.
pub(super) fn bernoulli_exp<S: Source>(
    source: &mut S,
    numerator: &BigUint,
    denominator: &BigUint,
) -> Result<bool, S::Stop> {
    let one = BigUint::from(1_u8);
    let mut whole = numerator / denominator;
    // "for k = 1 to ⌊γ⌋": all of them must succeed; the first that fails ends it.
    while whole.bits() > 0 {
        if !bernoulli_exp_fraction(source, &one, &one)? {
            return Ok(false);
        }
        whole -= 1_u8;
    }
    bernoulli_exp_fraction(source, &(numerator % denominator), denominator)
}

/// Algorithm 1, case γ ∈ [0, 1].
fn bernoulli_exp_fraction<S: Source>(
    source: &mut S,
    numerator: &BigUint,
    denominator: &BigUint,
) -> Result<bool, S::Stop> {
    // "K ← 1; sample A ~ Bernoulli(γ/K); if A = 0 break, else K ← K + 1; return K odd".
    let mut k = 1_u64;
    while source.bernoulli(numerator, &(denominator * k))? {
        k += 1;
    }
    Ok(k % 2 == 1)
}

/// A drawn integer by sign and absolute value; 0 is never negative.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Drawn {
    pub(super) negative: bool,
    pub(super) magnitude: BigUint,
}

/// Algorithm 2: the discrete Laplace law of scale `t` / `s`, P(y) ∝ exp(−|y|·s/t). Both are at least 1.
pub(super) fn laplace<S: Source>(source: &mut S, t: &BigUint, s: &BigUint) -> Result<Drawn, S::Stop> {
    loop {
        if let Some(drawn) = laplace_attempt(source, t, s)? {
            return Ok(drawn);
        }
    }
}

/// One pass of algorithm 2's loop; none where it rejects.
pub(super) fn laplace_attempt<S: Source>(source: &mut S, t: &BigUint, s: &BigUint) -> Result<Option<Drawn>, S::Stop> {
    let one = BigUint::from(1_u8);
    // "Sample U uniformly from {0, …, t − 1}; D ~ Bernoulli(exp(−U/t)); if D = 0, reject".
    let u = source.below(t)?;
    if !bernoulli_exp(source, &u, t)? {
        return Ok(None);
    }
    // "V ← 0; sample A ~ Bernoulli(exp(−1)); if A = 0 break, else V ← V + 1".
    let mut v = BigUint::ZERO;
    while bernoulli_exp(source, &one, &one)? {
        v += 1_u8;
    }
    // "X ← U + t·V; Y ← ⌊X/s⌋; B ~ Bernoulli(1/2); if B = 1 and Y = 0, reject; return (1 − 2B)·Y".
    let magnitude = (u + t * v) / s;
    let negative = source.bernoulli(&one, &BigUint::from(2_u8))?;
    Ok((!negative || magnitude.bits() > 0).then_some(Drawn { negative, magnitude }))
}

/// Algorithm 3: the discrete Gaussian law of σ² = `numerator` / `denominator` > 0, P(y) ∝ exp(−y²/2σ²).
pub(super) fn gaussian<S: Source>(
    source: &mut S,
    numerator: &BigUint,
    denominator: &BigUint,
) -> Result<Drawn, S::Stop> {
    loop {
        if let Some(drawn) = gaussian_attempt(source, numerator, denominator)? {
            return Ok(drawn);
        }
    }
}

/// One pass of algorithm 3's loop; none where it rejects.
pub(super) fn gaussian_attempt<S: Source>(
    source: &mut S,
    numerator: &BigUint,
    denominator: &BigUint,
) -> Result<Option<Drawn>, S::Stop> {
    // "t ← ⌊σ⌋ + 1": the root of a floor has the floor of the root.
    let t = (numerator / denominator).sqrt() + 1_u8;
    // "Sample Y from the discrete Laplace of scale t".
    let y = laplace(source, &t, &BigUint::from(1_u8))?;
    Ok(gaussian_accepts(source, &y.magnitude, &t, numerator, denominator)?.then_some(y))
}

/// Algorithm 3's "C ~ Bernoulli(exp(−(|Y| − σ²/t)²/2σ²)); if C = 0, reject".
pub(super) fn gaussian_accepts<S: Source>(
    source: &mut S,
    magnitude: &BigUint,
    t: &BigUint,
    numerator: &BigUint,
    denominator: &BigUint,
) -> Result<bool, S::Stop> {
    // With σ² = n/d the exponent is (|Y|·t·d − n)² / (2·n·d·t²).
    let td = t * denominator;
    let left = magnitude * &td;
    let distance = if left >= *numerator { left - numerator } else { numerator - left };
    bernoulli_exp(source, &(&distance * &distance), &(numerator * td * t * 2_u8))
}
