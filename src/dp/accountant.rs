//! From a budget for sizes to the number of dummies that keeps it, and back.

use super::loss::Evaluator;
use std::collections::BTreeMap;

/// Most dummies per party and column; also bounds what a peer may announce. 2^24 of them are
/// already more than most tables have persons.
pub const TAU_MAX: u64 = 1 << 24;

/// Most noisy sizes that are composed (queries times columns): beyond it the error bounds of the
/// transform would begin to cost dummies.
pub const COMPOSITIONS_MAX: u64 = 1 << 24;

/// Most identifier columns of one query.
pub const COLUMNS_MAX: u32 = 8;

/// Least δ that is accounted for. Below it the bound on δ(ε) may lie orders above the truth.
pub const DELTA_MIN: f64 = 1e-50;

/// How far above its answer [`dummies`] looks for larger τ that fail, and the number of composed
/// sizes from which on it need not.
const LARGER_CHECKED: u64 = 8;
const LARGER_CHECKED_BELOW: u64 = 16;

/// A budget, for sizes or outputs, that cannot be kept or makes no sense. The fault is the caller's policy.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DpError {
    /// ε is not a positive, finite number.
    #[error("epsilon must be a positive, finite number, not {0}")]
    Epsilon(f64),
    /// δ is outside [`DELTA_MIN`] ..< 1.
    #[error("delta must be at least {DELTA_MIN:e} and below 1, not {0}")]
    Delta(f64),
    /// No queries.
    #[error("a budget must allow at least 1 query")]
    NoQueries,
    /// No identifier columns, or too many.
    #[error("identifier columns must be 1 to {COLUMNS_MAX}, not {0}")]
    Columns(u32),
    /// More noisy sizes than can be composed.
    #[error(
        "{0} noisy sizes (queries times identifier columns) are more than {COMPOSITIONS_MAX}: allow \
         fewer queries per period"
    )]
    TooManyCompositions(u64),
    /// A peer or ledger named more dummies than are allowed.
    #[error("{0} dummies per column are more than {TAU_MAX}")]
    Tau(u64),
    /// No τ up to [`TAU_MAX`] keeps the budget.
    #[error(
        "no {TAU_MAX} dummies per column keep epsilon {epsilon} and delta {delta:e} over \
         {compositions} noisy sizes: raise epsilon or delta, or allow fewer queries or columns"
    )]
    TooManyDummies {
        /// ε asked for.
        epsilon: f64,
        /// δ asked for.
        delta: f64,
        /// Queries times columns.
        compositions: u64,
    },
    /// Each query's part of an output budget would vanish.
    #[error("epsilon {epsilon} for outputs is too little for {queries} queries: raise it, or allow fewer queries")]
    OutputsTooSmall {
        /// ε asked for.
        epsilon: f64,
        /// Queries of a period.
        queries: u64,
    },
}

/// δ where the policy says nothing: 1/(10·N), N the persons of the larger table (at least 1).
pub fn default_delta(larger_rows: u64) -> f64 {
    1.0 / (10.0 * larger_rows.max(1) as f64)
}

/// A history of noisy sizes: how many were released at each τ, in whatever order.
///
/// What a ledger keeps and composes. Histories are added by [`compose`](Self::compose), which is
/// exact; δ is computed from the whole, so that no error builds up over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Composition {
    sizes: BTreeMap<u64, u64>,
}

impl Composition {
    /// Nothing released yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `count` sizes at τ: what one query with so many columns releases.
    ///
    /// τ = 0 stands for sizes revealed exactly, after which δ is 1.
    pub fn of(tau: u64, count: u64) -> Result<Self, DpError> {
        let mut history = Self::new();
        history.add(tau, count)?;
        Ok(history)
    }

    /// Adds `count` sizes at τ. On an error nothing is added.
    pub fn add(&mut self, tau: u64, count: u64) -> Result<(), DpError> {
        if tau > TAU_MAX {
            return Err(DpError::Tau(tau));
        }
        let total = self.count().saturating_add(count);
        if total > COMPOSITIONS_MAX {
            return Err(DpError::TooManyCompositions(total));
        }
        if count > 0 {
            *self.sizes.entry(tau).or_insert(0) += count;
        }
        Ok(())
    }

    /// Adds another history. On an error nothing is added.
    pub fn compose(&mut self, other: &Self) -> Result<(), DpError> {
        let total = self.count().saturating_add(other.count());
        if total > COMPOSITIONS_MAX {
            return Err(DpError::TooManyCompositions(total));
        }
        for (tau, count) in &other.sizes {
            *self.sizes.entry(*tau).or_insert(0) += count;
        }
        Ok(())
    }

