//! Decimal numbers as a policy writes them: kept exactly, never rounded to a binary float.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The most digits of a number, before and after the point together: what an `i128` surely holds.
const DIGITS_MAX: usize = 38;
/// The most digits after the point.
const SCALE_MAX: u8 = 30;
/// The longest text that is looked at: a number of 38 digits with sign, underscores and exponent is shorter.
const TEXT_BYTES_MAX: usize = 128;

/// An exact decimal number: `unscaled` units of 10^-`scale`.
///
/// Reads `12`, `-12.50`, `+1_000`, `1e-6`; prints plain digits (`-12.50`, `0.000001`), which it reads
/// back as the same number. Comparisons are by value: `1.0` equals `1`.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    unscaled: i128,
    scale: u8,
}

/// A text that is no exact decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a decimal number of at most {DIGITS_MAX} digits, {SCALE_MAX} of them after the point")]
pub struct NotDecimal;

impl Decimal {
    /// Zero.
    pub const ZERO: Decimal = Decimal { unscaled: 0, scale: 0 };

    /// Digits after the point, trailing zeros not counted.
    pub fn decimals(&self) -> u8 {
        let (_, scale) = self.reduced();
        scale
    }

    /// The number in units of 10^-`decimals`, if it is a whole number of them that an `i128` holds.
    pub fn units(&self, decimals: u8) -> Option<i128> {
        let (unscaled, scale) = self.reduced();
        let up = decimals.checked_sub(scale)?;
        unscaled.checked_mul(10i128.checked_pow(u32::from(up))?)
    }

    /// The least number of units of 10^-`decimals` that is not below this number.
    pub fn units_up(&self, decimals: u8) -> Option<i128> {
        self.units_down(decimals).and_then(|down| match self.units(decimals) {
            Some(exact) => Some(exact),
            None => down.checked_add(1),
        })
    }

    /// The greatest number of units of 10^-`decimals` that is not above this number.
    pub fn units_down(&self, decimals: u8) -> Option<i128> {
        let (unscaled, scale) = self.reduced();
        match scale.checked_sub(decimals) {
            Some(down) => Some(unscaled.div_euclid(10i128.checked_pow(u32::from(down))?)),
            None => self.units(decimals),
        }
    }

    /// The number times itself, if that has no more digits than a number may have.
    pub(super) fn squared(&self) -> Option<Decimal> {
        let (unscaled, scale) = self.reduced();
        let product =
            unscaled.checked_mul(unscaled).filter(|product| product.unsigned_abs() < 10u128.pow(DIGITS_MAX as u32));
        let scale = scale.checked_mul(2).filter(|scale| *scale <= SCALE_MAX)?;
        Some(Decimal { unscaled: product?, scale })
    }

    /// Numerator and denominator (a power of ten) of the number.
    pub(super) fn ratio(&self) -> (i128, u128) {
        let (unscaled, scale) = self.reduced();
        // 10^30 fits: the scale is at most SCALE_MAX.
        (unscaled, 10u128.pow(u32::from(scale)))
    }

    /// The nearest binary float: for the accountant and for display, never for a bound.
    pub fn to_f64(&self) -> f64 {
        // Plain digits with a point are a text that f64 reads.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    fn reduced(&self) -> (i128, u8) {
        let (mut unscaled, mut scale) = (self.unscaled, self.scale);
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        (unscaled, scale)
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Decimal { unscaled: i128::from(whole), scale: 0 }
    }
}

impl FromStr for Decimal {
    type Err = NotDecimal;

