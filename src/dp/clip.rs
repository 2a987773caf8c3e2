//! Clip bounds: what one entry may add to an aggregate, what emptying it may change, and whether
//! any sum of them can overflow the word in which additive shares are kept.
//!
//! Everything here depends on policy and shape alone, never on data: a refusal says nothing about
//! a row.

use super::NOISE_TAIL_MAX;

/// Bounds of one entry's total in an aggregate: the exact sum over its rows, *then* clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clip {
    min: i128,
    max: i128,
}

/// Clip bounds that bound nothing. The fault is the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("clip bounds min = {min}, max = {max} are empty: set min to at most max in the policy")]
pub struct ClipError {
    /// The lower bound as given.
    pub min: i128,
    /// The upper bound as given.
    pub max: i128,
}

impl Clip {
    /// Bounds with `min` ≤ `max`, in the aggregate's own unit (the last decimal of a decimal or a
    /// fixed-point float).
    pub fn new(min: i128, max: i128) -> Result<Self, ClipError> {
        if min > max {
            return Err(ClipError { min, max });
        }
        Ok(Self { min, max })
    }

    /// The lower bound.
    pub fn min(self) -> i128 {
        self.min
    }

    /// The upper bound.
    pub fn max(self) -> i128 {
        self.max
    }

    /// The bounded total. For entries with at least one passing, non-null row: an entry without
    /// adds 0, not `min`.
    pub fn clip(self, total: i128) -> i128 {
        total.clamp(self.min, self.max)
    }

    /// How much the sum over matches may change when an entry *of the side that owns the values*
    /// is emptied: max(max, 0) − min(min, 0).
    ///
    /// Its own total v leaves the sum, and at most one other total w comes in: the change is −v or
    /// w − v (the room's doc has the proof).
    pub fn sensitivity_own(self) -> u128 {
        // Unsigned: the difference of two i128 may need the 128th bit.
        self.max.max(0).unsigned_abs() + self.min.min(0).unsigned_abs()
    }

    /// How much the sum over matches may change when an entry of *the other* side is emptied:
    /// max(|min|, |max|). At most one total leaves the sum, and none comes in.
    pub fn sensitivity_other(self) -> u128 {
        self.magnitude_max()
    }

    /// How much the sums over matches by label may change, all labels together (the sum of absolute values), when one entry
    /// of either side is emptied, where the label may depend on both ends of a pair and a pair counts in at most
    /// `max_labels`: `columns` × `max_labels` × max(|min|, |max|), saturating.
    ///
    /// Of the pairs at most ⌈K/2⌉ are lost and ⌊K/2⌋ gained, K in all; each moves its labels' sums by at most its
    /// entry's total in each. COUNT(*) by label is \[0, 1\] (the room's doc has the proof).
    pub fn sensitivity_labels(self, columns: u32, max_labels: u32) -> u128 {
        u128::from(columns).saturating_mul(max_labels.into()).saturating_mul(self.magnitude_max())
    }

    /// How much the sums over matches by part of the *other* side's table may change, all parts together (the sum of absolute
    /// values), when an entry of the side that owns the values is emptied, saturating: for K = `columns`,
    /// ⌊K/2⌋ × (max(max, 0) − min(min, 0)), and max(|min|, |max|) more where K is odd.
    ///
    /// Each of the other side's entries on the path keeps its part and changes its partner's total for another's; the last
    /// one may lose its partner (the room's doc has the proof). COUNT(*), where every total is 1, moves by 1.
    pub fn sensitivity_parts(self, columns: u32) -> u128 {
        let changed = u128::from(columns / 2).saturating_mul(self.sensitivity_own());
        changed.saturating_add(if columns % 2 == 1 { self.magnitude_max() } else { 0 })
    }

    /// max(|min|, |max|): the largest absolute value that one entry adds.
    pub fn magnitude_max(self) -> u128 {
        self.min.unsigned_abs().max(self.max.unsigned_abs())
    }
}

/// How much COUNT(*) over matches may change when one entry of either side is emptied.
pub const COUNT_SENSITIVITY: u128 = 1;

/// An exact sum of any number of rows' values, saturated only when it is read: so it does not
/// depend on the order of the rows, as a running saturation would.
///
/// Shows nothing in `Debug`: it is somebody's.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    // A 192-bit two's complement number: 2^63 rows of any i128 fit.
    low: u128,
    high: i64,
}

impl Total {
    /// The sum of no rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one row's value.
    pub fn add(&mut self, value: i128) {
        let (low, carry) = self.low.overflowing_add(value as u128);
        self.low = low;
        // Sign extension of `value` is 0 or −1; the carry gives back 1.
        self.high += i64::from(carry) - i64::from(value < 0);
    }

