//! The responder: answers an offer, lets its table be matched, and gives its shares of the sums.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use rand_core::Rng;

use zeroize::Zeroizing;

use crate::crypto::ChaCha20Rng;
use crate::dp::{QueryOutputs, Reservation};

use super::ahead::BlindedAhead;
use super::frame::Outbound;
use super::hello::{Answer, chain_flaw, transcript_hash};
use super::limits::{check_shape, word_width};
use super::matching::tag_bytes;
use super::release::{Closing, Witnessed};
use super::requester::{Charge, failed, receipts};
use super::run::{Agreed, AgreedWord, Run};
use super::spill::Spill;
use super::{
    ChainLink, Entries, Error, FilteredRows, Limits, Offer, Output, PeerMisbehaved, Phase, Progress, Receipts, Role,
    Session, SessionId, SignedReceipt, SizesTerms, Witness, WordTerms, hello_schema,
};

/// What the responder's policy says to an offer that it permits.
#[derive(Debug, Clone)]
pub struct AnswerTerms {
    /// The least number of dummies per column that this party's policy asks for.
    pub dummies: u64,
    /// Clip bounds and noise of each aggregate of the question.
    pub words: Vec<WordTerms>,
    /// The versioned normaliser of each match column, as the identifiers were normalised here.
    pub normalisers: Vec<String>,
    /// The labels of the question's `group_by` column, as published; none where it has no such column.
    pub labels: Vec<String>,
    /// The least noisy number of matched persons; 0 switches the rule off.
    pub minimum_matched: u64,
    /// What the filter did to the announced length.
    pub filtered_rows: FilteredRows,
    /// The share's terms for sizes, as published.
    pub sizes: SizesTerms,
    /// What one query may use for its outputs, as published: [`OutputsTerms::per_query`](super::OutputsTerms::per_query).
    pub outputs: QueryOutputs,
    /// The newest links of this party's chain about the requester, newest first: 1 to
    /// [`CHAIN_LINKS_MAX`](super::CHAIN_LINKS_MAX).
    pub chain: Vec<ChainLink>,
}

/// What the responder has seen in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The noisy number of matches per column and part, dummies included: of column 1 each part's, then of column 2, ….
    pub sizes: Vec<u64>,
    /// The session's dummies per column, part and party.
    pub dummies: u64,
    /// Entries of the requester's table, as it announced them.
    pub peer_persons: u64,
    /// The receipt, where both sides have keys.
    pub receipt: Option<SignedReceipt>,
}

/// The responder's session. It begins with the offer in hand: its first phase sends the answer.
pub struct Responder {
    id: SessionId,
    sizes: Vec<u64>,
    stage: Stage,
}

enum Stage {
    Hello { hello: Box<Hello>, outbound: Outbound, offer_ended: bool },
    Run(Box<Run>),
    Failed,
}

struct Hello {
    answer: Answer,
    agreed: Agreed,
    entries: Entries,
    charge: Charge,
    closing: Closing,
    spill: Option<Arc<dyn Spill>>,
    ahead: Option<BlindedAhead>,
    rng: ChaCha20Rng,
}

