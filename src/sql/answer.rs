//! From the sums that a run released to the one row that its query returns.
//!
//! Types (fixed at planning, checked here): COUNT is a bigint; SUM of integers a bigint, of decimals a
//! decimal with the column's scale, of floats a double; AVG a double. SUM over no match is 0, AVG is
//! NULL when its count is not positive. A sum that its type cannot hold is an error: nothing wraps.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};

use super::functions::ResultPart;
use super::query::{PrivateOutput, ResultColumn};
use crate::psi::{Error, Question, WordTerms};

/// The chance that an interval holds the value that a release would have without its noise.
const CONFIDENCE: f64 = 0.95;

/// The answer's row: `sums` are the released totals per aggregate of `question`, in units of
/// 10^-decimals of its word; `schema` is the query node's output, one field per output.
///
/// An interval is about the noise alone: what clipping and matching leave out is in neither end. That of an average
/// is that of the ratio over both of its parts' intervals, each at a confidence that makes the two together 95 %
/// (union bound); its ends are NULL where the count may be zero or less.
///
/// # Errors
/// [`Error::Caller`] for a total that its SQL type cannot hold; [`Error::Internal`] where shapes differ.
pub(super) fn answer_row(
    schema: &SchemaRef,
    outputs: &[ResultColumn],
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
    let released = |index: usize| match (sums.get(index), words.get(index)) {
        (Some(sum), Some(word)) => Ok(Released { sum: *sum, word }),
        _ => Err(Error::internal(format!("an output names aggregate {index} of {}", sums.len()))),
    };
    let columns = outputs
        .iter()
        .zip(schema.fields())
        .map(|(output, field)| match output.of {
            PrivateOutput::Count(index) => {
                let count = released(index)?;
                if count.word.decimals != 0 {
                    return Err(Error::internal("a count has decimals"));
                }
                value(count.part(output.part)?, 0, field.name(), field.data_type())
            }
            PrivateOutput::Sum(index) => {
                let sum = released(index)?;
                value(sum.part(output.part)?, sum.word.decimals, field.name(), field.data_type())
            }
            PrivateOutput::Avg { sum, rows } => {
                let mean = mean(&released(sum)?, &released(rows)?, output.part);
                match field.data_type() {
                    DataType::Float64 => Ok(Arc::new(Float64Array::from(vec![mean])) as ArrayRef),
                    other => Err(Error::internal(format!("an average is planned as {other}"))),
                }
            }
        })
        .collect::<Result<Vec<_>, Error>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(Error::internal)
}

/// The ± of every output at 95 %, in the unit of its column: 0 where nothing was added, `None` for a mean of which
/// nothing can be said. For reports, which show what a query of plain aggregates would get from `psi_error`.
pub(super) fn answer_errors(outputs: &[ResultColumn], words: &[WordTerms], sums: &[i128]) -> Vec<Option<f64>> {
    let released = |index: usize| Some(Released { sum: *sums.get(index)?, word: words.get(index)? });
    outputs
        .iter()
        .map(|output| match output.of {
            PrivateOutput::Count(index) | PrivateOutput::Sum(index) => {
                let released = released(index)?;
                Some(unscale(released.error(CONFIDENCE), released.word.decimals))
            }
            PrivateOutput::Avg { sum, rows } => mean(&released(sum)?, &released(rows)?, ResultPart::Error),
        })
        .collect()
}

/// One released total.
struct Released<'a> {
    sum: i128,
    word: &'a WordTerms,
}

impl Released<'_> {
    /// Half of the interval's width, in the word's units.
    fn error(&self, confidence: f64) -> i128 {
        i128::try_from(self.word.noise.interval(confidence)).unwrap_or(i128::MAX)
    }

    fn part(&self, part: ResultPart) -> Result<i128, Error> {
        let error = self.error(CONFIDENCE);
        let shown = match part {
            ResultPart::Value => Some(self.sum),
            ResultPart::Low => self.sum.checked_sub(error),
            ResultPart::High => self.sum.checked_add(error),
            ResultPart::Error => Some(error),
        };
        shown.ok_or_else(|| Error::Caller("the interval of a sum is too wide for any number type".to_owned()))
    }
}

