//! The requester: makes the offer, checks the answer, and opens the sums.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rand_core::Rng;

use crate::crypto::ChaCha20Rng;
use crate::dp::{Reservation, Spent};

use super::frame::{Inbound, Outbound};
use super::hello::{Answer, chain_flaw, transcript_hash};
use super::limits::{check_shape, word_width};
use super::matching::tag_bytes;
use super::release::{Closing, Witnessed};
use super::run::{Agreed, AgreedWord, Finished, Run};
use super::spill::{FindRoom, SessionRows};
use super::{
    ChainLink, Entries, Error, Limits, Offer, Output, PARTS_MAX, PeerMisbehaved, Phase, Progress, Question, Receipts,
    Role, Session, SessionId, ShareTerms, SignedReceipt, SizesTerms, Witness, WordTerms, hello_schema,
};

/// What the requester brings to the hello.
#[derive(Debug, Clone)]
pub struct OfferTerms {
    /// The session's name: fresh, random.
    pub session: SessionId,
    /// This party's name.
    pub requester: String,
    /// The peer's name.
    pub responder: String,
    /// What is asked.
    pub question: Question,
    /// The versioned normaliser of each match column, as the identifiers were normalised here.
    pub normalisers: Vec<String>,
    /// The least number of dummies per column that this party's own policy asks for.
    pub dummies: u64,
    /// k of the OT extension: 1, 2, 4 or 8.
    pub ot_width: u8,
    /// Clip bounds and noise of each aggregate, as the query was planned; the answer must say the same.
    pub words: Vec<WordTerms>,
    /// This party's own terms for sizes.
    pub sizes: SizesTerms,
    /// The newest links of this party's chain about the peer, newest first: 1 to [`CHAIN_LINKS_MAX`](super::CHAIN_LINKS_MAX).
    pub chain: Vec<ChainLink>,
    /// The share's terms that the query was planned with; the answer must say the same.
    pub published: ShareTerms,
}

/// Holds the peer's chain, as its answer shows it, against what this side's books have kept of it. Called once the
/// answer has been checked and before anything else leaves; an error of it ends the session there. It may block.
pub type ChainCheck = Box<dyn FnOnce(&[ChainLink]) -> Result<(), Error> + Send>;

/// What the requester has in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The cells, part by part in the offer's order and within a part label by label in the answer's (cell part · labels +
    /// label): in each, one sum per aggregate of the question, in units of 10^-decimals of its [`WordTerms`].
    pub cells: Vec<Vec<i128>>,
    /// The noisy number of matches per column and part, dummies included: of column 1 each part's, then of column 2, ….
    pub sizes: Vec<u64>,
    /// The session's dummies per column, part and party.
    pub dummies: u64,
    /// Entries of the responder's table, as it announced them.
    pub peer_persons: u64,
    /// The receipt, where both sides have keys.
    pub receipt: Option<SignedReceipt>,
}

/// The requester's session.
pub struct Requester {
    id: SessionId,
    limits: Limits,
    sizes: Vec<u64>,
    stage: Stage,
}

enum Stage {
    Hello { hello: Box<Hello>, answer: Option<Box<Answer>>, outbound: Outbound, inbound: Inbound },
    Run(Box<Run>),
    Failed,
}

struct Hello {
    offer: Offer,
    words: Vec<WordTerms>,
    published: ShareTerms,
    entries: Entries,
    charge: Charge,
    witness: Option<Witness>,
    check_chain: ChainCheck,
    find_room: Option<FindRoom>,
    rng: ChaCha20Rng,
}

/// A charge turns from reserved into spent when the first message leaves.
pub(crate) enum Charge {
    Reserved(Reservation),
    Spent(Spent),
    Moving,
}

impl Charge {
    /// Before the first message leaves.
    pub(crate) fn spend(&mut self) {
        *self = match std::mem::replace(self, Charge::Moving) {
            Charge::Reserved(reservation) => Charge::Spent(reservation.spend()),
            other => other,
        };
    }

    /// The proof, once spent.
    pub(crate) fn proof(self) -> Result<Spent, Error> {
        match self {
            Charge::Spent(spent) => Ok(spent),
            _ => Err(Error::internal("a session went on without its charge")),
        }
    }
}

