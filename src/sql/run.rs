//! One private query at the party that asks: local side, charge, session, answer.
//!
//! The order is the point. Everything that can fail by what the data holds happens before anything is
//! charged or sent: the local plan is run to its end, normalised and prepared; then the budget is
//! charged; then the peer hears of the query. Dropping the future at any moment ends the run: the local
//! plan stops, and the peer's session ends as soon as its channel closes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::runtime::JoinSet;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::answer::{answer_errors, answer_row};
use super::asker::Asker;
use super::config::PsiConfig;
use super::error::{local_error, to_datafusion};
use super::explain::{Outcome, PhaseLine, RunReport};
use super::offload::off_runtime;
use super::people::{Identifiers, MatchColumn, Word, entries_after_filter, join_column, person_values};
use super::query::PrivateQuery;
use super::record::{asked, canonical, failed};
use crate::dp::pad_fillers;
use crate::policy::{Account, Asked, Ended, Party, check_question};
use crate::psi::normalise::Normaliser;
use crate::psi::prepare::PreparedTable;
use crate::psi::{
    Aggregate, Answered, ChainLink, Entries, Error, Limits, OfferTerms, Phase, Progress, Question, Requester,
    SessionId, WordTerms,
};
use crate::transport::{Observer, PhaseReport};

/// What a query needs that follows from its plan, the share's terms and this party's policy alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) terms: Vec<MatchColumn>,
    pub(super) normalisers: Vec<String>,
    pub(super) words: Vec<WordTerms>,
    /// For each aggregate of the question that this side owns: what it reads of the local relation, and
    /// its bounds.
    pub(super) own_words: Vec<(Word, WordTerms)>,
    /// The account that pays.
    pub(super) account: Account,
}

/// Checks a query against the share's terms and this party's own policy. Nothing is read or sent.
///
/// # Errors
/// [`Error::Refused`] by either policy; [`Error::Incompatible`] for a normaliser that this version lacks.
pub(super) fn settle(query: &PrivateQuery, asker: &Asker) -> Result<Settled, Error> {
    let ask = asker.party().may_ask(&query.peer)?;
    let columns = query.question.identifiers.len();
    if columns > usize::from(ask.identifiers) {
        return Err(Error::Refused(format!(
            "this party's own policy computes its budget for queries of at most {} identifiers, and this one has {columns}; \
             to allow it, write identifiers = {columns} in the [[ask]] of {}:{}",
            ask.identifiers,
            asker.party().file.display(),
            ask.line
        )));
    }
    let shared = &query.shared;
    let words = check_question(&shared.terms, &query.question, &shared.schema)
        .map_err(|refusal| Error::Refused(format!("{} refuses: {refusal}", query.peer)))?;
    let mut terms = Vec::with_capacity(columns);
    for term in &query.terms {
        let identifier = shared.terms.identifiers.iter().find(|identifier| identifier.name == term.identifier);
        let identifier =
            identifier.ok_or_else(|| Error::Internal(format!("the share has no identifier '{}'", term.identifier)))?;
        let normaliser: Normaliser = identifier.normaliser.parse().map_err(|_| {
            Error::Incompatible(format!(
                "{} normalises '{}' by '{}', which this version of datafusion-psi does not know: install the same version on both sides",
                query.peer, identifier.name, identifier.normaliser
            ))
        })?;
        terms.push(MatchColumn { normaliser, parts: term.parts.clone() });
    }
    let mut own_words = Vec::new();
    for (asked, word) in query.question.aggregates.iter().zip(&words) {
        let column = |value: u8| {
            query
                .own_values
                .get(usize::from(value))
                .copied()
                .ok_or_else(|| Error::Internal(format!("no own value {value}")))
        };
        match &asked.aggregate {
            Aggregate::OwnRows { value } => own_words.push((Word::Rows(column(*value)?), word.clone())),
            Aggregate::OwnSum { value, .. } => own_words.push((Word::Sum(column(*value)?), word.clone())),
            Aggregate::Persons | Aggregate::Rows { .. } | Aggregate::Sum { .. } | Aggregate::Squares { .. } => {}
        }
    }
    Ok(Settled {
        normalisers: terms.iter().map(|term| term.normaliser.to_string()).collect(),
        terms,
        words,
        own_words,
        account: Account::asking(&query.peer, &ask.budget.population),
    })
}

