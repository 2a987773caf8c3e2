//! The requester's end: one connection per session, opened when the session is.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightDescriptor};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Request;
use tonic::transport::{Channel as Connection, Endpoint};

use crate::psi::{Error, Phase, SessionId};

use super::super::channel::{
    Aborter, BatchReceiver, BatchSender, Channel, Counted, Exchange, Lost, OutgoingFrames, direction,
};
use super::super::deadlines::{Deadlines, seconds};
use super::super::source::SharedTable;
use super::super::tls::{Credentials, Pins};
use super::super::wire::{
    Control, MESSAGE_BYTES_MAX, Step, VERSION_PATH, from_status, sanitise, session_path, share_path,
};
use super::address::Address;
use super::connect::{Security, told};
use super::{
    CONNECTION_WINDOW_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES, exchange, identity, shares,
};

type Client = FlightServiceClient<Connection>;

/// A party that can be asked. Cheap to clone; nothing connects before the first call.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Known>);

#[derive(Debug)]
struct Known {
    name: String,
    own: String,
    address: Address,
    deadlines: Deadlines,
    security: Security,
}

impl Peer {
    /// The peer `name`, which listens on this machine, without TLS, at `address` (`grpc://127.0.0.1:50052`) and
    /// knows this party as `own`.
    ///
    /// # Errors
    /// [`Error::Caller`] for an address that is none, that is not on this machine, or that wants TLS.
    pub fn new(name: &str, own: &str, address: &str, deadlines: Deadlines) -> Result<Peer, Error> {
        let address = Address::parse(name, address)?;
        if address.tls {
            return Err(Error::Caller(format!(
                "the address '{}' of {name} asks for TLS, which needs certificates: this party's and the peer's",
                address.text
            )));
        }
        Peer::with(name, own, address, deadlines, Security::plain())
    }

    /// The peer `name`, which listens at `address` (`grpc+tls://HOST:50052`), knows this party as `own` and shows
    /// one of the certificates that `pins` have for it, when this party has shown that of `credentials`.
    ///
    /// # Errors
    /// [`Error::Caller`] for an address that is none, or one without TLS.
    pub fn with_tls(
        name: &str,
        own: &str,
        address: &str,
        deadlines: Deadlines,
        credentials: Arc<Credentials>,
        pins: Arc<Pins>,
    ) -> Result<Peer, Error> {
        let address = Address::parse(name, address)?;
        if !address.tls {
            return Err(Error::Caller(format!(
                "the address '{}' of {name} is one without TLS: with certificates it begins with grpc+tls://",
                address.text
            )));
        }
        Peer::with(name, own, address, deadlines, Security::Tls { own: credentials, pins })
    }

    fn with(name: &str, own: &str, address: Address, deadlines: Deadlines, security: Security) -> Result<Peer, Error> {
        // Checks the own name before anything connects.
        identity::write(&mut tonic::metadata::MetadataMap::new(), own)?;
        Ok(Peer(Arc::new(Known { name: name.to_owned(), own: own.to_owned(), address, deadlines, security })))
    }

    /// The peer's name in this party's configuration.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The tables that the peer shares with this party.
    pub async fn shares(&self) -> Result<Vec<SharedTable>, Error> {
        let known = &self.0;
        let mut client = known.connect().await?;
        let listing = async {
            let criteria = Criteria { expression: VERSION_PATH.into() };
            let mut listed = client
                .list_flights(known.request(criteria)?)
                .await
                .map_err(|status| known.error(&status, None))?
                .into_inner();
            let mut tables = Vec::new();
            let mut bytes = 0;
            while let Some(next) = listed.next().await {
                if tables.len() == shares::SHARES_MAX {
                    return Err(Error::Incompatible(format!(
                        "{} lists more than {} shares",
                        known.name,
                        shares::SHARES_MAX
                    )));
                }
                let listed = next.map_err(|status| known.error(&status, None))?;
                bytes += listed.schema.len();
                if bytes > shares::LIST_BYTES_MAX {
                    return Err(Error::Incompatible(format!(
                        "{} describes its shares in more than {} bytes",
                        known.name,
                        shares::LIST_BYTES_MAX
                    )));
                }
                tables.push(shares::shared_table(&known.name, || listed.try_decode_schema())?);
            }
            Ok(tables)
        };
        known.answered(listing).await
    }

    /// One of them.
    ///
    /// # Errors
    /// [`Error::Reported`] where the peer shares no such table with this party.
    pub async fn share(&self, table: &str) -> Result<SharedTable, Error> {
        let known = &self.0;
        let mut client = known.connect().await?;
        let asking = async {
            let descriptor = FlightDescriptor::new_path(share_path(table));
            let answer =
                client.get_schema(known.request(descriptor)?).await.map_err(|status| known.error(&status, None))?;
            let shared = shares::shared_table(&known.name, || answer.into_inner().try_into())?;
            if shared.terms.table != table {
                return Err(Error::Incompatible(format!(
                    "{} answered with another table than '{}'",
                    known.name,
                    sanitise(table)
                )));
            }
            Ok(shared)
        };
        known.answered(asking).await
    }

    /// Connects for one session. The peer learns of the session when its first phase opens.
    ///
    /// # Errors
    /// [`Error::Environment`] where the peer cannot be reached; [`Error::Refused`] where what answers shows another
    /// certificate than the peer's, or an expired one; [`Error::Incompatible`] where it speaks no TLS, or only TLS.
    pub async fn channel(&self, session: SessionId) -> Result<FlightChannel, Error> {
        let client = self.0.connect().await?;
        let (tell, lost) = Lost::new();
        Ok(FlightChannel {
            known: Arc::clone(&self.0),
            session,
            client,
            tell: Arc::new(tell),
            lost,
            control: None,
            aborter: None,
        })
    }
}

