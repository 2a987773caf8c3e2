//! What is kept of a session beside its answer: its question and end for the audit, and its memory.

use datafusion::execution::context::SessionContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::policy::Party;
use crate::psi::{Error, Offer, Question};

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
/// identifier and part, and the question's shape alone.
///
/// # Errors
/// [`Error::Environment`] where the policy's `memory_mb` has not so much left; without a number, since nothing has been
/// paid yet and the table's length would follow from it.
pub(super) fn set_aside(
    engine: &SessionContext,
    party: &Party,
    offer: &Offer,
    persons: u64,
    labels: usize,
    dummies: u64,
) -> Result<MemoryReservation, Error> {
    let columns = offer.question.identifiers.len() as u64;
    // Each word has a total for each label.
    let words = offer.question.aggregates.len() as u64 * labels.max(1) as u64;
    let parts = offer.persons.len() as u64;
    // An oblivious transfer takes 16 bytes, one per part and entry; tags take 16 each, twice that if they were chosen to.
    let added = dummies.saturating_mul(columns).saturating_mul(parts);
    let (theirs, ours) = (offer.persons_total().saturating_add(added), persons.saturating_add(added));
    let bytes = theirs
        .saturating_mul(32 * columns + 24)
        .saturating_add(ours.saturating_mul(64 * columns + 16 * words + 16 * parts + 40));
    let held = MemoryConsumer::new(format!("session {}", offer.session)).register(&engine.runtime_env().memory_pool);
    held.try_grow(usize::try_from(bytes).unwrap_or(usize::MAX)).map_err(|_| {
        tracing::error!(megabytes = bytes >> 20, memory_mb = party.limits.memory_mb, "no memory for a session");
        Error::Environment(format!(
            "'{}' has not the memory for this session at the moment: ask later, or about fewer people; its operator may raise \
             memory_mb in [limits]",
            party.name
        ))
    })?;
    Ok(held)
}
