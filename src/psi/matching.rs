//! Matching: less-revealing multi-identifier PSI, the same machine for both roles.
//!
//! Notation of the room's doc: this side's scalars α₁ … α_K, the peer's β₁ … β_K. *Own* rows are this
//! side's shuffled table, *peer* rows the other's; each party learns which **peer** rows matched.
//!
//! | phase | sends | receives | keeps |
//! |---|---|---|---|
//! | columns | α₁·H(own), K columns | β₁·H(peer), K columns | tags of α₁β₁·H(peer), column 1, by peer position; columns 2..K as they came |
//! | tags | those tags, sorted | tags of own column 1, sorted | which peer rows matched |
//! | elements-k | α_k·β₁·H(peer) of unmatched peer rows, freshly permuted | β_k·α₁·H(own) of unmatched own rows, in an order the peer alone knows | tags of (α_k/α₁)·those: α_kβ_k·H(own), an unordered set |
//! | replies-k | those tags, in the order received | tags of α_kβ_k·H(peer) in the order sent | the permutation undone: tags by peer position; which matched |
//!
//! The set of one's own tags comes in sorted order (tags) or in an order that the peer chose at random
//! (elements-k), so no party learns which of its *own* rows matched. Both sides count the same matches,
//! because both compare the same two sets of tags; so the numbers of later rows need no message.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;

use crate::crypto::{
    ELEMENT_BYTES, ElementColumn, InvalidElement, InvalidEncoding, Permutation, RepeatCheck, SecretScalar, TagColumn,
    check_elements, evaluate_rows, evaluate_tags,
};

use super::frame::{Inbound, Outbound, binary_column, binary_schema};
use super::table::WireTable;
use super::{Error, Output, PeerMisbehaved, Phase, Progress};

/// A tag as a number, big-endian, so that numbers compare as the bytes do: 16 bytes hold every tag length that
/// tables of up to 2^31 rows have.
type Tag = u128;

/// Tag length in bytes for tables of `own_rows` and `peer_rows` on the wire (dummies included) and K columns:
/// ⌈(49 + 2·bitlen(n_A + n_B) + bitlen(K)) / 8⌉.
///
/// Among n = n_A + n_B tags of b uniformly random bits two collide with a chance of at most n²/2 · 2^-b; over K
/// columns K times that. The lowest bit of an encoding is always 0 (RFC 9496, section 4.3.2: the encoded field
/// element is non-negative), so b = 8t − 1 ≥ 48 + 2·bitlen(n) + bitlen(K), and the chance of any collision in a
/// session, inside one table or between the two, stays below 2^-49.
pub fn tag_bytes(own_rows: u64, peer_rows: u64, columns: usize) -> u8 {
    let bit_length = |n: u64| u64::BITS - n.leading_zeros();
    let bits = 49 + 2 * bit_length(own_rows + peer_rows) + bit_length(columns as u64);
    bits.div_ceil(8) as u8
}

/// What matching found, for this party.
pub(crate) struct Matches {
    /// This side's table; its identifiers are gone.
    pub(crate) table: WireTable,
    /// Which peer rows matched, by position in the peer's shuffled table.
    pub(crate) peer_rows_matched: Vec<bool>,
    /// The noisy number of matches of each column: what the session reveals.
    pub(crate) sizes: Vec<u64>,
}

/// The running machine.
pub(crate) struct Matching {
    table: WireTable,
    scalars: Vec<SecretScalar>,
    tag_bytes: usize,
    rng: ChaCha20Rng,
    /// The peer's columns 2..K, blinded by its first scalar, as received and checked.
    peer_columns: Vec<ElementColumn>,
    matched: Vec<bool>,
    sizes: Vec<u64>,
    outbound: Outbound,
    inbound: Inbound,
    stage: Stage,
}

enum Stage {
    Columns {
        /// Bytes of the peer's columns 2..K so far.
        later: Vec<Vec<u8>>,
        /// Tags of its column 1, by its position.
        tags: Vec<Tag>,
    },
    Tags {
        /// The peer's rows by ascending tag.
        ours: Vec<(Tag, u32)>,
        /// How many of `ours` the peer's ascending tags have passed, and the last of those.
        passed: usize,
        last: Option<Tag>,
    },
    Elements {
        k: u8,
        /// The unmatched peer rows in the order in which they are sent.
        sent_rows: Vec<u32>,
        quotient: SecretScalar,
        /// Tags of own rows, in the order received.
        replies: Vec<u8>,
    },
    Replies {
        k: u8,
        sent_rows: Vec<u32>,
        replies: Vec<u8>,
        /// Tags of the peer's rows, in the order of `sent_rows`.
        received: Vec<Tag>,
    },
    Finished,
}

