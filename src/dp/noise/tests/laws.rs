//! Statistics of many draws. Seeds are fixed, so a test passes or fails for ever; α is the probability that one would have
//! failed a right sampler: 10⁻⁴ for each.

use super::super::exact::{Bits, Source};
use super::super::tails::normal_within;
use super::{gaussian, laplace, probability, ratio, weights};
use crate::dp::{Noise, pad_fillers};
use chacha20::ChaCha20Rng;
use num_bigint::BigUint;
use rand_core::SeedableRng;
use std::collections::BTreeMap;

const ALPHA: f64 = 1e-4;
const DRAWS: usize = 10_000;

/// P(χ² > x) with so many degrees of freedom: the regularised upper incomplete gamma function Q(df/2, x/2), by
/// its series (Abramowitz and Stegun 6.5.29). Good to 1e-12, which is all that comparing with α needs.
fn chi_square_tail(x: f64, df: usize) -> f64 {
    let (a, x) = (df as f64 / 2.0, x / 2.0);
    if x > 600.0 + a {
        // Beyond what floats hold, and far below any α for the few bins here.
        return 0.0;
    }
    // x^a·e^−x / Γ(a + 1), the latter a(a − 1)…1, or a(a − 1)…(1/2)·√π.
    let mut ln_factor = a * x.ln() - x;
    let mut b = a;
    while b > 0.25 {
        ln_factor -= b.ln();
        b -= 1.0;
    }
    if df % 2 == 1 {
        ln_factor -= std::f64::consts::PI.sqrt().ln();
    }
    let (mut term, mut sum, mut n) = (1.0, 0.0, a);
    while term > sum * 1e-17 {
        sum += term;
        n += 1.0;
        term *= x / n;
    }
    1.0 - (ln_factor + sum.ln()).exp()
}

#[test]
fn the_chi_square_tail_has_its_published_quantiles() {
    // Abramowitz and Stegun, table 26.8, at 0.001, in its three decimals; and closed forms for 1 and 2 degrees of freedom.
    for (df, x) in [(1, 10.828), (2, 13.816), (3, 16.266), (12, 32.909), (25, 52.620), (100, 149.449)] {
        assert!((chi_square_tail(x, df) - 0.001).abs() < 5e-7, "{df}: {}", chi_square_tail(x, df));
    }
    assert!((chi_square_tail(3.0, 2) - (-1.5_f64).exp()).abs() < 1e-14);
    assert!((chi_square_tail(1.0, 1) - (1.0 - normal_within(1.0))).abs() < 1e-14);
}

/// χ² of what was seen against expected probabilities; outcomes of which fewer than 10 are expected are one.
fn chi_square(seen: &BTreeMap<i128, usize>, expected: impl Iterator<Item = (i128, f64)>) -> f64 {
    let draws = seen.values().sum::<usize>() as f64;
    let (mut statistic, mut bins) = (0.0, 0_usize);
    let (mut rest_due, mut rest_seen) = (draws, draws);
    for (x, p) in expected {
        let (due, was) = (p * draws, seen.get(&x).copied().unwrap_or(0) as f64);
        if due >= 10.0 {
            statistic += (was - due).powi(2) / due;
            bins += 1;
            rest_due -= due;
            rest_seen -= was;
        }
    }
    if rest_due >= 5.0 {
        statistic += (rest_seen - rest_due).powi(2) / rest_due;
        bins += 1;
    } else {
        // So few that any must be rare.
        assert!(rest_seen <= 25.0, "{rest_seen} where {rest_due} are due");
    }
    assert!(bins >= 2, "nothing to compare");
    chi_square_tail(statistic, bins - 1)
}

fn draws(noise: &Noise, seed: u64) -> Vec<i128> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    (0..DRAWS).map(|_| noise.sample(&mut rng)).collect()
}

fn counted(drawn: impl IntoIterator<Item = i128>) -> BTreeMap<i128, usize> {
    let mut seen = BTreeMap::new();
    drawn.into_iter().for_each(|x| *seen.entry(x).or_insert(0) += 1);
    seen
}

