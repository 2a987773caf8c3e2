//! A share's terms as its peers see them, and what these terms say about a question. The same code
//! runs at the owner, who enforces it, and at the asker, who would rather know before it asks.

use arrow::datatypes::{DataType, Schema};

use crate::dp;
use crate::psi::{
    AGGREGATES_MAX, Aggregate, AggregateTerms, COLUMNS_MAX, ClipTerms, GroupTerms, IdentifierTerms, OutputsTerms,
    OwnValueTerms, Question, ShareTerms, WordTerms,
};

use super::decimal::Decimal;
use super::names;
use super::party::{Clip, Share};

/// The most decimals that the asker may give to a fixed point of its own.
pub const OWN_DECIMALS_MAX: u8 = 18;

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
    fn never(what: impl Into<String>) -> Self {
        NotAllowed { what: what.into(), remedy: None }
    }

    fn until(what: impl Into<String>, key: &'static str, text: impl Into<String>) -> Self {
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

/// The clip of each of a question's aggregates, scaled to integers, and the noise of its released word, if the
/// terms allow the question.
///
/// The part of the output budget that one query has is split equally over its different aggregates.
/// `table` holds at least the shared columns. Filters are checked only for being possible at all: what
/// an expression may contain is for whoever evaluates it.
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
    if question.aggregates.is_empty() || question.aggregates.len() > AGGREGATES_MAX {
        return Err(NotAllowed::never(format!(
            "a query has 1 to {AGGREGATES_MAX} different aggregates, and this one has {}",
            question.aggregates.len()
        )));
    }
    let words = distinct(&question.aggregates);
    let words = question.aggregates.iter().map(|aggregate| word_terms(terms, aggregate, words, table)).collect();
    if question.filter.is_some() && terms.filter_on.is_empty() {
        return Err(NotAllowed::until(
            format!("'{}' may not be filtered", terms.table),
            "filter_on",
            "filter_on = [ the columns of the query's WHERE on that table ]",
        ));
    }
    words
}

/// How many different words a list of aggregates releases.
fn distinct(aggregates: &[Aggregate]) -> u32 {
    let first = |at: usize| !aggregates[..at].contains(&aggregates[at]);
    // At most AGGREGATES_MAX: longer lists are refused before.
    (0..aggregates.len()).filter(|at| first(*at)).count() as u32
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
    Err(NotAllowed::until(
        format!(
            "matches with '{}' may be grouped into at most {} groups of the asker's own, and this query has {parts}",
            terms.table, terms.max_parts
        ),
        "max_parts",
        format!("max_parts = {parts}"),
    ))
}

/// The clip of one aggregate, scaled to integers, and the noise of its word in a query of `words` different
/// aggregates, if the terms allow it.
///
/// Counts have no decimals; a column's sum has those of its type (0 for integers, s for decimal(p,s),
/// the policy's for floats), a value of the asker's own those that it offers, its bounds rounded
/// inwards to them.
///
/// # Errors
/// [`NotAllowed`], decided by the aggregate, the terms and the column's type alone.
pub fn word_terms(
    terms: &ShareTerms,
    aggregate: &Aggregate,
    words: u32,
    table: &Schema,
) -> Result<WordTerms, NotAllowed> {
    let (clip, decimals) = word_clip(terms, aggregate, table)?;
    let never = |reason: &str| NotAllowed::never(format!("{aggregate} over '{}': {reason}", terms.table));
    let noise = match &terms.outputs {
        OutputsTerms::Exact => dp::Noise::None,
        OutputsTerms::Private { per_query, .. } => {
            let outputs: dp::QueryOutputs = per_query
                .parse()
                .map_err(|_| never("its noise is published in words that this version does not know"))?;
            outputs.word_noise(sensitivity(aggregate, clip), words)
        }
    };
    Ok(WordTerms { min: clip.min(), max: clip.max(), decimals, noise })
}

/// How much the released word may change when one entry of the owner's table, the one that the noise protects,
/// is emptied: by the theorem and corollaries of [`crate::dp`].
///
/// The bits by which a word of the asker's own enters spell no value outside its bounds and 0, whatever the asker
/// does: so for them the other side's sensitivity holds by construction.
pub(super) fn sensitivity(aggregate: &Aggregate, clip: dp::Clip) -> u128 {
    match aggregate {
        Aggregate::Persons => dp::COUNT_SENSITIVITY,
        Aggregate::Rows { .. } | Aggregate::Sum { .. } => clip.sensitivity_own(),
        Aggregate::OwnRows { .. } | Aggregate::OwnSum { .. } => clip.sensitivity_other(),
    }
}