impl Matching {
    /// Opens the phase `columns`. `peer_rows` counts the peer's dummies too.
    pub(crate) fn new(table: WireTable, peer_rows: u64, mut rng: ChaCha20Rng) -> Self {
        let columns = table.columns();
        let own_rows = table.rows() as u64;
        Matching {
            scalars: (0..columns).map(|_| SecretScalar::random(&mut rng)).collect(),
            tag_bytes: tag_bytes(own_rows, peer_rows, columns).into(),
            rng,
            peer_columns: Vec::new(),
            matched: vec![false; peer_rows as usize],
            sizes: Vec::with_capacity(columns),
            outbound: Outbound::new(own_rows),
            inbound: Inbound::new(Phase::Columns, columns_schema(columns), peer_rows),
            stage: Stage::Columns { later: vec![Vec::new(); columns - 1], tags: Vec::new() },
            table,
        }
    }

    /// The phase that is open; `None` once all columns have been matched.
    pub(crate) fn phase(&self) -> Option<Phase> {
        match self.stage {
            Stage::Columns { .. } => Some(Phase::Columns),
            Stage::Tags { .. } => Some(Phase::Tags),
            Stage::Elements { k, .. } => Some(Phase::Elements(k)),
            Stage::Replies { k, .. } => Some(Phase::Replies(k)),
            Stage::Finished => None,
        }
    }

