//! The attacks against budgets, with fixed seeds: each outcome is a fact, not a chance.

use super::*;
use crate::dp::{OutputBudget, QueryOutputs, Ratio, default_delta, dummies};
use rand_core::SeedableRng;

const PERSONS: u64 = 100_000;
const QUERIES: u64 = 10;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// τ and noise from budgets, as a policy has them.
fn setting(columns: u32, sizes_epsilon: f64, outputs: &str) -> Setting {
    let delta = default_delta(PERSONS);
    let epsilon = Ratio::from_decimal(outputs).unwrap();
    let privacy = Privacy { epsilon: epsilon.to_f64(), delta: 0.0 };
    Setting {
        persons: PERSONS,
        columns,
        queries: QUERIES,
        tau: dummies(QUERIES * u64::from(columns), sizes_epsilon, delta).unwrap(),
        noise: OutputBudget::Laplace { epsilon }.per_query(QUERIES).unwrap().word_noise(1, 1),
        minimum_matched: 50,
        sizes: Some(Privacy { epsilon: sizes_epsilon, delta }),
        outputs: Some(privacy),
    }
}

#[test]
fn without_dummies_and_noise_every_attack_on_one_person_succeeds() {
    // The test of all tests below: these attacks find what can be found.
    for columns in [1, 2, 3] {
        for finding in attack_all(&setting(columns, 2.0, "4"), 200, &mut rng(1)) {
            if let Attack::SetBias(candidates) = finding.attack {
                // Ten or more sizes are not enough for a list of 64, but tell much more than the coin that they began with.
                let least = if candidates == Candidates::Alike { 0.88 } else { 0.6 };
                assert!(finding.unprotected.mean > least, "{finding:?}");
                continue;
            }
            assert!(finding.unprotected.mean >= 0.99, "{finding:?}");
        }
    }
}

#[test]
fn with_a_budgets_dummies_and_noise_no_attack_passes_what_the_budget_allows() {
    for (seed, (columns, epsilon, outputs)) in
        [(1, 2.0, "4"), (3, 2.0, "4"), (2, 0.5, "0.5"), (1, 6.0, "1")].into_iter().enumerate()
    {
        for finding in attack_all(&setting(columns, epsilon, outputs), 400, &mut rng(seed as u64)) {
            assert!(!finding.breaks_bound(), "{finding:?}");
            if let Some(best) = finding.best {
                assert!(!finding.protected.is_over(best), "{finding:?}");
            }
        }
    }
}

#[test]
fn the_strongest_asker_is_as_strong_as_theory_says() {
    // Were it weaker, "stays below the bound" would say little. (1 + δ(0))/2 is exact; so is the majority of T bits.
    for (columns, moved, seen) in
        [(1, 1, Seen::Sizes), (3, 1, Seen::Sizes), (3, 3, Seen::Sizes), (2, 2, Seen::Sizes), (1, 0, Seen::Counts)]
    {
        let setting = setting(columns, 6.0, "6");
        let finding = find(&setting, Attack::Strongest { moved }, seen, 8000, &mut rng(7));
        let (best, rate) = (finding.best.unwrap(), finding.protected);
        assert!((rate.mean - best).abs() < 4.0 * rate.standard_error, "{moved} of {columns}: {best}, {rate:?}");
        assert!(best > 0.55 && best <= finding.bound.unwrap() + 1e-9, "{finding:?}");
    }
}

#[test]
fn too_few_dummies_or_too_little_noise_break_the_bound() {
    // So the tests above could fail.
    let honest = setting(1, 2.0, "4");
    let strongest =
        |setting: &Setting, moved, trials| find(setting, Attack::Strongest { moved }, Seen::Sizes, trials, &mut rng(3));
    assert!(!strongest(&honest, 1, 40_000).breaks_bound());
    let half = strongest(&Setting { tau: honest.tau / 2, ..honest.clone() }, 1, 40_000);
    assert!(half.breaks_bound() && !half.protected.is_over(half.bound.unwrap()), "seen by its delta alone: {half:?}");
    let few = strongest(&Setting { tau: honest.tau / 64, ..honest.clone() }, 1, 2000);
    assert!(few.breaks_bound() && few.protected.is_over(few.bound.unwrap()), "seen by guessing: {few:?}");
    // τ for K columns, but not for T queries; and the other way round.
    for compositions in [3, 10] {
        let tau = dummies(compositions, 2.0, default_delta(PERSONS)).unwrap();
        let forgot = strongest(&Setting { tau, ..setting(3, 2.0, "4") }, 3, 10_000);
        assert!(forgot.breaks_bound(), "{forgot:?}");
    }
    // The whole ε in each query in place of a tenth.
    let whole = QueryOutputs::Epsilon(Ratio::from_decimal("4").unwrap()).word_noise(1, 1);
    let loud = Setting { noise: whole, ..honest };
    for attack in [Attack::Strongest { moved: 0 }, Attack::Repetition { times: 1 }] {
        let finding = find(&loud, attack, Seen::Counts, 4000, &mut rng(5));
        assert!(finding.breaks_bound(), "{finding:?}");
    }
}

#[test]
fn an_entry_that_moves_every_size_is_found_more_often_than_one_that_moves_one() {
    let setting = setting(3, 6.0, "4");
    let plain = find(&setting, Attack::Strongest { moved: 1 }, Seen::Sizes, 4000, &mut rng(8)).protected;
    let chained = find(&setting, Attack::Strongest { moved: 3 }, Seen::Sizes, 4000, &mut rng(9)).protected;
    assert!(chained.mean > plain.mean + 4.0 * plain.standard_error, "{plain:?} {chained:?}");
}

