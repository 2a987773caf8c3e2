//! Aggregation: from "which peer rows matched" and "which value a row has" to additive shares of the sums.
//!
//! One correlated oblivious transfer per row and owner (room `mpc`). Where the responder owns values, the requester
//! is the OT receiver, its choice bits being the responder's rows that it saw matched; where the requester owns
//! values, the other way round. Both instances run in the same phases, in opposite directions.
//!
//! | phase | OT sender (owner of values) | OT receiver (knows which rows matched) |
//! |---|---|---|
//! | ot-choices | base choices, 128 rows | |
//! | ot-reply | | base reply, 128/k rows |
//! | ot-corrections | | corrections, a row for 128 OTs and one more |
//! | ot-challenge | challenge, 1 row | |
//! | ot-check | | check, 1 row |
//! | ot-payload | payload, a row for each row of its table | |
//!
//! The payload leaves only after the check has passed: the types of `mpc` see to it.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use rand_chacha::ChaCha20Rng;

use crate::mpc::{
    AdditiveShares, BaseChoices, BaseReply, Binding, Challenge, Check, Choices, Corrections, FieldBits, Message,
    Misuse, OtError, Parameters, Payload, Receiver, ReceiverExtending, ReceiverPaid, Sender, SenderChallenging,
    SenderExtending, SenderPaying, ValueOwner, Values, WordWidth,
};

use super::frame::{Inbound, Outbound, binary_column, binary_schema};
use super::matching::Matches;
use super::run::Agreed;
use super::table::WireTable;
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

const PHASES: [Phase; 6] =
    [Phase::OtChoices, Phase::OtReply, Phase::OtCorrections, Phase::OtChallenge, Phase::OtCheck, Phase::OtPayload];

/// Both instances of one party, where it has them.
pub(crate) struct Aggregation {
    role: Role,
    paying: Option<Paying>,
    collecting: Option<Collecting>,
    phase: usize,
    outbound: Outbound,
    inbound: Inbound,
    out_schema: SchemaRef,
    rng: ChaCha20Rng,
}

/// This party's additive shares, by owner of the values.
pub(crate) struct Owned {
    role: Role,
    /// Shares of sums over this party's values.
    own: Option<AdditiveShares>,
    /// Shares of sums over the peer's values.
    peer: Option<AdditiveShares>,
}

impl Owned {
    /// One share per aggregate, in the question's order.
    pub(crate) fn in_question_order(self, agreed: &Agreed) -> Result<AdditiveShares, Error> {
        let words = |shares: Option<AdditiveShares>| shares.map_or(Vec::new(), |shares| shares.words().to_vec());
        let (mut own, mut peer) = (words(self.own).into_iter(), words(self.peer).into_iter());
        let mut shares = Vec::with_capacity(agreed.words.len());
        for word in &agreed.words {
            let next = if word.owner == self.role { own.next() } else { peer.next() };
            shares.push(next.ok_or_else(|| Error::internal("an aggregate has no share"))?);
        }
        AdditiveShares::new(agreed.words.iter().map(|word| word.width).collect(), shares).map_err(Error::internal)
    }
}

/// The OT sender's side: this party owns the values.
struct Paying {
    parameters: Parameters,
    table: WireTable,
    state: PayingState,
}

enum PayingState {
    Choices(Sender, BaseChoices),
    Reply(Sender),
    Corrections(SenderExtending),
    Check(SenderChallenging),
    Payload(SenderPaying),
    Moving,
}

/// The OT receiver's side: the peer owns the values.
struct Collecting {
    parameters: Parameters,
    state: CollectingState,
}

enum CollectingState {
    Choices(Receiver),
    Reply(ReceiverExtending, BaseReply),
    Corrections(ReceiverExtending),
    Check(ReceiverPaid, Check),
    Payload(ReceiverPaid),
    Moving,
}