impl Requester {
    /// A session that is about to make its offer. `entries` holds the totals of the question's own aggregates;
    /// `reservation` proves that this side's budget was charged. With a `witness` the release is signed by both sides,
    /// without one by neither. `rng` must be seeded by the operating system.
    pub fn new(
        terms: OfferTerms,
        entries: Entries,
        reservation: Reservation,
        witness: Option<Witness>,
        check_chain: ChainCheck,
        limits: Limits,
        mut rng: ChaCha20Rng,
    ) -> Result<Self, Error> {
        let own = terms.question.aggregates.iter().filter(|aggregate| aggregate.is_own()).count();
        let parts_max = if terms.question.own_groups { PARTS_MAX } else { 1 };
        entries.check(terms.question.identifiers.len(), own, parts_max)?;
        if terms.words.len() != terms.question.aggregates.len() {
            return Err(Error::internal("clip bounds for another number of aggregates"));
        }
        labels_of(&terms.published, &terms.question)?;
        if let Some(flaw) = chain_flaw(&terms.chain) {
            return Err(Error::internal(format!("this side's chain: {flaw}")));
        }
        limits.check_own(entries.announced_total(), terms.dummies, entries.parts.len())?;
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let offer = Offer {
            session: terms.session,
            requester: terms.requester,
            responder: terms.responder,
            nonce,
            question: terms.question,
            normalisers: terms.normalisers,
            persons: entries.announced(),
            dummies: terms.dummies,
            sizes: terms.sizes,
            chain: terms.chain,
            receipts: receipts(witness.as_ref()),
            ot_width: terms.ot_width,
        };
        let charge = Charge::Reserved(reservation);
        let (words, published) = (terms.words, terms.published);
        let hello = Hello { offer, words, published, entries, charge, witness, check_chain, find_room: None, rng };
        Ok(Requester {
            id: hello.offer.session,
            limits,
            sizes: Vec::new(),
            stage: Stage::Hello {
                hello: Box::new(hello),
                answer: None,
                outbound: Outbound::new(1),
                inbound: Inbound::new(Phase::Hello, hello_schema(), 1),
            },
        })
    }

    /// The same session, which asks for its room once it knows both tables' lengths; without, it is all in memory. Before
    /// the first message.
    pub fn with_room(mut self, find_room: FindRoom) -> Self {
        if let Stage::Hello { hello, .. } = &mut self.stage {
            hello.find_room = Some(find_room);
        }
        self
    }

    /// The answer, once [`Session::phase`] is `None`.
    pub fn into_answer(self) -> Result<Answered, Error> {
        let Stage::Run(run) = self.stage else {
            return Err(Error::internal("the answer of a session that has not ended"));
        };
        let (dummies, peer_persons) = (run.agreed().dummies, run.agreed().responder_persons);
        let finished = run.finish()?;
        let Finished { cells, sizes, receipt } = finished;
        Ok(Answered { cells, sizes, dummies, peer_persons, receipt })
    }

    /// Holds the answer against the offer, field by field, and settles the session's parameters.
    fn settle(&self, hello: &Hello, answer: &Answer) -> Result<Agreed, Error> {
        let offer = &hello.offer;
        let wrong = |field: &str, reason: String| {
            Error::from(PeerMisbehaved::Hello { message: "answer", field: field.to_owned(), reason })
        };
        if answer.session != offer.session {
            return Err(wrong("session", "is not the offer's".to_owned()));
        }
        if answer.normalisers != offer.normalisers {
            return Err(Error::Incompatible(format!(
                "the two sides normalise differently: {} normalises by {}, this side by {}",
                offer.responder,
                answer.normalisers.join(", "),
                offer.normalisers.join(", ")
            )));
        }
        if answer.dummies < offer.dummies {
            return Err(wrong("dummies", format!("{} are fewer than the {} offered", answer.dummies, offer.dummies)));
        }
        self.limits.check_peer("answer", answer.persons, answer.dummies, offer.persons.len())?;
        if answer.ot_width != offer.ot_width {
            return Err(wrong("ot-width", "is not the offer's".to_owned()));
        }
        if answer.receipts != offer.receipts {
            return Err(wrong("receipts", "is not the offer's".to_owned()));
        }
        check_published(&hello.published, &offer.question, answer, &offer.responder)?;
        let (columns, parts) = (offer.columns(), offer.persons.len());
        let rows = |persons: u64| persons + (parts * columns) as u64 * answer.dummies;
        check_shape(&self.limits, &offer.question, answer.labels.len(), rows(answer.persons), parts)?;
        if answer.tag_bytes != tag_bytes(rows(offer.persons_total()), rows(answer.persons), columns) {
            return Err(wrong("tag-bytes", "do not follow from the counts".to_owned()));
        }
        if answer.words.len() != hello.words.len() {
            return Err(wrong("word", format!("{} for {} aggregates", answer.words.len(), hello.words.len())));
        }
        let persons = offer.persons_total().min(answer.persons);
        let mut words = Vec::with_capacity(answer.words.len());
        for (((terms, bits), planned), aggregate) in
            answer.words.iter().zip(&hello.words).zip(&offer.question.aggregates)
        {
            if terms != planned {
                return Err(Error::Incompatible(format!(
                    "{}'s terms for {} have changed since the query was planned; run the query again",
                    offer.responder,
                    aggregate.aggregate.in_words()
                )));
            }
            let width = word_width(persons, terms)?;
            if 8 * width.bytes() != usize::from(*bits) {
                return Err(wrong("word", format!("{bits} bits do not follow from the bounds")));
            }
            let owner = if aggregate.is_own() { Role::Requester } else { Role::Responder };
            words.push(AgreedWord { owner, terms: terms.clone(), width });
        }
        Ok(Agreed {
            transcript: transcript_hash(offer, answer),
            columns,
            requester_parts: offer.persons.clone(),
            responder_persons: answer.persons,
            dummies: answer.dummies,
            words,
            labels: answer.labels.len().max(1),
            minimum_matched: answer.minimum_matched,
            ot_width: answer.ot_width,
        })
    }

