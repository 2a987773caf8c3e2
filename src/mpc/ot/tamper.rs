//! What happens when a message is not what an honest peer sent.

use super::{
    super::{
        error::{Misuse, OtError, PeerMisbehaved},
        share::{AdditiveShares, WordWidth},
    },
    messages::{BaseReply, Corrections, Message, Payload},
    pads::Values,
    parameters::Parameters,
    receiver::{Choices, Receiver, ReceiverExtending},
    sender::{Sender, SenderExtending},
    testing::*,
};
use rand_core::Rng;

const ROWS: usize = 300;

fn shape(k: u8) -> (Parameters, Vec<bool>, Vec<Vec<i128>>) {
    let parameters = parameters(k, ROWS, &[WordWidth::Bits64]);
    let choices = (0..ROWS).map(|row| row % 3 == 0).collect();
    (parameters, choices, vec![(0..ROWS as i128).map(|row| 100 - row).collect()])
}

/// The outcome of a run in which bit `bit` of the first message called `name` was flipped.
fn flipped(k: u8, name: &'static str, bit: usize) -> Result<Vec<i128>, OtError> {
    let (parameters, choices, values) = shape(k);
    let mut hit = false;
    let shares = run(&parameters, &choices, &values, 9, &mut |message, bytes| {
        if message == name && !hit {
            bytes[bit / 8] ^= 1 << (bit % 8);
            hit = true;
        }
    });
    assert!(hit, "{name} was never sent");
    shares.map(|(sender, receiver)| AdditiveShares::open(&sender, &receiver).unwrap())
}

fn peer(error: OtError) -> PeerMisbehaved {
    match error {
        OtError::Peer(fault) => fault,
        OtError::Caller(misuse) => panic!("blames the caller: {misuse}"),
    }
}

/// Bits of a message of `bytes` bytes: both ends, and some between.
fn some_bits(bytes: usize, count: usize) -> impl Iterator<Item = usize> {
    let last = 8 * bytes - 1;
    (0..count).map(move |index| index * last / (count - 1))
}

#[test]
fn a_flipped_bit_in_the_base_messages_aborts() {
    for k in [1, 4] {
        let (parameters, ..) = shape(k);
        for bit in some_bits(128 * 64, 12) {
            let fault = peer(flipped(k, "BaseChoices", bit).unwrap_err());
            let named = matches!(
                fault,
                PeerMisbehaved::NotAnElement { message: "BaseChoices", .. } | PeerMisbehaved::TreeCheck
            );
            assert!(named, "k {k} bit {bit}: {fault}");
        }
        // A sum that Δ keeps closed is seen by the transcript alone, thus at the consistency check.
        for bit in some_bits(BaseReply::row_bytes(&parameters) * 128 / k as usize, 40) {
            let fault = peer(flipped(k, "BaseReply", bit).unwrap_err());
            let named = matches!(
                fault,
                PeerMisbehaved::NotAnElement { message: "BaseReply", .. }
                    | PeerMisbehaved::TreeCheck
                    | PeerMisbehaved::ConsistencyCheck
            );
            assert!(named, "k {k} bit {bit}: {fault}");
        }
    }
}

#[test]
fn a_flipped_bit_in_corrections_challenge_or_check_aborts_at_the_check() {
    for k in [1, 2, 4, 8] {
        let (parameters, ..) = shape(k);
        let corrections = Corrections::row_bytes(&parameters) * (ROWS.div_ceil(128) + 1);
        for (name, bytes) in [("Corrections", corrections), ("Challenge", 16), ("Check", 1032)] {
            for bit in some_bits(bytes, 9) {
                let fault = peer(flipped(k, name, bit).unwrap_err());
                assert_eq!(fault, PeerMisbehaved::ConsistencyCheck, "k {k} {name} bit {bit}");
            }
        }
    }
}