    /// The schema of both directions.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(self.inbound.schema())
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            rows_done: self.outbound.sent() + self.inbound.seen(),
            rows_total: self.outbound.total() + self.inbound.total(),
        }
    }

    /// Computes and cuts the next batch.
    pub(crate) fn poll_output(&mut self) -> Result<Output, Error> {
        let Some(rows) = self.outbound.next_rows() else { return Ok(Output::Done) };
        let columns: Vec<ArrayRef> = match &self.stage {
            Stage::Columns { .. } => (0..self.table.columns())
                .map(|column| {
                    let blinded = self.table.blind(column, rows.clone(), &self.scalars[0], &mut self.rng);
                    Arc::new(blinded.into_array()) as ArrayRef
                })
                .collect(),
            Stage::Tags { ours, .. } => {
                let tags = ours[rows].iter().flat_map(|(tag, _)| tag_suffix(tag, self.tag_bytes)).collect();
                vec![self.tag_array(tags)?]
            }
            Stage::Elements { k, sent_rows, .. } => {
                let column = &self.peer_columns[usize::from(*k) - 2];
                let evaluated = evaluate_rows(column, &sent_rows[rows], &self.scalars[usize::from(*k) - 1])
                    .map_err(|invalid| element_error(Phase::Columns, *k, 0, invalid))?;
                vec![Arc::new(evaluated.into_array())]
            }
            Stage::Replies { replies, .. } => {
                vec![self.tag_array(replies[rows.start * self.tag_bytes..rows.end * self.tag_bytes].to_vec())?]
            }
            Stage::Finished => return Ok(Output::Done),
        };
        let batch = RecordBatch::try_new(self.schema(), columns).map_err(Error::internal)?;
        Ok(Output::Batch(batch))
    }

    /// Takes a batch of the peer's.
    pub(crate) fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let rows = self.inbound.accept(batch)?;
        let first_row = rows.start as u64;
        match &mut self.stage {
            Stage::Columns { later, tags } => {
                let column = ElementColumn::try_from_array(binary_column(batch, 0)?).map_err(Error::internal)?;
                let evaluated = evaluate_tags(&column, &self.scalars[0], self.tag_bytes)
                    .map_err(|error| element_error(Phase::Columns, 1, first_row, error))?;
                tags.extend(evaluated.tags().map(tag_number));
                for (index, bytes) in later.iter_mut().enumerate() {
                    let column =
                        ElementColumn::try_from_array(binary_column(batch, index + 1)?).map_err(Error::internal)?;
                    // Every row, before anything is compared: only some will be evaluated, and an error then would
                    // tell the peer which of its rows had matched before.
                    check_elements(&column)
                        .map_err(|invalid| element_error(Phase::Columns, index as u8 + 2, first_row, invalid))?;
                    bytes.extend_from_slice(column.as_bytes());
                }
            }
            Stage::Tags { ours, passed, last } => {
                let theirs =
                    TagColumn::try_from_array(binary_column(batch, 0)?, self.tag_bytes).map_err(Error::internal)?;
                for (row, tag) in (first_row..).zip(theirs.tags().map(tag_number)) {
                    if last.is_some_and(|last| last >= tag) {
                        return Err(PeerMisbehaved::TagOrder { phase: Phase::Tags, row }.into());
                    }
                    *last = Some(tag);
                    while ours.get(*passed).is_some_and(|(own, _)| *own < tag) {
                        *passed += 1;
                    }
                    if let Some((own, peer_row)) = ours.get(*passed)
                        && *own == tag
                    {
                        self.matched[*peer_row as usize] = true;
                    }
                }
            }
            Stage::Elements { k, quotient, replies, .. } => {
                let column = ElementColumn::try_from_array(binary_column(batch, 0)?).map_err(Error::internal)?;
                let evaluated = evaluate_tags(&column, quotient, self.tag_bytes)
                    .map_err(|error| element_error(Phase::Elements(*k), *k, first_row, error))?;
                replies.extend_from_slice(evaluated.as_bytes());
            }
            Stage::Replies { received, .. } => {
                let theirs =
                    TagColumn::try_from_array(binary_column(batch, 0)?, self.tag_bytes).map_err(Error::internal)?;
                received.extend(theirs.tags().map(tag_number));
            }
            Stage::Finished => return Err(Error::internal("a batch after the last phase of the matching")),
        }
        Ok(())
    }

    /// The peer ended its direction.
    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        Ok(self.inbound.end()?)
    }

    /// Whether both directions have ended.
    pub(crate) fn phase_ended(&self) -> bool {
        self.outbound.is_done() && self.inbound.is_ended()
    }

    /// Closes the open phase, compares what there is to compare, and opens the next phase.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Columns { later, tags } => {
                self.table.forget_identifiers();
                for (bytes, column) in later.into_iter().zip(2u8..) {
                    let elements = ElementColumn::from_bytes(bytes).map_err(Error::internal)?;
                    let mut repeats = RepeatCheck::new();
                    repeats.absorb(&elements);
                    repeats.finish().map_err(|_| PeerMisbehaved::RepeatedElement { phase: Phase::Columns, column })?;
                    self.peer_columns.push(elements);
                }
                let ours = sorted(tags.into_iter().zip(0..).collect());
                if repeats(&ours) {
                    return Err(PeerMisbehaved::RepeatedElement { phase: Phase::Columns, column: 1 }.into());
                }
                let (own_rows, peer_rows) = (self.table.rows() as u64, ours.len() as u64);
                self.outbound = Outbound::new(peer_rows);
                self.inbound = Inbound::new(Phase::Tags, tags_schema(self.tag_bytes), own_rows);
                self.stage = Stage::Tags { ours, passed: 0, last: None };
            }
            Stage::Tags { .. } => self.close_column(1),
            Stage::Elements { k, sent_rows, replies, .. } => {
                self.outbound = Outbound::new((replies.len() / self.tag_bytes) as u64);
                self.inbound = Inbound::new(Phase::Replies(k), tags_schema(self.tag_bytes), sent_rows.len() as u64);
                self.stage = Stage::Replies { k, sent_rows, replies, received: Vec::new() };
            }
            Stage::Replies { k, sent_rows, replies, received } => {
                let own = sorted(replies.chunks_exact(self.tag_bytes).map(tag_number).zip(0..).collect());
                let peer = sorted(received.into_iter().zip(sent_rows).collect());
                if repeats(&own) {
                    return Err(PeerMisbehaved::RepeatedElement { phase: Phase::Elements(k), column: k }.into());
                }
                if repeats(&peer) {
                    let reason = "the same tag occurs twice".to_owned();
                    return Err(PeerMisbehaved::Inconsistent { phase: Phase::Replies(k), reason }.into());
                }
                let mut own = own.iter().map(|(tag, _)| *tag).peekable();
                for (tag, peer_row) in peer {
                    while own.next_if(|own| *own < tag).is_some() {}
                    if own.peek() == Some(&tag) {
                        self.matched[peer_row as usize] = true;
                    }
                }
                self.close_column(k);
            }
            Stage::Finished => return Err(Error::internal("the matching has no phase to close")),
        }
        Ok(())
    }

    /// Counts the matches of column `k` and opens the next column's phase, if there is one.
    fn close_column(&mut self, k: u8) {
        let matched = self.matched.iter().filter(|matched| **matched).count() as u64;
        self.sizes.push(matched - self.sizes.iter().sum::<u64>());
        let next = k + 1;
        if usize::from(k) == self.table.columns() {
            self.peer_columns.clear();
            return;
        }
        if k >= 2 {
            // Column k of the peer is not needed again.
            self.peer_columns[usize::from(k) - 2] = ElementColumn::concat(Vec::new());
        }
        let unmatched: Vec<u32> =
            (0..).zip(&self.matched).filter(|(_, matched)| !**matched).map(|(row, _)| row).collect();
        let order = Permutation::random(unmatched.len() as u32, &mut self.rng);
        let sent_rows: Vec<u32> = order.rows().iter().map(|&place| unmatched[place as usize]).collect();
        let own_unmatched = self.table.rows() as u64 - matched;
        self.outbound = Outbound::new(sent_rows.len() as u64);
        self.inbound = Inbound::new(Phase::Elements(next), binary_schema(&[("element", ELEMENT_BYTES)]), own_unmatched);
        self.stage = Stage::Elements {
            k: next,
            sent_rows,
            quotient: self.scalars[usize::from(next) - 1].quotient(&self.scalars[0]),
            replies: Vec::new(),
        };
    }

    /// What was found. Only after the last phase.
    pub(crate) fn finish(self) -> Matches {
        Matches { table: self.table, peer_rows_matched: self.matched, sizes: self.sizes }
    }

    fn tag_array(&self, bytes: Vec<u8>) -> Result<ArrayRef, Error> {
        Ok(Arc::new(TagColumn::from_bytes(bytes, self.tag_bytes).map_err(Error::internal)?.into_array()))
    }
}

