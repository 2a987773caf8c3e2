//! A Flight service between a requester and a real server, which sees every message of every exchange in both
//! directions and may change it, leave it out, hold it back or add others. What it does not touch passes as it came.

#![allow(clippy::unwrap_used, dead_code, reason = "a test fails by panicking, and none uses all of it")]

use std::sync::{Arc, Mutex};

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// Above every message of the protocol, so that the meddler itself refuses none.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Which way a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    /// From requester to responder.
    Up,
    /// From responder to requester.
    Down,
}

/// Where in a session a message stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The session's name, as the path has it.
    pub(crate) session: String,
    /// The phase's name, or `control`.
    pub(crate) phase: String,
    pub(crate) way: Way,
    /// Its position in its direction of its phase: 0 is the schema.
    pub(crate) index: usize,
}

/// What travels on in place of a message.
pub(crate) type Meddle = Arc<dyn Fn(&Place, FlightData) -> Vec<FlightData> + Send + Sync>;

/// Lets everything pass.
pub(crate) fn pass() -> Meddle {
    Arc::new(|_, message| vec![message])
}

/// Dropped, it closes its port and all that runs through it.
pub(crate) struct Meddler {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<(Place, FlightData)>>>,
    _task: JoinSet<()>,
}

impl Meddler {
    /// A meddler before the server at `target`, which need not be there yet. With `keep` it keeps what it let pass.
    pub(crate) async fn start(target: u16, meddle: Meddle, keep: bool) -> Meddler {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let far = Endpoint::from_shared(format!("http://127.0.0.1:{target}")).unwrap().connect_lazy();
        let seen = Arc::default();
        let between = Between { far, meddle, seen: Arc::clone(&seen), keep };
        let service = FlightServiceServer::new(between)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Meddler { port, seen, _task: task }
    }

    pub(crate) fn address(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    /// What passed so far, in the order in which it did, as it was before it was changed.
    pub(crate) fn seen(&self) -> Vec<(Place, FlightData)> {
        self.seen.lock().unwrap().clone()
    }
}

struct Between {
    far: Channel,
    meddle: Meddle,
    seen: Arc<Mutex<Vec<(Place, FlightData)>>>,
    keep: bool,
}

impl Between {
    fn client(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.far.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The meddling with one direction of one exchange.
    fn way(&self, path: &[String], way: Way) -> impl FnMut(FlightData) -> Vec<FlightData> + Send + 'static {
        let part = |index: usize| path.get(index).cloned().unwrap_or_default();
        let mut place = Place { session: part(1), phase: part(2), way, index: 0 };
        let (meddle, seen, keep) = (Arc::clone(&self.meddle), Arc::clone(&self.seen), self.keep);
        move |message| {
            if keep {
                seen.lock().unwrap().push((place.clone(), message.clone()));
            }
            let out = meddle(&place, message);
            place.index += 1;
            out
        }
    }
}

/// The same request with another message: who asks stands in its metadata.
fn passed_on<M, N>(request: Request<M>, message: impl FnOnce(M) -> N) -> Request<N> {
    let party = request.metadata().get("psi-party").cloned();
    let mut on = Request::new(message(request.into_inner()));
    if let Some(party) = party {
        on.metadata_mut().insert("psi-party", party);
    }
    on
}

type Responses<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl FlightService for Between {
    type HandshakeStream = Responses<HandshakeResponse>;
    type ListFlightsStream = Responses<FlightInfo>;
    type DoGetStream = Responses<FlightData>;
    type DoPutStream = Responses<PutResult>;
    type DoActionStream = Responses<arrow_flight::Result>;
    type ListActionsStream = Responses<ActionType>;
    type DoExchangeStream = Responses<FlightData>;

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        let mut request = request;
        // The path comes with the first message.
        let Some(first) = request.get_mut().message().await? else {
            return Err(Status::cancelled("an exchange without a message"));
        };
        let path = first.flight_descriptor.clone().map(|descriptor| descriptor.path).unwrap_or_default();
        let (mut up, mut down) = (self.way(&path, Way::Up), self.way(&path, Way::Down));
        let request = passed_on(request, |rest| {
            // A requester that is gone ends its direction here, too.
            let rest = rest.scan((), |(), next: Result<FlightData, Status>| std::future::ready(next.ok()));
            let all = futures::stream::iter([first]).chain(rest);
            all.flat_map(move |message| futures::stream::iter(up(message)))
        });
        let answers = self.client().do_exchange(request).await?.into_inner();
        let answers = answers.flat_map(move |next| {
            futures::stream::iter(match next {
                Ok(message) => down(message).into_iter().map(Ok).collect(),
                Err(status) => vec![Err(status)],
            })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let listed = self.client().list_flights(passed_on(request, |criteria| criteria)).await?;
        Ok(Response::new(listed.into_inner().boxed()))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        self.client().get_schema(passed_on(request, |descriptor| descriptor)).await
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(Status::unimplemented("get_flight_info"))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("handshake"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("poll_flight_info"))
    }

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        Err(Status::unimplemented("do_get"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(Status::unimplemented("do_put"))
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(Status::unimplemented("do_action"))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(Status::unimplemented("list_actions"))
    }
}