/// The clip of one aggregate in units of its decimals, and these.
fn word_clip(terms: &ShareTerms, aggregate: &Aggregate, table: &Schema) -> Result<(dp::Clip, u8), NotAllowed> {
    // A count's bounds are in order.
    let count = |max: u64| {
        dp::Clip::new(0, i128::from(max)).map(|clip| (clip, 0)).map_err(|reason| NotAllowed::never(reason.to_string()))
    };
    match aggregate {
        Aggregate::Persons => count(1),
        Aggregate::Rows { column } => {
            let rule = rule(terms, column, "counted", "{ max_rows = 10 }")?;
            count(rule.max_rows)
        }
        Aggregate::Sum { column } => {
            let example = "{ min = 0, max = 100, max_rows = 10 }";
            let rule = rule(terms, column, "summed", example)?;
            let Some(clip) = &rule.clip else {
                return Err(NotAllowed::until(
                    format!("column '{}' of '{}' may be counted, not summed", names::shown(column), terms.table),
                    "aggregates",
                    format!("{} = {{ min = 0, max = 100, max_rows = {} }}", names::toml_key(column), rule.max_rows),
                ));
            };
            let unfit = |reason: Unfit| {
                NotAllowed::never(format!(
                    "column '{}' of '{}' cannot be summed: {reason}",
                    names::shown(column),
                    terms.table
                ))
            };
            let field = table.field_with_name(column).map_err(|_| unfit(Unfit::Missing))?;
            let decimals = sum_decimals(field.data_type(), rule.decimals)
                .ok_or_else(|| unfit(Unfit::Type(field.data_type().clone())))?;
            let (min, max) = decimals_of(clip).ok_or_else(|| unfit(Unfit::Bounds))?;
            let units =
                |bound: Decimal| bound.units(decimals).ok_or_else(|| unfit(Unfit::Scale(bound.to_string(), decimals)));
            word(units(min)?, units(max)?, decimals).ok_or_else(|| unfit(Unfit::Bounds))
        }
        Aggregate::OwnRows { .. } => {
            let own = own_values(terms)?;
            if own.max_rows == 0 {
                return Err(NotAllowed::until(
                    format!("rows of one's own may not be counted over matches with '{}'", terms.table),
                    "requester_values",
                    format!(
                        "requester_values = {{ min = {}, max = {}, max_rows = 10 }}",
                        names::shown(&own.clip.min),
                        names::shown(&own.clip.max)
                    ),
                ));
            }
            count(own.max_rows)
        }
        Aggregate::OwnSum { decimals, .. } => {
            let own = own_values(terms)?;
            let never = |reason: String| {
                NotAllowed::never(format!(
                    "values of one's own cannot be summed over matches with '{}': {reason}",
                    terms.table
                ))
            };
            if *decimals > OWN_DECIMALS_MAX {
                return Err(never(format!("{decimals} decimals, and at most {OWN_DECIMALS_MAX} are possible")));
            }
            let (min, max) = decimals_of(&own.clip).ok_or_else(|| never(Unfit::Bounds.to_string()))?;
            min.units_up(*decimals)
                .zip(max.units_down(*decimals))
                .and_then(|(min, max)| word(min, max, *decimals))
                .ok_or_else(|| {
                    never(format!(
                        "no number of {decimals} decimals lies within its bounds {min} to {max}, or they are too wide"
                    ))
                })
        }
    }
}

/// Why a column's sum has no scaled bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the table has no such column any more")]
    Missing,
    #[error("it is of type {0}; integers, decimals of up to 38 digits, float and double can be summed")]
    Type(DataType),
    #[error("its bound {0} does not fit a sum of {1} decimals")]
    Scale(String, u8),
    #[error("its bounds are no decimal numbers, or empty")]
    Bounds,
}

/// Decimals in which a column of this type is summed; `None`: it is no number. `floats` is the
/// policy's choice for floats.
pub(super) fn sum_decimals(column: &DataType, floats: u8) -> Option<u8> {
    if column.is_integer() {
        return Some(0);
    }
    match column {
        DataType::Float32 | DataType::Float64 => Some(floats),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            u8::try_from(*scale).ok()
        }
        _ => None,
    }
}

fn rule<'t>(terms: &'t ShareTerms, column: &str, verb: &str, example: &str) -> Result<&'t AggregateTerms, NotAllowed> {
    terms.aggregates.iter().find(|rule| rule.column == column).ok_or_else(|| {
        let shared = names::listed(terms.aggregates.iter().map(|rule| rule.column.as_str()));
        let column = names::shown(column);
        NotAllowed::until(
            format!("column '{column}' of '{}' may not be {verb} (columns for aggregates: {shared})", terms.table),
            "aggregates",
            format!("{} = {example}", names::toml_key(&column)),
        )
    })
}

fn own_values(terms: &ShareTerms) -> Result<&OwnValueTerms, NotAllowed> {
    terms.requester_values.as_ref().ok_or_else(|| {
        NotAllowed::until(
            format!("values of one's own may not be aggregated over matches with '{}'", terms.table),
            "requester_values",
            "requester_values = { min = 0, max = 100, max_rows = 10 }",
        )
    })
}

fn decimals_of(clip: &ClipTerms) -> Option<(Decimal, Decimal)> {
    clip.min.parse().ok().zip(clip.max.parse().ok())
}

fn word(min: i128, max: i128, decimals: u8) -> Option<(dp::Clip, u8)> {
    dp::Clip::new(min, max).ok().map(|clip| (clip, decimals))
}