/// Who watches one run: the query's own report, and whoever watches all of the asker's.
pub(super) struct Watcher {
    pub(super) report: Arc<Mutex<Option<RunReport>>>,
    /// The noisy sizes that the run has shown, also of one that failed later.
    pub(super) sizes: Mutex<Vec<u64>>,
    pub(super) closed: Box<dyn Fn(&PhaseReport) + Send + Sync>,
    pub(super) also: Arc<dyn Observer>,
}

impl Watcher {
    fn note(&self, change: impl FnOnce(&mut RunReport)) {
        // A report is only added to; a panic elsewhere leaves it readable.
        change(self.report.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default());
    }
}

impl Watcher {
    fn sizes(&self) -> Vec<u64> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Watcher {
    fn sizes_seen(&self, sizes: &[u64]) {
        sizes.clone_into(&mut self.sizes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn phase_opened(&self, phase: Phase, rows_total: u64) {
        self.also.phase_opened(phase, rows_total);
    }

    fn progressed(&self, phase: Phase, progress: Progress) {
        self.also.progressed(phase, progress);
    }

    fn phase_closed(&self, report: &PhaseReport) {
        self.note(|run| {
            run.phases.push(PhaseLine {
                phase: report.phase,
                seconds: report.seconds,
                rows: report.rows,
                bytes: (report.bytes_up, report.bytes_down),
            });
        });
        (self.closed)(report);
        self.also.phase_closed(report);
    }
}

/// Runs the query to its one row.
pub(super) async fn run(
    query: Arc<PrivateQuery>,
    input: Arc<dyn ExecutionPlan>,
    asker: Arc<Asker>,
    schema: SchemaRef,
    watcher: Arc<Watcher>,
    context: Arc<TaskContext>,
) -> Result<RecordBatch> {
    let settled = settle(&query, &asker).map_err(to_datafusion)?;
    let memory = MemoryConsumer::new(format!("PrivateQuery[{}.{}]", query.peer, query.question.table));
    let memory = memory.register(context.memory_pool());
    let config = PsiConfig::of(context.session_config().options());
    let began = Instant::now();
    let mut local = collect(&settled, input, &context, &memory).await.map_err(local_error)?;
    // Registered until the run has ended: the session keeps the identifiers and the values that long.
    let held = std::mem::take(&mut local.memory);
    let answered = ask(&query, &settled, &asker, local, &config, began, &watcher).await.map_err(to_datafusion)?;
    drop(held);
    let errors = answer_errors(&query.outputs, &settled.words, &answered);
    let names = schema.fields().iter().map(|field| field.name().clone());
    watcher.note(|report| report.errors = names.zip(errors).collect());
    answer_row(&schema, &query.outputs, &query.question, &settled.words, &answered).map_err(to_datafusion)
}

/// The local relation, as far as the session needs it.
struct Local {
    identifiers: Identifiers,
    /// One column per own word, in their order.
    values: Vec<ArrayRef>,
    /// What of it the engine's memory pool knows.
    memory: Vec<MemoryReservation>,
}

/// A batch of it.
struct Chunk {
    identifiers: Identifiers,
    values: Vec<ArrayRef>,
}

/// Runs the local plan to its end, all partitions at once. Rows are normalised as they come, so that
/// what is kept is the identifiers and the values alone.
async fn collect(
    settled: &Settled,
    input: Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
    memory: &MemoryReservation,
) -> Result<Local> {
    let shared = Arc::new(settled.clone());
    let partitions = input.properties().partitioning.partition_count();
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        let mut stream = input.execute(partition, Arc::clone(context))?;
        let settled = Arc::clone(&shared);
        let memory = memory.new_empty();
        tasks.spawn(async move {
            let mut chunks = Vec::new();
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let settled = Arc::clone(&settled);
                let chunk = off_runtime(move || chunk(&batch, &settled))
                    .await
                    .and_then(|chunk| chunk)
                    .map_err(to_datafusion)?;
                let values: usize = chunk.values.iter().map(|column| column.get_array_memory_size()).sum();
                // Twice: joined, the chunks exist a second time for a moment.
                memory.try_grow(2 * (chunk.identifiers.size_bytes() + values))?;
                chunks.push(chunk);
            }
            Ok::<_, DataFusionError>((partition, chunks, memory))
        });
    }
    let mut parts = Vec::with_capacity(partitions);
    while let Some(done) = tasks.join_next().await {
        let done = match done {
            Ok(done) => done?,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(cancelled) => return Err(DataFusionError::ExecutionJoin(Box::new(cancelled))),
            },
        };
        parts.push(done);
    }
    parts.sort_by_key(|(partition, ..)| *partition);
    let types: Vec<_> = {
        let schema = input.schema();
        shared
            .own_words
            .iter()
            .filter_map(|(word, _)| word.column())
            .map(|column| schema.field(column).data_type().clone())
            .collect()
    };
    let columns = shared.terms.len();
    off_runtime(move || {
        let mut identifiers = Vec::new();
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); types.len()];
        let mut held = Vec::with_capacity(parts.len());
        for (_, chunks, memory) in parts {
            memory.shrink(memory.size() / 2);
            held.push(memory);
            for chunk in chunks {
                identifiers.push(chunk.identifiers);
                for (all, column) in values.iter_mut().zip(chunk.values) {
                    all.push(column);
                }
            }
        }
        let values =
            values.iter().zip(&types).map(|(parts, kind)| join_column(parts, kind)).collect::<Result<_, Error>>()?;
        Ok(Local { identifiers: Identifiers::join(identifiers, columns)?, values, memory: held })
    })
    .await
    .and_then(|joined| joined)
    .map_err(to_datafusion)
}

