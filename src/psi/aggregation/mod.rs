//! Aggregation: from "which peer rows matched" and "which value a row has" to additive shares of the sums.
//!
//! Correlated oblivious transfers (room `mpc`), in rounds of six phases. In all of them the responder is the OT Sender
//! and the requester the Receiver:
//! - round `ot-*`, where the responder owns values: an instance for each of the requester's parts, of one transfer per row of
//!   the responder's wire table. The choice bit is whether the requester saw that row matched *in this part*, the payload the
//!   row's values, a word for each of the responder's aggregates and labels: together the cells of the part.
//! - rounds `own-*-r`, r = 1, 2, …, where the requester owns values: one transfer per bit of each value and row of the
//!   requester's wire table ([`own`]). The choice bits are the value's, the payload is a weight where the responder saw
//!   that row matched, else 0. No instance crosses parts.
//!
//! | phase | OT Sender: the responder, down | OT Receiver: the requester, up |
//! |---|---|---|
//! | …-choices | base choices, 128 rows | |
//! | …-reply | | base reply, 128/k rows |
//! | …-corrections | | corrections, a row for 128 OTs and one more |
//! | …-challenge | challenge, 1 row | |
//! | …-check | | check, 1 row |
//! | …-payload | payload, a row for each OT | |
//!
//! The rows are those of one instance; a round runs several, one after the other in each phase, each with
//! batches of its own. A round without instances does not run. The payload leaves only after the check has passed: the
//! types of `mpc` see to it.
//!
//! # A choice per part
//! Of each row of the responder's the requester knows the part that it matched, or that it matched none. It chooses the row's
//! values in the instance of that part, and nothing in all others. **A deviating one may choose a row in several parts**: each
//! instance is a transfer of its own. The row is then in several cells, each with noise of its own that is made for one of
//! them, so the same sum is released once per part, as by so many queries: at most `max_parts` times what the budget says.
//! (One transfer of the row to *one of* the parts, by a punctured tree per row, would rule that out.)
//!
//! # Changed messages
//! A bit that is changed in any message but a payload ends in an error, of the Sender at the reply or the check. A
//! changed *payload* is the same as other values from its Sender, the responder: the requester's sum is then wrong by
//! what the responder could have made it wrong by honest-looking means, and is refused where it leaves the bounds. The
//! requester sends no payload, so it cannot make the responder's shares wrong.

mod collecting;
mod own;
mod paying;
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use zeroize::Zeroizing;

use crate::crypto::ChaCha20Rng;
use crate::mpc::{
    AdditiveShares, BaseChoices, BaseReply, Binding, Challenge, Check, Choices, Corrections, FieldBits, Message,
    Misuse, OtError, Parameters, Payload, ValueOwner, WordWidth,
};

use super::frame::{Inbound, Outbound, binary_column, binary_schema};
use super::matching::Matches;
use super::run::{Agreed, AgreedWord};
use super::table::WireTable;
use super::{Error, Output, PeerMisbehaved, Phase, Progress, Role};

use collecting::Collecting;
use own::{OTS_MAX, OwnRange, Slice};
use paying::{Column, Paying};
use streams::{Receiving, Sending};

/// The steps of a round, each a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Choices,
    Reply,
    Corrections,
    Challenge,
    Check,
    Payload,
}

impl Step {
    const ALL: [Step; 6] = [Step::Choices, Step::Reply, Step::Corrections, Step::Challenge, Step::Check, Step::Payload];

    /// The party that speaks.
    fn speaker(self) -> Role {
        match self {
            Step::Choices | Step::Challenge | Step::Payload => Role::Responder,
            Step::Reply | Step::Corrections | Step::Check => Role::Requester,
        }
    }

