//! The field by big integers: an oracle that shares nothing with the code under test.

use num_bigint::BigUint;

use crate::crypto::simd::constants::ZERO;
use crate::crypto::simd::field::{Field, Mask};
use crate::crypto::simd::vector::{Machine, Word};
use crate::crypto::simd::{Avx2, Ifma};

/// A machine whose limbs a test may look into.
pub(super) trait Open: Machine {
    /// The name in messages.
    const NAME: &'static str;
    /// The bit at which each limb begins.
    const BITS: &'static [u32];

    fn detect() -> Option<Self>;
}

impl Open for Ifma {
    const NAME: &'static str = "AVX-512 IFMA";
    const BITS: &'static [u32] = &[0, 51, 102, 153, 204];

    fn detect() -> Option<Self> {
        Self::detect()
    }
}

impl Open for Avx2 {
    const NAME: &'static str = "AVX2";
    const BITS: &'static [u32] = &[0, 26, 51, 77, 102, 128, 153, 179, 204, 230];

    fn detect() -> Option<Self> {
        Self::detect()
    }
}

/// The limbs of one lane's integer.
pub(super) type Limbs = Vec<u64>;

/// The low bits that make limb `i`.
pub(super) fn limb_mask<M: Open>(i: usize) -> u64 {
    let end = M::BITS.get(i + 1).unwrap_or(&255);
    (1 << (end - M::BITS[i])) - 1
}

/// The limbs of p.
pub(super) fn limbs_of_p<M: Open>() -> Limbs {
    let mut limbs: Limbs = (0..M::BITS.len()).map(limb_mask::<M>).collect();
    limbs[0] -= 18;
    limbs
}

pub(super) fn p() -> BigUint {
    (BigUint::from(1u8) << 255u8) - 19u8
}

/// Σ limb·2^bit
pub(super) fn integer<M: Open>(limbs: &[u64]) -> BigUint {
    limbs.iter().zip(M::BITS).map(|(limb, bit)| BigUint::from(*limb) << *bit).sum()
}

/// The limbs below 2^255 of a number modulo p.
pub(super) fn element<M: Open>(number: &BigUint) -> Limbs {
    let number = number % p();
    let limb = |i: usize| (&number >> M::BITS[i]) & BigUint::from(limb_mask::<M>(i));
    (0..M::BITS.len()).map(|i| limb(i).try_into().unwrap()).collect()
}

pub(super) fn inverse(x: &BigUint) -> BigUint {
    x.modpow(&(p() - 2u8), &p())
}

pub(super) fn minus(x: &BigUint, y: &BigUint) -> BigUint {
    (x + p() - y % p()) % p()
}

pub(super) fn is_square(x: &BigUint) -> bool {
    x.modpow(&((p() - 1u8) / 2u8), &p()) <= BigUint::from(1u8)
}

/// A root of a square; p = 5 (mod 8).
pub(super) fn root(square: &BigUint) -> BigUint {
    let candidate = square.modpow(&((p() + 3u8) / 8u8), &p());
    if &candidate * &candidate % p() == square % p() {
        return candidate;
    }
    let i = BigUint::from(2u8).modpow(&((p() - 1u8) / 4u8), &p());
    let root = candidate * i % p();
    assert_eq!(&root * &root % p(), square % p(), "no square");
    root
}

/// The curve's d, from its definition.
pub(super) fn d() -> BigUint {
    let fraction = BigUint::from(121_665u32) * inverse(&BigUint::from(121_666u32)) % p();
    minus(&BigUint::ZERO, &fraction)
}

/// A word of these integers.
pub(super) fn word<M: Machine>(machine: M, integers: impl IntoIterator<Item = u64>) -> M::Word {
    let mut lanes = M::Lanes::default();
    for (lane, integer) in lanes.as_mut().iter_mut().zip(integers) {
        *lane = integer;
    }
    M::Word::load(machine, &lanes)
}

/// The element of each lane, by its limbs.
pub(super) fn pack<M: Open>(machine: M, elements: &[Limbs]) -> Field<M> {
    let mut field = Field::splat(machine, &ZERO);
    for (i, limb) in field.0.as_mut().iter_mut().enumerate() {
        *limb = word(machine, elements.iter().map(|limbs| limbs[i]));
    }
    field
}

/// The limbs of each lane.
pub(super) fn unpack<M: Machine>(limbs: &M::Limbs) -> Vec<Limbs> {
    let words: Vec<M::Lanes> = limbs.as_ref().iter().map(|limb| limb.store()).collect();
    (0..M::LANES).map(|lane| words.iter().map(|word| word.as_ref()[lane]).collect()).collect()
}

/// The same number in all lanes.
pub(super) fn everywhere<M: Open>(machine: M, number: &BigUint) -> Field<M> {
    pack(machine, &vec![element::<M>(number); M::LANES])
}

/// The number in each lane, below p.
pub(super) fn numbers<M: Open>(field: &Field<M>) -> Vec<BigUint> {
    unpack::<M>(&field.0).iter().map(|limbs| integer::<M>(limbs) % p()).collect()
}

/// The lanes of these bits.
pub(super) fn lanes_of<M: Machine>(machine: M, bits: u8) -> Mask<M::Word> {
    Mask::of_negative(word(machine, (0..M::LANES).map(|lane| u64::from(bits >> lane & 1) << 63)))
}
