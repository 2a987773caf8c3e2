//! Eight elements of GF(p), p = 2^255 − 19, one per 64-bit lane: radix 2^51, five limbs, one register per limb.
//!
//! `vpmadd52luq` and `vpmadd52huq` multiply the low 52 bits of each lane and add the low or the high 52 bits of the
//! product to an accumulator. So a factor's limbs must be below 2^52, and with radix 2^51 the high half counts double:
//! x·y = lo + 2^52·hi = lo + 2·2^51·hi goes to columns k and k + 1 as lo and 2·hi.
//!
//! # Bounds
//!
//! Two types keep apart what may be multiplied from what has yet to be carried:
//!
//! | type | limbs | made by |
//! |---|---|---|
//! | [`Field`] | below [`REDUCED`] = 2^51 + 2^17 | [`Sum::carry`], constants, unpacked bytes |
//! | [`Sum`] | below [`SUM_MAX`] = 2^63 | products, and sums and differences of anything |
//!
//! *Product.* Of factors below [`REDUCED`], lo < 2^52 and hi < 2^102·(1 + 2^-34)² / 2^52 < 2^50·(1 + 2^-32). Column
//! k ≤ 4 takes k + 1 low halves and k high ones, column k + 5 takes 4 − k and 5 − k, and 2^255 = 19 (mod p) folds
//! the latter onto the former. In units of 2^50·(1 + 2^-32), a low half being below 4 and a doubled high half below 2,
//! that is (4·(k + 1) + 2k) + 19·(4·(4 − k) + 2·(5 − k)) = 498 − 108k. So limbs of a product are below 499·2^50 < 2^59.
//!
//! *Carry.* A limb below 2^63 leaves a carry below 2^12. All five move at once: a limb's low 51 bits plus the carry
//! from below, at most 19·2^12 for the lowest, stay below 2^51 + 2^16.3 < [`REDUCED`]. One such step after each
//! *linear combination* is all the carrying there is; products themselves are never carried.
//!
//! *Difference.* Limbs must not go below zero, so a multiple of p is added, all of whose limbs exceed the
//! subtrahend's ([`Field::minus`], [`Field::negated`]). For products the multiple is where their accumulators
//! start ([`Field::times_from`], [`Field::squared_from`]) and costs nothing.
//!
//! Debug builds assert that factors are reduced, that no limb goes below zero and that what is carried is below 2^63; a
//! test asserts what products and carries promise.

use std::arch::x86_64::*;

/// The same limb of eight elements.
pub(super) type Word = __m512i;

/// All ones in the lanes where something holds, zeros in the others.
///
/// A register as any other and no mask register, so that a choice is plain logic on whole registers: what is loaded, and
/// which lanes an instruction works on, is the same whatever is chosen.
#[derive(Clone, Copy)]
pub(super) struct Mask(Word);

/// Limbs of a [`Field`] are below this.
pub(super) const REDUCED: u64 = (1 << 51) + (1 << 17);
/// Limbs of a [`Sum`] are below this.
const SUM_MAX: u64 = 1 << 63;
/// The low 51 bits.
pub(super) const LIMB_MASK: u64 = (1 << 51) - 1;
/// The limbs of p.
pub(super) const P: [u64; 5] = [(1 << 51) - 19, LIMB_MASK, LIMB_MASK, LIMB_MASK, LIMB_MASK];

/// Eight field elements, fit to be multiplied: limbs below [`REDUCED`].
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) [Word; 5]);

/// Eight field elements that wait for their carries: limbs below [`SUM_MAX`].
#[derive(Clone, Copy)]
pub(super) struct Sum(pub(super) [Word; 5]);

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn splat(value: u64) -> Word {
    _mm512_set1_epi64(value.cast_signed())
}

/// Low halves of products on top of `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn lo(sum: Word, x: Word, y: Word) -> Word {
    _mm512_madd52lo_epu64(sum, x, y)
}

