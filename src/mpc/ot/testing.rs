//! What this room's tests share.

use rand_core::SeedableRng;

use crate::crypto::ChaCha20Rng;

use super::{
    super::{
        domain::{Binding, Bound, ValueOwner},
        error::OtError,
        share::{AdditiveShares, WordWidth},
    },
    messages::Message,
    pads::Values,
    parameters::{FieldBits, Parameters},
    receiver::{Choices, Receiver},
    sender::Sender,
};

/// The binding of all tests that do not vary it.
pub(super) const BINDING: Binding<'static> =
    Binding { session: b"a session's transcript", owner: ValueOwner::Responder, instance: 0 };

pub(super) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

pub(super) fn parameters(k: u8, rows: usize, words: &[WordWidth]) -> Parameters {
    Parameters::new(FieldBits::try_from(k).unwrap(), rows, words.to_vec()).unwrap()
}

pub(super) fn bound(parameters: &Parameters) -> Bound {
    parameters.bind(BINDING)
}

/// A chunk's values in the columns that the words ask for.
pub(super) fn with_columns<T>(
    parameters: &Parameters,
    values: &[Vec<i128>],
    rows: std::ops::Range<usize>,
    then: impl FnOnce(&[Values<'_>]) -> T,
) -> T {
    let narrow: Vec<Vec<i64>> =
        values.iter().map(|values| values[rows.clone()].iter().map(|value| *value as i64).collect()).collect();
    let columns: Vec<Values<'_>> = (values.iter().zip(&narrow).zip(parameters.words()))
        .map(|((wide, narrow), width)| match width {
            WordWidth::Bits64 => Values::Bits64(narrow),
            WordWidth::Bits128 => Values::Bits128(&wide[rows.clone()]),
        })
        .collect();
    then(&columns)
}

/// One run from `seed`, every message passing through `wire` by name, and through its decoder.
/// `values` are by word, then by row.
pub(super) fn run(
    parameters: &Parameters,
    choices: &[bool],
    values: &[Vec<i128>],
    seed: u8,
    wire: &mut dyn FnMut(&'static str, &mut Vec<u8>),
) -> Result<(AdditiveShares, AdditiveShares), OtError> {
    let mut sender_rng = rng(seed);
    let mut receiver_rng = rng(!seed);
    let receiver = Receiver::start(parameters.clone(), BINDING, Choices::new(choices.iter().copied())).unwrap();
    let (sender, base) = Sender::start(parameters.clone(), BINDING, &mut sender_rng);
    let (mut receiver, reply) = receiver.reply(pass(parameters, base, wire)?, &mut receiver_rng)?;
    let mut sender = sender.reply(pass(parameters, reply, wire)?)?;
    while let Some(corrections) = receiver.corrections() {
        sender = sender.accept(pass(parameters, corrections, wire)?)?;
    }
    let receiver = receiver.finish()?;
    let (sender, challenge) = sender.challenge(&mut sender_rng)?;
    let (mut receiver, check) = receiver.answer(pass(parameters, challenge, wire)?)?;
    let mut sender = sender.verify(pass(parameters, check, wire)?)?;
    while let Some(rows) = sender.next_rows() {
        let payload = with_columns(parameters, values, rows, |columns| sender.pay(columns))?;
        receiver = receiver.accept(pass(parameters, payload, wire)?)?;
    }
    Ok((sender.finish()?, receiver.finish()?))
}

fn pass<M: Message>(
    parameters: &Parameters,
    message: M,
    wire: &mut dyn FnMut(&'static str, &mut Vec<u8>),
) -> Result<M, OtError> {
    let mut bytes = message.into_bytes();
    wire(M::NAME, &mut bytes);
    Ok(M::decode(parameters, M::row_bytes(parameters), bytes)?)
}
