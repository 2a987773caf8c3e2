//! Every row of a table, in one order, and the proof that it is the same order again.
//!
//! Persons are prepared once per table version; the filter and the values of each later query are read
//! afresh. The two meet by row number. So a scan reads everything, in the order of the files' paths and
//! of the rows within them, and hands back a [`RowOrder`] of the identifiers' columns. Two scans of equal
//! order agree, row by row, in all identifiers: whatever else might have moved moved between rows of one
//! person. An order that differs is an error, never a wrong sum.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, BooleanBuilder, RecordBatch};
use datafusion::arrow::compute::cast;
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
use super::offload::off_runtime;
use super::people::join_column;
use super::predicate::evaluated;
use super::tables::OpenedTable;
use crate::psi::Error;

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

/// Reads `columns` of all rows and turns each batch into a chunk, off the runtime; in the table's own
/// order, of which `witnesses` (columns, too) give the fingerprint. A chunk's batch begins with `columns`.
pub(super) async fn scan<T: Send + 'static>(
    engine: &SessionContext,
    opened: &OpenedTable,
    columns: &[String],
    witnesses: &[String],
    chunk: impl Fn(RecordBatch) -> Result<T, Error> + Clone + Send + Sync + 'static,
) -> EngineResult<(Vec<T>, RowOrder)> {
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
        let (chunk, marks) = (chunk.clone(), Arc::clone(&marks));
        tasks.spawn(async move {
            let (mut chunks, mut order) = (Vec::new(), RowOrder::default());
            while let Some(batch) = stream.next().await {
                let (batch, chunk, marks) = (batch?, chunk.clone(), Arc::clone(&marks));
                let work = move || -> EngineResult<(RowOrder, T)> {
                    Ok((RowOrder::of(&batch, &marks)?, chunk(batch).map_err(to_datafusion)?))
                };
                let (next, chunk) = off_runtime(work).await.map_err(to_datafusion)??;
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
        chunks: Vec<(Vec<BooleanArray>, Vec<ArrayRef>)>,
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
/// A checked filter cannot fail on any value. If one does, that is our bug, and no row may have a say in whether others pass:
/// one person could move the answer by a batch. So each row is then judged as if it were alone; one that fails alone does not
/// pass, and the owner's log says so.
pub(super) fn evaluate(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> BooleanArray {
    passing(predicate, batch).unwrap_or_else(|error| {
        let mut judged = BooleanBuilder::with_capacity(batch.num_rows());
        let rows = by_halves(predicate, batch, &mut judged);
        tracing::error!(
            error,
            rows,
            "a checked filter failed: rows on which it fails alone count as not passing; this is a bug, please report it"
        );
        judged.finish()
    })
}

fn passing(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray, String> {
    let found = evaluated(predicate, batch)?;
    found.as_any().downcast_ref::<BooleanArray>().cloned().ok_or_else(|| "its value is no boolean".to_owned())
}

/// Judges a batch that fails as a whole, by halves, down to single rows; on how many rows the predicate fails. At most two
/// evaluations for each row, of batches that hold log₂ of their number times as many rows together.
fn by_halves(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch, judged: &mut BooleanBuilder) -> u64 {
    let rows = batch.num_rows();
    if rows <= 1 {
        let found = passing(predicate, &alone(batch));
        if let Ok(found) = &found {
            judged.append_array(found);
        } else {
            judged.append_n(rows, false);
        }
        return if found.is_err() { rows as u64 } else { 0 };
    }
    let halves = [batch.slice(0, rows / 2), batch.slice(rows / 2, rows - rows / 2)];
    let failed = halves.iter().map(|half| match passing(predicate, half) {
        Ok(found) => {
            judged.append_array(&found);
            0
        }
        Err(_) => by_halves(predicate, half, judged),
    });
    failed.sum()
}

/// A row without what other rows have left in it: slices of a dictionary's keys hold all of its values.
fn alone(row: &RecordBatch) -> RecordBatch {
    let columns = row.columns().iter().map(|column| match column.data_type() {
        kind @ DataType::Dictionary(_, values) => {
            let own = cast(column, values).and_then(|plain| cast(&plain, kind));
            own.unwrap_or_else(|_| Arc::clone(column))
        }
        _ => Arc::clone(column),
    });
    RecordBatch::try_new(row.schema(), columns.collect()).unwrap_or_else(|_| row.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{DictionaryArray, Int8Array, Int64Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::{and, cast as cast_to, col, in_list, lit, not, or, when};
    use proptest::prelude::*;

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

    fn rows(numbers: Vec<Option<i64>>, texts: Vec<Option<&str>>) -> RecordBatch {
        let schema = batch(&[]).schema();
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(texts))])
            .unwrap()
    }

    /// What passes, as a whole and row by row.
    fn both(filter: &Expr, rows: &RecordBatch) -> [Vec<bool>; 2] {
        let predicate = physical(filter, &rows.schema()).unwrap();
        let passes = |batch: &RecordBatch| -> Vec<bool> {
            evaluate(&predicate, batch).iter().map(|passes| passes == Some(true)).collect()
        };
        [passes(rows), (0..rows.num_rows()).flat_map(|row| passes(&rows.slice(row, 1))).collect()]
    }

    #[test]
    fn a_row_on_which_a_filter_fails_moves_no_other() {
        let numbers = [1, 2, 0, 3, 0, 20].map(Some).to_vec();
        let found = both(&(lit(10_i64) / col("n")).gt(lit(2_i64)), &rows(numbers, vec![Some("a"); 6]));
        assert_eq!(found[0], [true, true, false, true, false, false]);
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn a_pattern_that_no_regular_expression_holds_moves_the_rows_that_reach_it_and_no_other() {
        // The branch is not evaluated where no row of a batch reaches it, so nothing but a row shows that it cannot be.
        let filter = when(col("n").eq(lit(5_i64)), col("s").like(lit("_".repeat(12_000))))
            .when(col("n").eq(lit(6_i64)), col("s").is_null())
            .when(col("n").eq(lit(7_i64)), col("s").is_not_null())
            .otherwise(lit(true))
            .unwrap();
        let without = both(&filter, &rows([1, 6, 7, 8].map(Some).to_vec(), vec![Some("a"); 4]));
        let with = both(&filter, &rows([1, 6, 7, 5].map(Some).to_vec(), vec![Some("a"); 4]));
        assert_eq!(without, [vec![true, false, true, true], vec![true, false, true, true]]);
        assert_eq!(with, [vec![true, false, true, false], vec![true, false, true, false]]);
    }

    #[test]
    fn a_value_of_a_dictionary_that_fails_moves_the_rows_that_have_it_and_no_other() {
        let keys = Int8Array::from(vec![0, 1, 2, 0, 1]);
        let texts = DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["7", "seven", "8"])));
        let schema = Schema::new(vec![Field::new("s", texts.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap();
        let found = both(&cast_to(col("s"), DataType::Int64).eq(lit(7_i64)), &rows);
        assert_eq!(found[0], [true, false, false, true, false]);
        assert_eq!(found[0], found[1]);
    }

    #[test]
    fn a_batch_without_rows_or_a_filter_that_is_no_boolean_passes_nothing() {
        let fails = (lit(10_i64) / lit(0_i64)).gt(lit(2_i64));
        assert_eq!(both(&fails, &rows(vec![], vec![])), [const { Vec::<bool>::new() }; 2]);
        assert_eq!(both(&col("n"), &rows(vec![Some(1); 3], vec![None; 3])), [[false; 3], [false; 3]]);
    }

    /// Conditions of which some fail on some values, in every shape that a filter may have.
    fn conditions() -> impl Strategy<Value = Expr> {
        let number = || cast_to(col("s"), DataType::Int64);
        let leaves = prop::sample::select(vec![
            (lit(10_i64) / col("n")).gt(lit(2_i64)),
            (lit(10_i64) % col("n")).eq(lit(0_i64)),
            (col("n") - lit(i64::MAX)).lt(lit(0_i64)),
            number().eq(lit(7_i64)),
            in_list(number(), vec![lit(1_i64), col("n"), lit(7_i64)], false),
            number().between(lit(0_i64), col("n")),
            col("s").like(lit("a%_")),
            col("s").ilike(lit("%K%")),
            col("n").gt(lit(1_i64)),
            col("n").is_null(),
            col("s").eq(lit("7")),
            lit(true),
            lit(false),
            lit(ScalarValue::Boolean(None)),
        ]);
        leaves.prop_recursive(4, 24, 5, |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                pair.clone().prop_map(|(a, b)| and(a, b)),
                pair.clone().prop_map(|(a, b)| or(a, b)),
                pair.clone().prop_map(|(a, b)| a.eq(b)),
                pair.prop_map(|(a, b)| when(a, b).end().unwrap()),
                inner.clone().prop_map(not),
                inner.clone().prop_map(Expr::is_null),
                inner.clone().prop_map(Expr::is_not_true),
                (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| when(a, b).otherwise(c).unwrap()),
                (inner.clone(), inner.clone(), inner.clone(), inner.clone(), inner).prop_map(|(a, b, c, d, e)| when(
                    a, b
                )
                .when(c, d)
                .otherwise(e)
                .unwrap()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whether_a_row_passes_depends_on_no_other_row(
            filter in conditions(),
            values in prop::collection::vec(
                (
                    prop::sample::select(vec![None, Some(0), Some(1), Some(3), Some(7), Some(-3), Some(i64::MAX)]),
                    prop::sample::select(vec![None, Some("7"), Some("1"), Some("seven"), Some(""), Some("ab"), Some("\u{212a}")]),
                ),
                1..24,
            ),
        ) {
            let (numbers, texts) = values.into_iter().unzip();
            let [whole, each] = both(&filter, &rows(numbers, texts));
            prop_assert_eq!(whole, each, "{}", filter);
        }
    }
}
