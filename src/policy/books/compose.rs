//! Whether one more query fits: what an account released in a period, composed.
//!
//! Queries, matched sizes, results and announced lengths each have their part of the budget, and each has to hold. As
//! long as a policy stays as it is, the number of queries bounds the last two. It may be edited within a period, and
//! then each query counts by what it used when it ran, not by what the new text would have given it.

use std::collections::BTreeMap;

use num_bigint::BigUint;

use super::super::party::{BudgetTerms, Sizes};
use super::super::sizes::{SizesAccount, SizesPlan};
use crate::dp::{Composition, DpError, default_delta};

/// What one query uses of the budget for results, as the audit records it: `exact`, `epsilon NUM/DEN`, `rho NUM/DEN`.
fn outputs_per_query(terms: &BudgetTerms) -> String {
    terms.outputs_per_query().to_string()
}

/// The terms of one account.
#[derive(Debug, Clone)]
pub(super) struct Book {
    pub(super) sizes: SizesAccount,
    pub(super) outputs: String,
    /// What one query uses for its announced length: `none`, or `NUM/DEN DELTA`.
    pub(super) padding: String,
    /// Which lines of the policy would allow more.
    pub(super) more: Option<String>,
}

/// Why a query does not fit.
#[derive(Debug, PartialEq)]
pub(super) enum Unfit {
    Queries,
    Delta { delta: f64, delta_max: f64 },
    Terms(String),
}

/// What an account released in one period: queries that were charged and not refunded, by what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) groups: BTreeMap<Cost, Released>,
}

/// What each query of a group cost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// The τ that it was booked at.
    pub(super) tau: u64,
    pub(super) outputs: String,
    pub(super) padding: String,
}

/// The queries of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) queries: u64,
    pub(super) columns: u64,
    /// The largest number that a default δ was computed from.
    pub(super) persons_larger: u64,
}

impl History {
    pub(super) fn queries(&self) -> u64 {
        self.groups.values().map(|group| group.queries).sum()
    }

    pub(super) fn columns(&self) -> u64 {
        self.groups.values().map(|group| group.columns).sum()
    }

    pub(super) fn add(&mut self, cost: Cost, columns: u64, persons_larger: u64) {
        let group = self.groups.entry(cost).or_default();
        group.queries += 1;
        group.columns += columns;
        group.persons_larger = group.persons_larger.max(persons_larger);
    }

    /// δ at ε of all sizes released so far.
    pub(super) fn delta(&self, epsilon: f64) -> Result<f64, DpError> {
        let mut sizes = Composition::new();
        for (cost, group) in &self.groups {
            sizes.add(cost.tau, group.columns)?;
        }
        sizes.delta(epsilon)
    }

    /// (ε₀, δ₀) of the announced lengths that were padded so far, each with the queries that had it.
    ///
    /// # Errors
    /// The sentence about a cost that cannot be read.
    fn padded(&self) -> Result<Vec<(Fraction, f64, u64)>, String> {
        let costs = self.by(|cost| &cost.padding).into_iter();
        // An account that did not pad hid its length, or showed it, as the policy then said in words.
        costs
            .filter(|(text, _)| *text != NO_PADDING)
            .map(|(text, queries)| {
                let (epsilon, delta) = read_padding(text).ok_or_else(|| unreadable(text))?;
                Ok((epsilon, delta, queries))
            })
            .collect()
    }

    /// The queries by one of their costs.
    fn by<'a>(&'a self, cost: impl Fn(&'a Cost) -> &'a str) -> BTreeMap<&'a str, u64> {
        let mut queries = BTreeMap::new();
        for (group, released) in &self.groups {
            *queries.entry(cost(group)).or_insert(0) += released.queries;
        }
        queries
    }
}

impl Book {
    pub(super) fn new(sizes: SizesAccount) -> Self {
        let (outputs, padding) = (outputs_per_query(&sizes.budget), padding_per_query(&sizes));
        Book { sizes, outputs, padding, more: None }
    }

