//! Whole lists of candidates from a few sizes: the attack that IntersectMask was made against.
//!
//! Guo, Han, Liu, Wang, Jia and Li, "Birds of a Feather Flock Together: How Set Bias Helps to Deanonymize You via Revealed
//! Intersection Sizes", USENIX Security 2022: an asker halves its list along a binary tree, asks for the size of one half, has the
//! other's by subtraction, and goes on where that tells most ("baseline"); and it uses that people with common features are in or out
//! together ("feature-aware"). Jiang, Du and Yan, "AnonPSI", NDSS 2024, choose the sizes of the parts better.
//!
//! This asker is no weaker at reading noise: it computes the exact posterior of every part's count from all sizes so far,
//! by Bayes' rule along the tree, and decides each candidate by it. Where it asks next is a heuristic: at the part that it would err
//! on most; or all groups in turn, if that serves it better. Each of a query's K columns can hold another part of the list, so T
//! queries give K·T sizes; here they even come one after the other.

use crate::crypto::ChaCha20Rng;

use super::simulate::{Overlap, Rate, Setting, affordable, coin, unit};

/// M: the candidates on the asker's list.
pub(super) const CANDIDATES: usize = 64;
/// The size of a group of candidates with a common feature.
pub(super) const GROUP: usize = 8;
/// The share of a group that is in the table, where the group's kind seldom is, and where it mostly is.
const SELDOM: f64 = 0.1;
const MOSTLY: f64 = 0.9;

/// The most sizes that one trial uses.
pub(super) const SIZES_MAX: u64 = 4096;
/// Parts that a trial asks about, each with as many sizes in a row as there are: choosing one costs more than a size.
const ROUNDS: u64 = 64;
/// What a round costs, in draws of a size.
const ROUND_COST: u64 = 400;
const COST_MAX: u64 = 60_000_000;
/// Trials of each way of asking before the better one is taken.
const PILOT: u64 = 100;

/// Who is on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Candidates {
    /// Each is in the table by a coin of its own.
    Independent,
    /// Groups whose people are mostly in or mostly out, by one coin for each group.
    Alike,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    /// The part with the most expected errors, split.
    Halving,
    /// The groups in turn.
    Rotation,
}

/// The share of candidates that are decided rightly.
pub(super) fn measure(
    setting: &Setting,
    candidates: Candidates,
    overlap: &Overlap,
    trials: u64,
    rng: &mut ChaCha20Rng,
) -> Rate {
    let sizes = sizes_of(setting);
    let cost = sizes.min(ROUNDS).saturating_mul(ROUND_COST).saturating_add(sizes.saturating_mul(GROUP as u64));
    let trials = affordable(trials, COST_MAX, cost);
    let mut rate = |way, trials| Rate::of(trials, || play(candidates, sizes, overlap, way, rng));
    let pilot = trials.min(PILOT);
    let better =
        if rate(Way::Rotation, pilot).mean > rate(Way::Halving, pilot).mean { Way::Rotation } else { Way::Halving };
    rate(better, trials)
}

/// The sizes that a period shows, as far as a trial uses them.
pub(super) fn sizes_of(setting: &Setting) -> u64 {
    setting.queries.saturating_mul(u64::from(setting.columns)).min(SIZES_MAX)
}

fn play(candidates: Candidates, sizes: u64, overlap: &Overlap, way: Way, rng: &mut ChaCha20Rng) -> f64 {
    let (group, rates): (usize, &[f64]) = match candidates {
        Candidates::Independent => (CANDIDATES, &[0.5]),
        Candidates::Alike => (GROUP, &[SELDOM, MOSTLY]),
    };
    let mut trees: Vec<Tree> = (0..CANDIDATES / group)
        .map(|_| {
            let rate = if rates.len() == 1 || coin(rng) { rates[0] } else { rates[rates.len() - 1] };
            Tree::new((0..group).map(|_| unit(rng) < rate).collect(), rates)
        })
        .collect();
    let mut left = sizes;
    let each = sizes.div_ceil(ROUNDS);
    let mut round = 0;
    while left > 0 {
        let tree = match way {
            Way::Rotation => round % trees.len(),
            Way::Halving => {
                let errors = |tree: &Tree| tree.worst().map_or(0.0, |(_, errors)| errors);
                let most = trees.iter().map(errors).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
                match most {
                    Some((tree, errors)) if errors > 1e-12 => tree,
                    // All is known.
                    _ => break,
                }
            }
        };
        let part = match way {
            Way::Rotation => 0,
            Way::Halving => trees[tree].next_part(),
        };
        for _ in 0..each.min(left) {
            trees[tree].ask(part, overlap, rng);
        }
        trees[tree].learn();
        left -= each.min(left);
        round += 1;
    }
    trees.iter().map(Tree::decided).sum::<usize>() as f64 / CANDIDATES as f64
}

