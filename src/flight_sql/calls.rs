//! What several commands have in common, and the calls that the bindings do not know.

use std::panic::AssertUnwindSafe;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::PeekableFlightDataStream;
use arrow_flight::sql::{Any, Command, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightData, FlightDescriptor, FlightInfo,
    IpcMessage, SchemaAsIpc, Ticket,
};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use datafusion::common::ScalarValue;
use futures::{FutureExt, Stream, TryStreamExt};
use prost::Message;
use tonic::{Code, Request, Response, Status};

use super::error::{arrow, status, unimplemented};
use super::options;
use super::output::of_batch;
use super::service::{Outcome, SqlFlight};
use super::session::Call;
use super::statement::values;
use super::wire::{CLOSED, CloseSessionResult, SetSessionOptionsRequest};

pub(super) type Info = Result<Response<FlightInfo>, Status>;
pub(super) type Data = Result<Response<<SqlFlight as FlightService>::DoGetStream>, Status>;

/// The caller, as the service in front has found it.
pub(super) fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    // Without the front nobody has asked who calls, so nobody is answered.
    let call = request.extensions().get::<Call>().cloned();
    call.ok_or_else(|| {
        status(Code::Unauthenticated, "nobody has checked who calls: serve this service behind SqlFront")
    })
}

/// The answer about a command whose rows depend on the command alone: its ticket is the command itself.
pub(super) fn listing(command: &impl ProstMessageExt, schema: &Schema, request: Request<FlightDescriptor>) -> Info {
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

pub(super) fn rows(batch: RecordBatch) -> Data {
    Ok(Response::new(of_batch(batch)))
}

pub(super) fn encoded(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(arrow)?;
    Ok(bytes)
}

/// The rows of parameters that come with a statement.
pub(super) async fn parameters(request: Request<PeekableFlightDataStream>) -> Result<Vec<ScalarValue>, Status> {
    // Some clients send a first message with the command and nothing else.
    let messages = request.into_inner().try_filter(|message| std::future::ready(!message.data_header.is_empty()));
    bound(messages.map_err(|status| FlightError::Tonic(Box::new(status)))).await
}

async fn bound(
    messages: impl Stream<Item = Result<FlightData, FlightError>> + Send + 'static,
) -> Result<Vec<ScalarValue>, Status> {
    let batches = FlightRecordBatchStream::new_from_flight_data(messages);
    // Arrow's reader panics on offsets outside of a message's body, for one.
    let read = AssertUnwindSafe(first_rows(batches)).catch_unwind().await;
    let unreadable = |reason: &str| status(Code::InvalidArgument, &format!("the parameters cannot be read: {reason}"));
    let kept = read.map_err(|_| unreadable("they are no Arrow messages"))?.map_err(|error| match error {
        FlightError::Tonic(status) => *status,
        other => unreadable(&other.to_string()),
    })?;
    values(&kept)
}

/// The batches that have rows, as far as the second row: of many it is enough to know that they are too many.
async fn first_rows(mut batches: FlightRecordBatchStream) -> Result<Vec<RecordBatch>, FlightError> {
    let (mut kept, mut rows) = (Vec::new(), 0);
    while let Some(batch) = batches.try_next().await? {
        if batch.num_rows() > 0 {
            rows += batch.num_rows();
            kept.push(batch);
        }
        if rows > 1 {
            break;
        }
    }
    Ok(kept)
}

pub(super) fn no_transactions<T>() -> Result<T, Status> {
    Err(unimplemented(
        "there are no transactions here",
        "each statement stands alone, and what it has cost is spent; connect in autocommit mode",
    ))
}

pub(super) fn no_substrait<T>() -> Result<T, Status> {
    Err(unimplemented("Substrait plans are not taken here", "send SQL"))
}

impl SqlFlight {
    /// Runs a statement for its effect.
    pub(super) async fn update(
        &self,
        call: &Call,
        text: String,
        values: Option<Vec<ScalarValue>>,
    ) -> Result<i64, Status> {
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
    pub(super) async fn action(&self, call: &Call, action: &Action) -> Result<Option<Vec<u8>>, Status> {
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

pub(super) fn no_command() -> Status {
    status(Code::InvalidArgument, "the request is no command of Flight SQL that this server knows")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_flight::utils::batches_to_flight_data;
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;

    fn messages(rows: &[usize]) -> Vec<FlightData> {
        let schema = Arc::new(Schema::new(vec![Field::new("1", DataType::Utf8, true)]));
        let batch = |rows: &usize| {
            let texts = Arc::new(StringArray::from(vec!["x"; *rows]));
            RecordBatch::try_new(Arc::clone(&schema), vec![texts]).unwrap()
        };
        batches_to_flight_data(&schema, rows.iter().map(batch).collect()).unwrap()
    }

    async fn read(messages: Vec<FlightData>) -> Result<Vec<ScalarValue>, Status> {
        bound(futures::stream::iter(messages.into_iter().map(Ok))).await
    }

    #[tokio::test]
    async fn one_row_is_bound_whatever_empty_batches_stand_around_it() {
        assert_eq!(read(messages(&[0, 0, 1, 0])).await.unwrap(), [ScalarValue::from("x")]);
        assert!(read(messages(&[0, 0])).await.unwrap().is_empty());
        assert!(read(messages(&[1, 0, 1])).await.unwrap_err().message().contains("rows of parameters"));
    }

    #[tokio::test]
    async fn a_message_whose_buffers_lie_outside_of_it_is_an_error_and_no_panic() {
        let mut cut = messages(&[1]);
        cut.last_mut().unwrap().data_body = Bytes::new();
        let error = read(cut).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with("the parameters cannot be read"), "{}", error.message());
    }
}
