//! Times to read, never to judge by: `cargo test --release figures -- --ignored --nocapture --test-threads=1`.

use std::hint::black_box;
use std::time::Instant;

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};

use super::numbers::Open;
use super::*;
use crate::crypto::simd::multiply::Fill;
use crate::crypto::simd::vector::Step;

/// The best of several runs, in microseconds per row of a block.
fn time(what: &str, mut work: impl FnMut()) {
    let best = (0..200).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e6 / BLOCK_ROWS as f64
    });
    println!("{what:<48} {:8.3} µs", best.fold(f64::INFINITY, f64::min));
}

on_each_machine! {
    #[ignore = "prints times"] figures_of_each_step;
}

fn figures_of_each_step<M: Open>(machine: M) {
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

    for (name, kernel) in [(M::NAME, &machine as &dyn Kernel), ("dalek in blocks", &Dalek)] {
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

    steps(machine, &elements, &uniform, &scalar);

    let points: Vec<_> = elements.iter().map(|bytes| CompressedRistretto(*bytes).decompress().unwrap()).collect();
    let plain = scalar.reveal();
    time("dalek: map", || uniform.iter().for_each(|bytes| _ = black_box(RistrettoPoint::from_uniform_bytes(bytes))));
    time("dalek: multiply", || points.iter().for_each(|point| _ = black_box(point * plain)));
    time("dalek: encode in blocks", || _ = black_box(RistrettoPoint::double_and_compress_batch(&points)));
}

/// As many look-ups as a multiplication has.
struct LookUps<'a, M: Machine>(&'a Table<M>, &'a M::Lanes);

impl<M: Machine> Step<M> for LookUps<'_, M> {
    type Output = ();

    #[inline(always)]
    fn go(self, machine: M) {
        for _ in 0..64 {
            black_box(self.0.look_up(machine, black_box(self.1)));
        }
    }
}

/// As many doubles as a multiplication has.
struct Doubles<M: Machine>(Projective<Field<M>>);

impl<M: Machine> Step<M> for Doubles<M> {
    type Output = Projective<Field<M>>;

    #[inline(always)]
    fn go(self, _machine: M) -> Self::Output {
        let mut double = self.0;
        for _ in 0..252 {
            double = double.double().projective();
        }
        double
    }
}

fn steps<M: Open>(machine: M, elements: &[Encoding], uniform: &[Uniform], scalar: &SecretScalar) {
    let points = decode(machine, elements).unwrap();
    let digits = Digits::of(&scalar.reveal());
    let mut table = Table::new(machine);
    let halves: Vec<_> = points.iter().map(|point| multiply(machine, point, &digits, &mut table)).collect();
    let mut encodings = elements.to_vec();
    let digit = M::Lanes::default();
    let of = |what: &str| format!("{}: {what}", M::NAME);
    time(&of("map"), || uniform.chunks(M::LANES).for_each(|rows| _ = black_box(machine.run(MapUniform(rows)))));
    time(&of("table"), || points.iter().for_each(|point| machine.run(Fill { table: &mut table, point })));
    time(&of("64 look-ups"), || points.iter().for_each(|_| machine.run(LookUps(&table, &digit))));
    time(&of("252 doubles"), || halves.iter().for_each(|half| _ = black_box(machine.run(Doubles(*half)))));
    time(&of("multiply"), || {
        points.iter().for_each(|point| _ = black_box(multiply(machine, point, &digits, &mut table)));
    });
    time(&of("encode"), || machine.run(EncodeDoubled { halves: &halves, encodings: &mut encodings }));
}