#[test]
fn a_flipped_payload_bit_only_changes_the_value_that_it_masks_so_nobody_need_notice() {
    let (_, choices, values) = shape(4);
    let sum: i128 = values[0].iter().zip(&choices).filter(|(_, chosen)| **chosen).map(|(value, _)| value).sum();
    for (row, bit) in [(0, 0), (3, 5), (297, 40)] {
        let opened = flipped(4, "Payload", 64 * row + bit).unwrap()[0];
        assert_eq!((opened - sum).abs(), 1 << bit, "chosen row {row}");
    }
    for row in [1, 2, 299] {
        assert_eq!(flipped(4, "Payload", 64 * row).unwrap(), vec![sum], "row {row}, not chosen");
    }
}

#[test]
fn a_receiver_that_lies_to_one_tree_is_caught_unless_it_guessed_that_part_of_delta() {
    // It flips one correction for tree j alone, and hashes its own lie. Guessing Δ_j = 0 is what it
    // amounts to.
    let (parameters, choices, _) = shape(2);
    let mut delta = [0; 16];
    rng(9).fill_bytes(&mut delta);
    let delta = u128::from_le_bytes(delta);
    let mut passed = 0;
    for tree in 0..64 {
        let (mut sender, mut receiver) = extending(&parameters, &choices);
        let corrections = receiver.corrections_then(|bytes| bytes[16 * tree + 3] ^= 4).unwrap();
        sender = sender.accept(corrections).unwrap();
        let outcome = answer(sender, receiver);
        if delta >> (2 * tree) & 3 == 0 {
            assert_eq!(outcome, Ok(()), "tree {tree}: its part of Δ is 0, the lie has no effect");
            passed += 1;
        } else {
            assert_eq!(outcome, Err(OtError::Peer(PeerMisbehaved::ConsistencyCheck)), "tree {tree}");
        }
    }
    assert!((1..64).contains(&passed), "{passed}: both cases must occur");
}

#[test]
fn a_receiver_that_changes_its_mind_in_all_trees_is_caught_by_its_own_answer() {
    let (parameters, choices, _) = shape(4);
    let (sender, mut receiver) = extending(&parameters, &choices);
    let corrections = receiver.corrections_then(|bytes| (0..32).for_each(|tree| bytes[16 * tree + 3] ^= 4)).unwrap();
    let outcome = answer(sender.accept(corrections).unwrap(), receiver);
    assert_eq!(outcome, Err(OtError::Peer(PeerMisbehaved::ConsistencyCheck)));
}

/// Both ends, ready to extend; the Sender's from seed 9.
fn extending(parameters: &Parameters, choices: &[bool]) -> (SenderExtending, ReceiverExtending) {
    let receiver = Receiver::start(parameters.clone(), BINDING, Choices::new(choices.iter().copied())).unwrap();
    let (sender, base) = Sender::start(parameters.clone(), BINDING, &mut rng(9));
    let (receiver, reply) = receiver.reply(base, &mut rng(10)).unwrap();
    (sender.reply(reply).unwrap(), receiver)
}

fn answer(sender: SenderExtending, receiver: ReceiverExtending) -> Result<(), OtError> {
    let (sender, challenge) = sender.challenge(&mut rng(12))?;
    let (_, check) = receiver.finish()?.answer(challenge)?;
    sender.verify(check).map(drop)
}

