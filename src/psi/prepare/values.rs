//! What a person contributes to an aggregate: exact totals and row counts over its passing rows.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::entries::{emptied, passing_rows};
use super::fixed_point::fixed_point;
use super::scale::{ValueError, ValueScale, scale_of};
use super::{NO_PERSON, PreparedTable};
use crate::dp::{Clip, Total};

/// Each person's total over its passing rows, before clipping.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonTotals {
    /// Per person, the exact sum saturated to i128, in units of the scale; 0 for who does not
    /// contribute.
    pub totals: Vec<i128>,
    /// Per person, whether it has a passing row with a value.
    pub contributes: BooleanBuffer,
}

impl PersonTotals {
    /// Each person's clipped contribution: the total in [min, max] of who contributes, and 0 of
    /// who does not, even where 0 is outside of [min, max].
    ///
    /// # Errors
    /// [`ValueError::Bounds`].
    pub fn clip(self, min: i128, max: i128) -> Result<Vec<i128>, ValueError> {
        let clip = Clip::new(min, max).map_err(|_| ValueError::Bounds { min, max })?;
        let mut totals = self.totals;
        for (total, contributes) in totals.iter_mut().zip(&self.contributes) {
            *total = if contributes { clip.clip(*total) } else { 0 };
        }
        Ok(totals)
    }
}

impl std::fmt::Debug for PersonTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonTotals").field("persons", &self.totals.len()).finish_non_exhaustive()
    }
}

/// Sums a value column per person, over the rows that pass.
///
/// The sum is exact and then saturated, so the order of rows has no say. Null values, NaN and the
/// infinities are skipped; floats are rounded row by row to fixed point, half to even
/// ([`fixed_point`]), and a single float beyond i128 counts as ±`i128::MAX`.
///
/// `passing` and `values` have the prepared table's rows; a null in `passing` does not pass.
/// `scale` is what [`scale_of`] gives for the column.
///
/// # Errors
/// [`ValueError`], by types and shapes alone.
pub fn person_totals(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
) -> Result<PersonTotals, ValueError> {
    totals(table, passing, values, scale, |value| value)
}

/// Sums the squares of a value column per person, over the rows that pass: exactly, then saturated, in units of the
/// square of the scale's. Nulls, NaN and the infinities are skipped; floats are rounded to fixed point before they are
/// squared. For bounds of 0 to a column's `squares_max`.
///
/// # Errors
/// [`ValueError`], by types and shapes alone.
pub fn person_squares(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
) -> Result<PersonTotals, ValueError> {
    totals(table, passing, values, scale, square)
}

/// The square, or the nearest i128. No square is below 0, so sums of saturated ones saturate where the exact sum does.
pub(super) fn square(value: i128) -> i128 {
    value.checked_mul(value).unwrap_or(i128::MAX)
}

/// Who has a row that passes: 1, and 0 for all others. What COUNT(*) with a filter of its own sums: `passing` is then the
/// question's filter and the word's.
///
/// # Errors
/// [`ValueError::Prepare`].
pub fn persons_passing(table: &PreparedTable, passing: Option<&BooleanArray>) -> Result<Vec<i128>, ValueError> {
    let emptied = emptied(table, passing)?;
    Ok(emptied.iter().map(|emptied| i128::from(!emptied)).collect())
}

fn totals(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    values: &ArrayRef,
    scale: ValueScale,
    of: impl Fn(i128) -> i128,
) -> Result<PersonTotals, ValueError> {
    table.check_rows("value column", values.len())?;
    let passing = passing_rows(table, passing)?;
    let value = reader(values, scale)?;

    let mut sums = vec![Total::new(); table.persons()];
    let mut contributes = vec![false; table.persons()];
    for (row, person) in table.person_of_row().iter().enumerate() {
        let passes = passing.as_ref().is_none_or(|passing| passing.value(row));
        if *person == NO_PERSON || !passes {
            continue;
        }
        if let Some(value) = value(row) {
            sums[*person as usize].add(of(value));
            contributes[*person as usize] = true;
        }
    }
    Ok(PersonTotals {
        totals: sums.into_iter().map(Total::saturated).collect(),
        contributes: BooleanBuffer::from(contributes),
    })
}

