//! Flight SQL's commands, one method each: what they answer is in the other modules.

use std::sync::Arc;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{DoPutError, FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    ActionCreatePreparedSubstraitPlanRequest, ActionEndSavepointRequest, ActionEndTransactionRequest, Any, Command,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor, FlightInfo, IpcMessage,
    SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::ScalarValue;
use futures::{TryStreamExt, stream};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use super::about::{sql_info, types};
use super::effects::full;
use super::error::{arrow, status, unimplemented};
use super::output::of_batch;
use super::service::{Outcome, SqlFlight};
use super::session::{Call, locked, random_hex};
use super::statement::{Kind, Parsed, Prepared, values};
use super::wire::{CLOSED, CloseSessionResult, SetSessionOptionsRequest};
use super::{catalogs, options};

type Info = Result<Response<FlightInfo>, Status>;
type Data = Result<Response<<SqlFlight as FlightService>::DoGetStream>, Status>;

/// `CancelQuery`'s answers.
const QUERY_CANCELLED: i32 = 1;
const QUERY_NOT_CANCELLABLE: i32 = 3;

/// The caller, as the service in front has found it.
pub(super) fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    // Without the front nobody has asked who calls, so nobody is answered.
    let call = request.extensions().get::<Call>().cloned();
    call.ok_or_else(|| {
        status(Code::Unauthenticated, "nobody has checked who calls: serve this service behind SqlFront")
    })
}

/// The answer about a command whose rows depend on the command alone: its ticket is the command itself.
fn listing(command: &impl ProstMessageExt, schema: &Schema, request: Request<FlightDescriptor>) -> Info {
    call(&request)?;
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(arrow)?
        .with_endpoint(arrow_flight::FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner())
        .with_total_records(-1)
        .with_total_bytes(-1);
    Ok(Response::new(info))
}

fn rows(batch: RecordBatch) -> Data {
    Ok(Response::new(of_batch(batch)))
}

fn encoded(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(arrow)?;
    Ok(bytes)
}

/// The rows of parameters that come with a statement.
async fn parameters(request: Request<PeekableFlightDataStream>) -> Result<Vec<ScalarValue>, Status> {
    // Some clients send a first message with the command and nothing else.
    let messages = request.into_inner().try_filter(|message| std::future::ready(!message.data_header.is_empty()));
    let messages = messages.map_err(|status| FlightError::Tonic(Box::new(status)));
    let mut batches: FlightRecordBatchStream = FlightRecordBatchStream::new_from_flight_data(messages);
    let (mut kept, mut rows) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => status(Code::InvalidArgument, &format!("the parameters cannot be read: {other}")),
    })? {
        rows += batch.num_rows();
        kept.push(batch);
        // Of many rows it is enough to know that they are too many.
        if rows > 1 {
            break;
        }
    }
    values(&kept)
}

fn no_transactions<T>() -> Result<T, Status> {
    Err(unimplemented(
        "there are no transactions here",
        "each statement stands alone, and what it has cost is spent; connect in autocommit mode",
    ))
}

fn no_substrait<T>() -> Result<T, Status> {
    Err(unimplemented("Substrait plans are not taken here", "send SQL"))
}

impl SqlFlight {
    /// Runs a statement for its effect.
    async fn update(&self, call: &Call, text: String, values: Option<Vec<ScalarValue>>) -> Result<i64, Status> {
        match self.settle(call, text, values).await? {
            Outcome::Done => Ok(0),
            Outcome::Planned { name, .. } => {
                // A private one would be charged, and its answer thrown away.
                call.session.results.cancel(&name);
                Err(status(
                    Code::InvalidArgument,
                    "this statement has rows, and an update throws them away: run it as a query",
                ))
            }
        }
    }

