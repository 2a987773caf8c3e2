//! From record batches to persons: what both roles do to a relation before a session.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, LargeBinaryArray, RecordBatch};
use datafusion::arrow::compute::{concat, filter};
use datafusion::arrow::datatypes::DataType;

use crate::psi::normalise::{Normaliser, combine};
use crate::psi::prepare::{
    LabelChoice, PersonTotals, PreparedTable, ValueError, ValueScale, emptied, identifiers_after_filter,
    person_row_counts, person_row_counts_by_label, person_squares, person_squares_by_label, person_totals,
    person_totals_by_label, persons_by_label, persons_passing, prepare, scale_of,
};
use crate::psi::{Error, WordTerms};

/// One match column: the columns of a batch that it is made of, and how each is normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MatchColumn {
    pub(super) normaliser: Normaliser,
    pub(super) parts: Vec<usize>,
}

/// What an aggregate's owner sums: a column's values, its rows, or its persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// 1 for each person.
    Persons,
    /// Rows with a value in this column.
    Rows(usize),
    /// The values of this column.
    Sum(usize),
    /// Their squares.
    Squares(usize),
}

impl Word {
    /// The column that it reads.
    pub(super) fn column(self) -> Option<usize> {
        match self {
            Word::Persons => None,
            Word::Rows(column) | Word::Sum(column) | Word::Squares(column) => Some(column),
        }
    }
}

/// The normalised identifiers of some rows, one array per match column.
pub(super) struct Identifiers {
    pub(super) columns: Vec<LargeBinaryArray>,
    /// Values that were not null and identify nobody.
    pub(super) unnormalised: u64,
}

impl Identifiers {
    /// Normalises a batch. CPU-bound.
    ///
    /// # Errors
    /// [`Error::Caller`] for a column of a type that its normaliser does not take; never by a value.
    pub(super) fn of(batch: &RecordBatch, terms: &[MatchColumn]) -> Result<Self, Error> {
        let mut unnormalised = 0;
        let mut columns = Vec::with_capacity(terms.len());
        for term in terms {
            let mut parts = Vec::with_capacity(term.parts.len());
            for part in &term.parts {
                let column = batch.columns().get(*part).ok_or_else(|| Error::internal(format!("no column {part}")))?;
                let normalised = term.normaliser.normalise(column).map_err(caller)?;
                unnormalised += normalised.unnormalised;
                parts.push(normalised.identifiers);
            }
            columns.push(combine(&parts).map_err(caller)?);
        }
        Ok(Identifiers { columns, unnormalised })
    }

    /// The identifiers of all rows, in the order given; `columns` of them where there are no rows.
    pub(super) fn join(chunks: Vec<Identifiers>, columns: usize) -> Result<Self, Error> {
        let unnormalised = chunks.iter().map(|chunk| chunk.unnormalised).sum();
        let joined = (0..columns).map(|column| {
            let parts: Vec<&dyn Array> = chunks.iter().map(|chunk| &chunk.columns[column] as &dyn Array).collect();
            if parts.is_empty() {
                return Ok(LargeBinaryArray::new_null(0));
            }
            let whole = concat(&parts).map_err(Error::internal)?;
            whole
                .as_any()
                .downcast_ref::<LargeBinaryArray>()
                .cloned()
                .ok_or_else(|| Error::internal("joined identifiers changed their type"))
        });
        Ok(Identifiers { columns: joined.collect::<Result<_, Error>>()?, unnormalised })
    }

    /// Rows of the table that they are of.
    pub(super) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Array::len)
    }

    /// Bytes in memory.
    pub(super) fn size_bytes(&self) -> usize {
        self.columns.iter().map(Array::get_array_memory_size).sum()
    }

    /// Groups the rows into persons. CPU-bound.
    pub(super) fn prepare(self) -> Result<PreparedTable, Error> {
        prepare(self.columns).map_err(caller)
    }
}

