//! From the sums that a run released to the one row that its query returns.
//!
//! Types (fixed at planning, checked here): COUNT is a bigint; SUM of integers a bigint, of decimals a
//! decimal with the column's scale, of floats a double; AVG a double. SUM over no match is 0, AVG is
//! NULL when its count is not positive. A sum that its type cannot hold is an error: nothing wraps.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::query::PrivateOutput;
use crate::psi::{Error, Question, WordTerms};

/// The answer's row: `sums` are the released totals per aggregate of `question`, in units of
/// 10^-decimals of its word; `schema` is the query node's output, one field per output.
///
/// # Errors
/// [`Error::Caller`] for a total that its SQL type cannot hold; [`Error::Internal`] where shapes differ.
pub(super) fn answer_row(
    schema: &SchemaRef,
    outputs: &[PrivateOutput],
    question: &Question,
    words: &[WordTerms],
    sums: &[i128],
) -> Result<RecordBatch, Error> {
    if outputs.len() != schema.fields().len() {
        return Err(Error::internal(format!("{} outputs for {} columns", outputs.len(), schema.fields().len())));
    }
    if sums.len() != words.len() || sums.len() != question.aggregates.len() {
        return Err(Error::internal(format!("{} sums for {} aggregates", sums.len(), question.aggregates.len())));
    }
    let total = |index: usize| match (sums.get(index), words.get(index)) {
        (Some(sum), Some(word)) => Ok((*sum, word.decimals)),
        _ => Err(Error::internal(format!("an output names aggregate {index} of {}", sums.len()))),
    };
    let columns = outputs
        .iter()
        .zip(schema.fields())
        .map(|(output, field)| match output {
            PrivateOutput::Count(index) => {
                let (count, decimals) = total(*index)?;
                if decimals != 0 {
                    return Err(Error::internal("a count has decimals"));
                }
                value(count, 0, field.name(), field.data_type())
            }
            PrivateOutput::Sum(index) => {
                let (sum, decimals) = total(*index)?;
                value(sum, decimals, field.name(), field.data_type())
            }
            PrivateOutput::Avg { sum, rows } => {
                let ((sum, decimals), (rows, _)) = (total(*sum)?, total(*rows)?);
                let mean = (rows > 0).then(|| unscale(sum, decimals) / rows as f64);
                match field.data_type() {
                    DataType::Float64 => Ok(Arc::new(Float64Array::from(vec![mean])) as ArrayRef),
                    other => Err(Error::internal(format!("an average is planned as {other}"))),
                }
            }
        })
        .collect::<Result<Vec<_>, Error>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(Error::internal)
}

