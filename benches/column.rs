//! Each verb of the curve per element, on one core, beside the same work done with curve25519-dalek: row by row, and
//! in blocks that share an inversion. A table of the verbs comes first, held against ratios saved in `verbs.csv`
//! (`DATAFUSION_PSI_BENCH_SAVE=1` saves this run's), then criterion's figures, which it compares with those
//! of an earlier run: `-- --save-baseline NAME` keeps them, `-- --baseline NAME` says by how many percent they have changed.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --bench column`; without the variable the verbs use all cores. The first line says
//! which kernel runs (dalek's figures are for one core, in blocks); with
//! `DATAFUSION_PSI_KERNEL=portable` it is dalek's, whatever the processor, with `avx2` four elements at a time. The steps by
//! themselves, hash, map, multiply, encode: `cargo test --release figures -- --ignored --nocapture`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use datafusion_psi::crypto::{
    BLOCK_ROWS, ChaCha20Rng, ElementColumn, HashDomain, Pads, RepeatCheck, SecretScalar, SortedTagRows, Source,
    TagRows, check_elements, evaluate, evaluate_tags, evaluate_tags_of_rows, hash_and_blind, kernel_name, pad_rows,
    shuffle, unpad_tags,
};
use rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha512};
use std::hint::black_box;
use std::time::Instant;

/// A chunk of the wire.
const CHUNK_ROWS: usize = 4096;
/// A column, for what is done to a column as a whole.
const COLUMN_ROWS: usize = 1_000_000;
/// Bytes per tag for 10^6 against 10^6 rows.
const TAG_BYTES: usize = 12;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(20)
}

/// The numbers of `rows` rows, shuffled.
fn order(rows: usize, rng: &mut ChaCha20Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows as u32).collect();
    shuffle(&mut order, rng);
    order
}

fn identifiers() -> Vec<String> {
    (0..CHUNK_ROWS).map(|row| format!("person-{row}@example.org")).collect()
}

/// Blinding as dalek does it best: blocks that share an inversion.
fn dalek_blind(names: &[String], scalar: &Scalar) {
    let half = scalar.div_by_2();
    for names in names.chunks(BLOCK_ROWS) {
        let halves = names.iter().map(|name| {
            let point = RistrettoPoint::from_uniform_bytes(&Sha512::digest(name).into());
            point * half
        });
        black_box(RistrettoPoint::double_and_compress_batch(&halves.collect::<Vec<_>>()));
    }
}

/// Evaluating likewise.
fn dalek_evaluate(elements: &ElementColumn, scalar: &Scalar) {
    let half = scalar.div_by_2();
    for elements in elements.elements().chunks(BLOCK_ROWS) {
        let halves = elements.iter().map(|element| {
            let point = CompressedRistretto(*element).decompress().expect("valid elements");
            point * half
        });
        black_box(RistrettoPoint::double_and_compress_batch(&halves.collect::<Vec<_>>()));
    }
}

fn dalek_check(elements: &ElementColumn) {
    assert!(elements.elements().iter().all(|element| CompressedRistretto(*element).decompress().is_some()));
}

/// The table of verbs: nanoseconds per element of ours and of dalek's, the best of several runs, their ratio, and how it stands to
/// the one saved in `verbs.csv`. A ratio of one run says the same on a busy machine as on a quiet one.
fn verbs(_: &mut Criterion) {
    let mut rng = rng();
    let (scalar, plain) = (SecretScalar::random(&mut rng), Scalar::random(&mut rng));
    let (domain, names) = (HashDomain::new(0, b"transcript"), identifiers());
    let source = |row: usize| Source::Identifier(names[row].as_bytes());
    let elements = hash_and_blind(&domain, CHUNK_ROWS, source, &scalar, &mut rng);
    let pads = Pads::random(&mut rng);
    let order = order(CHUNK_ROWS, &mut rng);
    let blind = best(|| drop(black_box(hash_and_blind(&domain, CHUNK_ROWS, source, &scalar, &mut rng))));
    let dalek_evaluated = best(|| dalek_evaluate(&elements, &plain));
    let measured = [
        ("blind: hash, map, multiply, encode", blind, best(|| dalek_blind(&names, &plain))),
        ("evaluate: decode, multiply, encode", best(|| drop(black_box(evaluate(&elements, &scalar)))), dalek_evaluated),
        (
            "pad: the same, a scalar per row",
            best(|| drop(black_box(pad_rows(&elements, &order, &pads, 0)))),
            dalek_evaluated,
        ),
        ("check: decode", best(|| check_elements(&elements).expect("valid elements")), best(|| dalek_check(&elements))),
    ];
    eprintln!("kernel: {}\n", kernel_name());
    eprintln!("| verb | ns per element | curve25519-dalek | ratio | saved | |\n|---|---|---|---|---|---|");
    for (verb, ours, dalek) in measured {
        let (ratio, saved) = (dalek / ours, saved_ratio(verb));
        let verdict = match saved {
            Some(saved) if ratio < saved / REGRESSION => "SLOWER by more than 10 %",
            Some(saved) if ratio > saved * REGRESSION => "faster by more than 10 %",
            _ => "",
        };
        let saved = saved.map_or("-".to_owned(), |saved| format!("{saved:.1}"));
        eprintln!("| {verb} | {ours:.0} | {dalek:.0} | {ratio:.1} | {saved} | {verdict} |");
    }
    eprintln!();
    if std::env::var_os(SAVE).is_some() {
        save_ratios(&measured.map(|(verb, ours, dalek)| (verb, dalek / ours)));
    }
}

