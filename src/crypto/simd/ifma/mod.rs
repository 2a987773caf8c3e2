//! AVX-512 IFMA: eight elements at a time, with multipliers for 52 bits.

use std::arch::is_x86_feature_detected;

use sha2::{Digest, Sha512};

use super::constants::Constant;
use super::vector::{Lanes, Machine, Step, Word as _, aligned_stack};
use crate::crypto::domain::Message;
use crate::crypto::kernel::Uniform;

pub(super) mod limbs;
mod sha512;
mod word;

use limbs::{ABOVE, multiple_of_p};
use sha512::{Blocks, MESSAGE_BYTES_MAX};
use word::Word;

/// Elements in a register.
const LANES: usize = 8;

/// The kernel. That a value exists proves that this processor has the instructions.
#[derive(Clone, Copy)]
pub(in crate::crypto) struct Ifma(());

impl Ifma {
    /// The kernel, if this processor can run it and the operating system keeps its registers.
    pub(in crate::crypto) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        detected.then_some(Self(()))
    }
}

impl Machine for Ifma {
    const LANES: usize = LANES;
    type Word = Word;
    type Lanes = Lanes<LANES>;
    type Limbs = limbs::Limbs;
    type Integers = limbs::Integers;

    const REDUCED: Self::Integers = [limbs::REDUCED; 5];
    const ABOVE_FACTOR: Self::Integers = multiple_of_p(4);
    const ABOVE_PRODUCT: Self::Integers = multiple_of_p(ABOVE);

    #[inline(always)]
    fn run<S: Step<Self>>(self, step: S) -> S::Output {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
        fn run<S: Step<Ifma>>(machine: Ifma, step: S) -> S::Output {
            aligned_stack();
            step.go(machine)
        }
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { run(self, step) }
    }

    fn hash(self, messages: &[Message<'_>], digests: &mut [Uniform]) {
        for (messages, digests) in messages.chunks(LANES).zip(digests.chunks_mut(LANES)) {
            self.run(Hash { messages, digests });
        }
    }

    #[inline(always)]
    fn splat(self, integers: &Self::Integers) -> Self::Limbs {
        let [i0, i1, i2, i3, i4] = *integers;
        let word = Word::splat(self, i0);
        [word, word.like(i1), word.like(i2), word.like(i3), word.like(i4)]
    }

    #[inline(always)]
    fn constant(constant: &Constant) -> &Self::Integers {
        &constant.radix_51
    }

    #[inline(always)]
    fn product(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        limbs::product_from::<0>(x, y)
    }

    #[inline(always)]
    fn product_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        limbs::product_from::<ABOVE>(x, y)
    }

    #[inline(always)]
    fn square(x: &Self::Limbs) -> Self::Limbs {
        limbs::square_from::<0>(x)
    }

    #[inline(always)]
    fn square_above(x: &Self::Limbs) -> Self::Limbs {
        limbs::square_from::<ABOVE>(x)
    }

    #[inline(always)]
    fn square_of_sum_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs {
        limbs::square_from::<{ 4 * ABOVE }>(&limbs::carry(&limbs::sum(x, y)))
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
        *limbs
    }

    #[inline(always)]
    fn expand(compressed: &[Word; 5]) -> Self::Limbs {
        *compressed
    }
}

/// SHA-512 of at most eight messages.
struct Hash<'a, 'm> {
    messages: &'a [Message<'m>],
    digests: &'a mut [Uniform],
}

impl Step<Ifma> for Hash<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn go(self, machine: Ifma) {
        let mut blocks = Blocks::new();
        for (lane, message) in self.messages.iter().enumerate() {
            if is_short(message) {
                blocks.set(lane, message.head(), message.body());
            }
        }
        blocks.digest(machine, self.digests);
        // Of what takes several blocks, each message has its own number of them.
        for (message, digest) in self.messages.iter().zip(self.digests) {
            if !is_short(message) {
                let hash = Sha512::new().chain_update(message.head()).chain_update(message.body());
                hash.finalize_into(digest.into());
            }
        }
    }
}

/// Whether a message fits a single block.
fn is_short(message: &Message<'_>) -> bool {
    message.head().len() + message.body().len() <= MESSAGE_BYTES_MAX
}
