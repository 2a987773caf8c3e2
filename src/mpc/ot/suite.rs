//! One suite of properties for the protocol and for the ideal functionality.

use proptest::prelude::*;
use rand_core::Rng;

use super::{
    super::share::{AdditiveShares, WordWidth},
    ideal,
    parameters::Parameters,
    testing::*,
};

use WordWidth::{Bits64, Bits128};

/// Something that ends in additive shares: Sender's, Receiver's.
type CorrelatedOt = fn(&Parameters, &[bool], &[Vec<i128>], u8) -> (AdditiveShares, AdditiveShares);

fn ideal_ot(
    parameters: &Parameters,
    choices: &[bool],
    values: &[Vec<i128>],
    seed: u8,
) -> (AdditiveShares, AdditiveShares) {
    ideal::deal(parameters, choices, values, &mut rng(seed))
}

fn real_ot(
    parameters: &Parameters,
    choices: &[bool],
    values: &[Vec<i128>],
    seed: u8,
) -> (AdditiveShares, AdditiveShares) {
    run(parameters, choices, values, seed, &mut |_, _| ()).unwrap()
}

/// The sum in the clear, wrapped into each word's ring.
fn plain(parameters: &Parameters, choices: &[bool], values: &[Vec<i128>]) -> Vec<i128> {
    let sums = values.iter().zip(parameters.words()).map(|(values, width)| {
        let chosen = values.iter().zip(choices).filter(|(_, chosen)| **chosen);
        let sum = chosen.fold(0i128, |sum, (value, _)| sum.wrapping_add(*value));
        match width {
            Bits64 => sum as i64 as i128,
            Bits128 => sum,
        }
    });
    sums.collect()
}

/// Values with the ring's ends among them.
fn values(rows: usize, words: &[WordWidth], seed: u8) -> Vec<Vec<i128>> {
    let mut rng = rng(seed);
    words
        .iter()
        .map(|width| {
            (0..rows)
                .map(|row| {
                    let random = (rng.next_u64() as i128) << 64 | rng.next_u64() as i128;
                    match (width, row % 7) {
                        (_, 0) => -((row % 1000) as i128),
                        (Bits64, 1) => i64::MIN as i128,
                        (Bits64, _) => random as i64 as i128,
                        (Bits128, 1) => i128::MIN,
                        (Bits128, _) => random,
                    }
                })
                .collect()
        })
        .collect()
}

fn check(ot: CorrelatedOt, parameters: &Parameters, choices: &[bool], case: &str) {
    let values = values(parameters.rows(), parameters.words(), 7);
    let (sender, receiver) = ot(parameters, choices, &values, 11);
    let opened = AdditiveShares::open(&sender, &receiver).unwrap();
    assert_eq!(opened, plain(parameters, choices, &values), "{case}");
    if parameters.rows() > 0 {
        let zero = vec![0; parameters.words().len()];
        assert_ne!(sender.words(), zero, "{case}: the Sender's share masks nothing");
        assert_ne!(receiver.words(), zero, "{case}: the Receiver's share masks nothing");
    }
}

fn suite(ot: CorrelatedOt) {
    let mut random = rng(5);
    for k in [1, 2, 4, 8] {
        for rows in [0, 1, 127, 128, 129, 5000] {
            let parameters = parameters(k, rows, &[Bits64, Bits128, Bits64]);
            check(ot, &parameters, &vec![false; rows], &format!("k {k}, {rows} rows, none chosen"));
            check(ot, &parameters, &vec![true; rows], &format!("k {k}, {rows} rows, all chosen"));
            let choices: Vec<bool> = (0..rows).map(|_| random.next_u32() % 2 == 1).collect();
            check(ot, &parameters, &choices, &format!("k {k}, {rows} rows, random ones chosen"));
        }
    }
    let choices: Vec<bool> = (0..300).map(|row| row % 3 == 1).collect();
    for words in [vec![Bits64], vec![Bits128], vec![Bits64, Bits64], vec![Bits128; 3], [Bits64, Bits128].repeat(20)] {
        check(ot, &parameters(4, 300, &words), &choices, &format!("words {words:?}"));
    }
}

#[test]
fn the_ideal_functionality_gives_the_sum_over_chosen_rows() {
    suite(ideal_ot);
}

#[test]
fn the_protocol_gives_the_sum_over_chosen_rows() {
    suite(real_ot);
}

#[test]
fn many_chunks_give_the_same_sum_as_one() {
    // The least chunk: 32 blocks of corrections at k = 1 and 64 rows or more of payload.
    let rows = 20_000;
    let choices: Vec<bool> = (0..rows).map(|row| row % 5 != 0).collect();
    for (k, words) in [(1, [Bits128].repeat(40)), (4, vec![Bits64]), (8, vec![Bits64; 3])] {
        let parameters = parameters(k, rows, &words).with_chunk_bytes(super::CHUNK_BYTES_MIN).unwrap();
        assert!(parameters.correction_chunks() + parameters.payload_chunks() > 3, "k {k}: not chunked");
        check(real_ot, &parameters, &choices, &format!("k {k}"));
    }
}

#[test]
fn any_number_of_threads_sends_the_same_bytes() {
    let parameters = parameters(4, 30_000, &[Bits64, Bits128]);
    let choices: Vec<bool> = (0..30_000).map(|row| row % 3 == 0).collect();
    let values = values(30_000, parameters.words(), 1);
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut all = vec![];
        pool.install(|| run(&parameters, &choices, &values, 3, &mut |_, bytes| all.extend_from_slice(bytes))).unwrap();
        all
    };
    assert!(bytes(1) == bytes(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn protocol_and_ideal_open_to_the_same(
        k in prop::sample::select(vec![1u8, 2, 4, 8]),
        choices in prop::collection::vec(any::<bool>(), 0..400),
        wide in prop::collection::vec(any::<bool>(), 1..5),
        seed in any::<u8>(),
    ) {
        let words: Vec<WordWidth> = wide.iter().map(|wide| if *wide { Bits128 } else { Bits64 }).collect();
        let parameters = parameters(k, choices.len(), &words);
        let values = values(choices.len(), &words, seed);
        let (a, b) = real_ot(&parameters, &choices, &values, seed);
        let (c, d) = ideal_ot(&parameters, &choices, &values, seed);
        prop_assert_eq!(AdditiveShares::open(&a, &b).unwrap(), AdditiveShares::open(&c, &d).unwrap());
    }
}
