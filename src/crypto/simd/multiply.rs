//! Scalar multiplication: windows of four bits with signed digits, a table of 1P to 8P, constant-time look-up.
//!
//! Scalars are secret. Nothing here branches on one, and no address depends on one: each look-up reads the whole
//! table and keeps, lane by lane, the entry whose number is the digit's.

use std::arch::x86_64::*;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::LANES;
use super::field::{Mask, Word, splat};
use super::limbs::Lanes;
use super::point::{Addend, Extended, Projective};

/// Digits of a scalar below 2^255 in radix 16.
const DIGITS: usize = 64;
/// The largest digit, and the number of table entries.
const DIGIT_MAX: usize = 8;

/// A scalar per lane in digits of −8 to 8, the lowest first. Wiped when dropped.
pub(super) struct Digits(Zeroizing<Vec<Lanes>>);

impl Digits {
    /// The same scalar in every lane.
    pub(super) fn of(scalar: &Scalar) -> Self {
        let mut digits = Self(Zeroizing::new(vec![Lanes::default(); DIGITS]));
        let recoded = recode(scalar);
        for (lanes, digit) in digits.0.iter_mut().zip(recoded.iter()) {
            lanes.0.fill(i64::from(*digit).cast_unsigned());
        }
        digits
    }

    /// Scalar i in lane i, and the last one in what lanes are left.
    pub(super) fn of_each(scalars: &[Scalar]) -> Self {
        let mut digits = Self(Zeroizing::new(vec![Lanes::default(); DIGITS]));
        for lane in 0..LANES {
            let recoded = recode(&scalars[lane.min(scalars.len() - 1)]);
            for (lanes, digit) in digits.0.iter_mut().zip(recoded.iter()) {
                lanes.0[lane] = i64::from(*digit).cast_unsigned();
            }
        }
        digits
    }
}

/// Digits d with Σ d·16^i = `scalar`: all from −8 to 7, but for the highest, which takes a carry and loses none, from
/// 0 to 8.
pub(super) fn recode(scalar: &Scalar) -> Zeroizing<[i8; DIGITS]> {
    let mut digits = Zeroizing::new([0i8; DIGITS]);
    let mut carry = 0;
    for (i, digit) in digits.iter_mut().enumerate() {
        let nibble = scalar.as_bytes()[i / 2] >> (4 * (i % 2)) & 15;
        *digit = nibble.cast_signed() + carry;
        carry = if i + 1 < DIGITS { (*digit + 8) >> 4 } else { 0 };
        *digit -= carry << 4;
    }
    digits
}

/// 1P to 8P for the point P of each lane. Reused from group to group, wiped when dropped.
pub(super) struct Table {
    entries: Zeroizing<Vec<Addend>>,
    /// The same points, in the form of which further multiples are made.
    multiples: Zeroizing<Vec<Extended>>,
}

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new() -> Self {
        Self {
            entries: Zeroizing::new(vec![Addend::identity(); DIGIT_MAX]),
            multiples: Zeroizing::new(vec![Extended::identity(); DIGIT_MAX]),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn fill(&mut self, point: &Extended) {
        // k·P is at k − 1.
        let (entries, multiples) = (&mut self.entries[..DIGIT_MAX], &mut self.multiples[..DIGIT_MAX]);
        (entries[0], multiples[0]) = (point.addend(), *point);
        for k in 2..=DIGIT_MAX {
            let multiple = if k % 2 == 0 {
                multiples[k / 2 - 1].double()
            } else {
                multiples[k - 2].add(&entries[0], Mask::none())
            };
            multiples[k - 1] = multiple.extended();
            entries[k - 1] = multiples[k - 1].addend();
        }
    }

    /// |`digit`|·P of each lane, and the lanes whose digit is negative.
    ///
    /// Each entry is read whole, and its bits are kept under a mask: neither a branch, nor an address, nor what is read
    /// depends on the digit.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn look_up(&self, digit: Word) -> (Addend, Mask) {
        let number = _mm512_abs_epi64(digit);
        // From 0 to 15, zero alone is negative once one is taken away.
        let is = |k: u64| Mask::of_negative(_mm512_sub_epi64(_mm512_xor_si512(number, splat(k)), splat(1)));
        let mut chosen = Addend::zeros().and_where(is(0), &Addend::identity());
        for (entry, k) in self.entries.iter().zip(1..) {
            chosen = chosen.and_where(is(k), entry);
        }
        (chosen, Mask::of_negative(digit))
    }
}

/// The scalar of each lane times the point of each lane: 252 doubles and 64 sums, whatever the scalars.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn multiply(point: &Extended, digits: &Digits, table: &mut Table) -> Projective {
    table.fill(point);
    let (highest, lower) = digits.0.split_last().expect("64 digits");
    let (addend, negative) = table.look_up(highest.load());
    let mut product = Extended::identity().add(&addend, negative);
    for digit in lower.iter().rev() {
        let (addend, negative) = table.look_up(digit.load());
        let mut sixteenfold = product.projective().double();
        for _ in 0..3 {
            sixteenfold = sixteenfold.projective().double();
        }
        product = sixteenfold.extended().add(&addend, negative);
    }
    product.projective()
}
