//! The field by big integers: an oracle that shares nothing with the code under test.

use num_bigint::BigUint;

use crate::crypto::simd::LANES;
use crate::crypto::simd::field::{Field, Mask};
use crate::crypto::simd::limbs::{Lanes, limbs};

/// Eight integers below 2^320, by their limbs.
pub(super) type Limbs = [[u64; 5]; LANES];

pub(super) fn p() -> BigUint {
    (BigUint::from(1u8) << 255u8) - 19u8
}

/// Σ limb·2^(51·i)
pub(super) fn integer(limbs: &[u64; 5]) -> BigUint {
    limbs.iter().rev().fold(BigUint::ZERO, |sum, limb| (sum << 51u8) + limb)
}

pub(super) fn element(number: &BigUint) -> [u64; 5] {
    let mut words = (number % p()).to_u64_digits();
    words.resize(4, 0);
    limbs([words[0], words[1], words[2], words[3]])
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

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn pack(elements: &Limbs) -> Field {
    let mut words = [Lanes::default(); 5];
    for (lane, limbs) in elements.iter().enumerate() {
        for (word, limb) in words.iter_mut().zip(limbs) {
            word.0[lane] = *limb;
        }
    }
    Field([words[0].load(), words[1].load(), words[2].load(), words[3].load(), words[4].load()])
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn unpack(field: &Field) -> Limbs {
    let [w0, w1, w2, w3, w4] = field.0;
    let words = [Lanes::store(w0), Lanes::store(w1), Lanes::store(w2), Lanes::store(w3), Lanes::store(w4)];
    let mut elements = Limbs::default();
    for (lane, limbs) in elements.iter_mut().enumerate() {
        *limbs = words.map(|word| word.0[lane]);
    }
    elements
}

/// The same number in all lanes.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn everywhere(number: &BigUint) -> Field {
    pack(&[element(number); LANES])
}

/// The number in each lane, below p.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn numbers(field: &Field) -> Vec<BigUint> {
    unpack(field).iter().map(|limbs| integer(limbs) % p()).collect()
}

/// The lanes of these bits.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn lanes_of(bits: u8) -> Mask {
    let lanes = std::array::from_fn(|lane| if bits >> lane & 1 == 1 { u64::MAX } else { 0 });
    Mask::of_negative(Lanes(lanes).load())
}
