//! `exact/1`: SQL text, byte for byte.

use std::fmt::Display;
use std::io::Write;

/// Appends the bytes as they are; an empty value identifies nobody.
pub(super) fn write_bytes(value: &[u8], out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value);
    !value.is_empty()
}

/// Appends an integer's decimal text.
pub(super) fn write_integer(value: &impl Display, out: &mut Vec<u8>) -> bool {
    write!(out, "{value}").is_ok()
}

/// Appends a day's ISO 8601 text, `days` counted from 1970-01-01.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil(days);
    let written = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
    written.is_ok()
}

/// Year, month and day in the proleptic Gregorian calendar.
///
/// Counted in eras of 400 years that start on 1 March, so that the leap day is a year's last:
/// H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    // Day 0 is 0000-03-01; a day count in milliseconds or 32 bits is far from overflowing.
    let days = days + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Date32Array};
    use arrow::compute::cast;
    use arrow::datatypes::DataType;

    fn date(days: i64) -> String {
        let mut out = Vec::new();
        assert!(write_date(days, &mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_date_prints_as_a_sql_cast_prints_it() {
        // Every day around 1970, 1900, 2000 and 2100, then strides over all years of four digits.
        let near = (-26_000..50_000).step_by(1);
        let far = (-719_528..2_932_897).step_by(997);
        let days: Vec<i32> = near.chain(far).collect();
        let texts = cast(&Date32Array::from(days.clone()), &DataType::Utf8).unwrap();
        for (day, text) in days.iter().zip(texts.as_string::<i32>()) {
            assert_eq!(Some(date(i64::from(*day)).as_str()), text);
        }
    }

    #[test]
    fn years_beyond_four_digits_carry_a_sign() {
        assert_eq!(date(2_932_896), "9999-12-31");
        assert_eq!(date(2_932_897), "+10000-01-01");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-0001-12-31");
        assert_eq!(date(i64::from(i32::MIN)), "-5877641-06-23");
    }
}
