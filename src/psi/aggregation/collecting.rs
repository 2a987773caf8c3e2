//! The OT Receiver's side of one instance: the requester's, whoever owns the values.

use crate::crypto::ChaCha20Rng;
use crate::mpc::{
    AdditiveShares, BaseChoices, BaseReply, Binding, Challenge, Check, Choices, Message, Parameters, Payload, Receiver,
    ReceiverExtending, ReceiverPaid,
};

use super::{Error, Phase, Step, decode, ot_error};

/// One instance, at the point that its phase is at.
pub(super) struct Collecting {
    parameters: Parameters,
    state: State,
}

enum State {
    Choices(Receiver),
    Reply(ReceiverExtending, BaseReply),
    Corrections(ReceiverExtending),
    Check(ReceiverPaid, Check),
    Payload(ReceiverPaid),
    Moving,
}

impl Collecting {
    pub(super) fn start(
        parameters: Parameters,
        binding: Binding<'_>,
        choices: Choices,
        phase: Phase,
    ) -> Result<Self, Error> {
        let receiver = Receiver::start(parameters.clone(), binding, choices).map_err(|error| ot_error(phase, error))?;
        Ok(Collecting { parameters, state: State::Choices(receiver) })
    }

    /// The next message.
    pub(super) fn send(&mut self, step: Step) -> Result<Vec<u8>, Error> {
        let (state, bytes) = match (step, std::mem::replace(&mut self.state, State::Moving)) {
            (Step::Reply, State::Reply(receiver, reply)) => (State::Corrections(receiver), reply.into_bytes()),
            (Step::Corrections, State::Corrections(mut receiver)) => {
                let corrections = receiver
                    .corrections()
                    .ok_or_else(|| Error::internal("corrections are due where there are none"))?;
                (State::Corrections(receiver), corrections.into_bytes())
            }
            (Step::Check, State::Check(receiver, check)) => (State::Payload(receiver), check.into_bytes()),
            _ => return Err(Error::internal("the OT receiver is in another state than its phase")),
        };
        self.state = state;
        Ok(bytes)
    }

    pub(super) fn receive(
        &mut self,
        step: Step,
        phase: Phase,
        width: usize,
        bytes: Vec<u8>,
        rng: &mut ChaCha20Rng,
    ) -> Result<(), Error> {
        let failed = |error| ot_error(phase, error);
        let parameters = &self.parameters;
        self.state = match (step, std::mem::replace(&mut self.state, State::Moving)) {
            (Step::Choices, State::Choices(receiver)) => {
                let choices = decode::<BaseChoices>(phase, parameters, width, bytes)?;
                let (receiver, reply) = receiver.reply(choices, rng).map_err(failed)?;
                State::Reply(receiver, reply)
            }
            (Step::Challenge, State::Corrections(receiver)) => {
                let challenge = decode::<Challenge>(phase, parameters, width, bytes)?;
                let receiver = receiver.finish().map_err(failed)?;
                let (receiver, check) = receiver.answer(challenge).map_err(failed)?;
                State::Check(receiver, check)
            }
            (Step::Payload, State::Payload(receiver)) => {
                let payload = decode::<Payload>(phase, parameters, width, bytes)?;
                State::Payload(receiver.accept(payload).map_err(failed)?)
            }
            _ => return Err(Error::internal("the OT receiver is in another state than its phase")),
        };
        Ok(())
    }

    /// This side's shares, after the payload.
    pub(super) fn finish(self, phase: Phase) -> Result<AdditiveShares, Error> {
        match self.state {
            State::Payload(receiver) => receiver.finish().map_err(|error| ot_error(phase, error)),
            _ => Err(Error::internal("the oblivious transfer has not ended")),
        }
    }
}