/// Set to anything, keeps this run's ratios for later ones to be held against: `verbs.csv`, a kernel and a verb a line. They
/// are of one processor and of curve25519-dalek as `.cargo/config.toml` of a checkout has it built.
const SAVE: &str = "DATAFUSION_PSI_BENCH_SAVE";
const SAVED_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/verbs.csv");
/// What is no noise any more.
const REGRESSION: f64 = 1.1;

fn saved_ratio(verb: &str) -> Option<f64> {
    let saved = std::fs::read_to_string(SAVED_FILE).ok()?;
    saved.lines().find_map(|line| match line.split(';').collect::<Vec<_>>()[..] {
        [kernel, name, ratio] if kernel == kernel_name() && name == verb => ratio.parse().ok(),
        _ => None,
    })
}

fn save_ratios(ratios: &[(&str, f64)]) {
    let old = std::fs::read_to_string(SAVED_FILE).unwrap_or_default();
    let own = format!("{};", kernel_name());
    let others = old.lines().filter(|line| !line.starts_with(&own)).map(|line| format!("{line}\n"));
    let these = ratios.iter().map(|(verb, ratio)| format!("{own}{verb};{ratio:.2}\n"));
    let text: String = others.chain(these).collect();
    std::fs::write(SAVED_FILE, text).expect("benches/verbs.csv can be written");
}

/// Nanoseconds per row of a chunk, the best of 15 runs.
fn best(mut work: impl FnMut()) -> f64 {
    let seconds = (0..15).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    });
    1e9 * seconds.fold(f64::MAX, f64::min) / CHUNK_ROWS as f64
}