/// Counts, per person, the passing rows where `column` is not null, at most `max_rows`: what a
/// person contributes to COUNT(column). NaN and the infinities are null, as in the sum that AVG
/// divides.
///
/// # Errors
/// [`ValueError::Prepare`]; a column of any type can be counted.
pub fn person_row_counts(
    table: &PreparedTable,
    passing: Option<&BooleanArray>,
    column: &ArrayRef,
    max_rows: u64,
) -> Result<Vec<i128>, ValueError> {
    table.check_rows("counted column", column.len())?;
    let passing = passing_rows(table, passing)?;
    let valid = countable(column);

    let mut counts = vec![0u64; table.persons()];
    for (row, person) in table.person_of_row().iter().enumerate() {
        let passes = passing.as_ref().is_none_or(|passing| passing.value(row));
        let counted = valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        if *person != NO_PERSON && passes && counted {
            counts[*person as usize] += 1;
        }
    }
    let clipped = counts.into_iter().map(|count| i128::from(count.min(max_rows)));
    Ok(clipped.collect())
}

/// The rows of a column that count.
pub(super) fn countable(column: &ArrayRef) -> Option<NullBuffer> {
    let finite = match column.data_type() {
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>().values();
            BooleanBuffer::collect_bool(values.len(), |row| values[row].is_finite())
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            BooleanBuffer::collect_bool(values.len(), |row| values[row].is_finite())
        }
        _ => return column.logical_nulls(),
    };
    NullBuffer::union(column.nulls(), Some(&NullBuffer::new(finite)))
}

/// Reads a row's value in units of the scale.
pub(super) type Reader<'a> = Box<dyn Fn(usize) -> Option<i128> + 'a>;

pub(super) fn reader(values: &ArrayRef, scale: ValueScale) -> Result<Reader<'_>, ValueError> {
    let own = scale_of(
        values.data_type(),
        match scale {
            ValueScale::Float { decimals } => decimals,
            _ => 0,
        },
    )?;
    if own != scale {
        return Err(ValueError::Scale { found: values.data_type().clone(), scale });
    }
    let decimals = match scale {
        ValueScale::Float { decimals } => decimals,
        _ => 0,
    };
    Ok(match values.data_type() {
        DataType::Int8 => whole::<Int8Type>(values),
        DataType::Int16 => whole::<Int16Type>(values),
        DataType::Int32 => whole::<Int32Type>(values),
        DataType::Int64 => whole::<Int64Type>(values),
        DataType::UInt8 => whole::<UInt8Type>(values),
        DataType::UInt16 => whole::<UInt16Type>(values),
        DataType::UInt32 => whole::<UInt32Type>(values),
        DataType::UInt64 => whole::<UInt64Type>(values),
        DataType::Decimal32(_, _) => whole::<Decimal32Type>(values),
        DataType::Decimal64(_, _) => whole::<Decimal64Type>(values),
        DataType::Decimal128(_, _) => whole::<Decimal128Type>(values),
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            Box::new(move |row| {
                let value = floats.is_valid(row).then(|| floats.value(row))?;
                fixed_point(f64::from(value), decimals)
            })
        }
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            Box::new(move |row| {
                let value = floats.is_valid(row).then(|| floats.value(row))?;
                fixed_point(value, decimals)
            })
        }
        other => {
            return Err(ValueError::Type { found: other.clone() });
        }
    })
}