/// One column of all rows, in the order given.
pub(super) fn join_column(parts: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef, Error> {
    let parts: Vec<&dyn Array> = parts.iter().map(Arc::as_ref).collect();
    if parts.is_empty() {
        return Ok(datafusion::arrow::array::new_empty_array(data_type));
    }
    concat(&parts).map_err(Error::internal)
}

/// The clipped totals of each person, by the rows that pass. CPU-bound.
///
/// # Errors
/// By types and bounds alone.
pub(super) fn person_values(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    column: Option<&ArrayRef>,
    word: Word,
    terms: &WordTerms,
) -> Result<Vec<i128>, Error> {
    let clipped =
        |totals: Result<PersonTotals, ValueError>| totals.and_then(|totals| totals.clip(terms.min, terms.max));
    match word {
        // Who is emptied has no identifier either and cannot match; counting it as 0 says so twice.
        Word::Persons => persons_passing(table, passing),
        Word::Rows(_) => person_row_counts(table, passing, read(column)?, rows_max(terms)?),
        Word::Sum(_) => {
            let values = read(column)?;
            clipped(person_totals(table, passing, values, scale(values, terms.decimals)?))
        }
        Word::Squares(_) => {
            let values = read(column)?;
            clipped(person_squares(table, passing, values, scale_of_squares(values, terms)?))
        }
    }
    .map_err(caller)
}

/// The same label by label, over the rows that count in each; `passing` is the word's own filter. CPU-bound.
///
/// # Errors
/// By types and bounds alone.
pub(super) fn person_values_by_label(
    table: &PreparedTable,
    choice: &LabelChoice,
    passing: Option<&BooleanArray>,
    column: Option<&ArrayRef>,
    word: Word,
    terms: &WordTerms,
) -> Result<Vec<Vec<i128>>, Error> {
    let clipped = |labels: Result<Vec<PersonTotals>, ValueError>| {
        labels.and_then(|labels| labels.into_iter().map(|totals| totals.clip(terms.min, terms.max)).collect())
    };
    match word {
        Word::Persons => persons_by_label(table, choice, passing),
        Word::Rows(_) => person_row_counts_by_label(table, choice, passing, read(column)?, rows_max(terms)?),
        Word::Sum(_) => {
            let values = read(column)?;
            clipped(person_totals_by_label(table, choice, passing, values, scale(values, terms.decimals)?))
        }
        Word::Squares(_) => {
            let values = read(column)?;
            clipped(person_squares_by_label(table, choice, passing, values, scale_of_squares(values, terms)?))
        }
    }
    .map_err(caller)
}

fn read(column: Option<&ArrayRef>) -> Result<&ArrayRef, Error> {
    column.ok_or_else(|| Error::internal("an aggregate without its column"))
}

fn rows_max(terms: &WordTerms) -> Result<u64, Error> {
    u64::try_from(terms.max).map_err(|_| Error::internal("a count's bound below zero"))
}

/// The units of a column that is summed with so many decimals.
fn scale(values: &ArrayRef, decimals: u8) -> Result<ValueScale, Error> {
    let scale = scale_of(values.data_type(), decimals).map_err(caller)?;
    if decimals_of(scale) != i16::from(decimals) {
        return Err(Error::Caller(format!(
            "a column of type {} is summed with {decimals} decimals by its terms: the table has changed, run the query again",
            values.data_type(),
        )));
    }
    Ok(scale)
}

/// Squares have twice the decimals of what is squared.
fn scale_of_squares(values: &ArrayRef, terms: &WordTerms) -> Result<ValueScale, Error> {
    if !terms.decimals.is_multiple_of(2) {
        return Err(Error::internal("squares with an odd number of decimals"));
    }
    scale(values, terms.decimals / 2)
}

fn decimals_of(scale: ValueScale) -> i16 {
    match scale {
        ValueScale::Integer => 0,
        ValueScale::Decimal { scale } => i16::from(scale),
        ValueScale::Float { decimals } => i16::from(decimals),
    }
}

/// The entries that a table's persons are after a filter: all of them, some emptied (`keep_length`), or
/// those alone that have a passing row. `values` follow. CPU-bound.
pub(super) fn entries_after_filter(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    values: Vec<Vec<i128>>,
    keep_length: bool,
) -> Result<(Vec<LargeBinaryArray>, Vec<Vec<i128>>), Error> {
    let identifiers = identifiers_after_filter(table, passing).map_err(caller)?;
    if keep_length || passing.is_none() {
        return Ok((identifiers, values));
    }
    let stays = BooleanArray::from(!&emptied(table, passing).map_err(caller)?);
    let identifiers = identifiers
        .iter()
        .map(|column| {
            let kept = filter(column, &stays).map_err(Error::internal)?;
            kept.as_any()
                .downcast_ref::<LargeBinaryArray>()
                .cloned()
                .ok_or_else(|| Error::internal("filtered identifiers changed their type"))
        })
        .collect::<Result<_, Error>>()?;
    let keep = |column: Vec<i128>| {
        column.into_iter().zip(stays.values()).filter_map(|(value, stays)| stays.then_some(value)).collect()
    };
    Ok((identifiers, values.into_iter().map(keep).collect()))
}

fn caller(error: impl std::fmt::Display) -> Error {
    Error::Caller(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dp::Noise;
    use datafusion::arrow::array::{Float64Array, Int64Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    fn batch(emails: &[Option<&str>], names: &[&str], amounts: &[i64]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("email", DataType::Utf8, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("amount", DataType::Int64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(emails.to_vec())),
            Arc::new(StringArray::from(names.to_vec())),
            Arc::new(Int64Array::from(amounts.to_vec())),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    fn terms() -> Vec<MatchColumn> {
        vec![
            MatchColumn { normaliser: "email/1".parse().unwrap(), parts: vec![0] },
            MatchColumn { normaliser: "exact/1".parse().unwrap(), parts: vec![1, 2] },
        ]
    }

    #[test]
    fn chunks_join_to_what_one_batch_would_have_given() {
        let whole = batch(&[Some("A@x.org"), Some("not one"), None], &["a", "b", ""], &[1, 2, 3]);
        let parts = [whole.slice(0, 1), whole.slice(1, 2)];
        let at_once = Identifiers::of(&whole, &terms()).unwrap();
        let joined =
            Identifiers::join(parts.iter().map(|part| Identifiers::of(part, &terms()).unwrap()).collect(), 2).unwrap();
        assert_eq!(joined.columns, at_once.columns);
        assert_eq!((joined.unnormalised, at_once.unnormalised), (2, 2), "'not one' and the empty name");
        assert_eq!(joined.columns[0].value(0), b"a@x.org");
        assert!(joined.columns[1].is_null(2), "a composite without one of its parts is none");
        let none = Identifiers::join(Vec::new(), 2).unwrap();
        assert_eq!((none.columns.len(), none.prepare().unwrap().persons()), (2, 0));
    }

    #[test]
    fn a_filter_that_hides_keeps_the_length_and_one_that_does_not_drops_persons_with_their_values() {
        let rows = batch(
            &[Some("a@x.org"), Some("b@x.org"), Some("a@x.org"), Some("c@x.org")],
            &["", "", "", ""],
            &[1, 10, 2, 100],
        );
        let table = Identifiers::of(&rows, &terms()[..1]).unwrap().prepare().unwrap();
        let passing = BooleanArray::from(vec![Some(true), Some(false), Some(true), None]);
        let clip = WordTerms { min: 2, max: 50, decimals: 0, noise: Noise::None };
        let of = |word: Word| {
            person_values(&table, Some(&passing), word.column().map(|column| rows.column(column)), word, &clip).unwrap()
        };
        assert_eq!(of(Word::Sum(2)), [3, 0, 0]);
        assert_eq!(of(Word::Persons), [1, 0, 0]);
        assert_eq!(
            person_values(&table, None, Some(rows.column(2)), Word::Sum(2), &clip).unwrap(),
            [3, 10, 50],
            "clipped after summing"
        );
        let (kept, values) = entries_after_filter(&table, Some(&passing), vec![of(Word::Sum(2))], true).unwrap();
        assert_eq!((kept[0].len(), kept[0].null_count(), values), (3, 2, vec![vec![3, 0, 0]]));
        let (kept, values) = entries_after_filter(&table, Some(&passing), vec![of(Word::Sum(2))], false).unwrap();
        assert_eq!((kept[0].len(), kept[0].null_count(), values), (1, 0, vec![vec![3]]));
        assert_eq!(kept[0].value(0), b"a@x.org");
    }

    #[test]
    fn types_and_not_values_decide_what_fails() {
        let rows = batch(&[Some("a@x.org")], &["n"], &[1]);
        let number = vec![MatchColumn { normaliser: "email/1".parse().unwrap(), parts: vec![2] }];
        assert!(matches!(Identifiers::of(&rows, &number), Err(Error::Caller(text)) if text.contains("email/1")));
        let table = Identifiers::of(&rows, &terms()[..1]).unwrap().prepare().unwrap();
        let cents = WordTerms { min: 0, max: 1, decimals: 2, noise: Noise::None };
        let changed = person_values(&table, None, Some(rows.column(2)), Word::Sum(2), &cents);
        assert!(matches!(changed, Err(Error::Caller(text)) if text.contains("changed")), "integers have no decimals");
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.125]));
        let wide = WordTerms { min: 0, max: 1000, decimals: 2, noise: Noise::None };
        assert_eq!(person_values(&table, None, Some(&floats), Word::Sum(0), &wide).unwrap(), [12]);
    }
}
