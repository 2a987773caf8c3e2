//! From a policy's output budget to the noise of one word.
//!
//! A budget is divided in two steps, both exact and by shape alone, so that everybody can compute a query's noise before
//! it runs: equally over the queries of a period, then equally over the query's distinct words.
//! Pure differential privacy adds up ε (basic composition), zero-concentrated differential privacy adds up ρ (Bun and
//! Steinke, TCC 2016, arXiv 1605.02065), both for adaptively chosen queries.
//!
//! *Laplace*: scale Δ/ε for integers that one person moves by at most Δ gives ε. *Gaussian*: variance Δ²/(2ρ) gives ρ-zCDP
//! (CKS20, theorem 4; Δ is a whole number, which that theorem needs), and ρ-zCDP gives (ε, δ) for
//! δ = min over α > 1 of exp((α − 1)(αρ − ε))/(α − 1)·(1 − 1/α)^α (CKS20, section 2.3).

use super::{Noise, NoiseError, Ratio};
use crate::dp::{DELTA_MIN, DpError};
use num_bigint::BigUint;
use std::fmt;
use std::str::FromStr;

/// ρ is a multiple of 1 / this.
const RHO_GRID: u64 = 1_000_000_000_000;

/// A larger ε of a Gaussian budget is taken for this: the grid's units must fit, and nobody means more.
const GAUSSIAN_EPSILON_MAX: f64 = 1e6;

/// What all released aggregates of one account and period may tell, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputBudget {
    /// Aggregates leave without noise; the parties agreed to that.
    Exact,
    /// Discrete Laplace noise; all outputs are ε-differentially private.
    Laplace {
        /// ε of all queries.
        epsilon: Ratio,
    },
    /// Discrete Gaussian noise; all outputs are (ε, δ)-differentially private, accounted for by zCDP.
    Gaussian {
        /// ε of all queries.
        epsilon: Ratio,
        /// δ of all queries.
        delta: Ratio,
    },
}

/// What the outputs of one query may tell. Published with a share's terms, and computed with by both sides.
///
/// Text form `exact`, `epsilon NUM/DEN` or `rho NUM/DEN`, the value above 0, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryOutputs {
    /// No noise.
    Exact,
    /// ε of the query, for discrete Laplace noise.
    Epsilon(Ratio),
    /// ρ of the query, for discrete Gaussian noise.
    Rho(Ratio),
}

impl OutputBudget {
    /// What each of so many queries may use, so that all of them together keep the budget.
    ///
    /// ε is divided exactly. For (ε, δ) it is the largest ρ that keeps them, rounded *down* to a multiple of 10⁻¹², then
    /// divided exactly. Errors: no queries; ε not positive; δ outside [`DELTA_MIN`] ..< 1; so little that no digits
    /// are left. The fault is the policy's.
    pub fn per_query(&self, queries: u64) -> Result<QueryOutputs, DpError> {
        if queries == 0 {
            return Err(DpError::NoQueries);
        }
        match self {
            Self::Exact => Ok(QueryOutputs::Exact),
            Self::Laplace { epsilon } => {
                if epsilon.is_zero() {
                    return Err(DpError::Epsilon(0.0));
                }
                let share = Ratio::at_most(epsilon.numerator().clone(), epsilon.denominator() * queries);
                if share.is_zero() {
                    return Err(DpError::OutputsTooSmall { epsilon: epsilon.to_f64(), queries });
                }
                Ok(QueryOutputs::Epsilon(share))
            }
            Self::Gaussian { epsilon, delta } => {
                if epsilon.is_zero() {
                    return Err(DpError::Epsilon(0.0));
                }
                if delta.to_f64() < DELTA_MIN || *delta >= Ratio::one() {
                    return Err(DpError::Delta(delta.to_f64()));
                }
                let units = rho_units(below(epsilon).min(GAUSSIAN_EPSILON_MAX), below(delta));
                if units == 0 {
                    return Err(DpError::OutputsTooSmall { epsilon: epsilon.to_f64(), queries });
                }
                // 19 + 12 + 20 digits: always exact.
                let share = Ratio::at_most(units.into(), BigUint::from(RHO_GRID) * queries);
                Ok(QueryOutputs::Rho(share))
            }
        }
    }
}

