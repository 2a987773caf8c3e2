//! What one call does, whichever message it came by.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arrow_flight::sql::{Any, Command, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, Ticket};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use futures::stream::BoxStream;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::effects;
use super::engine::{Engine, Task};
use super::error::{arrow, engine, status};
use super::limits::SqlLimits;
use super::results::{Pending, Planned, RunningEffect, fetch, planned};
use super::session::{COOKIE, Call, Session, Sessions, locked, random_hex};
use super::statement::{Kind, Parsed, Prepared, bytes_of, parse};
use crate::psi::Error;
use crate::sql::PrivateQueryExec;
use crate::transport::{Analyst, Analysts, Wire};

/// Gives each analyst's session its engine: whoever embeds the service decides what is in it.
#[async_trait]
pub trait SessionSource: Send + Sync + 'static {
    /// A new session, of nobody yet: its own settings and catalog. Several may share a
    /// [`RuntimeEnv`](datafusion::execution::runtime_env::RuntimeEnv), and with it its memory.
    ///
    /// # Errors
    /// What the analyst is told.
    async fn open(&self) -> Result<SessionContext, DataFusionError>;
}

/// The Flight SQL service of one party: cheap to clone.
#[derive(Clone)]
pub struct SqlFlight(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) source: Arc<dyn SessionSource>,
    pub(super) analysts: Arc<Analysts>,
    pub(super) limits: SqlLimits,
    pub(super) sessions: Sessions,
    pub(super) engine: Engine,
    /// Held while something is counted and started.
    starting: Mutex<()>,
    janitor: OnceLock<Task>,
}

/// What became of a statement.
pub(super) enum Outcome {
    /// It had an effect and no rows.
    Done,
    /// It is planned, and runs when its ticket is fetched or polled.
    Planned { name: String, pending: Arc<Pending> },
}

impl SqlFlight {
    /// A service for `analysts`, whose sessions `source` opens.
    ///
    /// # Errors
    /// [`Error::Environment`] where its threads cannot be started.
    pub fn new(source: Arc<dyn SessionSource>, analysts: Arc<Analysts>, limits: SqlLimits) -> Result<SqlFlight, Error> {
        Ok(SqlFlight(Arc::new(Inner {
            source,
            analysts,
            limits,
            sessions: Sessions::default(),
            engine: Engine::start()?,
            starting: Mutex::default(),
            janitor: OnceLock::new(),
        })))
    }

    /// Ends all sessions and what runs in them, on both sides of each private query.
    pub fn stop(&self) {
        self.0.sessions.close_all();
    }

    /// Who calls, and in which session.
    pub(super) async fn admit(&self, metadata: &MetadataMap, wire: Option<&Wire>) -> Result<Call, Status> {
        let analyst = self.0.analysts.identify(metadata, wire).await.map_err(|denied| denied.status())?;
        self.session(&analyst, metadata, wire)
    }

    pub(super) fn session(
        &self,
        analyst: &Analyst,
        metadata: &MetadataMap,
        wire: Option<&Wire>,
    ) -> Result<Call, Status> {
        self.clean_up_now_and_then();
        self.0.sessions.of_call(analyst, cookie(metadata), wire.map(Wire::line), &self.0.limits)
    }

