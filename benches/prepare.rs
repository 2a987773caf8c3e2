//! From a million rows of a Parquet file to persons: scanning, normalising, grouping, on one core.
//!
//! `cargo bench --bench prepare`. The throughput is in rows; at 1,000,000 rows a microsecond a row is a second.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::arrow::array::{ArrayRef, LargeBinaryArray, RecordBatch, StringArray};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use datafusion_psi::psi::normalise::Normaliser;
use datafusion_psi::psi::prepare::prepare;
use rayon::prelude::*;

const ROWS: usize = 1_000_000;
/// Rows of a batch, as the engine makes them.
const BATCH_ROWS: usize = 8192;

/// Three quarters of the rows are of persons with one row, the others of persons with several.
fn person(row: usize) -> usize {
    if row.is_multiple_of(4) { row % (ROWS / 16) } else { row }
}

fn emails() -> Vec<ArrayRef> {
    column(|row| format!(" Person{}@Example.org", person(row)))
}

fn phones() -> Vec<ArrayRef> {
    column(|row| format!("(212) 555-{:04}", person(row) % 10_000))
}

fn column(text: impl Fn(usize) -> String) -> Vec<ArrayRef> {
    (0..ROWS)
        .step_by(BATCH_ROWS)
        .map(|from| {
            let rows = from..ROWS.min(from + BATCH_ROWS);
            Arc::new(StringArray::from_iter_values(rows.map(&text))) as ArrayRef
        })
        .collect()
}

fn normalised(batches: &[ArrayRef], normaliser: Normaliser) -> Vec<LargeBinaryArray> {
    batches.iter().map(|batch| normaliser.normalise(batch).expect("text is taken").identifiers).collect()
}

fn normalise(c: &mut Criterion) {
    let mut group = c.benchmark_group("normalise");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    let (emails, phones) = (emails(), phones());
    for (name, rule, batches) in
        [("exact/1", "exact/1", &emails), ("email/1", "email/1", &emails), ("phone/1", "phone/1:US", &phones)]
    {
        let rule: Normaliser = rule.parse().expect("a known rule");
        group.bench_function(format!("{name}, one core"), |b| b.iter(|| black_box(normalised(batches, rule))));
        // A lock in a parser would show as little gain, or none.
        group.bench_function(format!("{name}, all cores"), |b| {
            b.iter(|| {
                let all: Vec<_> = batches.par_iter().map(|batch| rule.normalise(batch)).collect();
                black_box(all.len())
            });
        });
    }
}

fn persons(c: &mut Criterion) {
    let mut group = c.benchmark_group("persons");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    let whole = |batches: &[ArrayRef], rule: &str| {
        let parts = normalised(batches, rule.parse().expect("a known rule"));
        LargeBinaryArray::from_iter(parts.iter().flat_map(|part| part.iter()))
    };
    let (email, exact) = (whole(&emails(), "email/1"), whole(&emails(), "exact/1"));
    group.bench_function("one identifier", |b| b.iter(|| prepare(vec![email.clone()]).expect("it fits")));
    group.bench_function("two identifiers", |b| {
        b.iter(|| prepare(vec![email.clone(), exact.clone()]).expect("they fit"));
    });
}

/// The whole way of a local relation, but for the session: what a query pays before its curve work.
fn from_parquet(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("people.parquet");
    runtime.block_on(write(&file));
    let mut group = c.benchmark_group("from Parquet");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    for rule in ["exact/1", "email/1"] {
        let rule: Normaliser = rule.parse().expect("a known rule");
        group.bench_function(rule.to_string(), |b| {
            b.iter(|| {
                let batches = runtime.block_on(scan(&file));
                let columns: Vec<ArrayRef> = batches.iter().map(|batch| Arc::clone(batch.column(0))).collect();
                let parts = normalised(&columns, rule);
                let parts: Vec<_> = parts.iter().map(|part| part as &dyn datafusion::arrow::array::Array).collect();
                let whole = datafusion::arrow::compute::concat(&parts).expect("one type");
                let whole = whole.as_any().downcast_ref::<LargeBinaryArray>().expect("as it was").clone();
                prepare(vec![whole]).expect("it fits").persons()
            });
        });
    }
}

async fn write(file: &Path) {
    let context = SessionContext::new();
    let batches =
        emails().into_iter().map(|emails| RecordBatch::try_from_iter([("email", emails)]).expect("one column"));
    let frame = context.read_batches(batches).expect("one schema");
    frame.write_parquet(&file.to_string_lossy(), Default::default(), None).await.expect("it is written");
}

async fn scan(file: &Path) -> Vec<RecordBatch> {
    // One partition: the figure is one core's.
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let frame = context.read_parquet(file.to_string_lossy().as_ref(), ParquetReadOptions::default()).await;
    frame.expect("the file is there").collect().await.expect("it is read")
}

criterion_group!(benches, normalise, persons, from_parquet);
criterion_main!(benches);
