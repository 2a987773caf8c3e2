//! What one word of a question is: its bounds in units of its decimals, and the noise that hides one person in it.

use arrow::datatypes::{DataType, Schema};

use crate::dp;
use crate::psi::{
    Aggregate, AggregateTerms, AskedWord, ClipTerms, OutputsTerms, OwnValueTerms, Question, ShareTerms, WordTerms,
};

use super::decimal::Decimal;
use super::names;
use super::terms::{NotAllowed, labels_of};

/// The most decimals that the asker may give to a fixed point of its own.
pub const OWN_DECIMALS_MAX: u8 = 18;

/// The most decimals of a sum of squares: twice those of the widest fixed point.
const SQUARES_DECIMALS_MAX: u8 = 2 * OWN_DECIMALS_MAX;

/// By what a question's answer is grouped, as far as it decides how far one entry moves a word's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Groups {
    /// K: the identifiers that are matched by.
    pub(super) columns: u32,
    /// The most labels that one person counts in; `None`: not grouped by a column of the owner's.
    pub(super) labels: Option<u32>,
    /// Whether the asker groups by values of its own.
    pub(super) parts: bool,
}

impl Groups {
    /// One cell. Then the number of identifiers does not matter.
    pub(super) const NONE: Groups = Groups { columns: 1, labels: None, parts: false };

    pub(super) fn of(terms: &ShareTerms, question: &Question) -> Self {
        let labels = labels_of(terms, question).len() as u32;
        Groups {
            // At most COLUMNS_MAX: longer lists are refused before.
            columns: question.identifiers.len() as u32,
            labels: question.group_by.as_ref().map(|_| terms.max_labels.min(labels)),
            parts: question.own_groups,
        }
    }
}

/// The clip of one aggregate, scaled to integers, and the noise of its word in each cell, in a query of `words`
/// different aggregates, if the terms allow it.
///
/// Counts have no decimals; a column's sum has those of its type (0 for integers, s for decimal(p,s),
/// the policy's for floats), a sum of squares twice as many, a value of the asker's own those that it offers, its bounds
/// rounded inwards to them.
///
/// # Errors
/// [`NotAllowed`], decided by the aggregate, the terms and the column's type alone.
pub(super) fn word_terms(
    terms: &ShareTerms,
    word: &AskedWord,
    groups: &Groups,
    words: u32,
    table: &Schema,
) -> Result<WordTerms, NotAllowed> {
    let (clip, decimals) = word_clip(terms, &word.aggregate, table)?;
    let never =
        |reason: &str| NotAllowed::never(format!("{} over '{}': {reason}", word.aggregate.in_words(), terms.table));
    let noise = match &terms.outputs {
        OutputsTerms::Exact => dp::Noise::None,
        OutputsTerms::Private { per_query, .. } => {
            let outputs: dp::QueryOutputs = per_query
                .parse()
                .map_err(|_| never("its noise is published in words that this version does not know"))?;
            outputs.word_noise(sensitivity(word, clip, groups), words)
        }
    };
    Ok(WordTerms { min: clip.min(), max: clip.max(), decimals, noise })
}

/// How much the released word may change, in all its cells together, when one entry of the owner's table, the one that the
/// noise protects, is emptied: by the theorem and corollaries of [`crate::dp`].
///
/// The bits by which a word of the asker's own enters spell no value outside its bounds and 0, whatever the asker
/// does: so for them the other side's sensitivity holds by construction. Its cell follows from the asker's entry, as its
/// value does, so that own groups change nothing of it.
pub(super) fn sensitivity(word: &AskedWord, clip: dp::Clip, groups: &Groups) -> u128 {
    let columns = groups.columns;
    match (word.is_own(), groups.labels, groups.parts) {
        (true, ..) => clip.sensitivity_other(),
        // The owner's entry alone decides the cells: what one loses and another gains.
        (false, Some(max_labels), false) => clip.sensitivity_labels(columns.min(2), max_labels),
        (false, Some(max_labels), true) => clip.sensitivity_labels(columns, max_labels),
        // Every matched entry counts 1: what remains is which of the asker's entries are matched.
        (false, None, _) if *word == AskedWord::from(Aggregate::Persons) => dp::COUNT_SENSITIVITY,
        (false, None, true) => clip.sensitivity_parts(columns),
        (false, None, false) => clip.sensitivity_own(),
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
        Aggregate::Squares { column } => {
            let rule = rule(terms, column, "summed", "{ min = 0, max = 100, max_rows = 10 }")?;
            let shown = names::shown(column);
            let Some(squares_max) = &rule.squares_max else {
                return Err(NotAllowed::until(
                    format!("squares of column '{shown}' of '{}' may not be summed", terms.table),
                    "aggregates",
                    format!(
                        "{} = {{ min = 0, max = 100, squares_max = 10000, max_rows = {} }}",
                        names::toml_key(column),
                        rule.max_rows
                    ),
                ));
            };
            let unfit = |reason: Unfit| {
                NotAllowed::never(format!(
                    "squares of column '{shown}' of '{}' cannot be summed: {reason}",
                    terms.table
                ))
            };
            let field = table.field_with_name(column).map_err(|_| unfit(Unfit::Missing))?;
            let decimals = squares_decimals(field.data_type(), rule.decimals)
                .ok_or_else(|| unfit(Unfit::Type(field.data_type().clone())))?;
            let bound: Decimal = squares_max.parse().map_err(|_| unfit(Unfit::Bounds))?;
            let units = bound.units(decimals).ok_or_else(|| unfit(Unfit::Scale(bound.to_string(), decimals)))?;
            word(0, units, decimals).ok_or_else(|| unfit(Unfit::Bounds))
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

/// Decimals in which squares of a column of this type are summed: twice those of its sum. `None`: it is no number, or has too
/// many decimals.
pub(super) fn squares_decimals(column: &DataType, floats: u8) -> Option<u8> {
    sum_decimals(column, floats)
        .and_then(|decimals| decimals.checked_mul(2))
        .filter(|twice| *twice <= SQUARES_DECIMALS_MAX)
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
