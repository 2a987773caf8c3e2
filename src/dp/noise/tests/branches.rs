//! The samplers' laws without statistics: a walk through every branch that a draw can take, with its probability.
//!
//! A branch whose probability falls below a limit is cut. So each outcome's probability is known up to the total of what was
//! cut, and the law that the *code* has is compared with the law that it should have.

use super::super::exact::{
    Drawn, Source, bernoulli_exp, gaussian_accepts, gaussian_attempt, laplace as laplace_draw, laplace_attempt,
};
use super::{gaussian as gaussian_noise, laplace, probability};
use crate::dp::Noise;
use num_bigint::BigUint;
use std::collections::BTreeMap;

/// A source that takes the scripted branch at each choice, and the first one beyond the script.
struct Walk {
    script: Vec<(u64, u64)>,
    at: usize,
    weight: f64,
    least: f64,
}

/// The branch was cut.
struct Cut;

impl Walk {
    /// One of `count` alternatives, with its probability.
    fn choose(&mut self, count: u64, probability: impl Fn(u64) -> f64) -> Result<u64, Cut> {
        if self.at == self.script.len() {
            if self.weight < self.least {
                return Err(Cut);
            }
            self.script.push((0, count));
        }
        let (taken, _) = self.script[self.at];
        self.at += 1;
        self.weight *= probability(taken);
        if self.weight > 0.0 { Ok(taken) } else { Err(Cut) }
    }
}

fn number(n: &BigUint) -> u64 {
    u64::try_from(n).expect("the walks are over small numbers")
}

impl Source for Walk {
    type Stop = Cut;

    fn below(&mut self, bound: &BigUint) -> Result<BigUint, Cut> {
        let bound = number(bound);
        self.choose(bound, |_| 1.0 / bound as f64).map(BigUint::from)
    }

    fn bernoulli(&mut self, numerator: &BigUint, denominator: &BigUint) -> Result<bool, Cut> {
        assert!(numerator <= denominator, "a probability above 1");
        let p = number(numerator) as f64 / number(denominator) as f64;
        self.choose(2, |branch| if branch == 0 { p } else { 1.0 - p }).map(|branch| branch == 0)
    }
}

/// Every outcome's probability, and the probability of all that was cut.
fn law<T: Ord>(least: f64, draw: impl Fn(&mut Walk) -> Result<T, Cut>) -> (BTreeMap<T, f64>, f64) {
    let mut walk = Walk { script: Vec::new(), at: 0, weight: 1.0, least };
    let (mut outcomes, mut cut) = (BTreeMap::new(), 0.0);
    loop {
        (walk.at, walk.weight) = (0, 1.0);
        match draw(&mut walk) {
            Ok(outcome) => *outcomes.entry(outcome).or_insert(0.0) += walk.weight,
            Err(Cut) => cut += walk.weight,
        }
        // The next branch in order: the last choice that has another alternative takes it.
        loop {
            match walk.script.pop() {
                None => return (outcomes, cut),
                Some((taken, count)) if taken + 1 < count => {
                    walk.script.push((taken + 1, count));
                    break;
                }
                Some(_) => {}
            }
        }
    }
}

fn big(n: u64) -> BigUint {
    BigUint::from(n)
}

fn signed(drawn: &Drawn) -> i128 {
    let magnitude = i128::from(number(&drawn.magnitude));
    if drawn.negative { -magnitude } else { magnitude }
}

#[test]
fn all_branches_of_bernoulli_exp_add_up_to_the_exponential() {
    for (n, d) in [(0, 1), (1, 1), (1, 2), (2, 3), (999, 1000), (1, 1_000_000), (3, 2), (7, 2), (5, 1), (22, 7)] {
        let (outcomes, cut) = law(1e-18, |walk| bernoulli_exp(walk, &big(n), &big(d)));
        let yes = outcomes.get(&true).copied().unwrap_or(0.0);
        let no = outcomes.get(&false).copied().unwrap_or(0.0);
        assert!(cut < 1e-14, "{n}/{d}: {cut:e}");
        assert!((yes - (-(n as f64) / d as f64).exp()).abs() < 1e-14, "{n}/{d}: {yes}");
        assert!((yes + no + cut - 1.0).abs() < 1e-14);
    }
}

