//! Framing: every stream of a phase is cut into batches of [`FRAME_ROWS`] rows, the last one fewer.
//!
//! The cut depends on announced counts alone, never on content, and the receiver insists on it: a batch
//! of another size, one too many, or a stream that ends early is the peer's fault by name.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Error, PeerMisbehaved, Phase};

/// Rows of a batch on the wire. 4096 rows of eight columns are 1 MiB: a quarter of what gRPC
/// implementations accept by default. To blind them takes one core some 12 ms per column, so up to a tenth of a second (ten
/// times that without AVX-512 IFMA), in blocks of 128 rows: for more than a few cores, too little to share out evenly, so
/// that drivers let a session compute several batches at once ([`Session::poll_outputs`](super::Session::poll_outputs)).
pub const FRAME_ROWS: u64 = 4096;

/// A schema of non-null fixed-size binary columns.
pub(crate) fn binary_schema(fields: &[(&str, usize)]) -> SchemaRef {
    let fields: Vec<Field> =
        fields.iter().map(|(name, width)| Field::new(*name, DataType::FixedSizeBinary(*width as i32), false)).collect();
    Arc::new(Schema::new(fields))
}

/// One direction that this side sends: which rows are next.
#[derive(Debug)]
pub(crate) struct Outbound {
    sent: u64,
    total: u64,
    frame_rows: u64,
}

impl Outbound {
    pub(crate) fn new(total: u64) -> Self {
        Outbound { sent: 0, total, frame_rows: FRAME_ROWS }
    }

    /// Batches of another size: for rows that are much wider or narrower than an element.
    pub(crate) fn in_frames_of(self, rows: usize) -> Self {
        Outbound { frame_rows: rows as u64, ..self }
    }