/// A part of sum / rows; `None` where the number of rows may be 0 or less, so that there is no mean, or no bound on it.
fn mean(sum: &Released<'_>, rows: &Released<'_>, part: ResultPart) -> Option<f64> {
    let decimals = sum.word.decimals;
    let ratio = |sum: f64, rows: f64| sum / rows;
    let middle = (rows.sum > 0).then(|| ratio(unscale(sum.sum, decimals), rows.sum as f64));
    if part == ResultPart::Value {
        return middle;
    }
    // Both hold with 95 %: each alone with 97.5 %.
    let confidence = 1.0 - (1.0 - CONFIDENCE) / 2.0;
    let (sum_error, rows_error) = (sum.error(confidence), rows.error(confidence));
    let (few, many) = (rows.sum.saturating_sub(rows_error), rows.sum.saturating_add(rows_error));
    if few <= 0 {
        return None;
    }
    let ends = |sum: f64| [ratio(sum, few as f64), ratio(sum, many as f64)];
    let low = ends(unscale(sum.sum.saturating_sub(sum_error), decimals)).into_iter().fold(f64::INFINITY, f64::min);
    let high = ends(unscale(sum.sum.saturating_add(sum_error), decimals)).into_iter().fold(f64::NEG_INFINITY, f64::max);
    match part {
        ResultPart::Low => Some(low),
        ResultPart::High => Some(high),
        // The larger of the two sides: the interval of a ratio is not symmetric.
        _ => middle.map(|middle| (middle - low).max(high - middle)),
    }
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
    use crate::dp::Noise;
    use crate::psi::Aggregate;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;

    fn word(decimals: u8) -> WordTerms {
        noisy(decimals, Noise::None)
    }

    fn noisy(decimals: u8, noise: Noise) -> WordTerms {
        WordTerms { min: 0, max: 1 << 40, decimals, noise }
    }

    fn question(aggregates: usize) -> Question {
        Question {
            table: "t".to_owned(),
            identifiers: vec!["email".to_owned()],
            filter: None,
            aggregates: vec![Aggregate::Persons.into(); aggregates],
            group_by: None,
            own_groups: false,
        }
    }

    fn row(types: &[DataType], outputs: &[PrivateOutput], decimals: &[u8], sums: &[i128]) -> Result<String, Error> {
        let fields: Vec<Field> =
            types.iter().enumerate().map(|(index, kind)| Field::new(format!("c{index}"), kind.clone(), true)).collect();
        let words: Vec<WordTerms> = decimals.iter().map(|decimals| word(*decimals)).collect();
        let outputs: Vec<ResultColumn> = outputs.iter().map(|output| ResultColumn::from(*output)).collect();
        let batch = answer_row(&Arc::new(Schema::new(fields)), &outputs, &question(sums.len()), &words, sums)?;
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
    fn an_interval_is_as_wide_as_the_noise_and_that_of_a_ratio_holds_every_quotient_of_its_parts() {
        // A discrete Laplace of scale 20: 95 % of it is within 60, 97.5 % within 74.
        let noise: Noise = "laplace 20/1".parse().unwrap();
        let (at_95, at_975) = (noise.interval(0.95) as i128, noise.interval(0.975) as i128);
        assert!((55..=65).contains(&at_95) && (70..=78).contains(&at_975), "{at_95} {at_975}");
        let words = [noisy(1, noise.clone()), noisy(0, noise)];
        let (sum, rows) = (50_000_i128, 1_000_i128);
        let parts = [ResultPart::Value, ResultPart::Low, ResultPart::High, ResultPart::Error];
        let of = |of: PrivateOutput, kind: DataType| {
            let outputs = parts.map(|part| ResultColumn { of, part });
            let fields: Vec<Field> = (0..4).map(|n| Field::new(format!("c{n}"), kind.clone(), true)).collect();
            let schema = Arc::new(Schema::new(fields));
            answer_row(&schema, &outputs, &question(2), &words, &[sum, rows]).unwrap()
        };
        let sums = of(PrivateOutput::Sum(0), DataType::Decimal128(38, 1));
        let shown: Vec<i128> =
            sums.columns().iter().map(|c| c.as_any().downcast_ref::<Decimal128Array>().unwrap().value(0)).collect();
        assert_eq!(shown, [sum, sum - at_95, sum + at_95, at_95]);
        let means = of(PrivateOutput::Avg { sum: 0, rows: 1 }, DataType::Float64);
        let mean: Vec<f64> =
            means.columns().iter().map(|c| c.as_any().downcast_ref::<Float64Array>().unwrap().value(0)).collect();
        let (low, high) = (
            (sum - at_975) as f64 / 10.0 / (rows + at_975) as f64,
            (sum + at_975) as f64 / 10.0 / (rows - at_975) as f64,
        );
        assert_eq!(mean, [5.0, low, high, high - 5.0]);
        let few = answer_row(
            &Arc::new(Schema::new(vec![Field::new("low", DataType::Float64, true)])),
            &[ResultColumn { of: PrivateOutput::Avg { sum: 0, rows: 1 }, part: ResultPart::Low }],
            &question(2),
            &words,
            &[sum, 30],
        );
        assert_eq!(few.unwrap().column(0).null_count(), 1, "a count that may be zero bounds no mean");
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
