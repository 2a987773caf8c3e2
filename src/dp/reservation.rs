//! What a query costs, who grants it, and the proof that it was paid for.
//!
//! `dp` defines the words; whoever keeps the books (the policy) implements [`Budget`], and its
//! [`Reservation`] moves by value into the session, whose release cannot be built without one.

/// What one query takes from an account: `columns` sizes, each blurred by τ dummies per party.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Charge {
    /// The peer that asks, or is asked: by its name in the policy.
    pub peer: String,
    /// The people in question: by their name in the policy. Shares of one population draw on one
    /// account.
    pub population: String,
    /// Dummies per party and column, as agreed in the hello; 0 where the policy reveals sizes
    /// exactly.
    pub tau: u64,
    /// Noisy sizes that the query releases: its identifier columns.
    pub columns: u32,
}

/// Why nothing was reserved. No message that depends on data may leave.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetRefusal {
    /// The policy knows no such account.
    #[error("no budget covers peer '{peer}' and population '{population}': add one to the policy")]
    UnknownAccount {
        /// The peer of the charge.
        peer: String,
        /// The population of the charge.
        population: String,
    },
    /// All queries of the period are used up.
    #[error(
        "the budget for peer '{peer}' and population '{population}' is used up: {queries_max} of {queries_max} queries"
    )]
    Exhausted {
        /// The peer of the charge.
        peer: String,
        /// The population of the charge.
        population: String,
        /// Queries that the budget allows in a period.
        queries_max: u64,
        /// When the account begins anew, in words; `None`: never.
        renews: Option<String>,
    },
    /// The composed privacy loss would pass what the budget allows, however few the queries.
    #[error(
        "this query would bring delta for peer '{peer}' and population '{population}' to {delta:e}, \
         over the budget's {delta_max:e}"
    )]
    Composed {
        /// The peer of the charge.
        peer: String,
        /// The population of the charge.
        population: String,
        /// Delta after this query.
        delta: f64,
        /// Delta that the budget allows.
        delta_max: f64,
        /// When the account begins anew, in words; `None`: never.
        renews: Option<String>,
    },
    /// What the account released before, under other terms, leaves nothing for this query.
    #[error("the budget for peer '{peer}' and population '{population}' cannot pay for this query: {reason}")]
    ChangedTerms {
        /// The peer of the charge.
        peer: String,
        /// The population of the charge.
        population: String,
        /// What was spent, of what.
        reason: String,
    },
    /// The session was charged before. Its name pays for one run, ever.
    #[error("session {session} was charged before")]
    Replayed {
        /// The session's name.
        session: String,
    },
    /// The books could not be written. The fault is this party's environment.
    #[error("the budget could not be recorded, so nothing was sent: {0}")]
    NotRecorded(String),
}

/// Grants reservations: the books of what every peer has cost so far.
///
/// A trait object by design: the same books serve the server and the local SQL session.
pub trait Budget: Send + Sync {
    /// Books `charge` before anything that depends on data leaves, or refuses.
    ///
    /// An implementation must make the charge as durable as it promises to *before* it returns,
    /// and must count reservations that are still open: concurrent queries cannot overspend.
    fn reserve(&self, charge: Charge) -> Result<Reservation, BudgetRefusal>;
}

/// How the keeper of the books hears what became of a reservation. Each call ends it.
pub trait Settlement: Send {
    /// The charge stays.
    fn spend(self: Box<Self>);
    /// No message left: the charge is taken back.
    fn refund(self: Box<Self>);
}

/// Proof that a charge was booked; needed by value to begin what it pays for.
///
/// It cannot be copied, and ends exactly once:
/// - [`spend`](Self::spend): the query went its way. The [`Spent`] it yields is what a release
///   asks for.
/// - [`refund`](Self::refund): nothing that depends on data has left this party. Only its caller
///   can know that; a session therefore spends *before* its first such frame.
/// - dropped (an error, a cancelled task, a panic): spent. Forgetting costs budget, never privacy.
#[must_use = "dropping a reservation spends it"]
pub struct Reservation {
    charge: Charge,
    settlement: Option<Box<dyn Settlement>>,
}

