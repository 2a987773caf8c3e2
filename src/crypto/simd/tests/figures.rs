//! Times to read, never to judge by: `cargo test --release figures -- --ignored --nocapture --test-threads=1`.

use std::hint::black_box;
use std::time::Instant;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};

use super::*;

/// The best of several runs, in microseconds per row of a block.
fn time(what: &str, mut work: impl FnMut()) {
    let best = (0..200).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e6 / BLOCK_ROWS as f64
    });
    println!("{what:<48} {:8.3} µs", best.fold(f64::INFINITY, f64::min));
}

#[test]
#[ignore = "prints times"]
fn figures_of_each_step() {
    let Some(ifma) = kernel() else { return };
    let mut rng = rng(1);
    let scalar = SecretScalar::random(&mut rng);
    let uniform = uniform(BLOCK_ROWS, &mut rng);
    let mut elements = vec![[0; 32]; BLOCK_ROWS];
    Dalek.map_mul_encode(&uniform, &scalar, &mut elements);
    let scalars: Vec<Scalar> = (0..BLOCK_ROWS).map(|_| Scalar::random(&mut rng)).collect();
    let domain = HashDomain::new(0, b"transcript");
    let names: Vec<String> = (0..BLOCK_ROWS).map(|row| format!("person-{row}@example.org")).collect();
    let messages: Vec<_> = names.iter().map(|name| domain.identifier(name.as_bytes())).collect();
    let (mut digests, mut encodings) = (uniform.clone(), elements.clone());

    for (name, kernel) in [("ours", &ifma as &dyn Kernel), ("dalek in blocks", &Dalek)] {
        let of = |what: &str| format!("{name}: {what}");
        time(&of("hash"), || kernel.hash(&messages, &mut digests));
        time(&of("decode"), || kernel.check(&elements).unwrap());
        time(&of("decode, multiply, encode"), || {
            kernel.decode_mul_encode(&elements, &scalar, &mut encodings).unwrap();
        });
        time(&of("the same, a scalar per row"), || {
            kernel.decode_mul_each_encode(&elements, &scalars, &mut encodings).unwrap();
        });
        time(&of("map, multiply, encode"), || kernel.map_mul_encode(&uniform, &scalar, &mut encodings));
    }

    // SAFETY: `kernel` gave one, so the processor has the instructions.
    unsafe { steps(&elements, &uniform, &scalar) };

    let points: Vec<_> = elements.iter().map(|bytes| CompressedRistretto(*bytes).decompress().unwrap()).collect();
    let plain = scalar.reveal();
    time("dalek: map", || uniform.iter().for_each(|bytes| _ = black_box(RistrettoPoint::from_uniform_bytes(bytes))));
    time("dalek: multiply", || points.iter().for_each(|point| _ = black_box(point * plain)));
    time("dalek: encode in blocks", || _ = black_box(RistrettoPoint::double_and_compress_batch(&points)));
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn steps(elements: &[Encoding], uniform: &[Uniform], scalar: &SecretScalar) {
    let points = decode(elements).unwrap();
    let digits = Digits::of(&scalar.reveal());
    let mut table = Table::new();
    let halves: Vec<_> = points.iter().map(|point| multiply(point, &digits, &mut table)).collect();
    let mut encodings = elements.to_vec();
    time("ours: map", || uniform.chunks(LANES).for_each(|rows| _ = black_box(ristretto::map_uniform(rows))));
    time("ours: table", || points.iter().for_each(|point| table.fill(point)));
    time("ours: 64 look-ups", || {
        for _ in 0..64 * points.len() {
            black_box(table.look_up(field::splat(black_box(3))));
        }
    });
    time("ours: multiply", || points.iter().for_each(|point| _ = black_box(multiply(point, &digits, &mut table))));
    time("ours: encode", || ristretto::encode_doubled(&halves, &mut encodings));
}