#[test]
fn chunks_that_are_dropped_repeated_resized_or_reordered_are_refused() {
    let rows = 20_000;
    let parameters = parameters(1, rows, &[WordWidth::Bits64]).with_chunk_bytes(super::CHUNK_BYTES_MIN).unwrap();
    let choices = vec![true; rows];
    let chunks = |receiver: &mut ReceiverExtending| std::iter::from_fn(|| receiver.corrections()).collect::<Vec<_>>();

    let (sender, mut receiver) = extending(&parameters, &choices);
    let all = chunks(&mut receiver);
    assert!(all.len() > 2 && all[0].bytes().len() == all[1].bytes().len());
    let accept = |sender: SenderExtending, order: &[usize]| {
        order.iter().try_fold(sender, |sender, index| sender.accept(all[*index].clone()))
    };
    let complete: Vec<usize> = (0..all.len()).collect();
    let full = accept(sender, &complete).unwrap();
    assert_eq!(full.blocks_left(), 0);
    let last = all[all.len() - 1].bytes().len() / 2048;
    let surplus = PeerMisbehaved::Rows { message: "Corrections", expected: 0, found: last };
    assert_eq!(full.accept(all[all.len() - 1].clone()).err(), Some(OtError::Peer(surplus)));

    let (sender, _) = extending(&parameters, &choices);
    let dropped = accept(sender, &complete[..all.len() - 1]).unwrap();
    let misuse = Misuse::Incomplete { step: "corrections", left: last };
    assert_eq!(dropped.challenge(&mut rng(1)).err(), Some(OtError::Caller(misuse)));

    let (sender, _) = extending(&parameters, &choices);
    let short = Corrections::decode(&parameters, 2048, all[0].bytes()[2048..].to_vec()).unwrap();
    assert!(matches!(sender.accept(short).err(), Some(OtError::Peer(PeerMisbehaved::Rows { .. }))));

    let (sender, mut receiver) = extending(&parameters, &choices);
    chunks(&mut receiver);
    let mut swapped = complete;
    swapped.swap(0, 1);
    let outcome = answer(accept(sender, &swapped).unwrap(), receiver);
    assert_eq!(outcome, Err(OtError::Peer(PeerMisbehaved::ConsistencyCheck)));
}

#[test]
fn payload_of_another_size_than_due_is_refused() {
    let (parameters, choices, _) = shape(4);
    let (mut sender, mut receiver) = extending(&parameters, &choices);
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(corrections).unwrap();
    }
    let (_, challenge) = sender.challenge(&mut rng(12)).unwrap();
    let (paid, _) = receiver.finish().unwrap().answer(challenge).unwrap();
    assert_eq!(paid.rows_left(), ROWS);
    let short = Payload::decode(&parameters, 8, vec![0; 8 * (ROWS - 1)]).unwrap();
    let expected = PeerMisbehaved::Rows { message: "Payload", expected: ROWS, found: ROWS - 1 };
    assert_eq!(paid.accept(short).err(), Some(OtError::Peer(expected)));
}

#[test]
fn ends_that_disagree_about_session_direction_or_shape_do_not_get_past_the_trees() {
    use crate::mpc::{Binding, ValueOwner};
    let (parameters, choices, _) = shape(4);
    let mut others = vec![
        (parameters.clone(), Binding { session: b"another", ..BINDING }),
        (parameters.clone(), Binding { owner: ValueOwner::Requester, ..BINDING }),
        (parameters.clone(), Binding { instance: 1, ..BINDING }),
    ];
    let wider = super::testing::parameters(4, ROWS, &[WordWidth::Bits128]);
    others.push((wider, BINDING));
    for (index, (other, binding)) in others.into_iter().enumerate() {
        let receiver = Receiver::start(other, binding, Choices::new(choices.iter().copied())).unwrap();
        let (sender, base) = Sender::start(parameters.clone(), BINDING, &mut rng(9));
        let (_, reply) = receiver.reply(base, &mut rng(10)).unwrap();
        assert_eq!(sender.reply(reply).err(), Some(OtError::Peer(PeerMisbehaved::TreeCheck)), "{index}");
    }
}

