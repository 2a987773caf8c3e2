//! A register of four 64-bit integers.

use std::arch::asm;
use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::Avx2;
use crate::crypto::simd::vector::{self, Lanes, instructions};

#[derive(Clone, Copy)]
pub(in crate::crypto::simd) struct Word(__m256i);

impl Word {
    instructions! {
        /// The product of the low 32 bits.
        pub(super) fn times(self, other: Self) = multiply(self.0, other.0);
        pub(super) fn down<const BITS: i32>(self) = _mm256_srli_epi64::<BITS>(self.0);
        pub(super) fn up<const BITS: i32>(self) = _mm256_slli_epi64::<BITS>(self.0);
    }
}

/// `vpmuludq`.
///
/// By its name, as the compiler knows too well what the intrinsic does: it carries factors of 19 and 2 over from one
/// product to another, finds that 32 bits do not hold what it has made, and multiplies 64.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply(x: __m256i, y: __m256i) -> __m256i {
    let product;
    // SAFETY: it touches these registers alone.
    unsafe {
        asm!(
            "vpmuludq {product}, {x}, {y}",
            product = lateout(ymm_reg) product,
            x = in(ymm_reg) x,
            y = in(ymm_reg) y,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    product
}

impl vector::Word for Word {
    type Machine = Avx2;
    type Lanes = Lanes<4>;

    instructions! {
        fn splat(_machine: Avx2, value: u64) = _mm256_set1_epi64x(value.cast_signed());
        fn like(self, value: u64) = _mm256_set1_epi64x(value.cast_signed());
        // 32 bytes that are borrowed, and aligned to 64.
        fn load(_machine: Avx2, lanes: &Lanes<4>) = _mm256_load_si256((&raw const lanes.0).cast());
        fn plus(self, other: Self) = _mm256_add_epi64(self.0, other.0);
        fn minus(self, other: Self) = _mm256_sub_epi64(self.0, other.0);
        fn and(self, other: Self) = _mm256_and_si256(self.0, other.0);
        fn or(self, other: Self) = _mm256_or_si256(self.0, other.0);
        fn xor(self, other: Self) = _mm256_xor_si256(self.0, other.0);
        fn negative(self) = _mm256_cmpgt_epi64(_mm256_setzero_si256(), self.0);
    }

    #[inline(always)]
    fn choose(self, x: Self, y: Self) -> Self {
        x.xor(self.and(x.xor(y)))
    }

    #[inline(always)]
    fn add_where(self, x: Self, y: Self) -> Self {
        x.or(self.and(y))
    }

    #[inline(always)]
    fn store(self) -> Lanes<4> {
        let mut lanes = Lanes::default();
        // SAFETY: `self` proves that the processor has the instruction; 32 bytes that nobody else has borrowed, aligned
        // to 64.
        unsafe { _mm256_store_si256((&raw mut lanes.0).cast(), self.0) };
        lanes
    }

    #[inline(always)]
    fn highest_bits(self) -> u8 {
        // SAFETY: `self` proves that the processor has the instruction.
        let bits = unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(self.0)) };
        bits.to_le_bytes()[0]
    }
}

impl Zeroize for Word {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
