//! The attacks, played against what the protocol reveals: sizes and outputs, drawn in the clear.
//!
//! No run of the protocol is needed for that: what an asker sees of a column is the true number of matches plus
//! Hypergeometric(2τ, τ, τ), and of a COUNT(\*) the true one plus [`Noise`]; that the real servers show just that is tested
//! elsewhere (`tests/attacks.rs`, `tests/dummies_overlap.rs`). So thousands of periods take seconds.
//!
//! # The bound
//! *Claim.* Let everything that an asker sees be (ε, δ)-differentially private for one person's entry, and let that person be in
//! the table by a fair coin, which the rest of what the asker knows does not depend on. No test guesses the coin right with
//! more than (e^ε + δ)/(1 + e^ε). *Proof.* Let a be the chance to say "in" of one who is in, b to say "out" of one who is not.
//! By definition a ≤ e^ε·(1 − b) + δ, and, for the opposite answer and the opposite tables, b ≤ e^ε·(1 − a) + δ. The
//! sum of both lines is (a + b)·(1 + e^ε) ≤ 2·(e^ε + δ), and the test is right with (a + b)/2. ∎ (The region of such a and b is
//! from Wasserman and Zhou, JASA 2010, and Kairouz, Oh and Viswanath, "The Composition Theorem for Differential Privacy",
//! ICML 2015.)
//!
//! *A sharper test.* That bound is far from what most noise gives away: with Gaussian-like noise, τ can be 30 times too small before a
//! guess is right too often. So the strongest asker also measures δ itself: with L the logarithm of the likelihood ratio of what
//! happened over what did not, δ(ε) is the mean of max(0, 1 − e^(ε − L)), and must not pass the budget's δ; half the dummies do.
//!
//! *Sizes and outputs together.* Each of both is dominated by a game (Kairouz, Oh and Viswanath; Murtagh and Vadhan, TCC 2016,
//! for unequal parts): with δ the coin is shown, else a bit that equals it with p = e^ε/(1 + e^ε), independently. Of two bits, the
//! best guess is the more reliable one, so it is right with at most 1 − (1 − δ₁)(1 − δ₂)(1 − max(p₁, p₂)): [`bound`]. That is
//! less than basic composition's ε₁ + ε₂ would give, and it is no contradiction: one guess cannot show a lower chance and a
//! higher confidence at once.
//!
//! # Floats
//! Sizes are drawn by inverting a table of floats. That is good enough to measure an attack, and never used for privacy: the
//! protocol draws real subsets, and integers.

use rand_core::Rng;

use crate::crypto::ChaCha20Rng;
use crate::dp::{self, Hypergeometric, Noise};

use super::setbias::{self, Candidates};

/// Queries as many times more than the budget's, for showing what the ledger stops.
pub(super) const UNCOUNTED: u64 = 100;

/// Standard errors by which a rate has to pass its bound before this says so: once in 30,000 honest rows.
const CONFIDENT: f64 = 4.0;

/// The most sizes that one attack draws over all its trials, and the most noises, which take longer.
const SIZES_DRAWN_MAX: u64 = 40_000_000;
const NOISES_DRAWN_MAX: u64 = 4_000_000;

/// What is measured at least, however many queries a trial has.
const TRIALS_MIN: u64 = 20;

/// What one peer may ask of one table in a period, and the noise that it gets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// N: the persons of the table.
    pub(super) persons: u64,
    /// K: identifiers of a query.
    pub(super) columns: u32,
    /// T: queries of a period.
    pub(super) queries: u64,
    /// τ: dummies per column and party; 0: sizes are exact.
    pub(super) tau: u64,
    /// The noise of a query's COUNT(\*), where it is all that the query asks.
    pub(super) noise: Noise,
    /// The least noisy number of matches of an answered query.
    pub(super) minimum_matched: u64,
    /// What all sizes of the period may tell; `None`: they are exact.
    pub(super) sizes: Option<Privacy>,
    /// What all outputs of the period may tell; `None`: they are exact.
    pub(super) outputs: Option<Privacy>,
}

/// (ε, δ) of everything of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Privacy {
    pub(super) epsilon: f64,
    pub(super) delta: f64,
}

impl Setting {
    /// The same table and queries without IntersectMask and without noise.
    fn unprotected(&self) -> Setting {
        Setting { tau: 0, noise: Noise::None, sizes: None, outputs: None, ..self.clone() }
    }
}

/// What an attack looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Sizes,
    Counts,
    Both,
}

