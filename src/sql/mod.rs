//! Names, rule, plan, execution: SQL in, one private aggregate out.
//!
//! **Row of the table of rooms.** Job: catalog, functions, rule, plan, exec, EXPLAIN text, error
//! translation. May import: datafusion, arrow, the public API of transport, policy, psi, dp. Must not touch:
//! dalek, files (but for the engine's temporary ones, in `spill`), sockets; secret values in `Display` or metrics.
//!
//! # How a statement goes through
//! 1. *Names.* A peer is a schema of the default catalog ([`PeerSchema`]); its shared tables
//!    ([`PeerTable`]) have columns and terms, and no rows. [`PeerCatalog`] is all that planning needs of a
//!    peer.
//! 2. *Functions.* `PRIVATE_INTERSECT_COUNT`, `_SUM`, `_AVG`, `_VAR`, `_STDDEV` are aggregates with types, which are
//!    never computed here; `psi_email` and its like spell identifiers as the normalisers do.
//! 3. *Rule.* [`PsiRule`], the analyzer's last, replaces each aggregate over an inner join with a peer's
//!    table by a [`PrivateQuery`], and refuses every other plan that touches one. It fails closed: no plan
//!    that it lets pass reads a peer's table.
//! 4. *Plan.* The optimizer works on both sides of the node: on what this side brings (its one input) and
//!    on the plain SQL above it.
//! 5. *Execution* turns the node into a session, asks the policies, and gives a row for each cell.
//!
//! At the owner of a table, the same room reads a filter's text afresh ([`parse_filter`]), evaluates it,
//! and answers.
//!
//! # What SQL means here
//! The alternatives of ON, joined by OR, are the match order, as written. Equalities joined by AND within
//! one alternative are a composite identifier, which the share has to declare; an AND around the
//! alternatives is one inside each. This side's terms may be expressions, the peer's are columns of an
//! identifier. Conditions on this side's columns apply before anything is matched; those on the peer's
//! travel as text. COUNT(*) counts matched persons; SUM, AVG and COUNT(column) are over their rows. A FILTER of an
//! aggregate, and a CASE in it, is a condition on the peer's rows for that aggregate alone.
//!
//! GROUP BY a column of the peer's has a row for each public label of its share, whatever was matched; GROUP BY
//! expressions of this side's a row for each group that its relation has. The parts of one query are in content order,
//! and a person is in one of them.
//!
//! # Limits
//! Eight alternatives; [`FILTER_BYTES_MAX`] bytes for each filter; one peer's table per aggregate, and one column of it in GROUP
//! BY. Every refusal is a planning error with the reason and, where there is one, the rewrite.

mod ahead;
mod answer;
mod asker;
mod books;
mod catalog;
mod config;
mod ending;
mod error;
mod exec;
mod explain;
mod external;
mod functions;
mod identifiers;
mod keys;
mod local;
#[cfg(test)]
mod pair_tests;
mod parts;
mod people;
mod planner;
mod predicate;
mod prepared;
mod query;
mod record;
mod register;
mod rule;
mod run;
mod scan;
mod source;
mod spill;
mod stores;
mod tables;
mod totals;

pub(crate) use asker::deadlines;
pub use asker::{Asker, PeerLink};
pub use catalog::{PeerCatalog, PeerSchema, PeerTable, SharedTable};
pub use config::PsiConfig;
pub use error::{error_words, private_query_error};
pub use exec::PrivateQueryExec;
pub use explain::{ColumnErrors, Outcome, PhaseLine, RunReport};
pub use functions::{
    PrivateAggregateKind, PrivateAggregatePlanner, ResultPart, private_aggregates, private_intersect_avg,
    private_intersect_count, private_intersect_stddev, private_intersect_sum, private_intersect_var, psi_error,
    psi_high, psi_low, psi_note,
};
pub use identifiers::identifier_functions;
pub use keys::Keys;
pub use planner::{PsiPlanner, PsiQueryPlanner, install_psi_planner, with_psi_planner};
pub use predicate::{FILTER_BYTES_MAX, parse_filter};
pub use query::{AnswerCell, GroupColumn, MatchTerm, PrivateOutput, PrivateQuery, ResultColumn};
pub(crate) use register::has_books;
pub use register::{register, register_books, register_external_tables};
pub use rule::{PsiGuard, PsiRule};
pub use source::PolicySource;
pub(crate) use tables::runtime;
pub use tables::{OpenedTable, TableVersion, open_table};