impl Aggregation {
    /// Opens the phase `ot-choices`.
    pub(crate) fn new(role: Role, agreed: &Agreed, matches: Matches, mut rng: ChaCha20Rng) -> Result<Self, Error> {
        let field_bits = FieldBits::try_from(agreed.ot_width).map_err(Error::internal)?;
        let owner = |role| match role {
            Role::Requester => ValueOwner::Requester,
            Role::Responder => ValueOwner::Responder,
        };
        let binding = |role| Binding { session: agreed.transcript.as_slice(), owner: owner(role), instance: 0 };
        let widths = |mine: bool| -> Vec<WordWidth> {
            agreed.words.iter().filter(|word| (word.owner == role) == mine).map(|word| word.width).collect()
        };
        let peer_role = match role {
            Role::Requester => Role::Responder,
            Role::Responder => Role::Requester,
        };
        let Matches { table, peer_rows_matched, .. } = matches;
        let mut paying = None;
        if !widths(true).is_empty() {
            let parameters = Parameters::new(field_bits, table.rows(), widths(true)).map_err(misuse)?;
            let (sender, choices) = Sender::start(parameters.clone(), binding(role), &mut rng);
            paying = Some(Paying { parameters, table, state: PayingState::Choices(sender, choices) });
        }
        let mut collecting = None;
        if !widths(false).is_empty() {
            let parameters = Parameters::new(field_bits, peer_rows_matched.len(), widths(false)).map_err(misuse)?;
            let choices = Choices::new(peer_rows_matched);
            let receiver = Receiver::start(parameters.clone(), binding(peer_role), choices)
                .map_err(|error| ot_error(Phase::OtChoices, error))?;
            collecting = Some(Collecting { parameters, state: CollectingState::Choices(receiver) });
        }
        let mut aggregation = Aggregation {
            role,
            paying,
            collecting,
            phase: 0,
            outbound: Outbound::new(0),
            inbound: Inbound::new(PHASES[0], binary_schema(&[]), 0),
            out_schema: binary_schema(&[]),
            rng,
        };
        aggregation.open();
        Ok(aggregation)
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        PHASES.get(self.phase).copied()
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        (Arc::clone(&self.out_schema), Arc::clone(self.inbound.schema()))
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            rows_done: self.outbound.sent() + self.inbound.seen(),
            rows_total: self.outbound.total() + self.inbound.total(),
        }
    }

    /// Sets both directions of the open phase up: a direction that has no instance has no rows.
    fn open(&mut self) {
        let Some(phase) = self.phase() else { return };
        let (paying, collecting) = (self.paying.as_ref(), self.collecting.as_ref());
        let (out, incoming) = if from_sender(phase) {
            (paying.map(|leg| &leg.parameters), collecting.map(|leg| &leg.parameters))
        } else {
            (collecting.map(|leg| &leg.parameters), paying.map(|leg| &leg.parameters))
        };
        let shape = |parameters: Option<&Parameters>| parameters.map_or(Shape::NONE, |p| Shape::of(phase, p));
        let (out, incoming) = (shape(out), shape(incoming));
        self.out_schema = out.schema(phase);
        self.outbound = Outbound::new(out.rows).in_frames_of(out.frame_rows);
        self.inbound = Inbound::new(phase, incoming.schema(phase), incoming.rows).in_frames_of(incoming.frame_rows);
    }

    pub(crate) fn poll_output(&mut self) -> Result<Output, Error> {
        let phase = self.phase().ok_or_else(|| Error::internal("the aggregation has ended"))?;
        let Some(rows) = self.outbound.next_rows() else { return Ok(Output::Done) };
        let bytes = match (phase, &mut self.paying, &mut self.collecting) {
            (Phase::OtChoices | Phase::OtChallenge | Phase::OtPayload, Some(paying), _) => {
                paying.send(phase, rows, &mut self.rng)?
            }
            (Phase::OtReply | Phase::OtCorrections | Phase::OtCheck, _, Some(collecting)) => collecting.send(phase)?,
            _ => return Err(Error::internal("a phase of the oblivious transfer has rows but no instance")),
        };
        let width = row_width(&self.out_schema);
        let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(width, bytes.into(), None));
        RecordBatch::try_new(Arc::clone(&self.out_schema), vec![array]).map(Output::Batch).map_err(Error::internal)
    }

    pub(crate) fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let phase = self.phase().ok_or_else(|| Error::internal("the aggregation has ended"))?;
        let rows = self.inbound.accept(batch)?;
        let column = binary_column(batch, 0)?;
        let width = column.value_length() as usize;
        let mut bytes = Vec::with_capacity(rows.len() * width);
        bytes.extend(column.iter().flatten().flatten());
        match (phase, &mut self.paying, &mut self.collecting) {
            (Phase::OtReply | Phase::OtCorrections | Phase::OtCheck, Some(paying), _) => {
                paying.receive(phase, width, bytes)
            }
            (Phase::OtChoices | Phase::OtChallenge | Phase::OtPayload, _, Some(collecting)) => {
                collecting.receive(phase, width, bytes, &mut self.rng)
            }
            _ => Err(Error::internal("a phase of the oblivious transfer has rows but no instance")),
        }
    }

    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        Ok(self.inbound.end()?)
    }

    pub(crate) fn phase_ended(&self) -> bool {
        self.outbound.is_done() && self.inbound.is_ended()
    }

    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        self.phase += 1;
        self.open();
        Ok(())
    }

    /// The shares, after the last phase.
    pub(crate) fn finish(self) -> Result<Owned, Error> {
        let early = || Error::internal("the oblivious transfer has not ended");
        let (mut own, mut peer) = (None, None);
        if let Some(paying) = self.paying {
            let PayingState::Payload(sender) = paying.state else { return Err(early()) };
            own = Some(sender.finish().map_err(|error| ot_error(Phase::OtPayload, error))?);
        }
        if let Some(collecting) = self.collecting {
            let CollectingState::Payload(receiver) = collecting.state else { return Err(early()) };
            peer = Some(receiver.finish().map_err(|error| ot_error(Phase::OtPayload, error))?);
        }
        Ok(Owned { role: self.role, own, peer })
    }
}

