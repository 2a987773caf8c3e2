//! From the peer's elements to twice-blinded ones, or to their tags: decode, multiply, encode.

use std::ops::Range;

use curve25519_dalek::scalar::Scalar;
use rayon::prelude::*;
use thiserror::Error;

use super::choose::kernel;
use super::column::{ELEMENT_BYTES, ElementColumn, TagColumn, check_tag_bytes};
use super::kernel::{BLOCK_ROWS, Encoding, InvalidRow};
use super::pad::Pads;
use super::secret::SecretScalar;

/// Why 32 bytes are no element to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidEncoding {
    /// Not the canonical encoding of an element of ristretto255 (RFC 9496, section 4.3.1).
    #[error("not the canonical encoding of a group element")]
    NotCanonical,
    /// The identity, which matches itself under every scalar.
    #[error("the identity element")]
    Identity,
}

/// The peer sent bytes that are no element to work with. An honest peer never does: end the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer's element in row {row} of the column is {reason}")]
pub struct InvalidElement {
    /// Its row in the column that was given, from 0. Of several such rows the first to be evaluated, so the first
    /// of the column or of `rows`.
    pub row: usize,
    /// What is wrong with it.
    pub reason: InvalidEncoding,
}

/// `scalar` · each element, encoded; or the first that is not the canonical encoding of an element other than the
/// identity.
pub fn evaluate(elements: &ElementColumn, scalar: &SecretScalar) -> Result<ElementColumn, InvalidElement> {
    elements_of(Gather::All(elements.elements()), Factor::Same(scalar))
}

/// Whether every row is the canonical encoding of an element other than the identity: for columns that are evaluated
/// later, in part, or not at all, so that an error never tells which rows were. Costs a decoding per row.
pub fn check_elements(elements: &ElementColumn) -> Result<(), InvalidElement> {
    let invalid = elements.elements().par_chunks(BLOCK_ROWS).enumerate().find_map_first(|(block, encodings)| {
        let InvalidRow { row, reason } = kernel().check(encodings).err()?;
        Some(InvalidElement { row: block * BLOCK_ROWS + row, reason })
    });
    invalid.map_or(Ok(()), Err)
}

/// `rows` of the column, in that order, each under the pad of its own: ρ · element, where the first row takes the pad
/// of row `first_pad` and so on. For elements that another is to evaluate without learning which they are.
///
/// # Panics
/// Where a row is not below the column's length.
pub fn pad_rows(
    elements: &ElementColumn,
    rows: &[u32],
    pads: &Pads,
    first_pad: usize,
) -> Result<ElementColumn, InvalidElement> {
    elements_of(Gather::Rows(elements.elements(), rows), Factor::Pad { pads, first_pad })
}

/// What came back for padded elements, without the pads and evaluated by `scalar`: the first `tag_bytes` bytes of each
/// `scalar`/ρ · element, where the first row takes off the pad of row `first_pad` and so on.
///
/// # Panics
/// Where `tag_bytes` is not 1 to 32.
pub fn unpad_tags(
    elements: &ElementColumn,
    scalar: &SecretScalar,
    pads: &Pads,
    first_pad: usize,
    tag_bytes: usize,
) -> Result<TagColumn, InvalidElement> {
    tags_of(Gather::All(elements.elements()), Factor::Unpad { scalar, pads, first_pad }, tag_bytes)
}

/// [`evaluate`], of which only the first `tag_bytes` bytes of each encoding are kept.
///
/// # Panics
/// Where `tag_bytes` is not 1 to 32.
pub fn evaluate_tags(
    elements: &ElementColumn,
    scalar: &SecretScalar,
    tag_bytes: usize,
) -> Result<TagColumn, InvalidElement> {
    tags_of(Gather::All(elements.elements()), Factor::Same(scalar), tag_bytes)
}

/// [`evaluate_tags`] for `rows` of the column alone, in that order: a permutation of the rows still unmatched.
///
/// # Panics
/// Where a row is not below the column's length, or `tag_bytes` is not 1 to 32.
pub fn evaluate_tags_of_rows(
    elements: &ElementColumn,
    rows: &[u32],
    scalar: &SecretScalar,
    tag_bytes: usize,
) -> Result<TagColumn, InvalidElement> {
    tags_of(Gather::Rows(elements.elements(), rows), Factor::Same(scalar), tag_bytes)
}