    /// Starts the task that ends what nobody uses any more; it ends with the service.
    fn clean_up_now_and_then(&self) {
        if self.0.janitor.get().is_some() {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        let limits = self.0.limits;
        let pause = limits.session_idle.min(limits.result_idle).div_f64(4.0).max(Duration::from_millis(10));
        let cleaning = self.0.engine.spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(inner) = inner.upgrade() else { return };
                inner.sessions.sweep(&limits);
            }
        });
        // Where two calls come first, one of the two tasks ends here.
        if let Ok(task) = cleaning {
            let _ = self.0.janitor.set(task);
        }
    }

    /// Runs `work` over the call's session, on the engine's threads.
    pub(super) async fn on_engine<T, F>(
        &self,
        call: &Call,
        work: impl FnOnce(SessionContext, Arc<Session>) -> F + Send + 'static,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send,
    {
        let (session, source) = (Arc::clone(&call.session), Arc::clone(&self.0.source));
        self.0
            .engine
            .run(async move {
                let open = || async { source.open().await.map_err(|error| engine(&error)) };
                let context = session.context(open).await?;
                work(context, session).await
            })
            .await
    }

    /// Reads a statement; nothing runs.
    pub(super) async fn parsed(&self, call: &Call, text: String) -> Result<Parsed, Status> {
        let most = self.0.limits.text_bytes_max;
        self.on_engine(call, move |context, _| async move { parse(&context, &text, most).await }).await
    }

    /// Plans a statement, or runs it where it has an effect and no rows.
    pub(super) async fn settle(
        &self,
        call: &Call,
        text: String,
        values: Option<Vec<ScalarValue>>,
    ) -> Result<Outcome, Status> {
        let limits = self.0.limits;
        let flight = self.clone();
        let settled = self.on_engine(call, move |context, session| async move {
            let text_bytes = bytes_of(&text, values.as_deref());
            let parsed = parse(&context, &text, limits.text_bytes_max).await?.bind(values.as_deref())?;
            match parsed.kind {
                Kind::Effect if effects::has_query(&parsed.plan) => {
                    let running = flight.begin_effect(&session)?;
                    running.run(effects::run(&context, &session, parsed.plan, text_bytes, &limits)).await?;
                    Ok(None)
                }
                Kind::Effect => {
                    effects::run(&context, &session, parsed.plan, text_bytes, &limits).await?;
                    Ok(None)
                }
                Kind::Query => plan(&context, parsed, text_bytes).await.map(Some),
            }
        });
        match settled.await? {
            None => Ok(Outcome::Done),
            Some(planned) => {
                let more = planned.text_bytes;
                call.session.room_for_text(&locked(&call.session.statements), more, &limits)?;
                let name = random_hex()?;
                let pending = call.session.results.keep(name.clone(), planned, limits.results_per_session_max)?;
                Ok(Outcome::Planned { name, pending })
            }
        }
    }

    /// A prepared statement of the caller's.
    pub(super) fn prepared(&self, call: &Call, handle: &[u8]) -> Result<Prepared, Status> {
        let name = text_of(handle);
        let found = self
            .0
            .sessions
            .of(&call.session.owner)
            .into_iter()
            .find_map(|session| locked(&session.statements).prepared.get(name.as_str()).cloned());
        found.ok_or_else(|| {
            status(
                Code::NotFound,
                "there is no such prepared statement: it was closed, or its session has ended; prepare it again",
            )
        })
    }

    /// Binds values to one.
    pub(super) fn bind(&self, call: &Call, handle: &[u8], values: Vec<ScalarValue>) -> Result<(), Status> {
        self.prepared(call, handle)?;
        let name = text_of(handle);
        let more = bytes_of("", Some(&values));
        for session in self.0.sessions.of(&call.session.owner) {
            let mut statements = locked(&session.statements);
            if statements.prepared.contains_key(name.as_str()) {
                session.room_for_text(&statements, more, &self.0.limits)?;
            }
            if let Some(prepared) = statements.prepared.get_mut(name.as_str()) {
                prepared.values = Some(values);
                return Ok(());
            }
        }
        Ok(())
    }

    /// A result of the caller's, wherever among its sessions.
    pub(super) fn pending(&self, call: &Call, name: &str) -> Result<(Arc<Session>, Arc<Pending>), Status> {
        let sessions = self.0.sessions.of(&call.session.owner);
        let found = sessions.into_iter().find_map(|session| {
            let pending = session.results.find(name)?;
            Some((session, pending))
        });
        // The same words for another analyst's ticket and for none.
        found.ok_or_else(|| {
            status(
                Code::NotFound,
                &format!(
                    "no result waits under this ticket: it was fetched already, cancelled, or given up after {} s; \
                     run the statement again, which charges a private query again",
                    self.0.limits.result_idle.as_secs()
                ),
            )
        })
    }

    /// Starts a result, if there is room for one more.
    pub(super) fn start(&self, call: &Call, pending: &Arc<Pending>) -> Result<(), Status> {
        let _one_at_a_time = locked(&self.0.starting);
        if pending.waits() {
            self.room_to_run(&call.session.owner)?;
        }
        pending.start(&self.0.engine)
    }

    /// Counts a statement that runs at once, if there is room for one more.
    fn begin_effect(&self, session: &Arc<Session>) -> Result<RunningEffect, Status> {
        let _one_at_a_time = locked(&self.0.starting);
        self.room_to_run(&session.owner)?;
        Ok(RunningEffect::of(session))
    }

    fn room_to_run(&self, analyst: &Analyst) -> Result<(), Status> {
        let (all, own) = self.0.sessions.running(analyst);
        let limits = &self.0.limits;
        if own < limits.running_per_analyst_max && all < limits.running_max {
            return Ok(());
        }
        Err(status(
            Code::ResourceExhausted,
            &format!(
                "{own} statements of yours run here, and {all} of all analysts; {} and {} may: try again later",
                limits.running_per_analyst_max, limits.running_max
            ),
        ))
    }

    /// The messages of a result. Dropped midway, they end it.
    pub(super) fn fetched(
        &self,
        call: &Call,
        handle: &[u8],
    ) -> Result<BoxStream<'static, Result<FlightData, Status>>, Status> {
        if handle.is_empty() {
            // What an effect's ticket gives.
            let nothing = datafusion::arrow::array::RecordBatch::new_empty(Arc::new(Schema::empty()));
            return Ok(super::output::of_batch(nothing));
        }
        let name = text_of(handle);
        let (session, pending) = self.pending(call, &name)?;
        self.start(call, &pending)?;
        match fetch(session, name, pending) {
            Some(messages) => Ok(messages.boxed()),
            None => Err(status(Code::FailedPrecondition, "this result is being fetched already, and is fetched once")),
        }
    }

    /// Ends the results that an answer of this service names; whether any of them was still there.
    pub(super) fn cancel(&self, call: &Call, info: &FlightInfo) -> bool {
        let sessions = self.0.sessions.of(&call.session.owner);
        let cancel = |name: String| sessions.iter().filter(|session| session.results.cancel(&name)).count();
        names(info).into_iter().map(cancel).sum::<usize>() > 0
    }

    /// Starts a statement, or goes on waiting for one, and says how far it is.
    pub(super) async fn polled(
        &self,
        call: &Call,
        descriptor: FlightDescriptor,
        name: String,
        pending: &Arc<Pending>,
    ) -> Result<PollInfo, Status> {
        self.start(call, pending)?;
        let ready = match pending.wait(self.0.limits.poll_wait).await {
            Ok(ready) => ready,
            Err(failed) => {
                for session in self.0.sessions.of(&call.session.owner) {
                    session.results.cancel(&name);
                }
                return Err(failed);
            }
        };
        let info = info(&pending.planned.schema, descriptor)?.with_app_metadata(progress_text(&name, pending));
        if ready {
            let complete = PollInfo::new().with_info(info.with_endpoint(endpoint(&name, self.0.limits.result_idle)));
            return complete.try_with_progress(1.0).map_err(arrow);
        }
        let next = TicketStatementQuery { statement_handle: name.into() }.as_any().encode_to_vec();
        let going = PollInfo::new().with_info(info).with_descriptor(FlightDescriptor::new_cmd(next));
        match progress(pending.planned.plan.as_ref()) {
            Some(part) => going.try_with_progress(part).map_err(arrow),
            None => Ok(going),
        }
    }

    /// The answer about a statement: its ticket, which is good for one fetch.
    pub(super) fn answer(&self, outcome: &Outcome, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        match outcome {
            Outcome::Done => {
                let schema: SchemaRef = Arc::new(Schema::empty());
                Ok(info(&schema, descriptor)?.with_endpoint(endpoint("", self.0.limits.result_idle)))
            }
            Outcome::Planned { name, pending } => {
                let info = info(&pending.planned.schema, descriptor)?;
                Ok(info.with_endpoint(endpoint(name, self.0.limits.result_idle)))
            }
        }
    }
}