/// Compares an attempt's law, given that it accepts, with the wanted one. How much was compared, as a probability.
fn compare(noise: &Noise, outcomes: &BTreeMap<Option<Drawn>, f64>, cut: f64) -> f64 {
    let accepted: f64 = outcomes.iter().filter(|(o, _)| o.is_some()).map(|(_, p)| p).sum();
    let mut covered = 0.0;
    for (drawn, p) in outcomes.iter().filter_map(|(o, p)| o.as_ref().map(|o| (o, p))) {
        assert!(!drawn.negative || drawn.magnitude.bits() > 0, "a negative zero");
        let wanted = probability(noise, signed(drawn));
        // The accepted mass is known to within `cut`, and so is each outcome's.
        assert!((p / accepted - wanted).abs() <= 2.0 * cut / accepted + 1e-12, "{noise} at {drawn:?}");
        covered += wanted;
    }
    covered
}

#[test]
fn all_branches_of_the_laplace_sampler_have_its_law() {
    for (t, s) in [(1, 1), (2, 1), (1, 2), (3, 2), (2, 5), (1, 7), (5, 3)] {
        let (outcomes, cut) = law(1e-7, |walk| laplace_attempt(walk, &big(t), &big(s)));
        assert!(cut < 1e-3, "{t}/{s}: {cut:e}");
        let covered = compare(&laplace(&format!("{t}/{s}")), &outcomes, cut);
        assert!(covered > 0.99, "{t}/{s}: {covered}");
    }
}

#[test]
fn a_gaussian_is_accepted_with_the_probability_that_makes_its_law() {
    for (n, d) in [(1, 1), (1, 4), (2, 3), (5, 2), (1, 20), (1000, 7)] {
        let (variance, noise) = (n as f64 / d as f64, gaussian_noise(&format!("{n}/{d}")));
        let t = variance.sqrt().floor() as u64 + 1;
        let mut ratio = None;
        for y in 0..=6 {
            let exponent = (y as f64 - variance / t as f64).powi(2) / (2.0 * variance);
            if exponent >= 4.0 {
                // Too many branches; and nothing new is computed.
                continue;
            }
            let (outcomes, cut) = law(1e-10, |walk| gaussian_accepts(walk, &big(y), &big(t), &big(n), &big(d)));
            let accepted = outcomes.get(&true).copied().unwrap_or(0.0);
            let wanted = (-exponent).exp();
            assert!(cut < 1e-6 && (accepted - wanted).abs() <= cut + 1e-14, "{noise} at {y}: {accepted}, {cut:e}");
            // What is proposed times what is accepted is the law, but for one factor.
            let proposed = probability(&laplace(&format!("{t}/1")), y.into());
            let factor = proposed * accepted / probability(&noise, y.into());
            let first: f64 = *ratio.get_or_insert(factor);
            assert!((factor / first - 1.0).abs() < 1e-3, "{noise} at {y}: {factor}");
        }
    }
}

#[test]
fn all_branches_of_the_gaussian_sampler_have_its_law() {
    // Roughly only, since the proposal's rejections make branches long; its parts are compared more closely above.
    for (n, d) in [(1, 1), (1, 4), (2, 3), (5, 2), (1, 20)] {
        let (outcomes, cut) = law(3e-6, |walk| gaussian_attempt(walk, &big(n), &big(d)));
        assert!(cut < 0.08, "{n}/{d}: {cut:e}");
        let covered = compare(&gaussian_noise(&format!("{n}/{d}")), &outcomes, cut);
        assert!(covered > 0.98, "{n}/{d}: {covered}");
    }
}

#[test]
fn rejected_attempts_are_made_again_and_change_nothing() {
    // The whole sampler, loop included: here more is cut, since a rejection lengthens a branch.
    let (outcomes, cut) = law(1e-6, |walk| laplace_draw(walk, &big(1), &big(1)));
    assert!(cut < 0.01, "{cut}");
    for (drawn, p) in &outcomes {
        assert!((p - probability(&laplace("1/1"), signed(drawn))).abs() <= cut, "{drawn:?}");
    }
}
