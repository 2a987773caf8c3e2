//! Privacy loss of noisy sizes: one column's distribution on a grid, and δ(ε) of many composed.
//!
//! # One size
//! Neighbouring sizes differ by at most 1, so the pair to tell apart is P(h), the law of the
//! dummies' overlap, and P(h − 1), the same shifted by one. The privacy loss of outcome h under P is
//!
//! ℓ(h) = ln P(h) / P(h − 1) = 2·ln((τ − h + 1) / h), h = 1 ..= τ, and ∞ at h = 0,
//!
//! and δ(ε) = P(ℓ = ∞) + Σ P(h)·(1 − e^(ε − ℓ(h))) over losses above ε (Sommer, Meiser, Mohammadi,
//! "Privacy Loss Classes", PoPETs 2019; Koskela, Jälkö, Honkela, AISTATS 2020).
//!
//! **Both directions are one.** Reflecting outcomes, h → τ + 1 − h, swaps P(h) and P(h − 1), since
//! the law is symmetric: adding and removing, and a size that rises or falls, give the same pair up
//! to names. A size that does not change gives loss 0. So whatever the pattern of rises, falls and
//! rests over columns and queries, and however later queries depend on earlier answers, n sizes
//! lose at most what n independent copies of the pair lose (adaptive composition of dominating
//! pairs: Zhu, Dong, Wang, "Optimal Accounting of Differential Privacy", AISTATS 2022, Theorem 10).
//!
//! # On a grid, pessimistically
//! Losses are put on multiples of a step Δ by *splitting*: an outcome with probabilities (p, q)
//! under the two hypotheses and loss ℓ = ln(p / q) between grid points a and b = a + Δ becomes two
//! outcomes, at a and at b, with masses w_a + w_b = p and w_a·e^(−a) + w_b·e^(−b) = q, that is
//! w_b = p·(1 − e^(a − ℓ)) / (1 − e^(−Δ)). Whoever forgets which of the two happened is back at
//! the original, so the original is a post-processing of the split pair, and every δ(ε) of the
//! split pair, alone or composed, is an upper bound. (It is the tightest such grid: Doroshenko et
//! al., "Connect the Dots", PoPETs 2022.) The excess is of second order in Δ, where rounding every
//! loss up would cost Δ/2 per composition.
//!
//! The rarest outcomes count as infinite loss: at either end as many as have a probability of
//! 1e-20 together, or less where δ is not at least 10⁶ times what that adds to it. (Besides being
//! quick it is needed: the largest losses, up to 2·ln τ at a probability of 4^(−τ), would take over
//! the tilted law below.)
//!
//! # Composed, with every error on the safe side
//! The sum of n losses has the convolution as its law; only its part above ε matters, which may be
//! as small as δ. So the masses are tilted first, w_i = m_i·e^(θ·iΔ − κ), with κ = ln Σ m_i e^(θ·iΔ)
//! and θ ≥ 0 such that the tilted mean of the sum is ε (Keich, "sFFT", J. Comput. Biol. 2005): then
//! Pr(S = s) = e^(Σκ − θs) · w^(∗n)(s) exactly, for whatever θ and κ, and the discrete Fourier
//! transform's absolute errors are scaled by e^(Σκ − θε), which is Chernoff's bound on Pr(S ≥ ε) and
//! within two orders of δ itself. What is added, so that the answer is an upper bound:
//! - **Truncation.** The transform's N points cover a window outside which the tilted law has mass
//!   of at most 2e^(−40), by Chernoff's bound with several exponents. True mass above the window is
//!   at most e^(Σκ − θε − 40), which is added. What lies outside comes back inside by the
//!   transform's wrapping around: that only adds mass, which is pessimistic.
//! - **Transform.** A transform of 2^m points has a relative error in the 2-norm of at most 7m
//!   roundoffs (Higham, "Accuracy and Stability of Numerical Algorithms", Theorem 24.2, for
//!   radix 2); 16m are allowed for. All spectra are at most 1 in modulus, so raising to powers and
//!   multiplying them loses at most n·(16m + 4) more, and the way back 16m. The sum over s > ε of
//!   weights at most 1 turns the 2-norm into at most √N times that, which is added.
//! - **Masses.** Their relative errors (`Hypergeometric::relative_error`, the split, the tilt) are
//!   added up over n and the finite part is multiplied by one plus that; an error of the losses
//!   themselves is met by evaluating at an ε that is lower by n·8 roundoffs of the largest loss.