/// How an asker goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Knows all of both tables but whether one person is in the other's, spends all queries on that, and makes so many
    /// sizes of each query depend on it; the likelihood ratio decides, which no test surpasses (Neyman and Pearson).
    Strongest {
        /// Sizes that move per query, at most K.
        moved: u32,
    },
    /// Asks twice in turn, with a filter that leaves out one person and without it; does not know the rest.
    Differencing,
    /// Asks the same question again and again, and averages.
    Repetition {
        /// Times the budget's queries: 1, or what nobody counts.
        times: u64,
    },
    /// Halves a list of candidates, again and again, by the sizes.
    SetBias(Candidates),
}

/// The share of right guesses over some trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// From 0 to 1.
    pub(super) mean: f64,
    /// Of the mean, from the trials' spread.
    pub(super) standard_error: f64,
    pub(super) trials: u64,
}

impl Rate {
    /// Plays so many trials; each gives a score from 0 to 1.
    pub(super) fn of(trials: u64, mut play: impl FnMut() -> f64) -> Rate {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..trials {
            let score = play();
            sum += score;
            squares += score * score;
        }
        let n = trials as f64;
        let mean = sum / n;
        let variance = ((squares - n * mean * mean) / (n - 1.0).max(1.0)).max(0.0);
        Rate { mean, standard_error: (variance / n).sqrt(), trials }
    }

    /// Whether it is above `bound` by more than chance explains. The spread of a rate that *is* the bound counts, too: a
    /// rate of 1 has none of its own.
    pub(super) fn is_over(&self, bound: f64) -> bool {
        let at_bound = (bound * (1.0 - bound) / self.trials as f64).sqrt();
        self.mean - bound > CONFIDENT * self.standard_error.max(at_bound)
    }
}

/// One attack on one setting.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) attack: Attack,
    pub(super) seen: Seen,
    /// Queries of one trial.
    pub(super) queries: u64,
    /// Without dummies and noise.
    pub(super) unprotected: Rate,
    /// With them.
    pub(super) protected: Rate,
    /// What no test on the same numbers surpasses, where that is easily computed.
    pub(super) best: Option<f64>,
    /// What the budget allows; `None` where what is seen is exact, or is not within the budget, or is no fact about one person.
    pub(super) bound: Option<f64>,
    /// δ as it was measured at the budget's ε, and the budget: of the strongest asker only.
    pub(super) delta: Option<(Rate, Privacy)>,
}

impl Finding {
    /// Whether the attack does better than the budget allows.
    pub(super) fn breaks_bound(&self) -> bool {
        let guesses = self.bound.is_some_and(|bound| self.protected.is_over(bound));
        // The floats' own: of pure ε, losses may be ε itself.
        let delta = self
            .delta
            .is_some_and(|(seen, allowed)| seen.mean - allowed.delta - 1e-9 > CONFIDENT * seen.standard_error);
        guesses || delta
    }
}

/// What both parts tell together, by basic composition.
fn added(parts: &[Privacy]) -> Privacy {
    Privacy { epsilon: parts.iter().map(|part| part.epsilon).sum(), delta: parts.iter().map(|part| part.delta).sum() }
}

/// The chance of a right guess that parts with these budgets, seen together, allow at most: the module's doc.
pub(super) fn bound(parts: &[Privacy]) -> f64 {
    let hidden: f64 = parts.iter().map(|part| 1.0 - part.delta).product();
    let wrong = parts.iter().map(|part| 1.0 / (1.0 + part.epsilon.exp())).fold(0.5, f64::min);
    1.0 - hidden * wrong
}

/// Every attack on a setting, each with `trials` trials or as many as a minute allows.
pub(super) fn attack_all(setting: &Setting, trials: u64, rng: &mut ChaCha20Rng) -> Vec<Finding> {
    let columns = setting.columns.max(1);
    // With an even number of moves a person's entry changes sizes alone: the count is as it was (the proof in `dp`).
    let odd = columns - (1 - columns % 2);
    let mut plays = vec![(Attack::Strongest { moved: 1 }, Seen::Sizes)];
    if columns > 1 {
        plays.push((Attack::Strongest { moved: columns }, Seen::Sizes));
    }
    plays.push((Attack::Strongest { moved: 0 }, Seen::Counts));
    plays.push((Attack::Strongest { moved: odd }, Seen::Both));
    plays.push((Attack::SetBias(Candidates::Independent), Seen::Sizes));
    plays.push((Attack::SetBias(Candidates::Alike), Seen::Sizes));
    if setting.queries >= 2 {
        plays.extend([Seen::Sizes, Seen::Counts].map(|seen| (Attack::Differencing, seen)));
    }
    for times in [1, UNCOUNTED] {
        plays.extend([Seen::Sizes, Seen::Counts].map(|seen| (Attack::Repetition { times }, seen)));
    }
    plays.into_iter().map(|(attack, seen)| find(setting, attack, seen, trials, rng)).collect()
}

