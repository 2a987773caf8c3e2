//! Names, rule, plan, execution: SQL in, one private aggregate out.

mod answer;
mod asker;
mod catalog;
mod config;
mod error;
mod exec;
mod explain;
mod functions;
mod offload;
mod padding;
#[cfg(test)]
mod pair_tests;
mod people;
mod planner;
mod predicate;
mod query;
mod rule;
mod run;
mod source;
mod tables;

pub use asker::{Asker, PeerLink};
pub use catalog::{PeerCatalog, PeerSchema, PeerTable, SharedTable};
pub use error::private_query_error;
pub use exec::PrivateQueryExec;
pub use planner::{PsiPlanner, PsiQueryPlanner, install_psi_planner, with_psi_planner};
pub use query::{AnswerCell, MatchTerm, PrivateOutput, PrivateQuery};
pub use source::PolicySource;
pub use tables::{OpenedTable, TableVersion, open_table};