use super::hypergeometric::{Hypergeometric, UNIT_ROUNDOFF};
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftPlanner};

/// Grid points per standard deviation of one size's loss: the split's excess is then below 1e-4
/// of the variance, as if τ were that much smaller.
const POINTS_PER_DEVIATION: f64 = 64.0;

/// Most points of a transform: 4 MiB of complex numbers, some 20 ms. Where the window is wider than
/// that, from 10⁵ sizes on, the grid gets coarser: still pessimistic, by 0.2 % of τ for 10⁶ sizes.
const POINTS_MAX: usize = 1 << 18;

/// Largest tilt. It matters only where ε is all but the largest possible loss.
const THETA_MAX: f64 = 1e6;

/// The rarest outcomes of one size, up to this probability at either end, count as infinite loss.
/// Where δ turns out to be within [`RARE_MARGIN`] of what that costs, it is this much less, and so
/// on until [`RARE_LAST`].
const RARE_FIRST: f64 = 1e-20;
const RARE_MARGIN: f64 = 1e6;
const RARE_LAST: f64 = 1e-240;

/// Exponent of the mass that may lie outside the window.
const OUTSIDE: f64 = 40.0;

/// The privacy loss of one noisy size on a grid, as sub-probabilities of the finite losses.
struct GridLoss {
    first: i64,
    mass: Vec<f64>,
    ln_mass: Vec<f64>,
    infinite: f64,
    loss_max: f64,
    relative_error: f64,
}

impl GridLoss {
    fn new(tau: u64, step: f64, rare: f64) -> Self {
        let law = Hypergeometric::new(tau);
        let loss = |h: u64| 2.0 * ((tau - h + 1) as f64 / h as f64).ln();
        // Both tails alike, the law being symmetric; h = 0 is infinite anyway.
        let (mut cut, mut tail) = (law.outcomes().next().map_or(0, |(h, _)| h), 0.0);
        for (h, p) in law.outcomes().take_while(|(h, _)| *h < tau / 2) {
            if tail + p > rare {
                break;
            }
            tail += p;
            cut = h + 1;
        }
        let infinite = if cut == 0 { law.probability(0) } else { 2.0 * tail + law.rare_max() };
        let kept = cut.max(1)..=tau - cut;
        let finite = || law.outcomes().filter(|(h, _)| kept.contains(h));
        // Losses fall as h rises.
        let last = finite().next().map_or(0.0, |(h, _)| loss(h));
        let first = finite().last().map_or(0.0, |(h, _)| loss(h));
        let lowest = (first / step).floor() as i64;
        let highest = (last / step).floor() as i64 + 1;
        let mut mass = vec![0.0; (highest - lowest + 1) as usize];
        let whole = -(-step).exp_m1();
        for (h, p) in finite() {
            let l = loss(h);
            let below = (l / step).floor();
            let share = (-(below * step - l).exp_m1() / whole).clamp(0.0, 1.0);
            let at = (below as i64 - lowest) as usize;
            mass[at] += p * (1.0 - share);
            mass[at + 1] += p * share;
        }
        Self {
            first: lowest,
            infinite,
            loss_max: first.abs().max(last.abs()),
            // The split's own roundings are those of a loss that is off by a few roundoffs, met by
            // the lower ε, and of the sums over at most all outcomes of one cell.
            relative_error: 2.0 * law.relative_error() + 8.0 * UNIT_ROUNDOFF,
            ln_mass: mass.iter().map(|m| m.ln()).collect(),
            mass,
        }
    }

    fn last(&self) -> i64 {
        self.first + self.mass.len() as i64 - 1
    }

