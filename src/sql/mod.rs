//! Names, rule, plan, execution: SQL in, one private aggregate out.
//!
//! **Row of the table of rooms.** Job: catalog, functions, rule, plan, exec, EXPLAIN text, error
//! translation. May import: datafusion, arrow, the public API of transport, policy, psi. Must not touch:
//! dalek, files, sockets; secret values in `Display` or metrics.
//!
//! # How a statement goes through
//! 1. *Names.* A peer is a schema of the default catalog ([`PeerSchema`]); its shared tables
//!    ([`PeerTable`]) have columns and terms, and no rows. [`PeerCatalog`] is all that planning needs of a
//!    peer.
//! 2. *Functions.* `PRIVATE_INTERSECT_COUNT`, `_SUM`, `_AVG` are aggregates with types, which are never
//!    computed here; `psi_email` and its like spell identifiers as the normalisers do.
//! 3. *Rule.* [`PsiRule`], the analyzer's last, replaces each aggregate over an inner join with a peer's
//!    table by a [`PrivateQuery`], and refuses every other plan that touches one. It fails closed: no plan
//!    that it lets pass reads a peer's table.
//! 4. *Plan.* The optimizer works on both sides of the node: on what this side brings (its one input) and
//!    on the plain SQL above it.
//! 5. *Execution* turns the node into a session, asks the policies, and gives one row.
//!
//! At the owner of a table, the same room reads a filter's text afresh ([`parse_filter`]), evaluates it,
//! and answers.
//!
//! # What SQL means here
//! The alternatives of ON, joined by OR, are the match order, as written. Equalities joined by AND within
//! one alternative are a composite identifier, which the share has to declare; an AND around the
//! alternatives is one inside each. This side's terms may be expressions, the peer's are columns of an
//! identifier. Conditions on this side's columns apply before anything is matched; those on the peer's
//! travel as text. COUNT(*) counts matched persons; SUM, AVG and COUNT(column) are over their rows.
//!
//! # Limits
//! Eight alternatives; [`FILTER_BYTES_MAX`] bytes of filter; one peer's table per aggregate; no GROUP BY
//! yet. Every refusal is a planning error with the reason and, where there is one, the rewrite.

mod answer;
mod asker;
mod books;
mod catalog;
mod config;
mod error;
mod exec;
mod explain;
mod functions;
mod identifiers;
mod keys;
mod offload;
#[cfg(test)]
mod pair_tests;
mod people;
mod planner;
mod predicate;
mod query;
mod record;
mod register;
mod rule;
mod run;
mod scan;
mod source;
mod tables;

pub use asker::{Asker, PeerLink};
pub use catalog::{PeerCatalog, PeerSchema, PeerTable, SharedTable};
pub use config::PsiConfig;
pub use error::{error_words, private_query_error};
pub use exec::PrivateQueryExec;
pub use explain::{Outcome, PhaseLine, RunReport};
pub use functions::{
    PrivateAggregateKind, PrivateAggregatePlanner, ResultPart, private_aggregates, private_intersect_avg,
    private_intersect_count, private_intersect_sum, psi_error, psi_high, psi_low,
};
pub use identifiers::identifier_functions;
pub use keys::Keys;
pub use planner::{PsiPlanner, PsiQueryPlanner, install_psi_planner, with_psi_planner};
pub use predicate::{FILTER_BYTES_MAX, parse_filter};
pub use query::{AnswerCell, MatchTerm, PrivateOutput, PrivateQuery, ResultColumn};
pub use register::{register, register_books};
pub use rule::{PsiGuard, PsiRule};
pub use source::PolicySource;
pub use tables::{OpenedTable, TableVersion, open_table};
