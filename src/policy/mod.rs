//! Who may ask what, and what it costs: a party's `party.toml`, the answer to each question by the
//! question alone, and the books of what was spent.
//!
//! **Row of the table of rooms.** Job: who may ask what, budgets, audit. May import: types and parameters of
//! `dp` and `psi`, Arrow schemas, toml, SQLite. Must not touch: network, SQL engine, identifiers, additive shares.
//!
//! | question | asked of | decided by |
//! |---|---|---|
//! | is this a possible policy? | [`Party::load`], [`Party::parse`] | the file alone |
//! | are its files there? | [`Party::check_files`] | the file system |
//! | does it fit the tables? | [`Party::check_columns`] | columns' names and types |
//! | may this peer ask this? | [`Party::permit`] | question, policy, columns' types |
//! | may I ask this peer? | [`Party::may_ask`], [`check_question`] | own policy; the peer's published terms |
//! | how many dummies, how many fillers? | [`Share::dummies`], [`Ask::dummies`], [`PadPlan`] | budget and announced lengths |
//! | is there budget left? | [`Budgets`] | what was spent, by the ledger |
//!
//! No answer depends on a row of data. Nothing is passed over: an unknown key, or one that a later
//! version understands, is an error, since to ignore a line of a policy could break the promise in it.
//!
//! Both sides compute each word's clip and noise by the same code, [`check_question`], from the published
//! terms alone. A refusal has two texts: the peer hears the rule and the key to ask for, the owner's log the
//! lines to write and where they go. [`explain`] says in sentences what a policy means, [`sample`] is the
//! reference of its keys. Whether the files that it names are there is [`Party::check_files`]' question: reading
//! a policy needs none of them.
//!
//! **Limits.** A policy has at most 1 MiB; a share at most 256 identifiers, aggregates, filter columns and
//! columns to group by each, of at most 1,024 labels; a peer at most 8 certificates; a budget at most 1,000,000
//! queries; an epsilon at most 100, with 6 decimals. Numbers are exact decimals of at most 38 digits.

mod books;
mod columns;
mod decimal;
mod error;
mod files;
mod names;
mod parse;
mod party;
mod permit;
mod sample;
mod sentences;
mod sizes;
mod terms;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unnamed;
mod words;

pub use books::{
    Account, Approval, Asked, AskedAccount, AuditRow, AuditSession, Balance, Budgets, CHAIN_LINKS_MAX, ChainLink,
    ChainState, Clock, Consent, Direction, Ended, Event, OpenAccount, Period, SystemClock, UnknownPeriod,
    budget_refused,
};
pub use decimal::{Decimal, NotDecimal};
pub use error::ConfigError;
pub use party::{
    AggregateRule, Ask, AskedRows, BudgetTerms, Clip, GroupBy, Identifier, Limits, Ot, Party, Peer, RequesterValues,
    Server, Share, Sizes, Table, TlsFiles,
};
pub use permit::{Permit, PermittedIdentifier, Refusal};
pub use sample::sample;
pub use sentences::explain;
pub use sizes::PadPlan;
pub use terms::{NotAllowed, Remedy, check_filter_column, check_group_column, check_parts, check_question, labels_of};
pub use unnamed::UnnamedPeer;
pub use words::OWN_DECIMALS_MAX;
