//! What every peer has cost so far: durable, in one SQLite file, `ledger.sqlite` in the party's folder `state`.
//!
//! # Accounts
//! An account is a peer, a population and a direction (asking, answering). It ends by its number of queries, or by what
//! was composed, whichever comes first: each query adds its (τ, columns), and the whole history has to stay within
//! (ε, δ). The default δ = 1/(10 N) is that of the largest N of all queries so far. With a period, all of this is about the
//! queries of the present one.
//!
//! *Charged before anything leaves.* [`OpenAccount::charge`] is one transaction: it sees that the history is still
//! the one that was composed, that the session was never charged before, and appends the audit's row, which **is** the
//! charge. There is no second table of balances that could say something else. It is on the disk when the call returns (see
//! `schema` for how). `BEGIN IMMEDIATE` puts all processes that share the file in one order, so that `serve` and `sql`
//! together cannot overspend.
//!
//! *A charge counts from its row on*, whatever becomes of it: open, spent, dropped, its process killed. Only a
//! refund takes it out again, an event of its own, which only the session that holds the reservation can write, before anything
//! left. A killed process leaves its sessions open; the next start that finds the process gone writes their end
//! (`crashed`) into the audit. That is bookkeeping: the charge counts before and after.
//!
//! *A failed write* (full disk, read-only folder, I/O error) fails the charge, and the caller sends nothing. SQLite
//! leaves the transaction whole or absent, so in the worst case, an error that is reported after the commit reached the
//! disk, a query is paid that never ran.
//!
//! # Time
//! The ledger's time is the later of the clock and its newest event. A charge belongs to the period of the ledger's time inside
//! its transaction. So a clock that runs backwards renews nothing: with it the ledger stays in the newest period that it has seen,
//! and goes on in it. (To refuse to serve instead would protect no more, since that period's budget holds in any
//! case, and would turn each corrected clock into an outage.) A clock that runs *ahead* renews early, once: the period
//! that it has jumped into is then the present one until real time has left it. Within real periods that is at most one budget
//! too many for each jump beyond all earlier ones; whoever sets the clock of the machine is trusted that far, and every
//! row shows its time.
//!
//! # The audit and its chains
//! Every event is a row: charged, refunded, ended, and what the operator decided. Rows are chained by hash, **one chain per
//! peer**, so that a chain's length tells a peer nothing about others. [`Budgets::verify_chains`], and each start, compute the
//! chains anew: a changed, missing or inserted row shows, unless whoever changed it has written all later hashes of that
//! peer anew as well.
//!
//! # What a rollback can and cannot hide
//! A hash chain proves nothing about an old copy: it is as whole as the new one. So in each hello each side tells the
//! other the head of its chain about it, and keeps what it was told. A ledger that went on contains, for ever, every head
//! that it ever told; the hello proves that by naming the head that the other one keeps. Because a hello may be lost, its
//! maker cannot know which head that is, and names all since the last one that is known to have arrived
//! ([`Budgets::confirm_chain`]); with 64 of them unconfirmed it tells no newer one, so that an honest ledger is never taken
//! for an old one.
//!
//! - *Shows:* an old copy of the file, put back after a peer was told a newer head: the next hello lacks what the
//!   peer keeps ([`Budgets::keep_chain`] refuses). A ledger made anew: its chain begins with other random bytes. Two copies that
//!   both go on: they tell two hashes for one number, or one lacks the other's.
//! - *Shows late:* while sessions run side by side, one hello may overtake another, so a chain that ends *before* the kept head is
//!   let pass for two minutes after that head was kept, as long as it contradicts none of the heads that are kept. A ledger put
//!   back within these two minutes can ask until its chain reaches the old number, where it must contradict it.
//! - *Does not show:* an old copy of the present head's age, that is, events that no peer was told of yet (the end of the last
//!   session; at most a charge whose hello never left). Rows of *other* peers: each peer watches its own chain alone. A party
//!   that writes software of its own and keeps the old heads beside a rolled-back ledger: it can name any head. But that is a
//!   party's own budget, which protects its own people; software of its own could as well not count at all. And a
//!   peer that gains by the rollback and looks away: the one that notices is the one that may ask more. What remains even then
//!   is evidence: heads that a peer kept, and receipts, do not fit the ledger that an auditor is shown.
//! - *Tells the peer:* the number of events of its own sessions, which it knows but for refunds, crashes and approvals;
//!   and hashes, which are no test for guesses, since each row holds 16 random bytes.
//!
//! Either side's rollback breaks both directions of comparison, so the refusal names both possibilities, and
//! [`Budgets::forgive_chain`] is the operator's word, on record, that the new state is the one to go on from.
//!
//! # Calls
//! All of them block, on the disk and on other processes' transactions (ten seconds at most): asynchronous callers use a
//! blocking thread. A clone is the same books.

