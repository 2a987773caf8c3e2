//! From a budget for sizes to what each query does: dummies for the matched sizes, fillers for an
//! announced length.
//!
//! # How a budget is split
//! An account allows T queries of K identifiers and says (ε, δ) for all sizes together.
//! - *Nothing padded.* All of (ε, δ) goes to the matched sizes: K·T compositions of
//!   "size + Hypergeometric(2τ, τ, τ)", from which [`crate::dp`]'s accountant derives τ.
//! - *Announced lengths padded.* Half goes to the matched sizes: K·T compositions within (ε/2, δ/2). Half
//!   goes to the T announced lengths, by basic composition: each is (ε/(2T), δ/(2T))-private. Basic
//!   composition again adds both halves: (ε, δ) for everything that leaves.
//!
//! # The padded length
//! A table of n entries is announced, and sent, with n + s + X of them, X from the discrete Laplace law
//! of scale 1/ε₀ truncated to −s ..= s by rejection: P(X = x) = q^|x| / Z, q = e^−ε₀,
//! Z = Σ q^|x| = (1 + q − 2·q^(s+1)) / (1 − q). The s + X fillers are never negative.
//!
//! *Claim.* For tables that differ in one entry, whose announced lengths are n + s + X and n − 1 + s + X,
//! the announcement is (ε₀, δ₀)-differentially private with δ₀ = q^s / Z, and with no smaller δ.
//! *Proof.* Rejection keeps the law's shape and divides by the same Z for every n. The outcomes of the
//! first table are n ..= n + 2s, of the second n − 1 ..= n − 1 + 2s. On the outcomes of both, x and x + 1
//! differ by 1 in absolute value at most, so the ratio of probabilities is within e^±ε₀. What only one of
//! them can yield is one outcome, at its end, |x| = s: of probability q^s / Z. So for every set of
//! outcomes P(S) ≤ e^ε₀·P'(S) + q^s / Z, and the set of that one outcome shows that less will not do. ∎
//!
//! (Clipping to ±s, in place of rejecting, would put the whole tail's mass, q^s / ((1 + q)·…), on that one
//! outcome: 1/(1 − q) times as much.) s is the least with δ₀ ≤ δ/(2T); it grows like ln(1/δ₀)/ε₀.
//!
//! The default δ = 1/(10 N) must not be computed from a number that padding hides: s would step where N
//! does, and show it. For padded lengths N is therefore the limit `persons_max`, which is no secret; for
//! the matched sizes it is the larger of the *announced* lengths.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::dp;
use crate::psi::{self, FilteredRows};

use super::party::{Ask, AskedRows, BudgetTerms, Share, Sizes};

/// The most values that are kept: some of each (account, size class) of a server's life.
const CACHED_MAX: usize = 4096;

/// τ by compositions, bits of ε and bits of δ.
type Cache = HashMap<(u64, u64, u64), u64>;

/// What the accountant said before: it takes up to a second or two.
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// How the announced length of one query is padded: s + X fillers, X from the discrete Laplace law of
/// scale 1/ε₀ truncated to −s ..= s by rejection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadPlan {
    /// ε₀ of one query.
    pub epsilon: dp::Ratio,
    /// s: the fillers of a query on average, and half of the most.
    pub bound: u64,
}

/// What an account may spend on matched sizes: K·T compositions within (ε, δ).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SizesPlan {
    pub(super) compositions: u64,
    pub(super) epsilon: f64,
    pub(super) delta: f64,
}

impl SizesPlan {
    /// τ: the least number of dummies per column and party that keeps the plan.
    pub(super) fn dummies(&self) -> Result<u64, psi::Error> {
        let key = (self.compositions, self.epsilon.to_bits(), self.delta.to_bits());
        if let Some(tau) = CACHE.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(*tau);
        }
        let tau = dp::dummies(self.compositions, self.epsilon, self.delta)
            .map_err(|reason| psi::Error::Refused(format!("the policy's budget for sizes cannot be kept: {reason}")))?;
        let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_MAX {
            cache.clear();
        }
        cache.insert(key, tau);
        Ok(tau)
    }
}

/// The terms of one account, as far as sizes are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SizesAccount {
    pub(super) budget: BudgetTerms,
    pub(super) columns: u8,
    pub(super) padded: bool,
    pub(super) persons_max: u64,
}

impl SizesAccount {
    /// What the matched sizes may spend; `None` where sizes are exact.
    pub(super) fn plan(&self, persons_larger: u64) -> Option<SizesPlan> {
        let Sizes::Private { epsilon, delta } = self.budget.sizes else { return None };
        let delta = delta.map_or_else(|| dp::default_delta(size_class(persons_larger)), |delta| delta.to_f64());
        let part = if self.padded { 0.5 } else { 1.0 };
        Some(SizesPlan {
            compositions: self.budget.queries * u64::from(self.columns),
            epsilon: part * epsilon.to_f64(),
            delta: part * delta,
        })
    }

