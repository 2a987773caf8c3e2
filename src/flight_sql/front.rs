//! One port, two protocols: the peer protocol's calls go to peers' service, all others to analysts'.

use std::time::Duration;

use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, BasicAuth, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status, Streaming};

use super::error::status;
use super::service::SqlFlight;
use super::session::{COOKIE, Call};
use crate::transport::{Denied, PeerFlight, TableSource, VERSION_PATH, Wire};

/// How long a handshake may take to say who calls, where no header says it.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Peers and analysts of one party behind one Flight service: to be served by
/// [`PeerServer::serve_behind`](crate::transport::PeerServer::serve_behind).
///
/// A call of the peer protocol is one of DoExchange, of ListFlights with the criteria `psi/…`, or of GetFlightInfo or
/// GetSchema with a path that begins with `psi/…`: [`PeerFlight`] answers it, which knows peers alone. Every other
/// call is Flight SQL's, and who calls is asked before anything of it is read.
pub struct SqlFront<S: ?Sized> {
    peers: PeerFlight<S>,
    sql: SqlFlight,
}

impl<S: TableSource + ?Sized> SqlFront<S> {
    /// Both services of one party.
    pub fn new(peers: PeerFlight<S>, sql: SqlFlight) -> Self {
        SqlFront { peers, sql }
    }

    /// Asks who calls, and notes it for the service behind.
    async fn admit<T>(&self, request: &mut Request<T>) -> Result<Call, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        let call = self.sql.admit(request.metadata(), wire.as_ref()).await?;
        request.extensions_mut().insert(call.clone());
        Ok(call)
    }
}

/// Any version of the peer protocol, so that one of another version is told so in its own words.
fn is_peers(name: &[u8]) -> bool {
    let family = VERSION_PATH.split('/').next().unwrap_or(VERSION_PATH).as_bytes();
    name.strip_prefix(family).is_some_and(|rest| rest.starts_with(b"/"))
}

fn is_peers_path(descriptor: &FlightDescriptor) -> bool {
    descriptor.r#type == DescriptorType::Path as i32
        && descriptor.path.first().is_some_and(|first| is_peers(first.as_bytes()))
}

/// The answer, with the session's cookie where it is new.
fn answered<T>(call: &Call, mut response: Response<T>) -> Result<Response<T>, Status> {
    if call.fresh {
        let cookie = format!("{COOKIE}={}; HttpOnly", call.session.id);
        let cookie = MetadataValue::try_from(cookie).map_err(|error| status(Code::Internal, &error.to_string()))?;
        response.metadata_mut().insert("set-cookie", cookie);
    }
    Ok(response)
}

/// The actions, with what they take and give.
const ACTIONS: [(&str, &str); 7] = [
    (
        "CreatePreparedStatement",
        "Takes ActionCreatePreparedStatementRequest, gives ActionCreatePreparedStatementResult",
    ),
    ("ClosePreparedStatement", "Takes ActionClosePreparedStatementRequest, gives nothing"),
    ("CancelFlightInfo", "Takes CancelFlightInfoRequest, gives CancelFlightInfoResult"),
    ("CancelQuery", "Takes ActionCancelQueryRequest, gives ActionCancelQueryResult"),
    ("SetSessionOptions", "Takes SetSessionOptionsRequest, gives SetSessionOptionsResult"),
    ("GetSessionOptions", "Takes GetSessionOptionsRequest, gives GetSessionOptionsResult"),
    ("CloseSession", "Takes CloseSessionRequest, gives CloseSessionResult"),
];

