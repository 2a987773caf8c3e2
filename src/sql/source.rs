//! A party as one that answers: the transport's [`TableSource`], by policy, engine and files.
//!
//! | step | depends on |
//! |---|---|
//! | permit: who asks what, with which normalisers | question, policy, column types |
//! | filter: parsed afresh, checked node by node | question, policy, column types |
//! | the table's persons, from *all* its rows; kept for the next query | table version, identifiers |
//! | dummies, charge | policy, budget, the prepared table's length |
//! | which rows pass; each person's clipped totals; who is emptied | rows, filter |
//!
//! Every refusal comes from the first, second and fourth row: none depends on a value. The last row's work
//! ends before the session's first frame leaves, so nothing but the time until the answer tells of it,
//! and with `filtered_rows = "hide"` two filters over one table version announce the same length.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;

use super::ahead::{Ahead, Answering, TableAhead};
use super::ending::EndGuard;
use super::error::{owner_error, too_large};
use super::kept::{KeptTables, Prepared, PreparedKey};
use super::keys::Keys;
use super::offload::off_runtime;
use super::people::{Identifiers, MatchColumn, entries_after_filter};
use super::record::{canonical, failed, set_aside};
use super::run::{described, limits, seeded};
use super::scan::{Rows, evaluate, physical, scan};
use super::spill::SessionMemory;
use super::tables::{OpenedTable, open_table};
use super::totals::{Wanted, position, shared_schema};
use crate::dp::pad_fillers;
use crate::policy::{Asked, Budgets, ChainLink, Ended, Party, Permit, Refusal, Share};
use crate::psi::{AnswerTerms, Entries, Error, FilteredRows, Offer, Responder, SessionId};
use crate::transport::{PeerIdentity, SessionEnded, SharedTable, TableSource};

/// Answers peers from a party's tables, as its policy says.
pub struct PolicySource {
    party: Arc<Party>,
    budgets: Budgets,
    keys: Keys,
    engine: SessionContext,
    prepared: KeptTables,
    ahead: Ahead,
    /// The columns that each table had when it was last read: a share stays published while its files
    /// are away for a moment, and whoever asks then hears what is wrong.
    published: Mutex<HashMap<String, SchemaRef>>,
    /// What each running session has told its peer, and holds of the memory that the policy allows.
    running: Arc<Mutex<HashMap<SessionId, Running>>>,
}

/// What is kept of a session while it runs.
struct Running {
    /// The chain's head that it has told its peer.
    told: Option<ChainLink>,
    _memory: SessionMemory,
    /// The last to be dropped: what is blinded ahead may take up the memory.
    _answering: Answering,
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySource").field("party", &self.party.name).finish_non_exhaustive()
    }
}

