//! Noise of released aggregates: exactly sampled, and accounted for.
//!
//! [`OutputBudget`] is a policy's, [`QueryOutputs`] a query's, [`Noise`] a word's; [`Noise::sample`] draws it, from the
//! caller's generator. Parameters are exact fractions ([`Ratio`]), in one spelling, so that both sides name the same law.
//! The samplers use integers only: noise from floats has gaps that tell the value under it (Mironov, CCS 2012).

mod budget;
mod exact;
mod fillers;
mod ratio;
mod tails;
#[cfg(test)]
mod tests;

pub use budget::{OutputBudget, QueryOutputs};
pub use fillers::pad_fillers;
pub use ratio::{RATIO_DIGITS_MAX, Ratio, RatioError};

use exact::Bits;
use rand_core::CryptoRng;
use std::fmt;
use std::str::FromStr;

/// The largest [`Noise::tail`]: 2¹²⁶ − 1, also the largest noise that is ever drawn. A law with this tail reaches further,
/// and [`word_width`](crate::dp::word_width) refuses it.
pub const NOISE_TAIL_MAX: u128 = u128::MAX >> 2;

/// The bits of [`NOISE_TAIL_MAX`].
const NOISE_BITS_MAX: u64 = 126;

/// The noise of one released word, in the word's integer units.
///
/// Text form `none`, `laplace NUM/DEN` or `gaussian NUM/DEN`, the value above 0, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noise {
    /// None: the word is released exactly.
    None,
    /// Discrete Laplace: P(x) ∝ exp(−|x|/scale), for all integers x.
    Laplace {
        /// The scale b: sensitivity/ε. Of variance 2·q/(1 − q)², q = exp(−1/b), just below 2·b². 0 is no noise.
        scale: Ratio,
    },
    /// Discrete Gaussian: P(x) ∝ exp(−x²/(2·variance)), for all integers x.
    Gaussian {
        /// The parameter σ²: sensitivity²/(2ρ). The law's own variance is at most that. 0 is no noise.
        variance: Ratio,
    },
}

/// A text that names no noise or no query's outputs. The fault is the writer's, usually a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoiseError {
    /// Not a [`Noise`].
    #[error(
        "a word's noise must be \"none\", \"laplace NUM/DEN\" or \"gaussian NUM/DEN\", the fraction positive and in \
         lowest terms"
    )]
    Noise,
    /// Not a [`QueryOutputs`].
    #[error(
        "a query's outputs must be \"exact\", \"epsilon NUM/DEN\" or \"rho NUM/DEN\", the fraction positive and in \
         lowest terms"
    )]
    Outputs,
}

impl Noise {
    /// Draws the noise, exactly: Canonne, Kamath and Steinke (2020), algorithms 1 to 3, over integers.
    ///
    /// What reaches 2¹²⁶ is drawn again, so that a word of 128 bits holds it: with a probability of at most 2⁻⁶⁴ wherever
    /// [`tail`](Self::tail) is below [`NOISE_TAIL_MAX`], and of less than exp(−2⁶²) for noise that 64-bit words are
    /// chosen for. Per word, that adds at most 2⁻⁶³ to δ.
    ///
    /// Takes microseconds, more for larger noise: draw it before the exchange that shows it begins, so that nobody can
    /// time the draw (the module `exact` says more).
    pub fn sample(&self, rng: &mut impl CryptoRng) -> i128 {
        let mut source = Bits(rng);
        loop {
            let Ok(drawn) = match self {
                Self::Laplace { scale } if !scale.is_zero() => {
                    exact::laplace(&mut source, scale.numerator(), scale.denominator())
                }
                Self::Gaussian { variance } if !variance.is_zero() => {
                    exact::gaussian(&mut source, variance.numerator(), variance.denominator())
                }
                _ => return 0,
            };
            if drawn.magnitude.bits() > NOISE_BITS_MAX {
                continue;
            }
            if let Ok(magnitude) = i128::try_from(drawn.magnitude) {
                return if drawn.negative { -magnitude } else { magnitude };
            }
        }
    }

    /// w with P(|X| ≤ w) ≥ `confidence`: the half width of an interval around the released number that holds the true one.
    ///
    /// The least such w for Laplace and for Gaussians of variance up to 2²⁰; else at most 2 above it, or by the
    /// subgaussian bound from a confidence of 1 − 10⁻¹¹. From floats, rounded up: to show, not to compare. A confidence of
    /// 1 or more (or none) gives [`NOISE_TAIL_MAX`].
    pub fn interval(&self, confidence: f64) -> u128 {
        match self {
            Self::Laplace { scale: parameter } | Self::Gaussian { variance: parameter } if !parameter.is_zero() => {
                if confidence <= 0.0 {
                    0
                } else if confidence.is_nan() || confidence >= 1.0 {
                    NOISE_TAIL_MAX
                } else if matches!(self, Self::Laplace { .. }) {
                    tails::laplace_interval(parameter, confidence)
                } else {
                    tails::gaussian_interval(parameter, confidence)
                }
            }
            _ => 0,
        }
    }

    /// t with P(|X| > t) ≤ 2⁻⁶⁴, for word widths: the same number on every machine. At most [`NOISE_TAIL_MAX`], which stands
    /// for "too far".
    ///
    /// Beyond it a released word may wrap, which costs a wrong answer and no privacy.
    pub fn tail(&self) -> u128 {
        match self {
            Self::Laplace { scale } if !scale.is_zero() => tails::laplace_tail(scale),
            Self::Gaussian { variance } if !variance.is_zero() => tails::gaussian_tail(variance),
            _ => 0,
        }
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Laplace { scale } => write!(f, "laplace {scale}"),
            Self::Gaussian { variance } => write!(f, "gaussian {variance}"),
        }
    }
}

impl FromStr for Noise {
    type Err = NoiseError;

    fn from_str(text: &str) -> Result<Self, NoiseError> {
        let positive = |s: &str| s.parse().ok().filter(|r: &Ratio| !r.is_zero()).ok_or(NoiseError::Noise);
        match text.split_once(' ') {
            None if text == "none" => Ok(Self::None),
            Some(("laplace", scale)) => Ok(Self::Laplace { scale: positive(scale)? }),
            Some(("gaussian", variance)) => Ok(Self::Gaussian { variance: positive(variance)? }),
            _ => Err(NoiseError::Noise),
        }
    }
}
