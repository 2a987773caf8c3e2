//! Elements of GF(p), p = 2^255 − 19, one per 64-bit lane, on any machine's limbs.
//!
//! Two types keep apart what may be multiplied from what has yet to be carried:
//!
//! | type | limbs | made by |
//! |---|---|---|
//! | [`Field`] | below [`Machine::REDUCED`] | [`Sum::carry`], constants, unpacked bytes |
//! | [`Sum`] | below 2^63 | products, and sums and differences of anything |
//!
//! One carry after each *linear combination* is all the carrying there is; products themselves are never carried, and
//! their limbs are below 2^59. What the bounds are and why they hold is said where each machine's products are.
//!
//! *Difference.* Limbs must not go below zero, so a multiple of p is added, all of whose limbs exceed the subtrahend's:
//! one for factors, and one for products, "above" which the minuend begins.
//!
//! Debug builds assert that factors are reduced, that no limb goes below zero and that what is carried is below 2^63; a
//! test asserts what products and carries promise.

use zeroize::Zeroize;

use super::constants::Constant;
use super::vector::{Machine, Word};

/// Limbs of a [`Sum`] are below this.
const SUM_MAX: u64 = 1 << 63;

/// All ones in the lanes where something holds, zeros in the others.
///
/// A register as any other and no mask register, so that a choice is plain logic on whole registers: what is loaded, and
/// which lanes an instruction works on, is the same whatever is chosen.
#[derive(Clone, Copy)]
pub(super) struct Mask<W>(W);

impl<W: Word> Mask<W> {
    #[inline(always)]
    pub(super) fn none(machine: W::Machine) -> Self {
        Self(W::splat(machine, 0))
    }

    /// Where `word`, as a signed integer, is negative.
    #[inline(always)]
    pub(super) fn of_negative(word: W) -> Self {
        Self(word.negative())
    }

    /// Where `word` is zero: there alone x − 1 has the highest bit and x has not.
    #[inline(always)]
    pub(super) fn of_zero(word: W) -> Self {
        let ones = word.like(u64::MAX);
        Self::of_negative(word.xor(ones).and(word.plus(ones)))
    }

    #[inline(always)]
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0.or(other.0))
    }

    #[inline(always)]
    pub(super) fn not(self) -> Self {
        Self(self.0.xor(self.0.like(u64::MAX)))
    }

    /// A bit per lane, for what is public.
    #[inline(always)]
    pub(super) fn bits(self) -> u8 {
        self.0.highest_bits()
    }
}

/// A signed integer from −15 to 15 per lane.
#[derive(Clone, Copy)]
pub(super) struct Digit<W> {
    size: W,
    negative: Mask<W>,
}

impl<W: Word> Digit<W> {
    #[inline(always)]
    pub(super) fn load(machine: W::Machine, lanes: &W::Lanes) -> Self {
        let digit = W::load(machine, lanes);
        let negative = digit.negative();
        // −x = ¬(x − 1) = ¬(x + ¬0)
        Self { size: digit.plus(negative).xor(negative), negative: Mask(negative) }
    }

    /// Where the digit is `size` or −`size`: from 0 to 15, zero alone is negative once one is taken away.
    #[inline(always)]
    pub(super) fn has_size(self, size: u64) -> Mask<W> {
        Mask::of_negative(self.size.xor(self.size.like(size)).minus(self.size.like(1)))
    }

    #[inline(always)]
    pub(super) fn negative(self) -> Mask<W> {
        self.negative
    }
}

/// A field element per lane, fit to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Field<M: Machine>(pub(super) M::Limbs);

/// A field element per lane that waits for its carries.
#[derive(Clone, Copy)]
pub(super) struct Sum<M: Machine>(pub(super) M::Limbs);

/// A field element per lane, as a table keeps it.
#[derive(Clone, Copy)]
pub(super) struct Stored<M: Machine>([M::Word; 5]);

impl<M: Machine> Field<M> {
    /// The same element in all lanes.
    #[inline(always)]
    pub(super) fn splat(machine: M, constant: &Constant) -> Self {
        Self(machine.splat(M::constant(constant)))
    }

