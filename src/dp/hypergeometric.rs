//! The overlap of two parties' dummies: Hypergeometric(2τ, τ, τ).
//!
//! Out of 2τ common dummies each party adds a uniformly random half. How many both added is
//! P(h) = C(τ, h)² / C(2τ, τ), h = 0 ..= τ: symmetric about τ/2, with variance τ² / (4·(2τ − 1)).
//! To a party that knows its own half the distribution is the same: the other's half is uniform,
//! so that only sizes count. (DPCA-PSI, "IntersectMask"; the law is textbook, Feller I, II.6.)
//!
//! Probabilities come from the exact ratio P(h) / P(h − 1) = ((τ − h + 1) / h)², walked from the
//! mode outwards in both directions and divided by their sum: no logarithm of a factorial, so no
//! cancellation. Each step costs at most 4 roundings (a quotient, its square counted twice, a
//! product), and so does the sum, all terms being positive: the relative error of every stored
//! probability is at most [`Hypergeometric::relative_error`].

/// Unit roundoff of `f64`.
pub(super) const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

/// Outcomes rarer than this, relative to the mode, are not stored; their total is bounded instead.
const RARE: f64 = 1e-280;

/// Hypergeometric(2τ, τ, τ): the matches that the dummies of one column add to its size.
#[derive(Clone, Debug)]
pub struct Hypergeometric {
    tau: u64,
    first: u64,
    mass: Vec<f64>,
    rare_max: f64,
}

impl Hypergeometric {
    /// The distribution for τ dummies per party and column. τ = 0 is the constant 0.
    ///
    /// Takes O(√τ) time and memory: outcomes more than some 36 standard deviations from the
    /// middle are left to [`rare_max`](Self::rare_max).
    pub fn new(tau: u64) -> Self {
        let t = tau as f64;
        let mode = tau / 2;
        // Upwards from the mode: P(h) / P(h − 1) = ((τ − h + 1) / h)².
        let mut upper = vec![1.0_f64];
        let mut weight = 1.0_f64;
        for h in mode + 1..=tau {
            let ratio = (t - h as f64 + 1.0) / h as f64;
            weight *= ratio * ratio;
            if weight < RARE {
                break;
            }
            upper.push(weight);
        }
        // Downwards, the same ratio turned over.
        let mut lower = Vec::new();
        weight = 1.0;
        for h in (1..=mode).rev() {
            let ratio = h as f64 / (t - h as f64 + 1.0);
            weight *= ratio * ratio;
            if weight < RARE {
                break;
            }
            lower.push(weight);
        }
        let first = mode - lower.len() as u64;
        let mut mass: Vec<f64> = lower.into_iter().rev().chain(upper).collect();
        let total: f64 = mass.iter().sum();
        for m in &mut mass {
            *m /= total;
        }
        // The law is log-concave: beyond a cut its terms fall at least as fast as at the cut, and
        // the first that was left out is below RARE. Counting τ + 1 of them needs no ratio.
        let stored_all = mass.len() as u64 == tau + 1;
        let rare_max = if stored_all { 0.0 } else { (t + 1.0) * RARE };
        Self { tau, first, mass, rare_max }
    }

    /// τ, the dummies per party and column.
    pub fn tau(&self) -> u64 {
        self.tau
    }

    /// P(h), within [`relative_error`](Self::relative_error); 0 where the true value is below
    /// [`rare_max`](Self::rare_max).
    pub fn probability(&self, h: u64) -> f64 {
        h.checked_sub(self.first)
            .and_then(|i| usize::try_from(i).ok())
            .and_then(|i| self.mass.get(i).copied())
            .unwrap_or(0.0)
    }

    /// The stored outcomes with their probabilities, rising.
    pub fn outcomes(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        (self.first..).zip(self.mass.iter().copied())
    }

    /// An upper bound on the total probability of the outcomes that are not stored.
    pub fn rare_max(&self) -> f64 {
        self.rare_max
    }

    /// A bound on the relative error of every stored probability.
    pub fn relative_error(&self) -> f64 {
        // 4 roundings per step, at most `len` steps, for the term and again for the sum; 8 spare.
        (8.0 * self.mass.len() as f64 + 8.0) * UNIT_ROUNDOFF
    }

    /// The standard deviation, τ / (2·√(2τ − 1)).
    pub fn standard_deviation(&self) -> f64 {
        size_noise_sd(self.tau)
    }

