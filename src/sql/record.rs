//! What is kept of a session beside its answer: its question and end for the audit, and its memory.

use std::sync::Arc;

use datafusion::execution::context::SessionContext;

use super::ahead::Ahead;
use super::spill::SessionMemory;
use crate::policy::Party;
use crate::psi::{Error, Footprint, Offer, Question, Role, SessionRows, Spill};

/// An error as the audit keeps it.
pub(super) fn failed(error: &Error) -> String {
    format!("{}: {error}", error.fault().name())
}

/// A question in one canonical text: what is approved, and what the audit keeps.
pub(super) fn canonical(question: &Question) -> String {
    format!("table {}; {}", question.table, asked(question))
}

/// What is asked of a question's table.
pub(super) fn asked(question: &Question) -> String {
    let aggregates: Vec<String> = question.aggregates.iter().map(ToString::to_string).collect();
    let filter = question.filter.as_deref().unwrap_or("none");
    let group_by = question.group_by.as_ref().map(|column| format!("group by {column}; ")).unwrap_or_default();
    let own_groups = if question.own_groups { "in groups of the asker's own; " } else { "" };
    // What the asker writes freely comes last: no text of a filter reads as anything that stands before it.
    format!(
        "match by {}; {group_by}{own_groups}ask {}; filter {filter}",
        question.identifiers.join(", "),
        aggregates.join(", ")
    )
}

/// Sets the memory of one answered session aside, for as long as it runs: by the two tables' lengths, `dummies` per
/// identifier and part, and the question's shape alone. What was blinded ahead gives way to it. With files for what the memory
/// has no room for.
///
/// # Errors
/// [`Error::Environment`] where the policy's `memory_mb` has not so much left, files or not.
pub(super) fn set_aside(
    engine: &SessionContext,
    party: &Party,
    ahead: &Ahead,
    offer: &Offer,
    persons: u64,
    labels: usize,
    dummies: u64,
) -> Result<(SessionMemory, Option<Arc<dyn Spill>>), Error> {
    let (columns, parts) = (offer.question.identifiers.len() as u64, offer.persons.len() as u64);
    let added = dummies.saturating_mul(columns).saturating_mul(parts);
    let rows = SessionRows { own: persons.saturating_add(added), peer: offer.persons_total().saturating_add(added) };
    // Each word has a total for each label.
    let values = offer.question.aggregates.len() as u64 * labels.max(1) as u64;
    let memory = SessionMemory::new(&engine.runtime_env(), offer.session, &party.name);
    let footprint = Footprint { role: Role::Responder, columns, parts, values, rows };
    if !memory.is_enough(&footprint) {
        ahead.give_up();
    }
    let spill = memory.fit(&footprint)?;
    Ok((memory, spill))
}