impl Paying {
    fn send(&mut self, phase: Phase, rows: std::ops::Range<usize>, rng: &mut ChaCha20Rng) -> Result<Vec<u8>, Error> {
        let failed = |error| ot_error(phase, error);
        let (state, bytes) = match (phase, std::mem::replace(&mut self.state, PayingState::Moving)) {
            (Phase::OtChoices, PayingState::Choices(sender, choices)) => {
                (PayingState::Reply(sender), choices.into_bytes())
            }
            (Phase::OtChallenge, PayingState::Corrections(sender)) => {
                let (sender, challenge) = sender.challenge(rng).map_err(failed)?;
                (PayingState::Check(sender), challenge.into_bytes())
            }
            (Phase::OtPayload, PayingState::Payload(mut sender)) => {
                let columns: Vec<Column> = (0..self.table.value_columns())
                    .zip(self.parameters.words())
                    .map(|(value, width)| Column::of(*width, self.table.values(value, rows.clone())))
                    .collect();
                let values: Vec<Values<'_>> = columns.iter().map(Column::values).collect();
                let payload = sender.pay(&values).map_err(failed)?;
                (PayingState::Payload(sender), payload.into_bytes())
            }
            _ => return Err(Error::internal("the OT sender is in another state than its phase")),
        };
        self.state = state;
        Ok(bytes)
    }

    fn receive(&mut self, phase: Phase, width: usize, bytes: Vec<u8>) -> Result<(), Error> {
        let failed = |error| ot_error(phase, error);
        let parameters = &self.parameters;
        self.state = match (phase, std::mem::replace(&mut self.state, PayingState::Moving)) {
            (Phase::OtReply, PayingState::Reply(sender)) => {
                let reply = decode::<BaseReply>(phase, parameters, width, bytes)?;
                PayingState::Corrections(sender.reply(reply).map_err(failed)?)
            }
            (Phase::OtCorrections, PayingState::Corrections(sender)) => {
                let corrections = decode::<Corrections>(phase, parameters, width, bytes)?;
                PayingState::Corrections(sender.accept(corrections).map_err(failed)?)
            }
            (Phase::OtCheck, PayingState::Check(sender)) => {
                let check = decode::<Check>(phase, parameters, width, bytes)?;
                PayingState::Payload(sender.verify(check).map_err(failed)?)
            }
            _ => return Err(Error::internal("the OT sender is in another state than its phase")),
        };
        Ok(())
    }
}

impl Collecting {
    fn send(&mut self, phase: Phase) -> Result<Vec<u8>, Error> {
        let (state, bytes) = match (phase, std::mem::replace(&mut self.state, CollectingState::Moving)) {
            (Phase::OtReply, CollectingState::Reply(receiver, reply)) => {
                (CollectingState::Corrections(receiver), reply.into_bytes())
            }
            (Phase::OtCorrections, CollectingState::Corrections(mut receiver)) => {
                let corrections = receiver
                    .corrections()
                    .ok_or_else(|| Error::internal("corrections are due where there are none"))?;
                (CollectingState::Corrections(receiver), corrections.into_bytes())
            }
            (Phase::OtCheck, CollectingState::Check(receiver, check)) => {
                (CollectingState::Payload(receiver), check.into_bytes())
            }
            _ => return Err(Error::internal("the OT receiver is in another state than its phase")),
        };
        self.state = state;
        Ok(bytes)
    }