/// One attack on a setting, and on the same without protection.
pub(super) fn find(setting: &Setting, attack: Attack, seen: Seen, trials: u64, rng: &mut ChaCha20Rng) -> Finding {
    let (unprotected, _) = measure(&setting.unprotected(), attack, seen, trials, rng);
    let (protected, losses) = measure(setting, attack, seen, trials, rng);
    let budget = budget_of(setting, attack, seen);
    let delta = budget.as_deref().map(added).filter(|_| !losses.is_empty()).map(|budget| {
        let mut losses = losses.iter();
        let excess = |loss: &f64| -(budget.epsilon - loss).exp_m1();
        (Rate::of(protected.trials, || losses.next().map_or(0.0, excess).max(0.0)), budget)
    });
    Finding {
        attack,
        seen,
        queries: queries(setting, attack),
        unprotected,
        protected,
        best: best(setting, attack, seen),
        bound: budget.as_deref().map(bound),
        delta,
    }
}

fn queries(setting: &Setting, attack: Attack) -> u64 {
    match attack {
        Attack::Repetition { times } => setting.queries.saturating_mul(times),
        Attack::Differencing => setting.queries / 2 * 2,
        Attack::Strongest { .. } | Attack::SetBias(_) => setting.queries,
    }
}

/// The rate of right guesses; and for likelihood ratios their logarithms, what happened over what did not.
fn measure(setting: &Setting, attack: Attack, seen: Seen, trials: u64, rng: &mut ChaCha20Rng) -> (Rate, Vec<f64>) {
    let overlap = Overlap::new(setting.tau);
    let mut losses = Vec::new();
    if let Attack::SetBias(candidates) = attack {
        return (setbias::measure(setting, candidates, &overlap, trials, rng), losses);
    }
    let queries = queries(setting, attack);
    let sizes_each = match attack {
        Attack::Strongest { moved } => u64::from(moved),
        _ => 1,
    };
    let trials = match seen {
        Seen::Sizes => affordable(trials, SIZES_DRAWN_MAX, queries.saturating_mul(sizes_each)),
        Seen::Counts | Seen::Both => affordable(trials, NOISES_DRAWN_MAX, queries),
    };
    let rate = Rate::of(trials, || {
        let present = coin(rng);
        let score = match attack {
            Attack::Strongest { moved } => {
                let ratios = (0..queries).map(|_| ratio_of_query(setting, &overlap, seen, moved, present, rng));
                let ratio = ratios.sum::<f64>();
                losses.push(if present { ratio } else { -ratio });
                ratio
            }
            Attack::Differencing => {
                let pairs = queries / 2;
                let change = |rng: &mut ChaCha20Rng| {
                    f64::from(u8::from(present)) + error(setting, &overlap, seen, rng)
                        - error(setting, &overlap, seen, rng)
                };
                (0..pairs).map(|_| change(rng)).sum::<f64>() - pairs as f64 / 2.0
            }
            _ => {
                let errors: f64 = (0..queries).map(|_| error(setting, &overlap, seen, rng)).sum();
                let shift = if present { queries as f64 } else { 0.0 };
                shift + errors - queries as f64 / 2.0
            }
        };
        let guess = if score == 0.0 { coin(rng) } else { score > 0.0 };
        f64::from(u8::from(guess == present))
    });
    (rate, losses)
}

/// As many trials as the draws allow, not below [`TRIALS_MIN`].
pub(super) fn affordable(trials: u64, draws_max: u64, draws_each: u64) -> u64 {
    trials.min((draws_max / draws_each.max(1)).max(TRIALS_MIN)).max(2)
}

/// The logarithm of the likelihood ratio, "in" over "out", of what one query shows.
///
/// The entry's path is x₀ – x₁ – …: where it is in, the first, third … of the moved columns have one match more, where it is not,
/// the second, fourth …; the COUNT(\*) has one more where it is in.
fn ratio_of_query(
    setting: &Setting,
    overlap: &Overlap,
    seen: Seen,
    moved: u32,
    present: bool,
    rng: &mut ChaCha20Rng,
) -> f64 {
    let mut ratio = 0.0;
    if seen != Seen::Counts {
        for step in 0..moved {
            let first = step % 2 == 0;
            let more = present == first;
            let size = overlap.draw(rng) + u64::from(more);
            let for_more = overlap.ln_ratio(size);
            ratio += if first { for_more } else { -for_more };
        }
    }
    if seen != Seen::Sizes {
        let count = i128::from(present) + setting.noise.sample(rng);
        ratio += ln_ratio_of_count(&setting.noise, count);
    }
    ratio
}

/// ln P(count | 1) − ln P(count | 0).
fn ln_ratio_of_count(noise: &Noise, count: i128) -> f64 {
    match noise {
        Noise::Laplace { scale } => (1.0 / scale.to_f64()).copysign(count as f64 - 0.5),
        Noise::Gaussian { variance } => (2.0 * count as f64 - 1.0) / (2.0 * variance.to_f64()),
        Noise::None => f64::INFINITY.copysign(count as f64 - 0.5),
    }
}