/// The total as one value of `data_type`.
fn value(sum: i128, decimals: u8, name: &str, data_type: &DataType) -> Result<ArrayRef, Error> {
    match data_type {
        DataType::Int64 if decimals == 0 => {
            let fits = i64::try_from(sum).map_err(|_| too_large(name, data_type))?;
            Ok(Arc::new(Int64Array::from(vec![fits])))
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 && *scale as u8 == decimals => {
            // 10^38 - 1 is the largest decimal of 38 digits; i128 reaches 1.7 * 10^38.
            let bound = 10_i128
                .checked_pow(u32::from(*precision))
                .ok_or_else(|| Error::internal("a decimal of more than 38 digits"))?;
            if sum <= -bound || sum >= bound {
                return Err(too_large(name, data_type));
            }
            let array = Decimal128Array::from(vec![sum])
                .with_precision_and_scale(*precision, *scale)
                .map_err(Error::internal)?;
            Ok(Arc::new(array))
        }
        DataType::Float64 => Ok(Arc::new(Float64Array::from(vec![unscale(sum, decimals)]))),
        other => Err(Error::internal(format!("a sum with {decimals} decimals is planned as {other}"))),
    }
}

/// `sum` / 10^`decimals`, correctly rounded where `sum` and the power are below 2^53.
fn unscale(sum: i128, decimals: u8) -> f64 {
    sum as f64 / 10_f64.powi(i32::from(decimals))
}

fn too_large(name: &str, data_type: &DataType) -> Error {
    Error::Caller(format!(
        "the result '{name}' does not fit into {data_type}: ask for a smaller part of the table (a filter), or for AVG"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::psi::Aggregate;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;

    fn word(decimals: u8) -> WordTerms {
        WordTerms { min: 0, max: 1 << 40, decimals }
    }

    fn question(aggregates: usize) -> Question {
        Question {
            table: "t".to_owned(),
            identifiers: vec!["email".to_owned()],
            filter: None,
            aggregates: vec![Aggregate::Persons; aggregates],
        }
    }

    fn row(types: &[DataType], outputs: &[PrivateOutput], decimals: &[u8], sums: &[i128]) -> Result<String, Error> {
        let fields: Vec<Field> =
            types.iter().enumerate().map(|(index, kind)| Field::new(format!("c{index}"), kind.clone(), true)).collect();
        let words: Vec<WordTerms> = decimals.iter().map(|decimals| word(*decimals)).collect();
        let batch = answer_row(&Arc::new(Schema::new(fields)), outputs, &question(sums.len()), &words, sums)?;
        Ok(pretty_format_batches(&[batch]).unwrap().to_string().lines().nth(3).unwrap().to_owned())
    }

    #[test]
    fn every_output_has_its_sql_type_and_its_exact_value() {
        let text = row(
            &[DataType::Int64, DataType::Int64, DataType::Decimal128(38, 2), DataType::Float64, DataType::Float64],
            &[
                PrivateOutput::Count(0),
                PrivateOutput::Sum(1),
                PrivateOutput::Sum(2),
                PrivateOutput::Sum(3),
                PrivateOutput::Avg { sum: 3, rows: 0 },
            ],
            &[0, 0, 2, 3],
            &[4, -17, 123_456_789_012_345_678_901, 1_500],
        )
        .unwrap();
        assert_eq!(
            text.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>(),
            ["4", "-17", "1234567890123456789.01", "1.5", "0.375"]
        );
    }

    #[test]
    fn a_sum_over_no_match_is_zero_and_an_average_is_null() {
        let text = row(
            &[DataType::Decimal128(38, 1), DataType::Float64],
            &[PrivateOutput::Sum(0), PrivateOutput::Avg { sum: 0, rows: 1 }],
            &[1, 0],
            &[0, 0],
        )
        .unwrap();
        assert_eq!(text.split('|').map(str::trim).collect::<Vec<_>>(), ["", "0.0", "", ""]);
    }

    #[test]
    fn a_total_outside_its_type_is_the_callers_error_and_never_wraps() {
        for (kind, decimals, edge) in [
            (DataType::Int64, 0, i128::from(i64::MAX)),
            (DataType::Int64, 0, i128::from(i64::MIN)),
            (DataType::Decimal128(38, 3), 3, 10_i128.pow(38) - 1),
            (DataType::Decimal128(38, 3), 3, 1 - 10_i128.pow(38)),
        ] {
            let sum = [PrivateOutput::Sum(0)];
            assert!(row(std::slice::from_ref(&kind), &sum, &[decimals], &[edge]).is_ok());
            let past = row(&[kind], &sum, &[decimals], &[edge + edge.signum()]).unwrap_err();
            assert!(matches!(&past, Error::Caller(text) if text.contains("'c0' does not fit")), "{past}");
        }
    }

    #[test]
    fn shapes_that_planning_cannot_produce_are_internal_errors_and_no_panics() {
        let sum = [PrivateOutput::Sum(0)];
        let beyond = [PrivateOutput::Sum(3)];
        let count = [PrivateOutput::Count(0)];
        for (kind, outputs, decimals) in [
            (DataType::Utf8, &sum, 0),
            (DataType::Int64, &sum, 2),
            (DataType::Int64, &beyond, 0),
            (DataType::Int64, &count, 1),
        ] {
            assert!(matches!(row(&[kind], outputs, &[decimals], &[1]), Err(Error::Internal(_))));
        }
        assert!(matches!(row(&[DataType::Int64, DataType::Int64], &sum, &[0], &[1]), Err(Error::Internal(_))));
    }
}
