//! What every peer has cost so far, in memory.
//!
//! **For the life of the process only**: these books begin empty at every start, so a restart forgets
//! what was spent. They keep every other promise of [`dp::Budget`]: reserved before anything leaves,
//! open reservations counted, refunds only where nothing left, everything else spent. Whoever needs the
//! promise across restarts has to keep the process running until the books are kept on disk.
//!
//! An account ends by its number of queries, or by what was composed, whichever comes first: each query
//! adds its (τ, columns), and the whole history has to stay within (ε, δ). The default δ = 1/(10 N) is
//! that of the largest N of all queries so far, so that a query of few people never fixes it for those of many.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dp::{self, Budget, BudgetRefusal, Charge, Composition, Reservation, Settlement};
use crate::psi;

use super::party::{BudgetTerms, Party};
use super::sizes::{SizesAccount, SizesPlan};

/// Which way the questions of an account go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer asks, by a `[[share]]`.
    Answering,
    /// This party asks, by an `[[ask]]`.
    Asking,
}

/// Names an account. Asking and answering are paid apart, as the policy states them apart; about the same
/// people, what the peer learns is the sum of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The peer's name in the policy.
    pub peer: String,
    /// The people's name in the policy.
    pub population: String,
    /// Who asks.
    pub direction: Direction,
}

impl Account {
    /// The account of the peer's questions.
    pub fn answering(peer: &str, population: &str) -> Self {
        Account { peer: peer.to_owned(), population: population.to_owned(), direction: Direction::Answering }
    }

    /// The account of this party's questions to a peer.
    pub fn asking(peer: &str, population: &str) -> Self {
        Account { peer: peer.to_owned(), population: population.to_owned(), direction: Direction::Asking }
    }
}

/// All accounts of a party. Clones are the same books.
#[derive(Debug, Clone)]
pub struct Budgets {
    books: Arc<HashMap<Account, Book>>,
}

#[derive(Debug)]
struct Book {
    terms: SizesAccount,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Queries that are reserved and neither spent nor refunded.
    open: u64,
    spent: u64,
    /// What the matched sizes may spend, the strictest of all queries so far; `None` before it, and for exact sizes.
    plan: Option<SizesPlan>,
    /// Columns by accounted τ, open and spent.
    columns: BTreeMap<u64, u64>,
}

/// An account's balance.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Which account.
    pub account: Account,
    /// The policy's terms.
    pub terms: BudgetTerms,
    /// Queries that are running.
    pub open: u64,
    /// Queries that have been paid.
    pub spent: u64,
    /// Noisy sizes that these queries released, or may yet.
    pub columns: u64,
    /// The delta that the account is held to for its matched sizes; `None` before its first query, and
    /// where sizes are exact.
    pub delta_max: Option<f64>,
    /// The delta of all its matched sizes so far, at the epsilon for them.
    pub delta: Option<f64>,
}

/// One account, at a known size of tables: what a query reserves from.
#[derive(Debug, Clone)]
pub struct OpenAccount {
    books: Arc<HashMap<Account, Book>>,
    account: Account,
    persons_larger: u64,
}

impl Budgets {
    /// Empty books with an account for each peer and population of a policy's shares and asks.
    pub fn new(party: &Party) -> Self {
        let mut books = HashMap::new();
        let mut add = |account: Account, terms: SizesAccount| {
            // Shares of one account have equal terms: the policy was refused otherwise.
            books.entry(account).or_insert(Book { terms, entries: Mutex::default() });
        };
        for share in &party.shares {
            for peer in &share.with {
                add(Account::answering(peer, &share.budget.population), share.sizes());
            }
        }
        for ask in &party.asks {
            for peer in &ask.of {
                add(Account::asking(peer, &ask.budget.population), ask.sizes());
            }
        }
        Budgets { books: Arc::new(books) }
    }

    /// The account, for a query whose larger announced length is `persons_larger` (one's own, where the
    /// other is not known yet).
    ///
    /// # Errors
    /// `Refused` where the policy has no such account.
    pub fn open(&self, account: &Account, persons_larger: u64) -> Result<OpenAccount, psi::Error> {
        if !self.books.contains_key(account) {
            return Err(budget_refused(unknown(&account.peer, &account.population)));
        }
        Ok(OpenAccount { books: Arc::clone(&self.books), account: account.clone(), persons_larger })
    }

    /// Every account's balance, in the order of peers and populations.
    pub fn balances(&self) -> Vec<Balance> {
        let mut balances: Vec<Balance> = self.books.iter().map(|(account, book)| book.balance(account)).collect();
        balances.sort_by(|a, b| a.account.cmp(&b.account));
        balances
    }
}

/// A refusal of the books as the session's error, whoever's fault it is.
pub fn budget_refused(refusal: BudgetRefusal) -> psi::Error {
    let forever = "and it does not renew: its owner would have to allow more in party.toml";
    match refusal {
        BudgetRefusal::Exhausted { peer, population, queries_max } => psi::Error::Refused(format!(
            "the budget for peer '{peer}' and population '{population}' is used up, {queries_max} of {queries_max} queries, {forever}"
        )),
        BudgetRefusal::Composed { peer, population, delta, delta_max } => psi::Error::Refused(format!(
            "the budget for peer '{peer}' and population '{population}' cannot pay for this query: it would bring delta to {delta:.2e}, \
             above {delta_max:.2e}, {forever}"
        )),
        BudgetRefusal::NotRecorded(_) => psi::Error::Environment(refusal.to_string()),
        _ => psi::Error::Refused(refusal.to_string()),
    }
}

