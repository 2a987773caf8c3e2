//! One private query at the party that asks: local side, charge, session, answer.
//!
//! The order is the point. Everything that can fail by what the data holds happens before anything is
//! charged or sent: the local plan is run to its end, normalised and prepared; then the budget is
//! charged; then the peer hears of the query. Dropping the future at any moment ends the run: the local
//! plan stops, and the peer's session ends as soon as its channel closes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use datafusion::arrow::array::{LargeBinaryArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use rand_core::SeedableRng;
use zeroize::Zeroizing;

use super::answer::Answer;
use super::asker::Asker;
use super::config::{GroupConflict, PsiConfig};
use super::ending::EndGuard;
use super::error::{local_error, to_datafusion};
use super::explain::{ColumnErrors, Outcome, PhaseLine, RunReport};
use super::local::{Local, collect};
use super::parts::Parts;
use super::people::{MatchColumn, Word, entries_after_filter, person_values};
use super::query::PrivateQuery;
use super::record::{asked, canonical, failed};
use super::spill::SessionMemory;
use crate::dp::pad_fillers;
use crate::policy::{Account, Asked, Ended, Party, check_parts, check_question};
use crate::psi::normalise::Normaliser;
use crate::psi::prepare::{PreparedTable, prepare_bytes};
use crate::psi::{
    Aggregate, Answered, ChaCha20Rng, ChainLink, Entries, EntryPart, Error, Footprint, Limits, OfferTerms, Phase,
    Progress, Question, Requester, Role, SessionId, SessionRows, WordTerms, escaped,
};
use crate::transport::{Observer, PhaseReport, offload};

/// What a query needs that follows from its plan, the share's terms and this party's policy alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) terms: Vec<MatchColumn>,
    pub(super) normalisers: Vec<String>,
    pub(super) words: Vec<WordTerms>,
    /// For each aggregate of the question that this side owns: what it reads of the local relation, and
    /// its bounds.
    pub(super) own_words: Vec<(Word, WordTerms)>,
    /// The columns of the local relation that it is grouped by.
    pub(super) groups: Vec<usize>,
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
        groups: query.own_groups().collect(),
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

/// Runs the query to its rows.
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
    let engine = Engine { config: PsiConfig::of(context.session_config().options()), runtime: context.runtime_env() };
    let began = Instant::now();
    let conflict = match query.question.own_groups {
        true => GroupConflict::of(context.session_config().options()).map_err(DataFusionError::Plan)?,
        false => GroupConflict::Fail,
    };
    let mut local = collect(&settled, input, &context, &memory).await.map_err(local_error)?;
    // Registered until the run has ended: the session keeps the identifiers and the values that long.
    let held = local.memory.take();
    let parts = parts(&query, &mut local).await.map_err(to_datafusion)?;
    if parts.as_ref().is_some_and(|parts| parts.count() == 0) {
        // No group, no row: plain SQL's answer, which the peer need not be asked for.
        return Ok(RecordBatch::new_empty(schema));
    }
    let preparing = Preparing { local, parts: parts.clone(), conflict };
    let cells = ask(&query, &settled, &asker, preparing, &engine, began, &watcher).await.map_err(to_datafusion)?;
    drop(held);
    let answer = Answer {
        schema: &schema,
        groups: &query.groups,
        outputs: &query.outputs,
        words: &settled.words,
        labels: query.labels(),
        own: parts.as_ref().map_or(&[], |parts| &parts.values),
        hidden_by: query.hidden_by().map(|persons| (persons, query.shared.terms.minimum_matched)),
        cells: &cells,
    };
    let names = schema.fields().iter().skip(query.groups.len()).map(|field| field.name().clone());
    let errors = names.zip(answer.errors()).map(|(name, rows)| ColumnErrors { name, rows }).collect();
    let hidden = answer.hidden();
    watcher.note(|report| {
        report.errors = errors;
        report.hidden = hidden as u64;
    });
    let rows = answer.rows().map_err(to_datafusion)?;
    if hidden > 0 {
        // Of its own target: the command line shows it, whatever else it leaves to RUST_LOG.
        tracing::warn!(
            target: "datafusion_psi::answer",
            "{hidden} of {} groups show NULL: by their noisy counts they are under {}'s minimum; psi_note(…) beside an aggregate \
             says so row by row",
            rows.num_rows(),
            query.peer
        );
    }
    Ok(rows)
}

