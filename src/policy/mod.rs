//! Who may ask what, and what it costs: a party's `party.toml`, the answer to each question by the
//! question alone, and the books of what was spent.
//!
//! **Row of the table of rooms.** Job: who may ask what, budgets, audit. May import: types and parameters of
//! `dp` and `psi`, Arrow schemas, toml, SQLite. Must not touch: network, SQL engine, identifiers, additive shares.
//!
//! | question | asked of | decided by |
//! |---|---|---|
//! | is this a possible policy? | [`Party::load`], [`Party::parse`] | the file alone |
//! | does it fit the tables? | [`Party::check_columns`] | columns' names and types |
//! | may this peer ask this? | [`Party::permit`] | question, policy, columns' types |
//! | may I ask this peer? | [`Party::may_ask`], [`check_question`] | own policy; the peer's published terms |
//! | how many dummies, how many fillers? | [`Share::dummies`], [`Ask::dummies`], [`PadPlan`] | budget and announced lengths |
//! | is there budget left? | [`Budgets`] | what was spent, by the ledger |
//!
//! No answer depends on a row of data. Nothing is passed over: an unknown key, or one that a later
//! version understands, is an error, since to ignore a line of a policy could break the promise in it.
//!
//! What the policy states and this version does not do yet is refused in words: certificates, groups,
//! output noise, budgets that renew, approval.
//!
//! **Limits.** A policy has at most 1 MiB; a share at most 256 identifiers, aggregates and filter
//! columns each; a budget at most 1,000,000 queries; an epsilon at most 100, with 6 decimals. Numbers are
//! exact decimals of at most 38 digits.

mod books;
mod columns;
mod decimal;
mod error;
mod names;
mod parse;
mod party;
mod permit;
mod sizes;
mod terms;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use books::{
    Account, Approval, Asked, AskedAccount, AuditRow, AuditSession, Balance, Budgets, CHAIN_LINKS_MAX, ChainLink, ChainState,
    Clock, Direction, Ended, Event, OpenAccount, Period, StoredReceipt, SystemClock, UnknownPeriod, budget_refused,
};
pub use decimal::{Decimal, NotDecimal};
pub use error::ConfigError;
pub use party::{
    AggregateRule, Ask, AskedRows, BudgetTerms, Clip, Identifier, Limits, Ot, Party, Peer, RequesterValues, Server,
    Share, Sizes, Table,
};
pub use permit::{Permit, PermittedIdentifier, Refusal};
pub use sizes::PadPlan;
pub use terms::{NotAllowed, OWN_DECIMALS_MAX, Remedy, check_question, word_terms};
