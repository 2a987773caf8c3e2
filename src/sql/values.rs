//! A column's values as scaled integers: what the protocol sums.
//!
//! Integers and decimals are exact. Floats become fixed point with the policy's number of decimals,
//! rounded half to even; NaN and the infinities are NULL, as a row without a value. A magnitude above
//! [`VALUE_MAX`] is cut to it: far beyond every clip bound that a word can hold, and low enough that
//! no table can make the exact sum of a person's rows overflow.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::psi::Error;

/// The largest magnitude of one row's scaled value: 2^90. Bounds of a word are below 2^63, or 2^127
/// divided by the number of rows; 2^32 rows of 2^90 stay below 2^127.
pub(super) const VALUE_MAX: i128 = 1 << 90;

/// The values of `column`, one per row, in units of 10^-`decimals`; `None` for NULL.
///
/// # Errors
/// [`Error::Caller`] for a column that is no number, or a decimal with more digits than `decimals`:
/// both follow from the type alone.
pub(super) fn scaled(name: &str, column: &ArrayRef, decimals: u8) -> Result<Vec<Option<i128>>, Error> {
    fn integers<T: ArrowPrimitiveType>(column: &ArrayRef, factor: i128) -> Vec<Option<i128>>
    where
        T::Native: Into<i128>,
    {
        let array: &PrimitiveArray<T> = column.as_primitive();
        array.iter().map(|value| value.map(|value| cut(value.into().saturating_mul(factor)))).collect()
    }
    fn floats(values: impl Iterator<Item = Option<f64>>, decimals: u8) -> Vec<Option<i128>> {
        values.map(|value| value.and_then(|value| fixed_point(value, decimals))).collect()
    }
    let no_number = |kind: &DataType| {
        Error::Caller(format!("column '{name}' is of type {kind}: only integers, decimals and floats can be summed"))
    };
    let power = |exponent: u8| {
        10_i128.checked_pow(u32::from(exponent)).ok_or_else(|| Error::Caller(format!("column '{name}': {decimals} decimals are too many")))
    };
    let decimal_factor = |scale: i8| match u8::try_from(scale) {
        Ok(scale) if scale <= decimals => power(decimals - scale),
        Ok(scale) => Err(Error::Caller(format!("column '{name}' has {scale} decimals, {decimals} are summed"))),
        // A negative scale counts in tens, hundreds, …
        Err(_) => power(decimals.saturating_add(scale.unsigned_abs())),
    };
    Ok(match column.data_type() {
        DataType::Int8 => integers::<Int8Type>(column, power(decimals)?),
        DataType::Int16 => integers::<Int16Type>(column, power(decimals)?),
        DataType::Int32 => integers::<Int32Type>(column, power(decimals)?),
        DataType::Int64 => integers::<Int64Type>(column, power(decimals)?),
        DataType::UInt8 => integers::<UInt8Type>(column, power(decimals)?),
        DataType::UInt16 => integers::<UInt16Type>(column, power(decimals)?),
        DataType::UInt32 => integers::<UInt32Type>(column, power(decimals)?),
        DataType::UInt64 => integers::<UInt64Type>(column, power(decimals)?),
        DataType::Decimal128(_, scale) => integers::<Decimal128Type>(column, decimal_factor(*scale)?),
        DataType::Decimal32(_, scale) => {
            integers::<datafusion::arrow::datatypes::Decimal32Type>(column, decimal_factor(*scale)?)
        }
        DataType::Decimal64(_, scale) => {
            integers::<datafusion::arrow::datatypes::Decimal64Type>(column, decimal_factor(*scale)?)
        }
        DataType::Float16 => {
            floats(column.as_primitive::<Float16Type>().iter().map(|value| value.map(f64::from)), decimals)
        }
        DataType::Float32 => {
            floats(column.as_primitive::<Float32Type>().iter().map(|value| value.map(f64::from)), decimals)
        }
        DataType::Float64 => floats(column.as_primitive::<Float64Type>().iter(), decimals),
        DataType::Null => vec![None; column.len()],
        other => return Err(no_number(other)),
    })
}