fn chunk(batch: &RecordBatch, settled: &Settled) -> Result<Chunk, Error> {
    let values = settled
        .own_words
        .iter()
        .filter_map(|(word, _)| word.column())
        .map(|column| {
            batch.columns().get(column).cloned().ok_or_else(|| Error::Internal(format!("no column {column}")))
        })
        .collect::<Result<_, Error>>()?;
    Ok(Chunk { identifiers: Identifiers::of(batch, &settled.terms)?, values })
}

/// Persons, charge, session: the sums of the question's aggregates.
async fn ask(
    query: &Arc<PrivateQuery>,
    settled: &Settled,
    asker: &Arc<Asker>,
    local: Local,
    config: &PsiConfig,
    began: Instant,
    watcher: &Arc<Watcher>,
) -> Result<Vec<i128>, Error> {
    let link = Arc::clone(asker.link(&query.peer)?);
    let ask = asker.party().may_ask(&query.peer)?;
    let unnormalised = local.identifiers.unnormalised;
    let own_words = settled.own_words.clone();
    let (table, values) = off_runtime(move || {
        let table = local.identifiers.prepare()?;
        let mut columns = local.values.iter();
        let mut values = Vec::with_capacity(own_words.len());
        for (word, terms) in own_words {
            let column = word.column().and_then(|_| columns.next());
            values.push(person_values(&table, None, column, word, &terms)?);
        }
        Ok::<_, Error>((table, values))
    })
    .await??;
    watcher.note(|report| note_local(report, &table, unnormalised, began.elapsed().as_secs_f64()));

    let mut rng = seeded()?;
    let fillers = ask.pad_plan().map_or(0, |plan| pad_fillers(&plan.epsilon, plan.bound, &mut rng));
    let (identifiers, values) = entries_after_filter(&table, None, values, true)?;
    drop(table);
    let entries = Entries::whole(identifiers, values, fillers);
    let announced = entries.announced_total();
    let limits = limits(asker.party());
    if announced > limits.persons_max {
        return Err(Error::Caller(format!(
            "the local side has {announced} entries, over this party's limit of {}: narrow it by a filter, or raise persons_max in [limits]",
            limits.persons_max
        )));
    }
    let account = asker.budgets().open(&settled.account, announced)?;
    let columns = settled.terms.len() as u32;
    let session = SessionId::random(&mut rng);
    let asked = Asked {
        session,
        question: canonical(&query.question),
        terms: query.shared.terms.canonical(),
        persons_own: announced,
        persons_peer: None,
    };
    let (books, peer) = (asker.budgets().clone(), query.peer.clone());
    // The accountant takes a second or two for a new account, and composes for each charge; the disk takes its time.
    let (dummies, reservation, chain) = off_runtime(move || {
        let dummies = account.dummies()?;
        let reservation = account.charge(dummies, columns, &asked)?;
        Ok::<_, Error>((dummies, reservation, books.chain(&peer)?))
    })
    .await??;
    let (books, peer, told) = (asker.budgets().clone(), query.peer.clone(), chain.first().copied());
    let check_chain = Box::new(move |links: &[ChainLink]| {
        books.keep_chain(&peer, links)?;
        // The peer has answered, so it has kept what the offer told.
        told.map_or(Ok(()), |told| books.confirm_chain(&peer, &told))
    });
    let offer = OfferTerms {
        session,
        requester: asker.party().name.clone(),
        responder: query.peer.clone(),
        question: query.question.clone(),
        normalisers: settled.normalisers.clone(),
        dummies,
        ot_width: asker.party().ot.width,
        words: settled.words.clone(),
        sizes: ask.sizes_terms(),
        chain,
        published: query.shared.terms.clone(),
    };
    tracing::info!(
        peer = query.peer,
        table = query.question.table,
        %session,
        question = %described(&query.question),
        persons = announced,
        dummies,
        "asking"
    );
    let witness = asker.witness(&query.peer);
    let requester = Requester::new(offer, entries, reservation, witness, check_chain, limits, rng)?;
    let deadlines = asker.deadlines(config.stall_seconds, config.timeout_seconds);
    let started = Instant::now();
    let run = link.run(requester, &deadlines, Arc::clone(watcher) as Arc<dyn Observer>).await;
    let answered = run.and_then(Requester::into_answer);
    note_end(asker, watcher, session, started, answered.as_ref()).await;
    let answered = answered?;
    asker.keep_length(&query.peer, &query.question.table, answered.peer_persons);
    watcher.note(|report| {
        report.outcome = Some(Outcome {
            sizes: query.question.identifiers.iter().cloned().zip(answered.sizes.iter().copied()).collect(),
            dummies: answered.dummies,
            persons_there: answered.peer_persons,
        });
    });
    // One cell: the planner asks nothing in groups.
    answered.cells.into_iter().next().ok_or_else(|| Error::internal("an answer without a cell"))
}