fn unknown(peer: &str, population: &str) -> BudgetRefusal {
    BudgetRefusal::UnknownAccount { peer: peer.to_owned(), population: population.to_owned() }
}

impl Book {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics between two changes that belong together, so a poisoned book is a whole one.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn balance(&self, account: &Account) -> Balance {
        let entries = self.entries();
        Balance {
            account: account.clone(),
            terms: self.terms.budget.clone(),
            open: entries.open,
            spent: entries.spent,
            columns: entries.columns.values().sum(),
            delta_max: entries.plan.map(|plan| plan.delta),
            delta: entries.plan.and_then(|plan| composed(&entries.columns, plan.epsilon).ok()),
        }
    }
}

/// δ at ε of all sizes released so far.
fn composed(columns: &BTreeMap<u64, u64>, epsilon: f64) -> Result<f64, dp::DpError> {
    let mut history = Composition::new();
    for (tau, count) in columns {
        history.add(*tau, *count)?;
    }
    history.delta(epsilon)
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

impl OpenAccount {
    fn book(&self) -> Result<&Book, BudgetRefusal> {
        self.books.get(&self.account).ok_or_else(|| unknown(&self.account.peer, &self.account.population))
    }

    /// The plan of this query, or that of the queries so far where their δ is smaller: a first query of few people must
    /// not fix a large default δ for all that follow. The whole history is held against the smallest.
    fn stricter(&self, so_far: Option<SizesPlan>, book: &Book) -> Option<SizesPlan> {
        let own = book.terms.plan(self.persons_larger);
        match (so_far, own) {
            (Some(so_far), Some(own)) => Some(if own.delta < so_far.delta { own } else { so_far }),
            (so_far, own) => so_far.or(own),
        }
    }

    /// τ for this account: the dummies per column and party that its next query has to use at least.
    /// 0 where sizes are exact.
    ///
    /// # Errors
    /// `Refused` where no possible number of dummies keeps the budget.
    pub fn dummies(&self) -> Result<u64, psi::Error> {
        let book = self.book().map_err(budget_refused)?;
        let so_far = book.entries().plan;
        self.stricter(so_far, book).map_or(Ok(0), |plan| plan.dummies())
    }

    /// The account's balance.
    ///
    /// # Errors
    /// `Refused` where the policy has no such account.
    pub fn balance(&self) -> Result<Balance, psi::Error> {
        Ok(self.book().map_err(budget_refused)?.balance(&self.account))
    }

    /// Books a query of so many identifiers with `tau` dummies per column and party.
    ///
    /// # Errors
    /// `Refused` where the account is used up, or its history would pass its (ε, δ).
    pub fn charge(&self, tau: u64, columns: u32) -> Result<Reservation, psi::Error> {
        let Account { peer, population, .. } = self.account.clone();
        self.reserve(Charge { peer, population, tau, columns }).map_err(budget_refused)
    }
}

impl Budget for OpenAccount {
    fn reserve(&self, charge: Charge) -> Result<Reservation, BudgetRefusal> {
        let Account { peer, population, .. } = &self.account;
        if charge.peer != *peer || charge.population != *population {
            return Err(unknown(&charge.peer, &charge.population));
        }
        let book = self.book()?;
        // Computed before the lock is taken: the accountant may take a second for a new account.
        // A budget that no dummies keep plans none; the history then refuses every query.
        let planned = self.dummies().unwrap_or(0);
        let mut entries = book.entries();
        let queries_max = book.terms.budget.queries;
        if entries.open + entries.spent >= queries_max {
            return Err(BudgetRefusal::Exhausted { peer: peer.clone(), population: population.clone(), queries_max });
        }
        let plan = self.stricter(entries.plan, book);
        let tau = booked(charge.tau, planned);
        let mut columns = entries.columns.clone();
        *columns.entry(tau).or_insert(0) += u64::from(charge.columns);
        if let Some(plan) = plan {
            // More than can be composed promises nothing.
            let delta = composed(&columns, plan.epsilon).unwrap_or(1.0);
            if delta > plan.delta {
                return Err(BudgetRefusal::Composed {
                    peer: peer.clone(),
                    population: population.clone(),
                    delta,
                    delta_max: plan.delta,
                });
            }
        }
        entries.plan = plan;
        entries.columns = columns;
        entries.open += 1;
        drop(entries);
        let line = Line { account: self.clone(), tau, columns: u64::from(charge.columns) };
        Ok(Reservation::granted(charge, Box::new(line)))
    }
}

/// What one reservation has written into its book.
struct Line {
    account: OpenAccount,
    tau: u64,
    columns: u64,
}

impl Line {
    fn settle(&self, settle: impl FnOnce(&mut Entries)) {
        if let Ok(book) = self.account.book() {
            settle(&mut book.entries());
        }
    }
}

impl Settlement for Line {
    fn spend(self: Box<Self>) {
        self.settle(|entries| {
            entries.open -= 1;
            entries.spent += 1;
        });
    }

    fn refund(self: Box<Self>) {
        self.settle(|entries| {
            entries.open -= 1;
            if let Some(count) = entries.columns.get_mut(&self.tau) {
                *count -= self.columns;
                if *count == 0 {
                    entries.columns.remove(&self.tau);
                }
            }
            if entries.open + entries.spent == 0 {
                // Nothing was ever released: the next query is the first again.
                entries.plan = None;
            }
        });
    }
}
