//! From the sums that a run released to the rows that its query returns.
//!
//! One row for each part of this side's own groups and each public label, whatever was matched. Types (fixed at
//! planning, checked here): COUNT is a bigint; SUM of integers a bigint, of decimals a decimal with the column's
//! scale, of floats a double; AVG, VAR and STDDEV are doubles. SUM over no match is 0, AVG is NULL when its count is
//! not positive. A sum that its type cannot hold is an error: nothing wraps.
//!
//! Of a grouped query, a cell whose released count of persons is under the share's minimum shows NULL in all its
//! aggregates: by that noisy count alone, which the cell's own release would show as well, so that hiding tells nothing
//! that showing would not. `psi_note` has the reason.

mod cell;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use self::cell::{Cell, Number, Shown, unscale};
use super::functions::ResultPart;
use super::query::{GroupColumn, ResultColumn};
use crate::psi::{Error, WordTerms};

/// Why a group shows nothing.
const UNDER_THE_MINIMUM: &str = "fewer persons than the share's minimum, by their noisy count";

/// What a run released, and how its query shows it.
pub(super) struct Answer<'a> {
    /// The query node's output: its groups, then one field per output.
    pub(super) schema: &'a SchemaRef,
    pub(super) groups: &'a [GroupColumn],
    pub(super) outputs: &'a [ResultColumn],
    /// The terms of each of the question's words.
    pub(super) words: &'a [WordTerms],
    /// The public labels, if the query is grouped by a column of the peer's.
    pub(super) labels: Option<&'a [String]>,
    /// Of each group of this side's own, in their order: the value of each part.
    pub(super) own: &'a [ArrayRef],
    /// The word that counts persons, and the least count at which a group is shown.
    pub(super) hidden_by: Option<(usize, u64)>,
    /// By part, then label: the released total of each word, in units of 10^-decimals of it.
    pub(super) cells: &'a [Vec<i128>],
}

impl Answer<'_> {
    /// The answer's rows: by part, then label.
    ///
    /// An interval is about the noise alone: what clipping and matching leave out is in neither end.
    ///
    /// # Errors
    /// [`Error::Caller`] for a total that its SQL type cannot hold; [`Error::Internal`] where shapes differ.
    pub(super) fn rows(&self) -> Result<RecordBatch, Error> {
        self.check()?;
        let (groups, outputs) = self.schema.fields().split_at(self.groups.len());
        let mut own = self.own.iter();
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (group, field) in self.groups.iter().zip(groups) {
            columns.push(match group {
                GroupColumn::Labels => {
                    self.spread(&label_values(self.labels.unwrap_or_default(), field.data_type())?, true)?
                }
                GroupColumn::Own(_) => {
                    let values = own.next().ok_or_else(|| Error::internal("a group without its values"))?;
                    let values = self.spread(values, false)?;
                    cast(&values, field.data_type()).map_err(Error::internal)?
                }
            });
        }
        for (output, field) in self.outputs.iter().zip(outputs) {
            let shown = self.cells.iter().map(|cell| self.shown(cell, *output)).collect::<Result<Vec<_>, Error>>()?;
            columns.push(match output.part {
                ResultPart::Note => notes(&shown, field.data_type())?,
                _ => numbers(&shown, field.name(), field.data_type())?,
            });
        }
        RecordBatch::try_new(Arc::clone(self.schema), columns).map_err(Error::internal)
    }

    /// The ± of every output at 95 %, row by row, in the unit of its column: 0 where nothing was added, `None` for
    /// what is not shown, or of which nothing can be said. For reports, which show what `psi_error` would.
    pub(super) fn errors(&self) -> Vec<Vec<Option<f64>>> {
        let error = |cell: &Vec<i128>, output: &ResultColumn| match self
            .shown(cell, ResultColumn { part: ResultPart::Error, ..*output })
        {
            Ok(Ok(Number::Exact(error, decimals))) => Some(unscale(error, decimals)),
            Ok(Ok(Number::Float(error))) => Some(error),
            Ok(Err(_)) | Err(_) => None,
        };
        self.outputs.iter().map(|output| self.cells.iter().map(|cell| error(cell, output)).collect()).collect()
    }

    /// How many of the rows show NULL because their group is under the minimum.
    pub(super) fn hidden(&self) -> usize {
        self.cells.iter().filter(|cell| matches!(self.is_hidden(cell), Ok(true))).count()
    }

    fn is_hidden(&self, cell: &[i128]) -> Result<bool, Error> {
        let Some((persons, minimum)) = self.hidden_by else { return Ok(false) };
        let count = cell.get(persons).ok_or_else(|| Error::internal("no count of persons"))?;
        Ok(*count < i128::from(minimum))
    }

    fn check(&self) -> Result<(), Error> {
        let columns = self.groups.len() + self.outputs.len();
        if columns != self.schema.fields().len() {
            return Err(Error::internal(format!("{columns} outputs for {} columns", self.schema.fields().len())));
        }
        let parts = self.own.first().map_or(1, |values| values.len());
        let cells = parts * self.labels.map_or(1, <[String]>::len);
        if self.cells.len() != cells || self.own.iter().any(|values| values.len() != parts) {
            return Err(Error::internal(format!("{} cells were released where there are {cells}", self.cells.len())));
        }
        match self.cells.iter().find(|cell| cell.len() != self.words.len()) {
            None => Ok(()),
            Some(cell) => Err(Error::internal(format!("{} sums for {} aggregates", cell.len(), self.words.len()))),
        }
    }

    /// One value per label, or per part, as one per cell.
    fn spread(&self, values: &ArrayRef, by_label: bool) -> Result<ArrayRef, Error> {
        let labels = self.labels.map_or(1, <[String]>::len).max(1);
        // There are at most some million cells.
        let index = |cell: usize| (if by_label { cell % labels } else { cell / labels }) as u32;
        let indices: UInt32Array = (0..self.cells.len()).map(|cell| Some(index(cell))).collect();
        take(values, &indices, None).map_err(Error::internal)
    }

    fn shown(&self, cell: &[i128], output: ResultColumn) -> Result<Shown, Error> {
        if self.is_hidden(cell)? {
            return Ok(Err(UNDER_THE_MINIMUM));
        }
        Cell { words: self.words, sums: cell }.shown(output)
    }
}

