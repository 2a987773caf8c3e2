//! A register of eight 64-bit integers.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::Ifma;
use crate::crypto::simd::vector::{self, Lanes, instructions};

#[derive(Clone, Copy)]
pub(in crate::crypto::simd) struct Word(__m512i);

impl Word {
    instructions! {
        /// `self` plus the low 52 bits of the product of the factors' low 52 bits.
        pub(super) fn plus_low(self, x: Self, y: Self) = _mm512_madd52lo_epu64(self.0, x.0, y.0);
        /// `self` plus the high 52 bits of that product.
        pub(super) fn plus_high(self, x: Self, y: Self) = _mm512_madd52hi_epu64(self.0, x.0, y.0);
        /// The low 64 bits of the product.
        pub(super) fn times(self, other: Self) = _mm512_mullo_epi64(self.0, other.0);
        pub(super) fn down<const BITS: u32>(self) = _mm512_srli_epi64::<BITS>(self.0);
        pub(super) fn up<const BITS: u32>(self) = _mm512_slli_epi64::<BITS>(self.0);
        pub(super) fn rotated<const BITS: i32>(self) = _mm512_ror_epi64::<BITS>(self.0);
        /// `self` ⊕ `y` ⊕ `z`. The constant of `vpternlogq` is the truth table, bit 4·self + 2·y + z of it.
        pub(super) fn xor3(self, y: Self, z: Self) = _mm512_ternarylogic_epi64::<0b1001_0110>(self.0, y.0, z.0);
        /// Of three bits the one that two of them have.
        pub(super) fn majority(self, y: Self, z: Self) = _mm512_ternarylogic_epi64::<0b1110_1000>(self.0, y.0, z.0);
    }
}

impl vector::Word for Word {
    type Machine = Ifma;
    type Lanes = Lanes<8>;

    instructions! {
        fn splat(_machine: Ifma, value: u64) = _mm512_set1_epi64(value.cast_signed());
        fn like(self, value: u64) = _mm512_set1_epi64(value.cast_signed());
        // 64 bytes that are borrowed, and aligned to 64.
        fn load(_machine: Ifma, lanes: &Lanes<8>) = _mm512_load_si512((&raw const lanes.0).cast());
        fn plus(self, other: Self) = _mm512_add_epi64(self.0, other.0);
        fn minus(self, other: Self) = _mm512_sub_epi64(self.0, other.0);
        fn and(self, other: Self) = _mm512_and_si512(self.0, other.0);
        fn or(self, other: Self) = _mm512_or_si512(self.0, other.0);
        fn xor(self, other: Self) = _mm512_xor_si512(self.0, other.0);
        fn negative(self) = _mm512_srai_epi64::<63>(self.0);
        // Truth tables, bit 4·self + 2·y + x and bit 4·x + 2·self + y of them.
        fn choose(self, x: Self, y: Self) = _mm512_ternarylogic_epi64::<0b1100_1010>(self.0, y.0, x.0);
        fn add_where(self, x: Self, y: Self) = _mm512_ternarylogic_epi64::<0b1111_1000>(x.0, self.0, y.0);
    }

    #[inline(always)]
    fn store(self) -> Lanes<8> {
        let mut lanes = Lanes::default();
        // SAFETY: `self` proves that the processor has the instruction; 64 bytes that nobody else has borrowed, aligned
        // to 64.
        unsafe { _mm512_store_si512((&raw mut lanes.0).cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn highest_bits(self) -> u8 {
        // SAFETY: `self` proves that the processor has the instruction.
        unsafe { _mm512_movepi64_mask(self.0) }
    }
}

impl Zeroize for Word {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
