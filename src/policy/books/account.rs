//! Accounts: what is left of one, and how a query is charged to it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::super::party::BudgetTerms;
use super::audit::{self, Asked, Event, number};
use super::clock::{millis, shown};
use super::compose::{Book, Cost, History, Released, Unfit};
use super::error::{Trouble, budget_refused, refused_with_more};
use super::ledger::{Step, locked};
use super::period::{Period, Span, span};
use super::{Books, Budgets};
use crate::dp::{Budget, BudgetRefusal, Charge, Reservation, Settlement};
use crate::psi::{self, SessionId};

/// How often a charge is computed anew, because another came in between, before it is computed with the others waiting.
const TRIES_MAX: usize = 4;

/// Which way the questions of an account go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer asks, by a `[[share]]`.
    Answering,
    /// This party asks, by an `[[ask]]`.
    Asking,
}

impl Direction {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Answering => "answering",
            Direction::Asking => "asking",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Direction::Answering, Direction::Asking].into_iter().find(|direction| direction.name() == name)
    }
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

/// An account's balance, in the present period.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Which account.
    pub account: Account,
    /// The policy's terms.
    pub terms: BudgetTerms,
    /// What one query may use of the budget for results: `exact`, `epsilon NUM/DEN` or `rho NUM/DEN`.
    pub outputs: String,
    /// Queries that are charged and run, or whose process is gone. They count like those that are spent.
    pub open: u64,
    /// Queries that have been paid.
    pub spent: u64,
    /// Queries that the number alone still allows; what was composed may end the account earlier.
    pub queries_left: u64,
    /// Noisy sizes that these queries released, or may yet.
    pub columns: u64,
    /// The delta that the account is held to for its matched sizes; `None` before its first query, and
    /// where sizes are exact.
    pub delta_max: Option<f64>,
    /// The delta of all its matched sizes so far, at the epsilon for them.
    pub delta: Option<f64>,
    /// When the account begins anew.
    pub period: Period,
    /// When the present period began; `None`: with the ledger.
    pub period_start: Option<DateTime<Utc>>,
    /// When the next one begins; `None`: never.
    pub period_end: Option<DateTime<Utc>>,
}

/// One account, at a known size of tables: what a query reserves from.
#[derive(Debug, Clone)]
pub struct OpenAccount {
    books: Arc<Books>,
    account: Account,
    persons_larger: u64,
}

/// An account and the session that is to be charged to it.
#[derive(Debug, Clone)]
pub struct AskedAccount {
    account: OpenAccount,
    asked: Asked,
}

/// What an account's rows say at one moment.
#[derive(PartialEq)]
struct Seen {
    span: Span,
    history: History,
    open: u64,
}

impl Budgets {
    /// The account, for a query whose larger announced length is `persons_larger` (one's own, where the
    /// other is not known yet).
    ///
    /// # Errors
    /// `Refused` where the policy has no such account.
    pub fn open(&self, account: &Account, persons_larger: u64) -> Result<OpenAccount, psi::Error> {
        let books = Arc::clone(&self.books);
        if !books.accounts.contains_key(account) {
            return Err(budget_refused(unknown(&account.peer, &account.population)));
        }
        Ok(OpenAccount { books, account: account.clone(), persons_larger })
    }

    /// Every account's balance, in the order of peers and populations.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn balances(&self) -> Result<Vec<Balance>, psi::Error> {
        let mut accounts: Vec<&Account> = self.books.accounts.keys().collect();
        accounts.sort();
        accounts.into_iter().map(|account| self.open(account, 0)?.balance()).collect()
    }
}

fn unknown(peer: &str, population: &str) -> BudgetRefusal {
    BudgetRefusal::UnknownAccount { peer: peer.to_owned(), population: population.to_owned() }
}

/// Reads an account's present period.
fn look(books: &Books, account: &Account, period: Period, connection: &Connection) -> Result<Seen, Trouble> {
    let span = span(period, books.ledger.now(connection)?);
    let from = span.start.map_or(i64::MIN, millis);
    let to = span.end.map_or(i64::MAX, millis);
    let Account { peer, population, direction } = account;
    let values = params![peer, population, direction.name(), from, to];
    let mut history = History::default();
    let mut statement = connection.prepare(
        "SELECT tau_booked, outputs, padding, count(*), sum(columns), max(persons_larger) FROM audit AS charged \
         WHERE event = 'charged' AND peer = ?1 AND population = ?2 AND direction = ?3 AND at_ms >= ?4 AND at_ms < ?5 \
         AND NOT EXISTS \
         (SELECT 1 FROM audit AS refunded WHERE refunded.session = charged.session AND refunded.event = 'refunded') \
         GROUP BY tau_booked, outputs, padding",
    )?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        let count = |column: usize| row.get::<_, i64>(column).map(|count| count.max(0) as u64);
        let cost = Cost { tau: count(0)?, outputs: row.get(1)?, padding: row.get(2)? };
        let released = Released { queries: count(3)?, columns: count(4)?, persons_larger: count(5)? };
        history.groups.insert(cost, released);
    }
    let open: i64 = connection
        .prepare(
            "SELECT count(*) FROM running CROSS JOIN audit AS charged ON charged.session = running.session \
             WHERE state = 'open' AND event = 'charged' AND peer = ?1 AND population = ?2 AND direction = ?3 \
             AND at_ms >= ?4 AND at_ms < ?5",
        )?
        .query_row(values, |row| row.get(0))?;
    Ok(Seen { span, history, open: open.max(0) as u64 })
}