impl QueryOutputs {
    /// The noise of one of the query's `words` distinct released words, of which emptying one entry moves this one by at
    /// most `sensitivity` (over labels: all of them together, by absolute values). Words are counted once: an AVG is
    /// its SUM and its COUNT, and a vector over labels is one.
    ///
    /// Laplace of scale sensitivity·words/ε, Gaussian of variance sensitivity²·words/(2ρ), exact, or rounded up where they
    /// need more than [`RATIO_DIGITS_MAX`](super::RATIO_DIGITS_MAX) digits. What is larger than any [`Ratio`] has the largest
    /// [`tail`](Noise::tail), and is refused with it by [`word_width`](crate::dp::word_width). A sensitivity of 0 needs no noise.
    /// No words count as 1.
    pub fn word_noise(&self, sensitivity: u128, words: u32) -> Noise {
        if sensitivity == 0 {
            return Noise::None;
        }
        let (sensitivity, words) = (BigUint::from(sensitivity), words.max(1));
        match self {
            Self::Exact => Noise::None,
            Self::Epsilon(epsilon) => {
                let scale = Ratio::at_least(sensitivity * words * epsilon.denominator(), epsilon.numerator().clone());
                Noise::Laplace { scale }
            }
            Self::Rho(rho) => {
                let square = &sensitivity * &sensitivity;
                let variance = Ratio::at_least(square * words * rho.denominator(), rho.numerator() * 2_u8);
                Noise::Gaussian { variance }
            }
        }
    }
}

impl fmt::Display for QueryOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Epsilon(epsilon) => write!(f, "epsilon {epsilon}"),
            Self::Rho(rho) => write!(f, "rho {rho}"),
        }
    }
}

impl FromStr for QueryOutputs {
    type Err = NoiseError;

    fn from_str(text: &str) -> Result<Self, NoiseError> {
        let positive = |s: &str| s.parse().ok().filter(|r: &Ratio| !r.is_zero()).ok_or(NoiseError::Outputs);
        match text.split_once(' ') {
            None if text == "exact" => Ok(Self::Exact),
            Some(("epsilon", epsilon)) => Ok(Self::Epsilon(positive(epsilon)?)),
            Some(("rho", rho)) => Ok(Self::Rho(positive(rho)?)),
            _ => Err(NoiseError::Outputs),
        }
    }
}

/// A float at or below the value.
fn below(value: &Ratio) -> f64 {
    value.to_f64() * (1.0 - 4.0 * f64::EPSILON)
}

/// The largest number of grid units whose ρ keeps (ε, δ), at least by the bound computed here.
fn rho_units(epsilon: f64, delta: f64) -> u64 {
    let target = delta.ln() - 1e-14 * delta.ln().abs();
    let keeps = |units: u64| ln_delta(units as f64 / RHO_GRID as f64, epsilon) <= target;
    // A ρ above the upper end is never given, whatever the δ: that is on the safe side.
    let (mut low, mut high) = (0, 2 * GAUSSIAN_EPSILON_MAX as u64 * RHO_GRID);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if keeps(middle) { low = middle } else { high = middle }
    }
    low
}

