//! Fillers for an announced length: the policy says how many on average and how they spread, this
//! samples them.
//!
//! Exact: integers and coin flips only, after Canonne, Kamath and Steinke, "The Discrete Gaussian for
//! Differential Privacy" (2020), algorithms 1 and 2. A float would leave fingerprints in the tail.

use rand_core::CryptoRng;

use crate::policy::PadPlan;

/// s + X fillers, X from the discrete Laplace law P(X = x) ∝ exp(−ε₀·|x|), truncated to −s ..= s by
/// rejection.
pub(super) fn fillers(plan: &PadPlan, rng: &mut impl CryptoRng) -> u64 {
    loop {
        let magnitude = geometric(plan.epsilon_numerator, plan.epsilon_denominator, rng);
        let negative = rng.next_u32() & 1 == 1;
        // Zero has one sign, or it would be drawn twice as often.
        if magnitude > plan.bound || (negative && magnitude == 0) {
            continue;
        }
        return if negative { plan.bound - magnitude } else { plan.bound + magnitude };
    }
}

/// G with P(G = g) = (1 − e^−x)·e^−x·g, x = `numerator` / `denominator` > 0.
fn geometric(numerator: u64, denominator: u64, rng: &mut impl CryptoRng) -> u64 {
    let low = loop {
        let candidate = below(u128::from(denominator), rng);
        if bernoulli_exp(candidate, u128::from(denominator), rng) {
            break candidate;
        }
    };
    let mut high: u128 = 0;
    while bernoulli_exp(1, 1, rng) {
        high += 1;
    }
    let scaled = low + high * u128::from(denominator);
    u64::try_from(scaled / u128::from(numerator)).unwrap_or(u64::MAX)
}

/// True with probability e^−(`numerator`/`denominator`), for a fraction of at most 1.
fn bernoulli_exp(numerator: u128, denominator: u128, rng: &mut impl CryptoRng) -> bool {
    let mut k: u128 = 1;
    while below(denominator * k, rng) < numerator {
        k += 1;
    }
    k % 2 == 1
}

/// Uniform in 0..`bound`, without bias.
fn below(bound: u128, rng: &mut impl CryptoRng) -> u128 {
    let mask = u128::MAX.checked_shr((bound - 1).leading_zeros()).unwrap_or(0);
    loop {
        let candidate = (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) & mask;
        if candidate < bound {
            return candidate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn fillers_follow_the_truncated_law() {
        // Chi-squared over 2s + 1 = 13 outcomes, 12 degrees of freedom: 32.9 has probability 0.001.
        let plan = PadPlan { epsilon_numerator: 2, epsilon_denominator: 5, bound: 6 };
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let draws = 200_000;
        let mut seen = [0u64; 13];
        for _ in 0..draws {
            seen[fillers(&plan, &mut rng) as usize] += 1;
        }
        let weight = |index: usize| (-0.4 * (index as f64 - 6.0).abs()).exp();
        let all: f64 = (0..13).map(weight).sum();
        let chi: f64 = (0..13)
            .map(|index| {
                let due = draws as f64 * weight(index) / all;
                (seen[index] as f64 - due).powi(2) / due
            })
            .sum();
        assert!(chi < 32.9, "{chi}: {seen:?}");
    }

    #[test]
    fn the_number_stays_within_its_bounds_for_tiny_and_large_epsilons() {
        let mut rng = ChaCha20Rng::seed_from_u64(8);
        for (numerator, denominator, bound) in [(1, 1_000_000_000_000, 50), (100, 1, 3), (1, 1, 0)] {
            let plan = PadPlan { epsilon_numerator: numerator, epsilon_denominator: denominator, bound };
            for _ in 0..20 {
                if numerator == 1 && denominator > 1_000_000 && bound < 1_000_000 {
                    // Nearly all draws of so flat a law are rejected: the sampler is tried below it.
                    assert!(geometric(1_000_000_000, denominator, &mut rng) < 1_000_000);
                    continue;
                }
                assert!(fillers(&plan, &mut rng) <= 2 * bound);
            }
        }
    }

    #[test]
    fn uniform_draws_reach_both_ends_and_no_further() {
        let mut rng = ChaCha20Rng::seed_from_u64(9);
        for bound in [1u128, 2, 3, 7, 8, 9] {
            let seen: std::collections::BTreeSet<u128> = (0..500).map(|_| below(bound, &mut rng)).collect();
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..bound).collect::<Vec<_>>());
        }
    }
}