type Responses<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl<S: TableSource + ?Sized> FlightService for SqlFront<S> {
    type HandshakeStream = Responses<HandshakeResponse>;
    type ListFlightsStream = Responses<FlightInfo>;
    type DoGetStream = Responses<FlightData>;
    type DoPutStream = Responses<PutResult>;
    type DoActionStream = Responses<arrow_flight::Result>;
    type ListActionsStream = Responses<ActionType>;
    type DoExchangeStream = Responses<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let wire = request.extensions().get::<Wire>().cloned();
        let metadata = request.metadata().clone();
        let analysts = &self.sql.0.analysts;
        let (found, token) = match analysts.token_shown(&metadata) {
            Some(token) => (analysts.identify(&metadata, wire.as_ref()).await, Some(token)),
            None => {
                // Older clients write name and token into the first message.
                let first = timeout(HANDSHAKE, request.into_inner().message()).await;
                let payload = first.ok().and_then(Result::ok).flatten().map(|first| first.payload).unwrap_or_default();
                match BasicAuth::decode(payload.as_ref()) {
                    Ok(said) if !said.username.is_empty() || !said.password.is_empty() => {
                        let token = said.password.into_bytes();
                        let found = analysts.identify_by_name(&said.username, &token, wire.as_ref()).await;
                        (found, Some(zeroize::Zeroizing::new(token)))
                    }
                    _ => (analysts.identify(&metadata, wire.as_ref()).await, None),
                }
            }
        };
        let analyst = found.map_err(|denied: Denied| denied.status())?;
        let call = self.sql.session(&analyst, &metadata, wire.as_ref())?;
        // The token itself is the bearer token: there is nothing else to keep, to expire or to lose in a restart.
        let token = token.unwrap_or_default();
        let reply = HandshakeResponse { protocol_version: 0, payload: token.to_vec().into() };
        let mut response = Response::new(stream::iter([Ok(reply)]).boxed());
        if !token.is_empty() {
            let bearer = format!("Bearer {}", String::from_utf8_lossy(&token));
            let mut bearer =
                MetadataValue::try_from(bearer).map_err(|_| status(Code::InvalidArgument, "the token is no text"))?;
            bearer.set_sensitive(true);
            response.metadata_mut().insert("authorization", bearer);
        }
        answered(&call, response)
    }

    async fn list_flights(&self, mut request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        if is_peers(&request.get_ref().expression) {
            return self.peers.list_flights(request).await;
        }
        let call = self.admit(&mut request).await?;
        // Flight SQL lists tables by commands, and a result is known to who asked for it.
        answered(&call, Response::new(stream::empty().boxed()))
    }

    async fn get_flight_info(&self, mut request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        if is_peers_path(request.get_ref()) {
            return self.peers.get_flight_info(request).await;
        }
        let call = self.admit(&mut request).await?;
        answered(&call, FlightService::get_flight_info(&self.sql, request).await?)
    }

    async fn poll_flight_info(&self, mut request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        let call = self.admit(&mut request).await?;
        answered(&call, Response::new(self.sql.poll(&call, request).await?))
    }

    async fn get_schema(&self, mut request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        if is_peers_path(request.get_ref()) {
            return self.peers.get_schema(request).await;
        }
        let call = self.admit(&mut request).await?;
        let schema = self.sql.schema(request).await?;
        answered(&call, Response::new(SchemaResult { schema }))
    }

    async fn do_get(&self, mut request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let call = self.admit(&mut request).await?;
        answered(&call, FlightService::do_get(&self.sql, request).await?)
    }

    async fn do_put(&self, mut request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let call = self.admit(&mut request).await?;
        answered(&call, FlightService::do_put(&self.sql, request).await?)
    }

    async fn do_action(&self, mut request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let call = self.admit(&mut request).await?;
        answered(&call, FlightService::do_action(&self.sql, request).await?)
    }

    async fn list_actions(&self, mut request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let call = self.admit(&mut request).await?;
        let actions = ACTIONS
            .map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
        answered(&call, Response::new(stream::iter(actions).boxed()))
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        // Flight SQL has no such call.
        self.peers.do_exchange(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_any_version_of_the_peer_protocol_are_the_peers() {
        for (name, due) in
            [("psi/1", true), ("psi/2", true), ("psi/", true), ("psi", false), ("", false), ("psix/1", false)]
        {
            assert_eq!(is_peers(name.as_bytes()), due, "{name}");
        }
        let path = |parts: &[&str]| FlightDescriptor::new_path(parts.iter().map(|part| (*part).to_owned()).collect());
        assert!(is_peers_path(&path(&["psi/1", "share", "t"])));
        assert!(!is_peers_path(&path(&["t"])) && !is_peers_path(&path(&[])));
        assert!(!is_peers_path(&FlightDescriptor::new_cmd("psi/1")));
    }
}