impl PolicySource {
    /// A source that answers by that policy and books every query in `budgets`. Tables are opened when
    /// they are asked for.
    ///
    /// # Errors
    /// [`Error::Environment`] if the engine cannot be set up; [`Error::Caller`] for a certificate that cannot be read.
    pub fn new(party: Arc<Party>, budgets: Budgets) -> Result<Self, Error> {
        let keys = Keys::of(&party)?;
        // A list of files that is kept would hide new ones: a version is what the store says now.
        let memory = usize::try_from(party.limits.memory_mb.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_object_list_cache_limit(0)
            .with_memory_limit(memory, 1.0)
            .build_arc()
            .map_err(|error| {
                Error::Environment(format!("the SQL engine cannot be set up: {}", error.strip_backtrace()))
            })?;
        let mut config = SessionConfig::new();
        // A prepared table and the values of a later query meet by row number. Partitions that take files from each
        // other as they run would give the rows in another order each time.
        config.options_mut().execution.enable_file_stream_work_stealing = false;
        let ahead = Ahead::new(party.limits.blind_ahead_mb, &runtime.memory_pool);
        let engine = SessionContext::new_with_config_rt(config, runtime);
        Ok(PolicySource {
            party,
            budgets,
            keys,
            engine,
            prepared: KeptTables::default(),
            ahead,
            published: Mutex::default(),
            running: Arc::default(),
        })
    }

    /// The keys of the party and its peers.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The books that every answer is charged in.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Opens every shared table and checks it against its shares: for start-up.
    ///
    /// # Errors
    /// The first that cannot be opened or does not fit, with the policy's line.
    pub async fn check(&self) -> EngineResult<()> {
        for share in &self.party.shares {
            let opened = self.open(&share.table).await?;
            self.party
                .check_columns(share, &opened.provider.schema())
                .map_err(|error| DataFusionError::Configuration(error.to_string()))?;
        }
        Ok(())
    }

    /// The rows of every shared table, by its name: an upper bound of its persons.
    ///
    /// # Errors
    /// The first table that cannot be read.
    pub async fn count_rows(&self) -> EngineResult<BTreeMap<String, u64>> {
        let mut rows = BTreeMap::new();
        for share in &self.party.shares {
            let opened = self.open(&share.table).await?;
            rows.insert(share.table.clone(), self.engine.read_table(opened.provider)?.count().await? as u64);
        }
        Ok(rows)
    }

    async fn open(&self, table: &str) -> EngineResult<OpenedTable> {
        let known = self.party.table(table);
        let locations = known.map(|table| table.location.as_slice()).unwrap_or_default();
        open_table(&self.engine.state(), table, locations).await
    }

    /// Whether the operator has approved this very question, where the share wants that.
    async fn approved(&self, peer: &PeerIdentity, permit: &Permit, offer: &Offer) -> Result<(), Error> {
        if !permit.share.approval {
            return Ok(());
        }
        let (books, name) = (self.budgets.clone(), peer.name.clone());
        let (question, terms) = (canonical(&offer.question), permit.share.terms().canonical());
        let held = off_runtime(move || books.approval(&name, &question, &terms)).await.and_then(|held| held);
        held.inspect_err(|reason| tracing::warn!(peer = peer.name, %reason, "held for approval"))
    }

    fn unreadable<'a>(&'a self, table: &'a str) -> impl Fn(DataFusionError) -> Error + 'a {
        move |error| owner_error(&self.party.name, table, &error)
    }

    /// What the peer hears of a refusal; the owner's text goes to the log.
    fn refused(peer: &PeerIdentity, refusal: Refusal) -> Error {
        tracing::warn!(peer = peer.name, "{refusal}");
        refusal.into()
    }

    /// The share as its peers see it.
    async fn shared(&self, share: &Share) -> Result<SharedTable, Error> {
        let schema = match self.fitting_schema(share).await {
            Ok(schema) => {
                self.published().insert(share.table.clone(), Arc::clone(&schema));
                schema
            }
            Err(error) => self.published().get(&share.table).cloned().ok_or(error)?,
        };
        Ok(SharedTable { schema: shared_schema(share, &schema), terms: share.terms() })
    }

    async fn fitting_schema(&self, share: &Share) -> Result<SchemaRef, Error> {
        let opened = self.open(&share.table).await.map_err(self.unreadable(&share.table))?;
        let schema = opened.provider.schema();
        self.party.check_columns(share, &schema).map_err(|error| {
            tracing::error!(table = share.table, "{error}");
            Error::Environment(format!(
                "'{}' cannot offer its table '{}' at the moment: it does not fit its policy; its log says why",
                self.party.name, share.table
            ))
        })?;
        Ok(schema)
    }

    /// Makes what ends a charged session that is given up before it is answered: by a requester that is gone, or a
    /// deadline. To be called with the charge, on whose thread it may be that nobody waits for it any more.
    fn given_up(&self, session: SessionId) -> impl FnOnce() -> EndGuard + Send + 'static {
        let (running, budgets, began) = (Arc::clone(&self.running), self.budgets.clone(), Instant::now());
        move || {
            EndGuard::of_session(budgets, session, move || {
                running.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
                Ended {
                    sizes: Vec::new(),
                    dummies: 0,
                    outcome: Err("environment: given up before it was answered".to_owned()),
                    seconds: began.elapsed().as_secs_f64(),
                    bytes: (0, 0),
                    receipt: None,
                }
            })
        }
    }

    /// Memory that sessions and scans hold of the pool, in bytes.
    #[cfg(test)]
    pub(super) fn memory_held(&self) -> usize {
        self.memory().reserved()
    }

    /// That pool.
    #[cfg(test)]
    pub(super) fn memory(&self) -> Arc<dyn datafusion::execution::memory_pool::MemoryPool> {
        Arc::clone(&self.engine.runtime_env().memory_pool)
    }

    /// Waits until so many of its tables are blinded to their end.
    #[cfg(test)]
    pub(super) async fn blinded_ahead(&self, tables: usize) {
        let made = tokio::time::timeout(std::time::Duration::from_secs(60), self.ahead.made(tables));
        made.await.expect("within a minute");
    }

