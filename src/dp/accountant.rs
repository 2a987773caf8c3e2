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

/// Least δ that is accounted for. Below it the answer would rest on masses that are not stored.
pub const DELTA_MIN: f64 = 1e-100;

/// How far above the first τ that suffices [`dummies`] makes sure that larger ones do, too.
const LARGER_CHECKED: u64 = 8;

/// A budget for sizes that cannot be kept or makes no sense. The fault is the caller's policy.
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

fn check_epsilon(epsilon: f64) -> Result<(), DpError> {
    if epsilon.is_finite() && epsilon > 0.0 {
        Ok(())
    } else {
        Err(DpError::Epsilon(epsilon))
    }
}

/// τ: how many of its 2τ common dummies per column each party must add, so that `compositions`
/// noisy sizes together are (ε, δ)-differentially private.
pub fn dummies(compositions: u64, epsilon: f64, delta: f64) -> Result<u64, DpError> {
    check_epsilon(epsilon)?;
    if !(DELTA_MIN..1.0).contains(&delta) {
        return Err(DpError::Delta(delta));
    }
    if compositions == 0 {
        return Err(DpError::NoQueries);
    }
    if compositions > COMPOSITIONS_MAX {
        return Err(DpError::TooManyCompositions(compositions));
    }
    let mut evaluator = Evaluator::new();
    let mut keeps = |tau: u64| evaluator.delta(&[(tau, compositions)], epsilon) <= delta;

    // A normal noise of variance τ/8 would need about this many; only the starting point.
    let width = (2.0 * (1.0 / delta).ln() + 2.0 * epsilon).sqrt() + 0.5;
    let guess = 8.0 * compositions as f64 * (width / epsilon).powi(2) * 0.7;
    let guess = guess.clamp(1.0, TAU_MAX as f64) as u64;

    // Bracket: `low` does not keep the budget (0 never does), `high` does.
    let (mut low, mut high) = (0, guess);
    while !keeps(high) {
        if high == TAU_MAX {
            return Err(DpError::TooManyDummies { epsilon, delta, compositions });
        }
        low = high;
        high = (high + high / 4 + 1).min(TAU_MAX);
    }
    let mut stride = (high / 4).max(1);
    while low + stride < high && low < guess.saturating_sub(stride) {
        let lower = high - stride;
        if keeps(lower) {
            high = lower;
            stride = (high / 4).max(1);
        } else {
            low = lower;
            break;
        }
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if keeps(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}