/// Whether each row has a value: what COUNT(column) counts, for a column of any type. A float that is
/// no number is no value, as for its sum.
pub(super) fn present(column: &ArrayRef) -> Vec<bool> {
    match column.data_type() {
        DataType::Float16 => {
            column.as_primitive::<Float16Type>().iter().map(|value| value.is_some_and(|value| f64::from(value).is_finite())).collect()
        }
        DataType::Float32 => {
            column.as_primitive::<Float32Type>().iter().map(|value| value.is_some_and(f32::is_finite)).collect()
        }
        DataType::Float64 => {
            column.as_primitive::<Float64Type>().iter().map(|value| value.is_some_and(f64::is_finite)).collect()
        }
        _ => match column.logical_nulls() {
            Some(nulls) => nulls.iter().collect(),
            None => vec![true; column.len()],
        },
    }
}

fn cut(value: i128) -> i128 {
    value.clamp(-VALUE_MAX, VALUE_MAX)
}

fn fixed_point(value: f64, decimals: u8) -> Option<i128> {
    // `as` saturates, and VALUE_MAX is a power of two, exact as a float.
    value.is_finite().then(|| cut((value * 10_f64.powi(i32::from(decimals))).round_ties_even() as i128))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{
        Decimal128Array, Float32Array, Float64Array, Int64Array, NullArray, StringArray, UInt64Array,
    };
    use std::sync::Arc;

    #[test]
    fn integers_and_decimals_are_exact_and_nulls_stay_nulls() {
        let integers: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]));
        assert_eq!(scaled("x", &integers, 0).unwrap(), [Some(i128::from(i64::MIN)), None, Some(7)]);
        assert_eq!(scaled("x", &integers, 2).unwrap()[2], Some(700));
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
        assert_eq!(scaled("x", &unsigned, 0).unwrap(), [Some(i128::from(u64::MAX))]);
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(10, 2).unwrap());
        assert_eq!(scaled("x", &decimals, 2).unwrap(), [Some(-1250), None]);
        assert_eq!(scaled("x", &decimals, 3).unwrap()[0], Some(-12500));
        assert!(matches!(scaled("x", &decimals, 1), Err(Error::Caller(_))), "would lose a digit");
        assert_eq!(scaled("x", &(Arc::new(NullArray::new(2)) as ArrayRef), 0).unwrap(), [None, None]);
    }

    #[test]
    fn floats_round_half_to_even_and_what_is_no_number_is_null() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![
            0.5, 1.5, 2.5, -0.5, -1.5, 0.125, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, f64::MIN_POSITIVE,
        ]));
        let whole = scaled("x", &floats, 0).unwrap();
        let expected = [Some(0), Some(2), Some(2), Some(0), Some(-2), Some(0), None, None, None, Some(VALUE_MAX), Some(-VALUE_MAX), Some(0)];
        assert_eq!(whole, expected);
        assert_eq!(scaled("x", &floats, 2).unwrap()[5], Some(12), "0.125 has an even neighbour in hundredths");
        assert_eq!(present(&floats).iter().filter(|yes| **yes).count(), 9, "NaN and infinities are no values");
        let single: ArrayRef = Arc::new(Float32Array::from(vec![Some(0.25), None]));
        assert_eq!(scaled("x", &single, 2).unwrap(), [Some(25), None]);
        assert_eq!(present(&single), [true, false]);
    }

    #[test]
    fn a_column_that_is_no_number_is_refused_by_its_type() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
        let error = scaled("city", &text, 0).unwrap_err().to_string();
        assert!(error.contains("'city'") && error.contains("Utf8"), "{error}");
        assert_eq!(present(&text), [true], "but it can be counted");
    }
}