fn tested(noise: &Noise, seed: u64) -> f64 {
    let seen = counted(draws(noise, seed));
    // One normalisation for all outcomes.
    let at_0 = probability(noise, 0);
    let weight = weights(noise);
    chi_square(&seen, (-400..=400).map(|x| (x, weight(x) * at_0)))
}

#[test]
fn small_laplace_noise_has_its_law() {
    for (seed, scale) in ["1/1", "1/2", "1/5", "3/10", "7/3", "10/1", "1000/37"].into_iter().enumerate() {
        let p = tested(&laplace(scale), 100 + seed as u64);
        assert!(p > ALPHA, "scale {scale}: {p}");
    }
}

#[test]
fn small_gaussian_noise_has_its_law() {
    for (seed, variance) in ["1/1", "1/2", "1/10", "9/100", "4/1", "99/10", "400/1"].into_iter().enumerate() {
        let p = tested(&gaussian(variance), 200 + seed as u64);
        assert!(p > ALPHA, "variance {variance}: {p}");
    }
}

#[test]
fn the_statistic_would_notice_a_law_that_is_a_little_off() {
    // Draws of one law against another one's probabilities; and 0 drawn twice as often by a forgotten rejection.
    let seen = counted(draws(&laplace("7/3"), 300));
    let other = |noise: Noise| chi_square(&seen, (-60..=60).map(|x| (x, probability(&noise, x))));
    assert!(other(laplace("7/3")) > ALPHA);
    assert!(other(laplace("8/3")) < ALPHA && other(gaussian("10/1")) < ALPHA);
    let mut doubled = seen.clone();
    *doubled.entry(0).or_insert(0) *= 2;
    assert!(chi_square(&doubled, (-60..=60).map(|x| (x, probability(&laplace("7/3"), x)))) < ALPHA);
}

/// Kolmogorov and Smirnov: the largest distance between the draws' distribution and the given one, and the distance
/// that α allows, √(ln(2/α)/2n) (Dvoretzky, Kiefer, Wolfowitz; Massart's constant).
fn kolmogorov_smirnov(mut drawn: Vec<i128>, below_or_at: impl Fn(i128) -> f64) -> (f64, f64) {
    drawn.sort_unstable();
    let n = drawn.len() as f64;
    let mut largest = 0.0_f64;
    for (i, x) in drawn.iter().enumerate() {
        let (before, at) = (below_or_at(*x - 1), below_or_at(*x));
        // Only at the last of equal draws has the empirical distribution arrived.
        if drawn.get(i + 1) != Some(x) {
            largest = largest.max(((i + 1) as f64 / n - at).abs());
        }
        if i == 0 || drawn[i - 1] != *x {
            largest = largest.max((i as f64 / n - before).abs());
        }
    }
    (largest, ((2.0 / ALPHA).ln() / (2.0 * n)).sqrt())
}

fn laplace_below_or_at(scale: f64) -> impl Fn(i128) -> f64 {
    let q = (-1.0 / scale).exp();
    move |x| {
        let past = |m: f64| (-m / scale).exp() / (1.0 + q);
        // P(X > x) = q^(x+1)/(1 + q) for x ≥ 0, and P(X ≤ x) = q^−x/(1 + q) for x < 0.
        if x >= 0 { 1.0 - past(x as f64 + 1.0) } else { past(-(x as f64)) }
    }
}

#[test]
fn large_laplace_noise_has_its_law() {
    for (seed, scale) in
        ["20/1", "5000/3", "1000000000000/7", "123456789012345678901234567890/1"].into_iter().enumerate()
    {
        let (distance, allowed) =
            kolmogorov_smirnov(draws(&laplace(scale), 400 + seed as u64), laplace_below_or_at(ratio(scale).to_f64()));
        assert!(distance < allowed, "scale {scale}: {distance} over {allowed}");
    }
}