/// The groups that the local relation makes, held against the share's limit before anything is charged or sent.
async fn parts(query: &PrivateQuery, local: &mut Local) -> Result<Option<Arc<Parts>>, Error> {
    if !query.question.own_groups {
        return Ok(None);
    }
    let columns = std::mem::take(&mut local.groups);
    let parts = offload::prepare(move || Parts::of(&columns)).await??;
    let count = u32::try_from(parts.count()).unwrap_or(u32::MAX);
    match check_parts(&query.shared.terms, count) {
        Ok(()) => Ok(Some(Arc::new(parts))),
        Err(_) if count == 0 => Ok(Some(Arc::new(parts))),
        Err(refusal) => Err(Error::Refused(format!("{} refuses: {refusal}", query.peer))),
    }
}

/// What a run has of the engine that it runs in.
struct Engine {
    config: PsiConfig,
    runtime: Arc<RuntimeEnv>,
}

/// What the local relation's persons are made of.
struct Preparing {
    local: Local,
    parts: Option<Arc<Parts>>,
    conflict: GroupConflict,
}

/// This side's table for a session, but for its fillers.
struct Prepared {
    identifiers: Vec<LargeBinaryArray>,
    values: Vec<Vec<i128>>,
    /// Persons of each part.
    persons: Vec<usize>,
    table: PreparedTable,
}

impl Preparing {
    /// Groups rows into persons, persons into parts. CPU-bound.
    fn prepare(self, own_words: Vec<(Word, WordTerms)>) -> Result<Prepared, Error> {
        let table = self.local.identifiers.prepare()?;
        let assigned = self.parts.as_ref().map(|parts| parts.assign(&table, self.conflict)).transpose()?;
        let counting = assigned.as_ref().and_then(|assigned| assigned.counting.as_ref());
        let mut columns = self.local.values.iter();
        let mut values = Vec::with_capacity(own_words.len());
        for (word, terms) in own_words {
            let column = word.column().and_then(|_| columns.next());
            values.push(person_values(&table, counting, column, word, &terms)?);
        }
        let (identifiers, values) = entries_after_filter(&table, None, values, true)?;
        Ok(match assigned {
            None => Prepared { persons: vec![table.persons()], identifiers, values, table },
            Some(assigned) => Prepared {
                identifiers: assigned.in_order(&identifiers)?,
                values: values.iter().map(|column| assigned.values_in_order(column)).collect(),
                persons: assigned.persons,
                table,
            },
        })
    }
}