/// Writes a session's end into the audit. That it could not be written is said in the log: the charge stands, and the
/// answer is not held back for it.
async fn note_end(
    asker: &Asker,
    watcher: &Watcher,
    session: SessionId,
    started: Instant,
    answered: Result<&Answered, &Error>,
) {
    let mut row = Ended {
        sizes: watcher.sizes(),
        dummies: answered.map_or(0, |answered| answered.dummies),
        outcome: answered.map(|_| ()).map_err(failed),
        seconds: started.elapsed().as_secs_f64(),
        bytes: (0, 0),
        receipt: answered.ok().and_then(|answered| answered.receipt.clone()),
    };
    watcher.note(|report| {
        row.bytes = report.phases.iter().fold((0, 0), |(up, down), line| (up + line.bytes.0, down + line.bytes.1));
    });
    let books = asker.budgets().clone();
    let written = off_runtime(move || books.ended(session, &row)).await.and_then(|done| done);
    if let Err(error) = written {
        tracing::error!(%session, %error, "the session's end is not in the audit");
    }
}

fn note_local(report: &mut RunReport, table: &PreparedTable, unnormalised: u64, seconds: f64) {
    let found = table.report();
    report.local_seconds = seconds;
    report.rows = found.rows;
    report.persons = found.persons;
    report.unnormalised = unnormalised;
    report.dropped_identifiers = found.columns.iter().map(|column| column.lost_second + column.lost_to_another).sum();
}

/// The question in one line, for logs: what the peer reads too. A peer may have written it, so what could begin a
/// line of its own or steer a terminal is escaped, and its length is bounded.
pub(super) fn described(question: &Question) -> String {
    asked(question)
        .chars()
        .take(DESCRIBED_CHARS_MAX)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// The most characters of a question in a log line.
const DESCRIBED_CHARS_MAX: usize = 2000;

/// The policy's limits, as the session knows them.
pub(super) fn limits(party: &Party) -> Limits {
    let limits = party.limits;
    Limits {
        persons_max: limits.persons_max,
        dummies_max: limits.dummies_max,
        dummies_factor_max: limits.dummies_factor_max,
    }
}

/// A generator seeded by the operating system.
pub(super) fn seeded() -> Result<ChaCha20Rng, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Environment(format!("the operating system gives no randomness: {error}")))?;
    Ok(ChaCha20Rng::from_seed(seed))
}