    fn dummies(&self, persons_larger: u64) -> Result<u64, psi::Error> {
        self.plan(persons_larger).map_or(Ok(0), |plan| plan.dummies())
    }

    fn pad_plan(&self) -> Option<PadPlan> {
        let (true, Sizes::Private { epsilon, delta }) = (self.padded, self.budget.sizes) else { return None };
        let queries = self.budget.queries;
        let delta = delta.map_or_else(|| dp::default_delta(self.persons_max), |delta| delta.to_f64());
        let (numerator, denominator) = epsilon.ratio();
        // An epsilon is at most 100 with at most 6 decimals, T at most 10^6: both fit with room to spare.
        let (numerator, denominator) = (numerator as u64, denominator as u64 * 2 * queries);
        Some(PadPlan {
            epsilon: dp::Ratio::new(u128::from(numerator), u128::from(denominator)).ok()?,
            bound: bound(numerator as f64 / denominator as f64, delta / (2.0 * queries as f64)),
        })
    }
}

impl Share {
    pub(super) fn sizes(&self) -> SizesAccount {
        SizesAccount {
            budget: self.budget.clone(),
            columns: self.columns,
            padded: self.padded_account,
            persons_max: self.persons_max,
        }
    }

    /// τ: the dummies per column and party that this share's account asks for. `persons_larger` is the
    /// larger of both announced lengths (fillers included, dummies not). 0 where sizes are exact.
    ///
    /// Takes up to a second or two for a new account or size class, then nothing.
    ///
    /// # Errors
    /// `Refused` where no possible number of dummies keeps the budget.
    pub fn dummies(&self, persons_larger: u64) -> Result<u64, psi::Error> {
        self.sizes().dummies(persons_larger)
    }

    /// How this share's announced length is padded; `None` unless `filtered_rows` is `pad`.
    pub fn pad_plan(&self) -> Option<PadPlan> {
        (self.filtered_rows == FilteredRows::Pad).then(|| self.sizes().pad_plan()).flatten()
    }
}

impl Ask {
    pub(super) fn sizes(&self) -> SizesAccount {
        SizesAccount {
            budget: self.budget.clone(),
            columns: self.identifiers,
            padded: self.rows == AskedRows::Pad,
            persons_max: self.persons_max,
        }
    }

    /// τ: the dummies per column and party that this party asks for when it asks. `persons` is its own
    /// announced length (fillers included, dummies not); the peer's is not known yet. 0 where sizes are
    /// exact.
    ///
    /// Takes up to a second or two for a new account or size class, then nothing.
    ///
    /// # Errors
    /// `Refused` where no possible number of dummies keeps the budget.
    pub fn dummies(&self, persons: u64) -> Result<u64, psi::Error> {
        self.sizes().dummies(persons)
    }

    /// How this party's announced length is padded; `None` where `rows` is `reveal`.
    pub fn pad_plan(&self) -> Option<PadPlan> {
        self.sizes().pad_plan()
    }

    /// Its terms for sizes, as the hello tells them.
    pub fn sizes_terms(&self) -> psi::SizesTerms {
        self.budget.sizes_terms(self.identifiers)
    }
}

impl BudgetTerms {
    /// Its terms for sizes, for queries of at most so many identifiers.
    pub(super) fn sizes_terms(&self, columns: u8) -> psi::SizesTerms {
        let queries = self.queries;
        match self.sizes {
            Sizes::Exact => psi::SizesTerms::Exact { queries },
            Sizes::Private { epsilon, delta } => psi::SizesTerms::Private {
                epsilon: epsilon.to_f64(),
                delta: delta.map(|delta| delta.to_f64()),
                queries,
                columns,
            },
        }
    }
}

/// A number of persons, rounded up to two significant digits: a smaller default δ by a tenth at most,
/// and so few different ones that a peer cannot keep the accountant busy with new ones.
fn size_class(persons: u64) -> u64 {
    let mut unit = 1u64;
    while persons / unit >= 100 {
        unit *= 10;
    }
    persons.div_ceil(unit).saturating_mul(unit)
}

