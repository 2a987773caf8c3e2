//! The seam: what is computed over one block of rows, by whichever kernel this machine has.
//!
//! Blocks are cut and spread over the cores by the verbs; a kernel sees one block, on one core. Kernels must agree
//! byte for byte: the oracle is [`Dalek`]. Which one runs is decided in `choose`.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::column::ELEMENT_BYTES;
use super::domain::Message;
use super::evaluate::InvalidEncoding;
use super::secret::SecretScalar;

/// Rows in a block: the unit of parallel work, and of encodings that share an inversion.
///
/// From 128 rows on the inversion's share of a row is under 0.1 µs, in either kernel; 128 rows are 0.3 ms of work with
/// the one and 3 ms with the other, so that a chunk of a few thousand rows keeps many cores busy. A multiple of
/// sixteen, so that lanes fill and pairs of groups are decoded together.
pub const BLOCK_ROWS: usize = 128;

/// 64 bytes, uniformly distributed, from which the map to the group makes one element.
pub(super) type Uniform = [u8; 64];

/// The encoding of one element.
pub(super) type Encoding = [u8; ELEMENT_BYTES];

/// The first encoding of a block that is not one of an element to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidRow {
    pub(super) row: usize,
    pub(super) reason: InvalidEncoding,
}

/// What is computed over a block of at most [`BLOCK_ROWS`] rows. Slices of one call have equal lengths.
pub(super) trait Kernel: Sync {
    /// SHA-512 of each message.
    fn hash(&self, messages: &[Message<'_>], digests: &mut [Uniform]) {
        for (message, digest) in messages.iter().zip(digests) {
            let hash = Sha512::new().chain_update(message.head()).chain_update(message.body());
            hash.finalize_into(digest.into());
        }
    }

    /// `encodings[i]` ← encode(`scalar` · map_to_group(`uniform[i]`)), in constant time.
    fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]);

    /// `encodings[i]` ← encode(2 · map_to_group(`uniform[i]`)), in constant time: uniformly random elements out of uniformly
    /// random bytes, as doubling is a bijection of a group of odd order, and one that the encoding gives away.
    ///
    /// A kernel that has no shorter way multiplies.
    fn map_double_encode(&self, uniform: &[Uniform], encodings: &mut [Encoding]) {
        self.map_mul_encode(uniform, &SecretScalar::of(Scalar::from(2u8)), encodings);
    }

    /// The first row that is not the canonical encoding of an element other than the identity.
    fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow>;

    /// `encodings[i]` ← encode(`scalar` · decode(`elements[i]`)), or the first row that is not the canonical
    /// encoding of an element other than the identity; `encodings` then holds nothing of use. Constant time in the
    /// scalar; elements are the peer's and known to it.
    fn decode_mul_encode(
        &self,
        elements: &[Encoding],
        scalar: &SecretScalar,
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow>;

    /// The same with a scalar of its own for every row.
    fn decode_mul_each_encode(
        &self,
        elements: &[Encoding],
        scalars: &[Scalar],
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow>;
}

/// curve25519-dalek, whose backend (AVX-512 IFMA, AVX2, serial) it chooses itself.
pub(super) struct Dalek;

impl Kernel for Dalek {
    fn map_mul_encode(&self, uniform: &[Uniform], scalar: &SecretScalar, encodings: &mut [Encoding]) {
        let half = scalar.half();
        let mut halves = room_for(uniform.len());
        for bytes in uniform {
            let point = Zeroizing::new(RistrettoPoint::from_uniform_bytes(bytes));
            halves.push(*point * *half);
        }
        encode_doubled(&halves, encodings);
    }

    fn map_double_encode(&self, uniform: &[Uniform], encodings: &mut [Encoding]) {
        let mut halves = room_for(uniform.len());
        halves.extend(uniform.iter().map(RistrettoPoint::from_uniform_bytes));
        encode_doubled(&halves, encodings);
    }

    fn check(&self, elements: &[Encoding]) -> Result<(), InvalidRow> {
        elements
            .iter()
            .enumerate()
            .try_for_each(|(row, element)| decode(element).map(drop).map_err(|reason| InvalidRow { row, reason }))
    }

    fn decode_mul_encode(
        &self,
        elements: &[Encoding],
        scalar: &SecretScalar,
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        let half = scalar.half();
        decode_mul_halves(elements, std::iter::repeat_n(&*half, elements.len()), encodings)
    }

    fn decode_mul_each_encode(
        &self,
        elements: &[Encoding],
        scalars: &[Scalar],
        encodings: &mut [Encoding],
    ) -> Result<(), InvalidRow> {
        decode_mul_halves(elements, halves_of(scalars).iter(), encodings)
    }
}

fn decode_mul_halves<'a>(
    elements: &[Encoding],
    half_scalars: impl Iterator<Item = &'a Scalar>,
    encodings: &mut [Encoding],
) -> Result<(), InvalidRow> {
    let mut halves = room_for(elements.len());
    for ((row, element), half) in elements.iter().enumerate().zip(half_scalars) {
        let point = decode(element).map_err(|reason| InvalidRow { row, reason })?;
        halves.push(point * half);
    }
    encode_doubled(&halves, encodings);
    Ok(())
}

/// Half of each scalar, for encodings that double.
pub(super) fn halves_of(scalars: &[Scalar]) -> Zeroizing<Vec<Scalar>> {
    let mut halves = room_for(scalars.len());
    halves.extend(scalars.iter().map(Scalar::div_by_2));
    halves
}

/// Secrets that are wiped when dropped. Of the full capacity from the start: a vector that grows leaves its old
/// contents behind.
pub(super) fn room_for<T: Zeroize>(length: usize) -> Zeroizing<Vec<T>> {
    Zeroizing::new(Vec::with_capacity(length))
}

/// Strict decoding. The only canonical encoding of the identity is zero, which decodes well: it is refused because
/// its multiples are the same for every scalar, so that it would match any other identity.
fn decode(element: &Encoding) -> Result<RistrettoPoint, InvalidEncoding> {
    if element == &[0; ELEMENT_BYTES] {
        return Err(InvalidEncoding::Identity);
    }
    CompressedRistretto(*element).decompress().ok_or(InvalidEncoding::NotCanonical)
}

/// `encodings[i]` ← encode(2 · `halves[i]`), with one inversion for all. The doubling happens in the encoding's own
/// formulas and costs nothing, hence the halved scalars.
fn encode_doubled(halves: &[RistrettoPoint], encodings: &mut [Encoding]) {
    let doubled = RistrettoPoint::double_and_compress_batch(halves);
    for (encoding, compressed) in encodings.iter_mut().zip(doubled) {
        *encoding = compressed.to_bytes();
    }
}