    fn from_str(text: &str) -> Result<Self, NotDecimal> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(NotDecimal);
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| NotDecimal)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(NotDecimal),
            None => (mantissa, ""),
        };
        if whole.is_empty() {
            return Err(NotDecimal);
        }
        let mut unscaled = 0i128;
        let mut fraction_digits = 0i32;
        for (part, counts) in [(whole, false), (fraction, true)] {
            let bytes = part.as_bytes();
            for (at, byte) in bytes.iter().enumerate() {
                match byte {
                    b'0'..=b'9' => {
                        unscaled = unscaled
                            .checked_mul(10)
                            .and_then(|n| n.checked_add(i128::from(byte - b'0')))
                            .ok_or(NotDecimal)?;
                        fraction_digits += i32::from(counts);
                    }
                    // TOML's digit separator: between two digits only.
                    b'_' if at > 0 && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) && bytes[at - 1] != b'_' => {}
                    _ => return Err(NotDecimal),
                }
            }
        }
        if negative {
            unscaled = -unscaled;
        }
        let mut scale = fraction_digits.checked_sub(exponent).ok_or(NotDecimal)?;
        if unscaled == 0 {
            scale = scale.clamp(0, i32::from(SCALE_MAX));
        }
        while scale > i32::from(SCALE_MAX) && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        if scale < 0 {
            let up = u32::try_from(-scale).ok().and_then(|up| 10i128.checked_pow(up)).ok_or(NotDecimal)?;
            unscaled = unscaled.checked_mul(up).ok_or(NotDecimal)?;
            scale = 0;
        }
        let scale = u8::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or(NotDecimal)?;
        if unscaled.unsigned_abs() >= 10u128.pow(DIGITS_MAX as u32) {
            return Err(NotDecimal);
        }
        Ok(Decimal { unscaled, scale })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = self.unscaled.unsigned_abs().to_string();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.reduced() == other.reduced()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        // Whole part first, then the fraction in units of 10^-SCALE_MAX: neither can overflow, since a
        // fraction is under one.
        let parts = |number: &Self| {
            let unit = 10i128.pow(u32::from(number.scale));
            let fraction = number.unscaled.rem_euclid(unit);
            (number.unscaled.div_euclid(unit), fraction * 10i128.pow(u32::from(SCALE_MAX - number.scale)))
        };
        parts(self).cmp(&parts(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap_or_else(|_| panic!("{text} is a decimal"))
    }

    #[test]
    fn squares_are_exact_or_none() {
        let squared = |text: &str| text.parse::<Decimal>().unwrap().squared().map(|square| square.to_string());
        assert_eq!(squared("-12.50").as_deref(), Some("156.25"));
        assert_eq!(squared("0").as_deref(), Some("0"));
        assert_eq!(squared("9999999999999999999").as_deref(), Some("99999999999999999980000000000000000001"));
        assert_eq!(squared("10000000000000000000"), None);
        assert_eq!(squared("0.000000000000001").as_deref(), Some("0.000000000000000000000000000001"));
        assert_eq!(squared("0.0000000000000001"), None);
    }

    #[test]
    fn numbers_keep_every_digit_that_was_written() {
        for (text, plain) in [
            ("0", "0"),
            ("-0", "0"),
            ("+12", "12"),
            ("1_000", "1000"),
            ("0.1", "0.1"),
            ("-12.50", "-12.50"),
            ("-0.05", "-0.05"),
            ("1e3", "1000"),
            ("1.5E3", "1500"),
            ("1e-6", "0.000001"),
            ("0e99", "0"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("0.1000000000000000055511151231257827", "refused"),
        ] {
            match text.parse::<Decimal>() {
                Ok(number) => assert_eq!(number.to_string(), plain, "{text}"),
                Err(_) => assert_eq!("refused", plain, "{text}"),
            }
        }
    }

    #[test]
    fn what_is_no_exact_number_is_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "1.",
            ".5",
            "1e",
            "e1",
            "inf",
            "nan",
            "-inf",
            "1__0",
            "_1",
            "1_",
            "1.2.3",
            "0x10",
            "1 ",
            "1e99",
            "1e-99",
            "1e99999999999",
            "1e-2147483648",
            "123456789012345678901234567890123456789",
            "--1",
            "½",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn units_are_exact_or_rounded_inwards_on_request() {
        assert_eq!(decimal("12.5").units(2), Some(1250));
        assert_eq!(decimal("12.50").units(1), Some(125));
        assert_eq!(decimal("12.5").units(0), None);
        assert_eq!(decimal("1").units(40), None);
        assert_eq!((decimal("0.5").units_up(0), decimal("0.5").units_down(0)), (Some(1), Some(0)));
        assert_eq!((decimal("-0.5").units_up(0), decimal("-0.5").units_down(0)), (Some(0), Some(-1)));
        assert_eq!((decimal("7").units_up(1), decimal("7").units_down(1)), (Some(70), Some(70)));
    }

    #[test]
    fn comparisons_are_by_value_and_not_by_spelling() {
        assert_eq!(decimal("1.0"), decimal("1"));
        let ascending = ["-1e30", "-1.5", "-1.25", "-0.0000001", "0", "1e-30", "0.3", "0.30000001", "2", "1e30"];
        for pair in ascending.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
    }

    proptest! {
        #[test]
        fn any_number_is_read_back_from_its_text(unscaled in -(10i128.pow(37))..10i128.pow(37), scale in 0u8..=SCALE_MAX) {
            let number = Decimal { unscaled, scale };
            let back: Decimal = number.to_string().parse().expect("a printed number reads back");
            prop_assert_eq!((back.unscaled, back.scale), (unscaled, scale));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[-+0-9._eE]{0,60}") {
            if let Ok(number) = text.parse::<Decimal>() {
                let _ = (number.units(9), number.units_up(3), number.units_down(3), number.to_f64());
                prop_assert_eq!(number.to_string().parse::<Decimal>(), Ok(number));
            }
        }
    }
}