fn elements_of(input: Gather<'_>, factor: Factor<'_>) -> Result<ElementColumn, InvalidElement> {
    let mut encodings = vec![[0; ELEMENT_BYTES]; input.len()];
    let invalid = encodings
        .par_chunks_mut(BLOCK_ROWS)
        .enumerate()
        // The first in order, not the first in time: an error must be the same on every run.
        .find_map_first(|(block, out)| input.evaluate(block, factor, out).err());
    invalid.map_or(Ok(encodings.into()), Err)
}

fn tags_of(input: Gather<'_>, factor: Factor<'_>, tag_bytes: usize) -> Result<TagColumn, InvalidElement> {
    check_tag_bytes(tag_bytes);
    let mut tags = vec![0; input.len() * tag_bytes];
    let invalid = tags.par_chunks_mut(BLOCK_ROWS * tag_bytes).enumerate().find_map_first(|(block, out)| {
        let mut encodings = [[0; ELEMENT_BYTES]; BLOCK_ROWS];
        let encodings = &mut encodings[..out.len() / tag_bytes];
        input.evaluate(block, factor, encodings).err().or_else(|| {
            for (tag, encoding) in out.chunks_exact_mut(tag_bytes).zip(encodings) {
                tag.copy_from_slice(&encoding[..tag_bytes]);
            }
            None
        })
    });
    invalid.map_or_else(|| Ok(TagColumn::of_whole_tags(tags, tag_bytes)), Err)
}

/// What rows are multiplied by.
#[derive(Clone, Copy)]
enum Factor<'a> {
    Same(&'a SecretScalar),
    Pad { pads: &'a Pads, first_pad: usize },
    Unpad { scalar: &'a SecretScalar, pads: &'a Pads, first_pad: usize },
}

impl Factor<'_> {
    /// `elements` are the rows `rows` of the call.
    fn evaluate(self, elements: &[Encoding], rows: Range<usize>, encodings: &mut [Encoding]) -> Result<(), InvalidRow> {
        let places = |first: usize| first + rows.start..first + rows.end;
        match self {
            Self::Same(scalar) => kernel().decode_mul_encode(elements, scalar, encodings),
            Self::Pad { pads, first_pad } => {
                kernel().decode_mul_each_encode(elements, &pads.scalars(places(first_pad)), encodings)
            }
            Self::Unpad { scalar, pads, first_pad } => {
                let mut factors = pads.inverses(places(first_pad));
                factors.iter_mut().for_each(|factor: &mut Scalar| *factor *= scalar.scalar());
                kernel().decode_mul_each_encode(elements, &factors, encodings)
            }
        }
    }
}

/// The elements to evaluate: a whole column, or some rows of it.
#[derive(Clone, Copy)]
enum Gather<'a> {
    All(&'a [Encoding]),
    Rows(&'a [Encoding], &'a [u32]),
}

impl Gather<'_> {
    fn len(self) -> usize {
        match self {
            Self::All(elements) => elements.len(),
            Self::Rows(_, rows) => rows.len(),
        }
    }

    /// Evaluates as many elements as `encodings` has place for, from the first of block `block` on.
    fn evaluate(self, block: usize, factor: Factor<'_>, encodings: &mut [Encoding]) -> Result<(), InvalidElement> {
        let start = block * BLOCK_ROWS;
        let end = start + encodings.len();
        let mut gathered = [[0; ELEMENT_BYTES]; BLOCK_ROWS];
        let elements = match self {
            Self::All(elements) => &elements[start..end],
            Self::Rows(elements, rows) => {
                for (slot, &row) in gathered.iter_mut().zip(&rows[start..end]) {
                    *slot = elements[row as usize];
                }
                &gathered[..encodings.len()]
            }
        };
        factor.evaluate(elements, start..end, encodings).map_err(|InvalidRow { row, reason }| {
            let row = match self {
                Self::All(_) => start + row,
                Self::Rows(_, rows) => rows[start + row] as usize,
            };
            InvalidElement { row, reason }
        })
    }
}
