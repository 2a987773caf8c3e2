//! The columns of the matching's messages, and their bytes.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray};
use arrow::datatypes::SchemaRef;

use crate::crypto::{ELEMENT_BYTES, TagColumn};

use super::super::frame::binary_schema;
use super::super::{Error, PeerMisbehaved, Phase};
use super::tag_bytes;

/// Bytes of a mark: 0, or the number of one of so many parts, little-endian.
fn mark_bytes(parts: usize) -> usize {
    if parts <= usize::from(u8::MAX) { 1 } else { 2 }
}

/// Bytes of elements, tags and marks (up, down), headers not counted, between tables of so many rows on the wire
/// (dummies included), the requester's in `parts` parts: exactly, if nobody matches before the last column, else an
/// upper bound.
pub fn matching_bytes(requester_rows: u64, responder_rows: u64, columns: usize, parts: usize) -> (u64, u64) {
    let (element, tag, mark) =
        (ELEMENT_BYTES as u64, u64::from(tag_bytes(requester_rows, responder_rows, columns)), mark_bytes(parts) as u64);
    let columns = columns as u64;
    let (asked, later) = (columns * responder_rows, (columns - 1) * requester_rows);
    let up = element * (columns * requester_rows + later) + tag * asked;
    let down = element * (columns * responder_rows + later) + mark * asked;
    (up, down)
}

/// Notes the marks of `asked` rows of the peer's: which of `parts` parts each matched, or none.
pub(super) fn note_marks(
    marks: &FixedSizeBinaryArray,
    phase: Phase,
    parts: usize,
    asked: impl Iterator<Item = u32>,
    matched: &mut [u16],
) -> Result<(), Error> {
    for (mark, peer_row) in marks.iter().zip(asked) {
        let part = match mark {
            Some([part]) => Some(u16::from(*part)),
            Some([low, high]) => Some(u16::from_le_bytes([*low, *high])),
            _ => None,
        };
        let Some(part) = part.filter(|part| usize::from(*part) <= parts) else {
            let reason = match parts {
                1 => "a mark is neither 0 nor 1".to_owned(),
                _ => format!("a mark names none of the {parts} parts"),
            };
            return Err(PeerMisbehaved::Inconsistent { phase, reason }.into());
        };
        matched[peer_row as usize] = part;
    }
    Ok(())
}

pub(super) fn mark_array(marks: &[u16], parts: usize) -> ArrayRef {
    let width = mark_bytes(parts);
    let bytes: Vec<u8> = marks.iter().flat_map(|mark| mark.to_le_bytes().into_iter().take(width)).collect();
    Arc::new(FixedSizeBinaryArray::new(width as i32, bytes.into(), None))
}

pub(super) fn tag_array(tags: TagColumn) -> ArrayRef {
    Arc::new(tags.into_array())
}

/// Columns `element_1` … `element_K`.
pub(super) fn columns_schema(columns: usize) -> SchemaRef {
    let names: Vec<String> = (1..=columns).map(|k| format!("element_{k}")).collect();
    let fields: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), ELEMENT_BYTES)).collect();
    binary_schema(&fields)
}

pub(super) fn element_schema() -> SchemaRef {
    binary_schema(&[("element", ELEMENT_BYTES)])
}

pub(super) fn tag_schema(tag_bytes: usize) -> SchemaRef {
    binary_schema(&[("tag", tag_bytes)])
}

pub(super) fn mark_schema(parts: usize) -> SchemaRef {
    binary_schema(&[("matched", mark_bytes(parts))])
}