impl Responder {
    /// A session that is about to answer `offer`. `entries` holds the totals of the question's aggregates over this
    /// party's columns; `reservation` proves that this side's budget was charged; a `witness` is there where, and only
    /// where, the offer wants receipts. [`Offer::chain`] is the caller's to check, before anything is charged. `rng` must
    /// be seeded by the operating system: the noise comes from it.
    pub fn new(
        offer: &Offer,
        terms: AnswerTerms,
        entries: Entries,
        reservation: Reservation,
        witness: Option<Witness>,
        limits: Limits,
        mut rng: ChaCha20Rng,
    ) -> Result<Self, Error> {
        let aggregates = &offer.question.aggregates;
        if terms.labels.is_empty() == offer.question.group_by.is_some() {
            return Err(Error::internal("labels for a question by no column, or none for one by a column"));
        }
        let (parts, labels) = (offer.persons.len(), terms.labels.len().max(1));
        let owned = aggregates.iter().filter(|aggregate| !aggregate.is_own()).count();
        entries.check(offer.columns(), owned * labels, 1)?;
        if terms.words.len() != aggregates.len() {
            return Err(Error::internal("clip bounds for another number of aggregates"));
        }
        if terms.normalisers != offer.normalisers {
            return Err(Error::Incompatible(format!(
                "the two sides normalise differently: {} normalises by {}, {} by {}",
                offer.responder,
                terms.normalisers.join(", "),
                offer.requester,
                offer.normalisers.join(", ")
            )));
        }
        if receipts(witness.as_ref()) != offer.receipts {
            return Err(Error::Incompatible(match offer.receipts {
                Receipts::None => format!(
                    "{} asks for no receipt, {} signs each: both sides need a certificate, or neither",
                    offer.requester, offer.responder
                ),
                Receipts::X509 => format!(
                    "{} asks for a receipt, {} has no key to sign it: both sides need a certificate, or neither",
                    offer.requester, offer.responder
                ),
            }));
        }
        if let Some(flaw) = chain_flaw(&terms.chain) {
            return Err(Error::internal(format!("this side's chain: {flaw}")));
        }
        let dummies = terms.dummies.max(offer.dummies);
        limits.check_peer("offer", offer.persons_total(), offer.dummies, parts)?;
        limits.check_dummies(offer.dummies, terms.dummies)?;
        limits.check_own(entries.announced_total(), dummies, parts)?;
        let columns = offer.columns();
        let rows = |persons: u64| persons + (parts * columns) as u64 * dummies;
        check_shape(&limits, &offer.question, terms.labels.len(), rows(entries.announced_total()), parts)?;
        let persons = offer.persons_total().min(entries.announced_total());
        let mut words = Vec::with_capacity(aggregates.len());
        for (terms, aggregate) in terms.words.into_iter().zip(aggregates) {
            let owner = if aggregate.is_own() { Role::Requester } else { Role::Responder };
            let width = word_width(persons, &terms)?;
            words.push(AgreedWord { owner, terms, width });
        }
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let answer = Answer {
            session: offer.session,
            nonce,
            persons: entries.announced_total(),
            dummies,
            tag_bytes: tag_bytes(rows(offer.persons_total()), rows(entries.announced_total()), columns),
            normalisers: terms.normalisers,
            words: words.iter().map(|word| (word.terms.clone(), 8 * word.width.bytes() as u8)).collect(),
            labels: terms.labels,
            minimum_matched: terms.minimum_matched,
            filtered_rows: terms.filtered_rows,
            sizes: terms.sizes,
            outputs: terms.outputs,
            chain: terms.chain,
            receipts: offer.receipts,
            ot_width: offer.ot_width,
        };
        // All of it, for the requester's own words too and in every cell, before the answer leaves: how long it takes says
        // nothing then.
        let drawn = (0..parts * labels).flat_map(|_| &words).map(|word| word.terms.noise.sample(&mut rng));
        let noise = Zeroizing::new(drawn.collect());
        let witnessed = witness.map(|witness| Witnessed { witness, offer: offer.clone(), answer: answer.clone() });
        let agreed = Agreed {
            transcript: transcript_hash(offer, &answer),
            columns,
            requester_parts: offer.persons.clone(),
            responder_persons: answer.persons,
            dummies,
            words,
            labels,
            minimum_matched: answer.minimum_matched,
            ot_width: answer.ot_width,
        };
        let closing = Closing { noise, witnessed };
        let charge = Charge::Reserved(reservation);
        let hello = Hello { answer, agreed, entries, charge, closing, spill: None, ahead: None, rng };
        Ok(Responder {
            id: offer.session,
            sizes: Vec::new(),
            stage: Stage::Hello { hello: Box::new(hello), outbound: Outbound::new(1), offer_ended: false },
        })
    }

    /// The same session, with columns that it keeps in files if there is a `spill`. Before the first message.
    pub fn with_spill(mut self, spill: Option<Arc<dyn Spill>>) -> Self {
        if let Stage::Hello { hello, .. } = &mut self.stage {
            hello.spill = spill;
        }
        self
    }

    /// The same session, with its rows as they were blinded before, if they were: it uses that scalar, and no other session can.
    /// The entries have to be the prepared table's, in its order and in its memory, with a filter's nulls or without: those that
    /// the filter took out, and not emptied, would be missing. Where the dummies agreed on are far more than these, it does
    /// without: what would be kept in their places has no room. Before the first message.
    ///
    /// # Errors
    /// [`Error::Internal`] where they are not.
    pub fn with_ahead(mut self, ahead: Option<BlindedAhead>) -> Result<Self, Error> {
        if let Stage::Hello { hello, .. } = &mut self.stage {
            let identifiers = &hello.entries.identifiers;
            ahead.as_ref().map_or(Ok(()), |ahead| ahead.check(identifiers))?;
            let others = hello.agreed.rows(Role::Responder) - identifiers[0].len() as u64;
            hello.ahead = ahead.filter(|ahead| ahead.has_room_for(others));
        }
        Ok(self)
    }