    /// Noisy sizes released so far.
    pub fn count(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// The least δ for which all of it together is (ε, δ)-differentially private, rounded up:
    /// over neighbours, in both directions, with queries chosen by earlier answers.
    ///
    /// Costs one transform per distinct τ: milliseconds each.
    pub fn delta(&self, epsilon: f64) -> Result<f64, DpError> {
        check_epsilon(epsilon)?;
        let parts: Vec<(u64, u64)> = self.sizes.iter().map(|(t, n)| (*t, *n)).collect();
        Ok(Evaluator::new().delta(&parts, epsilon))
    }
}

/// δ(ε) of `compositions` noisy sizes at τ, rounded up: see [`Composition::delta`].
pub fn delta_of(tau: u64, compositions: u64, epsilon: f64) -> Result<f64, DpError> {
    Composition::of(tau, compositions)?.delta(epsilon)
}

/// τ: how many of its 2τ common dummies per column each party must add, so that `compositions`
/// noisy sizes (queries times columns) together are (ε, δ)-differentially private; the least that
/// does.
///
/// More dummies are not always better: the noise sits on whole numbers, and for a single size an
/// outcome just beyond ε may become likelier with one more dummy (one size, ε = 6: δ is 7e-12 at
/// τ = 20 and ten times that at τ = 21). The session uses the larger of both parties' τ, so the
/// answer here is the least τ from which on the next 8 keep the budget, too; rises were never seen
/// to reach further than 4, and from two sizes on they are gone but for τ ≤ 2 (both tested).
/// [`SizesTerms::kept_by`] is the check for a τ that was agreed.
pub fn dummies(compositions: u64, epsilon: f64, delta: f64) -> Result<u64, DpError> {
    check_epsilon(epsilon)?;
    check_delta(delta)?;
    if compositions == 0 {
        return Err(DpError::NoQueries);
    }
    if compositions > COMPOSITIONS_MAX {
        return Err(DpError::TooManyCompositions(compositions));
    }
    let mut evaluator = Evaluator::new();
    // ln δ(ε) over the target: positive where τ is too small, close to linear in τ.
    let mut over = |tau: u64| (evaluator.delta(&[(tau, compositions)], epsilon) / delta).ln();

    // A normal noise of variance τ/8 would need about this many; only the starting point.
    let width = (2.0 * (1.0 / delta).ln() + 2.0 * epsilon).sqrt();
    let guess = 5.0 * compositions as f64 * (width / epsilon).powi(2);
    let guess = guess.clamp(1.0, TAU_MAX as f64) as u64;

    // Bracket: `low` does not keep the budget (0 never does), `high` does.
    let mut low = (0, f64::INFINITY);
    let mut high = (guess, over(guess));
    while high.1 > 0.0 {
        if high.0 == TAU_MAX {
            return Err(DpError::TooManyDummies { epsilon, delta, compositions });
        }
        low = high;
        let next = (high.0 + high.0 / 3 + 1).min(TAU_MAX);
        high = (next, over(next));
    }
    // Interpolate, since a call costs up to a tenth of a second; every third step halves, so that
    // a bad guess cannot make it creep.
    let mut steps = 0;
    while high.0 - low.0 > 1 {
        let span = high.0 - low.0;
        let part = if steps % 3 == 2 || !low.1.is_finite() || !high.1.is_finite() {
            // Towards `high`: the starting point is rarely twice too large.
            if low.0 == 0 && steps == 0 { 0.7 } else { 0.5 }
        } else {
            low.1 / (low.1 - high.1)
        };
        let ahead = ((span as f64 * part).ceil() as u64).clamp(1, span - 1);
        let middle = (low.0 + ahead, over(low.0 + ahead));
        if middle.1 > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
        steps += 1;
    }
    let mut tau = high.0;
    if compositions < LARGER_CHECKED_BELOW {
        let mut next = tau + 1;
        while next <= (tau + LARGER_CHECKED).min(TAU_MAX) {
            if over(next) > 0.0 {
                tau = next + 1;
            }
            next += 1;
        }
        if tau > TAU_MAX {
            return Err(DpError::TooManyDummies { epsilon, delta, compositions });
        }
    }
    Ok(tau)
}

/// A budget for sizes: what a policy promises about a period's queries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizesTerms {
    epsilon: f64,
    delta: f64,
    queries: u64,
    columns: u32,
}

impl SizesTerms {
    /// `queries` queries of at most `columns` identifier columns each, together (ε, δ)-private.
    pub fn new(epsilon: f64, delta: f64, queries: u64, columns: u32) -> Result<Self, DpError> {
        check_epsilon(epsilon)?;
        check_delta(delta)?;
        if queries == 0 {
            return Err(DpError::NoQueries);
        }
        if columns == 0 || columns > COLUMNS_MAX {
            return Err(DpError::Columns(columns));
        }
        let compositions = queries.saturating_mul(u64::from(columns));
        if compositions > COMPOSITIONS_MAX {
            return Err(DpError::TooManyCompositions(compositions));
        }
        Ok(Self { epsilon, delta, queries, columns })
    }