    /// The schema of what a command answers.
    pub(super) async fn schema(&self, request: Request<FlightDescriptor>) -> Result<Bytes, Status> {
        let call = call(&request)?;
        match command(request.get_ref())? {
            Command::CommandStatementQuery(query) => encoded(&self.parsed(&call, query.query).await?.schema()),
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared(&call, &query.prepared_statement_handle)?;
                encoded(&self.parsed(&call, prepared.text.to_string()).await?.schema())
            }
            _ => Ok(FlightService::get_flight_info(self, request).await?.into_inner().schema),
        }
    }

    /// What a poll names: a statement to start, or one that runs.
    pub(super) async fn poll(
        &self,
        call: &Call,
        request: Request<FlightDescriptor>,
    ) -> Result<arrow_flight::PollInfo, Status> {
        let descriptor = request.get_ref().clone();
        let outcome = match command(&descriptor)? {
            Command::TicketStatementQuery(running) => {
                let name = String::from_utf8_lossy(&running.statement_handle).into_owned();
                let (_, pending) = self.pending(call, &name)?;
                Outcome::Planned { name, pending }
            }
            Command::CommandStatementQuery(query) => self.settle(call, query.query, None).await?,
            Command::CommandPreparedStatementQuery(query) => {
                let prepared = self.prepared(call, &query.prepared_statement_handle)?;
                self.settle(call, prepared.text.to_string(), prepared.values).await?
            }
            _ => {
                let info = FlightService::get_flight_info(self, request).await?.into_inner();
                return arrow_flight::PollInfo::new().with_info(info).try_with_progress(1.0).map_err(arrow);
            }
        };
        match outcome {
            Outcome::Done => {
                let info = self.answer(&outcome, descriptor)?;
                arrow_flight::PollInfo::new().with_info(info).try_with_progress(1.0).map_err(arrow)
            }
            Outcome::Planned { name, pending } => self.polled(call, descriptor, name, &pending).await,
        }
    }

    /// The actions beside those that the bindings know.
    async fn action(&self, call: &Call, action: &Action) -> Result<Option<Vec<u8>>, Status> {
        let unreadable =
            |error: prost::DecodeError| status(Code::InvalidArgument, &format!("the action cannot be read: {error}"));
        match action.r#type.as_str() {
            "CancelFlightInfo" => {
                let asked = CancelFlightInfoRequest::decode(action.body.as_ref()).map_err(unreadable)?;
                let done = asked.info.is_some_and(|info| self.cancel(call, &info));
                let outcome = if done { CancelStatus::Cancelled } else { CancelStatus::NotCancellable };
                Ok(Some(CancelFlightInfoResult::new(outcome).encode_to_vec()))
            }
            "SetSessionOptions" => {
                let asked = SetSessionOptionsRequest::decode(action.body.as_ref()).map_err(unreadable)?;
                let set = |context, _| async move { Ok(options::set_all(&context, asked).await) };
                Ok(Some(self.on_engine(call, set).await?.encode_to_vec()))
            }
            "GetSessionOptions" => {
                let all = self.on_engine(call, |context, _| async move { Ok(options::all(&context)) });
                Ok(Some(all.await?.encode_to_vec()))
            }
            "CloseSession" => {
                self.0.sessions.close(&call.session);
                Ok(Some(CloseSessionResult { status: CLOSED }.encode_to_vec()))
            }
            _ => Ok(None),
        }
    }
}

/// The command of a descriptor.
fn command(descriptor: &FlightDescriptor) -> Result<Command, Status> {
    let read = Any::decode(descriptor.cmd.as_ref()).ok().and_then(|any| Command::try_from(any).ok());
    match read {
        Some(Command::Unknown(_)) | None => Err(no_command()),
        Some(command) => Ok(command),
    }
}

fn no_command() -> Status {
    status(Code::InvalidArgument, "the request is no command of Flight SQL that this server knows")
}

