//! Secret orders and secret choices: shuffles, and halves of the common dummies.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Rows that are shuffled by exchanges all over them: 128 KiB, well within any core's second cache.
const CACHED_ROWS: usize = 1 << 15;

/// Puts rows into an order of which each of the n! has the same probability, in linear time, and reading and writing
/// memory in sequence but for a cache's worth at a time. Takes 5 bytes per row meanwhile, and wipes them.
///
/// Few rows: Fisher and Yates's shuffle (Knuth, The Art of Computer Programming 2, section 3.4.2, algorithm P) over
/// exactly uniform numbers. It touches all of memory in a random order, so many rows are first dealt at random among 256
/// heaps, each of which is shuffled by itself (Rao, "Generation of random permutation of given number of elements using
/// random sampling numbers", 1961; Sandelius, "A simple randomization procedure", 1962).
///
/// *Why that is uniform.* Each row's heap is independent and uniform over the 256. So any two ways to assign the rows to
/// heaps are equally likely; given the heaps' sizes, each choice of which rows are in which heap has the same probability,
/// 1/(n!/(n_1! … n_256!)). Within its heap a row's place is decided by a shuffle that is uniform, by induction on n,
/// and independent of the dealing: each order has probability 1/n_i!. An order of all n rows, given the sizes, says which
/// rows are in which heap and their order there, and so has probability Π n_i!/n! · Π 1/n_i! = 1/n!, whatever the sizes
/// are, hence also without them. The order in which rows are dealt into a heap does not matter.
pub fn shuffle(rows: &mut [u32], rng: &mut impl CryptoRng) {
    if rows.len() <= CACHED_ROWS {
        return exchange(rows, rng);
    }
    let mut dealt = Zeroizing::new(vec![0; rows.len()]);
    deal(rows, &mut dealt, rng);
}

/// [`shuffle`] of more rows than a cache holds, with as much room beside them.
fn deal(rows: &mut [u32], dealt: &mut [u32], rng: &mut impl CryptoRng) {
    let mut heaps = Zeroizing::new(vec![0u8; rows.len()]);
    rng.fill_bytes(&mut heaps);
    let mut places = [0usize; 256];
    heaps.iter().for_each(|heap| places[usize::from(*heap)] += 1);
    let mut end = 0;
    for place in &mut places {
        (*place, end) = (end, end + *place);
    }
    for (row, heap) in rows.iter().zip(&heaps[..]) {
        let place = &mut places[usize::from(*heap)];
        dealt[*place] = *row;
        *place += 1;
    }
    rows.copy_from_slice(dealt);
    drop(heaps);
    // Each place is now where the next heap begins.
    let mut start = 0;
    for end in places {
        let (heap, room) = (&mut rows[start..end], &mut dealt[start..end]);
        if heap.len() <= CACHED_ROWS {
            exchange(heap, rng)
        } else {
            deal(heap, room, rng)
        }
        start = end;
    }
}

/// Fisher and Yates's shuffle.
fn exchange(rows: &mut [u32], rng: &mut impl CryptoRng) {
    for last in (1..rows.len()).rev() {
        // Rows of a cache: their number fits 32 bits.
        let other = below_32(last as u32 + 1, rng);
        rows.swap(last, other as usize);
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
    // Room for all of them: what a vector leaves when it grows can be wiped by nobody.
    let mut chosen = Vec::with_capacity(half as usize);
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

/// The same in 32 bits. The threshold is below `bound`, so that it need not be known to accept a low half that is not.
fn below_32(bound: u32, rng: &mut impl CryptoRng) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        if product as u32 >= bound || product as u32 >= bound.wrapping_neg() % bound {
            return (product >> u32::BITS) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::Hash;

    use proptest::prelude::*;
    use rand_core::SeedableRng;

    use super::super::random::ChaCha20Rng;
    use super::*;

    /// The rows from 0 to `n` - 1, shuffled.
    fn order(n: u32, rng: &mut ChaCha20Rng) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..n).collect();
        shuffle(&mut rows, rng);
        rows
    }

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
            let draws = (0..outcomes * 500).map(|_| order(n, &mut rng));
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
    fn short_numbers_below_a_bound_that_rejects_often_are_uniform() {
        let mut rng = ChaCha20Rng::seed_from_u64(17);
        let bound = (1 << 31) + 3;
        let third = bound / 3 + 1;
        assert!(looks_uniform(3, (0..6000).map(|_| below_32(bound, &mut rng) / third)));
        assert!(looks_uniform(7, (0..7000).map(|_| below_32(7, &mut rng))));
    }

    #[test]
    fn all_orders_of_few_dealt_rows_are_equally_likely() {
        // Dealing alone, whatever their number, as heaps of one or two rows are.
        let mut rng = ChaCha20Rng::seed_from_u64(18);
        for (n, outcomes) in [(2, 2), (3, 6), (4, 24), (5, 120)] {
            let draws = (0..outcomes * 500).map(|_| {
                let mut rows: Vec<u32> = (0..n).collect();
                deal(&mut rows, &mut vec![0; n as usize], &mut rng);
                rows
            });
            assert!(looks_uniform(outcomes, draws), "n = {n}");
        }
    }

    #[test]
    fn a_row_of_many_lands_anywhere_and_so_does_its_neighbour() {
        // In which of four stretches rows 0 and 1 are, of tables that are dealt.
        let mut rng = ChaCha20Rng::seed_from_u64(19);
        let (n, stretch) = (CACHED_ROWS as u32 + 500, CACHED_ROWS as u32 / 4 + 125);
        let draws: Vec<(u32, u32)> = (0..4000)
            .map(|_| {
                let order = order(n, &mut rng);
                let mut places = [0; 2];
                for (place, row) in (0..).zip(&order).filter(|(_, row)| **row < 2) {
                    places[*row as usize] = place / stretch;
                }
                (places[0], places[1])
            })
            .collect();
        assert!(looks_uniform(16, draws.into_iter()));
    }

    #[test]
    fn many_rows_are_all_there_after_they_were_dealt_twice() {
        let n = 256 * CACHED_ROWS as u32 + 4096;
        let mut rows = order(n, &mut ChaCha20Rng::seed_from_u64(20));
        assert!(rows.iter().zip(0..).filter(|(row, place)| **row == *place).count() < 20);
        rows.sort_unstable();
        assert!(rows.into_iter().eq(0..n));
    }

    #[test]
    fn nothing_and_one_row_have_one_order() {
        let mut rng = ChaCha20Rng::seed_from_u64(15);
        assert!(order(0, &mut rng).is_empty());
        assert_eq!(order(1, &mut rng), [0]);
        assert!(choose_half(0, &mut rng).is_empty());
    }

    proptest! {
        #[test]
        fn a_half_has_that_many_distinct_ascending_dummies(half in 0u64..300, seed: u64) {
            let chosen = choose_half(half, &mut ChaCha20Rng::seed_from_u64(seed));
            prop_assert_eq!(chosen.len() as u64, half);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|&number| number < 2 * half));
        }
    }
}