#[test]
fn large_gaussian_noise_has_its_law() {
    // At these widths the discrete law's distribution is the normal one's at x + 1/2 to within 1e-5 and less.
    for (seed, variance) in
        ["250000/1", "1000000000000/3", "15241578753238836750495351562566/1"].into_iter().enumerate()
    {
        let sigma = ratio(variance).to_f64().sqrt();
        let (distance, allowed) = kolmogorov_smirnov(draws(&gaussian(variance), 500 + seed as u64), |x| {
            let z = (x as f64 + 0.5) / sigma;
            (1.0 + z.signum() * normal_within(z.abs().min(8.0))) / 2.0
        });
        assert!(distance < allowed, "variance {variance}: {distance} over {allowed}");
    }
}

#[test]
fn the_distance_would_notice_a_scale_that_is_a_little_off() {
    let drawn = draws(&laplace("5000/3"), 401);
    let (distance, allowed) = kolmogorov_smirnov(drawn.clone(), laplace_below_or_at(2000.0));
    assert!(distance > allowed);
    let shifted = drawn.into_iter().map(|x| x + 120).collect();
    let (distance, allowed) = kolmogorov_smirnov(shifted, laplace_below_or_at(5000.0 / 3.0));
    assert!(distance > allowed);
}

#[test]
fn uniform_numbers_are_uniform_and_stay_below_their_bound() {
    let mut rng = ChaCha20Rng::seed_from_u64(600);
    let mut source = Bits(&mut rng);
    for bound in [1_u64, 2, 3, 7, 8, 9, 100] {
        let bound_big = BigUint::from(bound);
        let seen = counted((0..10_000).map(|_| {
            let Ok(n) = source.below(&bound_big);
            i128::try_from(n).unwrap()
        }));
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (0..i128::from(bound)).collect::<Vec<_>>());
        if bound > 1 {
            let p = chi_square(&seen, (0..i128::from(bound)).map(|x| (x, 1.0 / bound as f64)));
            assert!(p > ALPHA, "{bound}: {p}");
        }
    }
    // Over 64 bits: thirds of the range, for a bound that lets a quarter of all candidates be rejected.
    for bits in [64_u64, 65, 126, 200] {
        let third = BigUint::from(1_u8) << (bits - 2);
        let bound = &third * 3_u8;
        let seen = counted((0..6_000).map(|_| {
            let Ok(n) = source.below(&bound);
            assert!(n < bound);
            i128::try_from(n / &third).unwrap()
        }));
        let p = chi_square(&seen, (0..3).map(|x| (x, 1.0 / 3.0)));
        assert!(p > ALPHA, "{bits} bits: {p}");
    }
}

#[test]
fn fillers_have_the_truncated_law_and_stay_within_their_bounds() {
    for (seed, (epsilon, bound)) in
        [("2/5", 6_u64), ("1/1", 1), ("5/1", 3), ("1/20", 40), ("0/1", 4), ("3/7", 0)].into_iter().enumerate()
    {
        let epsilon = ratio(epsilon);
        let mut rng = ChaCha20Rng::seed_from_u64(700 + seed as u64);
        let seen = counted((0..DRAWS).map(|_| i128::from(pad_fillers(&epsilon, bound, &mut rng))));
        let s = i128::from(bound);
        assert!(seen.keys().all(|x| (0..=2 * s).contains(x)));
        if bound > 0 {
            let weight = |x: i128| (-epsilon.to_f64() * (x - s).unsigned_abs() as f64).exp();
            let total: f64 = (0..=2 * s).map(weight).sum();
            let p = chi_square(&seen, (0..=2 * s).map(|x| (x, weight(x) / total)));
            assert!(p > ALPHA, "{epsilon}, {bound}: {p}");
        }
    }
}

#[test]
fn fillers_of_the_widest_bounds_do_not_overflow() {
    let mut rng = ChaCha20Rng::seed_from_u64(710);
    for epsilon in ["0/1", "1/1000000000000000000", "1/1"] {
        for _ in 0..20 {
            pad_fillers(&ratio(epsilon), u64::MAX, &mut rng);
        }
    }
    assert_eq!(pad_fillers(&ratio("100/1"), 1 << 40, &mut rng), 1 << 40);
}