/// Columns `element_1` … `element_K`.
fn columns_schema(columns: usize) -> SchemaRef {
    let names: Vec<String> = (1..=columns).map(|k| format!("element_{k}")).collect();
    let fields: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), ELEMENT_BYTES)).collect();
    binary_schema(&fields)
}

fn tags_schema(tag_bytes: usize) -> SchemaRef {
    binary_schema(&[("tag", tag_bytes)])
}

fn tag_number(bytes: &[u8]) -> Tag {
    bytes.iter().fold(0, |number, byte| number << 8 | Tag::from(*byte))
}

/// The tag's bytes again.
fn tag_suffix(tag: &Tag, tag_bytes: usize) -> impl Iterator<Item = u8> {
    tag.to_be_bytes().into_iter().skip(size_of::<Tag>() - tag_bytes)
}

fn sorted(mut tags: Vec<(Tag, u32)>) -> Vec<(Tag, u32)> {
    tags.par_sort_unstable();
    tags
}

fn repeats(sorted: &[(Tag, u32)]) -> bool {
    sorted.windows(2).any(|pair| pair[0].0 == pair[1].0)
}

fn element_error(phase: Phase, column: u8, first_row: u64, invalid: InvalidElement) -> Error {
    let reason = match invalid.reason {
        InvalidEncoding::NotCanonical => "not the canonical encoding of a group element",
        InvalidEncoding::Identity => "the identity element",
    };
    PeerMisbehaved::Element { phase, row: first_row + invalid.row as u64, column, reason }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_against_a_million_takes_tags_of_twelve_bytes() {
        assert_eq!(tag_bytes(1_000_000, 1_000_000, 1), 12);
        assert_eq!(tag_bytes(0, 0, 1), 7);
        assert_eq!(tag_bytes(1 << 31, 1 << 31, 8), 15);
    }

    #[test]
    fn numbers_order_tags_as_their_bytes_do() {
        let (low, high) = ([0, 255, 255, 1], [1, 0, 0, 0]);
        assert!(tag_number(&low) < tag_number(&high));
        assert_eq!(tag_suffix(&tag_number(&low), 4).collect::<Vec<_>>(), low);
    }
}
