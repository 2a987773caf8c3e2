//! Names, rule, plan, execution: SQL in, one private aggregate out.

mod catalog;
mod config;
mod functions;
mod predicate;
mod query;
mod rule;

pub use catalog::{PeerCatalog, PeerSchema, PeerTable, SharedTable};
pub use query::{AnswerCell, MatchTerm, PrivateOutput, PrivateQuery};