    fn next_outputs(&mut self, most: usize) -> Result<Vec<Output>, Error> {
        match &mut self.stage {
            Stage::Hello { hello, outbound, .. } => Ok(vec![match outbound.next_rows() {
                Some(_) => {
                    hello.charge.spend();
                    Output::Batch(hello.offer.to_batch())
                }
                None => Output::Done,
            }]),
            Stage::Run(run) => run.poll_outputs(most),
            Stage::Failed => Err(failed()),
        }
    }

    fn take(&mut self, batches: &[RecordBatch]) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Hello { answer, inbound, .. } => {
                // A hello is one batch of any number of rows, not a stream of announced length.
                for batch in batches {
                    if answer.is_some() {
                        return Err(PeerMisbehaved::TooMany { phase: Phase::Hello, expected: 1 }.into());
                    }
                    *answer = Some(Box::new(Answer::from_batch(batch)?));
                    inbound.count_one()?;
                }
                Ok(())
            }
            Stage::Run(run) => run.receive_all(batches),
            Stage::Failed => Err(failed()),
        }
    }

    fn take_end(&mut self) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Hello { inbound, .. } => Ok(inbound.end()?),
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

impl Session for Requester {
    fn role(&self) -> Role {
        Role::Requester
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
            Stage::Hello { hello, answer, outbound, inbound } => {
                let Some(answer) = answer.filter(|_| outbound.is_done() && inbound.is_ended()) else {
                    return Err(Error::internal("the hello was closed before both of its directions had ended"));
                };
                let agreed = self.settle(&hello, &answer)?;
                let Hello { offer, entries, charge, witness, check_chain, find_room, rng, .. } = *hello;
                check_chain(&answer.chain)?;
                let rows = SessionRows { own: agreed.rows(Role::Requester), peer: agreed.rows(Role::Responder) };
                let spill = find_room.map(|find| find(rows)).transpose()?.flatten();
                let witnessed = witness.map(|witness| Witnessed { witness, offer, answer: *answer });
                let closing = Closing { noise: Vec::new().into(), witnessed };
                let run = Run::new(Role::Requester, agreed, entries, charge.proof()?, closing, rng);
                self.stage = Stage::Run(Box::new(run.with_spill(spill)));
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
            Stage::Hello { outbound, inbound, .. } => {
                Progress { rows_done: outbound.sent() + inbound.seen(), rows_total: 2 }
            }
            Stage::Run(run) => run.progress(),
            Stage::Failed => Progress { rows_done: 0, rows_total: 0 },
        }
    }

    fn sizes(&self) -> &[u64] {
        &self.sizes
    }
}

/// The answer against the terms that the share's owner has published.
fn check_published(published: &ShareTerms, question: &Question, answer: &Answer, responder: &str) -> Result<(), Error> {
    let (rows, outputs) = (published.filtered_rows.name(), published.outputs.per_query()?);
    let changed = |what: &str, then: String, now: String| {
        if then == now {
            return Ok(());
        }
        Err(Error::Incompatible(format!(
            "{responder}'s terms have changed since the query was planned ({what} was {then}, is {now}); run the query again"
        )))
    };
    let labels = labels_of(published, question)?;
    changed("group_by", labels.join(", "), answer.labels.join(", "))?;
    if labels != answer.labels {
        let reason = "is not as published".to_owned();
        return Err(PeerMisbehaved::Hello { message: "answer", field: "label".to_owned(), reason }.into());
    }
    changed("minimum_matched", published.minimum_matched.to_string(), answer.minimum_matched.to_string())?;
    changed("filtered_rows", rows.to_owned(), answer.filtered_rows.name().to_owned())?;
    changed("sizes", published.sizes.to_string(), answer.sizes.to_string())?;
    changed("outputs", outputs.to_string(), answer.outputs.to_string())
}

/// The labels of the question's `group_by` column, as published.
fn labels_of<'p>(published: &'p ShareTerms, question: &Question) -> Result<&'p [String], Error> {
    let Some(column) = &question.group_by else { return Ok(&[]) };
    let group = published.group_by.iter().find(|group| group.column == *column);
    group.map(|group| &group.labels[..]).ok_or_else(|| Error::internal("a question by a column without labels"))
}

/// What a hello says where this side has these keys.
pub(crate) fn receipts(witness: Option<&Witness>) -> Receipts {
    if witness.is_some() { Receipts::X509 } else { Receipts::None }
}

pub(crate) fn failed() -> Error {
    Error::internal("a failed session cannot go on")
}