    /// The outcome, once [`Session::phase`] is `None`.
    pub fn into_outcome(self) -> Result<Outcome, Error> {
        let Stage::Run(run) = self.stage else {
            return Err(Error::internal("the outcome of a session that has not ended"));
        };
        let (dummies, peer_persons) = (run.agreed().dummies, run.agreed().requester_parts.iter().sum());
        let finished = run.finish()?;
        Ok(Outcome { sizes: finished.sizes, dummies, peer_persons, receipt: finished.receipt })
    }

    fn next_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        match &mut self.stage {
            Stage::Hello { hello, outbound, .. } => Ok(vec![match outbound.next_rows() {
                Some(_) => {
                    hello.charge.spend();
                    Output::Batch(hello.answer.to_batch())
                }
                None => Output::Done,
            }]),
            Stage::Run(run) => run.poll_outputs(most),
            Stage::Failed => Err(failed()),
        }
    }

    fn take(&mut self, batches: &[RecordBatch]) -> Result<(), Error> {
        match &mut self.stage {
            // The offer is in hand; there is no second one.
            Stage::Hello { .. } if batches.is_empty() => Ok(()),
            Stage::Hello { .. } => Err(PeerMisbehaved::TooMany { phase: Phase::Hello, expected: 1 }.into()),
            Stage::Run(run) => run.receive_all(batches),
            Stage::Failed => Err(failed()),
        }
    }

    fn take_end(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Hello { offer_ended, .. } => {
                *offer_ended = true;
                Ok(())
            }
            Stage::Run(run) => run.end_input(),
            Stage::Failed => Err(failed()),
        }
    }

    /// After an error a session stays failed.
    fn fail_on<T>(&mut self, done: Result<T, Error>) -> Result<T, Error> {
        if done.is_err() {
            self.stage = Stage::Failed;
        }
        done
    }
}

impl Session for Responder {
    fn role(&self) -> Role {
        Role::Responder
    }

    fn id(&self) -> SessionId {
        self.id
    }

    fn phase(&self) -> Option<Phase> {
        match &self.stage {
            Stage::Hello { .. } => Some(Phase::Hello),
            Stage::Run(run) => run.phase(),
            Stage::Failed => None,
        }
    }

    fn out_schema(&self) -> SchemaRef {
        match &self.stage {
            Stage::Run(run) => run.schemas().0,
            _ => hello_schema(),
        }
    }

    fn in_schema(&self) -> SchemaRef {
        match &self.stage {
            Stage::Run(run) => run.schemas().1,
            _ => hello_schema(),
        }
    }

    fn poll_output(&mut self) -> Result<Output, Error> {
        let mut outputs = self.poll_outputs(1)?;
        outputs.pop().ok_or_else(|| Error::internal("a session gave no output"))
    }

    fn poll_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        let done = self.next_outputs(most);
        self.fail_on(done)
    }

    fn receive(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.receive_all(vec![batch])
    }

    fn receive_all(&mut self, batches: Vec<RecordBatch>) -> Result<(), Error> {
        let done = self.take(&batches);
        self.fail_on(done)
    }

    fn end_input(&mut self) -> Result<(), Error> {
        let done = self.take_end();
        self.fail_on(done)
    }

    fn advance(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Hello { hello, outbound, offer_ended } => {
                if !(outbound.is_done() && offer_ended) {
                    return Err(Error::internal("the hello was closed before both of its directions had ended"));
                }
                let Hello { agreed, entries, charge, closing, spill, ahead, rng, .. } = *hello;
                let run = Run::new(Role::Responder, agreed, entries, charge.proof()?, closing, rng);
                self.stage = Stage::Run(Box::new(run.with_spill(spill).with_ahead(ahead)));
                Ok(())
            }
            Stage::Run(mut run) => {
                let done = run.advance();
                self.sizes = run.sizes().to_vec();
                done?;
                self.stage = Stage::Run(run);
                Ok(())
            }
            Stage::Failed => Err(failed()),
        }
    }

    fn progress(&self) -> Progress {
        match &self.stage {
            Stage::Hello { outbound, .. } => Progress { rows_done: 1 + outbound.sent(), rows_total: 2 },
            Stage::Run(run) => run.progress(),
            Stage::Failed => Progress { rows_done: 0, rows_total: 0 },
        }
    }

    fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}
