//! Several elements at a time, on AVX-512 IFMA or AVX2.
//!
//! All elements of a column are multiplied by the same scalar, or at least by as many digits, so eight or four of them go
//! through the curve side by side, one per 64-bit lane: there is nothing to shuffle between lanes, and no branch that
//! differs by lane.
//!
//! | file | job |
//! |---|---|
//! | [`vector`] | what a machine has to give: words, and arithmetic on bare limbs |
//! | [`ifma`], [`avx2`] | the machines: limbs, with the bounds that make products and carries right |
//! | [`field`] | field elements and sums of them that wait for their carries |
//! | [`constants`] | those of RFC 9496 |
//! | [`chain`] | inverses and square roots |
//! | [`point`] | sums and doubles on the curve |
//! | [`multiply`] | digits of scalars, table, constant-time look-up, the multiplication itself |
//! | [`ristretto`] | decoding, the map from uniform bytes, encoding |
//!
//! Only [`vector`]'s two machines differ. All else is written once.
//!
//! # Unsafe code
//!
//! This is the only module that may hold any. It is where each machine's words call their instructions, and where its
//! `run` enters a function that is compiled with them: both need a processor that has them, and there is no value of the
//! machine's type on any other.
//!
//! # Secrets
//!
//! No branch and no address depends on a scalar, on uniform bytes or on what becomes of them, nor does it depend on them
//! which lanes an instruction works on: choices are plain logic on whole registers ([`field::Mask`]). Digits, tables,
//! uniform bytes and points of a block are wiped before a call returns. What is not: registers, and the stack's copies
//! of single points and field elements, which the compiler spills where it likes.

#![expect(unsafe_code, reason = "instructions that not every processor has, and registers from and to memory")]

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

use super::domain::Message;
use super::evaluate::InvalidEncoding;
use super::kernel::{Encoding, InvalidRow, Kernel, Uniform, halves_of, room_for};
use super::secret::SecretScalar;

mod avx2;
mod chain;
mod constants;
mod field;
mod ifma;
mod multiply;
mod point;
mod ristretto;
mod vector;

#[cfg(test)]
mod tests;

pub(super) use avx2::Avx2;
use field::Field;
pub(super) use ifma::Ifma;
use multiply::{Digits, Table, multiply};
use point::{Extended, Projective};
use ristretto::{Decode, EncodeDoubled, MapUniform};
use vector::Machine;

impl<M: Machine> Kernel for M {
    fn hash(&self, messages: &[Message<'_>], digests: &mut [Uniform]) {
        Machine::hash(*self, messages, digests);
    }

    fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
        let digits = Digits::of(&scalar.half());
        let mut table = Table::new(*self);
        let mut halves = room_for(groups::<M>(uniform.len()));
        for rows in uniform.chunks(M::LANES) {
            let point = Zeroizing::new(self.run(MapUniform(rows)));
            halves.push(multiply(*self, &point, &digits, &mut table));
        }
        self.run(EncodeDoubled { halves: &halves, encodings });
    }

    fn map_double_encode(&self, uniform: &[Uniform], encodings: &mut [Encoding]) {
        let mut halves = room_for(groups::<M>(uniform.len()));
        for rows in uniform.chunks(M::LANES) {
            let point = Zeroizing::new(self.run(MapUniform(rows)));
            halves.push(Projective { x: point.x, y: point.y, z: point.z });
        }
        self.run(EncodeDoubled { halves: &halves, encodings });
    }

    fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow> {
        decode(*self, elements).map(drop)
    }

    fn decode_mul_encode(
        &self,
        elements: &[Encoding],
        scalar: &SecretScalar,
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        let points = decode(*self, elements)?;
        let digits = Digits::of(&scalar.half());
        let mut table = Table::new(*self);
        let mut halves = room_for(points.len());
        halves.extend(points.iter().map(|point| multiply(*self, point, &digits, &mut table)));
        self.run(EncodeDoubled { halves: &halves, encodings });
        Ok(())
    }

    fn decode_mul_each_encode(
        &self,
        elements: &[Encoding],
        scalars: &[Scalar],
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        let points = decode(*self, elements)?;
        let half_scalars = halves_of(scalars);
        let mut table = Table::new(*self);
        let mut halves = room_for(points.len());
        for (point, scalars) in points.iter().zip(half_scalars.chunks(M::LANES)) {
            halves.push(multiply(*self, point, &Digits::of_each(scalars), &mut table));
        }
        self.run(EncodeDoubled { halves: &halves, encodings });
        Ok(())
    }
}

/// Groups that `rows` rows fill, the last of them perhaps in part.
fn groups<M: Machine>(rows: usize) -> usize {
    rows.div_ceil(M::LANES)
}

/// The points of all rows, group by group; or the first row that is not the canonical encoding of an element other
/// than the identity.
fn decode<M: Machine>(machine: M, elements: &[Encoding]) -> Result<Vec<Extended<Field<M>>>, InvalidRow> {
    let mut points = Vec::with_capacity(groups::<M>(elements.len()) + 1);
    for (pair, rows) in elements.chunks(2 * M::LANES).enumerate() {
        let (first, second) = rows.split_at(rows.len().min(M::LANES));
        // A group without a second is its own.
        let [first, second] = machine.run(Decode([first, if second.is_empty() { first } else { second }]));
        let refused = u16::from(first.refused) | u16::from(second.refused) << M::LANES;
        if refused != 0 {
            // Lanes without a row of their own repeat an earlier one, so the first that is refused has one.
            let row = 2 * M::LANES * pair + refused.trailing_zeros() as usize;
            let zero = elements[row] == Encoding::default();
            let reason = if zero { InvalidEncoding::Identity } else { InvalidEncoding::NotCanonical };
            return Err(InvalidRow { row, reason });
        }
        points.extend([first.point, second.point]);
    }
    points.truncate(groups::<M>(elements.len()));
    Ok(points)
}