/// An upper bound on ln δ for ρ-zCDP and ε, close to the least that CKS20's conversion gives.
///
/// With β = α − 1 its logarithm is f(β) = β·((1 + β)·ρ − ε) − β·ln(1 + 1/β) − ln(1 + β), and f′(β) = (1 + 2β)·ρ − ε −
/// ln(1 + 1/β) rises from −∞ without end: f has one minimum, found by halving the logarithm of β. Every β gives a valid
/// bound, so an inexact search errs on the safe side; what roundoff may take off is added.
fn ln_delta(rho: f64, epsilon: f64) -> f64 {
    let (mut low, mut high) = (-100.0_f64, 100.0_f64);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        let beta = middle.exp();
        if (1.0 + 2.0 * beta) * rho - epsilon - (1.0 / beta).ln_1p() < 0.0 { low = middle } else { high = middle }
    }
    let beta = high.exp();
    let parts = [beta * (1.0 + beta) * rho, -beta * epsilon, -beta * (1.0 / beta).ln_1p(), -beta.ln_1p()];
    let roundoff = 16.0 * f64::EPSILON * parts.iter().map(|p| p.abs()).sum::<f64>();
    parts.iter().sum::<f64>() + roundoff
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    fn decimal(text: &str) -> Ratio {
        Ratio::from_decimal(text).unwrap()
    }

    fn rho_of(epsilon: &str, delta: &str) -> f64 {
        let budget = OutputBudget::Gaussian { epsilon: decimal(epsilon), delta: decimal(delta) };
        match budget.per_query(1).unwrap() {
            QueryOutputs::Rho(rho) => rho.to_f64(),
            other => panic!("{other}"),
        }
    }

    /// δ of ρ-zCDP at ε by trying very many α.
    fn delta_by_trying(rho: f64, epsilon: f64) -> f64 {
        (1..40_000)
            .map(|i| 1.0 + 1e-4 * (i as f64 * 5e-4).exp())
            .map(|a| ((a - 1.0) * (a * rho - epsilon) + a * (-1.0 / a).ln_1p()).exp() / (a - 1.0))
            .fold(1.0, f64::min)
    }

    #[test]
    fn published_conversions_are_kept_and_nearly_reached() {
        // OpenDP's documentation of make_zCDP_to_curveDP (scale 0.5, ρ = 2) and its test of the conversion (scale 4,
        // ρ = 1/32), which cites the same paper; and their δ for ρ = 0.05, ε = 0.25.
        for (rho, epsilon, delta) in [
            (2.0, "11.688596249354896", "0.000001"),
            (1.0 / 32.0, "0.6880024554878086", "0.001"),
            (0.05, "0.25", "0.0817727531036956"),
        ] {
            let ours = rho_of(epsilon, delta);
            assert!(ours <= rho * (1.0 + 1e-13) && ours > rho * (1.0 - 1e-9), "{rho}: {ours}");
        }
        // Bun and Steinke's simpler bound, ε = ρ + 2√(ρ·ln(1/δ)), never allows more.
        for (epsilon, delta) in [("1", "0.000001"), ("4", "0.00001"), ("0.1", "0.0000000001"), ("10", "0.001")] {
            let l = (1.0 / decimal(delta).to_f64()).ln();
            let simple = ((l + decimal(epsilon).to_f64()).sqrt() - l.sqrt()).powi(2);
            assert!(rho_of(epsilon, delta) > simple);
        }
    }

    #[test]
    fn the_largest_rho_of_the_grid_is_found() {
        for (epsilon, delta) in [("4", "0.000001"), ("0.5", "0.00001"), ("0.01", "0.001"), ("20", "0.0000000001")] {
            let rho = rho_of(epsilon, delta);
            let (e, d) = (decimal(epsilon).to_f64(), decimal(delta).to_f64());
            assert!(delta_by_trying(rho, e) <= d * (1.0 + 1e-6), "{epsilon} {delta}: {rho}");
            assert!(delta_by_trying(rho * (1.0 + 1e-6) + 1e-12, e) > d, "{epsilon} {delta}: {rho}");
        }
    }

    #[test]
    fn the_search_holds_from_the_tiniest_to_the_largest_budgets() {
        // Rising in both arguments, above 0 wherever the grid can show it.
        let mut before = 0.0;
        for epsilon in ["0.0001", "0.01", "1", "100", "10000", "1000000"] {
            let rho = rho_of(epsilon, "0.000001");
            assert!(rho > before, "{epsilon}: {rho}");
            before = rho;
        }
        // What is beyond counts as a million.
        assert!((rho_of("123456789012", "0.000001") / rho_of("1000000", "0.000001") - 1.0).abs() < 1e-12);
        let tiny = format!("0.{}1", "0".repeat(48));
        assert!(rho_of("1", &tiny) > 1e-3 && rho_of("1", &tiny) < rho_of("1", "0.000001"));
        assert!(rho_of("1", "0.999999") > rho_of("1", "0.5"));
    }

    #[test]
    fn budgets_that_make_no_sense_are_refused() {
        let laplace = |e: &str| OutputBudget::Laplace { epsilon: decimal(e) };
        let gaussian = |e: &str, d: &str| OutputBudget::Gaussian { epsilon: decimal(e), delta: decimal(d) };
        for budget in [OutputBudget::Exact, laplace("1"), gaussian("1", "0.001")] {
            assert_eq!(budget.per_query(0), Err(DpError::NoQueries));
        }
        assert_eq!(laplace("0").per_query(1), Err(DpError::Epsilon(0.0)));
        assert_eq!(gaussian("0", "0.001").per_query(1), Err(DpError::Epsilon(0.0)));
        assert_eq!(gaussian("1", "0").per_query(1), Err(DpError::Delta(0.0)));
        assert_eq!(gaussian("1", "1").per_query(1), Err(DpError::Delta(1.0)));
        assert!(matches!(gaussian("1", &format!("0.{}9", "0".repeat(50))).per_query(1), Err(DpError::Delta(_))));
        // ρ below the grid; ε below what 80 digits can say.
        assert!(matches!(gaussian("0.000000001", "0.000000001").per_query(1), Err(DpError::OutputsTooSmall { .. })));
        let least = OutputBudget::Laplace { epsilon: ratio(&format!("1/{}", "9".repeat(80))) };
        assert!(least.per_query(1).is_ok());
        assert!(matches!(least.per_query(u64::MAX), Err(DpError::OutputsTooSmall { .. })));
        assert_eq!(OutputBudget::Exact.per_query(7), Ok(QueryOutputs::Exact));
    }

    #[test]
    fn the_noise_of_a_policy_by_hand() {
        // ε = 4 over 10 queries, a query of 2 words (an AVG), totals of 0 to 500 cents.
        let query = OutputBudget::Laplace { epsilon: decimal("4.0") }.per_query(10).unwrap();
        assert_eq!(query.to_string(), "epsilon 2/5");
        assert_eq!(query.word_noise(500, 2).to_string(), "laplace 2500/1");
        assert_eq!(query.word_noise(1, 1).to_string(), "laplace 5/2");
        assert_eq!(query.word_noise(0, 2), Noise::None);
        assert_eq!(query.word_noise(1, 0), query.word_noise(1, 1));
        assert_eq!(QueryOutputs::Exact.word_noise(500, 2), Noise::None);
        let query: QueryOutputs = "rho 1/400".parse().unwrap();
        assert_eq!(query.word_noise(3, 2).to_string(), "gaussian 3600/1");
        assert_eq!(query.word_noise(500, 1).to_string(), "gaussian 50000000/1");
        // The widest sensitivity still has an exact variance; one that has none is refused by its tail.
        let widest = query.word_noise(u128::MAX, 1);
        assert_eq!(widest.to_string().len(), "gaussian /1".len() + 80);
        assert_eq!(query.word_noise(u128::MAX, u32::MAX).tail(), crate::dp::NOISE_TAIL_MAX);
        assert_eq!(widest.tail(), crate::dp::NOISE_TAIL_MAX);
        assert_eq!(QueryOutputs::Epsilon(ratio("0/1")).word_noise(1, 1).tail(), crate::dp::NOISE_TAIL_MAX);
    }

    proptest! {
        #[test]
        fn queries_together_never_pass_their_budget(n in 1..u64::MAX, d in 1..u64::MAX, queries in 1..u64::MAX) {
            let epsilon = Ratio::new(n.into(), d.into()).unwrap();
            let share = OutputBudget::Laplace { epsilon: epsilon.clone() }.per_query(queries).unwrap();
            let QueryOutputs::Epsilon(share) = share else { panic!() };
            // These numbers have digits enough: the parts are exact.
            let total = Ratio::at_most(share.numerator() * queries, share.denominator().clone());
            prop_assert_eq!(total, epsilon);
        }

        #[test]
        fn rounded_parts_stay_below_their_budget(digits in "[1-9][0-9]{78}", queries in 2..u64::MAX) {
            let epsilon: Ratio = ratio(&format!("1/{digits}"));
            if let Ok(QueryOutputs::Epsilon(share)) =
                (OutputBudget::Laplace { epsilon: epsilon.clone() }).per_query(queries)
            {
                let (n, d) = (share.numerator() * queries, share.denominator());
                prop_assert!(n * epsilon.denominator() <= epsilon.numerator() * d);
            }
        }

        #[test]
        fn gaussian_queries_together_stay_within_the_grid(e in 1..1000_u32, d in 1..6_u32, queries in 1..u64::MAX) {
            let budget = OutputBudget::Gaussian {
                epsilon: Ratio::new(e.into(), 100).unwrap(),
                delta: Ratio::new(1, 10_u128.pow(d)).unwrap(),
            };
            let rho = |q: u64| match budget.per_query(q).unwrap() {
                QueryOutputs::Rho(rho) => rho,
                other => panic!("{other}"),
            };
            let (one, part) = (rho(1), rho(queries));
            prop_assert_eq!(Ratio::at_most(part.numerator() * queries, part.denominator().clone()), one.clone());
            // A multiple of 1e-12.
            prop_assert_eq!(BigUint::from(RHO_GRID) % one.denominator(), BigUint::ZERO);
        }

        #[test]
        fn words_together_never_pass_their_query(
            n in 1..u64::MAX, d in 1..u64::MAX, sensitivity in 1..u128::MAX, words in 1..u32::MAX) {
            let part = Ratio::new(n.into(), d.into()).unwrap();
            let Noise::Laplace { scale } = QueryOutputs::Epsilon(part.clone()).word_noise(sensitivity, words) else {
                panic!()
            };
            // words·sensitivity/scale ≤ ε, and no noise is wasted.
            let spent = BigUint::from(sensitivity) * words * scale.denominator() * part.denominator();
            let allowed = part.numerator() * scale.numerator();
            prop_assert!(spent <= allowed && &allowed - &spent <= allowed >> 40_u8);
            let Noise::Gaussian { variance } = QueryOutputs::Rho(part.clone()).word_noise(sensitivity, words) else {
                panic!()
            };
            // words·sensitivity²/(2·variance) ≤ ρ, unless it is too large for any.
            let square = BigUint::from(sensitivity) * sensitivity;
            let spent = square * words * variance.denominator() * part.denominator();
            let allowed = part.numerator() * variance.numerator() * 2_u8;
            prop_assert!(spent <= allowed || variance.to_f64() > 9e79);
        }
    }
}