/// Proof that a charge was spent for good: what a release is built from.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a charge was spent for this"]
pub struct Spent {
    charge: Charge,
}

impl Reservation {
    /// For implementations of [`Budget`] alone: states that `charge` is on the books.
    pub fn granted(charge: Charge, settlement: Box<dyn Settlement>) -> Self {
        Self { charge, settlement: Some(settlement) }
    }

    /// What was booked.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// Makes the charge final.
    pub fn spend(mut self) -> Spent {
        if let Some(settlement) = self.settlement.take() {
            settlement.spend();
        }
        Spent { charge: self.charge.clone() }
    }

    /// Takes the charge back. Only where no message that depends on data has left.
    pub fn refund(mut self) {
        if let Some(settlement) = self.settlement.take() {
            settlement.refund();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            settlement.spend();
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("charge", &self.charge).finish_non_exhaustive()
    }
}

impl Spent {
    /// What was paid.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Counts {
        open: u64,
        spent: u64,
    }

    /// The smallest honest books: so many queries for one peer, in memory.
    struct Books {
        queries_max: u64,
        counts: Arc<Mutex<Counts>>,
    }

    struct Line(Arc<Mutex<Counts>>);

    impl Settlement for Line {
        fn spend(self: Box<Self>) {
            let mut c = self.0.lock().unwrap();
            c.open -= 1;
            c.spent += 1;
        }
        fn refund(self: Box<Self>) {
            self.0.lock().unwrap().open -= 1;
        }
    }

    impl Budget for Books {
        fn reserve(&self, charge: Charge) -> Result<Reservation, BudgetRefusal> {
            let mut c = self.counts.lock().unwrap();
            if c.open + c.spent >= self.queries_max {
                return Err(BudgetRefusal::Exhausted {
                    peer: charge.peer,
                    population: charge.population,
                    queries_max: self.queries_max,
                    renews: None,
                });
            }
            c.open += 1;
            let line = Line(Arc::clone(&self.counts));
            Ok(Reservation::granted(charge, Box::new(line)))
        }
    }

    fn charge() -> Charge {
        Charge { peer: "publisher".into(), population: "shoppers".into(), tau: 433, columns: 3 }
    }

    fn books(queries_max: u64) -> (Box<dyn Budget>, Arc<Mutex<Counts>>) {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let books = Books { queries_max, counts: Arc::clone(&counts) };
        (Box::new(books), counts)
    }

    #[test]
    fn an_open_reservation_counts_so_that_concurrent_queries_cannot_overspend() {
        let (books, _) = books(2);
        let first = books.reserve(charge()).unwrap();
        let second = books.reserve(charge()).unwrap();
        let refusal = books.reserve(charge()).unwrap_err();
        assert!(refusal.to_string().contains("2 of 2 queries"), "{refusal}");
        first.refund();
        let third = books.reserve(charge()).unwrap();
        assert_eq!(third.spend().charge(), &charge());
        assert_eq!(second.charge().columns, 3);
        drop(second);
        assert!(books.reserve(charge()).is_err());
    }

    #[test]
    fn dropping_spends_since_a_crash_costs_budget_and_never_privacy() {
        let (books, counts) = books(5);
        drop(books.reserve(charge()).unwrap());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = books.reserve(charge()).unwrap();
            panic!("a session dies");
        }));
        assert!(caught.is_err());
        let c = counts.lock().unwrap();
        assert_eq!((c.open, c.spent), (0, 2));
    }

    #[test]
    fn each_reservation_settles_exactly_once() {
        let (books, counts) = books(5);
        let spent = books.reserve(charge()).unwrap().spend();
        books.reserve(charge()).unwrap().refund();
        drop(spent);
        let c = counts.lock().unwrap();
        assert_eq!((c.open, c.spent), (0, 1));
    }
}
