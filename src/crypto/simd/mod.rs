//! Eight elements at a time on AVX-512 IFMA.
//!
//! All elements of a column are multiplied by the same scalar, or at least by as many digits, so eight of them go
//! through the curve side by side, one per 64-bit lane: there is nothing to shuffle between lanes, and no branch that
//! differs by lane.
//!
//! | file | job |
//! |---|---|
//! | [`field`] | products, sums and carries of field elements, with the bounds that make them right |
//! | [`limbs`] | bytes to limbs and back, the canonical form and what is decided by it |
//! | [`constants`] | those of RFC 9496 |
//! | [`chain`] | inverses and square roots |
//! | [`point`] | sums and doubles on the curve |
//! | [`multiply`] | digits of scalars, table, constant-time look-up, the multiplication itself |
//! | [`ristretto`] | decoding, the map from uniform bytes, encoding |
//! | [`sha512`] | hashes of short messages |
//!
//! # Unsafe code
//!
//! This is the only module that may hold any. Functions that use the instructions are `#[target_feature]` functions,
//! which are safe to call from each other; what is unsafe is to enter them from outside, which [`Ifma`] does, a type
//! of which there is no value where the processor lacks the instructions; and to load and store a register
//! ([`limbs::Lanes`]).
//!
//! # Secrets
//!
//! No branch and no address depends on a scalar, on uniform bytes or on what becomes of them, nor does it depend on them
//! which lanes an instruction works on: choices are plain logic on whole registers ([`field::Mask`]). Digits, tables,
//! uniform bytes and points of a block are wiped before a call returns. What is not: registers, and the stack's copies
//! of single points and field elements, which the compiler spills where it likes.

#![expect(unsafe_code, reason = "instructions that not every processor has, and registers from and to memory")]

use std::arch::is_x86_feature_detected;

use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

use super::domain::Message;
use super::evaluate::InvalidEncoding;
use super::kernel::{Encoding, InvalidRow, Kernel, Uniform, halves_of, room_for};
use super::secret::SecretScalar;

mod chain;
mod constants;
mod field;
mod limbs;
mod multiply;
mod point;
mod ristretto;
mod sha512;

#[cfg(test)]
mod tests;

use multiply::{Digits, Table, multiply};
use point::{Extended, Projective};
use sha512::{Blocks, MESSAGE_BYTES_MAX};

/// Elements in a register.
const LANES: usize = 8;

/// The kernel. That a value exists proves that this processor has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Ifma(());

impl Ifma {
    /// The kernel, if this processor can run it and the operating system keeps its registers.
    pub(super) fn detect() -> Option<Self> {
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512ifma");
        detected.then_some(Self(()))
    }
}

impl Kernel for Ifma {
    fn hash(&self, messages: &[Message<'_>], digests: &mut [Uniform]) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { hash(messages, digests) }
    }

    fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { map_mul_encode(uniform, scalar, encodings) }
    }

    fn map_double_encode(&self, uniform: &[Uniform], encodings: &mut [Encoding]) {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { map_double_encode(uniform, encodings) }
    }

    fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow> {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { decode(elements) }.map(drop)
    }

    fn decode_mul_encode(
        &self,
        elements: &[Encoding],
        scalar: &SecretScalar,
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { decode_mul_encode(elements, scalar, encodings) }
    }

    fn decode_mul_each_encode(
        &self,
        elements: &[Encoding],
        scalars: &[Scalar],
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        // SAFETY: `self` proves that the processor has the instructions.
        unsafe { decode_mul_each_encode(elements, scalars, encodings) }
    }
}

/// Groups that `rows` rows fill, the last of them perhaps in part.
fn groups(rows: usize) -> usize {
    rows.div_ceil(LANES)
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn hash(messages: &[Message<'_>], digests: &mut [Uniform]) {
    for (messages, digests) in messages.chunks(LANES).zip(digests.chunks_mut(LANES)) {
        let short = |message: &Message<'_>| message.head().len() + message.body().len() <= MESSAGE_BYTES_MAX;
        let mut blocks = Blocks::new();
        for (lane, message) in messages.iter().enumerate() {
            if short(message) {
                blocks.set(lane, message.head(), message.body());
            }
        }
        blocks.digest(digests);
        // Of what takes several blocks, each message has its own number of them.
        for (message, digest) in messages.iter().zip(digests) {
            if !short(message) {
                let hash = Sha512::new().chain_update(message.head()).chain_update(message.body());
                hash.finalize_into(digest.into());
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn map_mul_encode(uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
    let digits = Digits::of(&scalar.half());
    let mut table = Table::new();
    let mut halves = room_for(groups(uniform.len()));
    for rows in uniform.chunks(LANES) {
        let point = Zeroizing::new(ristretto::map_uniform(rows));
        halves.push(multiply(&point, &digits, &mut table));
    }
    ristretto::encode_doubled(&halves, encodings);
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn map_double_encode(uniform: &[Uniform], encodings: &mut [Encoding]) {
    let mut halves = room_for(groups(uniform.len()));
    for rows in uniform.chunks(LANES) {
        let point = Zeroizing::new(ristretto::map_uniform(rows));
        halves.push(Projective { x: point.x, y: point.y, z: point.z });
    }
    ristretto::encode_doubled(&halves, encodings);
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn decode_mul_encode(
    elements: &[Encoding],
    scalar: &SecretScalar,
    encodings: &mut [Encoding],
) -> Result<(), InvalidRow> {
    let points = decode(elements)?;
    let digits = Digits::of(&scalar.half());
    let mut table = Table::new();
    let mut halves = room_for(points.len());
    halves.extend(points.iter().map(|point| multiply(point, &digits, &mut table)));
    ristretto::encode_doubled(&halves, encodings);
    Ok(())
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn decode_mul_each_encode(
    elements: &[Encoding],
    scalars: &[Scalar],
    encodings: &mut [Encoding],
) -> Result<(), InvalidRow> {
    let points = decode(elements)?;
    let half_scalars = halves_of(scalars);
    let mut table = Table::new();
    let mut halves = room_for(points.len());
    for (point, scalars) in points.iter().zip(half_scalars.chunks(LANES)) {
        halves.push(multiply(point, &Digits::of_each(scalars), &mut table));
    }
    ristretto::encode_doubled(&halves, encodings);
    Ok(())
}

/// The points of all rows, group by group; or the first row that is not the canonical encoding of an element other
/// than the identity.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn decode(elements: &[Encoding]) -> Result<Vec<Extended>, InvalidRow> {
    let mut points = Vec::with_capacity(groups(elements.len()) + 1);
    for (pair, rows) in elements.chunks(2 * LANES).enumerate() {
        let (first, second) = rows.split_at(rows.len().min(LANES));
        // A group without a second is its own.
        let decoded = ristretto::decode([first, if second.is_empty() { first } else { second }]);
        let refused = u16::from_le_bytes(decoded.each_ref().map(|group| group.refused));
        if refused != 0 {
            // Lanes without a row of their own repeat an earlier one, so the first that is refused has one.
            let row = 2 * LANES * pair + refused.trailing_zeros() as usize;
            let zero = elements[row] == Encoding::default();
            let reason = if zero { InvalidEncoding::Identity } else { InvalidEncoding::NotCanonical };
            return Err(InvalidRow { row, reason });
        }
        points.extend(decoded.map(|group| group.point));
    }
    points.truncate(groups(elements.len()));
    Ok(points)
}
