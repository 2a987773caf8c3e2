//! Scalar multiplication: windows of four bits with signed digits, a table of 1P to 8P, constant-time look-up.
//!
//! Scalars are secret. Nothing here branches on one, and no address depends on one: each look-up reads the whole
//! table and keeps, lane by lane, the entry whose number is the digit's.

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::field::{Digit, Field, Mask, Stored};
use super::point::{Addend, Extended, Projective};
use super::vector::{Machine, Step};

/// Digits of a scalar below 2^255 in radix 16.
const DIGITS: usize = 64;
/// The largest digit, and the number of table entries.
const DIGIT_MAX: usize = 8;

/// A scalar per lane in digits of −8 to 8, the lowest first. Wiped when dropped.
pub(super) struct Digits<M: Machine>(Zeroizing<Vec<M::Lanes>>);

impl<M: Machine> Digits<M> {
    /// The same scalar in every lane.
    pub(super) fn of(scalar: &Scalar) -> Self {
        let mut digits = Self(Zeroizing::new(vec![M::Lanes::default(); DIGITS]));
        let recoded = recode(scalar);
        for (lanes, digit) in digits.0.iter_mut().zip(recoded.iter()) {
            lanes.as_mut().fill(i64::from(*digit).cast_unsigned());
        }
        digits
    }

    /// Scalar i in lane i, and the last one in what lanes are left.
    pub(super) fn of_each(scalars: &[Scalar]) -> Self {
        let mut digits = Self(Zeroizing::new(vec![M::Lanes::default(); DIGITS]));
        for lane in 0..M::LANES {
            let recoded = recode(&scalars[lane.min(scalars.len() - 1)]);
            for (lanes, digit) in digits.0.iter_mut().zip(recoded.iter()) {
                lanes.as_mut()[lane] = i64::from(*digit).cast_unsigned();
            }
        }
        digits
    }
}

/// Digits d with Σ d·16^i = `scalar`: all from −8 to 7, but for the highest, which takes a carry and loses none, from
/// 0 to 8.
pub(super) fn recode(scalar: &Scalar) -> Zeroizing<[i8; DIGITS]> {
    let mut digits = Zeroizing::new([0i8; DIGITS]);
    let mut carry = 0;
    for (i, digit) in digits.iter_mut().enumerate() {
        let nibble = scalar.as_bytes()[i / 2] >> (4 * (i % 2)) & 15;
        *digit = nibble.cast_signed() + carry;
        carry = if i + 1 < DIGITS { (*digit + 8) >> 4 } else { 0 };
        *digit -= carry << 4;
    }
    digits
}

/// 1P to 8P for the point P of each lane. Reused from group to group, wiped when dropped.
pub(super) struct Table<M: Machine> {
    entries: Zeroizing<Vec<Addend<Stored<M>>>>,
    /// The same points, in the form of which further multiples are made.
    multiples: Zeroizing<Vec<Extended<Field<M>>>>,
}

impl<M: Machine> Table<M> {
    pub(super) fn new(machine: M) -> Self {
        Self {
            entries: Zeroizing::new(vec![Addend::zero(machine); DIGIT_MAX]),
            multiples: Zeroizing::new(vec![Extended::identity(machine); DIGIT_MAX]),
        }
    }

    /// |`digit`|·P of each lane, and the lanes whose digit is negative.
    ///
    /// Each entry is read whole, and its bits are kept under a mask: neither a branch, nor an address, nor what is read
    /// depends on the digit.
    #[inline(always)]
    pub(super) fn look_up(&self, machine: M, digit: &M::Lanes) -> (Addend<Field<M>>, Mask<M::Word>) {
        let digit = Digit::load(machine, digit);
        let mut has_size = [digit.has_size(0); DIGIT_MAX + 1];
        for (size, mask) in (0..).zip(&mut has_size) {
            *mask = digit.has_size(size);
        }
        let entries = self.entries.first_chunk().expect("as many as there are sizes");
        let identity = Addend::identity(machine).stored();
        let chosen = Addend {
            y_plus_x: choose(machine, &has_size, &identity, entries, |entry| &entry.y_plus_x),
            y_minus_x: choose(machine, &has_size, &identity, entries, |entry| &entry.y_minus_x),
            twice_z: choose(machine, &has_size, &identity, entries, |entry| &entry.twice_z),
            twice_dt: choose(machine, &has_size, &identity, entries, |entry| &entry.twice_dt),
        };
        (chosen.fields(), digit.negative())
    }
}

/// One coordinate, `of` the identity or of an entry. One at a time, so that what is chosen so far stays in registers.
#[inline(always)]
fn choose<M: Machine>(
    machine: M,
    has_size: &[Mask<M::Word>; DIGIT_MAX + 1],
    identity: &Addend<Stored<M>>,
    entries: &[Addend<Stored<M>>; DIGIT_MAX],
    of: impl Fn(&Addend<Stored<M>>) -> &Stored<M>,
) -> Stored<M> {
    let mut chosen = Stored::zero(machine).and_where(has_size[0], of(identity));
    for (entry, mask) in entries.iter().zip(&has_size[1..]) {
        chosen = chosen.and_where(*mask, of(entry));
    }
    chosen
}

/// The table of a point.
pub(super) struct Fill<'a, M: Machine> {
    pub(super) table: &'a mut Table<M>,
    pub(super) point: &'a Extended<Field<M>>,
}

impl<M: Machine> Step<M> for Fill<'_, M> {
    type Output = ();

    #[inline(always)]
    fn go(self, machine: M) {
        // k·P is at k − 1.
        let (entries, multiples) = (&mut self.table.entries[..DIGIT_MAX], &mut self.table.multiples[..DIGIT_MAX]);
        let addend = self.point.addend(machine);
        (entries[0], multiples[0]) = (addend.stored(), *self.point);
        for k in (2..=DIGIT_MAX).step_by(2) {
            // (k − 1)·P is there, and k/2·P.
            let even = multiples[k / 2 - 1].double().extended();
            (entries[k - 1], multiples[k - 1]) = (even.addend(machine).stored(), even);
            if k < DIGIT_MAX {
                let odd = even.add(&addend, Mask::none(machine)).extended();
                (entries[k], multiples[k]) = (odd.addend(machine).stored(), odd);
            }
        }
    }
}

/// The scalar of each lane times the point of each lane: 252 doubles and 64 sums, whatever the scalars.
pub(super) struct Multiply<'a, M: Machine> {
    pub(super) table: &'a Table<M>,
    pub(super) digits: &'a Digits<M>,
}

impl<M: Machine> Step<M> for Multiply<'_, M> {
    type Output = Projective<Field<M>>;

    #[inline(always)]
    fn go(self, machine: M) -> Self::Output {
        let (highest, lower) = self.digits.0.split_last().expect("64 digits");
        let (addend, negative) = self.table.look_up(machine, highest);
        let mut product = Extended::identity(machine).add(&addend, negative);
        for digit in lower.iter().rev() {
            let (addend, negative) = self.table.look_up(machine, digit);
            for _ in 0..4 {
                product = product.projective().double();
            }
            product = product.extended().add(&addend, negative);
        }
        product.projective()
    }
}

/// The scalar of each lane times the point of each lane.
pub(super) fn multiply<M: Machine>(
    machine: M,
    point: &Extended<Field<M>>,
    digits: &Digits<M>,
    table: &mut Table<M>,
) -> Projective<Field<M>> {
    machine.run(Fill { table, point });
    machine.run(Multiply { table, digits })
}