/// High halves of products on top of `sum`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn hi(sum: Word, x: Word, y: Word) -> Word {
    _mm512_madd52hi_epu64(sum, x, y)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn add(x: Word, y: Word) -> Word {
    _mm512_add_epi64(x, y)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn sub(x: Word, y: Word) -> Word {
    _mm512_sub_epi64(x, y)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn twice(x: Word) -> Word {
    _mm512_add_epi64(x, x)
}

/// 19·`x` + `y`
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn fold(x: Word, y: Word) -> Word {
    add(y, _mm512_mullo_epi64(x, splat(19)))
}

impl Mask {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn none() -> Self {
        Self(splat(0))
    }

    /// Where `x`, as a signed integer, is negative.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn of_negative(x: Word) -> Self {
        Self(_mm512_srai_epi64::<63>(x))
    }

    /// Where `x` is zero: there alone both x − 1 and ¬x have the highest bit.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn of_zero(x: Word) -> Self {
        Self::of_negative(_mm512_andnot_si512(x, sub(x, splat(1))))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn or(self, other: Self) -> Self {
        Self(_mm512_or_si512(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn not(self) -> Self {
        Self(_mm512_xor_si512(self.0, splat(u64::MAX)))
    }

    /// A bit per lane, for what is public.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn bits(self) -> u8 {
        _mm512_movepi64_mask(self.0)
    }

    /// Bit by bit `x` where the mask is zero, and `y` where it is ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn choose(self, x: Word, y: Word) -> Word {
        // The truth table, bit 4·mask + 2·y + x of it.
        _mm512_ternarylogic_epi64::<0b1100_1010>(self.0, y, x)
    }

    /// `x` | (mask & `y`), bit by bit.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn add(self, x: Word, y: Word) -> Word {
        _mm512_ternarylogic_epi64::<0b1111_1000>(x, self.0, y)
    }
}

/// Whether every lane of every limb is below `bound`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn below(limbs: &[Word; 5], bound: u64) -> bool {
    limbs.iter().all(|limb| _mm512_cmplt_epu64_mask(*limb, splat(bound)) == 0xff)
}