    /// The name of the one column.
    fn name(self) -> &'static str {
        match self {
            Step::Choices => "base_choice",
            Step::Reply => "base_reply",
            Step::Corrections => "corrections",
            Step::Challenge => "challenge",
            Step::Check => "check",
            Step::Payload => "payload",
        }
    }

    fn row_bytes(self, parameters: &Parameters) -> usize {
        match self {
            Step::Choices => BaseChoices::row_bytes(parameters),
            Step::Reply => BaseReply::row_bytes(parameters),
            Step::Corrections => Corrections::row_bytes(parameters),
            Step::Challenge => Challenge::row_bytes(parameters),
            Step::Check => Check::row_bytes(parameters),
            Step::Payload => Payload::row_bytes(parameters),
        }
    }

    /// Rows of one instance, and of one batch of them.
    fn rows(self, parameters: &Parameters) -> (u64, usize) {
        let one = |rows: usize| (rows as u64, rows);
        match self {
            Step::Choices => one(128),
            Step::Reply => one(128 / parameters.field_bits().bits()),
            Step::Challenge | Step::Check => one(1),
            Step::Corrections => (parameters.correction_blocks() as u64, parameters.correction_chunk_blocks()),
            Step::Payload => (parameters.rows() as u64, parameters.payload_chunk_rows()),
        }
    }
}

/// Six phases, over one instance or several of one width. Both sides derive the same from what the hello settled.
enum Round {
    /// The responder's values: of each part one instance, on which all words and labels ride.
    Responders { instance: Parameters, parts: usize },
    /// The requester's values, round number `r`.
    Own(u16, Vec<Slice>),
}

impl Round {
    fn phase(&self, step: Step) -> Phase {
        match (self, step) {
            (Round::Responders { .. }, Step::Choices) => Phase::OtChoices,
            (Round::Responders { .. }, Step::Reply) => Phase::OtReply,
            (Round::Responders { .. }, Step::Corrections) => Phase::OtCorrections,
            (Round::Responders { .. }, Step::Challenge) => Phase::OtChallenge,
            (Round::Responders { .. }, Step::Check) => Phase::OtCheck,
            (Round::Responders { .. }, Step::Payload) => Phase::OtPayload,
            (Round::Own(round, _), Step::Choices) => Phase::OwnChoices(*round),
            (Round::Own(round, _), Step::Reply) => Phase::OwnReply(*round),
            (Round::Own(round, _), Step::Corrections) => Phase::OwnCorrections(*round),
            (Round::Own(round, _), Step::Challenge) => Phase::OwnChallenge(*round),
            (Round::Own(round, _), Step::Check) => Phase::OwnCheck(*round),
            (Round::Own(round, _), Step::Payload) => Phase::OwnPayload(*round),
        }
    }

    /// Each instance's parameters, and what it is bound by beside the session.
    fn instances(&self) -> Vec<(&Parameters, ValueOwner, u32)> {
        match self {
            Round::Responders { instance, parts } => {
                // At most PARTS_MAX.
                (0..*parts as u32).map(|part| (instance, ValueOwner::Responder, part)).collect()
            }
            Round::Own(_, slices) => {
                slices.iter().map(|slice| (&slice.parameters, ValueOwner::Requester, slice.instance)).collect()
            }
        }
    }
}

/// What the sums are made of, as far as this party knows it.
struct Known {
    table: WireTable,
    /// By position in the peer's shuffled table: the part on the requester's end, 0 for none.
    peer_rows_matched: Zeroizing<Vec<u16>>,
    /// Of each own word.
    ranges: Vec<OwnRange>,
}

impl Known {
    /// The requester's choice bits of one instance.
    fn choices(&self, round: &Round, instance: usize) -> Choices {
        match round {
            Round::Responders { .. } => {
                Choices::new(self.peer_rows_matched.iter().map(|part| usize::from(*part) == instance + 1))
            }
            Round::Own(_, slices) => {
                let Slice { word, rows, .. } = &slices[instance];
                let range = &self.ranges[*word];
                let values = self.table.values(*word, rows.clone());
                Choices::new(values.flat_map(|value| {
                    let bits = range.choices(value);
                    (0..range.bits()).map(move |bit| bits >> bit & 1 == 1)
                }))
            }
        }
    }