    /// What the matched sizes may spend, by the largest number of persons of all queries of the period and, if there is
    /// one, the next: the default δ falls with it, and the strictest holds for all. `None` where sizes are exact,
    /// and without any query.
    ///
    /// What lengths that were padded have spent stays spent, also under a policy that pads no more: such a policy would
    /// else have all of (ε, δ) for the matched sizes.
    pub(super) fn plan(&self, history: &History, next: Option<u64>) -> Option<SizesPlan> {
        let before = history.groups.values().map(|group| group.persons_larger).max();
        let mut plan = self.sizes.plan(before.into_iter().chain(next).max()?)?;
        if !self.sizes.padded {
            match history.padded() {
                Ok(padded) => {
                    for (epsilon, delta, queries) in padded {
                        // Rounded up: floats may be off by their last digits.
                        let queries = queries as f64 * (1.0 + 1e-9);
                        plan.epsilon -= epsilon.to_f64() * queries;
                        plan.delta -= delta * queries;
                    }
                }
                // What cannot be counted may have been all there is.
                Err(_) => (plan.epsilon, plan.delta) = (0.0, 0.0),
            }
            (plan.epsilon, plan.delta) = (plan.epsilon.max(0.0), plan.delta.max(0.0));
        }
        Some(plan)
    }

    /// Whether one more query fits, and the τ that it is booked at.
    pub(super) fn price(&self, history: &History, tau: u64, columns: u64, persons: u64) -> Result<u64, Unfit> {
        let queries_max = self.sizes.budget.queries;
        if history.queries() >= queries_max {
            return Err(Unfit::Queries);
        }
        self.outputs_fit(history, queries_max)
            .and_then(|()| self.padding_fits(history, queries_max))
            .map_err(Unfit::Terms)?;
        let Some(plan) = self.plan(history, Some(persons)) else { return Ok(tau) };
        // A budget that no dummies keep plans none; the composition then refuses every query.
        let tau = booked(tau, plan.dummies().unwrap_or(0));
        let mut after = history.clone();
        after.add(Cost { tau, outputs: String::new(), padding: String::new() }, columns, persons);
        // More than can be composed promises nothing.
        let delta = after.delta(plan.epsilon).unwrap_or(1.0);
        if delta > plan.delta { Err(Unfit::Delta { delta, delta_max: plan.delta }) } else { Ok(tau) }
    }

    fn outputs_fit(&self, history: &History, queries_max: u64) -> Result<(), String> {
        let Some(next) = Spent::read(&self.outputs) else { return Err(unreadable(&self.outputs)) };
        let Some(each) = next.part else { return Ok(()) };
        let mut sum = Fraction::zero();
        for (text, queries) in history.by(|cost| &cost.outputs) {
            let Some(before) = Spent::read(text) else { return Err(unreadable(text)) };
            let Some(part) = before.part else {
                return Err("the account has released exact results, which no budget for results can make undone; \
                            another `population` begins another account"
                    .to_owned());
            };
            let part = match (before.rho, next.rho) {
                (false, true) => part.half_square(),
                (true, false) => {
                    return Err(
                        "the account has released results under a Gaussian budget, which a Laplace one cannot count"
                            .to_owned(),
                    );
                }
                _ => part,
            };
            sum = sum.plus(&part.times(queries));
        }
        if sum.plus(&each).at_most(&each.times(queries_max)) { Ok(()) } else { Err(changed("results")) }
    }

    fn padding_fits(&self, history: &History, queries_max: u64) -> Result<(), String> {
        let Some((each, each_delta)) = read_padding(&self.padding) else { return Ok(()) };
        let (mut sum, mut delta) = (Fraction::zero(), 0.0);
        for (part, part_delta, queries) in history.padded()? {
            sum = sum.plus(&part.times(queries));
            delta += part_delta * queries as f64;
        }
        // Floats may be off by their rounding.
        let fits = delta + each_delta <= each_delta * queries_max as f64 * (1.0 + 1e-9);
        if fits && sum.plus(&each).at_most(&each.times(queries_max)) {
            Ok(())
        } else {
            Err(changed("announced lengths"))
        }
    }
}

fn changed(what: &str) -> String {
    format!(
        "earlier queries, which ran under other terms, have used up what the present ones allow for {what}; \
         its owner would have to allow a larger epsilon, not only more queries"
    )
}

fn unreadable(text: &str) -> String {
    format!("this program cannot count '{}', which an earlier query used", super::super::names::shown(text))
}

const NO_PADDING: &str = "none";

/// (ε₀, δ₀) = (ε/2T, δ/2T): see the document of `sizes`.
fn padding_per_query(account: &SizesAccount) -> String {
    let (true, Sizes::Private { epsilon, delta }) = (account.padded, account.budget.sizes) else {
        return NO_PADDING.to_owned();
    };
    let parts = 2 * account.budget.queries;
    let (numerator, denominator) = epsilon.ratio();
    let delta = delta.map_or_else(|| default_delta(account.persons_max), |delta| delta.to_f64());
    format!("{numerator}/{} {:e}", denominator * u128::from(parts), delta / parts as f64)
}

