//! Radix 2^51: five limbs, one register per limb.
//!
//! `vpmadd52luq` and `vpmadd52huq` multiply the low 52 bits of each lane and add the low or the high 52 bits of the
//! product to an accumulator. So a factor's limbs must be below 2^52, and with radix 2^51 the high half counts double:
//! x·y = lo + 2^52·hi = lo + 2·2^51·hi goes to columns k and k + 1 as lo and 2·hi.
//!
//! # Bounds
//!
//! A factor's limbs are below [`REDUCED`] = 2^51 + 2^17, what is carried has limbs below 2^63.
//!
//! *Product.* Of factors below [`REDUCED`], lo < 2^52 and hi < 2^102·(1 + 2^-34)² / 2^52 < 2^50·(1 + 2^-32). Column
//! k ≤ 4 takes k + 1 low halves and k high ones, column k + 5 takes 4 − k and 5 − k, and 2^255 = 19 (mod p) folds
//! the latter onto the former. In units of 2^50·(1 + 2^-32), a low half being below 4 and a doubled high half below 2,
//! that is (4·(k + 1) + 2k) + 19·(4·(4 − k) + 2·(5 − k)) = 498 − 108k. So limbs of a product are below 499·2^50 < 2^59.
//!
//! *Carry.* A limb below 2^63 leaves a carry below 2^12. All five move at once: a limb's low 51 bits plus the carry
//! from below, at most 19·2^12 for the lowest, stay below 2^51 + 2^16.3 < [`REDUCED`].
//!
//! *Difference.* 4p's limbs are 2^53 − 76 and more, and exceed those of any factor; 512p's are 2^60 − 2^14 and more, and
//! exceed those of any product. That multiple is where the accumulators start, so it costs nothing.
//!
//! *Canonical form.* A factor's value is below (2^51 + 2^17)·(1 + 2^51 + … + 2^204) < 2p, one conditional subtraction of
//! p away.

use super::word::Word;
use crate::crypto::simd::vector::Word as _;

pub(super) type Limbs = [Word; 5];
pub(super) type Integers = [u64; 5];

/// Limbs of a factor are below this.
pub(in crate::crypto::simd) const REDUCED: u64 = (1 << 51) + (1 << 17);
/// The low 51 bits.
const LIMB_MASK: u64 = (1 << 51) - 1;
/// The limbs of p.
pub(in crate::crypto::simd) const P: Integers = multiple_of_p(1);
/// The multiple of p that exceeds products.
pub(super) const ABOVE: u64 = 512;

pub(super) const fn multiple_of_p(multiple: u64) -> Integers {
    let limb = multiple * LIMB_MASK;
    [limb - 18 * multiple, limb, limb, limb, limb]
}

/// Low halves of products on top of `sum`.
#[inline(always)]
fn lo(sum: Word, x: Word, y: Word) -> Word {
    sum.plus_low(x, y)
}

/// High halves of products on top of `sum`.
#[inline(always)]
fn hi(sum: Word, x: Word, y: Word) -> Word {
    sum.plus_high(x, y)
}

#[inline(always)]
fn twice(x: Word) -> Word {
    x.plus(x)
}

/// 19·`x` + `y`
#[inline(always)]
fn fold(x: Word, y: Word) -> Word {
    y.plus(x.times(x.like(19)))
}

/// `x` · `y` + `MULTIPLE`·p
#[inline(always)]
pub(super) fn product_from<const MULTIPLE: u64>(x: &Limbs, y: &Limbs) -> Limbs {
    const { assert!(MULTIPLE.is_multiple_of(2)) }
    let [x0, x1, x2, x3, x4] = *x;
    let [y0, y1, y2, y3, y4] = *y;
    let zero = x0.like(0);
    // What is doubled on its way begins at half.
    let half = x0.like(MULTIPLE / 2 * P[1]);
    // The high halves, by the column to which they go.
    let h1 = hi(half, x0, y0);
    let h2 = hi(hi(half, x0, y1), x1, y0);
    let h3 = hi(hi(hi(half, x0, y2), x1, y1), x2, y0);
    let h4 = hi(hi(hi(hi(half, x0, y3), x1, y2), x2, y1), x3, y0);
    let h5 = hi(hi(hi(hi(hi(zero, x0, y4), x1, y3), x2, y2), x3, y1), x4, y0);
    let h6 = hi(hi(hi(hi(zero, x1, y4), x2, y3), x3, y2), x4, y1);
    let h7 = hi(hi(hi(zero, x2, y4), x3, y3), x4, y2);
    let h8 = hi(hi(zero, x3, y4), x4, y3);
    let h9 = hi(zero, x4, y4);
    // Doubled, and the low halves on top.
    let c5 = lo(lo(lo(lo(twice(h5), x1, y4), x2, y3), x3, y2), x4, y1);
    let c6 = lo(lo(lo(twice(h6), x2, y4), x3, y3), x4, y2);
    let c7 = lo(lo(twice(h7), x3, y4), x4, y3);
    let c8 = lo(twice(h8), x4, y4);
    let c9 = twice(h9);
    let c0 = lo(x0.like(MULTIPLE * P[0]), x0, y0);
    let c1 = lo(lo(twice(h1), x0, y1), x1, y0);
    let c2 = lo(lo(lo(twice(h2), x0, y2), x1, y1), x2, y0);
    let c3 = lo(lo(lo(lo(twice(h3), x0, y3), x1, y2), x2, y1), x3, y0);
    let c4 = lo(lo(lo(lo(lo(twice(h4), x0, y4), x1, y3), x2, y2), x3, y1), x4, y0);
    [fold(c5, c0), fold(c6, c1), fold(c7, c2), fold(c8, c3), fold(c9, c4)]
}