    /// The sum, or the nearest i128.
    pub fn saturated(self) -> i128 {
        let low = self.low as i128;
        match (self.high, low < 0) {
            (0, false) | (-1, true) => low,
            (high, _) if high < 0 => i128::MIN,
            _ => i128::MAX,
        }
    }
}

impl std::fmt::Debug for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Total").finish_non_exhaustive()
    }
}

/// The width of the words in which additive shares of an aggregate are kept, modulo 2^64 or 2^128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WordWidth {
    /// 64-bit words.
    Bits64,
    /// 128-bit words, twice the bytes per row.
    Bits128,
}

impl WordWidth {
    /// Bytes of one word.
    pub fn bytes(self) -> usize {
        match self {
            Self::Bits64 => 8,
            Self::Bits128 => 16,
        }
    }
}

/// An aggregate that no word could hold. Refused by shape and policy, whatever the data; the
/// fault is the policy's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{persons} persons of up to {magnitude} each, and a noise of up to {noise_tail}, could overflow \
     128-bit words: narrow the aggregate's min and max in the policy"
)]
pub struct WouldOverflow {
    /// The most pairs that can match.
    pub persons: u64,
    /// The most that one of them adds, in absolute value.
    pub magnitude: u128,
    /// The most that noise adds, in absolute value.
    pub noise_tail: u128,
}