    /// `self` · `other`
    #[inline(always)]
    pub(super) fn times(&self, other: &Self) -> Sum<M> {
        debug_assert!(self.is_reduced() && other.is_reduced(), "a factor's limb is too large");
        Sum(M::product(&self.0, &other.0))
    }

    /// `self` · `other`, above a multiple of p.
    #[inline(always)]
    pub(super) fn times_above(&self, other: &Self) -> Sum<M> {
        debug_assert!(self.is_reduced() && other.is_reduced(), "a factor's limb is too large");
        Sum(M::product_above(&self.0, &other.0))
    }

    /// `self`²
    #[inline(always)]
    pub(super) fn squared(&self) -> Sum<M> {
        debug_assert!(self.is_reduced(), "a factor's limb is too large");
        Sum(M::square(&self.0))
    }

    /// `self`², above a multiple of p.
    #[inline(always)]
    pub(super) fn squared_above(&self) -> Sum<M> {
        debug_assert!(self.is_reduced(), "a factor's limb is too large");
        Sum(M::square_above(&self.0))
    }

    /// (`self` + `other`)², above four times that multiple of p.
    #[inline(always)]
    pub(super) fn sum_squared_above(&self, other: &Self) -> Sum<M> {
        debug_assert!(self.is_reduced() && other.is_reduced(), "a factor's limb is too large");
        Sum(M::square_of_sum_above(&self.0, &other.0))
    }

    /// `self` + `other`
    #[inline(always)]
    pub(super) fn plus(&self, other: &Self) -> Sum<M> {
        Sum(self.0).plus(&Sum(other.0))
    }

    /// `self` − `other`
    #[inline(always)]
    pub(super) fn minus(&self, other: &Self) -> Sum<M> {
        let mut limbs = self.0;
        for (limb, above) in limbs.as_mut().iter_mut().zip(M::ABOVE_FACTOR.as_ref()) {
            *limb = limb.plus(limb.like(*above));
        }
        Sum(limbs).minus(&Sum(other.0))
    }

    /// −`self`
    #[inline(always)]
    pub(super) fn negated(&self) -> Self {
        Sum(self.0).taken_from(&M::ABOVE_FACTOR, 1).carry()
    }

    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline(always)]
    pub(super) fn or_where(&self, mask: Mask<M::Word>, other: &Self) -> Self {
        Self(Sum::<M>(self.0).or_where(mask, &Sum(other.0)).0)
    }

    /// −`self` in the lanes of `mask`.
    #[inline(always)]
    pub(super) fn negated_where(&self, mask: Mask<M::Word>) -> Self {
        self.or_where(mask, &self.negated())
    }

    /// Of `self` and −`self` the one that is not negative.
    #[inline(always)]
    pub(super) fn absolute(&self) -> Self {
        self.negated_where(self.is_negative())
    }

    /// The integers below 2^255 of these words; bit 255 is passed over.
    #[inline(always)]
    pub(super) fn unpack(machine: M, words: &[M::Lanes; 4]) -> Self {
        let [w0, w1, w2, w3] = words;
        let load = [
            M::Word::load(machine, w0),
            M::Word::load(machine, w1),
            M::Word::load(machine, w2),
            M::Word::load(machine, w3),
        ];
        Self(M::unpack(&load))
    }

    /// The words of the canonical form, below p.
    #[inline(always)]
    pub(super) fn pack(&self) -> [M::Lanes; 4] {
        let [w0, w1, w2, w3] = M::pack(&M::canonical(&self.0));
        [w0.store(), w1.store(), w2.store(), w3.store()]
    }

    /// Where `words` are those of the canonical form.
    #[inline(always)]
    pub(super) fn packs_to(&self, machine: M, words: &[M::Lanes; 4]) -> Mask<M::Word> {
        let mut difference = M::Word::splat(machine, 0);
        for (packed, word) in M::pack(&M::canonical(&self.0)).into_iter().zip(words) {
            difference = difference.or(packed.xor(M::Word::load(machine, word)));
        }
        Mask::of_zero(difference)
    }

    /// Where the canonical form is odd: "negative" in RFC 9496, section 3.1.
    #[inline(always)]
    pub(super) fn is_negative(&self) -> Mask<M::Word> {
        let lowest = M::canonical(&self.0).as_ref()[0];
        Mask(lowest.like(0).minus(lowest.and(lowest.like(1))))
    }

    /// Where the element is zero.
    #[inline(always)]
    pub(super) fn is_zero(&self) -> Mask<M::Word> {
        let canonical = M::canonical(&self.0);
        let mut any = canonical.as_ref()[0];
        for limb in &canonical.as_ref()[1..] {
            any = any.or(*limb);
        }
        Mask::of_zero(any)
    }

    /// Where the two are the same element.
    #[inline(always)]
    pub(super) fn is_equal(&self, other: &Self) -> Mask<M::Word> {
        self.minus(other).carry().is_zero()
    }

    /// As a table keeps it.
    #[inline(always)]
    pub(super) fn stored(&self) -> Stored<M> {
        Stored(M::compress(&self.0))
    }

    pub(super) fn is_reduced(&self) -> bool {
        below(self.0.as_ref(), M::REDUCED.as_ref())
    }
}

