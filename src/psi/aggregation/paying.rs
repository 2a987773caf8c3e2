//! The OT Sender's side of one instance: the responder's, whoever owns the values.

use crate::crypto::ChaCha20Rng;
use crate::mpc::{
    AdditiveShares, BaseChoices, BaseReply, Binding, Check, Corrections, Message, Parameters, Sender,
    SenderChallenging, SenderExtending, SenderPaying, Values, WordWidth,
};

use super::{Error, Phase, Step, decode, ot_error};

/// One instance, at the point that its phase is at.
pub(super) struct Paying {
    parameters: Parameters,
    state: State,
}

enum State {
    Choices(Sender, BaseChoices),
    Reply(Sender),
    Corrections(SenderExtending),
    Check(SenderChallenging),
    Payload(SenderPaying),
    Moving,
}

impl Paying {
    pub(super) fn start(parameters: Parameters, binding: Binding<'_>, rng: &mut ChaCha20Rng) -> Self {
        let (sender, choices) = Sender::start(parameters.clone(), binding, rng);
        Paying { parameters, state: State::Choices(sender, choices) }
    }

    /// The next message. `columns` gives the values of the rows that a payload is for, a column per word.
    pub(super) fn send(
        &mut self,
        step: Step,
        phase: Phase,
        columns: impl FnOnce() -> Vec<Column>,
        rng: &mut ChaCha20Rng,
    ) -> Result<Vec<u8>, Error> {
        let failed = |error| ot_error(phase, error);
        let (state, bytes) = match (step, std::mem::replace(&mut self.state, State::Moving)) {
            (Step::Choices, State::Choices(sender, choices)) => (State::Reply(sender), choices.into_bytes()),
            (Step::Challenge, State::Corrections(sender)) => {
                let (sender, challenge) = sender.challenge(rng).map_err(failed)?;
                (State::Check(sender), challenge.into_bytes())
            }
            (Step::Payload, State::Payload(mut sender)) => {
                let columns = columns();
                let values: Vec<Values<'_>> = columns.iter().map(Column::values).collect();
                let payload = sender.pay(&values).map_err(failed)?;
                (State::Payload(sender), payload.into_bytes())
            }
            _ => return Err(Error::internal("the OT sender is in another state than its phase")),
        };
        self.state = state;
        Ok(bytes)
    }

    pub(super) fn receive(&mut self, step: Step, phase: Phase, width: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let failed = |error| ot_error(phase, error);
        let parameters = &self.parameters;
        self.state = match (step, std::mem::replace(&mut self.state, State::Moving)) {
            (Step::Reply, State::Reply(sender)) => {
                let reply = decode::<BaseReply>(phase, parameters, width, bytes)?;
                State::Corrections(sender.reply(reply).map_err(failed)?)
            }
            (Step::Corrections, State::Corrections(sender)) => {
                let corrections = decode::<Corrections>(phase, parameters, width, bytes)?;
                State::Corrections(sender.accept(corrections).map_err(failed)?)
            }
            (Step::Check, State::Check(sender)) => {
                let check = decode::<Check>(phase, parameters, width, bytes)?;
                State::Payload(sender.verify(check).map_err(failed)?)
            }
            _ => return Err(Error::internal("the OT sender is in another state than its phase")),
        };
        Ok(())
    }

    /// This side's shares, after the payload.
    pub(super) fn finish(self, phase: Phase) -> Result<AdditiveShares, Error> {
        match self.state {
            State::Payload(sender) => sender.finish().map_err(|error| ot_error(phase, error)),
            _ => Err(Error::internal("the oblivious transfer has not ended")),
        }
    }
}

/// One word's values for the rows of a payload batch.
pub(super) enum Column {
    Bits64(zeroize::Zeroizing<Vec<i64>>),
    Bits128(zeroize::Zeroizing<Vec<i128>>),
}

impl Column {
    /// The values in the word's ring, to which they are reduced.
    pub(super) fn of(width: WordWidth, values: impl Iterator<Item = i128>) -> Self {
        match width {
            WordWidth::Bits64 => Column::Bits64(zeroize::Zeroizing::new(values.map(|value| value as i64).collect())),
            WordWidth::Bits128 => Column::Bits128(zeroize::Zeroizing::new(values.collect())),
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Column::Bits64(values) => Values::Bits64(values),
            Column::Bits128(values) => Values::Bits128(values),
        }
    }
}