fn read_padding(text: &str) -> Option<(Fraction, f64)> {
    let (epsilon, delta) = text.split_once(' ')?;
    Some((Fraction::read(epsilon)?, delta.parse().ok()?))
}

/// What one query used of the budget for results.
struct Spent {
    /// `None`: exact results.
    part: Option<Fraction>,
    rho: bool,
}

impl Spent {
    fn read(text: &str) -> Option<Spent> {
        if text == "exact" {
            return Some(Spent { part: None, rho: false });
        }
        let (kind, part) = text.split_once(' ')?;
        let rho = match kind {
            "epsilon" => false,
            "rho" => true,
            _ => return None,
        };
        Some(Spent { part: Some(Fraction::read(part)?), rho })
    }
}

/// A non-negative fraction. Never shortened: a sum has as many terms as a policy had versions.
#[derive(Clone)]
struct Fraction {
    numerator: BigUint,
    denominator: BigUint,
}

impl Fraction {
    /// The nearest float.
    fn to_f64(&self) -> f64 {
        // A number in decimal digits is read correctly rounded, and an impossible one as infinite.
        let float = |number: &BigUint| number.to_string().parse().unwrap_or(f64::INFINITY);
        float(&self.numerator) / float(&self.denominator)
    }

    fn zero() -> Self {
        Fraction { numerator: BigUint::ZERO, denominator: BigUint::from(1u8) }
    }

    fn read(text: &str) -> Option<Self> {
        let (numerator, denominator) = text.split_once('/')?;
        let digits = |text: &str| BigUint::parse_bytes(text.as_bytes(), 10);
        let (numerator, denominator) = (digits(numerator)?, digits(denominator)?);
        (denominator != BigUint::ZERO).then_some(Fraction { numerator, denominator })
    }

    fn plus(&self, other: &Self) -> Self {
        Fraction {
            numerator: &self.numerator * &other.denominator + &other.numerator * &self.denominator,
            denominator: &self.denominator * &other.denominator,
        }
    }

    fn times(&self, count: u64) -> Self {
        Fraction { numerator: &self.numerator * count, denominator: self.denominator.clone() }
    }

    /// ε-differential privacy is ε²/2-concentrated [Bun and Steinke 2016, proposition 1.4].
    fn half_square(&self) -> Self {
        Fraction {
            numerator: &self.numerator * &self.numerator,
            denominator: &self.denominator * &self.denominator * 2u8,
        }
    }

    fn at_most(&self, other: &Self) -> bool {
        &self.numerator * &other.denominator <= &other.numerator * &self.denominator
    }
}

