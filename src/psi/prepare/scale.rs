//! The units that sums count in, by the type of the column, and what is refused.

use arrow::datatypes::DataType;

use super::fixed_point::{FLOAT_DECIMALS_MAX, fixed_point};
use super::{LABELS_MAX, PrepareError};

/// Digits of the widest decimal that a sum has.
const DECIMAL_DIGITS: u8 = 38;

/// The unit that totals of a column count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueScale {
    /// Integers: units of 1.
    Integer,
    /// decimal(p, s): units of 10^−s.
    Decimal {
        /// The column's scale s; negative for units of tens, hundreds, …
        scale: i8,
    },
    /// Floats in fixed point: units of 10^−decimals.
    Float {
        /// Decimals by policy, at most [`FLOAT_DECIMALS_MAX`].
        decimals: u8,
    },
}

/// Why values cannot be summed or counted: types, shapes and bounds, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The column's type has no exact sum.
    #[error(
        "a column of type {found} cannot be summed privately: integers, decimal up to {DECIMAL_DIGITS} digits, float and double can"
    )]
    Type {
        /// The column's type.
        found: DataType,
    },
    /// More decimals than a float's fixed point has room for.
    #[error("floats are summed with at most {FLOAT_DECIMALS_MAX} decimals, and {found} were asked for")]
    Decimals {
        /// Decimals asked for.
        found: u8,
    },
    /// A scale that is not this column's.
    #[error("a column of type {found} does not count in the units of {scale:?}")]
    Scale {
        /// The column's type.
        found: DataType,
        /// The scale asked for.
        scale: ValueScale,
    },
    /// Clip bounds the wrong way round.
    #[error("the clip bounds are the wrong way round: min {min} is above max {max}")]
    Bounds {
        /// Lower bound, in units of the scale.
        min: i128,
        /// Upper bound, in units of the scale.
        max: i128,
    },
    /// Labels that are none: a row's number is not below how many there are, or there are too many.
    #[error("a label is a number below {labels}, and there are at most {LABELS_MAX}")]
    Label {
        /// How many labels there are.
        labels: usize,
    },
    /// A column or a filter of another table.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
}

/// The unit of a column's totals, by its type; `float_decimals` is the policy's number for floats
/// and without effect on other types.
///
/// # Errors
/// [`ValueError::Type`] and [`ValueError::Decimals`].
pub fn scale_of(column: &DataType, float_decimals: u8) -> Result<ValueScale, ValueError> {
    match column {
        integer if integer.is_integer() => Ok(ValueScale::Integer),
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            Ok(ValueScale::Decimal { scale: *scale })
        }
        DataType::Float32 | DataType::Float64 if float_decimals <= FLOAT_DECIMALS_MAX => {
            Ok(ValueScale::Float { decimals: float_decimals })
        }
        DataType::Float32 | DataType::Float64 => Err(ValueError::Decimals { found: float_decimals }),
        other => Err(ValueError::Type { found: other.clone() }),
    }
}

impl ValueScale {
    /// The SQL type of a SUM: bigint, decimal(38, s) or double.
    pub fn sum_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Decimal { scale } => DataType::Decimal128(DECIMAL_DIGITS, scale),
            Self::Float { .. } => DataType::Float64,
        }
    }

    /// A number of units as a double, for AVG and for SUM of floats: correctly rounded as long as
    /// the units are below 2^53 and the decimals at most 22, within two roundings otherwise.
    pub fn to_f64(self, units: i128) -> f64 {
        let decimals = match self {
            Self::Integer => 0,
            Self::Decimal { scale } => i32::from(scale),
            Self::Float { decimals } => i32::from(decimals),
        };
        // Powers of ten up to 10^22 are exact doubles, their inverses are not: divide.
        match decimals {
            0.. => units as f64 / 10f64.powi(decimals),
            _ => units as f64 * 10f64.powi(-decimals),
        }
    }

    /// A bound in the column's own units (`500` of an amount) as a number of this scale's units,
    /// rounded half to even; none where it is not finite or does not fit.
    pub fn units(self, bound: f64) -> Option<i128> {
        let whole = || fixed_point(bound, 0).filter(|whole| *whole as f64 == bound);
        let units = match self {
            Self::Integer => fixed_point(bound, 0),
            Self::Float { decimals } => fixed_point(bound, decimals),
            Self::Decimal { scale } => match u8::try_from(scale) {
                Ok(scale) if scale <= FLOAT_DECIMALS_MAX => fixed_point(bound, scale),
                Ok(scale) => 10i128.checked_pow(u32::from(scale))?.checked_mul(whole()?),
                Err(_) => {
                    let unit = 10i128.checked_pow(u32::from(scale.unsigned_abs()))?;
                    whole().filter(|whole| whole % unit == 0).map(|whole| whole / unit)
                }
            },
        };
        units.filter(|units| units.unsigned_abs() < i128::MAX.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_the_type_that_sql_gives_it() {
        let decimal = scale_of(&DataType::Decimal128(10, 2), 6).unwrap();
        assert_eq!(decimal.sum_type(), DataType::Decimal128(38, 2));
        assert_eq!(decimal.to_f64(12_345), 123.45);
        assert_eq!(scale_of(&DataType::UInt8, 6).unwrap().sum_type(), DataType::Int64);
        let float = scale_of(&DataType::Float32, 6).unwrap();
        assert_eq!((float, float.sum_type()), (ValueScale::Float { decimals: 6 }, DataType::Float64));
        assert_eq!(scale_of(&DataType::Float64, 19), Err(ValueError::Decimals { found: 19 }));
        for refused in
            [DataType::Utf8, DataType::Boolean, DataType::Float16, DataType::Decimal256(50, 2), DataType::Date32]
        {
            assert_eq!(scale_of(&refused, 2), Err(ValueError::Type { found: refused }));
        }
    }

    #[test]
    fn bounds_are_written_in_the_column_s_own_units() {
        assert_eq!(ValueScale::Integer.units(500.0), Some(500));
        assert_eq!(ValueScale::Decimal { scale: 2 }.units(500.1), Some(50_010));
        assert_eq!(ValueScale::Decimal { scale: 30 }.units(5.0), Some(5 * 10i128.pow(30)));
        assert_eq!(ValueScale::Decimal { scale: 30 }.units(5.5), None);
        assert_eq!(ValueScale::Decimal { scale: -2 }.units(500.0), Some(5));
        assert_eq!(ValueScale::Decimal { scale: -2 }.units(550.0), None);
        assert_eq!(ValueScale::Float { decimals: 3 }.units(-0.5), Some(-500));
        assert_eq!(ValueScale::Float { decimals: 3 }.units(1e300), None);
        assert_eq!(ValueScale::Integer.units(f64::NAN), None);
    }
}
