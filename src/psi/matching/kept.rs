//! Columns of the peer's that are kept for later: in memory, or in a file of the session's own.
//!
//! A file is written in whole batches (128 KiB) as they come, read row by row where a permutation wants it so, and deleted
//! with the column. Of a batch's 4,096 reads of 32 bytes each thread has one under way, in chunks of rows that are sorted by
//! their place, so that each of a batch's pages is asked for once or twice. A thread that waits for the disk computes nothing
//! meanwhile: where the system's cache does not hold the files, a spilled session slows others down as well.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::crypto::{ELEMENT_BYTES, ElementColumn, InvalidElement, RepeatCheck};

use super::super::spill::{Spill, SpillFile};
use super::super::{Error, FRAME_ROWS};

/// Rows that one thread reads after another.
const READ_ROWS: usize = 64;

/// A column that is still coming.
pub(super) struct GrowingColumn {
    rows: usize,
    place: Growing,
}

enum Growing {
    Memory { bytes: Vec<u8>, announced: u64 },
    File(Box<dyn SpillFile>),
}

impl GrowingColumn {
    /// One of which `announced` rows are due.
    pub(super) fn new(spill: Option<&Arc<dyn Spill>>, announced: u64) -> Result<Self, Error> {
        let place = match spill {
            None => Growing::Memory { bytes: Vec::new(), announced },
            Some(spill) => Growing::File(spill.create()?),
        };
        Ok(GrowingColumn { rows: 0, place })
    }

    pub(super) fn push(&mut self, elements: &ElementColumn) -> Result<(), Error> {
        self.rows += elements.len();
        match &mut self.place {
            Growing::Memory { bytes, announced } => append(bytes, elements, *announced),
            Growing::File(file) => file.append(elements.as_bytes())?,
        }
        Ok(())
    }

    /// The column, once all of it is there.
    pub(super) fn finish(self) -> Result<KeptColumn, Error> {
        Ok(match self.place {
            Growing::Memory { bytes, .. } => {
                KeptColumn::Memory(ElementColumn::from_bytes(bytes).map_err(Error::internal)?)
            }
            Growing::File(file) => KeptColumn::File { file, rows: self.rows },
        })
    }
}

/// A column that is all there.
pub(super) enum KeptColumn {
    Memory(ElementColumn),
    File { file: Box<dyn SpillFile>, rows: usize },
}

impl KeptColumn {
    pub(super) fn empty() -> Self {
        KeptColumn::Memory(ElementColumn::concat(Vec::new()))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            KeptColumn::Memory(column) => column.len(),
            KeptColumn::File { rows, .. } => *rows,
        }
    }

    /// A column in memory and the rows of it that are `rows` of this one, in their order: this very column, or those rows
    /// alone.
    pub(super) fn picked<'a>(&self, rows: &'a [u32]) -> Result<(ElementColumn, Cow<'a, [u32]>), Error> {
        match self {
            KeptColumn::Memory(column) => Ok((column.clone(), Cow::Borrowed(rows))),
            KeptColumn::File { file, .. } => {
                let gathered = gather(file.as_ref(), rows)?;
                Ok((gathered, Cow::Owned((0..rows.len() as u32).collect())))
            }
        }
    }

    /// Those of `rows`.
    pub(super) fn slice(&self, rows: Range<usize>) -> Result<ElementColumn, Error> {
        match self {
            KeptColumn::Memory(column) => Ok(column.slice(rows.start, rows.len())),
            KeptColumn::File { file, .. } => {
                let mut bytes = vec![0; rows.len() * ELEMENT_BYTES];
                file.read_at((rows.start * ELEMENT_BYTES) as u64, &mut bytes)?;
                ElementColumn::from_bytes(bytes).map_err(Error::internal)
            }
        }
    }

    /// A search for repeats that has seen all of it.
    pub(super) fn repeats(&self) -> Result<RepeatCheck, Error> {
        let mut repeats = RepeatCheck::with_capacity(self.len() as u32);
        match self {
            KeptColumn::Memory(column) => repeats.absorb(column),
            KeptColumn::File { rows, .. } => {
                let frame = FRAME_ROWS as usize;
                for start in (0..*rows).step_by(frame) {
                    repeats.absorb(&self.slice(start..(start + frame).min(*rows))?);
                }
            }
        }
        Ok(repeats)
    }

    /// What an element says that is none, though it was checked as it came: in a file it is no longer what was written, and
    /// that is not the peer's fault.
    pub(super) fn spoilt(&self, invalid: InvalidElement) -> Error {
        match self {
            KeptColumn::Memory(_) => Error::internal(format!("a checked element: {invalid}")),
            KeptColumn::File { .. } => Error::Environment(
                "a temporary file of this session is not what was written to it: check this machine's disk, and ask again"
                    .to_owned(),
            ),
        }
    }
}