    fn receive(&mut self, phase: Phase, width: usize, bytes: Vec<u8>, rng: &mut ChaCha20Rng) -> Result<(), Error> {
        let failed = |error| ot_error(phase, error);
        let parameters = &self.parameters;
        self.state = match (phase, std::mem::replace(&mut self.state, CollectingState::Moving)) {
            (Phase::OtChoices, CollectingState::Choices(receiver)) => {
                let choices = decode::<BaseChoices>(phase, parameters, width, bytes)?;
                let (receiver, reply) = receiver.reply(choices, rng).map_err(failed)?;
                CollectingState::Reply(receiver, reply)
            }
            (Phase::OtChallenge, CollectingState::Corrections(receiver)) => {
                let challenge = decode::<Challenge>(phase, parameters, width, bytes)?;
                let receiver = receiver.finish().map_err(failed)?;
                let (receiver, check) = receiver.answer(challenge).map_err(failed)?;
                CollectingState::Check(receiver, check)
            }
            (Phase::OtPayload, CollectingState::Payload(receiver)) => {
                let payload = decode::<Payload>(phase, parameters, width, bytes)?;
                CollectingState::Payload(receiver.accept(payload).map_err(failed)?)
            }
            _ => return Err(Error::internal("the OT receiver is in another state than its phase")),
        };
        Ok(())
    }
}

/// One word's values for the rows of a payload batch.
enum Column {
    Bits64(zeroize::Zeroizing<Vec<i64>>),
    Bits128(zeroize::Zeroizing<Vec<i128>>),
}

impl Column {
    fn of(width: WordWidth, values: impl Iterator<Item = i128>) -> Self {
        match width {
            // Width follows from the clip bounds (`limits::word_width`), so a value that is not 0 fits.
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

/// One direction of a phase.
struct Shape {
    row_bytes: usize,
    rows: u64,
    frame_rows: usize,
}

impl Shape {
    const NONE: Shape = Shape { row_bytes: 1, rows: 0, frame_rows: 1 };

    fn of(phase: Phase, parameters: &Parameters) -> Shape {
        let one = |row_bytes: usize, rows: usize| Shape { row_bytes, rows: rows as u64, frame_rows: rows };
        match phase {
            Phase::OtChoices => one(BaseChoices::row_bytes(parameters), 128),
            Phase::OtReply => one(BaseReply::row_bytes(parameters), 128 / parameters.field_bits().bits()),
            Phase::OtChallenge => one(Challenge::row_bytes(parameters), 1),
            Phase::OtCheck => one(Check::row_bytes(parameters), 1),
            Phase::OtCorrections => Shape {
                row_bytes: Corrections::row_bytes(parameters),
                rows: parameters.correction_blocks() as u64,
                frame_rows: parameters.correction_chunk_blocks(),
            },
            _ => Shape {
                row_bytes: Payload::row_bytes(parameters),
                rows: parameters.rows() as u64,
                frame_rows: parameters.payload_chunk_rows(),
            },
        }
    }

    fn schema(&self, phase: Phase) -> SchemaRef {
        let name = match phase {
            Phase::OtChoices => "base_choice",
            Phase::OtReply => "base_reply",
            Phase::OtCorrections => "corrections",
            Phase::OtChallenge => "challenge",
            Phase::OtCheck => "check",
            _ => "payload",
        };
        binary_schema(&[(name, self.row_bytes)])
    }
}

/// Whether the OT sender speaks in this phase.
fn from_sender(phase: Phase) -> bool {
    matches!(phase, Phase::OtChoices | Phase::OtChallenge | Phase::OtPayload)
}

fn row_width(schema: &SchemaRef) -> i32 {
    match schema.fields().first().map(|field| field.data_type()) {
        Some(arrow::datatypes::DataType::FixedSizeBinary(width)) => *width,
        _ => 0,
    }
}

fn decode<M: Message>(phase: Phase, parameters: &Parameters, width: usize, bytes: Vec<u8>) -> Result<M, Error> {
    M::decode(parameters, width, bytes).map_err(|error| ot_error(phase, error.into()))
}

fn misuse(error: Misuse) -> Error {
    Error::Refused(format!("the query is too large for the oblivious transfer: {error}"))
}

fn ot_error(phase: Phase, error: OtError) -> Error {
    match error {
        OtError::Peer(peer) => PeerMisbehaved::ObliviousTransfer { phase, reason: peer.to_string() }.into(),
        OtError::Caller(misuse) => Error::internal(misuse),
    }
}
