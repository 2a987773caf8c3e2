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

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::context::{SessionConfig, SessionContext};
use datafusion::execution::runtime_env::RuntimeEnv;

use super::ahead::{Answering, TableAhead};
use super::ending::EndGuard;
use super::error::{owner_error, to_datafusion, too_large};
use super::keys::Keys;
use super::people::{Identifiers, MatchColumn, entries_after_filter};
use super::prepared::{Prepared, PreparedKey, PreparedTables, Room};
use super::record::{canonical, failed, footprint};
use super::run::{described, limits, seeded};
use super::scan::{Reading, Rows, chunk_bytes, evaluate, physical, scan};
use super::spill::SessionMemory;
use super::tables::{OpenedTable, open_table, runtime};
use super::totals::{Wanted, position, shared_schema};
use crate::dp::pad_fillers;
use crate::policy::{Asked, Budgets, ChainLink, Consent, Ended, Party, Permit, Refusal, Share};
use crate::psi::prepare::prepare_bytes;
use crate::psi::{AnswerTerms, Entries, Error, FilteredRows, Offer, Responder, SessionId};
use crate::transport::{PeerIdentity, SessionEnded, SharedTable, TableSource, offload};

/// Answers peers from a party's tables, as its policy says.
pub struct PolicySource {
    party: Arc<Party>,
    budgets: Budgets,
    keys: Keys,
    engine: SessionContext,
    prepared: Arc<PreparedTables>,
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
    /// Its entries share the prepared table's identifiers, whose memory is in use as long.
    _persons: Arc<Prepared>,
    /// The last to be dropped: what is blinded ahead may then take up the memory.
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
        let runtime = runtime(&party).map_err(|error| {
            Error::Environment(format!("the SQL engine cannot be set up: {}", error.strip_backtrace()))
        })?;
        Self::with_runtime(party, budgets, runtime)
    }

    /// The same within a runtime of the embedding program's, whose memory pool, temporary files and object stores it then
    /// shares, in place of one of `memory_mb`. The runtime must keep no list of files: it would hide new ones.
    ///
    /// # Errors
    /// [`Error::Caller`] for a certificate that cannot be read.
    pub fn with_runtime(party: Arc<Party>, budgets: Budgets, runtime: Arc<RuntimeEnv>) -> Result<Self, Error> {
        let keys = Keys::of(&party)?;
        let mut config = SessionConfig::new();
        // A prepared table and the values of a later query meet by row number. Partitions that take files from each
        // other as they run would give the rows in another order each time.
        config.options_mut().execution.enable_file_stream_work_stealing = false;
        let prepared = Arc::new(PreparedTables::new(&runtime.memory_pool, party.limits.blind_ahead_mb));
        let engine = SessionContext::new_with_config_rt(config, runtime);
        Ok(PolicySource {
            party,
            budgets,
            keys,
            engine,
            prepared,
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
            self.check_share(share).await?;
        }
        Ok(())
    }

    /// Opens the table of one share and checks it against that share.
    ///
    /// # Errors
    /// It cannot be opened or does not fit, with the policy's line.
    pub async fn check_share(&self, share: &Share) -> EngineResult<()> {
        let opened = self.open(&share.table).await?;
        self.party
            .check_columns(share, &opened.provider.schema())
            .map_err(|error| DataFusionError::Configuration(error.to_string()))
    }

    /// The rows of a table: an upper bound of its persons.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn count_rows(&self, table: &str) -> EngineResult<u64> {
        let opened = self.open(table).await?;
        Ok(self.engine.read_table(opened.provider)?.count().await? as u64)
    }

    async fn open(&self, table: &str) -> EngineResult<OpenedTable> {
        let known = self.party.table(table);
        let locations = known.map(|table| table.location.as_slice()).unwrap_or_default();
        open_table(&self.engine.state(), table, locations).await
    }

    /// Whether the operator has approved this very question, where the share wants that.
    async fn approved(&self, peer: &PeerIdentity, permit: &Permit, offer: &Offer) -> Result<(), Error> {
        if !permit.needs_approval() {
            return Ok(());
        }
        let (books, name) = (self.budgets.clone(), peer.name.clone());
        let (question, terms) = (canonical(&offer.question), permit.share.terms().canonical());
        match offload::block(move || books.approval(&name, &question, &terms)).await?? {
            Consent::Given => Ok(()),
            Consent::Waits { id } => Err(Self::refused(peer, self.party.hold(&permit.share, &peer.name, &id))),
        }
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

    /// Memory that sessions and scans hold of the pool, in bytes: all but the prepared tables'.
    #[cfg(test)]
    pub(super) fn memory_held(&self) -> usize {
        self.memory().reserved() - self.prepared.bytes()
    }

    /// That pool.
    #[cfg(test)]
    pub(super) fn memory(&self) -> Arc<dyn datafusion::execution::memory_pool::MemoryPool> {
        Arc::clone(&self.engine.runtime_env().memory_pool)
    }

    /// Waits until so many of its tables are blinded to their end.
    #[cfg(test)]
    pub(super) async fn blinded_ahead(&self, tables: usize) {
        let made = tokio::time::timeout(std::time::Duration::from_secs(60), self.prepared.ahead.made(tables));
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
            let room = self.prepared.reading(&key.table, peer);
            let what = Reading { columns: &columns, witnesses: &columns, room: &room, bytes: Identifiers::size_bytes };
            let read = scan(&self.engine, opened, what, move |batch| Identifiers::of(&batch, &terms)).await;
            let (chunks, order) = read.map_err(self.unreadable(&key.table))?;
            self.unchanged(&key).await?;
            let name = key.table.clone();
            let prepared = offload::prepare(move || {
                let identifiers = Identifiers::join(chunks, count).map_err(to_datafusion)?;
                let (unnormalised, bytes) = (identifiers.unnormalised, identifiers.size_bytes());
                let more = prepare_bytes(identifiers.rows(), count, bytes);
                room.resize(bytes.saturating_add(more))?;
                let table = identifiers.prepare().map_err(to_datafusion)?;
                room.resize(table.size_bytes())?;
                let ahead = Arc::new(TableAhead::new(&name, table.identifiers()));
                Ok::<_, DataFusionError>(Prepared { table, unnormalised, order, columns, memory: room.take(), ahead })
            });
            let prepared = prepared.await?.map_err(self.unreadable(&key.table))?;
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
        room: &Arc<Room>,
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
        let what = Reading { columns: &columns, witnesses: &persons.columns, room, bytes: chunk_bytes };
        let read_rows = scan(&self.engine, opened, what, move |batch| {
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
        offload::prepare(move || Rows::join(chunks, &types, filters, rows_expected)).await?
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
        let (question, answering) = (&offer.question, self.prepared.ahead.pause());
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
        offload::block(move || {
            books.keep_chain(&name, &theirs)?;
            books.open(&account, offered)?.check_left()?;
            // As for the largest table that there could be: the real one is not known yet, and nothing before the charge may
            // tell of it. The accountant is spared where any share grants as much, and where there are no groups.
            if parts == 1 && limits.check_dummies(dummies, 0).is_ok() {
                return Ok(());
            }
            let most = books.open(&account, persons_max)?.dummies()?;
            limits.check_dummies(dummies, most)?;
            limits.check_groups(dummies.max(most), parts)
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
        let (account, dummies) = offload::block(move || account.dummies().map(|dummies| (account, dummies))).await??;
        limits.check_dummies(offered, dummies)?;
        // A filter that hides shares the prepared table's identifiers; any other copies those that stay.
        let hides = permit.filtered_rows() == FilteredRows::Hide;
        let copied = if hides { 0 } else { persons.table.size_bytes() as u64 };
        let set_aside = || {
            let labels = permit.labels.len();
            let footprint = footprint(&offer, length, labels, dummies.max(offered), copied);
            let memory = SessionMemory::new(&self.engine.runtime_env(), offer.session, &self.party.name);
            let spill = memory.fit(&footprint, |more| self.prepared.make_room(&peer.name, more))?;
            Ok::<_, Error>((memory, spill))
        };
        // Whether there is memory for it says something of the length: before the charge only where that is told anyway.
        let early = if padded { None } else { Some(set_aside()?) };
        let given_up = self.given_up(offer.session);
        let (reservation, given_up, chain) = offload::block(move || {
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
        self.running().insert(
            offer.session,
            Running {
                told: chain.first().copied(),
                _memory: memory,
                _persons: Arc::clone(&persons),
                _answering: answering,
            },
        );
        // Any filter but one that hides takes rows out, and with them what was blinded in their places.
        let ahead = hides.then(|| self.prepared.ahead.asked_about(&persons.ahead));

        let room = self.prepared.reading(&table, &peer.name);
        let rows = self.rows(&opened, &table, &wanted, &persons, &room).await?;
        let (identifiers, values) = offload::prepare(move || {
            let _room = room;
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
        // It draws the noise of every cell, exactly: some microseconds each, and up to a million of them.
        let session = move || Responder::new(&offer, answer, entries, reservation, witness, limits, rng);
        offload::prepare(session).await??.with_spill(spill).with_ahead(ahead)
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
        let written = offload::block(move || {
            told.map_or(Ok(()), |told| books.confirm_chain(&name, &told))?;
            books.ended(session, &row)
        });
        match written.await.and_then(|done| done) {
            Ok(()) => {}
            Err(error) => tracing::error!(peer = peer.name, %session, %error, "the session's end is not in the audit"),
        }
    }
}
