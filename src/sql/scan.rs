//! Every row of a table, in one order, and the proof that it is the same order again.
//!
//! Persons are prepared once per table version; the filter and the values of each later query are read
//! afresh. The two meet by row number. So a scan reads everything, in the order of the files' paths and
//! of the rows within them, and hands back a [`RowOrder`] of the identifiers' columns. Two scans of equal
//! order agree, row by row, in all identifiers: whatever else might have moved moved between rows of one
//! person. An order that differs is an error, never a wrong sum.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::hash_utils::{QualityRandomState, create_hashes};
use datafusion::common::runtime::JoinSet;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::execute_stream_partitioned;
use futures::StreamExt;

use super::error::to_datafusion;
use super::people::join_column;
use super::prepared::Room;
use super::tables::OpenedTable;
use crate::psi::Error;
use crate::transport::offload;

/// A fingerprint of some columns of all rows, in their order: for comparing two scans of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RowOrder {
    rows: u64,
    digest: u64,
}

/// Odd, so that a digest loses nothing when it moves on; otherwise arbitrary (2^64 divided by the golden ratio).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hashes rows. Fixed: a table's owner has nothing to win by rows that collide.
const ROW_HASH: QualityRandomState = QualityRandomState::with_seed(STEP);

impl RowOrder {
    /// The order of a batch's `columns`.
    fn of(batch: &RecordBatch, columns: &[usize]) -> EngineResult<Self> {
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes(columns.iter().map(|column| batch.column(*column)), &ROW_HASH, &mut hashes)?;
        let digest = hashes.iter().fold(0_u64, |digest, hash| digest.wrapping_mul(STEP).wrapping_add(*hash));
        Ok(RowOrder { rows: batch.num_rows() as u64, digest })
    }

    /// The order of these rows, then of the others.
    fn then(self, next: RowOrder) -> Self {
        let mut power = (1_u64, STEP, next.rows);
        while power.2 > 0 {
            if power.2 & 1 == 1 {
                power.0 = power.0.wrapping_mul(power.1);
            }
            power.1 = power.1.wrapping_mul(power.1);
            power.2 >>= 1;
        }
        RowOrder { rows: self.rows + next.rows, digest: self.digest.wrapping_mul(power.0).wrapping_add(next.digest) }
    }
}

/// What is read of a table, and into how much memory.
pub(super) struct Reading<'a, T> {
    /// A chunk's batch begins with these.
    pub(super) columns: &'a [String],
    /// Columns, too: their values give the fingerprint of the rows' order.
    pub(super) witnesses: &'a [String],
    /// Grows by twice what the chunks hold: joined, they exist a second time for a moment.
    pub(super) room: &'a Arc<Room>,
    /// Bytes of a chunk.
    pub(super) bytes: fn(&T) -> usize,
}

/// Reads all rows and turns each batch into a chunk, off the runtime; in the table's own order.
pub(super) async fn scan<T: Send + 'static>(
    engine: &SessionContext,
    opened: &OpenedTable,
    what: Reading<'_, T>,
    chunk: impl Fn(RecordBatch) -> Result<T, Error> + Clone + Send + Sync + 'static,
) -> EngineResult<(Vec<T>, RowOrder)> {
    let Reading { columns, witnesses, room, bytes } = what;
    let schema = opened.provider.schema();
    let mut read: Vec<&String> = columns.iter().collect();
    let mut marks = Vec::with_capacity(witnesses.len());
    for name in witnesses {
        let at = read.iter().position(|known| *known == name).unwrap_or_else(|| {
            read.push(name);
            read.len() - 1
        });
        marks.push(at);
    }
    let marks: Arc<[usize]> = marks.into();
    let projection = read.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    // No filter and no limit goes into the scan, and no optimizer rule sees it: every row comes, in order.
    let plan = opened.provider.scan(&engine.state(), Some(&projection), &[], None).await?;
    let streams = execute_stream_partitioned(plan, engine.task_ctx())?;
    let mut tasks = JoinSet::new();
    for (partition, mut stream) in streams.into_iter().enumerate() {
        let (chunk, marks, room) = (chunk.clone(), Arc::clone(&marks), Arc::clone(room));
        tasks.spawn(async move {
            let (mut chunks, mut order) = (Vec::new(), RowOrder::default());
            while let Some(batch) = stream.next().await {
                let (batch, chunk, marks) = (batch?, chunk.clone(), Arc::clone(&marks));
                let work = move || -> EngineResult<(RowOrder, T)> {
                    Ok((RowOrder::of(&batch, &marks)?, chunk(batch).map_err(to_datafusion)?))
                };
                let (next, chunk) = offload::prepare(work).await.map_err(to_datafusion)??;
                room.grow(bytes(&chunk).saturating_mul(2))?;
                order = order.then(next);
                chunks.push(chunk);
            }
            Ok::<_, DataFusionError>((partition, order, chunks))
        });
    }
    let mut parts = Vec::new();
    while let Some(done) = tasks.join_next().await {
        parts.push(done.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??);
    }
    parts.sort_by_key(|(partition, ..)| *partition);
    let order = parts.iter().fold(RowOrder::default(), |order, (_, next, _)| order.then(*next));
    Ok((parts.into_iter().flat_map(|(.., chunks)| chunks).collect(), order))
}