    fn running(&self) -> MutexGuard<'_, HashMap<SessionId, Running>> {
        // Whole after every single operation.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self) -> MutexGuard<'_, HashMap<String, SchemaRef>> {
        // Whole after every single operation.
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table's persons, from all rows. `columns` are the table's; CPU-bound parts run off the runtime.
    async fn persons(&self, opened: &OpenedTable, permit: &Permit, peer: &str) -> Result<Arc<Prepared>, Error> {
        let key = PreparedKey {
            peer: peer.to_owned(),
            table: permit.share.table.clone(),
            version: opened.version.clone(),
            identifiers: permit.identifiers.iter().map(|found| (found.columns.clone(), found.normaliser)).collect(),
        };
        let place = self.prepared.place(&key);
        let prepared = place.get_or_try_init(|| async {
            let mut columns: Vec<String> = Vec::new();
            let terms = permit
                .identifiers
                .iter()
                .map(|identifier| MatchColumn {
                    normaliser: identifier.normaliser,
                    parts: identifier.columns.iter().map(|name| position(&mut columns, name)).collect(),
                })
                .collect::<Vec<_>>();
            let terms = Arc::new(terms);
            let count = terms.len();
            let (chunks, order) =
                scan(&self.engine, opened, &columns, &columns, move |batch| Identifiers::of(&batch, &terms))
                    .await
                    .map_err(self.unreadable(&key.table))?;
            self.unchanged(&key).await?;
            let name = key.table.clone();
            let prepared = off_runtime(move || {
                let identifiers = Identifiers::join(chunks, count)?;
                let (unnormalised, table) = (identifiers.unnormalised, identifiers.prepare()?);
                let ahead = Arc::new(TableAhead::new(&name, table.identifiers()));
                Ok::<_, Error>(Prepared { table, unnormalised, order, columns, ahead })
            })
            .await??;
            let report = prepared.table.report();
            tracing::info!(
                table = key.table,
                rows = report.rows,
                persons = report.persons,
                dropped_rows = report.dropped_rows,
                unnormalised = prepared.unnormalised,
                lost_second = report.columns.iter().map(|column| column.lost_second).sum::<u64>(),
                lost_to_another = report.columns.iter().map(|column| column.lost_to_another).sum::<u64>(),
                "prepared"
            );
            Ok::<_, Error>(Arc::new(prepared))
        });
        prepared.await.map(Arc::clone)
    }

    /// Refuses a table whose files changed while they were read.
    async fn unchanged(&self, key: &PreparedKey) -> Result<(), Error> {
        let now = self.open(&key.table).await.map_err(self.unreadable(&key.table))?.version;
        if now == key.version {
            return Ok(());
        }
        Err(Error::Environment(format!(
            "the table '{}' of '{}' changed while it was read; ask again",
            key.table, self.party.name
        )))
    }

    /// Which rows pass each predicate, and the columns that aggregates and groups read, in the table's order: one scan.
    async fn rows(
        &self,
        opened: &OpenedTable,
        table: &str,
        wanted: &Wanted,
        persons: &Prepared,
    ) -> Result<Rows, Error> {
        let table_schema = opened.provider.schema();
        let mut columns = wanted.columns.clone();
        for column in wanted.predicates.iter().flat_map(|predicate| predicate.column_refs()) {
            position(&mut columns, &column.name);
        }
        if columns.is_empty() {
            return Ok(Rows { passing: Vec::new(), values: Vec::new() });
        }
        let read: SchemaRef = Arc::new(Schema::new(
            columns
                .iter()
                .map(|name| table_schema.field_with_name(name).cloned())
                .collect::<Result<Vec<_>, _>>()
                .map_err(Error::internal)?,
        ));
        let predicates =
            wanted.predicates.iter().map(|predicate| physical(predicate, &read)).collect::<Result<Vec<_>, Error>>()?;
        let (kept, filters) = (wanted.columns.len(), predicates.len());
        let read_rows = scan(&self.engine, opened, &columns, &persons.columns, move |batch| {
            let passing: Vec<_> = predicates.iter().map(|predicate| evaluate(predicate, &batch)).collect();
            Ok((passing, batch.columns()[..kept].to_vec()))
        });
        let (chunks, order) = read_rows.await.map_err(self.unreadable(table))?;
        if order != persons.order {
            return Err(Error::Environment(format!(
                "the rows of table '{table}' of '{}' changed while it was read; ask again",
                self.party.name
            )));
        }
        let types: Vec<DataType> = read.fields()[..kept].iter().map(|field| field.data_type().clone()).collect();
        let rows_expected = persons.table.rows();
        off_runtime(move || Rows::join(chunks, &types, filters, rows_expected)).await?
    }