fn gather(file: &dyn SpillFile, rows: &[u32]) -> Result<ElementColumn, Error> {
    // Each row with the place that it goes to.
    let mut sorted: Zeroizing<Vec<(u32, u32)>> = Zeroizing::new(rows.iter().copied().zip(0..).collect());
    sorted.sort_unstable();
    let mut read = vec![[0; ELEMENT_BYTES]; rows.len()];
    let chunks = read.par_chunks_mut(READ_ROWS).zip(sorted.par_chunks(READ_ROWS));
    chunks.try_for_each(|(read, sorted)| {
        let mut pairs = read.iter_mut().zip(sorted);
        pairs.try_for_each(|(element, (row, _))| file.read_at(u64::from(*row) * ELEMENT_BYTES as u64, element))
    })?;
    let mut gathered = vec![[0; ELEMENT_BYTES]; rows.len()];
    for (element, (_, place)) in read.into_iter().zip(&sorted[..]) {
        gathered[*place as usize] = element;
    }
    Ok(ElementColumn::from(gathered))
}

/// Appends to a column of which `announced` rows are due. It doubles, as any vector does, until an eighth has come, and has
/// room for the whole from then on: so it is never copied where it is large, and has no more than eight times the room of
/// what the peer has really sent.
fn append(column: &mut Vec<u8>, elements: &ElementColumn, announced: u64) {
    let (bytes, whole) = (elements.as_bytes(), (announced as usize).saturating_mul(ELEMENT_BYTES));
    let needed = column.len() + bytes.len();
    if needed > column.capacity() && needed >= whole / 8 {
        column.reserve_exact(whole.max(needed) - column.len());
    }
    column.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::simulator::{MemoryFiles, Trouble};
    use super::*;

    fn element(seed: u16) -> [u8; ELEMENT_BYTES] {
        let mut element = [7; ELEMENT_BYTES];
        element[1..3].copy_from_slice(&seed.to_le_bytes());
        element
    }

    fn kept(spill: Option<Arc<dyn Spill>>, batches: &[Vec<u16>], announced: u64) -> Result<KeptColumn, Error> {
        let mut growing = GrowingColumn::new(spill.as_ref(), announced)?;
        for batch in batches {
            growing.push(&ElementColumn::from(batch.iter().copied().map(element).collect::<Vec<_>>()))?;
        }
        growing.finish()
    }

    proptest! {
        #[test]
        fn rows_and_ranges_are_those_of_the_column_wherever_it_lies(
            batches in prop::collection::vec(prop::collection::vec(any::<u16>(), 0..200), 0..6),
            announced in 0u64..2000,
            picks in prop::collection::vec(any::<u32>(), 0..300),
            cut in (any::<u16>(), any::<u16>()),
        ) {
            let whole = ElementColumn::from(batches.concat().into_iter().map(element).collect::<Vec<_>>());
            let rows: Vec<u32> = match whole.len() as u32 {
                0 => Vec::new(),
                len => picks.into_iter().map(|pick| pick % len).collect(),
            };
            let (a, b) = (usize::from(cut.0) % (whole.len() + 1), usize::from(cut.1) % (whole.len() + 1));
            let cut = a.min(b)..a.max(b);
            for spill in [None, Some(Arc::new(MemoryFiles::sound()) as Arc<dyn Spill>)] {
                let column = kept(spill, &batches, announced).unwrap();
                prop_assert_eq!(column.len(), whole.len());
                let (held, places) = column.picked(&rows).unwrap();
                let elements = |of: &ElementColumn, rows: &[u32]| -> Vec<_> {
                    rows.iter().map(|row| *of.element(*row as usize)).collect()
                };
                prop_assert_eq!(elements(&held, &places), elements(&whole, &rows));
                prop_assert_eq!(column.slice(cut.clone()).unwrap(), whole.slice(cut.start, cut.len()));
                let mut repeats = RepeatCheck::with_capacity(whole.len() as u32);
                repeats.absorb(&whole);
                prop_assert_eq!(column.repeats().unwrap().finish(), repeats.finish());
            }
        }
    }

    #[test]
    fn a_column_of_several_batches_is_searched_for_repeats_from_its_file_too() {
        let batches: Vec<Vec<u16>> = vec![(0..4096).collect(), (4096..8192).collect(), vec![9000, 5]];
        let column = kept(Some(Arc::new(MemoryFiles::sound())), &batches, 8194).unwrap();
        let found = column.repeats().unwrap().finish().unwrap_err();
        assert_eq!((found.first, found.second), (5, 8193));
    }

    #[test]
    fn a_file_that_cannot_be_made_written_or_read_is_said_and_no_panic() {
        let rows = vec![vec![1, 2, 3], vec![4]];
        let tried = |trouble| -> Result<(), Error> {
            let column = kept(Some(Arc::new(MemoryFiles::with(trouble))), &rows, 4)?;
            column.picked(&[3, 1]).map(drop).and(column.slice(0..2).map(drop)).and(column.repeats().map(drop))
        };
        for trouble in [Trouble::Create, Trouble::Append(0), Trouble::Append(1), Trouble::Read(0), Trouble::Read(3)] {
            assert!(matches!(tried(trouble), Err(Error::Environment(_))), "{trouble:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_column_that_is_dropped() {
        let files = Arc::new(MemoryFiles::sound());
        let column = kept(Some(Arc::clone(&files) as Arc<dyn Spill>), &[vec![1, 2]], 2).unwrap();
        assert_eq!((files.open(), files.written()), (1, 64));
        drop(column);
        assert_eq!(files.open(), 0);
    }
}