    /// ε of all sizes of the period.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// δ of all sizes of the period.
    pub fn delta(&self) -> f64 {
        self.delta
    }

    /// T, the queries of the period.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// K, the identifier columns, hence noisy sizes, of a query.
    pub fn columns(&self) -> u32 {
        self.columns
    }

    /// K·T, the noisy sizes of the period.
    pub fn compositions(&self) -> u64 {
        self.queries * u64::from(self.columns)
    }

    /// The τ that these terms ask for: see [`dummies`].
    pub fn tau(&self) -> Result<u64, DpError> {
        dummies(self.compositions(), self.epsilon, self.delta)
    }

    /// Whether all queries of the period at this τ keep the terms: what a party checks when the
    /// session agrees on the larger of both parties' τ.
    pub fn kept_by(&self, tau: u64) -> Result<bool, DpError> {
        Ok(delta_of(tau, self.compositions(), self.epsilon)? <= self.delta)
    }
}

fn check_epsilon(epsilon: f64) -> Result<(), DpError> {
    if epsilon.is_finite() && epsilon > 0.0 { Ok(()) } else { Err(DpError::Epsilon(epsilon)) }
}

fn check_delta(delta: f64) -> Result<(), DpError> {
    if (DELTA_MIN..1.0).contains(&delta) { Ok(()) } else { Err(DpError::Delta(delta)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// The published table; its source is in its first lines.
    const PUBLISHED: &str = include_str!("../../tests/vectors/published-dummies.csv");

    #[test]
    fn every_published_number_of_dummies_is_met_within_1_or_half_a_percent() {
        let mut rows = 0;
        for line in PUBLISHED.lines().filter(|l| !l.starts_with('#')).skip(1) {
            let cells: Vec<u64> = line.split(',').map(|c| c.parse().unwrap()).collect();
            let [ids, persons, queries, epsilon, published] = cells[..] else {
                panic!("{line}");
            };
            let columns = u32::try_from(ids).unwrap();
            let delta = default_delta(persons);
            let terms = SizesTerms::new(epsilon as f64, delta, queries, columns).unwrap();
            let tau = terms.tau().unwrap();
            let off = tau.abs_diff(published) as f64;
            assert!(off <= f64::max(1.0, 0.005 * published as f64), "{line}: {tau}");
            // The fastest of three: a busy machine must not fail it.
            let fast = (0..3).any(|_| {
                let begun = Instant::now();
                terms.tau().is_ok() && begun.elapsed() < Duration::from_secs(2)
            });
            assert!(fast, "{line}");
            assert!(terms.kept_by(tau).unwrap() && !terms.kept_by(tau - 1).unwrap(), "{line}");
            rows += 1;
        }
        assert_eq!(rows, 80);
    }

    #[test]
    fn the_answer_is_the_least_by_trying_all() {
        for compositions in [1_u64, 2, 3, 8, 30] {
            for (epsilon, delta) in [(0.7, 1e-2), (2.0, 1e-5), (6.0, 1e-7), (8.0, 1e-12)] {
                let tau = dummies(compositions, epsilon, delta).unwrap();
                let keeps = |t: u64| delta_of(t, compositions, epsilon).unwrap() <= delta;
                let least = (1..).find(|t| (*t..t + 9).all(keeps)).unwrap();
                assert_eq!(tau, least, "{compositions} {epsilon} {delta:e}");
            }
        }
    }

    #[test]
    fn larger_tau_keep_what_a_smaller_one_keeps_but_for_short_rises() {
        // The session uses the larger τ of two parties: how far this could go wrong, by trying.
        let mut rises_of_one = 0;
        for compositions in [1_u64, 2, 3, 5, 15] {
            for epsilon in [0.01, 0.1, 0.3, 1.0, 2.0, 4.0, 6.0, 8.0] {
                let delta: Vec<f64> =
                    (1..60).map(|t| delta_of(t, compositions, epsilon).unwrap()).take_while(|d| *d > 1e-30).collect();
                for (i, d) in delta.iter().enumerate() {
                    let further = delta[i..].iter().rposition(|e| *e > d * (1.0 + 1e-5));
                    let further = further.unwrap_or(0) as u64;
                    assert!(further <= LARGER_CHECKED / 2, "{compositions} {epsilon} {i}");
                    if compositions == 1 {
                        rises_of_one += u64::from(further > 0);
                    } else {
                        assert!(further == 0 || i == 0, "{compositions} {epsilon} {i}");
                    }
                }
            }
        }
        assert!(rises_of_one > 0, "the check above would be needless");
        // The example of the docs.
        let (twenty, next) = (delta_of(20, 1, 6.0).unwrap(), delta_of(21, 1, 6.0).unwrap());
        assert!(next > 5.0 * twenty && twenty > 1e-13, "{twenty:e} {next:e}");
    }

    #[test]
    fn a_history_adds_up_however_it_came_about() {
        let mut whole = Composition::new();
        let mut part = Composition::of(120, 3).unwrap();
        part.add(40, 1).unwrap();
        whole.compose(&part).unwrap();
        whole.compose(&Composition::of(120, 2).unwrap()).unwrap();
        let mut other = Composition::of(40, 1).unwrap();
        other.add(120, 5).unwrap();
        assert_eq!(whole, other);
        assert_eq!(whole.count(), 6);
        // Between all at the larger and all at the smaller τ, and more than either part.
        let delta = whole.delta(1.0).unwrap();
        assert!(delta > delta_of(120, 6, 1.0).unwrap());
        assert!(delta < delta_of(40, 6, 1.0).unwrap());
        assert!(delta > part.delta(1.0).unwrap());
        assert_eq!(Composition::new().delta(1.0), Ok(0.0));
        // Exact sizes once: no promise is left.
        whole.add(0, 1).unwrap();
        assert_eq!(whole.delta(1.0), Ok(1.0));
    }

    #[test]
    fn limits_hold_at_the_bound_and_not_one_past() {
        assert!(Composition::of(TAU_MAX, 1).is_ok());
        assert_eq!(Composition::of(TAU_MAX + 1, 1), Err(DpError::Tau(TAU_MAX + 1)));
        let mut full = Composition::of(9, COMPOSITIONS_MAX).unwrap();
        let past = DpError::TooManyCompositions(COMPOSITIONS_MAX + 1);
        assert_eq!(full.add(9, 1), Err(past.clone()));
        assert_eq!(full.compose(&Composition::of(8, 1).unwrap()), Err(past.clone()));
        assert_eq!(full.count(), COMPOSITIONS_MAX);
        assert!(full.add(9, u64::MAX).is_err());
        assert_eq!(dummies(COMPOSITIONS_MAX + 1, 1.0, 0.1), Err(past));
        assert_eq!(dummies(0, 1.0, 0.1), Err(DpError::NoQueries));
        for epsilon in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(matches!(dummies(1, epsilon, 0.1), Err(DpError::Epsilon(_))));
            assert!(matches!(delta_of(5, 1, epsilon), Err(DpError::Epsilon(_))));
        }
        for delta in [0.0, 1.0, -0.1, f64::NAN, DELTA_MIN / 2.0] {
            assert!(matches!(dummies(1, 1.0, delta), Err(DpError::Delta(_))));
        }
        assert!(dummies(1, 8.0, DELTA_MIN).is_ok());
        assert_eq!(SizesTerms::new(1.0, 0.1, 1, 0), Err(DpError::Columns(0)));
        assert_eq!(SizesTerms::new(1.0, 0.1, 1, 9), Err(DpError::Columns(9)));
        assert_eq!(SizesTerms::new(1.0, 0.1, 0, 1), Err(DpError::NoQueries));
        let most = COMPOSITIONS_MAX / 8;
        assert!(SizesTerms::new(1.0, 0.1, most, 8).is_ok());
        assert!(SizesTerms::new(1.0, 0.1, most + 1, 8).is_err());
        assert!(SizesTerms::new(1.0, 0.1, u64::MAX, 8).is_err());
    }

    #[test]
    fn extreme_budgets_end_soon_with_an_answer_or_a_reason() {
        // Some three seconds; without the limits, hours.
        let begun = Instant::now();
        for (n, epsilon, delta) in [(8, 1e-9, 1e-7), (8, f64::MIN_POSITIVE, 1e-7), (COMPOSITIONS_MAX, 1.0, 1e-7)] {
            let refused = dummies(n, epsilon, delta).unwrap_err();
            assert!(matches!(refused, DpError::TooManyDummies { .. }), "{refused}");
        }
        assert_eq!(dummies(1, 1e300, 0.6), Ok(1));
        assert_eq!(dummies(1, 0.1, 0.999), Ok(1));
        let large = dummies(1_000_000, 8.0, 1e-9).unwrap();
        assert!(large > 1_000_000 && large < TAU_MAX, "{large}");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn default_delta_is_a_tenth_of_a_person() {
        assert_eq!(default_delta(1000), 1e-4);
        assert_eq!(default_delta(0), 0.1);
    }
}