    /// The rows of the next batch; `None` after the last.
    pub(crate) fn next_rows(&mut self) -> Option<Range<usize>> {
        if self.sent == self.total {
            return None;
        }
        let start = self.sent;
        self.sent = self.total.min(start + self.frame_rows);
        Some(start as usize..self.sent as usize)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.sent == self.total
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// One direction that the peer sends: what is due, and the check of each batch against it.
#[derive(Debug)]
pub(crate) struct Inbound {
    phase: Phase,
    schema: SchemaRef,
    seen: u64,
    total: u64,
    frame_rows: u64,
    ended: bool,
}

impl Inbound {
    pub(crate) fn new(phase: Phase, schema: SchemaRef, total: u64) -> Self {
        Inbound { phase, schema, seen: 0, total, frame_rows: FRAME_ROWS, ended: false }
    }

    /// Batches of another size.
    pub(crate) fn in_frames_of(self, rows: usize) -> Self {
        Inbound { frame_rows: rows as u64, ..self }
    }

    /// Checks the next batch and returns the rows that it fills.
    pub(crate) fn accept(&mut self, batch: &RecordBatch) -> Result<Range<usize>, PeerMisbehaved> {
        check_schema(self.phase, &self.schema, batch)?;
        if self.ended || self.seen == self.total {
            return Err(PeerMisbehaved::TooMany { phase: self.phase, expected: self.total });
        }
        let due = self.frame_rows.min(self.total - self.seen);
        if batch.num_rows() as u64 != due {
            return Err(PeerMisbehaved::BatchRows { phase: self.phase, expected: due, found: batch.num_rows() as u64 });
        }
        let start = self.seen;
        self.seen += due;
        Ok(start as usize..self.seen as usize)
    }

    /// Counts a message that is one batch of any length: the hello.
    pub(crate) fn count_one(&mut self) -> Result<(), PeerMisbehaved> {
        if self.ended || self.seen == self.total {
            return Err(PeerMisbehaved::TooMany { phase: self.phase, expected: self.total });
        }
        self.seen += 1;
        Ok(())
    }

    /// The peer ended its direction.
    pub(crate) fn end(&mut self) -> Result<(), PeerMisbehaved> {
        if self.seen != self.total {
            return Err(PeerMisbehaved::Truncated { phase: self.phase, expected: self.total, found: self.seen });
        }
        self.ended = true;
        Ok(())
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// Field names, types and the absence of nulls; schema metadata is the transport's own.
pub(crate) fn check_schema(phase: Phase, expected: &SchemaRef, batch: &RecordBatch) -> Result<(), PeerMisbehaved> {
    let found = batch.schema();
    let describe = |schema: &Schema| {
        let fields: Vec<String> = schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect();
        fields.join(", ").chars().take(300).collect::<String>()
    };
    let equal = found.fields().len() == expected.fields().len()
        && found
            .fields()
            .iter()
            .zip(expected.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if !equal {
        return Err(PeerMisbehaved::Schema {
            phase,
            reason: format!("({}) where ({}) was due", describe(&found), describe(expected)),
        });
    }
    if batch.columns().iter().any(|column| column.null_count() > 0) {
        return Err(PeerMisbehaved::Schema { phase, reason: "it holds nulls".to_owned() });
    }
    Ok(())
}

/// Column `index` of a batch that [`Inbound::accept`] has taken, as fixed-size binary.
pub(crate) fn binary_column(batch: &RecordBatch, index: usize) -> Result<&FixedSizeBinaryArray, Error> {
    batch
        .column(index)
        .as_any()
        .downcast_ref::<FixedSizeBinaryArray>()
        .ok_or_else(|| Error::internal("a checked batch has a column of another type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: usize, width: usize, name: &str) -> RecordBatch {
        let array = FixedSizeBinaryArray::new(width as i32, vec![7u8; rows * width].into(), None);
        RecordBatch::try_new(binary_schema(&[(name, width)]), vec![Arc::new(array)]).unwrap()
    }

    #[test]
    fn a_stream_is_cut_by_its_announced_count_alone() {
        for total in [0, 1, FRAME_ROWS - 1, FRAME_ROWS, FRAME_ROWS + 1, 3 * FRAME_ROWS] {
            let mut outbound = Outbound::new(total);
            let mut inbound = Inbound::new(Phase::Tags, binary_schema(&[("tag", 12)]), total);
            let mut rows = 0;
            while let Some(range) = outbound.next_rows() {
                assert_eq!(range.start as u64, rows);
                rows = range.end as u64;
                assert_eq!(inbound.accept(&batch(range.len(), 12, "tag")).unwrap(), range);
            }
            assert_eq!(rows, total);
            assert!(outbound.is_done());
            inbound.end().unwrap();
            assert!(matches!(inbound.accept(&batch(1, 12, "tag")), Err(PeerMisbehaved::TooMany { .. })));
        }
    }

    #[test]
    fn another_schema_another_size_and_an_early_end_are_each_named() {
        let mut inbound = Inbound::new(Phase::Tags, binary_schema(&[("tag", 12)]), 10);
        assert!(matches!(inbound.accept(&batch(10, 13, "tag")), Err(PeerMisbehaved::Schema { .. })));
        assert!(matches!(inbound.accept(&batch(10, 12, "gat")), Err(PeerMisbehaved::Schema { .. })));
        assert_eq!(
            inbound.accept(&batch(9, 12, "tag")),
            Err(PeerMisbehaved::BatchRows { phase: Phase::Tags, expected: 10, found: 9 })
        );
        assert_eq!(inbound.end(), Err(PeerMisbehaved::Truncated { phase: Phase::Tags, expected: 10, found: 0 }));
    }

    #[test]
    fn nulls_are_refused() {
        let array = FixedSizeBinaryArray::new(2, vec![0u8; 4].into(), Some(vec![true, false].into()));
        let schema = Arc::new(Schema::new(vec![Field::new("tag", DataType::FixedSizeBinary(2), true)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(array)]).unwrap();
        let mut inbound = Inbound::new(Phase::Tags, binary_schema(&[("tag", 2)]), 2);
        assert!(matches!(inbound.accept(&batch), Err(PeerMisbehaved::Schema { .. })));
    }
}
