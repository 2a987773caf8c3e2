//! How far noise reaches: intervals for people, tails for word widths.
//!
//! X is the noise, b the scale of a discrete Laplace, q = exp(−1/b), σ² the parameter of a discrete Gaussian, N a
//! continuous normal variable of variance σ².
//!
//! - *Laplace*: P(|X| > w) = 2·q^(w+1) / (1 + q), the geometric series of both sides. Exact.
//! - *Gaussian, subgaussian*: P(|X| ≥ m) ≤ 2·exp(−m²/2σ²). Proof: E exp(λX) = exp(λ²σ²/2)·Σ exp(−(x − λσ²)²/2σ²) /
//!   Σ exp(−x²/2σ²), and a sum of shifted Gaussians is largest without a shift (Poisson summation, all coefficients being
//!   positive); λ = m/σ². (In CKS20, too.)
//! - *Gaussian by the normal*: P(X ≥ m) ≤ P(N ≥ m − 1) for m ≥ 1. Proof: Σ_{x ≥ m} exp(−x²/2σ²) is at most the integral
//!   from m − 1, and Σ over all x at least √(2πσ²), by Poisson summation again. (In CKS20, too.)
//!
//! [`tail`](super::Noise::tail) decides word widths, on both sides and before either may err: integers only.
//! [`interval`](super::Noise::interval) is for people: floats, rounded up.

use super::{NOISE_TAIL_MAX, Ratio};
use num_bigint::BigUint;

/// Up to this variance an interval of the Gaussian is found by summing its law: some thousand terms.
const VARIANCE_SUMMED_MAX: f64 = (1 << 20) as f64;

/// Beyond this confidence sums and quantiles would drown in roundoff: the subgaussian bound is taken.
const CONFIDENCE_SUMMED_MAX: f64 = 1.0 - 1e-11;

/// More than all roundoff of a sum of positive terms or a closed form below.
const SLACK: f64 = 1e-13;

/// t with P(|X| > t) ≤ 2⁻⁶⁴ for the Laplace of a scale b > 0.
///
/// 2·q^(t+1)/(1 + q) ≤ 2·exp(−(t + 1)/b) ≤ 2⁻⁶⁴ if t + 1 ≥ b·65·ln 2, and 65·ln 2 < 45.055.
pub(super) fn laplace_tail(scale: &Ratio) -> u128 {
    narrowed(ceiling(scale.numerator() * 45_055_u32, scale.denominator() * 1_000_u32))
}

/// t with P(|X| > t) ≤ 2⁻⁶⁴ for the Gaussian of a variance parameter σ² > 0.
///
/// 2·exp(−(t + 1)²/2σ²) ≤ 2⁻⁶⁴ if (t + 1)² ≥ σ²·130·ln 2, and 130·ln 2 < 90.11.
pub(super) fn gaussian_tail(variance: &Ratio) -> u128 {
    let square = ceiling(variance.numerator() * 9_011_u32, variance.denominator() * 100_u32);
    let root = square.sqrt();
    let root = if &root * &root < square { root + 1_u8 } else { root };
    narrowed(root)
}

fn ceiling(numerator: BigUint, denominator: BigUint) -> BigUint {
    // The numerators here are positive.
    (numerator - 1_u8) / denominator + 1_u8
}

/// t from t + 1 ≥ 1, at most [`NOISE_TAIL_MAX`].
fn narrowed(past: BigUint) -> u128 {
    u128::try_from(past - 1_u8).map_or(NOISE_TAIL_MAX, |t| t.min(NOISE_TAIL_MAX))
}

/// The least w with P(|X| ≤ w) ≥ confidence, for the Laplace of scale b > 0.
pub(super) fn laplace_interval(scale: &Ratio, confidence: f64) -> u128 {
    let b = scale.to_f64();
    let q = (-1.0 / b).exp();
    // w + 1 ≥ b·ln(2 / ((1 + q)·(1 − confidence)))
    let past = b * (2.0 / ((1.0 + q) * (1.0 - confidence))).ln();
    one_before(rounded_up(past))
}

/// A w with P(|X| ≤ w) ≥ confidence for the Gaussian of parameter σ² > 0: the least up to a variance of 2²⁰, at most
/// 2 above the least beyond.
pub(super) fn gaussian_interval(variance: &Ratio, confidence: f64) -> u128 {
    let variance = variance.to_f64();
    let sigma = variance.sqrt();
    if confidence > CONFIDENCE_SUMMED_MAX {
        // Subgaussian; w + 1 = m.
        return one_before(rounded_up(sigma * (2.0 * (2.0 / (1.0 - confidence)).ln()).sqrt()));
    }
    if variance <= VARIANCE_SUMMED_MAX {
        return summed(variance, confidence + SLACK);
    }
    // P(|X| > w) = 2·P(X ≥ w + 1) ≤ 2·P(N ≥ w).
    rounded_up(sigma * normal_quantile(confidence + SLACK))
}

/// The least w with P(|X| ≤ w) ≥ confidence, by the law itself.
fn summed(variance: f64, confidence: f64) -> u128 {
    let weight = |x: u64| (-(x as f64) * (x as f64) / (2.0 * variance)).exp();
    // Terms below 1e-20 of the mode: their sum is far below SLACK.
    let end = (variance.sqrt() * 9.7).ceil() as u64 + 1;
    // The smallest first, so that roundoff stays small.
    let total = 1.0 + 2.0 * (1..=end).rev().map(weight).sum::<f64>();
    let mut inside = 1.0;
    let mut w = 0;
    while inside < confidence * total && w < end {
        w += 1;
        inside += 2.0 * weight(w);
    }
    w.into()
}

/// P(|N| ≤ z) for the standard normal, z ≥ 0: 2·φ(z)·Σ z^(2n+1)/(2n+1)!! (Abramowitz and Stegun 26.2.11). All terms
/// are positive, so roundoff stays relative.
pub(super) fn normal_within(z: f64) -> f64 {
    let mut term = z;
    let mut sum = 0.0;
    let mut n = 0.0;
    while term > sum * 1e-18 {
        sum += term;
        n += 1.0;
        term *= z * z / (2.0 * n + 1.0);
    }
    2.0 * sum * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// z with P(|N| ≤ z) ≥ confidence for the standard normal, for confidences up to [`CONFIDENCE_SUMMED_MAX`] and a little.
fn normal_quantile(confidence: f64) -> f64 {
    // P(|N| > 7.5) is below 1e-13, and P(|N| > 6.85) about 7e-12.
    let (mut low, mut high) = (0.0, 7.5);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if normal_within(middle) >= confidence { high = middle } else { low = middle }
    }
    high
}

/// m − 1, or 0; the largest tail stays what it is.
fn one_before(m: u128) -> u128 {
    if m < NOISE_TAIL_MAX { m.saturating_sub(1) } else { NOISE_TAIL_MAX }
}

/// The least whole number above `value`, after a hair is added; 0 for what is negative, the largest tail for what is
/// beyond or no number.
fn rounded_up(value: f64) -> u128 {
    let up = (value * (1.0 + SLACK)).ceil();
    if up.is_nan() || up >= NOISE_TAIL_MAX as f64 {
        return NOISE_TAIL_MAX;
    }
    if up > 0.0 { up as u128 } else { 0 }
}
