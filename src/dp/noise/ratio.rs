//! Exact fractions with one spelling: what a noise's parameters are written in, on the wire and in books.

use num_bigint::BigUint;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Most decimal digits of a numerator or denominator, in text and in memory. A Gaussian's variance is the
/// square of a sensitivity of up to 128 bits, 77 digits; a peer's text is longer for no reason.
pub const RATIO_DIGITS_MAX: usize = 80;

/// 2^265 < 10^80: numbers of so many bits have at most [`RATIO_DIGITS_MAX`] digits.
const BITS_FITTING: u64 = 265;

/// An exact, non-negative fraction in lowest terms, its denominator at least 1.
///
/// Text form `NUM/DEN`, the only spelling of its value: no signs, blanks or leading zeros, lowest terms, at
/// most [`RATIO_DIGITS_MAX`] digits each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    numerator: BigUint,
    denominator: BigUint,
}

/// Something that is no [`Ratio`]. The fault is the writer's: of a policy, or of a peer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RatioError {
    /// Not the text form.
    #[error("not a fraction NUM/DEN in lowest terms, of at most {RATIO_DIGITS_MAX} digits each")]
    Text,
    /// Not a decimal number.
    #[error("not a non-negative decimal number, such as 4 or 0.25, of at most {RATIO_DIGITS_MAX} digits")]
    Decimal,
    /// A denominator of 0.
    #[error("a fraction's denominator must not be 0")]
    ZeroDenominator,
}

impl Ratio {
    /// `numerator` / `denominator`, reduced.
    pub fn new(numerator: u128, denominator: u128) -> Result<Self, RatioError> {
        if denominator == 0 {
            return Err(RatioError::ZeroDenominator);
        }
        // Numbers of 128 bits have at most 39 digits: they fit.
        Ok(Self::reduced(numerator.into(), denominator.into()))
    }

    /// The value of a decimal number as people write it: `4`, `4.0`, `0.000001`; what a float of Rust prints,
    /// so a policy's number means the decimal that stands there, not the binary fraction nearest to it.
    pub fn from_decimal(text: &str) -> Result<Self, RatioError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || whole.len() + part.len() >= RATIO_DIGITS_MAX {
            return Err(RatioError::Decimal);
        }
        let numerator = BigUint::from_str(&format!("{whole}{part}")).map_err(|_| RatioError::Decimal)?;
        // 10 to the number of decimals: one digit more than they are, hence `>=` above.
        let denominator = BigUint::from(10_u8).pow(u32::try_from(part.len()).map_err(|_| RatioError::Decimal)?);
        Ok(Self::reduced(numerator, denominator))
    }

    pub(super) fn one() -> Self {
        Self { numerator: BigUint::from(1_u8), denominator: BigUint::from(1_u8) }
    }

    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.numerator.bits() == 0
    }

    /// The value as a float, within a relative error of 2⁻⁵¹: for print and for bounds, never for sampling.
    pub fn to_f64(&self) -> f64 {
        to_f64(&self.numerator) / to_f64(&self.denominator)
    }

    pub(super) fn numerator(&self) -> &BigUint {
        &self.numerator
    }

    pub(super) fn denominator(&self) -> &BigUint {
        &self.denominator
    }

    /// The least fraction of few enough digits that is found at or above `numerator` / `denominator`: equal
    /// where that fits, else rounded up by little. What is too large for any, and x/0, becomes the largest.
    pub(super) fn at_least(numerator: BigUint, denominator: BigUint) -> Self {
        Self::fitted(numerator, denominator, true)
    }

    /// As [`at_least`](Self::at_least), rounded down where it does not fit; possibly to 0.
    pub(super) fn at_most(numerator: BigUint, denominator: BigUint) -> Self {
        Self::fitted(numerator, denominator, false)
    }

    fn fitted(numerator: BigUint, denominator: BigUint, up: bool) -> Self {
        let largest = || Self { numerator: ten_to(RATIO_DIGITS_MAX) - 1_u8, denominator: BigUint::from(1_u8) };
        if denominator.bits() == 0 {
            return largest();
        }
        let exact = Self::reduced(numerator, denominator);
        let end = ten_to(RATIO_DIGITS_MAX);
        if exact.numerator < end && exact.denominator < end {
            return exact;
        }
        let shift = exact.numerator.bits().max(exact.denominator.bits()).saturating_sub(BITS_FITTING - 1);
        let floor = |n: &BigUint| n >> shift;
        // At most 2^264 + 1 after rounding up.
        let ceiling = |n: &BigUint| ((n - 1_u8) >> shift) + 1_u8;
        let (numerator, denominator) = if exact.is_zero() || !up {
            (floor(&exact.numerator), ceiling(&exact.denominator))
        } else {
            (ceiling(&exact.numerator), floor(&exact.denominator))
        };
        if denominator.bits() == 0 {
            return largest();
        }
        Self::reduced(numerator, denominator)
    }

    fn reduced(numerator: BigUint, denominator: BigUint) -> Self {
        // Euclid; the denominator is not 0, so neither is the divisor.
        let (mut a, mut b) = (denominator.clone(), numerator.clone());
        while b.bits() > 0 {
            let rest = a % &b;
            a = b;
            b = rest;
        }
        Self { numerator: numerator / &a, denominator: denominator / a }
    }
}