/// The τ that a query is booked at: at most its real one, which costs more and so is safe. Above the
/// planned τ only every fourth root of two counts, so that a peer that asks for a new number of dummies
/// each time does not make the books slow.
fn booked(tau: u64, planned: u64) -> u64 {
    if tau <= planned || planned == 0 {
        return tau;
    }
    let steps = (4.0 * (tau as f64 / planned as f64).log2()).floor();
    // Rounding of floats must not lift it above the real one.
    ((planned as f64 * (steps / 4.0).exp2()).floor() as u64).clamp(planned, tau)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Party, testing};

    fn book(rows: &str, queries: u64, sizes: &str, outputs: &str) -> Book {
        let text = testing::PARTIES.to_owned()
            + &format!(
                "[[ask]]\nof = [\"publisher\"]\npopulation = \"people\"\nrows = \"{rows}\"\nidentifiers = 2\n\
                 [ask.budget]\nqueries = {queries}\nsizes = {sizes}\n"
            );
        let ask = Party::parse(&text, "party.toml").unwrap().asks.remove(0);
        Book { outputs: outputs.to_owned(), ..Book::new(ask.sizes()) }
    }

    fn history(cost: &Book, tau: u64, queries: u64) -> History {
        let mut history = History::default();
        for _ in 0..queries {
            history.add(Cost { tau, outputs: cost.outputs.clone(), padding: cost.padding.clone() }, 2, 1000);
        }
        history
    }

    fn fits(book: &Book, history: &History) -> Result<u64, Unfit> {
        book.price(history, 0, 2, 1000)
    }

    const EXACT: &str = "{ exact = true }";

    #[test]
    fn more_queries_of_the_same_epsilon_do_not_renew_it() {
        let before = book("reveal", 10, EXACT, "epsilon 4/10");
        assert_eq!(fits(&before, &history(&before, 0, 9)), Ok(0));
        assert_eq!(fits(&before, &history(&before, 0, 10)), Err(Unfit::Queries));
        // 10 of 20 queries at a tenth each have used it all.
        let after = book("reveal", 20, EXACT, "epsilon 4/20");
        assert!(matches!(fits(&after, &history(&before, 0, 10)), Err(Unfit::Terms(_))));
        assert_eq!(fits(&after, &history(&before, 0, 9)), Ok(0), "2/20 are left for the next of 1/20");
        // With twice the epsilon there is as much left as was used.
        let larger = book("reveal", 20, EXACT, "epsilon 8/20");
        assert_eq!(fits(&larger, &history(&before, 0, 10)), Ok(0));
    }

    #[test]
    fn a_smaller_epsilon_counts_what_was_spent_before() {
        let before = book("reveal", 10, EXACT, "epsilon 8/10");
        let after = book("reveal", 10, EXACT, "epsilon 4/10");
        assert_eq!(fits(&after, &history(&before, 0, 4)), Ok(0));
        assert!(matches!(fits(&after, &history(&before, 0, 5)), Err(Unfit::Terms(_))));
    }

    #[test]
    fn laplace_counts_under_a_gaussian_budget_and_not_the_other_way_round() {
        let laplace = book("reveal", 10, EXACT, "epsilon 1/5");
        let gaussian = book("reveal", 10, EXACT, "rho 1/100");
        // Each was (1/5)²/2 = 2/100: 4 of them leave 2 of 10 parts, 5 leave none.
        assert_eq!(fits(&gaussian, &history(&laplace, 0, 4)), Ok(0));
        assert!(matches!(fits(&gaussian, &history(&laplace, 0, 5)), Err(Unfit::Terms(_))));
        assert!(matches!(fits(&laplace, &history(&gaussian, 0, 1)), Err(Unfit::Terms(_))));
    }

    #[test]
    fn exact_results_are_never_undone() {
        let (exact, private) = (book("reveal", 10, EXACT, "exact"), book("reveal", 10, EXACT, "epsilon 1/5"));
        assert_eq!(fits(&exact, &history(&private, 0, 3)), Ok(0));
        let refusal = fits(&private, &history(&exact, 0, 1)).unwrap_err();
        assert!(matches!(refusal, Unfit::Terms(text) if text.contains("exact results")));
    }

    #[test]
    fn padded_lengths_are_counted_by_what_they_were() {
        let sizes = "{ epsilon = 2.0, delta = 1e-6 }";
        let before = book("pad", 10, sizes, "exact");
        assert_eq!(before.padding, "2/20 5e-8");
        let tau = 1 << 20;
        let fits = |book: &Book, queries| book.price(&history(&before, tau, queries), tau, 2, 1000);
        assert_eq!(fits(&before, 9), Ok(before.price(&History::default(), tau, 2, 1000).unwrap()));
        let more = book("pad", 20, sizes, "exact");
        assert!(matches!(fits(&more, 10), Err(Unfit::Terms(text)) if text.contains("announced lengths")));
        let stricter = book("pad", 10, "{ epsilon = 2.0, delta = 2e-7 }", "exact");
        assert!(matches!(fits(&stricter, 2), Err(Unfit::Terms(_))), "delta counts, too");
    }

    #[test]
    fn a_policy_that_pads_no_more_does_not_get_back_what_padding_has_spent() {
        let sizes = "{ epsilon = 2.0, delta = 1e-6 }";
        let (before, after) = (book("pad", 10, sizes, "exact"), book("reveal", 20, sizes, "exact"));
        let tau = 1 << 20;
        let plan = |queries| after.plan(&history(&before, tau, queries), Some(1000)).unwrap();
        let (none, nine) = (after.plan(&History::default(), Some(1000)).unwrap(), plan(9));
        assert_eq!((none.epsilon, none.delta), (2.0, 1e-6));
        assert!((nine.epsilon - 1.1).abs() < 1e-6 && (nine.delta - 0.55e-6).abs() < 1e-12, "{nine:?}");
        // As many as would have spent all of it leave nothing.
        let spent = history(&before, tau, 20);
        let twice = book("reveal", 100, sizes, "exact");
        assert_eq!(twice.plan(&spent, Some(1000)).unwrap().epsilon, 0.0);
        assert!(matches!(twice.price(&spent, tau, 2, 1000), Err(Unfit::Delta { .. })));
    }
}
