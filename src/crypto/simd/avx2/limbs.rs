//! Radix 2^25.5: ten limbs, one register per limb.
//!
//! `vpmuludq` multiplies the low 32 bits of each lane to 64. So limb i is worth 2^⌈25.5·i⌉: the even ones have 26 bits,
//! the odd ones 25 (Bernstein, "Curve25519: new Diffie-Hellman speed records", 2006). The product of two odd ones counts
//! double, since ⌈25.5·i⌉ + ⌈25.5·j⌉ = ⌈25.5·(i + j)⌉ + 1 for these alone, and what is worth 2^255 and more comes back 19
//! times.
//!
//! # Bounds
//!
//! A factor's limbs are below [`REDUCED`] = 2^26 + 2^17 or 2^25 + 2^17, what is carried has limbs below 2^63.
//!
//! *Product.* In units of 2^51·(1 + 2^-8)², the product of two even limbs of factors is below 2, that of two odd ones,
//! doubled, below 1, and that of one of each below 1. So column 0 is below 2 + 19·(4·2 + 5·1) = 249 and column 1 below
//! 2 + 19·8 = 154; from there on, each column has two products less that count 19 times than the one two before it. Hence
//! limbs of a product are below 251·2^51 < 2^59 where even, below 156·2^51 < 2^58.3 where odd. The square of a sum of two
//! factors is below four times as much, and 19 times a limb of such a sum below 19·(2^27 + 2^18) < 2^32.
//!
//! *Carry.* Two chains run side by side, from limb 0 to 5 and from limb 5 to 0, and one step more of either. A limb below
//! 2^63 leaves a carry below 2^38 + 1; 19 times that on top of limb 0 leaves one below 2^17 for limb 1, and what limb 5
//! has at the end one below 2^13 for limb 6. All others are below 2^26 or 2^25.
//!
//! *Difference.* 2p's limbs are 2^27 − 38 or 2^26 − 2 and more, and exceed those of any factor; 2^34·p's are 2^60 − 2^39
//! or 2^59 − 2^34 and more, and exceed those of any product.
//!
//! *Canonical form.* A factor's value is below (1 + 2^-8)·2^255 < 2p, one conditional subtraction of p away.

use super::word::Word;
use crate::crypto::simd::vector::Word as _;

pub(super) type Limbs = [Word; 10];
pub(super) type Integers = [u64; 10];

/// The low bits that make an even limb.
const EVEN_MASK: u64 = (1 << 26) - 1;
/// The low bits that make an odd limb.
const ODD_MASK: u64 = (1 << 25) - 1;
/// Limbs of a factor are below these.
pub(in crate::crypto::simd) const REDUCED: Integers = by_parity((1 << 26) + (1 << 17), (1 << 25) + (1 << 17));
/// The multiple of p that exceeds products.
pub(super) const ABOVE: u64 = 1 << 34;

const fn by_parity(even: u64, odd: u64) -> Integers {
    [even, odd, even, odd, even, odd, even, odd, even, odd]
}

pub(super) const fn multiple_of_p(multiple: u64) -> Integers {
    let mut limbs = by_parity(multiple * EVEN_MASK, multiple * ODD_MASK);
    limbs[0] -= multiple * 18;
    limbs
}

#[inline(always)]
fn twice(x: Word) -> Word {
    x.plus(x)
}

/// Σ x_i·y_i
#[inline(always)]
fn dot<const N: usize>(x: [Word; N], y: [Word; N]) -> Word {
    let mut sum = x[0].times(y[0]);
    for i in 1..N {
        sum = sum.plus(x[i].times(y[i]));
    }
    sum
}

/// `sums` + the products of limb `I` of one factor, which is `x`, with all ten of the other, `y`; `z` is 19·`y`. In this
/// order the sums stay in registers.
#[inline(always)]
fn add_row<const I: usize>(sums: &mut Limbs, x: Word, y: &Limbs, z: &Limbs) {
    let doubled = if I % 2 == 1 { twice(x) } else { x };
    for j in 0..10 {
        let x = if j % 2 == 1 { doubled } else { x };
        let product = x.times(if I + j < 10 { y[j] } else { z[j] });
        sums[(I + j) % 10] = sums[(I + j) % 10].plus(product);
    }
}