fn ten_to(digits: usize) -> BigUint {
    BigUint::from(10_u8).pow(digits as u32)
}

fn to_f64(n: &BigUint) -> f64 {
    let dropped = n.bits().saturating_sub(64);
    let top = (n >> dropped).iter_u64_digits().next().unwrap_or(0);
    // 2^dropped is exact, and far below the largest float for numbers of RATIO_DIGITS_MAX digits.
    top as f64 * 2_f64.powi(dropped as i32)
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let number = |s: &str| {
            let plain = !s.is_empty() && s.len() <= RATIO_DIGITS_MAX && s.bytes().all(|b| b.is_ascii_digit());
            if plain { BigUint::from_str(s).ok() } else { None }
        };
        let (numerator, denominator) = text.split_once('/').ok_or(RatioError::Text)?;
        let (numerator, denominator) =
            number(numerator).zip(number(denominator)).filter(|(_, d)| d.bits() > 0).ok_or(RatioError::Text)?;
        let value = Self::reduced(numerator, denominator);
        // Exactly what it would be printed as: no leading zeros, lowest terms.
        if value.to_string() == text { Ok(value) } else { Err(RatioError::Text) }
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.numerator * &other.denominator).cmp(&(&other.numerator * &self.denominator))
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    #[test]
    fn every_value_has_one_spelling() {
        for good in ["0/1", "1/1", "7/3", "3/7", &format!("{}/1", "9".repeat(80)), &format!("1/{}", "9".repeat(80))] {
            assert_eq!(ratio(good).to_string(), good);
        }
        let long = format!("1{}/1", "0".repeat(80));
        let unreduced_long = format!("{0}/{0}", "7".repeat(80));
        for bad in [
            "",
            "/",
            "1",
            "1/",
            "/1",
            "1/0",
            "0/0",
            "0/2",
            "2/4",
            "01/2",
            "1/02",
            "+1/2",
            "-1/2",
            "1 /2",
            "1/2 ",
            "1/2/3",
            "1.0/2",
            "0x1/2",
            "1_0/3",
            "١/2",
            "1/2\n",
            &long,
            &unreduced_long,
        ] {
            assert_eq!(bad.parse::<Ratio>(), Err(RatioError::Text), "{bad:?}");
        }
    }

    #[test]
    fn decimals_mean_what_stands_there() {
        for (decimal, fraction) in [
            ("4", "4/1"),
            ("4.0", "4/1"),
            ("0.000001", "1/1000000"),
            ("0.1", "1/10"),
            ("2.50", "5/2"),
            ("0", "0/1"),
            ("007", "7/1"),
        ] {
            assert_eq!(Ratio::from_decimal(decimal).unwrap(), ratio(fraction));
        }
        // Rust prints the shortest decimal of a float, and no exponent.
        assert_eq!(Ratio::from_decimal(&1e-7_f64.to_string()).unwrap(), ratio("1/10000000"));
        assert!(Ratio::from_decimal(&format!("0.{}", "3".repeat(78))).is_ok());
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "NaN", "inf", "1,5", "1.2.3", " 1"] {
            assert_eq!(Ratio::from_decimal(bad), Err(RatioError::Decimal), "{bad:?}");
        }
        assert!(Ratio::from_decimal(&format!("0.{}", "3".repeat(79))).is_err());
        assert_eq!(Ratio::new(1, 0), Err(RatioError::ZeroDenominator));
    }

    #[test]
    fn what_does_not_fit_is_rounded_to_the_side_that_was_asked_for() {
        let two_to = |n: u32| BigUint::from(2_u8).pow(n);
        let (n, d) = (two_to(400) + 1_u8, two_to(390) + 3_u8);
        let (up, down) = (Ratio::at_least(n.clone(), d.clone()), Ratio::at_most(n.clone(), d.clone()));
        // Both lie close to the value, 1,024, on their sides of it.
        assert!(up.numerator() * &d >= &n * up.denominator() && down.numerator() * &d <= &n * down.denominator());
        assert!((up.to_f64() / 1024.0 - 1.0).abs() < 1e-12 && (down.to_f64() / 1024.0 - 1.0).abs() < 1e-12);
        assert!(down < up);
        for r in [&up, &down] {
            assert_eq!(&ratio(&r.to_string()), r);
        }
        // Too large or too small for any: the largest of all, the one just above 0, and 0.
        let largest = ratio(&format!("{}/1", "9".repeat(80)));
        assert_eq!(Ratio::at_least(two_to(600), two_to(300)), largest);
        assert_eq!(Ratio::at_least(two_to(3), BigUint::ZERO), largest);
        assert_eq!(Ratio::at_least(BigUint::ZERO, two_to(600)), ratio("0/1"));
        assert!(!Ratio::at_least(BigUint::from(1_u8), two_to(600)).is_zero());
        assert!(Ratio::at_most(BigUint::from(1_u8), two_to(600)).is_zero());
        // At the limit, and one past.
        let nines = ten_to(80) - 1_u8;
        assert_eq!(Ratio::at_least(nines.clone(), BigUint::from(1_u8)), largest);
        assert_eq!(Ratio::at_least(nines + 1_u8, BigUint::from(7_u8)).to_string().split('/').count(), 2);
    }

    proptest! {
        #[test]
        fn text_and_value_correspond(n in any::<u128>(), d in 1..u128::MAX) {
            let value = Ratio::new(n, d).unwrap();
            prop_assert_eq!(&ratio(&value.to_string()), &value);
            let expected = n as f64 / d as f64;
            prop_assert!((value.to_f64() - expected).abs() <= expected * 1e-15);
        }

        #[test]
        fn order_is_that_of_the_values(a in any::<u32>(), b in 1_u32.., c in any::<u32>(), d in 1_u32..) {
            let (left, right) = (Ratio::new(a.into(), b.into()).unwrap(), Ratio::new(c.into(), d.into()).unwrap());
            let expected = (u64::from(a) * u64::from(d)).cmp(&(u64::from(c) * u64::from(b)));
            prop_assert_eq!(left.cmp(&right), expected);
            prop_assert_eq!(left == right, expected == Ordering::Equal);
        }

        #[test]
        fn roundings_bracket_the_exact_value(
            n in prop::collection::vec(any::<u32>(), 0..20), d in prop::collection::vec(any::<u32>(), 1..20)) {
            let (n, d) = (BigUint::new(n), BigUint::new(d) + 1_u8);
            let (up, down) = (Ratio::at_least(n.clone(), d.clone()), Ratio::at_most(n.clone(), d.clone()));
            prop_assert!(down.numerator() * &d <= &n * down.denominator());
            let saturated = up.to_string() == format!("{}/1", "9".repeat(80));
            prop_assert!(saturated || up.numerator() * &d >= &n * up.denominator());
            prop_assert_eq!(&ratio(&up.to_string()), &up);
            prop_assert_eq!(&ratio(&down.to_string()), &down);
        }
    }
}