async fn plan(context: &SessionContext, parsed: Parsed, text_bytes: usize) -> Result<Planned, Status> {
    let frame = context.execute_logical_plan(parsed.plan).await.map_err(|error| engine(&error))?;
    let tasks = Arc::new(frame.task_ctx());
    // Everything that a policy refuses is refused here, before there is a ticket.
    let physical = frame.create_physical_plan().await.map_err(|error| engine(&error))?;
    Ok(planned(physical, tasks, text_bytes))
}

/// The cookie that names a session.
fn cookie(metadata: &MetadataMap) -> Option<&str> {
    metadata.get_all("cookie").iter().filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(';')).find_map(
        |pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE).then_some(value.trim_matches('"'))
        },
    )
}

fn text_of(handle: &[u8]) -> String {
    String::from_utf8_lossy(handle).into_owned()
}

fn info(schema: &SchemaRef, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new().try_with_schema(schema).map_err(arrow)?;
    Ok(info.with_descriptor(descriptor).with_total_records(-1).with_total_bytes(-1))
}

/// An endpoint of this server itself, good for so long.
fn endpoint(name: &str, good_for: Duration) -> FlightEndpoint {
    let ticket = TicketStatementQuery { statement_handle: name.to_owned().into() }.as_any().encode_to_vec();
    let mut endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    let until = std::time::SystemTime::now() + good_for;
    if let Ok(since) = until.duration_since(std::time::UNIX_EPOCH) {
        endpoint.expiration_time.get_or_insert_default().seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    }
    endpoint
}