#[tonic::async_trait]
impl FlightSqlService for SqlFlight {
    type FlightService = SqlFlight;

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let call = call(&request)?;
        if query.transaction_id.is_some() {
            return no_transactions();
        }
        let outcome = self.settle(&call, query.query, None).await?;
        self.answer(&outcome, request.into_inner()).map(Response::new)
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let call = call(&request)?;
        let prepared = self.prepared(&call, &query.prepared_statement_handle)?;
        let outcome = self.settle(&call, prepared.text.to_string(), prepared.values).await?;
        self.answer(&outcome, request.into_inner()).map(Response::new)
    }

    async fn get_flight_info_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<FlightDescriptor>,
    ) -> Info {
        no_substrait()
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Info {
        listing(&query, &query.into_builder().schema(), request)
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Info {
        listing(&query, &query.clone().into_builder().schema(), request)
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        listing(&query, &query.clone().into_builder().schema(), request)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &query.into_builder().schema(), request)
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Info {
        listing(&query, arrow_flight::sql::metadata::SqlInfoDataBuilder::schema(), request)
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &catalogs::no_primary_keys().schema(), request)
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &catalogs::no_foreign_keys().schema(), request)
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &catalogs::no_foreign_keys().schema(), request)
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &catalogs::no_foreign_keys().schema(), request)
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        listing(&query, &types().map_err(arrow)?.schema(), request)
    }

    async fn get_flight_info_fallback(&self, _: Command, _: Request<FlightDescriptor>) -> Info {
        Err(no_command())
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Data {
        let call = call(&request)?;
        self.fetched(&call, &ticket.statement_handle).map(Response::new)
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Data {
        // Such a ticket is good for any number of fetches, so that a client that repeats a call would be charged twice.
        call(&request)?;
        let _ = query;
        Err(status(Code::InvalidArgument, "a prepared statement is run by GetFlightInfo, whose ticket is fetched once"))
    }

    async fn do_get_catalogs(&self, _: CommandGetCatalogs, request: Request<Ticket>) -> Data {
        let list = |context, _| async move { catalogs::catalogs(&context) };
        rows(self.on_engine(&call(&request)?, list).await?)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Data {
        let list = |context, _| async move { catalogs::schemas(&context, query) };
        rows(self.on_engine(&call(&request)?, list).await?)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Data {
        let patience = self.0.limits.peer_wait;
        let list = move |context, _| async move { catalogs::tables(&context, query, patience).await };
        rows(self.on_engine(&call(&request)?, list).await?)
    }

    async fn do_get_table_types(&self, _: CommandGetTableTypes, request: Request<Ticket>) -> Data {
        call(&request)?;
        rows(catalogs::table_types()?)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Data {
        call(&request)?;
        let all = sql_info(&self.0.limits).map_err(arrow)?;
        rows(query.into_builder(&all).build().map_err(arrow)?)
    }

    async fn do_get_primary_keys(&self, _: CommandGetPrimaryKeys, request: Request<Ticket>) -> Data {
        call(&request)?;
        rows(catalogs::no_primary_keys())
    }

    async fn do_get_exported_keys(&self, _: CommandGetExportedKeys, request: Request<Ticket>) -> Data {
        call(&request)?;
        rows(catalogs::no_foreign_keys())
    }

    async fn do_get_imported_keys(&self, _: CommandGetImportedKeys, request: Request<Ticket>) -> Data {
        call(&request)?;
        rows(catalogs::no_foreign_keys())
    }

    async fn do_get_cross_reference(&self, _: CommandGetCrossReference, request: Request<Ticket>) -> Data {
        call(&request)?;
        rows(catalogs::no_foreign_keys())
    }

    async fn do_get_xdbc_type_info(&self, query: CommandGetXdbcTypeInfo, request: Request<Ticket>) -> Data {
        call(&request)?;
        let all = types().map_err(arrow)?;
        rows(query.into_builder(&all).build().map_err(arrow)?)
    }

    async fn do_get_fallback(&self, _: Request<Ticket>, _: Any) -> Data {
        Err(status(Code::InvalidArgument, "the ticket is none of this server's"))
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let call = call(&request)?;
        if update.transaction_id.is_some() {
            return no_transactions();
        }
        self.update(&call, update.query, None).await
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(unimplemented(
            "no tables are taken in over Flight SQL",
            "name the table in [[table]] of the server's party.toml, where its files lie",
        ))
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        no_substrait()
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let call = call(&request)?;
        let values = parameters(request).await?;
        self.bind(&call, &query.prepared_statement_handle, values)?;
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let call = call(&request)?;
        let prepared = self.prepared(&call, &query.prepared_statement_handle)?;
        let bound = parameters(request).await?;
        let values = if bound.is_empty() { prepared.values } else { Some(bound) };
        self.update(&call, prepared.text.to_string(), values).await
    }

    async fn do_put_fallback(
        &self,
        _: Request<PeekableFlightDataStream>,
        _: Any,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(no_command())
    }

    async fn do_put_error_callback(
        &self,
        _: Request<PeekableFlightDataStream>,
        error: DoPutError,
    ) -> Result<Response<<Self as FlightService>::DoPutStream>, Status> {
        Err(status(Code::InvalidArgument, &error.to_string()))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let call = call(&request)?;
        if query.transaction_id.is_some() {
            return no_transactions();
        }
        let parsed: Parsed = self.parsed(&call, query.query.clone()).await?;
        let parameter_schema = encoded(&parsed.parameters()?)?;
        // A statement without rows says so by no schema at all: a driver then runs it as an update.
        let dataset_schema = match parsed.kind {
            Kind::Query => encoded(&parsed.schema())?,
            Kind::Effect => Bytes::new(),
        };
        let name = random_hex()?;
        let most = self.0.limits.statements_per_session_max;
        let mut statements = locked(&call.session.statements);
        if statements.count() >= most {
            return Err(full(most));
        }
        statements.prepared.insert(name.clone(), Prepared { text: Arc::from(query.query), values: None });
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: name.into(),
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let call = call(&request)?;
        let name = String::from_utf8_lossy(&query.prepared_statement_handle).into_owned();
        // One that is gone already is closed.
        for session in self.0.sessions.of(&call.session.owner) {
            locked(&session.statements).prepared.remove(&name);
        }
        Ok(())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _: ActionCreatePreparedSubstraitPlanRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        no_substrait()
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        no_transactions()
    }

    async fn do_action_end_transaction(
        &self,
        _: ActionEndTransactionRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        no_transactions()
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        no_transactions()
    }

    async fn do_action_end_savepoint(&self, _: ActionEndSavepointRequest, _: Request<Action>) -> Result<(), Status> {
        no_transactions()
    }

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        request: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let call = call(&request)?;
        let info = FlightInfo::decode(query.info.as_ref())
            .map_err(|error| status(Code::InvalidArgument, &format!("the query to cancel cannot be read: {error}")))?;
        let result = if self.cancel(&call, &info) { QUERY_CANCELLED } else { QUERY_NOT_CANCELLABLE };
        Ok(ActionCancelQueryResult { result })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let call = call(&request)?;
        match self.action(&call, request.get_ref()).await? {
            Some(body) => {
                let result = arrow_flight::Result { body: body.into() };
                Ok(Response::new(Box::pin(stream::iter([Ok(result)]))))
            }
            None => Err(unimplemented("this server knows no such action", "ListActions says which it knows")),
        }
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {
        // What there is to say is said by `about`, and nobody adds to it.
    }
}
