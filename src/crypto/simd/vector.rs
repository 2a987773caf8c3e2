//! What the curve asks of a machine, and how code comes to use its instructions.
//!
//! A [`Machine`] is a proof: a value of its type exists only where the processor has the instructions. A [`Word`] comes
//! from a machine or from another word, so its methods are safe to call.
//!
//! Everything on top of words is written as if there were no instructions to ask for, in functions that are
//! `#[inline(always)]`. They end up in a [`Step`], and [`Machine::run`] compiles that as one function with the machine's
//! instructions. A function that is not inlined all the way would be right but slow; so closures do not touch words, as
//! nothing promises that they are inlined.

use zeroize::Zeroize;

use super::constants::Constant;
use crate::crypto::domain::Message;
use crate::crypto::kernel::{Dalek, Kernel, Uniform};

/// The proof that this processor has a machine's instructions; and arithmetic modulo p on bare limbs, to which
/// [`Field`](super::field::Field) and [`Sum`](super::field::Sum) give types and bounds.
pub(super) trait Machine: Copy + Sync {
    /// Elements in a register.
    const LANES: usize;
    type Word: Word<Machine = Self, Lanes = Self::Lanes>;
    type Lanes: Copy + Default + AsRef<[u64]> + AsMut<[u64]> + Zeroize;
    /// One word per limb.
    type Limbs: Copy + AsRef<[Self::Word]> + AsMut<[Self::Word]>;
    /// One integer per limb.
    type Integers: AsRef<[u64]>;

    /// Limbs of a factor are below these.
    const REDUCED: Self::Integers;
    /// A multiple of p whose limbs exceed those of any factor.
    const ABOVE_FACTOR: Self::Integers;
    /// A multiple of p whose limbs exceed those of any product.
    const ABOVE_PRODUCT: Self::Integers;

    /// What `step` gives, compiled with the machine's instructions as a function of its own.
    fn run<S: Step<Self>>(self, step: S) -> S::Output;

    /// SHA-512 of each message.
    fn hash(self, messages: &[Message<'_>], digests: &mut [Uniform]) {
        Dalek.hash(messages, digests);
    }

    /// These integers in all lanes.
    fn splat(self, integers: &Self::Integers) -> Self::Limbs;
    fn constant(constant: &Constant) -> &Self::Integers;

    fn product(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs;
    /// The product plus [`ABOVE_PRODUCT`](Self::ABOVE_PRODUCT).
    fn product_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs;
    fn square(x: &Self::Limbs) -> Self::Limbs;
    /// The square plus [`ABOVE_PRODUCT`](Self::ABOVE_PRODUCT).
    fn square_above(x: &Self::Limbs) -> Self::Limbs;
    /// (x + y)² plus four times [`ABOVE_PRODUCT`](Self::ABOVE_PRODUCT).
    fn square_of_sum_above(x: &Self::Limbs, y: &Self::Limbs) -> Self::Limbs;
    /// Limbs of a factor, of limbs below 2^63.
    fn carry(limbs: &Self::Limbs) -> Self::Limbs;

    /// The limbs of the integer below p, of a factor's.
    fn canonical(limbs: &Self::Limbs) -> Self::Limbs;
    /// The words of 255 bits, of canonical limbs.
    fn pack(canonical: &Self::Limbs) -> [Self::Word; 4];
    /// The limbs of 255 bits; bit 255 is passed over.
    fn unpack(words: &[Self::Word; 4]) -> Self::Limbs;
    /// A factor's limbs in as little space as it takes to look them up.
    fn compress(limbs: &Self::Limbs) -> [Self::Word; 5];
    fn expand(compressed: &[Self::Word; 5]) -> Self::Limbs;
}

/// A piece of work; `go` must be `#[inline(always)]`.
pub(super) trait Step<M: Machine> {
    type Output;
    fn go(self, machine: M) -> Self::Output;
}

/// A register: one 64-bit integer per lane.
pub(super) trait Word: Copy + Zeroize {
    type Machine;
    type Lanes;

    /// The same integer in all lanes.
    fn splat(machine: Self::Machine, value: u64) -> Self;
    /// The same, where another word proves that there are such.
    fn like(self, value: u64) -> Self;
    fn load(machine: Self::Machine, lanes: &Self::Lanes) -> Self;
    fn store(self) -> Self::Lanes;

    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// All ones in the lanes that are negative as signed integers, zeros in the others.
    fn negative(self) -> Self;
    /// The highest bit of each lane, for what is public.
    fn highest_bits(self) -> u8;
    /// Bit by bit `y` where `self` is set, `x` where it is not.
    fn choose(self, x: Self, y: Self) -> Self;
    /// `x` | (`self` & `y`), bit by bit.
    fn add_where(self, x: Self, y: Self) -> Self;
}

/// One 64-bit integer per lane, in memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Lanes<const LANES: usize>(pub(super) [u64; LANES]);

impl<const LANES: usize> Default for Lanes<LANES> {
    fn default() -> Self {
        Self([0; LANES])
    }
}

impl<const LANES: usize> AsRef<[u64]> for Lanes<LANES> {
    fn as_ref(&self) -> &[u64] {
        &self.0
    }
}

impl<const LANES: usize> AsMut<[u64]> for Lanes<LANES> {
    fn as_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl<const LANES: usize> Zeroize for Lanes<LANES> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// Something in memory that asks for an aligned address, so that what registers cannot hold gets one as well: by itself the
/// compiler does not see to it, and what it spills straddles two cache lines.
#[inline(always)]
pub(super) fn aligned_stack() {
    let mut aligned = Lanes([0; 8]);
    std::hint::black_box(&mut aligned);
}

/// Functions of words, each one instruction.
macro_rules! instructions {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident $(<const $bits:ident: $integer:ty>)? ($($argument:tt)*) = $instruction:expr;)*) => {$(
        $(#[$meta])*
        #[inline(always)]
        $visibility fn $name$(<const $bits: $integer>)? ($($argument)*) -> Self {
            // SAFETY: an argument is a word or the machine itself, either of which proves that the processor has the
            // instruction.
            Self(unsafe { $instruction })
        }
    )*};
}
pub(super) use instructions;
