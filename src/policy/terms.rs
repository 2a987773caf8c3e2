//! A share's terms as its peers see them, and what these terms say about a question. The same code
//! runs at the owner, who enforces it, and at the asker, who would rather know before it asks.

use arrow::datatypes::Schema;

use crate::psi::{
    AGGREGATES_MAX, Aggregate, AggregateTerms, AskedWord, COLUMNS_MAX, ClipTerms, GroupTerms, IdentifierTerms,
    OutputsTerms, OwnValueTerms, Question, ShareTerms, WORDS_PER_ROW_MAX, WordTerms,
};

use super::names;
use super::party::{Clip, Share};
use super::words::{Groups, word_terms};

/// Why a share's terms do not allow a question, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAllowed {
    /// Which part of the question, and what is allowed instead.
    pub what: String,
    /// What the share's owner would have to change, with the exact text to write; `None` where no
    /// policy could allow it.
    pub remedy: Option<Remedy>,
}

/// A change of a share that would allow a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// The key of `[[share]]` that would have to change.
    pub key: &'static str,
    /// The text to write there. Its numbers are examples: the bounds are the owner's to choose.
    pub text: String,
}

impl NotAllowed {
    pub(super) fn never(what: impl Into<String>) -> Self {
        NotAllowed { what: what.into(), remedy: None }
    }

    pub(super) fn until(what: impl Into<String>, key: &'static str, text: impl Into<String>) -> Self {
        NotAllowed { what: what.into(), remedy: Some(Remedy { key, text: text.into() }) }
    }
}

impl From<String> for NotAllowed {
    /// A reason that no policy could remove.
    fn from(what: String) -> Self {
        NotAllowed::never(what)
    }
}

impl std::fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        if let Some(remedy) = &self.remedy {
            write!(
                f,
                "; to allow it, the table's owner would have to have in {} of that [[share]] in party.toml: {}",
                remedy.key, remedy.text
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for NotAllowed {}

impl Share {
    /// The terms as the peers of this share may read them.
    pub fn terms(&self) -> ShareTerms {
        ShareTerms {
            table: self.table.clone(),
            identifiers: self
                .identifiers
                .iter()
                .map(|identifier| IdentifierTerms {
                    name: identifier.name.clone(),
                    columns: identifier.columns.clone(),
                    normaliser: identifier.normaliser.to_string(),
                })
                .collect(),
            aggregates: self
                .aggregates
                .iter()
                .map(|rule| AggregateTerms {
                    column: rule.column.clone(),
                    clip: rule.clip.map(clip_terms),
                    max_rows: rule.max_rows,
                    decimals: rule.decimals.unwrap_or(0),
                    squares_max: rule.squares_max().map(|bound| bound.to_string()),
                })
                .collect(),
            filter_on: self.filter_on.clone(),
            requester_values: self.requester_values.map(|values| OwnValueTerms {
                clip: clip_terms(values.clip),
                // No rows counted: the terms' way to say that COUNT is not allowed.
                max_rows: values.max_rows.unwrap_or(0),
            }),
            minimum_matched: self.minimum_matched,
            filtered_rows: self.filtered_rows,
            sizes: self.budget.sizes_terms(self.columns),
            outputs: match self.budget.written {
                None => OutputsTerms::Exact,
                Some(written) => OutputsTerms::Private {
                    per_query: self.budget.per_query.to_string(),
                    epsilon: written.epsilon.to_f64(),
                    delta: written.delta.map(|delta| delta.to_f64()),
                    queries: self.budget.queries,
                },
            },
            group_by: self
                .group_by
                .iter()
                .map(|group| GroupTerms { column: group.column.clone(), labels: group.labels.clone() })
                .collect(),
            max_labels: self.max_labels,
            max_parts: self.max_parts,
            period: self.budget.period.name().to_owned(),
            approval: self.approval,
        }
    }
}

fn clip_terms(clip: Clip) -> ClipTerms {
    ClipTerms { min: clip.min.to_string(), max: clip.max.to_string() }
}

/// The clip of each of a question's aggregates, scaled to integers, and the noise of its word in each cell, if the
/// terms allow the question.
///
/// The part of the output budget that one query has is split equally over its different aggregates; a word in all its
/// cells is one. `table` holds at least the shared columns. Filters are checked only for being possible at all: what
/// an expression may contain is for whoever evaluates it. How many groups of its own the asker forms is for
/// [`check_parts`].
///
/// # Errors
/// [`NotAllowed`], decided by the question, the terms and the columns' types alone.
pub fn check_question(terms: &ShareTerms, question: &Question, table: &Schema) -> Result<Vec<WordTerms>, NotAllowed> {
    if question.identifiers.is_empty() || question.identifiers.len() > COLUMNS_MAX {
        return Err(NotAllowed::never(format!(
            "a query matches by 1 to {COLUMNS_MAX} identifiers, and this one by {}",
            question.identifiers.len()
        )));
    }
    for name in &question.identifiers {
        if !terms.identifiers.iter().any(|identifier| identifier.name == *name) {
            let shared = names::listed(terms.identifiers.iter().map(|identifier| identifier.name.as_str()));
            return Err(NotAllowed::until(
                format!("'{}' may not be matched by '{}' (identifiers: {shared})", terms.table, names::shown(name)),
                "identifiers",
                format!("{} = \"exact/1\"", names::toml_key(&names::shown(name))),
            ));
        }
    }
    let words = &question.aggregates;
    if words.is_empty() || words.len() > AGGREGATES_MAX {
        return Err(NotAllowed::never(format!(
            "a query has 1 to {AGGREGATES_MAX} different aggregates, and this one has {}",
            words.len()
        )));
    }
    check_groups(terms, question)?;
    let (groups, different) = (Groups::of(terms, question), distinct(words));
    let words = words.iter().map(|word| word_terms(terms, word, &groups, different, table)).collect();
    if question.filter.is_some() && terms.filter_on.is_empty() {
        return Err(NotAllowed::until(
            format!("'{}' may not be filtered", terms.table),
            "filter_on",
            "filter_on = [ the columns of the query's WHERE on that table ]",
        ));
    }
    words
}

/// What a question's groups and its words' own filters need, whatever the words are about.
fn check_groups(terms: &ShareTerms, question: &Question) -> Result<(), NotAllowed> {
    let words = &question.aggregates;
    if let Some(word) = words.iter().find(|word| word.is_own() && word.when.is_some()) {
        return Err(NotAllowed::never(format!(
            "{} has a filter on '{}', and is about a value of one's own: choose the value by a CASE over one's own columns",
            word.aggregate, terms.table
        )));
    }
    if words.iter().any(|word| word.when.is_some()) && terms.filter_on.is_empty() {
        return Err(NotAllowed::until(
            format!("'{}' may not be filtered", terms.table),
            "filter_on",
            "filter_on = [ the columns of the query's FILTER on that table ]",
        ));
    }
    if let Some(column) = &question.group_by {
        check_group_column(terms, column)?;
        if let Some(word) = words.iter().find(|word| word.is_own()) {
            return Err(NotAllowed::never(format!(
                "{} cannot be grouped by '{}' of '{}': the label stands at the peer's end of a pair, the value at yours; \
                 group by columns of one's own, or ask for values of the peer's",
                word.aggregate.in_words(),
                names::shown(column),
                terms.table
            )));
        }
        let theirs = words.len() * labels_of(terms, question).len();
        if theirs > WORDS_PER_ROW_MAX {
            return Err(NotAllowed::never(format!(
                "{} different aggregates by the {} labels of '{}' are {theirs} numbers of each person, and at most \
                 {WORDS_PER_ROW_MAX} are possible: ask for fewer at once",
                words.len(),
                labels_of(terms, question).len(),
                names::shown(column)
            )));
        }
    }
    if question.own_groups {
        check_parts(terms, 2)?;
    }
    let grouped = question.group_by.is_some() || question.own_groups;
    if grouped && terms.minimum_matched > 0 && !words.contains(&AskedWord::from(Aggregate::Persons)) {
        return Err(NotAllowed::never(format!(
            "a query in groups over '{}' has to ask for the number of persons too, COUNT(*) without a filter of its own: groups \
             of fewer than minimum_matched = {} are told by it",
            terms.table, terms.minimum_matched
        )));
    }
    Ok(())
}

/// The labels of the question's `group_by` column, none where it has none: what the answer carries.
pub fn labels_of<'t>(terms: &'t ShareTerms, question: &Question) -> &'t [String] {
    let of = |column: &String| terms.group_by.iter().find(|group| group.column == *column);
    question.group_by.as_ref().and_then(of).map_or(&[], |group| &group.labels)
}

