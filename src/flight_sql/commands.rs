//! Flight SQL's commands, one method each: what they answer is in the other modules.

use std::sync::Arc;

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
    CommandStatementSubstraitPlan, CommandStatementUpdate, DoPutPreparedStatementResult, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{Action, FlightDescriptor, FlightInfo, Ticket};
use bytes::Bytes;
use futures::stream;
use prost::Message;
use tonic::{Code, Request, Response, Status};

use super::about::{sql_info, types};
use super::calls::{Data, Info, call, encoded, listing, no_command, no_substrait, no_transactions, parameters, rows};
use super::catalogs;
use super::effects::full;
use super::error::{arrow, status, unimplemented};
use super::service::SqlFlight;
use super::session::{locked, random_hex};
use super::statement::{Kind, Parsed, Prepared};

/// `CancelQuery`'s answers.
const QUERY_CANCELLED: i32 = 1;
const QUERY_NOT_CANCELLABLE: i32 = 3;

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
        call.session.room_for_text(&statements, query.query.len(), &self.0.limits)?;
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