/// A group of candidates: who is in, which parts were asked about, and what follows from it.
struct Tree {
    present: Vec<bool>,
    rates: Vec<f64>,
    /// The whole first; children after their parents.
    parts: Vec<Part>,
}

/// Some neighbours of a group.
struct Part {
    start: usize,
    len: usize,
    /// Both halves, once it is split.
    halves: Option<(usize, usize)>,
    asked: bool,
    /// ln of the likelihood of the sizes asked about this part, for each count 0 ..= len.
    likelihood: Vec<f64>,
    /// Expected share of it that is in.
    share: f64,
}

impl Part {
    fn new(start: usize, len: usize) -> Part {
        Part { start, len, halves: None, asked: false, likelihood: vec![0.0; len + 1], share: 0.5 }
    }

    fn expected_errors(&self) -> f64 {
        self.len as f64 * self.share.min(1.0 - self.share)
    }
}

impl Tree {
    fn new(present: Vec<bool>, rates: &[f64]) -> Tree {
        let whole = Part::new(0, present.len());
        Tree { present, rates: rates.to_vec(), parts: vec![whole] }
    }

    fn leaves(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts.iter().enumerate().filter(|(_, part)| part.halves.is_none())
    }

    /// The undivided part with the most expected errors.
    fn worst(&self) -> Option<(usize, f64)> {
        let errors = self.leaves().map(|(index, part)| (index, part.expected_errors()));
        errors.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The worst part, or one half of it, if it was asked about before.
    fn next_part(&mut self) -> usize {
        let worst = self.worst().map_or(0, |(index, _)| index);
        let (start, len) = (self.parts[worst].start, self.parts[worst].len);
        if !self.parts[worst].asked || len == 1 {
            return worst;
        }
        let left = self.parts.len();
        let half = len / 2;
        self.parts.push(Part::new(start, half));
        let mut other = Part::new(start + half, len - half);
        // By subtraction.
        other.asked = true;
        self.parts.push(other);
        self.parts[worst].halves = Some((left, left + 1));
        left
    }

    /// One size.
    fn ask(&mut self, part: usize, overlap: &Overlap, rng: &mut ChaCha20Rng) {
        let Part { start, len, .. } = self.parts[part];
        let truth = self.present[start..start + len].iter().filter(|present| **present).count();
        let size = truth as u64 + overlap.draw(rng);
        let part = &mut self.parts[part];
        part.asked = true;
        for (count, sum) in part.likelihood.iter_mut().enumerate() {
            *sum += overlap.ln(size.checked_sub(count as u64));
        }
    }

    /// The posterior of each undivided part, given all sizes: sums over counts upwards, then downwards, for each rate that the
    /// group may have.
    fn learn(&mut self) {
        let likelihoods: Vec<Vec<f64>> = self.parts.iter().map(|part| scaled(&part.likelihood)).collect();
        let mut weighed = vec![0.0; self.parts.len()];
        let mut evidence_of_all = 0.0;
        for rate in &self.rates {
            let mut up: Vec<Vec<f64>> = vec![Vec::new(); self.parts.len()];
            for (index, part) in self.parts.iter().enumerate().rev() {
                let prior = match part.halves {
                    None => binomial(part.len, *rate),
                    Some((left, right)) => convolve(&up[left], &up[right]),
                };
                up[index] = times(&prior, &likelihoods[index]);
            }
            // All rates see the same scaled likelihoods, so their evidences compare.
            let evidence: f64 = up[0].iter().sum();
            evidence_of_all += evidence;
            if evidence <= 0.0 {
                continue;
            }
            let mut down: Vec<Vec<f64>> = self.parts.iter().map(|part| vec![1.0; part.len + 1]).collect();
            for (index, part) in self.parts.iter().enumerate() {
                if let Some((left, right)) = part.halves {
                    let outside = times(&down[index], &likelihoods[index]);
                    down[left] = correlate(&outside, &up[right]);
                    down[right] = correlate(&outside, &up[left]);
                    continue;
                }
                let marginal = times(&up[index], &down[index]);
                let total: f64 = marginal.iter().sum();
                let mean: f64 = marginal.iter().enumerate().map(|(count, p)| count as f64 * p).sum();
                weighed[index] += evidence * mean / total / part.len as f64;
            }
        }
        for (part, weighed) in self.parts.iter_mut().zip(weighed) {
            if part.halves.is_none() && evidence_of_all > 0.0 {
                part.share = weighed / evidence_of_all;
            }
        }
    }

    /// Candidates that are decided rightly: a part is taken for in where more than half of it is expected to be. At one half
    /// exactly "out" is as good as a coin.
    fn decided(&self) -> usize {
        self.leaves()
            .map(|(_, part)| {
                let guess = part.share > 0.5;
                self.present[part.start..part.start + part.len].iter().filter(|present| **present == guess).count()
            })
            .sum()
    }
}

/// Likelihoods from their logarithms, the greatest 1.
fn scaled(logarithms: &[f64]) -> Vec<f64> {
    let greatest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if greatest == f64::NEG_INFINITY {
        return vec![1.0; logarithms.len()];
    }
    logarithms.iter().map(|ln| (ln - greatest).exp()).collect()
}

fn binomial(n: usize, p: f64) -> Vec<f64> {
    let mut law = vec![1.0];
    for _ in 0..n {
        law = convolve(&law, &[1.0 - p, p]);
    }
    law
}

fn times(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

/// Σ over i + j = k of a(i)·b(j).
fn convolve(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; a.len() + b.len() - 1];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate() {
            sum[i + j] += a * b;
        }
    }
    sum
}