    /// Checks, charges and prepares an answer. Once charged, the session is among the running ones.
    ///
    /// `begun` is set once it is charged: whatever then becomes of this future, the session's end is written.
    async fn charged_answer(
        &self,
        peer: &PeerIdentity,
        offer: Offer,
        begun: &mut Option<EndGuard>,
    ) -> Result<Responder, Error> {
        let (question, answering) = (&offer.question, self.ahead.pause());
        let refused = |refusal| Self::refused(peer, refusal);
        let limits = limits(&self.party);
        let parts = offer.persons.len();
        limits.check_peer("offer", offer.persons_total(), offer.dummies, parts)?;
        // Before any file is touched: a table that is not shared is refused alike, there or not.
        let table = self.party.shared_table(&peer.name, &question.table).map_err(refused)?.table.clone();
        let opened = self.open(&table).await.map_err(self.unreadable(&table))?;
        let schema = opened.provider.schema();
        let permit = self.party.permit(&peer.name, question, &schema, &offer.normalisers, parts).map_err(refused)?;
        let wanted = Wanted::of(question, &permit, &shared_schema(&permit.share, &schema))
            .map_err(|reason| refused(self.party.refuse(&permit.share, &peer.name, &reason)))?;
        self.approved(peer, &permit, &offer).await?;
        // Both would be said below as well, but only after the table was read for nothing.
        let (books, account, theirs) = (self.budgets.clone(), permit.account.clone(), offer.chain.clone());
        let (name, offered, dummies) = (peer.name.clone(), offer.persons_total(), offer.dummies);
        let persons_max = self.party.limits.persons_max;
        off_runtime(move || {
            books.keep_chain(&name, &theirs)?;
            books.open(&account, offered)?.check_left()?;
            // As for the largest table that there could be: the real one is not known yet. The accountant is spared where
            // any share grants as much.
            match limits.check_dummies(dummies, 0) {
                Ok(()) => Ok(()),
                Err(_) => limits.check_dummies(dummies, books.open(&account, persons_max)?.dummies()?),
            }
        })
        .await??;

        let persons = self.persons(&opened, &permit, &peer.name).await?;
        // Charged before the filter is evaluated: whatever happens after it, and how long it takes, is paid for.
        // The prepared table's length bounds what will be announced, whatever the filter.
        let length = persons.table.persons() as u64;
        limits.check_own(length, 0, parts).map_err(|error| too_large(&self.party.name, &table, &error))?;
        // A length that is padded must not show by the dummies either, whose default delta falls with N.
        let padded = permit.filtered_rows() == FilteredRows::Pad;
        let larger = if padded { persons_max } else { length.max(offer.persons_total()) };
        let account = self.budgets.open(&permit.account, larger)?;
        let (offered, columns) = (offer.dummies, question.identifiers.len() as u32);
        let asked = Asked {
            session: offer.session,
            question: canonical(question),
            terms: permit.share.terms().canonical(),
            persons_own: length,
            persons_peer: Some(offer.persons_total()),
        };
        let (books, name) = (self.budgets.clone(), peer.name.clone());
        // The accountant takes a second or two for a new account, and composes for each charge; the disk takes its time.
        let (account, dummies) = off_runtime(move || account.dummies().map(|dummies| (account, dummies))).await??;
        limits.check_dummies(offered, dummies)?;
        let (labels, most) = (permit.labels.len(), dummies.max(offered));
        let set_aside = || set_aside(&self.engine, &self.party, &self.ahead, &offer, length, labels, most);
        // Whether there is memory for it says something of the length: before the charge only where that is told anyway.
        let early = if padded { None } else { Some(set_aside()?) };
        let given_up = self.given_up(offer.session);
        let (reservation, given_up, chain) = off_runtime(move || {
            // Before the charge, by what does not follow from a padded table: what will be announced, but for fillers.
            let dummy_rows = dummies.max(offered).saturating_mul(u64::from(columns)).saturating_mul(parts as u64);
            let most = if padded { persons_max } else { length };
            limits.check_transfers(most.saturating_add(dummy_rows), parts)?;
            let reservation = account.charge(dummies.max(offered), columns, &asked)?;
            // From here on there is an end to be written, whatever it is.
            Ok::<_, Error>((reservation, given_up(), books.chain(&name)))
        })
        .await??;
        *begun = Some(given_up);
        let chain = chain?;
        let (memory, spill) = early.map_or_else(set_aside, Ok)?;
        let running = Running { told: chain.first().copied(), _memory: memory, _answering: answering };
        self.running().insert(offer.session, running);
        // Other filters than one that hides take rows out, and with them what was blinded in their places.
        let hides = permit.filtered_rows() == FilteredRows::Hide;
        let ahead = hides.then(|| Arc::clone(&persons.ahead));
        if let Some(ahead) = &ahead {
            self.ahead.asked_about(ahead);
        }

        let rows = self.rows(&opened, &table, &wanted, &persons).await?;
        let (identifiers, values) = off_runtime(move || {
            let values = wanted.totals(&persons.table, &rows)?;
            entries_after_filter(&persons.table, wanted.passing(&rows), values, hides)
        })
        .await??;

        let mut rng = seeded()?;
        let fillers = permit.share.pad_plan().map_or(0, |plan| pad_fillers(&plan.epsilon, plan.bound, &mut rng));
        let entries = Entries::whole(identifiers, values, fillers);
        let announced = entries.announced_total();
        let ahead = ahead.and_then(|ahead| ahead.take());
        tracing::info!(
            peer = peer.name,
            table,
            session = %offer.session,
            question = %described(question),
            persons = announced,
            dummies,
            blinded_ahead = ahead.is_some(),
            "answering"
        );
        let shared = permit.share.terms();
        let answer = AnswerTerms {
            dummies,
            words: permit.words.clone(),
            labels: permit.labels.clone(),
            normalisers: permit.normalisers(),
            minimum_matched: permit.minimum_matched(),
            filtered_rows: permit.filtered_rows(),
            sizes: shared.sizes,
            outputs: shared.outputs.per_query()?,
            chain,
        };
        let witness = self.keys.witness(&self.party, &peer.name);
        let session = Responder::new(&offer, answer, entries, reservation, witness, limits, rng)?;
        session.with_spill(spill).with_ahead(ahead)
    }
}