#[inline(always)]
pub(super) fn product(x: &Limbs, y: &Limbs) -> Limbs {
    let nineteen = x[0].like(19);
    let mut z = *y;
    for limb in &mut z[1..] {
        *limb = limb.times(nineteen);
    }
    let mut sums = *y;
    for sum in &mut sums {
        *sum = x[0].times(*sum);
    }
    add_row::<1>(&mut sums, x[1], y, &z);
    add_row::<2>(&mut sums, x[2], y, &z);
    add_row::<3>(&mut sums, x[3], y, &z);
    add_row::<4>(&mut sums, x[4], y, &z);
    add_row::<5>(&mut sums, x[5], y, &z);
    add_row::<6>(&mut sums, x[6], y, &z);
    add_row::<7>(&mut sums, x[7], y, &z);
    add_row::<8>(&mut sums, x[8], y, &z);
    add_row::<9>(&mut sums, x[9], y, &z);
    sums
}

/// An even column of a square: the squares of an even and of an odd limb, mixed products of even ones and of odd ones.
#[inline(always)]
fn even_column(even: Word, mixed_even: Word, odd: Word, mixed_odd: Word) -> Word {
    even.plus(twice(mixed_even.plus(odd).plus(twice(mixed_odd))))
}

/// The square of limbs below 2^27 + 2^18: mixed products count twice.
#[inline(always)]
pub(super) fn square(x: &Limbs) -> Limbs {
    let [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9] = *x;
    let nineteen = x0.like(19);
    let (z5, z6, z7) = (x5.times(nineteen), x6.times(nineteen), x7.times(nineteen));
    let (z8, z9) = (x8.times(nineteen), x9.times(nineteen));
    [
        even_column(x0.times(x0), dot([x2, x4], [z8, z6]), x5.times(z5), dot([x1, x3], [z9, z7])),
        twice(dot([x0, x2, x3, x4, x5], [x1, z9, z8, z7, z6])),
        even_column(x6.times(z6), dot([x0, x4], [x2, z8]), x1.times(x1), dot([x3, x5], [z9, z7])),
        twice(dot([x0, x1, x4, x5, x6], [x3, x2, z9, z8, z7])),
        even_column(x2.times(x2), dot([x0, x6], [x4, z8]), x7.times(z7), dot([x1, x5], [x3, z9])),
        twice(dot([x0, x1, x2, x6, x7], [x5, x4, x3, z9, z8])),
        even_column(x8.times(z8), dot([x0, x2], [x6, x4]), x3.times(x3), dot([x1, x7], [x5, z9])),
        twice(dot([x0, x1, x2, x3, x8], [x7, x6, x5, x4, z9])),
        even_column(x4.times(x4), dot([x0, x2], [x8, x6]), x9.times(z9), dot([x1, x3], [x7, x5])),
        twice(dot([x0, x1, x2, x3, x4], [x9, x8, x7, x6, x5])),
    ]
}

/// `x` + `y`
#[inline(always)]
pub(super) fn sum(x: &Limbs, y: &Limbs) -> Limbs {
    let mut sum = *x;
    for (limb, other) in sum.iter_mut().zip(y) {
        *limb = limb.plus(*other);
    }
    sum
}

/// `limbs` + `MULTIPLE`·p
#[inline(always)]
pub(super) fn plus_multiple<const MULTIPLE: u64>(limbs: &Limbs) -> Limbs {
    let mut sum = *limbs;
    for (limb, multiple) in sum.iter_mut().zip(const { multiple_of_p(MULTIPLE) }) {
        *limb = limb.plus(limb.like(multiple));
    }
    sum
}

/// What is above the 26 low bits of `low` goes to `high`.
#[inline(always)]
fn carry_even(low: &mut Word, high: &mut Word) {
    *high = high.plus(low.down::<26>());
    *low = low.and(low.like(EVEN_MASK));
}

/// What is above the 25 low bits of `low` goes to `high`.
#[inline(always)]
fn carry_odd(low: &mut Word, high: &mut Word) {
    *high = high.plus(low.down::<25>());
    *low = low.and(low.like(ODD_MASK));
}