/// The least s with q^s / Z ≤ δ₀ (the module's doc), q = e^−ε₀: found by bisection, since the left side
/// falls in s. A relative margin of 10^-9 covers the floats' rounding, to the safe side.
fn bound(epsilon: f64, delta: f64) -> u64 {
    let keeps = |s: u64| outside(epsilon, s) * (1.0 + 1e-9) <= delta;
    let mut high = 1;
    while !keeps(high) && high < 1 << 60 {
        high *= 2;
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if keeps(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// q^s / Z = q^s·(1 − q) / ((1 − q) + 2q·(1 − q^s)), without cancellation for small ε₀.
fn outside(epsilon: f64, s: u64) -> f64 {
    let one_less_q = -(-epsilon).exp_m1();
    let exponent = -epsilon * s as f64;
    exponent.exp() * one_less_q / (one_less_q + 2.0 * (-epsilon).exp() * -exponent.exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Party;
    use crate::policy::testing;
    use proptest::prelude::*;

    fn ask(rows: &str, queries: u64, sizes: &str) -> Ask {
        let text = testing::PARTIES.to_owned()
            + &format!(
                "[[ask]]\nof = [\"publisher\"]\npopulation = \"people\"\nrows = \"{rows}\"\nidentifiers = 2\n\
                 [ask.budget]\nqueries = {queries}\nsizes = {sizes}\n"
            );
        Party::parse(&text, "party.toml").unwrap().asks.remove(0)
    }

    #[test]
    fn exact_sizes_need_neither_dummies_nor_fillers() {
        let ask = ask("reveal", 10, "{ exact = true }");
        assert_eq!(ask.dummies(1000), Ok(0));
        assert_eq!(ask.pad_plan(), None);
    }

    #[test]
    fn dummies_are_those_of_the_accountant_for_all_columns_of_all_queries() {
        let open = ask("reveal", 10, "{ epsilon = 2.0, delta = 1e-6 }");
        assert_eq!(open.dummies(1).unwrap(), dp::dummies(20, 2.0, 1e-6).unwrap());
        let padded = ask("pad", 10, "{ epsilon = 2.0, delta = 1e-6 }");
        assert_eq!(padded.dummies(1).unwrap(), dp::dummies(20, 1.0, 5e-7).unwrap(), "half pays for the padding");
        let by_size = ask("reveal", 10, "{ epsilon = 2.0 }");
        assert_eq!(by_size.dummies(1000).unwrap(), dp::dummies(20, 2.0, 1e-4).unwrap());
        assert_eq!(by_size.dummies(991).unwrap(), by_size.dummies(1000).unwrap());
    }

    #[test]
    fn the_padding_does_not_depend_on_the_number_that_it_hides() {
        let plan = ask("pad", 10, "{ epsilon = 2.0 }").pad_plan().unwrap();
        // ε₀ = 2 / (2·10); δ₀ = 1 / (10·10^7) / 20, by the limit of persons.
        assert_eq!(plan.epsilon.to_string(), "1/10");
        assert_eq!(plan.bound, least_by_counting(0.1, 5e-10));
    }

    #[test]
    fn an_epsilon_that_no_dummies_can_keep_is_refused_in_words() {
        let refusal = ask("reveal", 1_000_000, "{ epsilon = 0.000001 }").dummies(10).unwrap_err().to_string();
        assert!(refusal.starts_with("the policy's budget for sizes cannot be kept: no 16777216 dummies"), "{refusal}");
    }

    #[test]
    fn size_classes_round_up_by_a_tenth_at_most() {
        assert_eq!([0, 1, 99, 100, 101, 991, 1000, 1001].map(size_class), [0, 1, 99, 100, 110, 1000, 1000, 1100]);
        for persons in [u64::MAX, u64::MAX - 1, 1 << 63] {
            assert!(size_class(persons) >= persons);
        }
    }

    /// δ₀ by adding up the whole law, from the outside in.
    fn outside_by_counting(epsilon: f64, s: u64) -> f64 {
        let mass = |x: u64| (-epsilon * x as f64).exp();
        let z: f64 = (1..=s).rev().map(|x| 2.0 * mass(x)).sum::<f64>() + 1.0;
        mass(s) / z
    }

    fn least_by_counting(epsilon: f64, delta: f64) -> u64 {
        (1..).find(|s| outside_by_counting(epsilon, *s) <= delta).unwrap()
    }

    /// The exact δ(ε₀) of the announced lengths n and n − 1, from both sides, by summing max(P − e^ε₀·P', 0).
    fn delta_by_definition(epsilon: f64, s: u64) -> f64 {
        let z: f64 = (-(s as i64)..=s as i64).map(|x| (-epsilon * x.abs() as f64).exp()).sum();
        let law = |x: i64| if x.unsigned_abs() <= s { (-epsilon * x.abs() as f64).exp() / z } else { 0.0 };
        let excess = |shift: i64| -> f64 {
            (-(s as i64) - 2..=s as i64 + 2)
                .map(|x| (law(x) - epsilon.exp() * law(x + shift) * (1.0 - 1e-12)).max(0.0))
                .sum()
        };
        excess(1).max(excess(-1))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_padded_length_keeps_its_epsilon_and_delta_by_definition(epsilon in 0.005f64..3.0, digits in 1.0f64..10.0) {
            let delta = 10f64.powf(-digits);
            let s = bound(epsilon, delta);
            // The sum gives 1e-12 of each term away to the floats' rounding, 2e-12 at most in all.
            prop_assert!(delta_by_definition(epsilon, s) <= delta * (1.0 + 1e-6) + 2e-12);
            let counted = least_by_counting(epsilon, delta);
            prop_assert!(s == counted || s == counted + 1, "{} {}", s, counted);
            if s > 1 {
                prop_assert!(outside_by_counting(epsilon, s - 1) > delta * (1.0 - 1e-8), "a smaller bound would do");
            }
        }
    }
}
