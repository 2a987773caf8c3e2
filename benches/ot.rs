//! Oblivious transfer, per row and party: both sides in lockstep, each side's work on its own
//! clock.
//!
//! `cargo bench --bench ot`: one word of 64 bits per row, 2²⁰ rows, one thread (`PSI_BENCH_THREADS`
//! for more), k = 1, 2, 4, 8; setup (base OTs and trees) apart. Criterion's element is a row; its
//! time is that of one party.

use std::{
    hint::black_box,
    sync::LazyLock,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion_psi::crypto::ChaCha20Rng;
use datafusion_psi::mpc::{
    AdditiveShares, Binding, Choices, FieldBits, Parameters, Receiver, Sender, ValueOwner, Values, WordWidth,
};
use rand_core::SeedableRng;

const ROWS: usize = 1 << 20;
const FIELDS: [FieldBits; 4] = [FieldBits::One, FieldBits::Two, FieldBits::Four, FieldBits::Eight];

/// Time that either side computed, by phase.
#[derive(Default)]
struct Clock {
    sender_setup: Duration,
    receiver_setup: Duration,
    sender: Duration,
    receiver: Duration,
}

fn timed<T>(clock: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = now();
    let result = work();
    *clock += now().saturating_sub(start);
    result
}

/// This thread's time on a CPU, where Linux tells it and the work stays on this thread, as other
/// load on the machine then does not count; else the wall's.
fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    if rayon::current_num_threads() == 1 {
        // Brings the kernel's count up to date.
        std::thread::yield_now();
        let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        if let Some(nanoseconds) = statistics.split(' ').next().and_then(|count| count.parse().ok()) {
            return Duration::from_nanos(nanoseconds);
        }
    }
    START.elapsed()
}

/// One run in lockstep, each side's work on its own clock.
fn run(field_bits: FieldBits, rows: usize) -> Clock {
    let mut clock = Clock::default();
    let (mut sender_rng, mut receiver_rng) = (ChaCha20Rng::from_seed([1; 32]), ChaCha20Rng::from_seed([2; 32]));
    let binding = Binding { session: b"bench", owner: ValueOwner::Responder, instance: 0 };
    let parameters = Parameters::new(field_bits, rows, vec![WordWidth::Bits64]).expect("within limits");
    let values: Vec<i64> = (0..rows as i64).map(|row| row * 1_000_003 - 77).collect();
    let choices = Choices::new((0..rows).map(|row| row % 3 == 0));

    let receiver = Receiver::start(parameters.clone(), binding, choices).expect("one choice per row");
    let (sender, base) = timed(&mut clock.sender_setup, || Sender::start(parameters, binding, &mut sender_rng));
    let (mut receiver, reply) =
        timed(&mut clock.receiver_setup, || receiver.reply(base, &mut receiver_rng)).expect("honest");
    let mut sender = timed(&mut clock.sender_setup, || sender.reply(reply)).expect("honest");
    while let Some(corrections) = timed(&mut clock.receiver, || receiver.corrections()) {
        sender = timed(&mut clock.sender, || sender.accept(corrections)).expect("honest");
    }
    let (sender, challenge) = timed(&mut clock.sender, || sender.challenge(&mut sender_rng)).expect("complete");
    let receiver = timed(&mut clock.receiver, || receiver.finish()).expect("complete");
    let (mut receiver, check) = timed(&mut clock.receiver, || receiver.answer(challenge)).expect("honest");
    let mut sender = timed(&mut clock.sender, || sender.verify(check)).expect("honest");
    while let Some(rows) = sender.next_rows() {
        let payload = timed(&mut clock.sender, || sender.pay(&[Values::Bits64(&values[rows])])).expect("fits");
        receiver = timed(&mut clock.receiver, || receiver.accept(payload)).expect("honest");
    }
    let own = timed(&mut clock.sender, || sender.finish()).expect("complete");
    let other = timed(&mut clock.receiver, || receiver.finish()).expect("complete");
    let sum: i128 = values.iter().step_by(3).map(|value| i128::from(*value)).sum();
    assert_eq!(black_box(AdditiveShares::open(&own, &other).expect("same words")), vec![sum]);
    clock
}

fn bench(criterion: &mut Criterion) {
    let threads = std::env::var("PSI_BENCH_THREADS").ok().and_then(|count| count.parse().ok()).unwrap_or(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads are to be had");
    let sum = |iterations: u64, rows: usize, field_bits: FieldBits, part: &dyn Fn(&Clock) -> Duration| {
        (0..iterations).map(|_| part(&pool.install(|| run(field_bits, rows)))).sum()
    };

    let mut group = criterion.benchmark_group("ot");
    group.sample_size(10);
    for field_bits in FIELDS {
        let k = field_bits.bits();
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(format!("k{k}/sender"), |bencher| {
            bencher.iter_custom(|iterations| sum(iterations, ROWS, field_bits, &|clock| clock.sender));
        });
        group.bench_function(format!("k{k}/receiver"), |bencher| {
            bencher.iter_custom(|iterations| sum(iterations, ROWS, field_bits, &|clock| clock.receiver));
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("k{k}/setup-sender"), |bencher| {
            bencher.iter_custom(|iterations| sum(iterations, 0, field_bits, &|clock| clock.sender_setup));
        });
        group.bench_function(format!("k{k}/setup-receiver"), |bencher| {
            bencher.iter_custom(|iterations| sum(iterations, 0, field_bits, &|clock| clock.receiver_setup));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
