//! Intervals and tails against sums of the laws.

use super::super::NOISE_TAIL_MAX;
use super::{gaussian, laplace, probability, weights};
use crate::dp::{Clip, Noise, Ratio, word_width};
use chacha20::ChaCha20Rng;
use proptest::prelude::*;
use rand_core::SeedableRng;

/// P(|X| ≤ w), by summing.
fn within(noise: &Noise, w: u128) -> f64 {
    let at_0 = probability(noise, 0);
    let weight = weights(noise);
    at_0 * (1.0 + 2.0 * (1..=w as i128).map(weight).sum::<f64>())
}

/// ln P(|X| > t), by summing weights relative to the first one beyond t, so that nothing underflows.
fn ln_beyond(noise: &Noise, t: u128) -> f64 {
    let exponent = |x: f64| match noise {
        Noise::Laplace { scale } => -x / scale.to_f64(),
        Noise::Gaussian { variance } => -x * x / (2.0 * variance.to_f64()),
        Noise::None => f64::NEG_INFINITY,
    };
    let first = t as f64 + 1.0;
    let mut sum = 0.0;
    let mut x = first;
    loop {
        let term = (exponent(x) - exponent(first)).exp();
        sum += term;
        if term < 1e-18 {
            break;
        }
        x += 1.0;
    }
    exponent(first) + (2.0 * sum * probability(noise, 0)).ln()
}

const SMALL: [&str; 9] = ["1/100", "1/5", "1/2", "1/1", "13/10", "5/1", "100/3", "400/1", "1234/1"];

#[test]
fn intervals_are_the_least_that_hold_the_confidence() {
    for parameter in SMALL {
        for noise in [laplace(parameter), gaussian(parameter)] {
            for confidence in [0.01, 0.5, 0.9, 0.95, 0.99, 0.999_999] {
                let w = noise.interval(confidence);
                assert!(within(&noise, w) >= confidence, "{noise} at {confidence}: {w}");
                assert!(w == 0 || within(&noise, w - 1) < confidence, "{noise} at {confidence}: {w}");
            }
        }
    }
}

#[test]
fn intervals_of_large_noise_are_those_of_the_continuous_laws() {
    // Laplace: b·ln 20 at 95 %. Normal: 1.959963985 and 2.575829304 standard deviations at 95 and 99 %.
    let w = laplace("1000000000000/1").interval(0.95) as f64;
    assert!((w - 1e12 * 20_f64.ln()).abs() < 2.0, "{w}");
    for (confidence, z) in [(0.95, 1.959_963_984_540), (0.99, 2.575_829_303_549)] {
        let w = gaussian("1000000000000000000/1").interval(confidence) as f64;
        assert!((w - 1e9 * z).abs() < 3.0, "{w}");
    }
    // On both sides of where summing ends, the bound is at most 2 above the least.
    let (last, next) = (gaussian("1048576/1"), gaussian("1048577/1"));
    for confidence in [0.5, 0.95, 0.999] {
        let (a, b) = (last.interval(confidence), next.interval(confidence));
        assert!((a..=a + 3).contains(&b), "{a} and {b}");
        let (exact, w) = (within(&next, b), b);
        assert!(exact >= confidence && within(&next, w - 3) < confidence);
    }
}

#[test]
fn intervals_have_answers_at_the_ends() {
    for noise in [laplace("5/1"), gaussian("5/1"), gaussian("5000000/1")] {
        assert_eq!(noise.interval(0.0), 0);
        assert_eq!(noise.interval(-1.0), 0);
        assert_eq!(noise.interval(1.0), NOISE_TAIL_MAX);
        assert_eq!(noise.interval(f64::NAN), NOISE_TAIL_MAX);
        let nearly = noise.interval(1.0 - 1e-15);
        assert!(nearly > noise.interval(1.0 - 1e-9) && nearly < noise.tail());
    }
    assert_eq!(Noise::None.interval(0.95), 0);
    assert_eq!(Noise::None.tail(), 0);
    let none = Noise::Laplace { scale: Ratio::new(0, 1).unwrap() };
    assert_eq!((none.interval(0.95), none.tail(), none.sample(&mut ChaCha20Rng::seed_from_u64(1))), (0, 0, 0));
    assert_eq!(laplace(&format!("{}/1", "9".repeat(80))).interval(0.95), NOISE_TAIL_MAX);
}

#[test]
fn less_than_two_to_the_minus_64_lies_beyond_a_tail() {
    let limit = -64.0 * 2_f64.ln();
    for parameter in SMALL {
        for noise in [laplace(parameter), gaussian(parameter)] {
            let t = noise.tail();
            let beyond = ln_beyond(&noise, t);
            assert!(beyond <= limit, "{noise}: {t}, {beyond}");
            // And not by much too far: a tail a tenth shorter (and 2) would hold too little.
            if let Some(shorter) = (t - t / 10).checked_sub(2) {
                assert!(ln_beyond(&noise, shorter) > limit, "{noise}: {t}");
            }
        }
    }
    assert_eq!(laplace("1000/1").tail(), 45_054);
    // √90.11·1e6 = 9,492,628.7: the last t + 1 below is one too few.
    assert_eq!(gaussian("1000000000000/1").tail(), 9_492_628);
}

#[test]
fn a_law_that_reaches_too_far_has_the_largest_tail_and_no_word() {
    let one = Clip::new(0, 1).unwrap();
    // 45.055·b passes 2^126 between these two.
    let fits = laplace("1888000000000000000000000000000000000/1");
    assert!(fits.tail() < NOISE_TAIL_MAX && word_width(1, one, fits.tail()).is_ok());
    let zeros = "0".repeat(78);
    for noise in [laplace("1889000000000000000000000000000000000/1"), gaussian(&format!("99{zeros}/1"))] {
        assert_eq!(noise.tail(), NOISE_TAIL_MAX);
        assert!(word_width(1, one, noise.tail()).is_err());
        // And still every draw is below 2^126.
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        assert!((0..50).all(|_| noise.sample(&mut rng).unsigned_abs() <= NOISE_TAIL_MAX));
    }
}

proptest! {
    #[test]
    fn draws_stay_within_the_tail(n in 1..u64::MAX, d in 1..u32::MAX, seed in any::<u64>()) {
        let parameter = Ratio::new(n.into(), d.into()).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        for noise in [Noise::Laplace { scale: parameter.clone() }, Noise::Gaussian { variance: parameter.clone() }] {
            prop_assert!(noise.sample(&mut rng).unsigned_abs() <= noise.tail());
            prop_assert!(noise.interval(0.5) <= noise.interval(0.95) && noise.interval(0.95) <= noise.tail());
            prop_assert_eq!(&noise.to_string().parse::<Noise>().unwrap(), &noise);
        }
    }
}