    /// The responder's payload values of some OTs of one instance, a column per word.
    fn columns(&self, round: &Round, instance: usize, ots: Range<usize>) -> Vec<Column> {
        match round {
            // The same in every instance: which row counts in which part is for the choices.
            Round::Responders { instance, .. } => (0..self.table.value_columns())
                .zip(instance.words())
                .map(|(value, width)| Column::of(*width, self.table.values(value, ots.clone())))
                .collect(),
            Round::Own(_, slices) => {
                let Slice { word, rows, parameters, .. } = &slices[instance];
                let range = &self.ranges[*word];
                let paid = range.rows_and_weights(ots).map(|(row, weight)| {
                    // No branch on what matched.
                    (weight * u128::from(self.peer_rows_matched[rows.start + row] > 0)) as i128
                });
                parameters.words().iter().map(|width| Column::of(*width, paid.clone())).collect()
            }
        }
    }
}

/// The instances of the open round, at this party's end.
enum Legs {
    Paying(Vec<Paying>),
    Collecting(Vec<Collecting>),
}

/// This party's end of the rounds.
pub(crate) struct Aggregation {
    role: Role,
    transcript: [u8; 32],
    known: Known,
    rounds: Vec<Round>,
    /// The open round and the index of its step.
    round: usize,
    step: usize,
    legs: Legs,
    sending: Sending,
    receiving: Receiving,
    owned: Owned,
    rng: ChaCha20Rng,
}

/// This party's additive shares, by owner of the values, then by part.
pub(crate) struct Owned {
    /// Shares of sums over the requester's values, a word each.
    requester: Vec<AdditiveShares>,
    /// Shares of sums over the responder's values: of its w-th word and label l at w · labels + l.
    responder: Vec<AdditiveShares>,
}

impl Owned {
    /// The shares of all cells, part by part and within a part label by label: of each, one per aggregate, in the
    /// question's order.
    pub(crate) fn in_cells(self, agreed: &Agreed) -> Result<AdditiveShares, Error> {
        let mut shares = Vec::with_capacity(agreed.cells() * agreed.words.len());
        for (requester, responder) in self.requester.iter().zip(&self.responder) {
            for label in 0..agreed.labels {
                let mut requester = requester.words().iter();
                let mut responder = responder.words().iter().skip(label).step_by(agreed.labels);
                for word in &agreed.words {
                    let next = match word.owner {
                        Role::Requester => requester.next(),
                        Role::Responder => responder.next(),
                    };
                    shares.push(*next.ok_or_else(|| Error::internal("an aggregate has no share"))?);
                }
            }
        }
        let widths = agreed.words.iter().map(|word| word.width);
        AdditiveShares::new(widths.cycle().take(shares.len()).collect(), shares).map_err(Error::internal)
    }
}

impl Aggregation {
    /// Opens the first phase.
    pub(crate) fn new(role: Role, agreed: &Agreed, matches: Matches, rng: ChaCha20Rng) -> Result<Self, Error> {
        let Matches { table, peer_rows_matched } = matches;
        let range = |word: &AgreedWord| OwnRange::new(word.terms.min, word.terms.max);
        let ranges: Vec<OwnRange> =
            agreed.words.iter().filter(|word| word.owner == Role::Requester).map(range).collect();
        if role == Role::Requester {
            for (word, range) in ranges.iter().enumerate() {
                if !table.values(word, 0..table.rows()).all(|value| range.holds(value)) {
                    return Err(Error::internal("a total of this party's own is outside the bounds it is clipped to"));
                }
            }
        }
        Self::of(role, agreed, Known { table, peer_rows_matched, ranges }, OTS_MAX, rng)
    }