/// `x`² + `MULTIPLE`·p
#[inline(always)]
pub(super) fn square_from<const MULTIPLE: u64>(x: &Limbs) -> Limbs {
    const { assert!(MULTIPLE.is_multiple_of(4)) }
    let [x0, x1, x2, x3, x4] = *x;
    let zero = x0.like(0);
    let half = x0.like(MULTIPLE / 2 * P[1]);
    let quarter = x0.like(MULTIPLE / 4 * P[1]);
    // Mixed products count twice, and their high halves four times.
    let f2 = hi(quarter, x0, x1);
    let f3 = hi(quarter, x0, x2);
    let f4 = hi(hi(quarter, x0, x3), x1, x2);
    let f5 = hi(hi(zero, x0, x4), x1, x3);
    let f6 = hi(hi(zero, x1, x4), x2, x3);
    let f7 = hi(zero, x2, x4);
    let f8 = hi(zero, x3, x4);
    // What counts twice: low halves of mixed products, high halves of squares.
    let t1 = lo(hi(half, x0, x0), x0, x1);
    let t2 = lo(twice(f2), x0, x2);
    let t3 = hi(lo(lo(twice(f3), x0, x3), x1, x2), x1, x1);
    let t4 = lo(lo(twice(f4), x0, x4), x1, x3);
    let t5 = hi(lo(lo(twice(f5), x1, x4), x2, x3), x2, x2);
    let t6 = lo(twice(f6), x2, x4);
    let t7 = hi(lo(twice(f7), x3, x4), x3, x3);
    let t8 = twice(f8);
    let t9 = hi(zero, x4, x4);
    let c0 = lo(x0.like(MULTIPLE * P[0]), x0, x0);
    let c1 = twice(t1);
    let c2 = lo(twice(t2), x1, x1);
    let c3 = twice(t3);
    let c4 = lo(twice(t4), x2, x2);
    let c5 = twice(t5);
    let c6 = lo(twice(t6), x3, x3);
    let c7 = twice(t7);
    let c8 = lo(twice(t8), x4, x4);
    let c9 = twice(t9);
    [fold(c5, c0), fold(c6, c1), fold(c7, c2), fold(c8, c3), fold(c9, c4)]
}

/// `x` + `y`
#[inline(always)]
pub(super) fn sum(x: &Limbs, y: &Limbs) -> Limbs {
    [x[0].plus(y[0]), x[1].plus(y[1]), x[2].plus(y[2]), x[3].plus(y[3]), x[4].plus(y[4])]
}

/// All five carries at once.
#[inline(always)]
pub(super) fn carry(limbs: &Limbs) -> Limbs {
    let [x0, x1, x2, x3, x4] = *limbs;
    [
        lo(low(x0), x4.down::<51>(), x0.like(19)),
        low(x1).plus(x0.down::<51>()),
        low(x2).plus(x1.down::<51>()),
        low(x3).plus(x2.down::<51>()),
        low(x4).plus(x3.down::<51>()),
    ]
}

/// The low 51 bits.
#[inline(always)]
fn low(x: Word) -> Word {
    x.and(x.like(LIMB_MASK))
}

/// The limbs, each below 2^51, of the canonical form.
#[inline(always)]
pub(super) fn canonical(limbs: &Limbs) -> Limbs {
    let mut limbs = *limbs;
    // The value is p or more where the value + 19 reaches 2^255: what that addition carries out at the top is how
    // often p is to be subtracted.
    let mut carry = limbs[0].like(19);
    for limb in limbs {
        carry = limb.plus(carry).down::<51>();
    }
    // −p = 19 − 2^255: 19 goes in at the bottom, 2^255 is what falls off at the top.
    carry = carry.times(carry.like(19));
    for limb in &mut limbs {
        let sum = limb.plus(carry);
        *limb = low(sum);
        carry = sum.down::<51>();
    }
    limbs
}

/// The limbs of 255 bits.
#[inline(always)]
pub(super) fn unpack(words: &[Word; 4]) -> Limbs {
    let [w0, w1, w2, w3] = *words;
    [
        low(w0),
        low(w0.down::<51>().or(w1.up::<13>())),
        low(w1.down::<38>().or(w2.up::<26>())),
        low(w2.down::<25>().or(w3.up::<39>())),
        low(w3.down::<12>()),
    ]
}

/// The words of 255 bits.
#[inline(always)]
pub(super) fn pack(canonical: &Limbs) -> [Word; 4] {
    let [l0, l1, l2, l3, l4] = *canonical;
    [
        l0.or(l1.up::<51>()),
        l1.down::<13>().or(l2.up::<38>()),
        l2.down::<26>().or(l3.up::<25>()),
        l3.down::<39>().or(l4.up::<12>()),
    ]
}