/// How far a size, less its expected dummies, or a count is from the truth.
fn error(setting: &Setting, overlap: &Overlap, seen: Seen, rng: &mut ChaCha20Rng) -> f64 {
    match seen {
        Seen::Counts => setting.noise.sample(rng) as f64,
        Seen::Sizes | Seen::Both => overlap.draw(rng) as f64 - setting.tau as f64 / 2.0,
    }
}

/// What no test surpasses, where it has a closed form: (1 + δ(0))/2 of the sizes, δ(0) being the total variation
/// (upper bound by the accountant); for Laplace noise on counts the majority of T answers, since whether an answer is above the known
/// number is all that its likelihood depends on.
fn best(setting: &Setting, attack: Attack, seen: Seen) -> Option<f64> {
    let Attack::Strongest { moved } = attack else { return None };
    match (seen, &setting.noise) {
        (Seen::Sizes, _) if setting.tau > 0 => {
            let sizes = setting.queries.checked_mul(u64::from(moved))?;
            let variation = dp::delta_of(setting.tau, sizes, NO_EPSILON).ok()?;
            Some(0.5 + variation.min(1.0) / 2.0)
        }
        (Seen::Counts, Noise::Laplace { scale }) => {
            Some(majority(setting.queries, 1.0 / (1.0 + (-1.0 / scale.to_f64()).exp())))
        }
        _ => None,
    }
}

/// An ε that is 0 for every purpose; the accountant takes positive ones.
const NO_EPSILON: f64 = 1e-9;

/// The chance that the majority of `n` independent bits, each right with `p`, is right; a tie is a coin.
fn majority(n: u64, p: f64) -> f64 {
    // Binomial weights from the mode outwards, then divided by their sum: nothing overflows.
    let odds = p / (1.0 - p);
    let mode = ((n as f64 * p) as u64).min(n);
    let tie = |k: u64| match (2 * k).cmp(&n) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let (mut total, mut right) = (1.0, tie(mode));
    let mut weight = 1.0;
    for k in mode + 1..=n {
        weight *= (n - k + 1) as f64 / k as f64 * odds;
        total += weight;
        right += weight * tie(k);
    }
    weight = 1.0;
    for k in (0..mode).rev() {
        weight *= (k + 1) as f64 / (n - k) as f64 / odds;
        total += weight;
        right += weight * tie(k);
    }
    right / total
}

/// The budgets that what is seen is within; `None` where there is none, or where the attack is not about one person.
fn budget_of(setting: &Setting, attack: Attack, seen: Seen) -> Option<Vec<Privacy>> {
    match attack {
        Attack::Repetition { times } if times > 1 => return None,
        // What a whole group has in common is no single person's secret, and no budget for one hides it.
        Attack::SetBias(Candidates::Alike) => return None,
        _ => {}
    }
    Some(match seen {
        Seen::Sizes => vec![setting.sizes?],
        Seen::Counts => vec![setting.outputs?],
        Seen::Both => vec![setting.sizes?, setting.outputs?],
    })
}

/// The overlap of both parties' dummies in one column, for drawing and for likelihoods.
pub(super) struct Overlap {
    law: Hypergeometric,
    first: u64,
    /// P(h ≤ first + i).
    cumulated: Vec<f64>,
}

impl Overlap {
    pub(super) fn new(tau: u64) -> Overlap {
        let law = Hypergeometric::new(tau);
        let first = law.outcomes().next().map_or(0, |(h, _)| h);
        let mut total = 0.0;
        let cumulated = law
            .outcomes()
            .map(|(_, p)| {
                total += p;
                total
            })
            .collect();
        Overlap { law, first, cumulated }
    }

    pub(super) fn draw(&self, rng: &mut ChaCha20Rng) -> u64 {
        let u = unit(rng);
        let at = self.cumulated.partition_point(|c| *c <= u).min(self.cumulated.len() - 1);
        self.first + at as u64
    }

    /// ln P(h).
    pub(super) fn ln(&self, h: Option<u64>) -> f64 {
        h.map_or(0.0, |h| self.law.probability(h)).ln()
    }

    /// ln P(size − 1) − ln P(size): one match more, over none more.
    fn ln_ratio(&self, size: u64) -> f64 {
        self.ln(size.checked_sub(1)) - self.ln(Some(size))
    }
}

/// A fair coin.
pub(super) fn coin(rng: &mut ChaCha20Rng) -> bool {
    rng.next_u32() & 1 == 1
}

/// Uniform in 0 ..< 1, in steps of 2⁻⁵³.
pub(super) fn unit(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