/// The labels of a policy as values of a column's type.
///
/// # Errors
/// [`Error::Incompatible`] for a type that has no labels, and for a label that is none of its values.
pub(super) fn label_values(labels: &[String], column: &DataType) -> Result<ArrayRef, Error> {
    let unfit = |reason: String| {
        Error::Incompatible(format!("the labels of a column of type {column} cannot be shown: {reason}"))
    };
    let plain = match column {
        DataType::Dictionary(_, values) => values.as_ref(),
        plain => plain,
    };
    if !(plain.is_integer()
        || plain.is_string()
        || matches!(plain, DataType::Boolean | DataType::Date32 | DataType::Date64))
    {
        return Err(unfit("labels are texts, whole numbers, dates or booleans".to_owned()));
    }
    let strictly = CastOptions { safe: false, ..CastOptions::default() };
    let to = |values: &ArrayRef, kind: &DataType| {
        cast_with_options(values, kind, &strictly).map_err(|error| unfit(error.to_string()))
    };
    let texts: ArrayRef = Arc::new(labels.iter().map(Some).collect::<StringArray>());
    // A day is read as one before it is counted in milliseconds.
    let values = if *plain == DataType::Date64 { to(&texts, &DataType::Date32)? } else { texts };
    to(&to(&values, plain)?, column)
}

fn notes(shown: &[Shown], data_type: &DataType) -> Result<ArrayRef, Error> {
    let notes: ArrayRef = Arc::new(shown.iter().map(|shown| shown.err()).collect::<StringArray>());
    cast(&notes, data_type).map_err(Error::internal)
}

/// The numbers as a column of `data_type`.
fn numbers(shown: &[Shown], name: &str, data_type: &DataType) -> Result<ArrayRef, Error> {
    let planned = |number: &Number| Error::internal(format!("{number:?} is planned as {data_type}"));
    let each = shown.iter().map(|shown| shown.as_ref().ok());
    Ok(match data_type {
        DataType::Int64 => {
            let whole = |number: &Number| match number {
                Number::Exact(sum, 0) => i64::try_from(*sum).map_err(|_| too_large(name, data_type)),
                other => Err(planned(other)),
            };
            Arc::new(each.map(|number| number.map(whole).transpose()).collect::<Result<Int64Array, Error>>()?)
        }
        DataType::Decimal128(precision, scale) => {
            // 10^38 - 1 is the largest decimal of 38 digits; i128 reaches 1.7 * 10^38.
            let bound = 10_i128
                .checked_pow(u32::from(*precision))
                .ok_or_else(|| Error::internal("a decimal of more than 38 digits"))?;
            let decimal = |number: &Number| match number {
                Number::Exact(sum, decimals) if i16::from(*scale) == i16::from(*decimals) => {
                    if *sum <= -bound || *sum >= bound { Err(too_large(name, data_type)) } else { Ok(*sum) }
                }
                other => Err(planned(other)),
            };
            let array =
                each.map(|number| number.map(decimal).transpose()).collect::<Result<Decimal128Array, Error>>()?;
            Arc::new(array.with_precision_and_scale(*precision, *scale).map_err(Error::internal)?)
        }
        DataType::Float64 => {
            let float = |number: &Number| match number {
                Number::Exact(sum, decimals) => unscale(*sum, *decimals),
                Number::Float(number) => *number,
            };
            Arc::new(each.map(|number| number.map(float)).collect::<Float64Array>())
        }
        other => return Err(Error::internal(format!("a private aggregate is planned as {other}"))),
    })
}

fn too_large(name: &str, data_type: &DataType) -> Error {
    Error::Caller(format!(
        "the result '{name}' does not fit into {data_type}: ask for a smaller part of the table (a filter), or for AVG"
    ))
}
