//! This side's relation, run to its end before anything is charged or sent.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::runtime::JoinSet;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use super::error::to_datafusion;
use super::people::{Identifiers, join_column};
use super::run::Settled;
use crate::psi::Error;
use crate::transport::offload;

/// The local relation, as far as the session needs it.
pub(super) struct Local {
    pub(super) identifiers: Identifiers,
    /// One column per own word, in their order.
    pub(super) values: Vec<ArrayRef>,
    /// One column per group of this side's own, in their order.
    pub(super) groups: Vec<ArrayRef>,
    /// Its bytes in the engine's memory pool.
    pub(super) memory: MemoryReservation,
}

/// A batch of it.
struct Chunk {
    identifiers: Identifiers,
    /// The columns of own words, then those of groups.
    columns: Vec<ArrayRef>,
}

/// Runs the local plan to its end, all partitions at once. Rows are normalised as they come, so that
/// what is kept is the identifiers and the values alone.
pub(super) async fn collect(
    settled: &Settled,
    input: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    memory: &MemoryReservation,
) -> Result<Local> {
    let shared = Arc::new(settled.clone());
    let partitions = input.properties().partitioning.partition_count();
    let mut tasks = JoinSet::new();
    let held = Arc::new(memory.new_empty());
    for partition in 0..partitions {
        let mut stream = input.execute(partition, Arc::clone(context))?;
        let (settled, held) = (Arc::clone(&shared), Arc::clone(&held));
        tasks.spawn(async move {
            let mut chunks = Vec::new();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let settled = Arc::clone(&settled);
                let chunk = offload::prepare(move || chunk(&batch, &settled))
                    .await
                    .and_then(|chunk| chunk)
                    .map_err(to_datafusion)?;
                let values: usize = chunk.columns.iter().map(|column| column.get_array_memory_size()).sum();
                // Twice: joined, the chunks exist a second time for a moment.
                held.try_grow(2 * (chunk.identifiers.size_bytes() + values))?;
                chunks.push(chunk);
            }
            Ok::<_, DataFusionError>((partition, chunks))
        });
    }
    let mut parts = Vec::with_capacity(partitions);
    while let Some(done) = tasks.join_next().await {
        let done = match done {
            Ok(done) => done?,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => return Err(DataFusionError::ExecutionJoin(Box::new(cancelled))),
            },
        };
        parts.push(done);
    }
    parts.sort_by_key(|(partition, _)| *partition);
    let types: Vec<_> = {
        let schema = input.schema();
        wanted(&shared).map(|column| schema.field(column).data_type().clone()).collect()
    };
    let (columns, words) = (shared.terms.len(), types.len() - shared.groups.len());
    offload::prepare(move || {
        let mut identifiers = Vec::new();
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); types.len()];
        for (_, chunks) in parts {
            for chunk in chunks {
                identifiers.push(chunk.identifiers);
                for (all, column) in values.iter_mut().zip(chunk.columns) {
                    all.push(column);
                }
            }
        }
        let joined = values.iter().zip(&types).map(|(parts, kind)| join_column(parts, kind));
        let mut values = joined.collect::<Result<Vec<_>, Error>>()?;
        let groups = values.split_off(words);
        let identifiers = Identifiers::join(identifiers, columns)?;
        // The chunks are gone.
        let memory = held.split(held.size() / 2);
        held.free();
        Ok(Local { identifiers, values, groups, memory })
    })
    .await
    .and_then(|joined| joined)
    .map_err(to_datafusion)
}

/// The columns of the relation that are kept as they are: those of own words, then those of groups.
fn wanted(settled: &Settled) -> impl Iterator<Item = usize> {
    let words = settled.own_words.iter().filter_map(|(word, _)| word.column());
    words.chain(settled.groups.iter().copied())
}

fn chunk(batch: &RecordBatch, settled: &Settled) -> Result<Chunk, Error> {
    let columns = wanted(settled)
        .map(|column| {
            batch.columns().get(column).cloned().ok_or_else(|| Error::Internal(format!("no column {column}")))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Chunk { identifiers: Identifiers::of(batch, &settled.terms)?, columns })
}