/// Integers, and decimals by their unscaled integer.
fn whole<T>(values: &ArrayRef) -> Reader<'_>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = values.as_primitive::<T>();
    Box::new(move |row| values.is_valid(row).then(|| values.value(row).into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float32Array, Float64Array, Int8Array, Int64Array, LargeBinaryArray, StringArray, UInt64Array,
    };
    use proptest::prelude::*;

    use super::super::{PrepareError, prepare};
    use super::*;

    /// One row per letter: the row's person, `-` for nobody.
    fn persons(rows: &str) -> PreparedTable {
        let column: LargeBinaryArray = rows.bytes().map(|person| (person != b'-').then_some([person])).collect();
        prepare(vec![column]).unwrap()
    }

    fn totals(rows: &str, values: ArrayRef) -> Vec<i128> {
        let scale = scale_of(values.data_type(), 2).unwrap();
        person_totals(&persons(rows), None, &values, scale).unwrap().totals
    }

    #[test]
    fn rows_are_summed_by_person_and_nulls_are_skipped() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), None, Some(4), Some(8), None]));
        let table = persons("aba-ac");
        let found = person_totals(&table, None, &values, ValueScale::Integer).unwrap();
        assert_eq!(found.totals, [9, 2, 0]);
        assert_eq!(found.contributes, BooleanBuffer::from(vec![true, true, false]));
    }

    #[test]
    fn only_passing_rows_count_and_null_does_not_pass() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 4, 8]));
        let passing = BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]);
        let table = persons("aabb");
        let found = person_totals(&table, Some(&passing), &values, ValueScale::Integer).unwrap();
        assert_eq!(found.totals, [1, 4]);
        let counts = person_row_counts(&table, Some(&passing), &values, 9).unwrap();
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn who_contributes_nothing_adds_zero_and_not_the_minimum() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(70), None]));
        let found = person_totals(&persons("abc"), None, &values, ValueScale::Integer).unwrap();
        assert_eq!(found.clip(5, 60).unwrap(), [5, 60, 0]);
    }

    #[test]
    fn the_sum_is_clipped_and_not_its_rows() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1000, -990]));
        let found = person_totals(&persons("aa"), None, &values, ValueScale::Integer).unwrap();
        assert_eq!(found.clip(-100, 100).unwrap(), [10]);
    }

    #[test]
    fn clip_bounds_the_wrong_way_round_are_refused() {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let found = person_totals(&persons("a"), None, &values, ValueScale::Integer).unwrap();
        assert_eq!(found.clip(2, 1), Err(ValueError::Bounds { min: 2, max: 1 }));
    }

    #[test]
    fn sums_saturate_only_at_the_end_and_at_both_ends() {
        let extreme = |values: Vec<i128>| -> ArrayRef { Arc::new(Decimal128Array::from(values)) };
        assert_eq!(totals("aa", extreme(vec![i128::MAX, 1])), [i128::MAX]);
        assert_eq!(totals("aa", extreme(vec![i128::MIN, -1])), [i128::MIN]);
        assert_eq!(totals("aaa", extreme(vec![i128::MAX, i128::MAX, i128::MIN])), [i128::MAX - 1]);
        assert_eq!(totals("aaa", extreme(vec![i128::MIN, i128::MIN, i128::MAX])), [i128::MIN]);
        assert_eq!(totals("aaaa", extreme(vec![i128::MIN, i128::MIN, i128::MAX, i128::MAX])), [-2]);
        assert_eq!(totals("a", extreme(vec![i128::MIN])), [i128::MIN]);
    }

    #[test]
    fn integers_of_every_width_keep_their_extremes() {
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, u64::MAX]));
        assert_eq!(totals("aa", unsigned), [2 * i128::from(u64::MAX)]);
        let narrow: ArrayRef = Arc::new(Int8Array::from(vec![i8::MIN, i8::MIN]));
        assert_eq!(totals("aa", narrow), [-256]);
    }

    #[test]
    fn floats_are_rounded_row_by_row_and_their_oddities_are_null() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(0.125),
            Some(0.375),
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
            None,
        ]));
        let scale = ValueScale::Float { decimals: 2 };
        let table = persons("aabbbb");
        let found = person_totals(&table, None, &values, scale).unwrap();
        assert_eq!(found.totals, [12 + 38, 0]);
        assert_eq!(found.clip(1, 9).unwrap(), [9, 0]);
        assert_eq!(person_row_counts(&table, None, &values, 9).unwrap(), [2, 0]);
        let single: ArrayRef = Arc::new(Float32Array::from(vec![1.5f32, f32::NAN]));
        assert_eq!(totals("aa", Arc::clone(&single)), [150]);
        assert_eq!(person_row_counts(&persons("aa"), None, &single, 9).unwrap(), [1]);
    }

    #[test]
    fn floats_beyond_all_integers_cancel() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![1e300, -1e300, 0.07]));
        assert_eq!(totals("aaa", values), [7]);
    }

    #[test]
    fn counts_stop_at_max_rows() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("y"), Some("z")]));
        let counts = |max| person_row_counts(&persons("aaaab"), None, &text, max).unwrap();
        assert_eq!(counts(2), [2, 1]);
        assert_eq!(counts(3), [3, 1]);
        assert_eq!(counts(4), [3, 1]);
    }

    #[test]
    fn columns_of_another_table_or_in_other_units_are_refused() {
        let table = persons("ab");
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let differ = ValueError::Prepare(PrepareError::RowsDiffer { what: "value column", found: 1, expected: 2 });
        assert_eq!(person_totals(&table, None, &values, ValueScale::Integer), Err(differ));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let scale = ValueScale::Float { decimals: 2 };
        assert!(matches!(person_totals(&table, None, &values, scale), Err(ValueError::Scale { .. })));
        let short = BooleanArray::from(vec![true]);
        assert!(person_row_counts(&table, Some(&short), &values, 1).is_err());
    }

    proptest! {
        #[test]
        fn totals_are_the_naive_sums_in_any_order_of_rows(
            (rows, order) in proptest::collection::vec(
                (
                    0u8..4,
                    any::<Option<bool>>(),
                    proptest::option::of(prop_oneof![
                        any::<i64>().prop_map(i128::from),
                        Just(i128::MAX),
                        Just(i128::MIN),
                        any::<i128>(),
                    ]),
                ),
                0..30,
            )
            .prop_flat_map(|rows| {
                let order: Vec<usize> = (0..rows.len()).collect();
                (Just(rows), Just(order).prop_shuffle())
            }),
        ) {
            let run = |order: &[usize]| {
                let rows: Vec<_> = order.iter().map(|row| rows[*row]).collect();
                let names: LargeBinaryArray = rows.iter().map(|row| Some([row.0])).collect();
                let table = prepare(vec![names]).unwrap();
                let passing = BooleanArray::from(rows.iter().map(|row| row.1).collect::<Vec<_>>());
                let values: ArrayRef = Arc::new(Decimal128Array::from(
                    rows.iter().map(|row| row.2).collect::<Vec<_>>(),
                ));
                let scale = scale_of(values.data_type(), 0).unwrap();
                let totals = person_totals(&table, Some(&passing), &values, scale).unwrap();
                let counts = person_row_counts(&table, Some(&passing), &values, 3).unwrap();
                (totals, counts)
            };
            let in_order: Vec<usize> = (0..rows.len()).collect();
            let (totals, counts) = run(&in_order);
            prop_assert_eq!((totals.clone(), counts.clone()), run(&order));

            let mut names: Vec<u8> = rows.iter().map(|row| row.0).collect();
            names.sort_unstable();
            names.dedup();
            for (person, name) in names.iter().enumerate() {
                let own: Vec<i128> = rows
                    .iter()
                    .filter(|row| row.0 == *name && row.1 == Some(true))
                    .filter_map(|row| row.2)
                    .collect();
                // The exact sum by halves: all but the lowest bytes, and the lowest bytes, of 30
                // values stay inside i128.
                let shifted: i128 = own.iter().map(|value| value >> 8).sum();
                let rests: i128 = own.iter().map(|value| value & 0xff).sum();
                let whole = shifted + (rests >> 8);
                let expected = match whole.checked_mul(256) {
                    Some(high) => high.saturating_add(rests & 0xff),
                    None if whole < 0 => i128::MIN,
                    None => i128::MAX,
                };
                prop_assert_eq!(totals.totals[person], expected);
                prop_assert_eq!(totals.contributes.value(person), !own.is_empty());
                prop_assert_eq!(counts[person], own.len().min(3) as i128);
            }
        }
    }
}