fn blind(c: &mut Criterion) {
    let mut group = c.benchmark_group("blind");
    group.throughput(Throughput::Elements(CHUNK_ROWS as u64)).sample_size(10);
    let mut rng = rng();
    let scalar = SecretScalar::random(&mut rng);
    let domain = HashDomain::new(0, b"transcript");
    let names = identifiers();
    // The same time for each kind of row is a promise: compare these figures.
    let kinds: [(&str, &(dyn Fn(usize) -> Source<'static> + Sync)); 4] = {
        let names: &'static [String] = names.clone().leak();
        [
            ("identifiers", Box::leak(Box::new(|row: usize| Source::Identifier(names[row].as_bytes())))),
            ("emptied", Box::leak(Box::new(|row: usize| Source::Emptied(names[row].as_bytes())))),
            ("nulls", &|_| Source::Null),
            ("dummies", &|row| Source::Dummy { part: 0, index: row as u64 }),
        ]
    };
    for (name, source) in kinds {
        group.bench_function(name, |b| {
            b.iter(|| hash_and_blind(&domain, CHUNK_ROWS, source, &scalar, &mut rng));
        });
    }
    let plain = Scalar::random(&mut rng);
    group.bench_function("dalek, row by row", |b| {
        b.iter(|| {
            for name in &names {
                let point = RistrettoPoint::from_uniform_bytes(&Sha512::digest(name).into());
                black_box((point * plain).compress());
            }
        });
    });
    group.bench_function("dalek, in blocks", |b| b.iter(|| dalek_blind(&names, &plain)));
    group.finish();
}

fn evaluation(c: &mut Criterion) {
    let mut group = c.benchmark_group("evaluate");
    group.throughput(Throughput::Elements(CHUNK_ROWS as u64)).sample_size(10);
    let mut rng = rng();
    let scalar = SecretScalar::random(&mut rng);
    let domain = HashDomain::new(0, b"transcript");
    let elements = hash_and_blind(&domain, CHUNK_ROWS, |_| Source::Null, &scalar, &mut rng);
    let order = order(CHUNK_ROWS, &mut rng);
    group.bench_function("elements", |b| b.iter(|| evaluate(&elements, &scalar).expect("valid elements")));
    group.bench_function("tags", |b| b.iter(|| evaluate_tags(&elements, &scalar, TAG_BYTES).expect("valid elements")));
    group.bench_function("tags of permuted rows", |b| {
        b.iter(|| evaluate_tags_of_rows(&elements, &order, &scalar, TAG_BYTES).expect("valid elements"));
    });
    let pads = Pads::random(&mut rng);
    group.bench_function("padded rows", |b| {
        b.iter(|| pad_rows(&elements, &order, &pads, 0).expect("valid elements"));
    });
    group.bench_function("tags without pads", |b| {
        b.iter(|| unpad_tags(&elements, &scalar, &pads, 0, TAG_BYTES).expect("valid elements"));
    });
    let plain = Scalar::random(&mut rng);
    group.bench_function("dalek, row by row", |b| {
        b.iter(|| {
            for element in elements.elements() {
                let point = CompressedRistretto(*element).decompress().expect("valid elements");
                black_box((point * plain).compress());
            }
        });
    });
    group.bench_function("dalek, in blocks", |b| b.iter(|| dalek_evaluate(&elements, &plain)));
    group.finish();

    let mut group = c.benchmark_group("check");
    group.throughput(Throughput::Elements(CHUNK_ROWS as u64)).sample_size(10);
    group.bench_function("elements", |b| b.iter(|| check_elements(&elements).expect("valid elements")));
    group.bench_function("dalek, row by row", |b| b.iter(|| dalek_check(&elements)));
    group.finish();
}

fn whole_column(c: &mut Criterion) {
    let mut group = c.benchmark_group("column");
    group.throughput(Throughput::Elements(COLUMN_ROWS as u64)).sample_size(10);
    let mut rng = rng();
    let mut bytes = vec![0; COLUMN_ROWS * 32];
    rng.fill_bytes(&mut bytes);
    let column = ElementColumn::from_bytes(bytes).expect("a multiple of 32");
    group.bench_function("check for repeats", |b| {
        b.iter(|| {
            let mut check = RepeatCheck::with_capacity(COLUMN_ROWS as u32);
            check.absorb(&column);
            check.finish().expect("random bytes do not repeat")
        });
    });
    group.bench_function("shuffle", |b| b.iter(|| order(COLUMN_ROWS, &mut rng)));
    group.finish();
}

/// Comparing a column's tags, step by step and as a whole, which is to take less than 100 ns of a core per row.
fn tags(c: &mut Criterion) {
    let mut group = c.benchmark_group("tags");
    group.throughput(Throughput::Elements(COLUMN_ROWS as u64)).sample_size(10);
    let mut rng = rng();
    // Tags of 12 bytes, all different; those of the peer are half the same, and come sorted.
    let bits = 8 * TAG_BYTES as u32;
    let mut random = || (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())) >> (u128::BITS - bits);
    let tags: Vec<u128> = (0..COLUMN_ROWS).map(|_| random()).collect();
    let mut asked: Vec<u128> =
        tags.iter().enumerate().map(|(row, tag)| if row % 2 == 0 { *tag } else { random() }).collect();
    asked.sort_unstable();
    let pushed = || {
        let mut rows = TagRows::new(bits, COLUMN_ROWS as u64);
        tags.iter().zip(0..).for_each(|(tag, row)| rows.push(*tag, row));
        rows
    };
    let sorted = |rows: TagRows| rows.sort().expect("random tags do not repeat");
    let found = |rows: SortedTagRows| {
        let mut cursor = rows.cursor();
        asked.iter().filter(|tag| cursor.find(**tag).is_some()).count()
    };
    group.bench_function("push", |b| b.iter_with_large_drop(pushed));
    group.bench_function("sort", |b| b.iter_batched(pushed, sorted, BatchSize::PerIteration));
    group.bench_function("find those of the peer", |b| {
        b.iter_batched(|| sorted(pushed()), found, BatchSize::PerIteration);
    });
    group.bench_function("push, sort, find", |b| b.iter(|| found(sorted(pushed()))));
    group.finish();
}

criterion_group!(benches, verbs, blind, evaluation, whole_column, tags);
criterion_main!(benches);