/// Persons, charge, session: by part and label, the sums of the question's aggregates.
async fn ask(
    query: &Arc<PrivateQuery>,
    settled: &Settled,
    asker: &Arc<Asker>,
    preparing: Preparing,
    engine: &Engine,
    began: Instant,
    watcher: &Arc<Watcher>,
) -> Result<Vec<Vec<i128>>, Error> {
    let link = Arc::clone(asker.link(&query.peer)?);
    let ask = asker.party().may_ask(&query.peer)?;
    let unnormalised = preparing.local.identifiers.unnormalised;
    let own_words = settled.own_words.clone();
    // While rows become persons; what is left then is as large as what the local relation has set aside.
    let room = MemoryConsumer::new("persons of a private query").register(&engine.runtime.memory_pool);
    let found = &preparing.local.identifiers;
    room.try_grow(prepare_bytes(found.rows(), settled.terms.len(), found.size_bytes())).map_err(|error| {
        Error::Environment(format!("this side has not the memory to prepare its rows: {}", error.strip_backtrace()))
    })?;
    let Prepared { identifiers, values, persons, table } =
        offload::prepare(move || preparing.prepare(own_words)).await??;
    watcher.note(|report| {
        note_local(report, &table, unnormalised, began.elapsed().as_secs_f64());
        report.parts = persons.len();
    });
    drop((table, room));

    let mut rng = seeded()?;
    // Drawn for each part by itself: each part's number is announced.
    let fillers = |rng: &mut ChaCha20Rng| ask.pad_plan().map_or(0, |plan| pad_fillers(&plan.epsilon, plan.bound, rng));
    let parts = persons.into_iter().map(|persons| EntryPart { persons, fillers: fillers(&mut rng) }).collect();
    let entries = Entries { identifiers, values, parts };
    let announced = entries.announced_total();
    let limits = limits(asker.party());
    if announced > limits.persons_max {
        return Err(Error::Caller(format!(
            "the local side has {announced} entries, over this party's limit of {}: narrow it by a filter, or raise persons_max in [limits]",
            limits.persons_max
        )));
    }
    let account = asker.budgets().open(&settled.account, announced)?;
    let (columns, parts) = (settled.terms.len() as u32, entries.parts.len());
    let session = SessionId::random(&mut rng);
    // The accountant takes a second or two for a new account, and composes for each charge; the disk takes its time.
    let (account, dummies) = offload::block(move || account.dummies().map(|dummies| (account, dummies))).await??;
    limits.check_own(announced, dummies, parts)?;
    let added = dummies.saturating_mul(columns.into()).saturating_mul(parts as u64);
    // Before the charge as far as lengths are known: by the peer's when it last answered. By the real ones before any
    // element leaves.
    let memory = Arc::new(SessionMemory::new(&engine.runtime, session, &asker.party().name));
    let known = asker.known_length(&query.peer, &query.question.table).unwrap_or(0);
    let footprint = Footprint {
        role: Role::Requester,
        columns: columns.into(),
        parts: parts as u64,
        values: settled.own_words.len() as u64,
        rows: SessionRows { own: announced.saturating_add(added), peer: known.saturating_add(added) },
        identifiers: 0,
    };
    memory.fit(&footprint, |_| false)?;
    let held = Arc::clone(&memory);
    let find_room = Box::new(move |rows: SessionRows| held.fit(&Footprint { rows, ..footprint }, |_| false));
    let asked = Asked {
        session,
        question: canonical(&query.question),
        terms: query.shared.terms.canonical(),
        persons_own: announced,
        persons_peer: None,
    };
    let (books, peer) = (asker.budgets().clone(), query.peer.clone());
    let given_up = given_up(asker, watcher, session);
    let (reservation, given_up, chain) = offload::block(move || {
        let reservation = account.charge(dummies, columns, &asked)?;
        // From here on there is an end to be written, whatever becomes of this run.
        Ok::<_, Error>((reservation, given_up(), books.chain(&peer)?))
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
    let requester =
        Requester::new(offer, entries, reservation, witness, check_chain, limits, rng)?.with_room(find_room);
    let deadlines = asker.deadlines(engine.config.stall_seconds, engine.config.timeout_seconds);
    let started = Instant::now();
    let run = link.run(requester, &deadlines, Arc::clone(watcher) as Arc<dyn Observer>).await;
    let answered = run.and_then(Requester::into_answer);
    note_end(asker, watcher, session, started, answered.as_ref()).await;
    given_up.disarm();
    drop(memory);
    let answered = answered?;
    asker.keep_length(&query.peer, &query.question.table, answered.peer_persons);
    watcher.note(|report| {
        report.outcome = Some(Outcome {
            sizes: by_identifier(&query.question.identifiers, &answered.sizes),
            dummies: answered.dummies,
            persons_there: answered.peer_persons,
        });
    });
    Ok(answered.cells)
}

/// The noisy sizes, which come by column and then part, each beside its identifier.
fn by_identifier(identifiers: &[String], sizes: &[u64]) -> Vec<(String, Vec<u64>)> {
    let parts = (sizes.len() / identifiers.len().max(1)).max(1);
    identifiers.iter().cloned().zip(sizes.chunks(parts).map(<[u64]>::to_vec)).collect()
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
    let row = ended(watcher, started, answered);
    let books = asker.budgets().clone();
    let written = offload::block(move || books.ended(session, &row)).await.and_then(|done| done);
    if let Err(error) = written {
        tracing::error!(%session, %error, "the session's end is not in the audit");
    }
}

/// A session's end, as the audit keeps it.
fn ended(watcher: &Watcher, started: Instant, answered: Result<&Answered, &Error>) -> Ended {
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
    row
}

/// Makes what ends a charged session whose run is dropped midway: by an analyst who cancels, or a deadline of the
/// engine's. The sizes that it has shown stand in the audit all the same.
fn given_up(asker: &Asker, watcher: &Arc<Watcher>, session: SessionId) -> impl FnOnce() -> EndGuard + Send + 'static {
    let (budgets, watcher, started) = (asker.budgets().clone(), Arc::clone(watcher), Instant::now());
    move || {
        EndGuard::of_session(budgets, session, move || {
            ended(&watcher, started, Err(&Error::Environment("cancelled by who asked".to_owned())))
        })
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
    escaped(&asked(question), DESCRIBED_CHARS_MAX)
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
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut seed[..])
        .map_err(|error| Error::Environment(format!("the operating system gives no randomness: {error}")))?;
    Ok(ChaCha20Rng::from_seed(*seed))
}
