//! What is kept of a session beside its answer: its question and end for the audit, and its memory.

use crate::psi::{Error, Footprint, Offer, Question, Role, SessionRows};

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

/// The memory of one answered session: by the two tables' lengths, `dummies` per identifier and part, the question's shape,
/// and the bytes of identifiers that are `copied` for it alone.
pub(super) fn footprint(offer: &Offer, persons: u64, labels: usize, dummies: u64, copied: u64) -> Footprint {
    let (columns, parts) = (offer.question.identifiers.len() as u64, offer.persons.len() as u64);
    let added = dummies.saturating_mul(columns).saturating_mul(parts);
    let rows = SessionRows { own: persons.saturating_add(added), peer: offer.persons_total().saturating_add(added) };
    // Each word has a total for each label.
    let values = offer.question.aggregates.len() as u64 * labels.max(1) as u64;
    Footprint { role: Role::Responder, columns, parts, values, rows, identifiers: copied }
}