    /// The same with rounds of at most `ots_max` OTs.
    fn of(role: Role, agreed: &Agreed, known: Known, ots_max: usize, rng: ChaCha20Rng) -> Result<Self, Error> {
        let field_bits = FieldBits::try_from(agreed.ot_width).map_err(Error::internal)?;
        let widths = |owner: Role, times: usize| -> Vec<WordWidth> {
            let owned = agreed.words.iter().filter(|word| word.owner == owner);
            owned.flat_map(|word| std::iter::repeat_n(word.width, times)).collect()
        };
        let (own, responders) = (widths(Role::Requester, 1), widths(Role::Responder, agreed.labels));
        let part_rows = agreed.part_rows();
        let parts = part_rows.parts();
        let zeros = |widths: &[WordWidth]| -> Result<Vec<AdditiveShares>, Error> {
            let one = || AdditiveShares::new(widths.to_vec(), vec![0; widths.len()]).map_err(Error::internal);
            (0..parts).map(|_| one()).collect()
        };
        let mut owned = Owned { requester: zeros(&own)?, responder: zeros(&responders)? };
        let responder_rows = match role {
            Role::Requester => known.peer_rows_matched.len(),
            Role::Responder => known.table.rows(),
        };
        let mut rounds = Vec::new();
        if !responders.is_empty() {
            let instance = Parameters::new(field_bits, responder_rows, responders).map_err(misuse)?;
            rounds.push(Round::Responders { instance, parts });
        }
        let owns: Vec<(&OwnRange, WordWidth)> = known.ranges.iter().zip(own).collect();
        let own_rounds = own::rounds(&owns, &part_rows, field_bits, ots_max).map_err(misuse)?;
        rounds.extend((1..=u16::MAX).zip(own_rounds).map(|(round, slices)| Round::Own(round, slices)));
        if role == Role::Responder {
            for (rows, shares) in part_rows.ranges().zip(&mut owned.requester) {
                let matched = known.peer_rows_matched[rows].iter().map(|part| i128::from(*part > 0)).sum::<i128>();
                for (word, range) in known.ranges.iter().enumerate() {
                    shares.add(word, range.base.wrapping_mul(matched)).map_err(Error::internal)?;
                }
            }
        }
        let mut aggregation = Aggregation {
            role,
            transcript: agreed.transcript,
            known,
            rounds,
            round: 0,
            step: 0,
            legs: Legs::Paying(Vec::new()),
            sending: Sending::default(),
            receiving: Receiving::nothing(Phase::OtChoices),
            owned,
            rng,
        };
        aggregation.start_round()?;
        Ok(aggregation)
    }

    fn step(&self) -> Step {
        Step::ALL[self.step]
    }

    /// The open phase; `None` once all sums are shared.
    pub(crate) fn phase(&self) -> Option<Phase> {
        self.rounds.get(self.round).map(|round| round.phase(self.step()))
    }

    /// (what this side sends, what the peer sends).
    pub(crate) fn schemas(&self) -> (SchemaRef, SchemaRef) {
        (Arc::clone(&self.sending.schema), Arc::clone(&self.receiving.schema))
    }

    pub(crate) fn progress(&self) -> Progress {
        let (sending, receiving) = (&self.sending.legs, &self.receiving.legs);
        Progress {
            rows_done: sending.iter().map(Outbound::sent).sum::<u64>()
                + receiving.iter().map(Inbound::seen).sum::<u64>(),
            rows_total: sending.iter().map(Outbound::total).sum::<u64>() + self.receiving.total(),
        }
    }