impl OpenAccount {
    fn book(&self) -> Result<&Book, BudgetRefusal> {
        self.books.accounts.get(&self.account).ok_or_else(|| unknown(&self.account.peer, &self.account.population))
    }

    fn seen(&self, book: &Book) -> Result<Seen, Trouble> {
        let period = book.sizes.budget.period;
        self.books.ledger.read(|connection| look(&self.books, &self.account, period, connection))
    }

    fn worded<T>(&self, result: Result<T, Trouble>) -> Result<T, psi::Error> {
        result.map_err(|trouble| trouble.in_session(&self.books.ledger.place()))
    }

    /// τ for this account: the dummies per column and party that its next query has to use at least.
    /// 0 where sizes are exact.
    ///
    /// # Errors
    /// `Refused` where no possible number of dummies keeps the budget. `Environment`: the ledger could not be read.
    pub fn dummies(&self) -> Result<u64, psi::Error> {
        let book = self.book().map_err(budget_refused)?;
        let seen = self.worded(self.seen(book))?;
        book.plan(&seen.history, Some(self.persons_larger)).map_or(Ok(0), |plan| plan.dummies())
    }

    /// The account's balance.
    ///
    /// # Errors
    /// `Environment`: the ledger could not be read.
    pub fn balance(&self) -> Result<Balance, psi::Error> {
        let book = self.book().map_err(budget_refused)?;
        let Seen { span, history, open } = self.worded(self.seen(book))?;
        let plan = book.plan(&history, None);
        let queries = history.queries();
        Ok(Balance {
            account: self.account.clone(),
            terms: book.sizes.budget.clone(),
            outputs: book.outputs.clone(),
            open,
            spent: queries.saturating_sub(open),
            queries_left: book.sizes.budget.queries.saturating_sub(queries),
            columns: history.columns(),
            delta_max: plan.map(|plan| plan.delta),
            delta: plan.and_then(|plan| history.delta(plan.epsilon).ok()),
            period: book.sizes.budget.period,
            period_start: span.start,
            period_end: span.end,
        })
    }

    /// Refuses where no query is left, as a charge would: to be asked before work that would be in vain. Charges nothing.
    ///
    /// # Errors
    /// `Refused`. `Environment`: the ledger could not be read.
    pub fn check_left(&self) -> Result<(), psi::Error> {
        let book = self.book().map_err(budget_refused)?;
        let Seen { span, history, .. } = self.worded(self.seen(book))?;
        if history.queries() >= book.sizes.budget.queries {
            return Err(self.unpaid(self.refusal(book, &span, Unfit::Queries)));
        }
        Ok(())
    }

    /// Books a query of so many identifiers with `tau` dummies per column and party, and writes it into the audit: one
    /// transaction, on the disk before this returns.
    ///
    /// # Errors
    /// `Refused` where the account is used up, or its history would pass its (ε, δ). `Peer` where the session was charged
    /// before. `Environment` where it could not be written; nothing may leave then, and whether the budget
    /// was charged or not, it was wholly one of them.
    pub fn charge(&self, tau: u64, columns: u32, asked: &Asked) -> Result<Reservation, psi::Error> {
        let Account { peer, population, direction } = self.account.clone();
        let charge = Charge { peer, population, tau, columns };
        self.asked(asked.clone()).reserve(charge).map_err(|refusal| match refusal {
            // A session that this party asks for has a name of this party's own choosing.
            BudgetRefusal::Replayed { .. } if direction == Direction::Asking => psi::Error::internal(refusal),
            refusal => self.unpaid(refusal),
        })
    }

    /// A refused charge as the session's error. The lines of the policy that would allow more are for their owner: in the
    /// error where this party asks, in the log where a peer does.
    fn unpaid(&self, refusal: BudgetRefusal) -> psi::Error {
        let more = self.books.accounts.get(&self.account).and_then(|book| book.more.as_deref());
        let owner = refused_with_more(refusal.clone(), more);
        if self.account.direction == Direction::Asking {
            return owner;
        }
        if let psi::Error::Refused(owner) = &owner {
            tracing::warn!(peer = self.account.peer, "refused: {owner}");
        }
        budget_refused(refusal)
    }

    /// The account as the [`Budget`] of one session.
    pub fn asked(&self, asked: Asked) -> AskedAccount {
        AskedAccount { account: self.clone(), asked }
    }