impl<M: Machine> Zeroize for Field<M> {
    fn zeroize(&mut self) {
        self.0.as_mut().iter_mut().zeroize();
    }
}

/// Whether every lane of every limb is below its bound, which is 2^63 at most.
fn below<W: Word>(limbs: &[W], bounds: &[u64]) -> bool {
    limbs.iter().zip(bounds).all(|(limb, bound)| limb.or(limb.like(bound - 1).minus(*limb)).highest_bits() == 0)
}

impl<M: Machine> Sum<M> {
    /// `self` + `other`
    #[inline(always)]
    pub(super) fn plus(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.as_mut().iter_mut().zip(other.0.as_ref()) {
            *limb = limb.plus(*other);
        }
        Self(limbs)
    }

    /// `self` − `other`, where `self` holds a multiple of p all of whose limbs exceed `other`'s.
    #[inline(always)]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.as_mut().iter_mut().zip(other.0.as_ref()) {
            *limb = limb.minus(*other);
            // All are below 2^63, so that the sign tells.
            debug_assert_eq!(limb.highest_bits(), 0, "a limb would go below zero");
        }
        Self(limbs)
    }

    /// −`self`, where `self` is the sum of two products at most.
    #[inline(always)]
    pub(super) fn negated(&self) -> Self {
        self.taken_from(&M::ABOVE_PRODUCT, 2)
    }

    /// `times` · `above` − `self`
    #[inline(always)]
    fn taken_from(&self, above: &M::Integers, times: u64) -> Self {
        let mut limbs = self.0;
        for (limb, above) in limbs.as_mut().iter_mut().zip(above.as_ref()) {
            *limb = limb.like(times * above).minus(*limb);
            debug_assert_eq!(limb.highest_bits(), 0, "a limb would go below zero");
        }
        Self(limbs)
    }

    /// `other` in the lanes of `mask`, `self` in the others.
    #[inline(always)]
    pub(super) fn or_where(&self, mask: Mask<M::Word>, other: &Self) -> Self {
        let mut limbs = self.0;
        for (limb, other) in limbs.as_mut().iter_mut().zip(other.0.as_ref()) {
            *limb = mask.0.choose(*limb, *other);
        }
        Self(limbs)
    }

    #[inline(always)]
    pub(super) fn carry(&self) -> Field<M> {
        debug_assert!(below(self.0.as_ref(), &[SUM_MAX; 16]), "a limb is too large to be carried");
        Field(M::carry(&self.0))
    }
}

impl<M: Machine> Stored<M> {
    #[inline(always)]
    pub(super) fn zero(machine: M) -> Self {
        Self([M::Word::splat(machine, 0); 5])
    }

    /// `other` in the lanes of `mask`, where `self` must be [`zero`](Self::zero); `self` in the others.
    #[inline(always)]
    pub(super) fn and_where(&self, mask: Mask<M::Word>, other: &Self) -> Self {
        let mut words = self.0;
        for (word, other) in words.iter_mut().zip(other.0) {
            *word = mask.0.add_where(*word, other);
        }
        Self(words)
    }

    #[inline(always)]
    pub(super) fn field(&self) -> Field<M> {
        Field(M::expand(&self.0))
    }
}

impl<M: Machine> Zeroize for Stored<M> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
