//! Secret orders and secret choices: permutations, and halves of the common dummies.

use std::fmt;

use rand_core::CryptoRng;
use zeroize::ZeroizeOnDrop;

/// A secret permutation of n rows, wiped when dropped and redacted in `Debug`.
///
/// The row numbers say where each place takes its row *from*: `shuffled[i] = table[rows()[i]]`, which is what the
/// verbs over `rows` and [`gather`](super::ElementColumn::gather) do with it.
#[derive(PartialEq, Eq, ZeroizeOnDrop)]
pub struct Permutation(Vec<u32>);

impl Permutation {
    /// Each of the n! permutations of `n` rows with the same probability: Fisher and Yates's shuffle (Knuth, The Art
    /// of Computer Programming 2, section 3.4.2, algorithm P) over exactly uniform numbers.
    pub fn random(n: u32, rng: &mut impl CryptoRng) -> Self {
        let mut rows: Vec<u32> = (0..n).collect();
        for last in (1..n).rev() {
            let other = below(u64::from(last) + 1, rng);
            rows.swap(last as usize, other as usize);
        }
        Self(rows)
    }

    /// Number of rows, n.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From which row each place takes its row.
    pub fn rows(&self) -> &[u32] {
        &self.0
    }

    /// The permutation that undoes this one: `table[j] = shuffled[inverse().rows()[j]]`.
    pub fn inverse(&self) -> Self {
        let mut inverse = vec![0; self.0.len()];
        for (place, &row) in (0..).zip(&self.0) {
            inverse[row as usize] = place;
        }
        Self(inverse)
    }
}

impl fmt::Debug for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permutation of {} rows (…)", self.0.len())
    }
}

/// A uniformly random subset of half of the numbers 0 to 2·`half` − 1, ascending: which of the 2τ common dummies a
/// party adds. All C(2τ, τ) subsets have the same probability (Knuth, section 3.4.2, algorithm S), which is what
/// makes the overlap of two parties' choices hypergeometric.
///
/// # Panics
/// Where 2·`half` exceeds 64 bits.
pub fn choose_half(half: u64, rng: &mut impl CryptoRng) -> Vec<u64> {
    let all = half.checked_mul(2).expect("the dummies of a column were generated, so they can be counted");
    let mut chosen = Vec::new();
    let mut missing = half;
    for number in 0..all {
        // Of the numbers that are left, `missing` must still be chosen, each with the same chance.
        if below(all - number, rng) < missing {
            chosen.push(number);
            missing -= 1;
        }
    }
    chosen
}

/// A uniformly random number below `bound`, which is not zero: Lemire, "Fast random integer generation in an
/// interval" (2019), algorithm 5. The product's low half is rejected where it would favour a result, so the
/// distribution is exact; how often that happens depends on `bound` and fresh randomness alone.
fn below(bound: u64, rng: &mut impl CryptoRng) -> u64 {
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> u64::BITS) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::Hash;

    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    /// Whether `draws` look uniform over `outcomes` values: Pearson's chi-square at alpha = 1e-6, its critical value
    /// by Wilson and Hilferty's approximation. Seeds are fixed, so a correct sampler passes always.
    fn looks_uniform<T: Eq + Hash>(outcomes: usize, draws: impl Iterator<Item = T>) -> bool {
        let mut counts: HashMap<T, u64> = HashMap::new();
        let mut total = 0;
        for draw in draws {
            *counts.entry(draw).or_default() += 1;
            total += 1;
        }
        let expected = f64::from(total) / outcomes as f64;
        let unseen = outcomes.checked_sub(counts.len()).expect("no outcome that there should not be");
        let seen: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
        let statistic = seen + unseen as f64 * expected;
        let freedom = outcomes as f64 - 1.0;
        let z_at_alpha = 4.7534;
        let spread = 2.0 / (9.0 * freedom);
        statistic < freedom * (1.0 - spread + z_at_alpha * spread.sqrt()).powi(3)
    }

    #[test]
    fn all_permutations_of_few_rows_are_equally_likely() {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        for (n, outcomes) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let draws = (0..outcomes * 500).map(|_| Permutation::random(n, &mut rng).rows().to_vec());
            assert!(looks_uniform(outcomes, draws), "n = {n}");
        }
    }

    #[test]
    fn the_test_of_uniformity_refuses_the_naive_shuffle() {
        // Swapping each row with any row gives 4^4 equally likely runs, which 4! does not divide.
        let mut rng = ChaCha20Rng::seed_from_u64(12);
        let draws = (0..24 * 500).map(|_| {
            let mut rows = [0, 1, 2, 3];
            for place in 0..4 {
                rows.swap(place, below(4, &mut rng) as usize);
            }
            rows
        });
        assert!(!looks_uniform(24, draws));
    }

    #[test]
    fn all_halves_of_few_dummies_are_equally_likely() {
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        for (half, outcomes) in [(1, 2), (2, 6), (3, 20), (4, 70)] {
            let draws = (0..outcomes * 500).map(|_| choose_half(half, &mut rng));
            assert!(looks_uniform(outcomes, draws), "half = {half}");
        }
    }

    #[test]
    fn numbers_below_a_bound_that_rejects_often_are_uniform() {
        // Just above 2^63 nearly half of all draws are rejected; the third of the interval is seen in the top bits.
        let mut rng = ChaCha20Rng::seed_from_u64(14);
        let bound = (1 << 63) + 3;
        let third = bound / 3 + 1;
        assert!(looks_uniform(3, (0..6000).map(|_| below(bound, &mut rng) / third)));
    }

    #[test]
    fn nothing_and_one_row_have_one_order() {
        let mut rng = ChaCha20Rng::seed_from_u64(15);
        assert!(Permutation::random(0, &mut rng).is_empty());
        assert_eq!(Permutation::random(1, &mut rng).rows(), [0]);
        assert!(choose_half(0, &mut rng).is_empty());
    }

    #[test]
    fn debug_shows_no_order() {
        let permutation = Permutation::random(3, &mut ChaCha20Rng::seed_from_u64(16));
        assert_eq!(format!("{permutation:?}"), "Permutation of 3 rows (…)");
    }

    proptest! {
        #[test]
        fn an_inverse_undoes_its_permutation(n in 0u32..600, seed: u64) {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let permutation = Permutation::random(n, &mut rng);
            let inverse = permutation.inverse();
            for (place, &row) in (0..).zip(permutation.rows()) {
                prop_assert_eq!(inverse.rows()[row as usize], place);
            }
            prop_assert_eq!(inverse.inverse(), permutation);
        }

        #[test]
        fn a_half_has_that_many_distinct_ascending_dummies(half in 0u64..300, seed: u64) {
            let chosen = choose_half(half, &mut ChaCha20Rng::seed_from_u64(seed));
            prop_assert_eq!(chosen.len() as u64, half);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|&number| number < 2 * half));
        }
    }
}