/// The results that an answer names: by its tickets, and by what a poll's answer says of itself before it has any.
fn names(info: &FlightInfo) -> Vec<String> {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref()).map(|ticket| &ticket.ticket);
    let mut names: Vec<String> = tickets.filter_map(|ticket| handle(ticket)).collect();
    if let Ok(said) = serde_json::from_slice::<serde_json::Value>(&info.app_metadata)
        && let Some(name) = said.get(STATEMENT).and_then(|name| name.as_str())
    {
        names.push(name.to_owned());
    }
    names
}

fn handle(ticket: &[u8]) -> Option<String> {
    match Any::decode(ticket).ok().and_then(|any| Command::try_from(any).ok()) {
        Some(Command::TicketStatementQuery(query)) => Some(text_of(&query.statement_handle)),
        _ => None,
    }
}

/// The key of a poll's text under which the statement's name stands.
const STATEMENT: &str = "statement";

/// What a poll says beside the number, for people: the phases that private queries have closed.
fn progress_text(name: &str, pending: &Pending) -> Vec<u8> {
    let mut phases = Vec::new();
    private_queries(pending.planned.plan.as_ref(), &mut |query| {
        if let Some(report) = query.report() {
            phases.extend(report.phases.iter().map(|line| line.phase.to_string()));
        }
    });
    serde_json::json!({ STATEMENT: name, "phases_closed": phases }).to_string().into_bytes()
}

/// How far the private queries of a plan are, by the phases that they have closed; `None` for a plan without one.
fn progress(plan: &dyn ExecutionPlan) -> Option<f64> {
    let (mut closed, mut all) = (0, 0);
    private_queries(plan, &mut |query| {
        all += phases(query);
        closed += query.report().map_or(0, |report| report.phases.len());
    });
    // What is not over is not all done, however the phases were counted.
    (all > 0).then(|| (closed as f64 / all as f64).min(0.99))
}

/// About how many phases a private query has: hello, confirm, columns, tags and release; two for each further
/// identifier; and the transfers of each side's words.
fn phases(query: &PrivateQueryExec) -> usize {
    const TRANSFER: usize = 6;
    let question = &query.query().question;
    5 + 2 * question.identifiers.len().saturating_sub(1) + if question.aggregates.len() > 1 { TRANSFER } else { 0 }
}

fn private_queries(plan: &dyn ExecutionPlan, found: &mut impl FnMut(&PrivateQueryExec)) {
    let any: &dyn std::any::Any = plan;
    if let Some(query) = any.downcast_ref::<PrivateQueryExec>() {
        found(query);
    }
    for child in plan.children() {
        private_queries(child.as_ref(), found);
    }
}