/// The narrowest word that can hold every possible released sum, sign included.
///
/// `persons_min_side`: entries of the smaller side on the wire, as announced (each matches at most
/// once). `noise_tail`: a bound on the noise's absolute value, 0 where there is none.
/// Requires persons × max(|min|, |max|) + tail < 2^63, or < 2^127, and a tail below [`NOISE_TAIL_MAX`], which
/// stands for one that is too far: draws are cut there, and a cut that happens would show in the answer.
pub fn word_width(persons_min_side: u64, clip: Clip, noise_tail: u128) -> Result<WordWidth, WouldOverflow> {
    let magnitude = clip.magnitude_max();
    let bound = u128::from(persons_min_side).checked_mul(magnitude).and_then(|sum| sum.checked_add(noise_tail));
    match bound {
        _ if noise_tail >= NOISE_TAIL_MAX => Err(WouldOverflow { persons: persons_min_side, magnitude, noise_tail }),
        Some(b) if b < 1 << 63 => Ok(WordWidth::Bits64),
        Some(b) if b < 1 << 127 => Ok(WordWidth::Bits128),
        _ => Err(WouldOverflow { persons: persons_min_side, magnitude, noise_tail }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clip(min: i128, max: i128) -> Clip {
        Clip::new(min, max).unwrap()
    }

    #[test]
    fn empty_bounds_are_refused_and_a_single_value_is_not() {
        assert_eq!(Clip::new(1, 0), Err(ClipError { min: 1, max: 0 }));
        assert_eq!(clip(7, 7).clip(-3), 7);
        assert_eq!(clip(0, 500).clip(501), 500);
        assert_eq!(clip(0, 500).clip(-1), 0);
        assert_eq!(clip(0, 500).clip(499), 499);
    }

    #[test]
    fn sensitivities_by_hand_for_each_sign_of_the_bounds() {
        let both = |min, max| {
            let c = clip(min, max);
            (c.sensitivity_own(), c.sensitivity_other())
        };
        assert_eq!(both(0, 500), (500, 500));
        assert_eq!(both(-3, 5), (8, 5));
        assert_eq!(both(-5, 3), (8, 5));
        assert_eq!(both(2, 7), (7, 7));
        assert_eq!(both(-7, -2), (7, 7));
        assert_eq!(both(0, 0), (0, 0));
        assert_eq!(both(i128::MIN, i128::MAX), (u128::MAX, 1 << 127));
        assert_eq!(clip(-3, 5).sensitivity_labels(3, 2), 30);
        assert_eq!(clip(0, 1).sensitivity_labels(1, 1), COUNT_SENSITIVITY);
        assert_eq!([1, 2, 3, 4].map(|columns| clip(-3, 5).sensitivity_parts(columns)), [5, 8, 13, 16]);
        assert_eq!([1, 2, 3, 4].map(|columns| clip(2, 7).sensitivity_parts(columns)), [7, 7, 14, 14]);
        assert_eq!(clip(i128::MIN, i128::MAX).sensitivity_parts(8), u128::MAX);
        assert_eq!(clip(i128::MIN, 0).sensitivity_labels(8, 9), u128::MAX);
    }

    #[test]
    fn word_widths_change_exactly_at_their_bounds() {
        let c = clip(-1, 1);
        assert_eq!(word_width(1, clip(0, 0), (1 << 63) - 1), Ok(WordWidth::Bits64));
        assert_eq!(word_width(1, clip(0, 0), 1 << 63), Ok(WordWidth::Bits128));
        assert_eq!(word_width((1 << 63) - 1, c, 0), Ok(WordWidth::Bits64));
        assert_eq!(word_width(1 << 63, c, 0), Ok(WordWidth::Bits128));
        assert_eq!(word_width((1 << 63) - 2, c, 1), Ok(WordWidth::Bits64));
        assert_eq!(word_width((1 << 63) - 1, c, 1), Ok(WordWidth::Bits128));
        // 2^127 − 1 is the last that fits, by one entry, by many, and by the tail.
        assert_eq!(word_width(1, clip(0, i128::MAX), 0), Ok(WordWidth::Bits128));
        assert!(word_width(1, clip(0, i128::MAX), 1).is_err());
        assert!(word_width(1, clip(i128::MIN, 0), 0).is_err());
        let wide = clip(0, 1 << 63);
        assert!(word_width(u64::MAX, wide, (1 << 63) - 1).is_ok());
        assert!(word_width(u64::MAX, wide, 1 << 63).is_err());
        // Products past 2^128 must not wrap into an acceptance.
        let refused = word_width(u64::MAX, clip(i128::MIN, 0), 0).unwrap_err();
        assert_eq!(refused.magnitude, 1 << 127);
        assert!(word_width(u64::MAX, clip(0, 1), u128::MAX).is_err());
        // A tail of this size is none: the law reaches further.
        assert_eq!(word_width(1, c, NOISE_TAIL_MAX - 1), Ok(WordWidth::Bits128));
        assert!(word_width(1, c, NOISE_TAIL_MAX).is_err());
        assert_eq!(word_width(0, clip(0, 1), 0), Ok(WordWidth::Bits64));
        assert_eq!((WordWidth::Bits64.bytes(), WordWidth::Bits128.bytes()), (8, 16));
    }

    #[test]
    fn totals_saturate_only_when_read() {
        let mut t = Total::new();
        for v in [i128::MAX, i128::MAX, i128::MAX] {
            t.add(v);
        }
        assert_eq!(t.saturated(), i128::MAX);
        for v in [i128::MIN, i128::MIN, i128::MIN] {
            t.add(v);
        }
        // 3·(2^127 − 1) − 3·2^127
        assert_eq!(t.saturated(), -3);
        t.add(i128::MIN);
        assert_eq!(t.saturated(), i128::MIN);
        t.add(3);
        assert_eq!(t.saturated(), i128::MIN);
        t.add(1);
        assert_eq!(t.saturated(), i128::MIN + 1);
    }

    proptest! {
        #[test]
        fn totals_do_not_depend_on_order(mut rows in prop::collection::vec(
            prop_oneof![any::<i128>(), Just(i128::MIN), Just(i128::MAX), -3_i128..4], 0..40)) {
            let sum = |rows: &[i128]| {
                let mut t = Total::new();
                rows.iter().for_each(|v| t.add(*v));
                t
            };
            let forwards = sum(&rows);
            rows.sort_unstable();
            prop_assert_eq!(forwards, sum(&rows));
            // Against a second way: halves of the values, which cannot overflow for so few rows.
            let halves: i128 = rows.iter().map(|v| v >> 8).sum();
            let rest: i128 = rows.iter().map(|v| v & 0xff).sum();
            let carried = halves + (rest >> 8);
            let expected = match carried.checked_mul(256) {
                Some(high) => high + (rest & 0xff),
                None if carried < 0 => i128::MIN,
                None => i128::MAX,
            };
            prop_assert_eq!(forwards.saturated(), expected);
        }

        #[test]
        fn word_width_never_accepts_a_sum_that_wraps(
            n in any::<u64>(), min in any::<i64>(), span in any::<u32>(), tail in any::<u64>()) {
            let c = clip(i128::from(min), i128::from(min) + i128::from(span));
            let most = u128::from(n) * c.magnitude_max() + u128::from(tail);
            let width = word_width(n, c, u128::from(tail)).ok();
            let expected = if most < 1 << 63 { Some(WordWidth::Bits64) }
                else if most < 1 << 127 { Some(WordWidth::Bits128) } else { None };
            prop_assert_eq!(width, expected);
        }
    }
}