/// How many different words a list of aggregates releases.
fn distinct(words: &[AskedWord]) -> u32 {
    let first = |at: usize| !words[..at].contains(&words[at]);
    // At most AGGREGATES_MAX: longer lists are refused before.
    (0..words.len()).filter(|at| first(*at)).count() as u32
}

/// Whether a filter may name a column, by the share's `filter_on`.
///
/// # Errors
/// [`NotAllowed`], whether the table has such a column or not.
pub fn check_filter_column(filter_on: &[String], column: &str) -> Result<(), NotAllowed> {
    if filter_on.iter().any(|allowed| allowed == column) {
        return Ok(());
    }
    let allowed = names::listed(filter_on.iter().map(String::as_str));
    let column = names::shown(column);
    let with: Vec<String> =
        filter_on.iter().map(String::as_str).chain([column.as_str()]).map(names::toml_text).collect();
    Err(NotAllowed::until(
        format!("column '{column}' may not be filtered on (columns for filters: {allowed})"),
        "filter_on",
        format!("filter_on = [{}]", with.join(", ")),
    ))
}

/// Whether the terms allow a query to group by a column of the owner's.
///
/// # Errors
/// [`NotAllowed`], whether the table has such a column or not.
pub fn check_group_column(terms: &ShareTerms, column: &str) -> Result<(), NotAllowed> {
    if terms.group_by.iter().any(|group| group.column == column) {
        return Ok(());
    }
    let allowed = names::listed(terms.group_by.iter().map(|group| group.column.as_str()));
    let column = names::shown(column);
    Err(NotAllowed::until(
        format!("'{}' may not be grouped by '{column}' (columns for groups: {allowed})", terms.table),
        "group_by",
        format!("{} = [\"LABEL\", \"LABEL\"]", names::toml_key(&column)),
    ))
}

/// Whether the terms allow the asker so many groups by columns of its own; 1 is a query without.
///
/// # Errors
/// [`NotAllowed`], decided by the number and the terms.
pub fn check_parts(terms: &ShareTerms, parts: u32) -> Result<(), NotAllowed> {
    if parts <= terms.max_parts {
        return Ok(());
    }
    if terms.max_parts <= 1 {
        return Err(NotAllowed::until(
            format!("matches with '{}' may not be grouped by columns of the asker's own", terms.table),
            "max_parts",
            "max_parts = 20",
        ));
    }
    Err(NotAllowed::until(
        format!(
            "matches with '{}' may be grouped into at most {} groups of the asker's own, and this query has {parts}",
            terms.table, terms.max_parts
        ),
        "max_parts",
        format!("max_parts = {parts}"),
    ))
}
