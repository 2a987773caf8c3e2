//! Several frames at once: their curve work side by side, what they change in their order.
//!
//! A frame's curve work needs nothing that another frame of its direction changes. So the frames of one call are computed
//! in parallel, and each in parallel inside. What they change (tags dealt into buckets, rows appended to columns and
//! files) is one core's work of some 15 ns per row and column: it is put off until the next call and done beside that
//! one's curve work, so that the other cores do not wait for it. At most one call's frames are put off.

use std::ops::Range;

use arrow::array::RecordBatch;
use rand_core::SeedableRng;
use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::crypto::{
    ChaCha20Rng, ElementColumn, Pads, RepeatCheck, SecretScalar, TagColumn, TagRows, check_elements, evaluate_tags,
    unpad_tags,
};

use super::super::frame::binary_column;
use super::super::{Error, Phase};
use super::element_error;
use super::kept::GrowingColumn;
use super::tag::tag_number;

/// A batch that was accepted, and the rows that it fills.
pub(super) type Frame<'a> = (Range<usize>, &'a RecordBatch);

/// Computes `frames` side by side, while `due`, which were computed before, are taken up in their order.
///
/// # Errors
/// The first that taking up or computing one after the other would have met.
pub(super) fn compute_beside<F: Sync, T: Send>(
    due: Vec<T>,
    take_up: impl FnMut(T) -> Result<(), Error> + Send,
    frames: &[F],
    compute: impl Fn(&F) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let (taken, computed) = rayon::join(
        || due.into_iter().try_for_each(take_up),
        || frames.par_iter().map(&compute).collect::<Vec<Result<T, Error>>>(),
    );
    taken?;
    computed.into_iter().collect()
}

/// What the phase `columns` computes of a frame.
pub(super) struct ColumnsFrame {
    first_row: u32,
    /// Tags of its column 1.
    tags: TagColumn,
    /// Its columns 2..K, checked.
    later: Vec<ElementColumn>,
}

impl ColumnsFrame {
    pub(super) fn compute((rows, batch): &Frame<'_>, scalar: &SecretScalar, tag_bytes: usize) -> Result<Self, Error> {
        let first_row = rows.start as u64;
        let invalid = |column: u8| move |invalid| element_error(Phase::Columns, column, first_row, invalid);
        let tags = evaluate_tags(&elements(batch, 0)?, scalar, tag_bytes).map_err(invalid(1))?;
        let mut later = Vec::with_capacity(batch.num_columns() - 1);
        for (index, column) in (1..batch.num_columns()).zip(2..) {
            let elements = elements(batch, index)?;
            // Every row, before anything is compared: only some will be evaluated, and an error then would
            // tell the peer which of its rows had matched before.
            check_elements(&elements).map_err(invalid(column))?;
            later.push(elements);
        }
        Ok(ColumnsFrame { first_row: rows.start as u32, tags, later })
    }

    pub(super) fn take_up(self, tags: &mut TagRows, later: &mut [GrowingColumn]) -> Result<(), Error> {
        self.tags.tags().map(tag_number).zip(self.first_row..).for_each(|(tag, row)| tags.push(tag, row));
        later.iter_mut().zip(&self.later).try_for_each(|(column, elements)| column.push(elements))
    }
}

/// What the phase `replies-k` computes of a frame, at the responder.
pub(super) struct RepliesFrame {
    rows: Range<usize>,
    elements: ElementColumn,
    tags: TagColumn,
}

impl RepliesFrame {
    pub(super) fn compute(
        (rows, batch): &Frame<'_>,
        k: u8,
        scalar: &SecretScalar,
        pads: &Pads,
        tag_bytes: usize,
    ) -> Result<Self, Error> {
        let elements = elements(batch, 0)?;
        let tags = unpad_tags(&elements, scalar, pads, rows.start, tag_bytes)
            .map_err(|invalid| element_error(Phase::Replies(k), k, rows.start as u64, invalid))?;
        Ok(RepliesFrame { rows: rows.clone(), elements, tags })
    }

    /// `sent` are the rows that the elements stand for.
    pub(super) fn take_up(self, repeats: &mut RepeatCheck, tags: &mut TagRows, sent: &[u32]) {
        repeats.absorb(&self.elements);
        let rows = &sent[self.rows];
        self.tags.tags().map(tag_number).zip(rows).for_each(|(tag, row)| tags.push(tag, *row));
    }
}

/// Column `index` of a batch that was accepted.
pub(super) fn elements(batch: &RecordBatch, index: usize) -> Result<ElementColumn, Error> {
    ElementColumn::try_from_array(binary_column(batch, index)?).map_err(Error::internal)
}

/// Computes `frames` side by side.
///
/// # Errors
/// The first in their order.
pub(super) fn side_by_side<F: Send, T: Send>(
    frames: Vec<F>,
    compute: impl Fn(F) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let computed: Vec<Result<T, Error>> = frames.into_par_iter().map(&compute).collect();
    computed.into_iter().collect()
}

/// What one frame draws of a session's generator: so frames draw side by side what they would have drawn one after the
/// other, and no two of them the same.
pub(super) struct Draws {
    rng: ChaCha20Rng,
    /// Where the generator is after it, in words of four bytes.
    end: u128,
}

impl Draws {
    /// The next `bytes` of `rng`, a multiple of four, which goes on behind them.
    pub(super) fn set_apart(rng: &mut ChaCha20Rng, bytes: usize) -> Self {
        let (start, end) = (rng.get_word_pos(), rng.get_word_pos() + (bytes / 4) as u128);
        let mut own = ChaCha20Rng::from_seed(*Zeroizing::new(rng.get_seed()));
        own.set_stream(rng.get_stream());
        own.set_word_pos(start);
        rng.set_word_pos(end);
        Draws { rng: own, end }
    }

    pub(super) fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    /// Holds what was drawn against what was set apart: more would be drawn a second time by the next frame.
    pub(super) fn all_drawn(self) -> Result<(), Error> {
        if self.rng.get_word_pos() == self.end {
            return Ok(());
        }
        Err(Error::internal("a frame drew more or less of its session's generator than was set apart for it"))
    }
}