    /// The least w, a multiple of 1/2, with P(|h − τ/2| ≤ w) ≥ `coverage`.
    /// For `coverage` of 1 or more: τ/2, the whole range.
    pub fn half_width(&self, coverage: f64) -> f64 {
        let whole = self.tau as f64 / 2.0;
        if coverage >= 1.0 {
            return whole;
        }
        // From the middle outwards: an even τ has a single middle outcome, an odd τ has two.
        let (mut low, mut high) = (self.tau / 2, self.tau.div_ceil(2));
        let mut covered = self.probability(low);
        if high != low {
            covered += self.probability(high);
        }
        while covered < coverage && low > self.first {
            low -= 1;
            high += 1;
            covered += self.probability(low) + self.probability(high);
        }
        (high - low) as f64 / 2.0
    }
}

/// All τ + 1 probabilities P(0) ..= P(τ) of Hypergeometric(2τ, τ, τ), each within a relative
/// error of 1e-10 for τ up to 10⁶ (and 0 where the true value is below 1e-273): what a subset
/// sampler's overlaps are tested against.
pub fn hypergeometric_pmf(tau: u64) -> Vec<f64> {
    let law = Hypergeometric::new(tau);
    (0..=tau).map(|h| law.probability(h)).collect()
}

/// Standard deviation of a column's size noise: τ / (2·√(2τ − 1)) persons, 0 for τ = 0.
pub fn size_noise_sd(tau: u64) -> f64 {
    if tau == 0 {
        return 0.0;
    }
    let t = tau as f64;
    t / (2.0 * (2.0 * t - 1.0).sqrt())
}