/// Of each predicate, which rows of a batch pass; the batch's columns that are kept.
pub(super) type RowsChunk = (Vec<BooleanArray>, Vec<ArrayRef>);

/// Bytes of one in memory.
pub(super) fn chunk_bytes((passing, columns): &RowsChunk) -> usize {
    let passing: usize = passing.iter().map(Array::get_array_memory_size).sum();
    passing + columns.iter().map(|column| column.get_array_memory_size()).sum::<usize>()
}

/// What one query reads of a table.
pub(super) struct Rows {
    /// Of each of its predicates, which rows pass.
    pub(super) passing: Vec<BooleanArray>,
    /// The columns that aggregates and groups read.
    pub(super) values: Vec<ArrayRef>,
}

impl Rows {
    /// All chunks of a table, in its order.
    pub(super) fn join(
        chunks: Vec<RowsChunk>,
        types: &[DataType],
        predicates: usize,
        rows_expected: usize,
    ) -> Result<Self, Error> {
        let mut passing: Vec<Vec<ArrayRef>> = vec![Vec::new(); predicates];
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); types.len()];
        for (pass, columns) in chunks {
            for (all, column) in passing.iter_mut().zip(pass) {
                all.push(Arc::new(column));
            }
            for (all, column) in values.iter_mut().zip(columns) {
                all.push(column);
            }
        }
        let passing = passing.iter().map(|parts| {
            let whole = join_column(parts, &DataType::Boolean)?;
            let whole = whole.as_any().downcast_ref::<BooleanArray>().cloned();
            whole.ok_or_else(|| Error::internal("a filter of another type"))
        });
        let passing = passing.collect::<Result<Vec<_>, Error>>()?;
        let values: Vec<ArrayRef> =
            values.iter().zip(types).map(|(parts, kind)| join_column(parts, kind)).collect::<Result<_, _>>()?;
        let lengths = passing.iter().map(Array::len).chain(values.iter().map(|column| column.len()));
        for rows in lengths {
            if rows != rows_expected {
                return Err(Error::Environment("the table changed while it was read; ask again".to_owned()));
            }
        }
        Ok(Rows { passing, values })
    }
}

pub(super) fn physical(filter: &Expr, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, Error> {
    let columns = DFSchema::try_from(Arc::clone(schema)).map_err(Error::internal)?;
    create_physical_expr(filter, &columns, &ExecutionProps::new(), &PhysicalPlanningContext::default()).map_err(
        |error| {
            tracing::warn!(error = %error.strip_backtrace(), "a filter that was parsed cannot be planned");
            Error::Refused("filter refused: it cannot be evaluated over this table's columns".to_owned())
        },
    )
}

/// Which rows of a batch pass; NULL does not.
///
/// A checked filter cannot fail on any value. If one does, that is our bug, and the peer must not learn
/// from it which values there are: the batch's rows do not pass, and the owner's log says so.
pub(super) fn evaluate(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> BooleanArray {
    let found = predicate.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    let found = found.map(|array| array.as_any().downcast_ref::<BooleanArray>().cloned());
    match found {
        Ok(Some(passing)) => passing,
        other => {
            let error =
                other.err().map_or_else(|| "its value is no boolean".to_owned(), |error| error.strip_backtrace());
            tracing::error!(
                error,
                "a checked filter failed: its rows count as not passing; this is a bug, please report it"
            );
            BooleanArray::from(vec![false; batch.num_rows()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    fn batch(names: &[Option<&str>]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]);
        let numbers: Vec<i64> = (0..names.len() as i64).collect();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(names.to_vec()))];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn an_order_does_not_depend_on_where_batches_end() {
        let rows = [Some("a"), None, Some("b"), Some("a"), Some("")];
        let whole = RowOrder::of(&batch(&rows), &[1]).unwrap();
        for cut in 0..=rows.len() {
            let parts = [&rows[..cut], &rows[cut..]].map(|part| RowOrder::of(&batch(part), &[1]).unwrap());
            assert_eq!(parts[0].then(parts[1]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_order_changes_when_rows_do_or_change_places() {
        let rows = [Some("a"), None, Some("b"), Some("a"), Some("")];
        let order = |rows: &[Option<&str>]| RowOrder::of(&batch(rows), &[1]).unwrap();
        let whole = order(&rows);
        assert_eq!(order(&[Some("a"), None, Some("b"), Some("a"), Some("")]), whole);
        for other in [
            &[Some("a"), Some("b"), None, Some("a"), Some("")][..],
            &[Some("a"), None, Some("b"), Some("a")],
            &[Some("a"), None, Some("b"), Some("a"), None],
            &[Some("b"), None, Some("a"), Some("a"), Some("")],
        ] {
            assert_ne!(order(other), whole, "{other:?}");
        }
    }
}