mod account;
mod approvals;
mod audit;
mod chain;
mod clock;
mod compose;
mod error;
mod instance;
mod ledger;
mod peers;
mod period;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

pub use account::{Account, AskedAccount, Balance, Direction, OpenAccount};
pub use approvals::{Approval, Consent};
pub use audit::{Asked, AuditRow, AuditSession, Ended, Event};
pub use chain::ChainState;
pub use clock::{Clock, SystemClock};
pub use error::budget_refused;
pub use period::{Period, UnknownPeriod};

use super::party::Party;
use super::sizes::SizesAccount;
use crate::psi;
use compose::Book;
use error::Trouble;
use ledger::Ledger;

pub use crate::psi::{CHAIN_LINKS_MAX, ChainLink};

/// The durable books of a party: budgets, audit, chains, approvals. Clones are the same books.
#[derive(Debug, Clone)]
pub struct Budgets {
    books: Arc<Books>,
}

#[derive(Debug)]
struct Books {
    /// By the policy; what others were charged in the past stays in the audit.
    accounts: HashMap<Account, Book>,
    ledger: Ledger,
}

impl Budgets {
    /// Makes a new, empty ledger in the party's folder `state`, readable by its owner alone.
    ///
    /// # Errors
    /// `Caller` where there is one already. `Environment`: it could not be written; then there is none.
    pub fn create(party: &Party) -> Result<(), psi::Error> {
        schema::create(party, &SystemClock)
    }

    /// Opens the party's ledger, checks all of it, and ends what a crash has left open.
    ///
    /// # Errors
    /// `Environment` where it is missing, damaged, or cannot be opened, with what to do; `Caller` where it belongs to
    /// another party.
    pub fn load(party: &Party, clock: Arc<dyn Clock>) -> Result<Budgets, psi::Error> {
        let connection = schema::open(party)?;
        let path = schema::path(party);
        let place = path.display().to_string();
        let ledger = Ledger::new(connection, Some(path), clock).map_err(|trouble| trouble.told(&place))?;
        if let Err(trouble) = audit::end_crashed(&ledger) {
            // They are paid either way; charges will fail by themselves.
            tracing::warn!("sessions that a crash left open could not be ended: {}", trouble.told(&place));
        }
        Ok(Budgets::over(party, ledger))
    }

    /// Books in memory, which forget everything with the process: for tests, and for those who embed this and say so.
    ///
    /// # Panics
    /// Where the system gives neither memory nor random numbers.
    pub fn in_memory(party: &Party) -> Budgets {
        Budgets::in_memory_at(party, Arc::new(SystemClock))
    }

    /// The same, by another clock.
    ///
    /// # Panics
    /// As [`in_memory`](Self::in_memory).
    pub fn in_memory_at(party: &Party, clock: Arc<dyn Clock>) -> Budgets {
        let ledger = (|| {
            let mut connection = Connection::open_in_memory()?;
            schema::fill(&mut connection, &party.name, clock.as_ref())?;
            Ledger::new(connection, None, clock)
        })();
        Budgets::over(party, ledger.expect("no file, no other process: only memory and random numbers can fail"))
    }

    /// The same ledger for another policy of this party's, such as [`Party::with_unnamed`] makes.
    ///
    /// # Errors
    /// As [`load`](Self::load); `Internal` for books that are in memory alone.
    pub fn of(&self, party: &Party) -> Result<Budgets, psi::Error> {
        match &self.ledger().path {
            Some(_) => Budgets::load(party, Arc::clone(&self.ledger().clock)),
            None => Err(psi::Error::internal("books in memory are for one policy")),
        }
    }

    fn over(party: &Party, ledger: Ledger) -> Budgets {
        let mut accounts = HashMap::new();
        let mut add = |account: Account, terms: SizesAccount| {
            // Shares of one account have equal terms: the policy was refused otherwise.
            accounts
                .entry(account)
                .or_insert_with_key(|account| Book { more: party.more_budget(account), ..Book::new(terms) });
        };
        for share in &party.shares {
            for peer in &share.with {
                add(Account::answering(peer, &share.budget.population), share.sizes());
            }
        }
        for ask in party.asks.iter().filter(|ask| !ask.is_for_anybody()) {
            for peer in &ask.of {
                add(Account::asking(peer, &ask.budget.population), ask.sizes());
            }
        }
        Budgets { books: Arc::new(Books { accounts, ledger }) }
    }

    fn ledger(&self) -> &Ledger {
        &self.books.ledger
    }

    fn worded<T>(&self, result: Result<T, Trouble>) -> Result<T, psi::Error> {
        result.map_err(|trouble| trouble.in_session(&self.ledger().place()))
    }
}
