//! AVX2: four elements at a time, with multipliers for 32 bits. Hashes are left to sha2.

use std::arch::is_x86_feature_detected;

use super::constants::Constant;
use super::vector::{Lanes, Machine, Step, Word as _, aligned_stack};

pub(super) mod limbs;
mod word;

use limbs::{ABOVE, multiple_of_p, plus_multiple};
use word::Word;

/// Elements in a register.
const LANES: usize = 4;

/// The kernel. That a value exists proves that this processor has the instructions.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Avx2(());

impl Avx2 {
    /// The kernel, if this processor can run it and the operating system keeps its registers.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }
}

impl Machine for Avx2 {
    const LANES: usize = LANES;
    type Word = Word;
    type Lanes = Lanes<LANES>;
    type Limbs = limbs::Limbs;
    type Integers = limbs::Integers;

    const REDUCED: Self::Integers = limbs::REDUCED;
    const ABOVE_FACTOR: Self::Integers = multiple_of_p(2);
    const ABOVE_PRODUCT: Self::Integers = multiple_of_p(ABOVE);

    #[inline(always)]
    fn run<S: Step<Self>>(self, step: S) -> S::Output {
        #[inline(never)]
        #[target_feature(enable = "avx2")]
        fn run<S: Step<Avx2>>(machine: Avx2, step: S) -> S::Output {
            aligned_stack();
            step.go(machine)
        }
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { run(self, step) }
    }

    #[inline(always)]
    fn splat(self, integers: &Self::Integers) -> Self::Limbs {
        let mut words = [Word::splat(self, 0); 10];
        for (word, integer) in words.iter_mut().zip(integers) {
            *word = Word::splat(self, *integer);
        }
        words
    }

    #[inline(always)]
    fn constant(constant: &Constant) -> &Self::Integers {
        &constant.radix_25_5
    }

    /// By a function of its own: inlined wherever there is one, products alone would fill the cache for instructions, and a
    /// multiplication on the curve takes a third longer.
    #[inline(always)]
    fn product(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        #[inline(never)]
        #[target_feature(enable = "avx2")]
        fn product(x: &limbs::Limbs, y: &limbs::Limbs) -> limbs::Limbs {
            aligned_stack();
            limbs::product(x, y)
        }
        // SAFETY: words prove that the processor has the instructions.
        unsafe { product(x, y) }
    }

    #[inline(always)]
    fn product_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        plus_multiple::<ABOVE>(&Self::product(x, y))
    }

    #[inline(always)]
    fn square(x: &Self::Limbs) -> Self::Limbs {
        limbs::square(x)
    }

    #[inline(always)]
    fn square_above(x: &Self::Limbs) -> Self::Limbs {
        plus_multiple::<ABOVE>(&limbs::square(x))
    }

    #[inline(always)]
    fn square_of_sum_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        // A sum of two factors is small enough to be squared as it is.
        plus_multiple::<{ 4 * ABOVE }>(&limbs::square(&limbs::sum(x, y)))
    }

    #[inline(always)]
    fn carry(limbs: &Self::Limbs) -> Self::Limbs {
        limbs::carry(limbs)
    }

    #[inline(always)]
    fn canonical(limbs: &Self::Limbs) -> Self::Limbs {
        limbs::canonical(limbs)
    }

    #[inline(always)]
    fn pack(canonical: &Self::Limbs) -> [Word; 4] {
        limbs::pack(canonical)
    }

    #[inline(always)]
    fn unpack(words: &[Word; 4]) -> Self::Limbs {
        limbs::unpack(words)
    }

    #[inline(always)]
    fn compress(limbs: &Self::Limbs) -> [Word; 5] {
        limbs::compress(limbs)
    }

    #[inline(always)]
    fn expand(compressed: &[Word; 5]) -> Self::Limbs {
        limbs::expand(compressed)
    }
}
