//! The dummies as they are really drawn against the law that the accountant computes with.
//!
//! Goal: the overlap of two parties' halves of the 2τ common dummies is Hypergeometric(2τ, τ, τ). Method: the sampler
//! of `crypto`, the law of `dp`, fixed seeds, Pearson's chi-square at alpha = 1e-6.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use datafusion_psi::crypto::{ChaCha20Rng, choose_half};
use datafusion_psi::dp::hypergeometric_pmf;
use rand_core::{Rng, SeedableRng};

const ROUNDS: usize = 20_000;

/// Pearson's statistic and its degrees of freedom; outcomes expected fewer than five times are one.
fn chi_square(counts: &[u64], law: &[f64]) -> (f64, usize) {
    let (mut statistic, mut cells) = (0.0, 0);
    let (mut rare_count, mut rare_expected) = (0.0, 0.0);
    let mut add = |count: f64, expected: f64| {
        statistic += (count - expected).powi(2) / expected;
        cells += 1;
    };
    for (count, probability) in counts.iter().zip(law) {
        let expected = probability * ROUNDS as f64;
        if expected < 5.0 {
            rare_count += *count as f64;
            rare_expected += expected;
        } else {
            add(*count as f64, expected);
        }
    }
    if rare_expected >= 5.0 {
        add(rare_count, rare_expected);
    } else if rare_count >= 40.0 {
        // Outcomes that should be next to impossible.
        return (f64::INFINITY, cells - 1);
    }
    (statistic, cells - 1)
}

/// The quantile of chi-square at 1 - 1e-6, after Wilson and Hilferty (1931).
fn limit(degrees: usize) -> f64 {
    let d = degrees as f64;
    d * (1.0 - 2.0 / (9.0 * d) + 4.753 * (2.0 / (9.0 * d)).sqrt()).powi(3)
}

type Draw<'a> = &'a dyn Fn(&mut ChaCha20Rng) -> Vec<u64>;

/// How often each overlap occurred. Draws are ascending.
fn overlaps(tau: u64, mine: Draw<'_>, theirs: Draw<'_>) -> Vec<u64> {
    let mut rng = ChaCha20Rng::seed_from_u64(tau);
    let mut counts = vec![0; 2 * tau as usize + 1];
    for _ in 0..ROUNDS {
        let (mine, theirs) = (mine(&mut rng), theirs(&mut rng));
        counts[mine.iter().filter(|number| theirs.binary_search(number).is_ok()).count()] += 1;
    }
    counts
}

#[test]
fn the_overlap_of_two_secret_halves_is_what_the_accountant_says() {
    for tau in [1, 2, 7, 40] {
        let half = |rng: &mut ChaCha20Rng| choose_half(tau, rng);
        let (statistic, degrees) = chi_square(&overlaps(tau, &half, &half), &hypergeometric_pmf(tau));
        assert!(statistic < limit(degrees), "tau {tau}: {statistic} with {degrees} degrees of freedom");
    }
}

#[test]
fn it_is_the_same_for_a_party_that_knows_its_own_half_or_chose_it_badly() {
    // The first half of the numbers, always: one honest party is enough.
    let tau = 40;
    let counts = overlaps(tau, &|_| (0..tau).collect(), &|rng| choose_half(tau, rng));
    let (statistic, degrees) = chi_square(&counts, &hypergeometric_pmf(tau));
    assert!(statistic < limit(degrees), "{statistic} with {degrees} degrees of freedom");
}

#[test]
fn a_sampler_that_takes_each_dummy_by_a_coin_would_be_seen() {
    let tau = 40;
    let coin = |rng: &mut ChaCha20Rng| (0..2 * tau).filter(|_| rng.next_u32() & 1 == 0).collect::<Vec<u64>>();
    let (statistic, degrees) = chi_square(&overlaps(tau, &coin, &coin), &hypergeometric_pmf(tau));
    assert!(statistic > limit(degrees), "{statistic}");
}

#[test]
fn a_party_that_adds_all_or_none_of_the_common_dummies_sees_an_overlap_without_any_noise() {
    // What this deviation gains: nothing stops it, and the security page says so. All of them give τ each time, where
    // the responder's rule for a minimum expects τ/2 per column; none give 0.
    let tau = 40;
    let half = |rng: &mut ChaCha20Rng| choose_half(tau, rng);
    let all = overlaps(tau, &|_| (0..2 * tau).collect(), &half);
    assert_eq!(all[tau as usize], ROUNDS as u64);
    let none = overlaps(tau, &|_| Vec::new(), &half);
    assert_eq!(none[0], ROUNDS as u64);
    // The least deviation that gains anything: one dummy more than a half narrows the law, and moves its mean by 1/2.
    let more = overlaps(tau, &|_| (0..=tau).collect(), &half);
    let mean =
        more.iter().enumerate().map(|(overlap, count)| overlap as f64 * *count as f64).sum::<f64>() / ROUNDS as f64;
    assert!((mean - (tau as f64 + 1.0) / 2.0).abs() < 0.1, "{mean}");
}