#[test]
fn callers_are_told_what_they_got_wrong_and_can_try_the_chunk_again() {
    let (parameters, choices, _) = shape(4);
    let wrong = Receiver::start(parameters.clone(), BINDING, Choices::new([true]));
    assert_eq!(wrong.err(), Some(Misuse::ChoiceCount { expected: ROWS, found: 1 }.into()));

    let (mut sender, mut receiver) = extending(&parameters, &choices);
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(corrections).unwrap();
    }
    let (sender, challenge) = sender.challenge(&mut rng(12)).unwrap();
    let (paid, check) = receiver.finish().unwrap().answer(challenge).unwrap();
    let mut sender = sender.verify(check).unwrap();
    let values = vec![1i64; ROWS + 1];
    let fine = [Values::Bits64(&values[1..])];
    assert_eq!(sender.pay(&[]).err(), Some(Misuse::ColumnCount { expected: 1, found: 0 }.into()));
    let short = Misuse::ValueCount { word: 0, expected: ROWS, found: ROWS + 1 };
    assert_eq!(sender.pay(&[Values::Bits64(&values)]).err(), Some(short.into()));
    let wide = sender.pay(&[Values::Bits128(&[0; ROWS])]);
    assert_eq!(wide.err(), Some(Misuse::ValueWidth { word: 0 }.into()));
    let payload = sender.pay(&fine).unwrap();
    let surplus = Misuse::ValueCount { word: 0, expected: 0, found: ROWS };
    assert_eq!(sender.pay(&fine).err(), Some(surplus.into()));
    assert!(sender.random_pairs(0..ROWS).is_ok());
    let range = Misuse::RowRange { end: ROWS + 1, rows: ROWS };
    assert_eq!(sender.random_pairs(0..ROWS + 1).err(), Some(range.into()));
    assert!(paid.random_chosen(ROWS..ROWS).is_ok_and(|none| none.chosen.is_empty()));
    let paid = paid.accept(payload).unwrap();
    let opened = AdditiveShares::open(&sender.finish().unwrap(), &paid.finish().unwrap()).unwrap();
    assert_eq!(opened, vec![100], "every third of {ROWS} rows");
}

#[test]
fn a_run_without_words_ends_with_random_ots_alone() {
    let parameters = parameters(4, ROWS, &[]);
    let (_, choices, _) = shape(4);
    let (mut sender, mut receiver) = extending(&parameters, &choices);
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(corrections).unwrap();
    }
    let (sender, challenge) = sender.challenge(&mut rng(12)).unwrap();
    let (paid, check) = receiver.finish().unwrap().answer(challenge).unwrap();
    let mut sender = sender.verify(check).unwrap();
    let (pairs, chosen) = (sender.random_pairs(7..200).unwrap(), paid.random_chosen(7..200).unwrap());
    for (index, row) in (7..200).enumerate() {
        let [own, other] = if choices[row] { [&pairs.one, &pairs.zero] } else { [&pairs.zero, &pairs.one] };
        assert_eq!(chosen.chosen[index], own[index], "row {row}");
        assert_ne!(chosen.chosen[index], other[index], "row {row}");
    }
    assert!(sender.next_rows().is_none() && paid.rows_left() == 0 && sender.pay(&[]).is_err());
    assert!(sender.finish().unwrap().words().is_empty() && paid.finish().unwrap().words().is_empty());
}

#[test]
fn an_end_before_all_payload_is_refused_because_the_sum_would_be_partial() {
    let (parameters, choices, _) = shape(4);
    let (mut sender, mut receiver) = extending(&parameters, &choices);
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(corrections).unwrap();
    }
    let (sender, challenge) = sender.challenge(&mut rng(12)).unwrap();
    let (paid, check) = receiver.finish().unwrap().answer(challenge).unwrap();
    let left = OtError::Caller(Misuse::Incomplete { step: "payload", left: ROWS });
    assert_eq!(paid.finish().err(), Some(left.clone()));
    assert_eq!(sender.verify(check).unwrap().finish().err(), Some(left));
    let (_, receiver) = extending(&parameters, &choices);
    let left = Misuse::Incomplete { step: "corrections", left: 4 };
    assert_eq!(receiver.finish().err(), Some(left.into()));
}