#[async_trait]
impl TableSource for PolicySource {
    type Answer = Responder;

    fn knows(&self, peer: &PeerIdentity) -> bool {
        self.party.peer(&peer.name).is_some()
    }

    async fn shares(&self, peer: &PeerIdentity) -> Result<Vec<SharedTable>, Error> {
        self.party.known_peer(&peer.name).map_err(|refusal| Self::refused(peer, refusal))?;
        let (mut tables, mut broken) = (Vec::new(), None);
        for share in self.party.shares_with(&peer.name) {
            match self.shared(share).await {
                Ok(table) => tables.push(table),
                // Logged; one broken table must not hide the others.
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(error) if tables.is_empty() => Err(error),
            _ => Ok(tables),
        }
    }

    async fn answer(&self, peer: &PeerIdentity, offer: Offer) -> Result<Responder, Error> {
        let (id, began) = (offer.session, Instant::now());
        let mut begun = None;
        let answered = self.charged_answer(peer, offer, &mut begun).await;
        if let Err(error) = &answered
            && begun.is_some()
        {
            // Charged, and never begun: the audit says why.
            let (sizes, seconds) = (Vec::new(), began.elapsed().as_secs_f64());
            self.ended(peer, SessionEnded { id, outcome: Err(error), sizes, seconds, bytes_up: 0, bytes_down: 0 })
                .await;
        }
        if let Some(begun) = begun {
            begun.disarm();
        }
        answered
    }

    async fn ended(&self, peer: &PeerIdentity, ended: SessionEnded<'_, Responder>) {
        let session = ended.id;
        let (outcome, dummies, receipt) = match ended.outcome {
            Ok(answered) => match answered.into_outcome() {
                Ok(outcome) => (Ok(()), outcome.dummies, outcome.receipt),
                Err(error) => (Err(failed(&error)), 0, None),
            },
            Err(error) => (Err(failed(error)), 0, None),
        };
        tracing::info!(peer = peer.name, %session, noisy_matches = ?ended.sizes, dummies, "ended");
        let row = Ended {
            sizes: ended.sizes,
            dummies,
            outcome,
            seconds: ended.seconds,
            bytes: (ended.bytes_down, ended.bytes_up),
            receipt,
        };
        // Whoever showed a size has confirmed the hello, and so has kept what it told.
        let told = self.running().remove(&session).and_then(|running| running.told).filter(|_| !row.sizes.is_empty());
        let (books, name) = (self.budgets.clone(), peer.name.clone());
        let written = off_runtime(move || {
            told.map_or(Ok(()), |told| books.confirm_chain(&name, &told))?;
            books.ended(session, &row)
        });
        match written.await.and_then(|done| done) {
            Ok(()) => {}
            Err(error) => tracing::error!(peer = peer.name, %session, %error, "the session's end is not in the audit"),
        }
    }
}