    /// κ(θ) = ln Σ m_i e^(θ·iΔ), with mean and variance of iΔ under the tilted masses.
    fn tilt(&self, theta: f64, step: f64) -> Tilt {
        let mut index = self.first as f64;
        let mut exponents = vec![0.0; self.mass.len()];
        let mut top = f64::NEG_INFINITY;
        for (e, ln) in exponents.iter_mut().zip(&self.ln_mass) {
            *e = ln + theta * step * index; // −∞ where there is no mass
            top = top.max(*e);
            index += 1.0;
        }
        let (mut total, mut mean, mut square) = (0.0, 0.0, 0.0);
        for (i, e) in exponents.iter().enumerate() {
            // What is left out is below e^(−80) of the largest term: less than a roundoff of κ.
            if e - top > -80.0 {
                let w = (e - top).exp();
                let x = i as f64 * step;
                total += w;
                mean += w * x;
                square += w * x * x;
            }
        }
        mean /= total;
        Tilt {
            kappa: top + total.ln(),
            mean: mean + self.first as f64 * step,
            variance: (square / total - mean * mean).max(0.0),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Tilt {
    kappa: f64,
    mean: f64,
    variance: f64,
}

/// Computes δ(ε); keeps the transforms' twiddle factors between calls.
pub(super) struct Evaluator {
    planner: FftPlanner<f64>,
}

impl Evaluator {
    pub(super) fn new() -> Self {
        Self { planner: FftPlanner::new() }
    }

    /// An upper bound on δ(ε) of `times` sizes for each τ in `parts`; for ε ≥ 0.
    pub(super) fn delta(&mut self, parts: &[(u64, u64)], epsilon: f64) -> f64 {
        let parts: Vec<_> = parts.iter().copied().filter(|(_, n)| *n > 0).collect();
        if parts.is_empty() {
            return 0.0;
        }
        if parts.iter().any(|(tau, _)| *tau == 0) {
            // Sizes without dummies tell neighbours apart for certain.
            return 1.0;
        }
        let count: f64 = parts.iter().map(|(_, times)| *times as f64).sum();
        let mut rare = RARE_FIRST;
        loop {
            let delta = self.delta_cut(&parts, epsilon, rare);
            if delta > RARE_MARGIN * count * rare || rare < RARE_LAST {
                return delta;
            }
            rare *= RARE_FIRST;
        }
    }

    fn delta_cut(&mut self, parts: &[(u64, u64)], epsilon: f64, rare: f64) -> f64 {
        let mut coarser = 1.0;
        loop {
            let sum = Sum::new(parts, coarser, rare);
            if let Some(finite) = sum.finite(epsilon, &mut self.planner) {
                return (sum.infinite() + finite).min(1.0);
            }
            coarser *= 2.0;
        }
    }
}

/// The sum of independent losses: each grid law with how often it occurs.
struct Sum {
    parts: Vec<(GridLoss, u64)>,
    step: f64,
    count: f64,
}

impl Sum {
    fn new(parts: &[(u64, u64)], coarser: f64, rare: f64) -> Self {
        let count: f64 = parts.iter().map(|(_, times)| *times as f64).sum();
        // 8/τ is the variance of one loss, but for the smallest τ.
        let variance: f64 = parts.iter().map(|(t, n)| *n as f64 * 8.0 / *t as f64).sum();
        let one = (variance / count).sqrt();
        // The window takes some 2·(√(2·40) + a little) deviations of the sum.
        let coarse = 20.0 * variance.sqrt() / POINTS_MAX as f64;
        let step = coarser * (one / POINTS_PER_DEVIATION).max(coarse).max(f64::MIN_POSITIVE);
        let parts = parts.iter().map(|(tau, times)| (GridLoss::new(*tau, step, rare), *times)).collect();
        Self { parts, step, count }
    }

    /// The probability that any loss is infinite: 1 − Π (1 − p)^times.
    fn infinite(&self) -> f64 {
        let kept: f64 = self.parts.iter().map(|(g, n)| *n as f64 * (-g.infinite).ln_1p()).sum();
        -kept.exp_m1() * (1.0 + self.slack())
    }

    /// Relative error of a product of all masses.
    fn slack(&self) -> f64 {
        let masses: f64 = self.parts.iter().map(|(g, n)| *n as f64 * g.relative_error).sum();
        masses.exp_m1()
    }

    fn tilt(&self, theta: f64) -> Tilt {
        self.parts.iter().fold(Tilt::default(), |sum, (g, n)| {
            let (t, n) = (g.tilt(theta, self.step), *n as f64);
            Tilt {
                kappa: sum.kappa + n * t.kappa,
                mean: sum.mean + n * t.mean,
                variance: sum.variance + n * t.variance,
            }
        })
    }

    /// θ ≥ 0 with tilted mean ε, or near it: any θ gives a valid bound, this one a sharp one.
    fn theta(&self, epsilon: f64) -> f64 {
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut theta = 0.0;
        // Newton's steps, kept inside the bracket: the mean rises with θ, its slope the variance.
        for _ in 0..60 {
            let at = self.tilt(theta);
            let short = epsilon - at.mean;
            if short.abs() <= 0.01 * at.variance.sqrt() || (theta == 0.0 && short <= 0.0) {
                break;
            }
            if short > 0.0 {
                low = theta;
            } else {
                high = theta;
            }
            let next = theta + short / at.variance;
            theta = if next > low && next < high && next < 2.0 * low + 100.0 {
                next
            } else if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * low + 100.0
            };
            if theta > THETA_MAX {
                return THETA_MAX;
            }
        }
        theta
    }

    /// The window, in steps, outside which the tilted law has at most e^(−40) on each side.
    fn window(&self, theta: f64, at: Tilt) -> (i64, i64) {
        let ends =
            |end: fn(&GridLoss) -> i64| -> f64 { self.parts.iter().map(|(g, n)| *n as f64 * end(g) as f64).sum() };
        let (lowest, highest) = (ends(|g| g.first), ends(GridLoss::last));
        let unit = 1.0 / (at.variance.sqrt() + self.step);
        let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
        // Pr(S ≥ b) ≤ e^(κ(θ+t) − κ(θ) − t·b) for every t > 0, and so below; the normal law's best
        // t is √80 deviations, and a few others serve laws that are not normal.
        for t in [1.0, 2.0, 4.0, 6.0, 9.0, 13.0, 20.0].map(|t| t * unit) {
            high = high.min((self.tilt(theta + t).kappa - at.kappa + OUTSIDE) / t);
            low = low.max((at.kappa - self.tilt(theta - t).kappa - OUTSIDE) / t);
        }
        let low = (low / self.step).floor().max(lowest);
        let high = (high / self.step).ceil().min(highest);
        (low as i64, high as i64)
    }

    /// The part of δ(ε) from finite losses; none where the grid is too fine for one transform.
    fn finite(&self, epsilon: f64, planner: &mut FftPlanner<f64>) -> Option<f64> {
        let step = self.step;
        let loss_max = self.parts.iter().map(|(g, _)| g.loss_max).fold(0.0, f64::max);
        let epsilon = epsilon - 8.0 * UNIT_ROUNDOFF * self.count * (loss_max + 1.0);
        let reach: f64 = self.parts.iter().map(|(g, n)| *n as f64 * g.last() as f64).sum();
        if reach * step <= epsilon {
            return Some(0.0);
        }
        let theta = self.theta(epsilon);
        let at = self.tilt(theta);
        // Chernoff's bound on Pr(S ≥ ε), and the scale of all that follows.
        let scale = (at.kappa - theta * epsilon).exp();
        let (low, high) = self.window(theta, at);
        let points = ((high - low + 1).max(2) as u64).next_power_of_two() as usize;
        if points > POINTS_MAX {
            return None;
        }

        let mut spectrum = vec![Complex::new(1.0, 0.0); points];
        let mut column = vec![Complex::new(0.0, 0.0); points];
        let forward = planner.plan_fft(points, FftDirection::Forward);
        let mut tilted = 0.0;
        for (grid, times) in &self.parts {
            let kappa = grid.tilt(theta, step).kappa;
            column.fill(Complex::new(0.0, 0.0));
            for (i, m) in grid.mass.iter().enumerate().filter(|(_, m)| **m > 0.0) {
                let index = grid.first + i as i64;
                let exponent = theta * step * index as f64;
                let at = index.rem_euclid(points as i64) as usize;
                column[at].re += m * (exponent - kappa).exp();
            }
            tilted += *times as f64 * (theta * (grid.loss_max + step) + kappa.abs() + 8.0) * (4.0 * UNIT_ROUNDOFF);
            forward.process(&mut column);
            for (s, c) in spectrum.iter_mut().zip(&column) {
                *s *= power(*c, *times);
            }
        }
        planner.plan_fft(points, FftDirection::Inverse).process(&mut spectrum);

        let mut sum = 0.0;
        for index in low..low + points as i64 {
            let over = index as f64 * step - epsilon;
            if over > 0.0 {
                let s = spectrum[index.rem_euclid(points as i64) as usize].re / points as f64;
                sum += s.max(0.0) * (-theta * over).exp() * -(-over).exp_m1();
            }
        }
        let levels = (points as f64).log2();
        let transform = (points as f64).sqrt() * ((self.count + 1.0) * (16.0 * levels + 4.0) * UNIT_ROUNDOFF);
        let slack = self.slack() + tilted.exp_m1();
        Some(scale * (sum * (1.0 + slack) + transform + (-OUTSIDE).exp()))
    }
}

/// `base` to the power of `exponent` by squaring; a modulus of at most 1 cannot overflow.
fn power(base: Complex<f64>, exponent: u64) -> Complex<f64> {
    let (mut result, mut square, mut left) = (Complex::new(1.0, 0.0), base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        left >>= 1;
        if left > 0 {
            square *= square;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// δ(ε) straight from the definition: every combination of outcomes of every size, its
    /// probability under both hypotheses, no grid, no transform. `signs` are the directions in
    /// which the sizes differ.
    fn by_enumeration(taus: &[u64], signs: &[i64], epsilon: f64) -> f64 {
        fn walk(laws: &[(Vec<f64>, i64)], p: f64, q: f64, grow: f64) -> f64 {
            let Some(((law, sign), rest)) = laws.split_first() else {
                return (p - grow * q).max(0.0);
            };
            let under = |h: i64| usize::try_from(h).ok().and_then(|h| law.get(h)).copied();
            (0..law.len() as i64)
                .map(|h| {
                    let (p1, q1) = (law[h as usize], under(h - sign).unwrap_or(0.0));
                    walk(rest, p * p1, q * q1, grow)
                })
                .sum()
        }
        let laws: Vec<_> = taus.iter().zip(signs).map(|(t, s)| (super::super::hypergeometric_pmf(*t), *s)).collect();
        walk(&laws, 1.0, 1.0, epsilon.exp())
    }

    fn assert_close_above(bound: f64, exact: f64, what: &str) {
        if exact < 1e-50 {
            assert!(bound >= exact && bound < 1e-45, "{what}: {bound:e}, truth {exact:e}");
            return;
        }
        let slack = if exact > 1e-30 { 0.005 } else { 0.02 };
        assert!(bound >= exact, "{what}: {bound:e} is below the truth {exact:e}");
        assert!(bound <= exact * (1.0 + slack), "{what}: {bound:e}, truth {exact:e}");
    }

    #[test]
    fn is_above_and_near_the_definition_for_every_magnitude_of_delta() {
        // Within 0.5 %, and 2 % below 1e-30, down to what the accountant admits.
        let mut e = Evaluator::new();
        for epsilon in [0.01, 0.5, 1.0, 2.0, 4.0, 7.0] {
            for tau in [1_u64, 2, 3, 10, 23, 68, 133, 400] {
                let what = format!("τ {tau}, ε {epsilon}");
                let exact = by_enumeration(&[tau], &[1], epsilon);
                assert_close_above(e.delta(&[(tau, 1)], epsilon), exact, &what);
                let exact = by_enumeration(&[tau; 2], &[1, 1], epsilon);
                assert_close_above(e.delta(&[(tau, 2)], epsilon), exact, &what);
            }
            for tau in [1_u64, 5, 20, 40] {
                let what = format!("3 sizes, τ {tau}, ε {epsilon}");
                let exact = by_enumeration(&[tau; 3], &[1; 3], epsilon);
                assert_close_above(e.delta(&[(tau, 3)], epsilon), exact, &what);
            }
        }
        // Far below the roundoff of 1: what the tilt is for.
        let exact = by_enumeration(&[400, 400], &[1, 1], 3.0);
        assert!(exact < 1e-40 && exact > 1e-50, "{exact:e}");
        assert_close_above(e.delta(&[(400, 2)], 3.0), exact, "tiny");
    }

    #[test]
    fn mixed_histories_agree_with_the_definition() {
        let mut e = Evaluator::new();
        for epsilon in [0.3, 1.0, 3.0] {
            let exact = by_enumeration(&[7, 30, 30], &[1; 3], epsilon);
            let bound = e.delta(&[(7, 1), (30, 2)], epsilon);
            assert_close_above(bound, exact, &format!("ε {epsilon}"));
        }
    }

    #[test]
    fn every_pattern_of_rises_and_falls_loses_the_same_and_rests_lose_less() {
        for epsilon in [0.2, 1.0, 3.0] {
            let all = by_enumeration(&[9; 3], &[1, 1, 1], epsilon);
            for signs in [[-1, -1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, -1]] {
                let other = by_enumeration(&[9; 3], &signs, epsilon);
                assert!((other / all - 1.0).abs() < 1e-10, "{signs:?}");
            }
            for signs in [[1, 0, -1], [0, 0, 1], [0, 0, 0]] {
                assert!(by_enumeration(&[9; 3], &signs, epsilon) < all, "{signs:?}");
            }
        }
    }

    #[test]
    fn a_coarser_grid_only_raises_the_bound() {
        let mut e = Evaluator::new();
        for (tau, times, epsilon) in [(43, 18, 8.0), (433, 18, 2.0), (15, 6, 8.0)] {
            let mut before = by_parts(&mut e, tau, times, epsilon, 1.0);
            for coarser in [2.0, 4.0, 8.0, 16.0, 64.0] {
                let bound = by_parts(&mut e, tau, times, epsilon, coarser);
                assert!(bound >= before * (1.0 - 1e-6), "{coarser}: {bound:e} < {before:e}");
                before = bound;
            }
        }
    }

    fn by_parts(e: &mut Evaluator, tau: u64, times: u64, epsilon: f64, coarser: f64) -> f64 {
        let sum = Sum::new(&[(tau, times)], coarser, RARE_FIRST);
        sum.infinite() + sum.finite(epsilon, &mut e.planner).unwrap()
    }

    #[test]
    fn losses_beyond_reach_leave_the_infinite_ones_alone() {
        // ε over every finite loss: only h = 0 tells the neighbours apart.
        let bound = Evaluator::new().delta(&[(10, 2)], 1e300);
        let p0 = 1.0 / 184_756.0;
        assert_close_above(bound, 1.0 - (1.0 - p0) * (1.0 - p0), "p0");
        assert_eq!(Evaluator::new().delta(&[(0, 1), (99, 3)], 1.0), 1.0);
        assert_eq!(Evaluator::new().delta(&[(0, 0)], 1.0), 0.0);
    }

    #[test]
    fn the_split_keeps_the_mass_under_both_hypotheses() {
        let step = 0.013;
        for tau in [1_u64, 2, 15, 433, 5257] {
            let grid = GridLoss::new(tau, step, 1e-20);
            let law = Hypergeometric::new(tau);
            let p: f64 = grid.mass.iter().sum();
            assert!((p + grid.infinite - 1.0).abs() < 1e-11);
            let q: f64 = (grid.first..).zip(&grid.mass).map(|(i, m)| m * (-(i as f64) * step).exp()).sum();
            // Σ over h ≥ 1 of P(h − 1) is all but P(τ).
            assert!((q + law.probability(tau) - 1.0).abs() < 1e-10, "τ {tau}: {q}");
        }
    }
}