    /// Makes the open round's instances, if there is one, and opens its first phase.
    fn start_round(&mut self) -> Result<(), Error> {
        let Some(round) = self.rounds.get(self.round) else { return Ok(()) };
        let instances = round.instances();
        let bound = |owner, instance| Binding { session: self.transcript.as_slice(), owner, instance };
        self.legs = match self.role {
            Role::Responder => Legs::Paying(
                instances
                    .into_iter()
                    .map(|(parameters, owner, instance)| {
                        Paying::start(parameters.clone(), bound(owner, instance), &mut self.rng)
                    })
                    .collect(),
            ),
            Role::Requester => Legs::Collecting(
                instances
                    .into_iter()
                    .enumerate()
                    .map(|(leg, (parameters, owner, instance))| {
                        let choices = self.known.choices(round, leg);
                        let phase = round.phase(Step::Choices);
                        Collecting::start(parameters.clone(), bound(owner, instance), choices, phase)
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        self.open();
        Ok(())
    }

    /// Sets both directions of the open phase up: the one in which nobody speaks has no rows.
    fn open(&mut self) {
        let Some(round) = self.rounds.get(self.round) else { return };
        let (step, phase) = (self.step(), round.phase(self.step()));
        let instances = round.instances();
        // The instances of a round differ in their rows alone, so that they have one schema.
        let row_bytes = instances.first().map_or(1, |(parameters, ..)| step.row_bytes(parameters));
        let schema = binary_schema(&[(step.name(), row_bytes)]);
        let silent = binary_schema(&[(step.name(), 1)]);
        let rows = instances.iter().map(|(parameters, ..)| step.rows(parameters));
        (self.sending, self.receiving) = if step.speaker() == self.role {
            let legs = rows.map(|(rows, frame)| Outbound::new(rows).in_frames_of(frame)).collect();
            (Sending { schema, legs, at: 0 }, Receiving { schema: silent, ..Receiving::nothing(phase) })
        } else {
            let inbound = |(rows, frame)| Inbound::new(phase, Arc::clone(&schema), rows).in_frames_of(frame);
            let legs = rows.map(inbound).collect();
            let receiving = Receiving { legs, schema: Arc::clone(&schema), ..Receiving::nothing(phase) };
            (Sending { schema: silent, ..Sending::default() }, receiving)
        };
    }

    pub(crate) fn poll_output(&mut self) -> Result<Output, Error> {
        let round = self.rounds.get(self.round).ok_or_else(|| Error::internal("the aggregation has ended"))?;
        let (step, phase) = (Step::ALL[self.step], round.phase(Step::ALL[self.step]));
        let Some((leg, rows)) = self.sending.next_rows() else { return Ok(Output::Done) };
        let bytes = match &mut self.legs {
            Legs::Paying(legs) => {
                legs[leg].send(step, phase, || self.known.columns(round, leg, rows), &mut self.rng)?
            }
            Legs::Collecting(legs) => legs[leg].send(step)?,
        };
        let width = row_width(&self.sending.schema);
        let array: ArrayRef = Arc::new(FixedSizeBinaryArray::new(width, bytes.into(), None));
        RecordBatch::try_new(Arc::clone(&self.sending.schema), vec![array]).map(Output::Batch).map_err(Error::internal)
    }

    pub(crate) fn receive(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let (step, phase) = (self.step(), self.phase().ok_or_else(|| Error::internal("the aggregation has ended"))?);
        let (leg, rows) = self.receiving.accept(batch)?;
        let column = binary_column(batch, 0)?;
        let width = column.value_length() as usize;
        // The array's values may go on behind its rows.
        let bytes = column.values()[..rows * width].to_vec();
        match &mut self.legs {
            Legs::Paying(legs) => legs[leg].receive(step, phase, width, bytes),
            Legs::Collecting(legs) => legs[leg].receive(step, phase, width, bytes, &mut self.rng),
        }
    }

    pub(crate) fn end_input(&mut self) -> Result<(), Error> {
        Ok(self.receiving.end()?)
    }

    pub(crate) fn phase_ended(&self) -> bool {
        self.sending.is_done() && self.receiving.ended
    }

    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        self.step += 1;
        if self.step < Step::ALL.len() {
            self.open();
            return Ok(());
        }
        self.end_round()?;
        (self.round, self.step) = (self.round + 1, 0);
        self.start_round()
    }

    /// Adds the open round's shares to those of the words, and frees its instances.
    fn end_round(&mut self) -> Result<(), Error> {
        let round = self.rounds.get(self.round).ok_or_else(|| Error::internal("the aggregation has ended"))?;
        let phase = round.phase(Step::Payload);
        let shares: Vec<AdditiveShares> = match std::mem::replace(&mut self.legs, Legs::Paying(Vec::new())) {
            Legs::Paying(legs) => legs.into_iter().map(|leg| leg.finish(phase)).collect::<Result<_, _>>()?,
            Legs::Collecting(legs) => legs.into_iter().map(|leg| leg.finish(phase)).collect::<Result<_, _>>()?,
        };
        for (leg, shares) in shares.iter().enumerate() {
            match round {
                Round::Responders { .. } => self.owned.responder[leg].merge(shares).map_err(Error::internal)?,
                Round::Own(_, slices) => {
                    let Slice { word, part, .. } = slices[leg];
                    for share in shares.words() {
                        self.owned.requester[part].add(word, *share as i128).map_err(Error::internal)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The shares, after the last phase.
    pub(crate) fn finish(self) -> Result<Owned, Error> {
        match self.phase() {
            None => Ok(self.owned),
            Some(phase) => Err(Error::internal(format!("the oblivious transfer has not ended: {phase} is open"))),
        }
    }
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