    fn refusal(&self, book: &Book, span: &Span, unfit: Unfit) -> BudgetRefusal {
        let Account { peer, population, .. } = self.account.clone();
        let renews = span.end.map(shown);
        match unfit {
            Unfit::Queries => {
                BudgetRefusal::Exhausted { peer, population, queries_max: book.sizes.budget.queries, renews }
            }
            Unfit::Delta { delta, delta_max } => BudgetRefusal::Composed { peer, population, delta, delta_max, renews },
            Unfit::Terms(reason) => BudgetRefusal::ChangedTerms { peer, population, reason },
        }
    }
}

impl AskedAccount {
    fn reserve_in(&self, book: &Book, charge: &Charge) -> Result<(), Trouble> {
        let OpenAccount { books, account, persons_larger } = &self.account;
        let period = book.sizes.budget.period;
        let columns = u64::from(charge.columns);
        let price = |seen: &Seen| {
            book.price(&seen.history, charge.tau, columns, *persons_larger)
                .map_err(|unfit| Trouble::from(self.account.refusal(book, &seen.span, unfit)))
        };
        // The accountant may take a second: it computes while others write, and what it found holds if the account
        // and the period are still the same once this has the ledger for itself.
        for turn in 1.. {
            let before = self.account.seen(book)?;
            let tau = price(&before)?;
            books.ledger.step(Step::Composed);
            let done = books.ledger.write(|change| {
                let now = look(books, account, period, change)?;
                let unchanged = now.span == before.span && now.history == before.history;
                if !unchanged && turn < TRIES_MAX {
                    return Ok(false);
                }
                let tau = if unchanged { tau } else { price(&now)? };
                self.write(change, book, charge, tau)?;
                Ok(true)
            })?;
            if done {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, change: &Transaction<'_>, book: &Book, charge: &Charge, tau: u64) -> Result<(), Trouble> {
        let OpenAccount { books, account, persons_larger } = &self.account;
        let session = self.asked.session;
        let used =
            change.prepare("SELECT 1 FROM audit WHERE session = ?1")?.query_row([session.0], |_| Ok(())).optional()?;
        if used.is_some() {
            return Err(BudgetRefusal::Replayed { session: session.to_string() }.into());
        }
        let values = [
            ("session", Value::from(session.0.to_vec())),
            ("direction", account.direction.name().to_owned().into()),
            ("population", account.population.clone().into()),
            ("question", self.asked.question.clone().into()),
            ("terms", self.asked.terms.clone().into()),
            ("persons_own", number(self.asked.persons_own)),
            ("persons_peer", self.asked.persons_peer.map_or(Value::Null, number)),
            ("persons_larger", number(*persons_larger)),
            ("tau", number(charge.tau)),
            ("tau_booked", number(tau)),
            ("columns", number(charge.columns.into())),
            ("outputs", book.outputs.clone().into()),
            ("padding", book.padding.clone().into()),
        ];
        audit::append(change, &books.ledger, &account.peer, Event::Charged, values)?;
        let instance = locked(&books.ledger.instance).id()?;
        change.execute(
            "INSERT INTO running (session, instance, state) VALUES (?1, ?2, 'open')",
            params![session.0, instance],
        )?;
        Ok(())
    }
}

impl Budget for AskedAccount {
    fn reserve(&self, charge: Charge) -> Result<Reservation, BudgetRefusal> {
        let OpenAccount { books, account, .. } = &self.account;
        if charge.peer != account.peer || charge.population != account.population {
            return Err(unknown(&charge.peer, &charge.population));
        }
        let book = self.account.book()?;
        self.reserve_in(book, &charge).map_err(|trouble| trouble.refused(&books.ledger.place()))?;
        let line = Line { books: Arc::clone(books), session: self.asked.session };
        Ok(Reservation::granted(charge, Box::new(line)))
    }
}

/// What one reservation has written into the ledger.
struct Line {
    books: Arc<Books>,
    session: SessionId,
}

impl Settlement for Line {
    /// Moves no budget: an open charge counts like a spent one. So a failure is no more than a wrong word in a balance.
    fn spend(self: Box<Self>) {
        let done = self.books.ledger.write(|change| {
            change.execute(
                "UPDATE running SET state = 'spent' WHERE session = ?1 AND state = 'open'",
                [self.session.0],
            )?;
            Ok(())
        });
        self.noted("marked as spent", done);
    }

    /// On a failure the charge stays: that costs budget, and no privacy.
    fn refund(self: Box<Self>) {
        let ledger = &self.books.ledger;
        let done = ledger.write(|change| {
            let open = change.execute(
                "UPDATE running SET state = 'refunded' WHERE session = ?1 AND state = 'open'",
                [self.session.0],
            )?;
            if open == 0 {
                // It has ended in the audit; what was said there stands.
                return Ok(());
            }
            audit::append_of_session(change, ledger, self.session, Event::Refunded, std::collections::BTreeMap::new())
        });
        self.noted("refunded", done);
    }
}

impl Line {
    fn noted(&self, what: &str, done: Result<(), Trouble>) {
        if let Err(trouble) = done {
            let error = trouble.told(&self.books.ledger.place());
            tracing::warn!(session = %self.session, "a charge could not be {what}, so it counts as open: {error}");
        }
    }
}