impl Known {
    async fn connect(&self) -> Result<Client, Error> {
        let deadline = self.deadlines.connect;
        let endpoint = Endpoint::from_shared(self.address.uri.clone())
            .map_err(Error::internal)?
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let unreachable = |why: String| {
            Error::Environment(format!(
                "{} ({}) cannot be reached: {why}; is its server running?",
                self.name, self.address.text
            ))
        };
        let connection = timeout(deadline, self.security.connect(&endpoint, &self.name, &self.address))
            .await
            .map_err(|_| unreachable(format!("no answer within {} s", seconds(deadline))))??
            .map_err(|error| told(&error).unwrap_or_else(|| unreachable(root_cause(&error))))?;
        Ok(FlightServiceClient::new(connection)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        identity::write(request.metadata_mut(), &self.own)?;
        Ok(request)
    }

    fn error(&self, status: &tonic::Status, phase: Option<Phase>) -> Error {
        if self.security.misdirected() {
            return Error::Incompatible(format!(
                "{} answers in TLS: its address in [[peer]], now '{}', has to begin with grpc+tls://",
                self.name, self.address.text
            ));
        }
        from_status(status, &self.name, phase)
    }

    async fn answered<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let deadline = self.deadlines.answer;
        timeout(deadline, asking).await.unwrap_or_else(|_| {
            Err(Error::Environment(format!("{} gave no answer within {} s", self.name, seconds(deadline))))
        })
    }
}

/// The innermost cause, in the system's words.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => "connection refused".to_owned(),
        Some(std::io::ErrorKind::TimedOut) => "no answer".to_owned(),
        _ => sanitise(&innermost.to_string()),
    }
}

/// The requester's end of one session over Flight.
///
/// Dropped before [`close`](Channel::close), it cancels: its exchanges stop without their end.
pub struct FlightChannel {
    known: Arc<Known>,
    session: SessionId,
    client: Client,
    tell: Arc<watch::Sender<Option<Error>>>,
    lost: Lost,
    control: Option<Lifeline>,
    aborter: Option<Aborter>,
}

/// The control exchange, and the task that listens to it and ends with it.
struct Lifeline {
    queue: mpsc::Sender<super::super::wire::Frame>,
    aborter: Aborter,
    listener: JoinSet<()>,
}

impl FlightChannel {
    async fn exchange(
        &mut self,
        step: Step,
        out: OutgoingFrames,
    ) -> Result<tonic::Streaming<arrow_flight::FlightData>, Error> {
        let phase = match step {
            Step::Phase(phase) => Some(phase),
            Step::Control => None,
        };
        let request = self.known.request(exchange::requests(out, session_path(self.session, step)))?;
        let response = self.client.do_exchange(request).await.map_err(|status| self.known.error(&status, phase))?;
        Ok(response.into_inner())
    }

    /// Opens the control exchange: it says nothing while all is well.
    async fn hold_on(&mut self) -> Result<(), Error> {
        let (queue, aborter, out) = direction();
        // The path has to travel with a first message.
        queue.try_send(Control::hold()).map_err(|_| Error::internal("a fresh queue has no room"))?;
        let mut frames = exchange::frames(self.exchange(Step::Control, out).await?, &self.known.name, None);
        let (tell, name) = (Arc::clone(&self.tell), self.known.name.clone());
        let mut listener = JoinSet::new();
        listener.spawn(async move {
            let reason = match frames.next().await {
                Some(Ok(frame)) if frame.is_end() => return,
                Some(Err(reason)) => reason,
                Some(Ok(_)) => {
                    Error::Incompatible(format!("{name} sent a message where only the session's end was due"))
                }
                None => Error::Environment(format!("{name} closed the session early")),
            };
            tell.send_replace(Some(reason));
        });
        self.control = Some(Lifeline { queue, aborter, listener });
        Ok(())
    }
}

#[async_trait]
impl Channel for FlightChannel {
    fn peer(&self) -> &str {
        &self.known.name
    }

    async fn open(&mut self, phase: Phase, out: SchemaRef, expect: SchemaRef) -> Result<Exchange, Error> {
        let (queue, aborter, outgoing) = direction();
        let counted = Arc::new(Counted::default());
        let sender = BatchSender::new(phase, out, queue, Arc::clone(&counted))?;
        self.aborter = Some(aborter);
        let messages = self.exchange(Step::Phase(phase), outgoing).await?;
        if self.control.is_none() {
            self.hold_on().await?;
        }
        let frames = exchange::frames(messages, &self.known.name, Some(phase));
        Ok(Exchange {
            sender,
            receiver: BatchReceiver::new(&self.known.name, phase, expect, frames, Arc::clone(&counted)),
            counted,
        })
    }

    fn lost(&self) -> Lost {
        self.lost.clone()
    }

    async fn close(&mut self, outcome: Result<(), &Error>) {
        let aborter = self.aborter.take();
        if let (Err(error), Some(aborter)) = (outcome, aborter) {
            aborter.abort(error);
        }
        let Some(Lifeline { queue, aborter, mut listener }) = self.control.take() else { return };
        match outcome {
            Ok(()) => {
                let _ = queue.try_send(Control::end());
            }
            Err(error) => aborter.abort(error),
        }
        // Past the deadline the task is aborted as it is dropped.
        let _ = timeout(self.known.deadlines.close, listener.join_next()).await;
    }
}