/// Σ over j of a(i + j)·b(j).
fn correlate(a: &[f64], b: &[f64]) -> Vec<f64> {
    let n = a.len() - b.len() + 1;
    (0..n).map(|i| b.iter().enumerate().map(|(j, b)| a[i + j] * b).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    /// Every way to be in or out, one by one.
    fn by_enumeration(n: usize, rates: &[f64], asked: &[(usize, usize, u64)], overlap: &Overlap) -> Vec<f64> {
        let (mut total, mut shares) = (0.0, vec![0.0; n]);
        for rate in rates {
            for world in 0_u32..1 << n {
                let is_in = |person: usize| world >> person & 1 == 1;
                let prior: f64 = (0..n).map(|person| if is_in(person) { *rate } else { 1.0 - rate }).product();
                let likelihood: f64 = asked
                    .iter()
                    .map(|(start, len, size)| {
                        let count = (*start..start + len).filter(|person| is_in(*person)).count() as u64;
                        overlap.ln(size.checked_sub(count)).exp()
                    })
                    .product();
                total += prior * likelihood;
                for (_, share) in shares.iter_mut().enumerate().filter(|(person, _)| is_in(*person)) {
                    *share += prior * likelihood;
                }
            }
        }
        shares.iter().map(|share| share / total).collect()
    }

    #[test]
    fn the_posterior_is_bayes_rule_over_every_possible_table() {
        for (tau, rates, seed) in [(0, &[0.5][..], 1), (3, &[0.5], 2), (3, &[0.1, 0.9], 3), (12, &[0.2, 0.7], 4)] {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let overlap = Overlap::new(tau);
            let present: Vec<bool> = (0..8).map(|_| coin(&mut rng)).collect();
            let mut tree = Tree::new(present, rates);
            let mut asked = Vec::new();
            for _ in 0..5 {
                let part = tree.next_part();
                let before = tree.parts[part].likelihood.clone();
                tree.ask(part, &overlap, &mut rng);
                // The size that was drawn is the only one that explains what was added.
                let Part { start, len, ref likelihood, .. } = tree.parts[part];
                let size = (0..=tau + 8).find(|size| {
                    (0..=len).all(|count| {
                        let added = overlap.ln(size.checked_sub(count as u64));
                        let sum = before[count] + added;
                        sum == likelihood[count]
                    })
                });
                asked.push((start, len, size.unwrap()));
                tree.learn();
            }
            let expected = by_enumeration(8, rates, &asked, &overlap);
            for (_, part) in tree.leaves() {
                let mean = expected[part.start..part.start + part.len].iter().sum::<f64>() / part.len as f64;
                assert!((part.share - mean).abs() < 1e-9, "τ {tau}, {rates:?}: {} and {mean}", part.share);
            }
        }
    }

    #[test]
    fn with_sizes_enough_and_no_dummies_everybody_is_found() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        for candidates in [Candidates::Independent, Candidates::Alike] {
            let exact = Overlap::new(0);
            assert_eq!(play(candidates, 200, &exact, Way::Halving, &mut rng), 1.0);
        }
    }

    #[test]
    fn sizes_that_are_all_noise_leave_a_coin() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        let overlap = Overlap::new(1 << 20);
        for (candidates, way) in [(Candidates::Independent, Way::Halving), (Candidates::Alike, Way::Rotation)] {
            let rate = Rate::of(300, || play(candidates, 10, &overlap, way, &mut rng));
            assert!((rate.mean - 0.5).abs() < 0.02 + 4.0 * rate.standard_error, "{candidates:?}: {rate:?}");
        }
    }
}