/// Twelve carries in six steps.
#[inline(always)]
pub(super) fn carry(limbs: &Limbs) -> Limbs {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7, mut x8, mut x9] = *limbs;
    carry_even(&mut x0, &mut x1);
    carry_odd(&mut x5, &mut x6);
    carry_odd(&mut x1, &mut x2);
    carry_even(&mut x6, &mut x7);
    carry_even(&mut x2, &mut x3);
    carry_odd(&mut x7, &mut x8);
    carry_odd(&mut x3, &mut x4);
    carry_even(&mut x8, &mut x9);
    carry_even(&mut x4, &mut x5);
    // 19·2^38 takes more than the 32 bits of a factor, so by shifts.
    let top = x9.down::<25>();
    x0 = x0.plus(top.up::<4>().plus(top.up::<1>()).plus(top));
    x9 = x9.and(x9.like(ODD_MASK));
    carry_even(&mut x0, &mut x1);
    carry_odd(&mut x5, &mut x6);
    [x0, x1, x2, x3, x4, x5, x6, x7, x8, x9]
}

/// The limbs, each below 2^26 or 2^25, of the canonical form.
#[inline(always)]
pub(super) fn canonical(limbs: &Limbs) -> Limbs {
    let mut limbs = *limbs;
    // The value is p or more where the value + 19 reaches 2^255: what that addition carries out at the top is how
    // often p is to be subtracted.
    let mut carry = limbs[0].like(19);
    for pair in limbs.as_chunks::<2>().0 {
        carry = pair[0].plus(carry).down::<26>();
        carry = pair[1].plus(carry).down::<25>();
    }
    // −p = 19 − 2^255: 19 goes in at the bottom, 2^255 is what falls off at the top.
    limbs[0] = limbs[0].plus(carry.times(carry.like(19)));
    let mut carry = carry.like(0);
    for [even, odd] in limbs.as_chunks_mut::<2>().0 {
        *even = even.plus(carry);
        carry_even(even, odd);
        carry = odd.down::<25>();
        *odd = odd.and(odd.like(ODD_MASK));
    }
    limbs
}

/// The limbs of 255 bits.
#[inline(always)]
pub(super) fn unpack(words: &[Word; 4]) -> Limbs {
    let [w0, w1, w2, w3] = *words;
    let (even, odd) = (w0.like(EVEN_MASK), w0.like(ODD_MASK));
    [
        w0.and(even),
        w0.down::<26>().and(odd),
        w0.down::<51>().or(w1.up::<13>()).and(even),
        w1.down::<13>().and(odd),
        w1.down::<38>(),
        w2.and(odd),
        w2.down::<25>().and(even),
        w2.down::<51>().or(w3.up::<13>()).and(odd),
        w3.down::<12>().and(even),
        w3.down::<38>().and(odd),
    ]
}

/// The words of 255 bits.
#[inline(always)]
pub(super) fn pack(canonical: &Limbs) -> [Word; 4] {
    let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9] = *canonical;
    [
        l0.or(l1.up::<26>()).or(l2.up::<51>()),
        l2.down::<13>().or(l3.up::<13>()).or(l4.up::<38>()),
        l5.or(l6.up::<25>()).or(l7.up::<51>()),
        l7.down::<13>().or(l8.up::<12>()).or(l9.up::<38>()),
    ]
}

/// Two limbs in one word, an even one in the low half and an odd one in the high half.
#[inline(always)]
pub(super) fn compress(limbs: &Limbs) -> [Word; 5] {
    let [l0, l1, l2, l3, l4, l5, l6, l7, l8, l9] = *limbs;
    [l0.or(l1.up::<32>()), l2.or(l3.up::<32>()), l4.or(l5.up::<32>()), l6.or(l7.up::<32>()), l8.or(l9.up::<32>())]
}

#[inline(always)]
pub(super) fn expand(compressed: &[Word; 5]) -> Limbs {
    let [c01, c23, c45, c67, c89] = *compressed;
    let even = c01.like(u64::from(u32::MAX));
    [
        c01.and(even),
        c01.down::<32>(),
        c23.and(even),
        c23.down::<32>(),
        c45.and(even),
        c45.down::<32>(),
        c67.and(even),
        c67.down::<32>(),
        c89.and(even),
        c89.down::<32>(),
    ]
}