#[test]
fn questions_that_nobody_counts_find_everybody() {
    let setting = setting(1, 2.0, "4");
    for seen in [Seen::Sizes, Seen::Counts] {
        let finding = find(&setting, Attack::Repetition { times: UNCOUNTED }, seen, 200, &mut rng(10));
        assert!(finding.protected.mean > 0.95 && finding.bound.is_none(), "{finding:?}");
    }
}

#[test]
fn lists_of_candidates_lose_nearly_all_to_dummies() {
    let setting = setting(1, 2.0, "4");
    let find = |candidates| find(&setting, Attack::SetBias(candidates), Seen::Sizes, 400, &mut rng(11));
    let independent = find(Candidates::Independent);
    assert!(independent.unprotected.mean > 0.6 && independent.protected.mean < 0.56, "{independent:?}");
    // People who are alike are found as a group, a budget for one notwithstanding: the report says so.
    let alike = find(Candidates::Alike);
    assert!(alike.unprotected.mean > 0.88, "{alike:?}");
    assert!(alike.protected.mean > independent.protected.mean && alike.protected.mean < 0.8, "{alike:?}");
}

#[test]
fn the_bound_is_that_of_randomised_response_and_of_the_better_of_two() {
    let part = |epsilon, delta| Privacy { epsilon, delta };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    let e = |x: f64| x.exp();
    close(bound(&[part(2.0, 0.0)]), e(2.0) / (1.0 + e(2.0)));
    close(bound(&[part(2.0, 0.01)]), (e(2.0) + 0.01) / (1.0 + e(2.0)));
    close(bound(&[]), 0.5);
    // Two independent bits by enumeration: right with p and q.
    let (p, q) = (e(2.0) / (1.0 + e(2.0)), e(1.0) / (1.0 + e(1.0)));
    let best: f64 =
        [p, 1.0 - p].iter().flat_map(|a| [q, 1.0 - q].map(|b| (a * b).max((1.0 - a) * (1.0 - b)))).sum::<f64>() / 2.0;
    close(bound(&[part(2.0, 0.0), part(1.0, 0.0)]), best);
    close(best, p);
    close(bound(&[part(2.0, 0.01), part(1.0, 0.02)]), 1.0 - 0.99 * 0.98 * (1.0 - p));
}

#[test]
fn the_best_rates_are_those_of_enumeration() {
    // Majority of n bits, by all 2^n outcomes.
    for (n, p) in [(1_u32, 0.7_f64), (2, 0.7), (5, 0.6), (10, 0.55)] {
        let expected: f64 = (0_u32..1 << n)
            .map(|bits| {
                let ones = bits.count_ones();
                let chance = p.powi(ones as i32) * (1.0 - p).powi((n - ones) as i32);
                chance
                    * match (2 * ones).cmp(&n) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    }
            })
            .sum();
        assert!((majority(n.into(), p) - expected).abs() < 1e-12, "{n} {p}");
    }
    assert!(majority(1_000_000, 0.51) > 0.999 && majority(1_000_000, 0.5) - 0.5 < 1e-9);
    // Total variation of two sizes at τ = 9, by all pairs.
    let law = dp::hypergeometric_pmf(9);
    let at = |h: i64| usize::try_from(h).ok().and_then(|h| law.get(h)).copied().unwrap_or(0.0);
    let pairs = (0..=10_i64).flat_map(|a| (0..=10_i64).map(move |b| (a, b)));
    let right: f64 = pairs.map(|(a, b)| (at(a) * at(b)).max(at(a - 1) * at(b - 1))).sum::<f64>() / 2.0;
    let setting = Setting { queries: 2, tau: 9, ..setting(1, 2.0, "4") };
    let best = best(&setting, Attack::Strongest { moved: 1 }, Seen::Sizes).unwrap();
    assert!(best >= right - 1e-12 && best < right + 0.003, "{best} {right}");
}

#[test]
fn sizes_are_drawn_by_their_law() {
    let mut rng = rng(12);
    for tau in [0, 1, 7, 399] {
        let overlap = Overlap::new(tau);
        let draws = 20_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..draws {
            let h = overlap.draw(&mut rng);
            assert!(h <= tau);
            let d = h as f64 - tau as f64 / 2.0;
            sum += d;
            squares += d * d;
        }
        let variance = dp::size_noise_sd(tau).powi(2);
        assert!((sum / draws as f64).abs() <= 5.0 * (variance / draws as f64).sqrt());
        assert!((squares / draws as f64 - variance).abs() <= 0.05 * variance);
    }
}

#[test]
fn many_queries_cost_trials_and_not_hours() {
    assert_eq!(affordable(1000, SIZES_DRAWN_MAX, 10), 1000);
    assert_eq!(affordable(1000, 10_000, 100), 100);
    assert_eq!(affordable(1000, SIZES_DRAWN_MAX, u64::MAX), TRIALS_MIN);
    // One trial has no spread.
    assert_eq!(affordable(1, SIZES_DRAWN_MAX, 10), 2);
}

#[test]
fn chance_above_a_bound_is_no_break_and_more_than_chance_is() {
    let rate = |mean: f64| Rate { mean, standard_error: (mean * (1.0 - mean) / 1000.0).sqrt(), trials: 1000 };
    assert!(!rate(0.88).is_over(0.881) && !rate(0.9).is_over(0.881) && rate(0.95).is_over(0.881));
    // All right, where nearly all may be.
    assert!(!rate(1.0).is_over(0.998) && rate(1.0).is_over(0.97));
}
