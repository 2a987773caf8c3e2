//! Floats as exact integers: fixed point with a number of decimals.

/// Most decimals of a float's fixed point: 53 bits of mantissa times 10^18 stay under 2^113.
pub const FLOAT_DECIMALS_MAX: u8 = 18;

/// Bits of a float's mantissa that are stored.
const MANTISSA_BITS: u32 = 52;

/// `value · 10^decimals` as an integer, the float's exact binary value rounded half to even.
///
/// None for NaN and the infinities: they are nulls of a sum. A value beyond i128 is ±`i128::MAX`.
/// `decimals` above [`FLOAT_DECIMALS_MAX`] is taken as that.
pub fn fixed_point(value: f64, decimals: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    // value = ± mantissa · 2^exponent, exactly (IEEE 754 binary64).
    let bits = value.to_bits();
    let stored = bits & ((1 << MANTISSA_BITS) - 1);
    let biased = (bits >> MANTISSA_BITS) as i32 & 0x7ff;
    let (mantissa, exponent) = match biased {
        0 => (stored, -1074),
        _ => (stored | 1 << MANTISSA_BITS, biased - 1075),
    };
    let scale = 10u128.pow(u32::from(decimals.min(FLOAT_DECIMALS_MAX)));
    let scaled = u128::from(mantissa) * scale;
    let magnitude = match u32::try_from(exponent) {
        Ok(shift) => shift_left_saturating(scaled, shift),
        Err(_) => shift_right_half_even(scaled, exponent.unsigned_abs()),
    };
    let magnitude = i128::try_from(magnitude).unwrap_or(i128::MAX);
    Some(if value.is_sign_negative() { -magnitude } else { magnitude })
}

fn shift_left_saturating(value: u128, shift: u32) -> u128 {
    match value {
        0 => 0,
        _ if value.leading_zeros() < shift => u128::MAX,
        _ => value << shift,
    }
}

fn shift_right_half_even(value: u128, shift: u32) -> u128 {
    // The value is under 2^113, so that anything shifted so far is less than a half.
    if shift >= 128 {
        return 0;
    }
    let quotient = value >> shift;
    let rest = value & ((1 << shift) - 1);
    let half = 1u128 << (shift - 1);
    let up = rest > half || (rest == half && quotient & 1 == 1);
    quotient + u128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_even_neighbour() {
        for (value, expected) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (3.5, 4)] {
            assert_eq!(fixed_point(value, 0), Some(expected), "{value}");
        }
        assert_eq!(fixed_point(0.125, 2), Some(12));
        assert_eq!(fixed_point(0.375, 2), Some(38));
    }

    #[test]
    fn what_only_looks_like_a_tie_rounds_by_its_binary_value() {
        // 1.005 is 1.00499999999999989…
        assert_eq!(fixed_point(1.005, 2), Some(100));
        // 0.285 · 100 is 28.5 in floats; the value itself is 0.284999999999999975…
        assert_eq!(fixed_point(0.285, 2), Some(28));
        // 2.675 is 2.67499999999999982…
        assert_eq!(fixed_point(2.675, 2), Some(267));
        assert_eq!(fixed_point(0.145, 2), Some(14));
    }

    #[test]
    fn nan_and_the_infinities_are_no_numbers() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(fixed_point(value, 2), None);
        }
    }

    #[test]
    fn the_smallest_and_the_largest_floats_have_a_place() {
        assert_eq!(fixed_point(-0.0, 18), Some(0));
        assert_eq!(fixed_point(f64::from_bits(1), 18), Some(0));
        assert_eq!(fixed_point(f64::MIN_POSITIVE, 18), Some(0));
        assert_eq!(fixed_point(f64::MAX, 0), Some(i128::MAX));
        assert_eq!(fixed_point(f64::MIN, 18), Some(-i128::MAX));
        let largest = 2f64.powi(126);
        assert_eq!(fixed_point(largest, 0), Some(1 << 126));
        assert_eq!(fixed_point(2.0 * largest, 0), Some(i128::MAX));
        assert_eq!(fixed_point(-2.0 * largest, 0), Some(-i128::MAX));
        assert_eq!(fixed_point(1e-18, 18), Some(1));
        assert_eq!(fixed_point(5e-19, 18), Some(1), "just above a half");
        assert_eq!(fixed_point(4e-19, 18), Some(0));
    }

    proptest! {
        #[test]
        fn decimal_text_is_the_oracle(value in -1e9f64..1e9, decimals in 0u8..=6) {
            // The formatter prints the exact binary value, rounded half to even.
            let text = format!("{value:.*}", usize::from(decimals));
            let expected: i128 = text.replace('.', "").parse().unwrap();
            prop_assert_eq!(fixed_point(value, decimals), Some(expected));
        }

        #[test]
        fn whole_numbers_are_exact(value in -(1i64 << 53)..(1i64 << 53), decimals in 0u8..=18) {
            let expected = i128::from(value) * 10i128.pow(u32::from(decimals));
            prop_assert_eq!(fixed_point(value as f64, decimals), Some(expected));
        }
    }
}