/// What a column's size is off by at most, in 95 % of the queries, once its expected τ/2 is taken
/// away: persons, a multiple of 1/2.
pub fn size_noise_95(tau: u64) -> f64 {
    Hypergeometric::new(tau).half_width(0.95)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::ChaCha20Rng;
    use rand_core::{Rng, SeedableRng};

    fn binomial(n: u64, k: u64) -> u128 {
        (0..k).fold(1_u128, |c, i| c * u128::from(n - i) / u128::from(i + 1))
    }

    #[test]
    fn agrees_with_exact_integers_wherever_they_fit() {
        for tau in 0..=61_u64 {
            let law = Hypergeometric::new(tau);
            let all = binomial(2 * tau, tau) as f64;
            for h in 0..=tau {
                let c = binomial(tau, h);
                let exact = (c * c) as f64 / all;
                let off = (law.probability(h) - exact).abs() / exact;
                assert!(off < 1e-14, "τ {tau}, h {h}: {off:e}");
                assert!(off <= law.relative_error() + 3.0 * UNIT_ROUNDOFF);
            }
            assert_eq!(law.probability(tau + 1), 0.0);
        }
    }

    #[test]
    fn sums_to_one_with_the_textbook_mean_and_variance_up_to_large_tau() {
        for tau in [1_u64, 2, 63, 1000, 5257, 99_999, 1 << 20, 1 << 24] {
            let law = Hypergeometric::new(tau);
            let half = tau as f64 / 2.0;
            let (mut total, mut drift, mut square) = (0.0, 0.0, 0.0);
            for (h, p) in law.outcomes() {
                let d = h as f64 - half;
                total += p;
                drift += p * d;
                square += p * d * d;
            }
            let variance = size_noise_sd(tau).powi(2);
            assert!((total - 1.0).abs() < 1e-12, "τ {tau}");
            assert!(drift.abs() < 1e-9 * half.max(1.0), "τ {tau}: {drift:e}");
            assert!((square / variance - 1.0).abs() < 1e-10, "τ {tau}");
            assert!(law.rare_max() < 1e-270);
        }
    }

    #[test]
    fn is_symmetric_since_both_directions_of_the_accountant_rest_on_it() {
        for tau in [1_u64, 2, 3, 40, 41, 1000, 1001] {
            let law = Hypergeometric::new(tau);
            for h in 0..=tau {
                let (p, q) = (law.probability(h), law.probability(tau - h));
                assert!((p - q).abs() <= 2.0 * law.relative_error() * p.max(q));
            }
        }
    }

    #[test]
    fn noise_at_95_percent_is_the_least_half_width_that_covers_it() {
        assert_eq!(size_noise_95(0), 0.0);
        assert_eq!(size_noise_95(1), 0.5);
        for tau in 2..400_u64 {
            let law = Hypergeometric::new(tau);
            let w = size_noise_95(tau);
            let covered = |w: f64| -> f64 {
                law.outcomes().filter(|(h, _)| (*h as f64 - tau as f64 / 2.0).abs() <= w + 1e-9).map(|(_, p)| p).sum()
            };
            assert!(covered(w) >= 0.95 - 1e-12, "τ {tau}");
            assert!(covered(w - 0.5) < 0.95, "τ {tau}");
        }
        // Near 1.96 standard deviations where the law is all but normal.
        let ratio = size_noise_95(100_000) / size_noise_sd(100_000);
        assert!((ratio - 1.96).abs() < 0.02, "{ratio}");
        assert_eq!(Hypergeometric::new(9).half_width(1.0), 4.5);
    }

    /// A uniformly random half of 0 .. 2τ by a partial Fisher–Yates shuffle, as booleans.
    fn half_of(two_tau: usize, rng: &mut ChaCha20Rng) -> Vec<bool> {
        let mut order: Vec<usize> = (0..two_tau).collect();
        let mut chosen = vec![false; two_tau];
        for i in 0..two_tau / 2 {
            let left = (two_tau - i) as u64;
            // Rejection: no residue is favoured.
            let limit = u64::MAX - u64::MAX % left;
            let drawn = loop {
                let word = rng.next_u64();
                if word < limit {
                    break word % left;
                }
            };
            order.swap(i, i + drawn as usize);
            chosen[order[i]] = true;
        }
        chosen
    }

    /// Pearson's statistic with cells pooled to an expected count of 10 or more, and its degrees
    /// of freedom.
    fn chi_square(seen: &[u64], expected: &[f64]) -> (f64, usize) {
        let (mut statistic, mut cells) = (0.0, 0_usize);
        let (mut o, mut e) = (0.0, 0.0);
        let mut rest: f64 = expected.iter().sum();
        for (s, x) in seen.iter().zip(expected) {
            o += *s as f64;
            e += x;
            rest -= x;
            if e >= 10.0 && rest >= 10.0 {
                statistic += (o - e) * (o - e) / e;
                cells += 1;
                (o, e) = (0.0, 0.0);
            }
        }
        statistic += (o - e) * (o - e) / e;
        (statistic, cells)
    }

    /// The upper quantile of chi-square at alpha = 1e-4 by Wilson and Hilferty (1931).
    fn chi_square_bound(freedom: usize) -> f64 {
        let n = freedom as f64;
        let z = 3.719; // the standard normal's quantile at 1 − 1e-4
        n * (1.0 - 2.0 / (9.0 * n) + z * (2.0 / (9.0 * n)).sqrt()).powi(3)
    }

    #[test]
    fn two_random_halves_overlap_hypergeometrically_at_alpha_1e_4() {
        // Fixed seed: the test's outcome is a fact, not a chance.
        let mut rng = ChaCha20Rng::seed_from_u64(0x0D0D_51E5);
        for (tau, draws) in [(1_usize, 20_000_u64), (4, 20_000), (43, 20_000), (133, 8_000)] {
            let mut seen = vec![0_u64; tau + 1];
            let mut seen_by_one = vec![0_u64; tau + 1];
            let own = half_of(2 * tau, &mut rng);
            for _ in 0..draws {
                let (a, b) = (half_of(2 * tau, &mut rng), half_of(2 * tau, &mut rng));
                seen[a.iter().zip(&b).filter(|(x, y)| **x && **y).count()] += 1;
                // The same in the eyes of a party whose own half is fixed and known to it.
                seen_by_one[own.iter().zip(&b).filter(|(x, y)| **x && **y).count()] += 1;
            }
            let expected: Vec<f64> = hypergeometric_pmf(tau as u64).iter().map(|p| p * draws as f64).collect();
            for seen in [&seen, &seen_by_one] {
                let (statistic, freedom) = chi_square(seen, &expected);
                let bound = chi_square_bound(freedom);
                assert!(statistic < bound, "τ {tau}: {statistic} ≥ {bound}");
            }
            // The test has teeth: a binomial of the same mean, which independent coins instead of
            // halves would give, is refused.
            if tau >= 4 {
                let mut coins = vec![0_u64; tau + 1];
                for _ in 0..draws {
                    let both = (0..2 * tau).filter(|_| rng.next_u32() % 4 == 0).count();
                    coins[both.min(tau)] += 1;
                }
                let (statistic, freedom) = chi_square(&coins, &expected);
                assert!(statistic > chi_square_bound(freedom), "τ {tau}");
            }
        }
    }
}