impl Field {
    /// The same element in all lanes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn splat(limbs: &[u64; 5]) -> Self {
        Self([splat(limbs[0]), splat(limbs[1]), splat(limbs[2]), splat(limbs[3]), splat(limbs[4])])
    }

    /// `self` · `other`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn times(&self, other: &Self) -> Sum {
        self.times_from::<0>(other)
    }

    /// `self` · `other` + `MULTIPLE`·p
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn times_from<const MULTIPLE: u64>(&self, other: &Self) -> Sum {
        const { assert!(MULTIPLE.is_multiple_of(2)) }
        debug_assert!(below(&self.0, REDUCED) && below(&other.0, REDUCED), "a factor's limb is too large");
        let [x0, x1, x2, x3, x4] = self.0;
        let [y0, y1, y2, y3, y4] = other.0;
        let zero = splat(0);
        // What is doubled on its way begins at half.
        let half = splat(MULTIPLE / 2 * P[1]);
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
        let c0 = lo(splat(MULTIPLE * P[0]), x0, y0);
        let c1 = lo(lo(twice(h1), x0, y1), x1, y0);
        let c2 = lo(lo(lo(twice(h2), x0, y2), x1, y1), x2, y0);
        let c3 = lo(lo(lo(lo(twice(h3), x0, y3), x1, y2), x2, y1), x3, y0);
        let c4 = lo(lo(lo(lo(lo(twice(h4), x0, y4), x1, y3), x2, y2), x3, y1), x4, y0);
        Sum([fold(c5, c0), fold(c6, c1), fold(c7, c2), fold(c8, c3), fold(c9, c4)])
    }

    /// `self`²
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn squared(&self) -> Sum {
        self.squared_from::<0>()
    }

    /// `self`² + `MULTIPLE`·p
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn squared_from<const MULTIPLE: u64>(&self) -> Sum {
        const { assert!(MULTIPLE.is_multiple_of(4)) }
        debug_assert!(below(&self.0, REDUCED), "a factor's limb is too large");
        let [x0, x1, x2, x3, x4] = self.0;
        let zero = splat(0);
        let half = splat(MULTIPLE / 2 * P[1]);
        let quarter = splat(MULTIPLE / 4 * P[1]);
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
        let c0 = lo(splat(MULTIPLE * P[0]), x0, x0);
        let c1 = twice(t1);
        let c2 = lo(twice(t2), x1, x1);
        let c3 = twice(t3);
        let c4 = lo(twice(t4), x2, x2);
        let c5 = twice(t5);
        let c6 = lo(twice(t6), x3, x3);
        let c7 = twice(t7);
        let c8 = lo(twice(t8), x4, x4);
        let c9 = twice(t9);
        Sum([fold(c5, c0), fold(c6, c1), fold(c7, c2), fold(c8, c3), fold(c9, c4)])
    }

    /// `self` + `other`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn plus(&self, other: &Self) -> Sum {
        Sum(self.0).plus(&Sum(other.0))
    }

    /// `self` − `other`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus(&self, other: &Self) -> Sum {
        // 4p's limbs are 2^53 − 76 and more, and exceed those of any field element.
        Sum::multiple_of_p::<4>().plus(&Sum(self.0)).minus(&Sum(other.0))
    }

    /// −`self`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negated(&self) -> Self {
        Sum::multiple_of_p::<4>().minus(&Sum(self.0)).carry()
    }

    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn or_where(&self, mask: Mask, other: &Self) -> Self {
        Self(blend(mask, &self.0, &other.0))
    }

    /// `other` in the lanes of `mask`, where `self` must have zeros in all limbs; `self` in the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn and_where(&self, mask: Mask, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = mask.add(*limb, other);
        }
        Self(limbs)
    }
}

/// `other` in the lanes of `mask`, `limbs` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn blend(mask: Mask, limbs: &[Word; 5], other: &[Word; 5]) -> [Word; 5] {
    let mut chosen = *limbs;
    for (limb, other) in chosen.iter_mut().zip(other) {
        *limb = mask.choose(*limb, *other);
    }
    chosen
}

impl Sum {
    /// Zero, as `MULTIPLE`·p.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn multiple_of_p<const MULTIPLE: u64>() -> Self {
        Self(Field::splat(&[P[0] * MULTIPLE, P[1] * MULTIPLE, P[2] * MULTIPLE, P[3] * MULTIPLE, P[4] * MULTIPLE]).0)
    }

    /// `self` + `other`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn plus(&self, other: &Self) -> Sum {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            *limb = add(*limb, other);
        }
        Sum(limbs)
    }

    /// `self` − `other`, where `self` holds a multiple of p all of whose limbs exceed `other`'s.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus(&self, other: &Self) -> Sum {
        let mut limbs = self.0;
        for (limb, other) in limbs.iter_mut().zip(other.0) {
            debug_assert_eq!(_mm512_cmplt_epu64_mask(*limb, other), 0, "a limb would go below zero");
            *limb = sub(*limb, other);
        }
        Sum(limbs)
    }

    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn or_where(&self, mask: Mask, other: &Self) -> Self {
        Self(blend(mask, &self.0, &other.0))
    }

    /// All five carries at once.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn carry(&self) -> Field {
        debug_assert!(below(&self.0, SUM_MAX), "a limb is too large to be carried");
        let [x0, x1, x2, x3, x4] = self.0;
        let mask = splat(LIMB_MASK);
        let low = |x: Word| _mm512_and_si512(x, mask);
        let up = |x: Word| _mm512_srli_epi64::<51>(x);
        Field([
            lo(low(x0), up(x4), splat(19)),
            add(low(x1), up(x0)),
            add(low(x2), up(x1)),
            add(low(x3), up(x2)),
            add(low(x4), up(x3)),
        ])
    }
}
